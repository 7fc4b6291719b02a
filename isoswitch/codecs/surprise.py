"""How surprising a message is: the bits it would take to tell it to somebody.

The same bytes can often be read in several layouts. The right one needs the fewest
bits: its dates are dates, its card number has the right check digit, its text is text.
A wrong one reads noise, and noise takes 8 bits for every byte. What a layout leaves
open (any bytes, any digits) costs what it leaves open, so a lax layout wins nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from isoswitch.codecs.annotation import layout_of
from isoswitch.codecs.canonical.errors import DecodeError
from isoswitch.codecs.canonical.money import CURRENCIES
from isoswitch.codecs.composites.model import Layout
from isoswitch.codecs.composites.networks import CHIP_DATA
from isoswitch.codecs.dialects.codes import (
    MEANINGS_1987,
    MEANINGS_1993,
    MEANINGS_2003,
    MEANINGS_UNIONPAY,
)
from isoswitch.codecs.dialects.vocabulary import TRANSACTION_TYPES
from isoswitch.codecs.emv.tracks import decode_track2
from isoswitch.codecs.iso8583.charsets import decode_text
from isoswitch.codecs.iso8583.masking import is_luhn_valid
from isoswitch.codecs.iso8583.message import Message
from isoswitch.codecs.iso8583.spec import FieldSpec

OCTET_BITS = 8.0
DIGIT_BITS = math.log2(10)
DOUBT_BITS = 7.0
"""What it costs that a value is not of the form it should have: one field in 128."""

Value = str | bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Surprise:
    """The bits of a message, and what speaks for and against its layout in words."""

    bits: float
    evidence: tuple[str, ...]
    doubts: tuple[str, ...]


def surprise_of(message: Message, announced: Collection[int] | None = None) -> Surprise:
    """Weigh a message that was read in some layout.

    Parameters
    ----------
    announced
        The fields that the bitmap names, where the message was not read to its end.

    Examples
    --------
    >>> from isoswitch.codecs.iso8583.specs import get_codec
    >>> build = get_codec("iso87-ascii").build
    >>> good = surprise_of(build("0800", {7: "0816170936", 11: "000001"}))
    >>> good.evidence
    ('DE 7 is a date and time',)
    >>> odd = surprise_of(build("0800", {7: "0899170936", 11: "000001"}))
    >>> odd.bits > good.bits, odd.doubts
    (True, ('DE 7 is not a date and time',))
    """
    bits = _mti_bits(message.mti, message.codec.spec.edition)
    bits += _map_bits(message.fields if announced is None else announced)
    evidence: list[str] = []
    doubts: list[str] = []
    for de, value in message.values().items():
        field = message.codec.spec.fields[de]
        bits += math.log2(field.max + 1) if field.length else 0.0
        layout = layout_of(message.codec.name, de)
        if layout is not None and value:
            found = _weigh_composite(layout, value)
        else:
            found = _weigh_value(field, value)
        bits += found.bits
        if found.words:
            (evidence if found.holds else doubts).append(f"DE {de} {found.words}")
    return Surprise(bits=bits, evidence=tuple(evidence), doubts=tuple(doubts))


@dataclass(frozen=True, slots=True)
class _Weight:
    bits: float
    words: str = ""
    holds: bool = True


@dataclass(frozen=True, slots=True)
class _Form:
    """A form that values of a field have: its test, and the bits of one that has it."""

    words: str
    is_met: Callable[[str], bool]
    bits: float


def _is_month_and_day(text: str) -> bool:
    return "01" <= text[:2] <= "12" and "01" <= text[2:4] <= "31"


def _is_time(text: str) -> bool:
    return text[:2] < "24" and text[2:4] < "60" and text[4:6] < "60"


def _is_card_number(text: str) -> bool:
    return len(text) >= 12 and text.isdecimal() and is_luhn_valid(text)


def _is_track(text: str) -> bool:
    try:
        track = decode_track2(text)
    except DecodeError:
        return False
    return is_luhn_valid(track.pan.reveal())


_DATE_BITS = math.log2(366)
_TIME_BITS = math.log2(86_400)
_YEAR_BITS = math.log2(30)
_MONTH = _Form(
    "is a year and month", lambda text: "01" <= text[2:4] <= "12", _YEAR_BITS + 3.6
)
_DATE = _Form("is a date", _is_month_and_day, _DATE_BITS)
_DATE_6 = _Form(
    "is a date", lambda text: _is_month_and_day(text[2:]), _DATE_BITS + _YEAR_BITS
)
_CURRENCY = _Form("is a currency", lambda text: text in CURRENCIES, 6.0)

# By data element and length; editions that use a number otherwise differ in length.
_FORMS: Mapping[tuple[int, int], _Form] = {
    (3, 6): _Form(
        "is a known transaction type",
        lambda text: text[:2] in TRANSACTION_TYPES,
        4.0 + 6.0,
    ),
    (7, 10): _Form(
        "is a date and time",
        lambda text: _is_month_and_day(text) and _is_time(text[4:]),
        _DATE_BITS + _TIME_BITS,
    ),
    (12, 6): _Form("is a time", _is_time, _TIME_BITS),
    (12, 12): _Form(
        "is a date and time",
        lambda text: _is_month_and_day(text[2:]) and _is_time(text[6:]),
        _YEAR_BITS + _DATE_BITS + _TIME_BITS,
    ),
    (12, 14): _Form(
        "is a date and time",
        lambda text: (
            text[:2] in {"19", "20"}
            and _is_month_and_day(text[4:])
            and _is_time(text[8:])
        ),
        _YEAR_BITS + _DATE_BITS + _TIME_BITS,
    ),
    (13, 4): _Form("is a date", lambda text: text[2:] != "00", _DATE_BITS),
    (14, 4): _MONTH,
    **{(de, 4): _DATE for de in (15, 16, 17)},
    **{(de, 6): _DATE_6 for de in (15, 16, 17, 28, 73)},
    **{(de, 3): _CURRENCY for de in (49, 50, 51)},
    (39, 2): _Form(
        "is a response code",
        lambda text: text in MEANINGS_1987 or text in MEANINGS_UNIONPAY,
        5.0,
    ),
    (39, 3): _Form("is an action code", MEANINGS_1993.__contains__, 6.0),
    (39, 4): _Form("is an action code", MEANINGS_2003.__contains__, 7.0),
}

_CARD_NUMBER = _Form("is a card number by its check digit", _is_card_number, 0.0)
_TRACK = _Form("is a track with a card number", _is_track, 0.0)

# What a transaction of any network usually carries; everything else is rare.
_COMMON = frozenset(
    {*range(2, 5), 7, *range(11, 15), 22, 24, 25, 32, 37, 39, *(41, 42)}
)
_USUAL = frozenset(
    {1, 15, 18, 19, 23, 26, 33, 35, 38, 43, 48, 49, 52, 53, 54, 55, 90, 95, 102, 103}
    | {*range(60, 65), 70, 123, 126, 127, 128}
)
_PRESENT_BITS = {"common": 1.0, "usual": 2.6, "rare": 6.6}
_ABSENT_BITS = {"common": 1.0, "usual": 0.26, "rare": 0.015}

_MTI_BITS: tuple[Mapping[str, float], ...] = (
    {"0": 1.0, "1": 2.0, "2": 4.0},
    {"1": 2.0, "2": 2.0, "4": 2.5, "8": 2.0, "3": 5.0, "5": 5.0, "6": 5.0},
    {"0": 1.5, "1": 1.5, "2": 3.0, "3": 3.0, "4": 5.0},
    {"0": 0.3, "1": 4.0, "5": 6.0},
)
_ODD_MTI_BITS = 8.0
_VERSIONS = {"1987": "0", "1993": "1", "2003": "2"}
_OTHER_EDITION_BITS = 12.0


def _mti_bits(mti: str, edition: str) -> float:
    """A type indicator of another edition than its layout's is rare."""
    bits = 0.0 if mti[0] == _VERSIONS[edition] else _OTHER_EDITION_BITS
    for digit, known in zip(mti, _MTI_BITS, strict=True):
        bits += known.get(digit, _ODD_MTI_BITS)
    return bits


