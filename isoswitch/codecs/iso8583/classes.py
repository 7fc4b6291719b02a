"""Field classes as sets of bytes: which bytes a class admits in a charset.

Whether a field holds what its class says is asked of bytes as they came, in any
charset: what is left of the field when all admitted bytes are stripped from its left
starts with the first wrong one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from types import MappingProxyType

from isoswitch.codecs.iso8583.charsets import FROM_VIEW

ByteSet = bytes
"""Bytes in ascending order, each once."""

_DIGITS = b"0123456789"
_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz "
_PRINTABLE = bytes(range(0x20, 0x7F))

_ADMITTED: Mapping[str, bytes] = MappingProxyType(
    {
        "n": _DIGITS,
        "a": _LETTERS,
        "an": _DIGITS + _LETTERS,
        "ans": _PRINTABLE,
        "text": bytes(range(0x80)),
        # ISO 7811-2 code set, and the letters that stand for it in packed form.
        "z": _DIGITS + b":;<=>?ABCDEF",
        "x+n": b"CD" + _DIGITS,
        "sign": b"CD",
        "hex": _DIGITS + b"ABCDEFabcdef",
    }
)

_ADMITTED_WIDE: Mapping[str, bytes] = MappingProxyType(
    {"ans": _PRINTABLE + bytes(range(0xA0, 0x100)), "text": bytes(range(0x100))}
)
"""Charsets of 256 characters have printable ones above the ASCII range."""

WRONG: Mapping[str, str] = MappingProxyType(
    {
        "n": "not a digit",
        "a": "not a letter",
        "an": "neither letter nor digit",
        "ans": "not a printable character",
        "text": "not a character of the charset",
        "z": "not a character of a track",
        "x+n": "not a sign C or D with digits",
        "b": "not a hexadecimal character",
    }
)
"""What an error says of a byte outside the class."""


@cache
def bytes_of(cls: str, charset: str) -> ByteSet:
    """Give the bytes that a class admits in a single-byte charset.

    Examples
    --------
    >>> bytes_of("n", "cp037")[0], len(bytes_of("ans", "ascii"))
    (240, 95)
    """
    admitted = _ADMITTED[cls]
    if charset != "ascii":
        admitted = _ADMITTED_WIDE.get(cls, admitted)
    table = FROM_VIEW.get(charset)
    return bytes(sorted(admitted if table is None else admitted.translate(table)))


def first_outside(admitted: ByteSet, raw: bytes, start: int, end: int) -> int:
    """Give the place of the first byte that is not admitted, or ``end``.

    Examples
    --------
    >>> first_outside(bytes_of("n", "ascii"), b"12x4", 0, 4)
    2
    """
    return end - len(raw[start:end].lstrip(admitted))


@cache
def class_of(admitted: ByteSet) -> bytes:
    """Give the character class of a pattern that matches these bytes.

    Examples
    --------
    >>> class_of(bytes_of("n", "ascii")), class_of(bytes(range(256)))
    (b'[0-9]', b'.')
    """
    if len(admitted) == 256:
        return b"."
    members = [
        b"-".join(re.escape(bytes([end])) for end in sorted({first, past - 1}))
        for first, past in spans_of(admitted)
    ]
    return b"[" + b"".join(members) + b"]"


def spans_of(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Give the runs of numbers that follow each other, each with one past its last.

    Examples
    --------
    >>> spans_of([1, 2, 3, 7, 4])
    [(1, 4), (7, 8), (4, 5)]
    """
    spans: list[tuple[int, int]] = []
    for number in numbers:
        if spans and spans[-1][1] == number:
            spans[-1] = spans[-1][0], number + 1
        else:
            spans.append((number, number + 1))
    return spans


def packed_set(*, left: str = "", right: str = "", letters: bool = False) -> ByteSet:
    """Give the bytes of two packed digits, one nibble of them fixed where named.

    Examples
    --------
    >>> 0x05 in packed_set(left="0"), 0x15 in packed_set(left="0")
    (True, False)
    """
    nibbles = "0123456789" + "abcdef" * letters
    return bytes(
        int(high + low, 16)
        for high in sorted(left.lower() or nibbles)
        for low in sorted(right.lower() or nibbles)
    )
