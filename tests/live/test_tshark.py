"""Wireshark's own ISO 8583 dissector reads our traffic as we do.

Traffic is tapped at a running switch, at the terminal and at the issuer, and written
as a capture. The dissector knows the ASCII form behind a 2-byte length and misreads
PIN and chip fields (DE 52 to 55), so payments here go without a PIN.
"""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio

from isoswitch.codecs.canonical.codes import Kind
from isoswitch.codecs.dialects.registry import get_dialect
from isoswitch.codecs.framing import get_framing
from isoswitch.codecs.iso8583.message import Message
from isoswitch.simulators.beliefs import BeliefState
from isoswitch.simulators.cards import get_card
from isoswitch.simulators.terminal import Terminal
from isoswitch.switch.ports import SystemClock
from tests.live.live_network import LiveNetwork, live_network, wait_until

pytestmark = pytest.mark.live

TSHARK = shutil.which("tshark")
LINKTYPE_RAW = 101
SERVER_PORT, CLIENT_PORT = 8583, 40_000
SEGMENT_BYTES_MAX = 1_000
DIALECT, FRAMING = "iso87-ascii", "bin2"
MTIS = {"0200", "0210", "0420", "0430", "0800", "0810"}
OPTIONS = (
    *("-d", f"tcp.port=={SERVER_PORT},iso8583"),
    *("-o", "iso8583.len_endian:bigendian"),
    *("-o", "iso8583.charset:ascii"),
    *("-o", "iso8583.binencode:ascii"),
    *("-Y", "iso8583", "-T", "json", "--no-duplicate-keys"),
)


@dataclass
class Tape:
    """What went over one connection: whether the client sent it, and the bytes."""

    chunks: list[tuple[bool, bytes]] = field(default_factory=list)

    def messages(self) -> list[Message]:
        """Give our decode of the messages, the client's first."""
        codec, framing = get_dialect(DIALECT).codec, get_framing(FRAMING)
        found = []
        for from_client in (True, False):
            decoder = framing.decoder()
            for sent_by_client, data in self.chunks:
                if sent_by_client is from_client:
                    found += [codec.decode(raw) for raw in decoder.feed(data) if raw]
        return found


class TappedStream(trio.abc.Stream):
    """A stream that leaves a copy of everything on a tape."""

    def __init__(self, stream: trio.abc.Stream, tape: Tape, *, is_client: bool) -> None:
        self._stream = stream
        self._tape = tape
        self._is_client = is_client

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self._tape.chunks.append((self._is_client, bytes(data)))
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        data = bytes(await self._stream.receive_some(max_bytes))
        self._tape.chunks.append((not self._is_client, data))
        return data

    async def aclose(self) -> None:
        await self._stream.aclose()


@pytest.mark.skipif(TSHARK is None, reason="tshark is not installed")
async def test_tshark_reads_every_field_as_we_do(tmp_path: Path) -> None:
    tapes = await tape_traffic(tmp_path)
    ours = [message for tape in tapes for message in tape.messages()]
    assert {message.mti for message in ours} >= MTIS
    theirs = [
        layer
        for number, tape in enumerate(tapes)
        for layer in dissect(write_capture(tmp_path / f"{number}.pcap", tape))
    ]
    assert len(theirs) == len(ours)
    for message, layer in zip(ours, theirs, strict=True):
        assert fields_of(layer) == {
            0: message.mti,
            **{de: as_text(message[de]) for de in message.fields},
        }