def _map_bits(present: Collection[int]) -> float:
    bits = 0.0
    for de in range(2, 129 if max(present, default=0) > 64 else 65):
        kind = "common" if de in _COMMON else "usual" if de in _USUAL else "rare"
        bits += (_PRESENT_BITS if de in present else _ABSENT_BITS)[kind]
    return bits


def _weigh_composite(layout: Layout, value: Value) -> _Weight:
    """Parts that are where they should be surprise less than what they are made of."""
    plain = _plain_bits(value)
    if isinstance(value, str) and layout is CHIP_DATA:
        try:
            value = bytes.fromhex(value)
        except ValueError:
            return _Weight(plain)
    try:
        composite = layout.decode(value)
    except DecodeError:
        return _Weight(plain + DOUBT_BITS, "is not made of its known parts", False)
    unknown = sum(1 for _ in composite.unknown())
    named = len(composite.elements) - unknown
    if named <= 0:
        return _Weight(plain)
    return _Weight(plain * 0.6 + 6.0 * unknown, "is made of known parts")


def _weigh_value(field: FieldSpec, value: Value) -> _Weight:
    plain = _plain_bits(value)
    form = _FORMS.get((field.de, len(value)))
    is_number = field.cls == "n" or isinstance(value, bytes)
    if field.de == 2:
        form, plain = _CARD_NUMBER, DIGIT_BITS * len(value)
    elif field.de == 35:
        form = _TRACK
    if form is None or isinstance(value, bytes) or not value.strip("0 "):
        return _Weight(plain)
    if form.is_met(value):
        # A check digit tells the last of the digits.
        bits = form.bits or plain - DIGIT_BITS
        return _Weight(min(bits, plain), form.words)
    if "*" in value:
        return _Weight(plain)
    doubt = DOUBT_BITS if is_number or form.bits else DOUBT_BITS / 2
    return _Weight(plain + doubt, form.words.replace("is ", "is not ", 1), False)


