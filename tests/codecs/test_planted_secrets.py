"""No text form of a message shows a secret, wherever its sender has hidden it.

A card number, track, PIN block or security code is planted in every field and chip data
object of every layout. Each test also finds it in the same message shown in clear, so
that a search which finds nothing anywhere would fail.
"""

from __future__ import annotations

import json
import traceback
from dataclasses import asdict

import pytest

from isoswitch.codecs.annotation import annotate, layout_of
from isoswitch.codecs.canonical.errors import DecodeError, EncodeError
from isoswitch.codecs.emv.describe import describe_tlv
from isoswitch.codecs.emv.tlv import decode_tlv
from isoswitch.codecs.iso8583.codec import Codec
from isoswitch.codecs.iso8583.diff import describe_diff
from isoswitch.codecs.iso8583.message import Message
from isoswitch.codecs.iso8583.spec import FieldSpec
from isoswitch.codecs.iso8583.specs import get_codec, spec_names

PAN = "4761739001010010"
DISCRETIONARY = "31122011212120531127"
TRACK = f"{PAN}D{DISCRETIONARY}"
TRACK_1 = f"B{PAN}^CARDHOLDER/TEST^{DISCRETIONARY}"
PIN_BLOCK = "041277CDDEEFF669"
CVV = "837"

CARD_PLANTS: dict[str, str | bytes] = {
    "text": PAN,
    "grouped": "4761 7390 0101 0010",
    "ASCII": PAN.encode(),
    "EBCDIC": PAN.encode("cp500"),
    "packed": bytes.fromhex(PAN),
    "track 2, D": TRACK,
    "track 2, =": TRACK.replace("D", "="),
    "track 2, packed": bytes.fromhex(TRACK + "F"),
    "track 1": TRACK_1,
}
HIDING_PLACES = (2, 34, 35, 36, 45, 46, 48, 52, 53, 55, 62, 63, 102, *range(120, 128))
ALL_LAYOUTS = pytest.mark.parametrize("name", spec_names())


def planted(field: FieldSpec, secret: str | bytes) -> str | bytes | None:
    """A value of the field with the secret in it, or None where it cannot hold it."""
    if field.cls == "b":
        octets = secret.encode() if isinstance(secret, str) else secret
        return octets if field.length else octets.ljust(field.max, b"\0")
    if isinstance(secret, bytes):
        return None
    if field.length:
        return secret
    return secret.ljust(field.max, "0" if field.cls == "n" else " ")


def built(codec: Codec, de: int, secret: str | bytes) -> Message | None:
    """A message with the secret in one field; None where the field refuses it."""
    value = planted(codec.spec.fields[de], secret)
    if value is None:
        return None
    try:
        return codec.build("0100", {de: value})
    except EncodeError as exc:
        shown = "".join(traceback.format_exception(exc))
    assert found(secret, shown) == []
    return None


def text_forms(message: Message) -> str:
    """Everything that a message can be turned into for showing and storing."""
    other = message.replace({message.fields[0]: None}, mti="0110")
    forms = [
        repr(message),
        str(message),
        message.describe(),
        json.dumps(message.masked(), ensure_ascii=False),
        describe_diff(message, other),
        describe_diff(other, message),
        *(json.dumps(asdict(part)) for part in annotate(message)),
        *(repr(part) for part in annotate(message, is_doubtful=True)),
    ]
    return "\n".join(forms)


def clear_form(message: Message) -> str:
    return "\n".join(part.value for part in annotate(message, unsafe=True))


def found(secret: str | bytes, text: str) -> list[str]:
    """The forms of the secret that stand in a text."""
    is_short = len(secret) < len(PIN_BLOCK) // 2
    wanted = {secret} if is_short else {secret, PAN, PIN_BLOCK, DISCRETIONARY[:11]}
    forms = set()
    for each in wanted:
        octets = each.encode() if isinstance(each, str) else each
        forms |= {octets.hex()} | {octets.decode("latin-1").replace(" ", "")}
    forms |= {octets.hex() for octets in (PAN.encode("cp500"), PAN.encode())}
    flat = text.replace(" ", "").lower()
    return [form for form in forms if form.lower() in flat]


@ALL_LAYOUTS
@pytest.mark.parametrize("plant", CARD_PLANTS)
def test_a_card_number_or_track_is_shown_nowhere(name: str, plant: str) -> None:
    codec, secret = get_codec(name), CARD_PLANTS[plant]
    messages = {de: built(codec, de, secret) for de in codec.spec.fields}
    planted_in = {de: message for de, message in messages.items() if message}
    for de, message in planted_in.items():
        assert found(secret, clear_form(message)), de
        assert found(secret, text_forms(message)) == [], de
    # Some layouts have no binary field that is long enough.
    assert planted_in or isinstance(secret, bytes)


