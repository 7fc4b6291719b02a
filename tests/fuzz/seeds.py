"""The seed corpora: a few good inputs for each target, most of them published."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import replace

from isoswitch.codecs.canonical.codes import Function, Kind
from isoswitch.codecs.dialects.registry import get_dialect
from isoswitch.codecs.framing import FRAMINGS, get_framing
from isoswitch.codecs.iso8583.specs import ALIASES, get_spec
from isoswitch.codecs.iso8583.userlayout import write_layout
from tests.codecs.dialects.test_dialect import LEG, PURCHASE
from tests.codecs.vectors import vectors
from tests.fuzz.messages import CARD_NAMES, HEADER_NAMES, NAMES


def _messages() -> list[bytes]:
    """Real messages, each behind the number of its layout."""
    cases = vectors("iso8583_messages.json") + vectors("iso8583_refused.json")
    return [
        bytes([NAMES.index(ALIASES.get(case["layout"], case["layout"]))])
        + bytes.fromhex(case["hex"])
        for case in cases
    ]


def _cards() -> list[bytes]:
    """Card messages of both families, behind the number of each."""
    return [
        bytes([number]) + get_dialect(name).to_request(txn, LEG, mac=True).raw
        for number, name in enumerate(CARD_NAMES)
        for txn in (
            PURCHASE,
            replace(PURCHASE, kind=Kind.PREAUTHORISATION),
            replace(PURCHASE, kind=Kind.REVERSAL, function=Function.ADVICE),
        )
    ]


def _packet() -> bytes:
    """An IPv4 packet with a TCP segment and a framed message in it."""
    message = _messages()[0][1:]
    payload = len(message).to_bytes(2) + message
    tcp = struct.pack(">HHIIBBHHH", 40000, 8583, 1, 0, 0x50, 0x18, 0xFFFF, 0, 0)
    total = 20 + len(tcp) + len(payload)
    ip = struct.pack(">BBHHHBBH", 0x45, 0, total, 1, 0, 64, 6, 0)
    return ip + bytes([10, 0, 0, 1, 10, 0, 0, 2]) + tcp + payload


def _captures() -> list[bytes]:
    packet = _packet()
    block = struct.pack("<IIIII", 0, 0, 0, len(packet), len(packet)) + packet
    block += bytes(-len(block) % 4)
    size = len(block) + 12
    blocks = (
        struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28),
        struct.pack("<IIHHII", 1, 20, 101, 0, 65535, 20),
        struct.pack("<II", 6, size) + block + struct.pack("<I", size),
    )
    header = struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)
    record = struct.pack("<IIII", 1, 2, len(packet), len(packet))
    return [
        b"\x00" + header + record + packet,
        b"\x00" + b"".join(blocks),
        b"\x01" + bytes(12) + b"\x08\x00" + packet,
        b"\x02" + packet,
        b"\x03" + bytes(14) + b"\x08\x00" + packet,
    ]


_TOML = """name = "acme"
edition = "1987"
[wire]
mti = "bcd"
bitmap = "raw"
[fields.48]
format = "b...999"
encoding = "raw"
"""

_PACKAGER = """<isopackager>
<isofield id="0" length="4" name="MTI" class="org.jpos.iso.IFB_NUMERIC"/>
<isofield id="1" length="16" name="B" class="org.jpos.iso.IFB_BITMAP"/>
<isofield id="2" length="19" name="PAN" class="org.jpos.iso.IFB_LLNUM"/>
</isopackager>"""

_LAYOUTS = [
    _TOML.encode(),
    _PACKAGER.encode(),
    write_layout(get_spec("iso87-ascii")).encode()[:1500],
    bytes(range(64)),
]

_CHIP_DATA = [bytes.fromhex(case["hex"]) for case in vectors("emv_tlv.json")]

SEEDS: Mapping[str, list[bytes]] = {
    "tlv": _CHIP_DATA,
    "meaning": _CHIP_DATA,
    "merchant-codes": [c["payload"].encode() for c in vectors("qr_mpm.json")],
    "other-codes": [
        *(case["base64"].encode() for case in vectors("qr_cpm.json")),
        b"upi://pay?pa=shop@bank&pn=Tea%20Shop&am=10.50&cu=INR",
        b"289431869362714645",
    ],
    "tracks": [
        b";4761739001010010=31122011234567800000?",
        b"%B4761739001010010^CARDHOLDER/TEST^31122011234567?",
        bytes.fromhex("4761739001010010D31122011234567800000F"),
    ],
    "composites": [
        *(bytes([n]) + bytes.fromhex("8000000000000000E8") for n in range(40)),
        *(bytes([n]) + b"PI0120402020502AB" for n in range(40)),
    ],
    "iso8583": _messages(),
    "lanes": _messages(),
    "cards": _cards(),
    "framing": [
        bytes([number, 7]) + get_framing(name).encode(b"0800 test") * 3
        for number, name in enumerate(FRAMINGS)
    ],
    "headers": [
        bytes([number]) + start + bytes(60)
        for number in range(len(HEADER_NAMES))
        for start in (b"\x60", b"\x2e\x820061", b"ISO", b"\x1a\x01\x02\x00\x3d")
    ],
    "annotation": _messages(),
    "detection": [each[1:] for each in _messages()],
    "captures": _captures(),
    "layouts": _LAYOUTS,
    "inputs": [
        b"30 38 30 30",
        b"0000  30 38 30 30   0800\n0004  42 32\n",
        b"0800822000000000000004000000000000001029110554000001301",
        b"0x30 0x38\n",
    ],
}
