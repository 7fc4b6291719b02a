"""The field table of a message layout: frozen values that say how bytes mean fields.

A ``Spec`` is data only. ``codec.compile_spec`` turns it into closures,
``reference.compile_reference`` into a pyiso8583 specification.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, get_args

from isoswitch.codecs.iso8583.charsets import SINGLE_BYTE, has_charset

FieldClass = Literal["n", "a", "an", "ans", "text", "z", "x+n", "b"]
"""What a field may hold.

``n`` digits; ``a`` letters; ``an`` letters, digits and blanks; ``ans`` printable
characters; ``text`` any character of the charset (private fields hold separators);
``z`` track 2 and 3 code set; ``x+n`` sign C or D, then digits; ``b`` bytes.
"""

LengthUnit = Literal["positions", "bytes"]
"""What a length prefix counts: digits, characters or octets, or bytes on the wire."""

SecondBitmap = Literal["when-used", "always", "always-unflagged"]
"""Whether the second bitmap is sent when empty, and whether bit 1 then says so."""

ThirdBitmap = Literal["none", "after-second", "in-65"]
"""Where the third bitmap stands: nowhere (DE 65 is a field), after the second
bitmap when bit 65 is set, or at the place of DE 65."""

BitmapForm = Literal["raw", "hex", "hex-ascii"]
"""Bitmaps as 8 bytes, as 16 characters of the charset, or as 16 ASCII characters."""

Masking = Literal["show", "pan", "track", "hide"]
"""How a field is shown: after a scan for card numbers, or masked by its kind."""


PREFIX_DIGITS_MAX = 6
MAX_POSITIONS = 99_999

MASKINGS: Mapping[int, Masking] = MappingProxyType(
    {
        **dict.fromkeys((2, 34, 102, 103), "pan"),
        **dict.fromkeys((35, 36, 45), "track"),
        # PIN data, security data (some networks send a card security code in
        # DE 53) and free-format fields, in which a sender may hide anything.
        **dict.fromkeys((46, 47, 48, 52, 53, *range(55, 64), 72, 96), "hide"),
        **dict.fromkeys((*range(104, 128), *range(129, 193)), "hide"),
    }
)
"""The masking of each data element that is not simply shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldSpec:
    """How one data element stands on the wire.

    Parameters
    ----------
    max
        The length of a fixed field, the limit of a variable one, in positions:
        digits, characters, or octets of a binary field; ``x+n`` counts its sign.
    length
        Digits of the length prefix: 0 fixed, 2 LLVAR, 3 LLLVAR.
    encoding
        ``"bcd"`` (packed digits), ``"raw"`` (bytes), ``"hex"`` (bytes as hexadecimal
        characters) or the name of a charset.
    length_encoding
        ``"bcd"``, ``"bin"`` (unsigned, big endian) or the name of a charset.
    length_bytes
        The size of the prefix on the wire; derived where not given.
    pad, filler
        The side and the nibble that fill up an odd number of packed digits.

    Examples
    --------
    >>> field_spec(2, "PAN", "n..19", encoding="bcd", length_encoding="bcd").length
    2
    """

    de: int
    name: str
    cls: FieldClass
    max: int
    length: int = 0
    encoding: str = "ascii"
    length_encoding: str = "ascii"
    length_bytes: int = -1
    length_unit: LengthUnit = "positions"
    pad: Literal["left", "right"] = "left"
    filler: str = "0"
    masking: Masking = "show"

    def __post_init__(self) -> None:
        if self.length_bytes < 0:
            object.__setattr__(self, "length_bytes", self._prefix_bytes())
        for problem, found in _field_problems(self):
            if found:
                msg = f"field {self.de}: {problem}"
                raise ValueError(msg)

    @property
    def format(self) -> str:
        """The notation of the standard, such as ``n..19`` or ``ans 8``.

        Examples
        --------
        >>> field_spec(55, "ICC data", "b...255", encoding="raw").format
        'b...255'
        """
        size = self.max - (self.cls == "x+n")
        return f"{self.cls}{'.' * self.length or ' '}{size}"

    def _prefix_bytes(self) -> int:
        if self.length == 0:
            return 0
        if self.length_encoding == "bcd":
            return (self.length + 1) // 2
        if self.length_encoding == "bin":
            return 1 if self.length <= 2 else 2
        return self.length


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """The field table of a message layout, with its type indicator and bitmaps.

    ``charset`` is that of the type indicator, of hexadecimal characters, and the one
    most fields use; ``mti`` is ``"bcd"`` or ``"text"``.
    """

    name: str
    edition: Literal["1987", "1993", "2003"]
    fields: Mapping[int, FieldSpec]
    mti: Literal["text", "bcd"] = "text"
    charset: str = "ascii"
    bitmap: BitmapForm = "hex"
    second_bitmap: SecondBitmap = "when-used"
    third_bitmap: ThirdBitmap = "none"
    description: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "fields", MappingProxyType(dict(self.fields)))
        if self.charset not in SINGLE_BYTE:
            msg = f"a message is not in the charset {self.charset!r}"
            raise ValueError(msg)
        top = 128 if self.third_bitmap == "none" else 192
        for de, spec in self.fields.items():
            if de != spec.de or not 2 <= de <= top:
                msg = f"field {de}: not a data element of this layout"
                raise ValueError(msg)
        if self.third_bitmap != "none" and 65 in self.fields:
            msg = "field 65: the third bitmap stands here"
            raise ValueError(msg)