def _plain_bits(value: Value) -> float:
    """The bits of a value of which nothing is known but its characters."""
    if isinstance(value, bytes):
        # Many a field of bytes holds text all the same.
        texts = (decode_text(value, charset) for charset in ("latin-1", "cp500"))
        return min(OCTET_BITS * len(value), *(1.0 + _plain_bits(t) for t in texts))
    if value.isdecimal():
        # Numbers are filled up with zeros.
        significant = value.lstrip("0")
        return DIGIT_BITS * len(significant) + 0.7 * (len(value) - len(significant))
    bits = 0.0
    for words, price in _PRICES:
        bits += price * len(words.findall(value))
    return bits


# Blanks come in rows; letters and digits are what fields are made of.
_PRICES: tuple[tuple[re.Pattern[str], float], ...] = (
    (re.compile(r" "), 1.0),
    (re.compile(r"[0-9]"), 4.0),
    (re.compile(r"[A-Z]"), 5.0),
    (re.compile(r"[a-z]"), 5.5),
    (re.compile(r"[=*.,:/#&'()+-]"), 7.0),
    (re.compile(r"[!\"$%;<>?@\[\\\]^_`{|}~]"), 9.0),
    (re.compile(r"[\x00-\x1f\x7f-\x9f]"), 12.0),
    (re.compile(r"[\xa0-\xff]"), 11.0),
    (re.compile(r"[\u0100-\U0010ffff]"), 13.0),
)
