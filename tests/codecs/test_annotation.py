"""Messages in words, with nothing secret in them."""

from __future__ import annotations

import pytest

from isoswitch.codecs.annotation import Part, annotate
from isoswitch.codecs.canonical.errors import EncodeError
from isoswitch.codecs.iso8583.message import Message
from isoswitch.codecs.iso8583.spec import FieldSpec
from isoswitch.codecs.iso8583.specs import get_codec, spec_names

PAN = "4761739001010010"
TRACK = "4761739001010010D31122011212120531127"
CVV = "8374"
PIN_BLOCK = bytes.fromhex("041277CDDEEFF669")
PLANTS = (PAN, TRACK, TRACK.replace("D", "="), f"x{PAN}x", f"pan={PAN};cvv={CVV}")


def by_place(message: Message, *, unsafe: bool = False) -> dict[str, Part]:
    return {part.place: part for part in annotate(message, unsafe=unsafe)}


def shown(message: Message) -> str:
    """All that is shown of a message, blanks and masks left out."""
    text = "".join(
        f"{part.value}{part.meaning}{part.name}" for part in annotate(message)
    )
    return text.replace(" ", "").lower()


def test_values_are_told_with_their_place_and_meaning() -> None:
    message = get_codec("iso87-ascii").build(
        "0210", {3: "000000", 22: "051", 39: "51", 49: "978"}
    )
    parts = by_place(message)
    assert parts["mti"].meaning.endswith("financial; request response; acquirer")
    assert parts["39"].meaning.startswith("not sufficient funds")
    assert parts["49"].meaning == "EUR, 2 decimals"
    assert message.raw[parts["39"].offset :][: parts["39"].size] == b"51"


def test_codes_of_a_network_are_its_own() -> None:
    values: dict[int, str | bytes] = {39: "A0"}
    unionpay = by_place(get_codec("cup-pos").build("0210", values))
    assert "MAC" in unionpay["39"].meaning
    assert by_place(get_codec("iso87-bcd").build("0210", values))["39"].meaning == (
        "not assigned"
    )


@pytest.mark.parametrize("name", ["iso87-bcd", "iso87-ascii", "iso87-ascii-raw"])
def test_chip_data_is_taken_apart_in_any_dialect(name: str) -> None:
    codec = get_codec(name)
    chip = bytes.fromhex("9F2701805A084761739001010010")
    is_text = codec.spec.fields[55].cls != "b"
    message = codec.build("0100", {55: chip.hex().upper() if is_text else chip})
    parts = by_place(message)
    assert parts["55.9F27"].meaning == "ARQC: asks the issuer"
    assert parts["55.5A"].value == "476173******0010"
    if not is_text:
        at = parts["55.9F27"].offset
        assert message.raw[at : at + 2] == b"\x9f\x27"
    assert by_place(message, unsafe=True)["55.5A"].value == PAN


def test_the_application_decides_what_a_private_tag_means() -> None:
    chip = bytes.fromhex("8407A00000000310109F6E0423880000")
    parts = by_place(get_codec("iso87-bcd").build("0100", {55: chip}))
    assert "consumer mobile phone" in parts["55.9F6E"].meaning


def test_private_fields_are_taken_apart() -> None:
    message = get_codec("cup-pos").build("0800", {60: "00000001003"})
    parts = by_place(message)
    assert (parts["60.2"].value, parts["60.2"].offset) == ("000001", -1)
    visa = get_codec("visa-vip-like")
    parts = by_place(visa.build("0100", {62: bytes.fromhex("8000000000000000E8")}))
    assert parts["62.1"].value == "Y"


def test_a_composite_that_is_broken_says_where() -> None:
    message = get_codec("iso87-bcd").build("0100", {55: bytes.fromhex("9F270280")})
    part = by_place(message)["55.9F27"]
    assert part.name.startswith("not as the layout says: ")
    assert part.offset == message.offset(55) + 2
    assert part.value == ""
    text = by_place(get_codec("iso87-ascii").build("0100", {55: "no TLV"}))
    assert text["55"].value.startswith("***")


def test_an_unknown_part_of_a_hidden_field_is_not_shown() -> None:
    message = get_codec("iso87-bcd").build("0100", {55: bytes.fromhex("DF7F021234")})
    assert by_place(message)["55.DF7F"].value == "***"
    assert by_place(message, unsafe=True)["55.DF7F"].value == "1234"


def test_empty_fields_are_shown_empty() -> None:
    parts = by_place(get_codec("iso87-bcd").build("0100", {2: "", 55: b""}))
    assert parts["2"].value == ""
    assert "55" in parts


def planted(field: FieldSpec, secret: str) -> list[str | bytes]:
    """The values of a field with a secret in it, in its encodings."""
    if field.cls == "b":
        ways = [secret.encode(), secret.encode("cp500")]
        ways += [bytes.fromhex(secret)] if secret == PAN else []
        return [way.ljust(0 if field.length else field.max, b"\0") for way in ways]
    return [secret.ljust(0 if field.length else field.max, "0")]


@pytest.mark.parametrize("name", spec_names())
def test_a_card_number_is_shown_nowhere(name: str) -> None:
    codec = get_codec(name)
    for de, field in codec.spec.fields.items():
        for value in [each for plant in PLANTS for each in planted(field, plant)]:
            try:
                message = codec.build("0100", {de: value})
            except EncodeError:
                continue
            text = shown(message)
            assert PAN not in text, de
            for charset in ("ascii", "cp500"):
                assert PAN.encode(charset).hex() not in text, de
            assert "31122011212" not in text, de


@pytest.mark.parametrize("name", spec_names())
def test_security_codes_and_pin_blocks_are_shown_nowhere(name: str) -> None:
    codec = get_codec(name)
    for de in {46, 48, 52, 53, 55, 59, *range(120, 128)} & codec.spec.fields.keys():
        field = codec.spec.fields[de]
        if field.masking == "show" or field.cls == "n":
            continue
        secret = PIN_BLOCK if de == 52 else f"CV{CVV}".encode()
        value = secret if field.cls == "b" else secret.decode("latin-1")
        try:
            text = shown(codec.build("0100", {de: value}))
        except EncodeError:
            continue
        assert CVV not in text, de
        assert CVV.encode().hex() not in text, de
        assert PIN_BLOCK.hex() not in text, de


def test_the_security_code_of_a_known_part_is_hidden() -> None:
    """Mastercard's DE 48.92 and Visa's DE 126.10 hold it."""
    subfield = f"T9204{CVV}".encode("cp500")
    mastercard = get_codec("mastercard-cis-like").build("0100", {48: subfield})
    assert by_place(mastercard)["48.92"].value == "***"
    octets = bytes.fromhex("0040000000000000") + f"11{CVV}".encode("cp500")
    visa = get_codec("visa-vip-like").build("0100", {126: octets})
    assert by_place(visa)["126.10"].value == "***"
