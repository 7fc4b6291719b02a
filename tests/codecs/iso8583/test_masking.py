"""No text form of a message shows a card number, track, PIN block or security code."""

from __future__ import annotations

import json

import pytest

from isoswitch.codecs.canonical.errors import DecodeError, EncodeError
from isoswitch.codecs.iso8583.codec import Codec
from isoswitch.codecs.iso8583.diff import describe_diff
from isoswitch.codecs.iso8583.masking import mask_value, scan
from isoswitch.codecs.iso8583.message import Message
from isoswitch.codecs.iso8583.spec import FieldSpec
from isoswitch.codecs.iso8583.specs import get_codec, spec_names

PAN = "4761739001010010"
TRACK = "4761739001010010D31122011212120531127"
PIN_BLOCK = bytes.fromhex("041277CDDEEFF669")
CVV = "837"
PLANTS = (PAN, PAN.encode(), bytes.fromhex(PAN), TRACK, TRACK.replace("D", "="))


def plant(field: FieldSpec, secret: str | bytes) -> str | bytes | None:
    """A value of the field with the secret in it, or None where it cannot hold it."""
    value = secret
    if field.cls == "b":
        value = secret.encode() if isinstance(secret, str) else secret
        value = value if field.length else value.ljust(field.max, b"\0")
    elif isinstance(secret, bytes):
        return None
    elif not field.length:
        value = secret.ljust(field.max, "0" if field.cls == "n" else " ")
    return value


def built_or_refused(codec: Codec, values: dict[int, str | bytes]) -> Message | None:
    try:
        return codec.build("0100", values)
    except EncodeError as exc:
        shown = f"{exc!r} {exc} {exc.__cause__!r}"
    assert PAN not in shown
    return None


def text_forms(message: Message) -> str:
    shown = json.dumps(message.masked(), ensure_ascii=False)
    other = message.replace({message.fields[0]: None}, mti="0110")
    return "\n".join(
        [
            repr(message),
            str(message),
            message.describe(),
            shown,
            repr(message.masked()),
            describe_diff(message, other),
        ]
    )


@pytest.mark.parametrize("name", spec_names())
@pytest.mark.parametrize("secret", PLANTS, ids=["text", "octets", "packed", "D", "="])
def test_a_card_number_is_shown_nowhere(name: str, secret: str | bytes) -> None:
    codec = get_codec(name)
    planted = 0
    for de, field in codec.spec.fields.items():
        value = plant(field, secret)
        if value is None:
            continue
        message = built_or_refused(codec, {de: value})
        if message is None:
            continue
        planted += 1
        shown = text_forms(message).replace(" ", "")
        assert PAN not in shown, de
        assert PAN.encode().hex() not in shown.lower(), de
        assert "31122011212" not in shown, de
    assert planted > 0 or isinstance(secret, bytes)


@pytest.mark.parametrize("name", ["iso87-ascii", "iso87-bcd", "iso93-bcd", "cup-pos"])
def test_security_codes_and_pin_blocks_are_shown_nowhere(name: str) -> None:
    codec = get_codec(name)
    for de in (46, 48, 52, 55, 59, 62, 63, *range(120, 128)):
        field = codec.spec.fields[de]
        secret = CVV.encode() if field.cls == "b" else CVV
        if field.masking == "show" or field.cls == "n":
            continue
        value = PIN_BLOCK if de == 52 else secret
        shown = codec.build("0100", {de: value}).masked()[str(de)]
        assert CVV not in shown
        assert PIN_BLOCK.hex() not in shown.lower()


def test_an_error_shows_nothing_of_the_message() -> None:
    codec = get_codec("iso87-ascii")
    raw = codec.build("0100", {2: PAN, 4: "000000001250"}).raw
    with pytest.raises(DecodeError) as refused:
        codec.decode(raw.replace(b"1250", b"125X"))
    assert PAN not in f"{refused.value!r} {refused.value} {vars(refused.value)}"
    assert refused.value.__context__ is None or PAN not in repr(
        refused.value.__context__
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("4111111111111111", "411111******1111"),
        ("4111-1111-1111-1111", "411111*********1111"),
        ("100000000000001", "100000000000001"),
        ("000000001250", "000000001250"),
        ("00004111111111111111", "000041**********1111"),
        (
            "a 4111111111111111 b 5413330089010434",
            "a 411111******1111 b 541333******0434",
        ),
    ],
)
def test_only_what_may_be_a_card_number_is_masked(text: str, shown: str) -> None:
    assert scan(text) == shown


@pytest.mark.parametrize(
    ("value", "masking", "shown"),
    [
        ("", "pan", ""),
        ("47617390*1010010", "pan", "*" * 16),
        ("%B4111111111111111^DOE/J^2912101", "track", "411111******1111 and 14 more"),
        (";4111111111111111=2912101", "track", "411111******1111 and 8 more"),
        ("nonsense", "track", "*** (8 characters)"),
        ("abc", "hide", "*** (3 characters)"),
        (b"\x41\x11", "show", "4111"),
        (b"4111111111111111", "show", "*** (16 bytes)"),
        ("4111111111111111".encode("cp500"), "show", "*** (16 bytes)"),
        ("to 4111111111111112=29121010000", "show", "to 411111******1112=***********"),
        ("a\x1cb\x00", "show", "a\N{MIDDLE DOT}b\N{MIDDLE DOT}"),
    ],
)
def test_each_masking_fails_closed(
    value: str | bytes, masking: str, shown: str
) -> None:
    assert mask_value(value, masking) == shown  # type: ignore[arg-type]
