"""What of a field may be shown: masked by its kind, and scanned for card numbers.

Fields that are shown are scanned too, because a sender may hide a card number anywhere;
fields of free format are not shown at all, because a card security code among other
digits looks like nothing. The rules fail closed: what is in doubt is hidden.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from isoswitch.codecs.canonical.secrets import mask_pan
from isoswitch.codecs.iso8583.charsets import decode_text
from isoswitch.codecs.iso8583.spec import FieldSpec, Masking

Mask = Callable[[str | bytes], str]

_PAN_DIGITS_MIN, _PAN_DIGITS_MAX = 13, 19
# Classes that hold only characters which may be shown, in every charset.
_PLAIN_CLASSES = frozenset({"n", "a", "an", "x+n"})
_RUN_DIGITS_MAX = 64
_DIGIT_RUN = re.compile(r"\d(?:[ \-.]?\d){12,}")
# What such a run looks like at first sight, found many times as fast.
_LONG_RUN = re.compile(r"\d[\d \-.]{11,}\d")
_TRACK_RUN = re.compile(r"(\d{8,19})([=D^])(\d{7,})")
_NO_DIGITS = re.compile(r"\D")
_TRACK_START = re.compile(r"[;%]?[A-Z]?(\d{8,19})(?=[=D^])")
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
_UNPRINTABLE = re.compile(r"[^\x20-\x7e\xa0-\U0010ffff]")


def mask_value(value: str | bytes, masking: Masking) -> str:
    """Give a value as text that may be shown and stored.

    Examples
    --------
    >>> mask_value("4111111111111111", "pan")
    '411111******1111'
    >>> mask_value("4111111111111111=29121010000012300000", "track")
    '411111******1111 and 21 more'
    >>> mask_value(bytes(8), "hide")
    '*** (8 bytes)'
    >>> mask_value("order 4111 1111 1111 1111", "show")
    'order 411111*********1111'
    """
    return MASKS[masking](value)


def mask_of(field: FieldSpec) -> Mask | None:
    """Give what turns the checked values of a field into text that may be shown.

    Most fields are too short to hide a card number, and of plain characters: their
    values are the text, and need no mask.
    """
    is_short = field.masking == "show" and field.max < _PAN_DIGITS_MIN
    return None if is_short and field.cls in _PLAIN_CLASSES else MASKS[field.masking]


def scan(text: str) -> str:
    """Mask every run of digits that may be a card number, separators included.

    Examples
    --------
    >>> scan("000000001250"), scan("x4111111111111111x")
    ('000000001250', 'x411111******1111x')
    """
    if len(text) < _PAN_DIGITS_MIN:
        return text
    if "=" in text or "D" in text or "^" in text:
        text = _TRACK_RUN.sub(_mask_track_run, text)
    if _LONG_RUN.search(text):
        text = _DIGIT_RUN.sub(_mask_digit_run, text)
    return text


def is_luhn_valid(digits: str) -> bool:
    """Whether the last digit is the check digit of the others (ISO 7812-1 annex B).

    Examples
    --------
    >>> is_luhn_valid("4111111111111111"), is_luhn_valid("4111111111111112")
    (True, False)
    """
    total = sum(map(int, digits[-1::-2]))
    return (total + sum(_DOUBLED[int(digit)] for digit in digits[-2::-2])) % 10 == 0


def _mask_track_run(run: re.Match[str]) -> str:
    return mask_pan(run[1]) + run[2] + "*" * len(run[3])


def _mask_digit_run(found: re.Match[str]) -> str:
    run = found.group()
    digits = _NO_DIGITS.sub("", run)
    # No number starts with zero.
    if len(digits.lstrip("0")) < _PAN_DIGITS_MIN:
        return run
    # Judging every part of a long run costs too much, and would find one anyway.
    is_long = len(digits) > _RUN_DIGITS_MAX
    if not is_long and not any(_windows(digits)):
        return run
    # The run may hold a number at any place; only its own ends stay.
    return digits[:6] + "*" * (len(run) - 10) + digits[-4:]


def _windows(digits: str) -> Iterator[bool]:
    return (
        is_luhn_valid(digits[start : start + size])
        for start in range(len(digits) - _PAN_DIGITS_MIN + 1)
        for size in range(_PAN_DIGITS_MIN, _PAN_DIGITS_MAX + 1)
        if start + size <= len(digits) and digits[start] != "0"
    )


def holds_card_number(value: bytes) -> bool:
    """Whether bytes spell a card number in ASCII, EBCDIC or packed digits.

    Examples
    --------
    >>> holds_card_number(bytes.fromhex("5A084761739001010010"))
    True
    """
    return _holds_number(value, value.hex().upper())


def _holds_number(value: bytes, digits: str) -> bool:
    if scan(digits) != digits:
        return True
    if len(value) < _PAN_DIGITS_MIN:
        return False
    forms = decode_text(value, "latin-1"), decode_text(value, "cp037")
    return any(scan(form) != form for form in forms)


def _show(value: str | bytes) -> str:
    if isinstance(value, bytes):
        digits = value.hex().upper()
        return _hide(value) if _holds_number(value, digits) else digits
    # Most values are too short to hide a card number.
    text = value if len(value) < _PAN_DIGITS_MIN else scan(value)
    if text.isascii() and text.isprintable():
        return text
    return _UNPRINTABLE.sub("\N{MIDDLE DOT}", text)


def _hide(value: str | bytes) -> str:
    unit = "bytes" if isinstance(value, bytes) else "characters"
    return f"*** ({len(value)} {unit})"


def _mask_number(value: str | bytes) -> str:
    if isinstance(value, bytes):
        return _hide(value)
    return mask_pan(value) if value.isdecimal() else "*" * len(value)


def _mask_track(value: str | bytes) -> str:
    number = None if isinstance(value, bytes) else _TRACK_START.match(value)
    if number is None:
        return _hide(value)
    return f"{_mask_number(number[1])} and {len(value) - number.end()} more"


MASKS: Mapping[Masking, Callable[[str | bytes], str]] = MappingProxyType(
    {"show": _show, "hide": _hide, "pan": _mask_number, "track": _mask_track}
)
"""What turns a value into text, for each masking."""