_FORMAT = re.compile(r"(n|a|an|ans|anp|ns|text|z|x\+n|b|a or n)(\.{1,6}| )(\d{1,5})")

_CLASSES: Mapping[str, FieldClass] = MappingProxyType(
    {"anp": "an", "ns": "ans", "a or n": "an"}
)


def field_spec(  # the encodings carry their names
    de: int,
    name: str,
    fmt: str,
    *,
    encoding: str = "ascii",
    length_encoding: str = "ascii",
    length_bytes: int = -1,
    length_unit: LengthUnit = "positions",
    pad: Literal["left", "right"] = "left",
    filler: str = "0",
    masking: Masking | None = None,
) -> FieldSpec:
    """Build a field from the notation of the standard.

    ``n..19`` is LLVAR, ``ans...999`` LLLVAR, ``n 6`` fixed, ``b 8`` eight octets and
    ``x+n 8`` a sign and eight digits.

    Examples
    --------
    >>> field_spec(28, "Amount, fee", "x+n 8").max
    9
    """
    found = _FORMAT.fullmatch(fmt)
    if found is None:
        msg = f"field {de}: {fmt!r} is no field format"
        raise ValueError(msg)
    notation, dots, size = found.groups()
    cls = _CLASSES.get(notation, notation)
    return FieldSpec(
        de=de,
        name=name,
        cls=cls,  # type: ignore[arg-type]  # the pattern admits field classes only
        max=int(size) + (cls == "x+n"),
        length=len(dots.strip()),
        encoding=encoding,
        length_encoding=length_encoding,
        length_bytes=length_bytes,
        length_unit=length_unit,
        pad=pad,
        filler=filler,
        masking=MASKINGS.get(de, "show") if masking is None else masking,
    )


def _field_problems(spec: FieldSpec) -> Iterable[tuple[str, bool]]:
    digits = spec.cls in {"n", "z", "x+n"}
    yield "unknown class", spec.cls not in get_args(FieldClass)
    yield "a length is 1 to 99999", not 1 <= spec.max <= MAX_POSITIONS
    yield "a prefix has up to 6 digits", not 0 <= spec.length <= PREFIX_DIGITS_MAX
    yield "only digits are packed", spec.encoding == "bcd" and not digits
    binary = spec.encoding in {"raw", "hex"}
    yield "binary and its encoding go together", binary != (spec.cls == "b")
    is_known = binary or spec.encoding == "bcd" or has_charset(spec.encoding)
    yield f"unknown encoding {spec.encoding!r}", not is_known
    is_signed = spec.cls == "x+n"
    yield "a signed amount is fixed", is_signed and (spec.max < 2 or spec.length > 0)
    is_wide = spec.length_encoding not in {*SINGLE_BYTE, "bcd", "bin"}
    yield "a prefix is not in this charset", spec.length > 0 and is_wide
    yield "the filler is one nibble", spec.filler not in set("0123456789ABCDEF")
    yield (
        "the prefix cannot hold the limit",
        spec.length > 0 and prefix_limit(spec) < wire_length(spec, spec.max),
    )


def prefix_limit(spec: FieldSpec) -> int:
    """The largest number that the length prefix of a field can carry."""
    if spec.length_encoding == "bin":
        return int(256**spec.length_bytes) - 1
    digits = spec.length
    if spec.length_encoding == "bcd":
        digits = min(digits + digits % 2, 2 * spec.length_bytes)
    return int(10**digits) - 1


def wire_length(spec: FieldSpec, positions: int) -> int:
    """The number that a length prefix carries for so many positions."""
    return positions if spec.length_unit == "positions" else wire_bytes(spec, positions)


def wire_bytes(spec: FieldSpec, positions: int) -> int:
    """The bytes that so many positions take on the wire.

    Examples
    --------
    >>> wire_bytes(field_spec(23, "Card sequence number", "n 3", encoding="bcd"), 3)
    2
    """
    if spec.encoding == "hex":
        return 2 * positions
    if spec.encoding != "bcd":
        return positions
    if spec.cls == "x+n":
        return 1 + (positions // 2)
    return (positions + 1) // 2