@ALL_LAYOUTS
@pytest.mark.parametrize("secret", [PIN_BLOCK, bytes.fromhex(PIN_BLOCK)])
def test_a_pin_block_is_shown_nowhere(name: str, secret: str | bytes) -> None:
    codec = get_codec(name)
    places = [de for de in HIDING_PLACES if de in codec.spec.fields]
    messages = {de: built(codec, de, secret) for de in places}
    for de, message in messages.items():
        if message is not None:
            assert found(secret, clear_form(message)), de
            assert found(secret, text_forms(message)) == [], de
    assert messages[52] is not None or isinstance(secret, str)


@ALL_LAYOUTS
def test_a_security_code_is_shown_nowhere(name: str) -> None:
    codec = get_codec(name)
    places = [de for de in HIDING_PLACES if de in codec.spec.fields]
    messages = {de: built(codec, de, CVV) for de in places}
    for de, message in messages.items():
        if message is None:
            continue
        row = message.describe().splitlines()[1]
        shown = [message.masked()[str(de)], row.rsplit("  ", 1)[1]]
        shown += [part.value for part in annotate(message) if part.place == str(de)]
        assert found(CVV, clear_form(message)), de
        assert found(CVV, "\n".join(shown)) == [], de
    assert any(messages.values())


CHIP_TAGS = ("5A", "56", "57", "5F20", "99", "9F0B", "9F1F", "9F20", "9F6B", "9F7C")
FREE_TAGS = ("50", "9F12", "9F4E", "DF01", "DF8101", "C1")


@pytest.mark.parametrize("plant", CARD_PLANTS)
@pytest.mark.parametrize("template", ["", "70", "77"])
@pytest.mark.parametrize("tag", CHIP_TAGS + FREE_TAGS)
def test_chip_data_shows_no_card_number(tag: str, template: str, plant: str) -> None:
    secret = CARD_PLANTS[plant]
    octets = secret.encode() if isinstance(secret, str) else secret
    data = tlv(tag, octets)
    if template:
        data = tlv(template, data)
    objects = decode_tlv(data)
    clear = "\n".join(view.value for view in describe_tlv(objects, unsafe=True))
    assert found(secret, clear)
    shown = [repr(objects), str(objects), *map(repr, describe_tlv(objects))]
    layout = layout_of("iso87-bcd", 55)
    assert layout is not None
    composite = layout.decode(data, path="55")
    shown += [repr(composite), repr(composite.elements), repr(composite.describe())]
    message = get_codec("iso87-bcd").build("0100", {55: data})
    assert found(secret, "\n".join(shown) + text_forms(message)) == []


@pytest.mark.parametrize("tag", ["56", "57", "99", "9F0B", "9F1F", "9F20", "9F6B"])
def test_chip_data_shows_no_pin_or_discretionary_data(tag: str) -> None:
    for secret in (PIN_BLOCK, DISCRETIONARY):
        objects = decode_tlv(tlv(tag, bytes.fromhex(secret)))
        assert found(secret, repr(describe_tlv(objects, unsafe=True)))
        assert found(secret, repr(describe_tlv(objects)) + repr(objects)) == []


def tlv(tag: str, value: bytes) -> bytes:
    return bytes.fromhex(tag) + bytes([len(value)]) + value


@ALL_LAYOUTS
def test_an_error_shows_nothing_of_the_message(name: str) -> None:
    codec = get_codec(name)
    raw = codec.build("0100", {2: PAN, 11: stan(codec)}).raw
    mutants = [raw[:place] + b"\xff" + raw[place + 1 :] for place in range(len(raw))]
    cuts = [raw[:place] for place in range(len(raw))]
    errors = []
    for wrong in (*mutants, *cuts, raw + b"0"):
        try:
            codec.decode(wrong)
        except DecodeError as exc:
            errors.append(exc)
    assert len(errors) > len(raw)
    for error in errors:
        shown = "".join(traceback.format_exception(error)) + repr(vars(error))
        assert found(PAN, shown) == []
    assert found(PAN, "".join(traceback.format_exception(ValueError(raw.hex() + PAN))))


def stan(codec: Codec) -> str:
    return "0" * codec.spec.fields[11].max
