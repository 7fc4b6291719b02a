"""The simulated payment HSM gives the published answers, and refuses like a unit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoswitch.codecs.canonical.secrets import KeyValue, Pan, Pin
from isoswitch.hsm.engine import Algorithm, Use
from isoswitch.hsm.functions import emv, pin
from isoswitch.hsm.functions.key import Key, KeyPair
from isoswitch.hsm.functions.mac import MacKey, Padding, generate
from isoswitch.hsm.functions.pin import PinFormat, PinKey
from isoswitch.hsm.payshield.fields import Value, Values
from isoswitch.hsm.payshield.layouts import get_profile
from isoswitch.hsm.payshield.wire import decode_fields, encode_fields
from isoswitch.hsm.software import SoftwareEngine
from isoswitch.simulators.payshield import PayshieldUnit
from isoswitch.simulators.payshield_keys import wrap_block, wrap_key

LAYOUTS = get_profile("payshield").layouts
VALUE = KeyValue(bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"))
PAN = "1122334455667788"
ACCOUNT = "233445566778"
BOTH = frozenset({Use.ENCRYPT, Use.DECRYPT})


def ask(code: str, **values: Value) -> tuple[str, Values]:
    """Give the error code of an answer and its fields."""
    named = {name.replace("_", " "): value for name, value in values.items()}
    layout = LAYOUTS[code]
    request = b"0042" + code.encode() + encode_fields(layout.request, named)
    answer = PayshieldUnit().answer(request)
    assert answer[:6] == f"0042{layout.response_code}".encode()
    error = answer[6:8].decode()
    if error != "00":
        return error, {}
    return error, decode_fields(layout.response, answer[8:], named)


def pin_block(clear: str, value: KeyValue = VALUE, pan: str = PAN) -> bytes:
    key = Key.load(SoftwareEngine(), value, Algorithm.TDES, BOTH)
    return pin.encrypt(Pin(clear), Pan(pan), PinKey(key, PinFormat.ISO_0)).reveal()


def mac_request(**changes: Value) -> dict[str, Value]:
    return {
        "mode": "0",
        "input": "0",
        "size": "1",
        "algorithm": "3",
        "padding": "1",
        "key_type": "008",
        "key": wrap_key(VALUE, "008"),
        "message": b"Now is the time for all ",
        **changes,
    }


def test_the_check_value_of_a_published_key() -> None:
    # jPOS: a zone PIN key under the test master key.
    key = "U34E2FC8EAD7CD07BFA2B7ED5FE4D8212"
    answer = ask("BU", key_length="1", key=key, key_type="001", kcv_type="1")
    assert answer == ("00", {"kcv": "6FB1C8"})


@pytest.mark.parametrize(("size", "length"), [("0", 4), ("1", 8)])
def test_a_mac_of_the_standard(size: str, length: int) -> None:
    # ISO 9797-1, annex B.
    expected = bytes.fromhex("a1c72e74ea3fa9b6")[:length]
    assert ask("M6", **mac_request(size=size)) == ("00", {"mac": expected})
    assert ask("M8", **mac_request(size=size, mac=expected)) == ("00", {})
    wrong = expected[:-1] + b"\x00"
    assert ask("M8", **mac_request(size=size, mac=wrong)) == ("01", {})


def test_a_mac_under_a_key_block() -> None:
    block = wrap_block(VALUE, usage="M3", algorithm=Algorithm.TDES, mode="C")
    error, answer = ask("M6", **mac_request(key=block, key_type="FFF"))
    assert (error, answer["mac"]) == ("00", bytes.fromhex("a1c72e74ea3fa9b6"))


PVV = {
    "pvk": wrap_key(VALUE, "002"),
    "format": "01",
    "account": ACCOUNT,
    "index": "2",
}


@pytest.mark.parametrize(
    ("code", "key"), [("DC", {"tpk": "002"}), ("EC", {"zpk": "001"})]
)
def test_a_published_pvv(code: str, key: dict[str, str]) -> None:
    # github.com/knovichikhin/psec: PIN 1912, key number 2, PVV 3244.
    keys = {name: wrap_key(VALUE, key_type) for name, key_type in key.items()}
    block = pin_block("1912")
    assert ask(code, **keys, **PVV, block=block, pvv="3244") == ("00", {})
    assert ask(code, **keys, **PVV, block=block, pvv="3245") == ("01", {})
    assert ask(code, **keys, **PVV, block=bytes(8), pvv="3244") == ("20", {})


OFFSET = {
    "pvk": wrap_key(VALUE, "002"),
    "length_max": "12",
    "format": "01",
    "length_min": "04",
    "account": ACCOUNT,
    "table": "1234567890123456",
    # The whole PAN, the last five digits of the account number within it.
    "validation": "1122334455N8",
}


@pytest.mark.parametrize(
    ("code", "key"), [("DA", {"tpk": "002"}), ("EA", {"zpk": "001"})]
)
def test_a_published_offset_verifies_with_a_warning(
    code: str, key: dict[str, str]
) -> None:
    # github.com/knovichikhin/psec: PIN 1234, offset 7710.
    keys = {name: wrap_key(VALUE, key_type) for name, key_type in key.items()}
    block = pin_block("1234")
    right, wrong = "7710FFFFFFFF", "7711FFFFFFFF"
    assert ask(code, **keys, **OFFSET, block=block, offset=right) == ("02", {})
    assert ask(code, **keys, **OFFSET, block=block, offset=wrong) == ("01", {})
    assert ask(code, **keys, **OFFSET, block=bytes(8), offset=right) == ("20", {})


CARD = {
    "cvk": wrap_key(VALUE, "402"),
    "pan": "4123456789012345",
    "expiry": "8701",
    "service_code": "101",
}


def test_a_published_cvv() -> None:
    # The example of IBM's CCA and of github.com/knovichikhin/psec: 561.
    assert ask("CW", **CARD) == ("00", {"cvv": "561"})
    assert ask("CY", **CARD, cvv="561") == ("00", {})
    assert ask("CY", **CARD, cvv="562") == ("01", {})


DUKPT: dict[str, Value] = {
    # X9.24-1, A.4: the base key, its first terminal, PIN 1234.
    "bdk": wrap_key(VALUE, "009"),
    "target": wrap_key(VALUE, "001"),
    "ksn_descriptor": "A05",
    "ksn": bytes.fromhex("FFFF9876543210E00001"),
    "block": bytes.fromhex("1B9C1845EB993A7A"),
    "target_format": "01",
    "account": "401234567890",
}


@pytest.mark.parametrize(
    ("code", "more"), [("CI", {}), ("G0", {"source_format": "01"})]
)
def test_a_pin_of_the_standards_terminal_reaches_its_zone(
    code: str, more: dict[str, str]
) -> None:
    expected = pin_block("1234", pan="4012345678909")
    error, answer = ask(code, **DUKPT, **more)
    assert (error, answer["block"], answer["pin length"]) == ("00", expected, "04")
    unused = bytes.fromhex("FFFF9876543210FFFFFF")
    assert ask(code, **{**DUKPT, **more, "ksn": unused}) == ("15", {})
    assert ask(code, **{**DUKPT, **more, "block": bytes(8)}) == ("20", {})


def expected_arqc(version: emv.CryptogramVersion, data: bytes) -> bytes:
    """Make the cryptogram a card would: the data is whole blocks already."""
    master = Key.load(SoftwareEngine(), VALUE, Algorithm.TDES, emv.CARD_KEY_USES)
    card_key = emv.derive_card_key(master, Pan(PAN), sequence="01")
    diversifiers = {
        emv.SessionKey.NONE: None,
        emv.SessionKey.COMMON: ATC + bytes(6),
        emv.SessionKey.MCHIP: ATC + bytes(2) + UNPREDICTABLE,
    }
    session: KeyPair
    with emv.session_key(card_key, diversifiers[version.session]) as session:
        return generate(MacKey.of_pair(session, Padding.ZEROS), data)


ATC, UNPREDICTABLE = b"\x00\x18", bytes.fromhex("84F01F9D")
DATA = bytes(range(40))
CHIP: dict[str, Value] = {
    "master": wrap_key(VALUE, "109"),
    "card": bytes.fromhex("2233445566778801"),
    "atc": ATC,
}
CRYPTOGRAMS = {
    ("KQ", "0"): emv.VISA_CVN10,
    ("KQ", "1"): emv.MCHIP_SKD,
    ("KW", "2"): emv.MCHIP_COMMON,
}


@pytest.mark.parametrize(("code", "scheme"), CRYPTOGRAMS)
def test_a_cryptogram_is_verified_and_answered(code: str, scheme: str) -> None:
    arqc = expected_arqc(CRYPTOGRAMS[code, scheme], DATA)
    request: dict[str, Value] = {
        **CHIP,
        "scheme": scheme,
        "unpredictable": UNPREDICTABLE,
    }
    assert ask(code, **request, mode="0", data=DATA, arqc=arqc) == ("00", {})
    wrong = bytes(8)
    assert ask(code, **request, mode="0", data=DATA, arqc=wrong) == ("01", {})
    both = ask(code, **request, mode="1", data=DATA, arqc=arqc, arc=b"00")
    alone = ask(code, **request, mode="2", arqc=arqc, arc=b"00")
    assert both == alone
    assert both[0] == "00"
    part = ask(code, **request, mode="0", data=DATA[:-1], arqc=arqc)
    assert part == ("80", {})


def test_the_second_method_answers_with_four_bytes_and_zeros() -> None:
    arqc = expected_arqc(emv.MCHIP_COMMON, DATA)
    request: dict[str, Value] = {**CHIP, "scheme": "2", "arqc": arqc}
    status: dict[str, Value] = {"status": bytes(4), "proprietary": b""}
    error, answer = ask("KW", **request, **status, mode="3", data=DATA)
    arpc = answer["arpc"]
    assert isinstance(arpc, bytes)
    assert (error, arpc[4:]) == ("00", bytes(4))
    assert arpc[:4] != bytes(4)
    assert ask("KW", **request, **status, mode="4") == ("00", {"arpc": arpc})


def test_a_generated_key_is_exported_and_imported_again() -> None:
    zmk = wrap_key(VALUE, "000")
    scheme: dict[str, Value] = {"key_type": "001", "zmk": zmk}
    error, made = ask("A0", mode="1", **scheme, scheme="U", flag="0", zone_scheme="X")
    assert error == "00"
    exported = ask("A8", **scheme, key=made["key"], scheme="X")[1]
    assert exported == {"zone key": made["zone key"], "kcv": made["kcv"]}
    imported = ask("A6", **scheme, zone_key=made["zone key"], scheme="U")[1]
    assert imported == {"key": made["key"], "kcv": made["kcv"]}


def test_a_generated_key_block_is_for_its_usage_only() -> None:
    _, made = ask(
        "A0",
        mode="0",
        key_type="FFF",
        scheme="S",
        usage="P0",
        algorithm="T2",
        mode_of_use="B",
        version="00",
        exportability="E",
        optional_blocks="00",
    )
    key = made["key"]
    assert isinstance(key, str)
    assert key.startswith("S10112P0TB")
    refused = ask("M6", **mac_request(key=key, key_type="FFF"))
    assert refused == ("A6", {})
    check = ask("BU", key_length="F", key=key, key_type="FFF", kcv_type="1")
    assert check == ("00", {"kcv": made["kcv"]})


BLOCK = wrap_block(VALUE, usage="M3", algorithm=Algorithm.TDES, mode="C")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        # Under another pair of the master key, this value has no odd parity.
        ({"key_type": "003"}, "10"),
        ({"key_type": "0ZZ"}, "28"),
        ({"key_type": "FFF"}, "28"),
        ({"key": BLOCK[:-1] + ("1" if BLOCK[-1] == "0" else "0")}, "A4"),
        ({"key": "U" + "G" * 32}, "15"),
        ({"algorithm": "9"}, "04"),
        ({"padding": "9"}, "15"),
    ],
)
def test_a_mac_is_refused(changes: dict[str, str], error: str) -> None:
    assert ask("M6", **mac_request(**changes)) == (error, {})


@pytest.mark.parametrize("formats", [("99", "01"), ("01", "99"), ("01", "05")])
def test_a_format_the_unit_does_not_translate_is_refused(
    formats: tuple[str, str],
) -> None:
    answer = ask(
        "CC",
        source=wrap_key(VALUE, "001"),
        target=wrap_key(VALUE, "001"),
        length_max="12",
        block=pin_block("1234"),
        source_format=formats[0],
        target_format=formats[1],
        account=ACCOUNT,
    )
    assert answer == ("23", {})


@pytest.mark.parametrize(
    "request_", [b"0042QQ", b"0042", b"", b"0042M", b"0042\xff\xff"]
)
def test_an_unknown_command_is_disabled(request_: bytes) -> None:
    answer = PayshieldUnit().answer(request_)
    assert answer.startswith(request_[:4])
    assert answer.endswith(b"68")


@given(code=st.sampled_from(sorted(LAYOUTS)), data=st.binary(max_size=120))
def test_any_bytes_get_an_answer(code: str, data: bytes) -> None:
    answer = PayshieldUnit().answer(b"0042" + code.encode() + data)
    assert answer[:6] == f"0042{LAYOUTS[code].response_code}".encode()
    assert len(answer) >= 8