async def tape_traffic(folder: Path) -> list[Tape]:
    """Let a terminal sign on, pay and reverse, and listen at both ends."""
    at_terminal, at_issuer = Tape(), Tape()

    def tap(name: str, stream: trio.abc.Stream) -> trio.abc.Stream:
        if name != "north":
            return stream
        return TappedStream(stream, at_issuer, is_client=False)

    async with live_network(folder, tap=tap) as network:
        connect = network.terminals["TERM0003"]._connect

        async def tapped_connect() -> trio.abc.Stream:
            return TappedStream(await connect(), at_terminal, is_client=True)

        terminal = Terminal(
            network.terminals["TERM0003"].profile,
            keyring=network.keyring,
            connect=tapped_connect,
            clock=SystemClock(),
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(terminal.run)
            await pay_and_reverse(network, terminal)
            nursery.cancel_scope.cancel()
    return [at_terminal, at_issuer]


async def pay_and_reverse(network: LiveNetwork, terminal: Terminal) -> None:
    """Do once what a terminal does on its day, without PINs."""
    north = network.issuers["north"].bookings
    await terminal.network(Kind.SIGN_ON)
    await terminal.network(Kind.ECHO)
    await terminal.purchase(get_card("visa-lost"), 7_25)
    belief = await terminal.purchase(get_card("visa-ok"), 12_50)
    assert belief.state is BeliefState.APPROVED
    await terminal.reverse(belief)
    await wait_until(lambda: len(north.entries) == 3, "reversal at the issuer")
    await network.settled()


def write_capture(path: Path, tape: Tape) -> Path:
    """Write a tape as a capture of one TCP connection (pcap, raw IPv4)."""
    header = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, LINKTYPE_RAW)
    packets = b"".join(
        struct.pack("<IIII", number, 0, len(packet), len(packet)) + packet
        for number, packet in enumerate(packets_of(tape))
    )
    path.write_bytes(header + packets)
    return path


def packets_of(tape: Tape) -> Iterator[bytes]:
    """Cut the bytes of a tape into TCP segments behind IPv4 headers."""
    sent = {True: 1, False: 1}
    ports = {True: (CLIENT_PORT, SERVER_PORT), False: (SERVER_PORT, CLIENT_PORT)}
    for from_client, data in tape.chunks:
        for start in range(0, len(data), SEGMENT_BYTES_MAX):
            segment = data[start : start + SEGMENT_BYTES_MAX]
            sequence, acknowledged = sent[from_client], sent[not from_client]
            # RFC 9293, 3.1: five words of header, flags PSH and ACK.
            tcp = struct.pack(
                "!HHIIBBHHH",
                *ports[from_client],
                sequence,
                acknowledged,
                0x50,
                0x18,
                65_535,
                0,
                0,
            )
            # RFC 791, 3.1; tshark does not ask for the checksums.
            addresses = bytes([10, 0, 0, 2 - from_client, 10, 0, 0, 1 + from_client])
            length = 20 + len(tcp) + len(segment)
            ip = struct.pack("!BBHHHBBH", 0x45, 0, length, 0, 0, 64, 6, 0) + addresses
            yield ip + tcp + segment
            sent[from_client] += len(segment)


def dissect(capture: Path) -> list[dict[str, Any]]:
    """Give tshark's reading of every message, the client's first."""
    assert TSHARK is not None, "skipped without it"
    done = subprocess.run(
        [TSHARK, "-r", str(capture), *OPTIONS],
        capture_output=True,
        check=True,
        timeout=60,
    )
    packets = [packet["_source"]["layers"] for packet in json.loads(done.stdout)]
    packets.sort(key=lambda layers: layers["tcp"]["tcp.srcport"] != str(CLIENT_PORT))
    return [layer for packet in packets for layer in as_list(packet["iso8583"])]


def fields_of(layer: dict[str, Any]) -> dict[int, str]:
    """Give the fields of tshark's reading by number; 0 is the MTI."""
    assert "MALFORMED" not in json.dumps(layer), layer
    fields = {0: layer["iso8583.mti"]}
    for key, value in layer.items():
        name = key.removeprefix("iso8583.bit")
        if name.isdecimal() and int(name) > 1:
            fields[int(name)] = value
    return fields


def as_list(layers: Any) -> Sequence[dict[str, Any]]:
    """Give the messages of a packet, which are a list when there are several."""
    return layers if isinstance(layers, list) else [layers]


def as_text(value: str | bytes) -> str:
    """Write a value as tshark does."""
    return value if isinstance(value, str) else value.hex().upper()
