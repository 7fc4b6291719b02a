"""Single-byte charsets as translation tables, cp1047 included.

A message in an EBCDIC charset is translated once into a *view*, the same bytes in
ISO 8859-1, in which every check and slice then works as in an ASCII message. The
three EBCDIC pages share letters, digits, blank and backslash and differ in nine
code points. CPython has no codec for cp1047; it is cp037 with six of them exchanged.
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from types import MappingProxyType

_CP1047_PATCH = {
    0x5F: 0x5E,
    0xAD: 0x5B,
    0xB0: 0xAC,
    0xBA: 0xDD,
    0xBB: 0xA8,
    0xBD: 0x5D,
}


def _codec_table(name: str) -> bytes:
    return bytes(range(256)).decode(name).encode("latin-1")


def _cp1047() -> bytes:
    table = bytearray(_codec_table("cp037"))
    for code, latin in _CP1047_PATCH.items():
        table[code] = latin
    return bytes(table)


def _inverse(table: bytes) -> bytes:
    return bytes(map(table.index, range(256)))


TO_VIEW: Mapping[str, bytes] = MappingProxyType(
    {
        "cp037": _codec_table("cp037"),
        "cp500": _codec_table("cp500"),
        "cp1047": _cp1047(),
    }
)
"""For each EBCDIC charset: the ISO 8859-1 code of every byte."""

FROM_VIEW: Mapping[str, bytes] = MappingProxyType(
    {name: _inverse(table) for name, table in TO_VIEW.items()}
)
"""For each EBCDIC charset: the byte of every ISO 8859-1 code."""

SINGLE_BYTE = frozenset({"ascii", "latin-1", *TO_VIEW})
"""Charsets in which one character is one byte and a view exists."""


def has_charset(name: str) -> bool:
    """Whether a charset of that name can be decoded.

    Examples
    --------
    >>> has_charset("cp1047"), has_charset("gbk"), has_charset("hex"), has_charset("x")
    (True, True, False, False)
    """
    if name in SINGLE_BYTE:
        return True
    try:
        return bool(codecs.lookup(name)._is_text_encoding)
    except (LookupError, ValueError):
        return False


def to_view(raw: bytes, charset: str) -> bytes:
    """Translate bytes of a single-byte charset into ISO 8859-1.

    Examples
    --------
    >>> to_view(bytes.fromhex("F0F2F0F0"), "cp1047")
    b'0200'
    """
    table = TO_VIEW.get(charset)
    return raw if table is None else raw.translate(table)


def from_view(view: bytes, charset: str) -> bytes:
    """Translate ISO 8859-1 into bytes of a single-byte charset.

    Examples
    --------
    >>> from_view(b"0200", "cp500").hex()
    'f0f2f0f0'
    """
    table = FROM_VIEW.get(charset)
    return view if table is None else view.translate(table)


def decode_text(raw: bytes, charset: str) -> str:
    """Decode bytes of any charset; raises UnicodeDecodeError.

    Examples
    --------
    >>> decode_text(bytes.fromhex("C1F1"), "cp037")
    'A1'
    """
    table = TO_VIEW.get(charset)
    if table is None:
        return raw.decode(charset)
    return raw.translate(table).decode("latin-1")


def encode_text(text: str, charset: str) -> bytes:
    """Encode text into any charset; raises UnicodeEncodeError.

    Examples
    --------
    >>> encode_text("[", "cp1047").hex(), encode_text("[", "cp037").hex()
    ('ad', 'ba')
    """
    table = FROM_VIEW.get(charset)
    if table is None:
        return text.encode(charset)
    return text.encode("latin-1").translate(table)
