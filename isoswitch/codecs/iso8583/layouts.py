"""From an edition and a wire format to a ``Spec``: every field gets its encodings.

A ``Wire`` says how each kind of field is encoded in a network; overrides change
single fields. Both the layouts of ``specs.py`` and a user's own TOML file are this.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypedDict

from isoswitch.codecs.iso8583 import edition1987, edition1993, edition2003
from isoswitch.codecs.iso8583.spec import (
    MASKINGS,
    BitmapForm,
    FieldSpec,
    LengthUnit,
    Masking,
    SecondBitmap,
    Spec,
    ThirdBitmap,
    field_spec,
)

Edition = Literal["1987", "1993", "2003"]
Pad = Literal["left", "right"]

CURRENCIES = frozenset({49, 50, 51})
"""Fields that are ``a or n 3`` where an edition has them fixed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """How the kinds of fields are encoded; packed digits pad by field kind."""

    mti: Literal["text", "bcd"] = "text"
    bitmap: BitmapForm = "hex"
    charset: str = "ascii"
    numeric: str = "ascii"
    text: str = "ascii"
    binary: str = "hex"
    track: str = "ascii"
    signed: str = "ascii"
    currency: str = "ascii"
    length: str = "ascii"
    pad_fixed: Pad = "left"
    pad_variable: Pad = "left"
    filler: str = "0"
    second_bitmap: SecondBitmap = "when-used"
    third_bitmap: ThirdBitmap = "none"


class Override(TypedDict, total=False):
    """What a network does differently in one field."""

    name: str
    format: str
    encoding: str
    length_encoding: str
    length_bytes: int
    length_unit: LengthUnit
    pad: Pad
    filler: str
    masking: Masking


_EDITIONS: Mapping[Edition, Mapping[int, tuple[str, str]]] = MappingProxyType(
    {
        "1987": {de: (name, fmt) for de, name, fmt in edition1987.DATA_ELEMENTS},
        "1993": {de: (name, fmt) for de, name, fmt in edition1993.DATA_ELEMENTS},
        "2003": {de: (name, fmt) for de, name, fmt in edition2003.DATA_ELEMENTS},
    }
)

_SHOWN: Mapping[Edition, frozenset[int]] = MappingProxyType(
    {
        "1987": edition1987.SHOWN,
        "1993": edition1993.SHOWN,
        "2003": edition2003.SHOWN,
    }
)

_HIDDEN: Mapping[Edition, frozenset[int]] = MappingProxyType(
    {
        "1987": edition1987.HIDDEN,
        "1993": edition1993.HIDDEN,
        "2003": edition2003.HIDDEN,
    }
)


def build_layout(
    name: str,
    edition: Edition,
    wire: Wire,
    overrides: Mapping[int, Override] | None = None,
    *,
    description: str = "",
) -> Spec:
    """Give the field table of an edition as a network encodes it.

    Raises
    ------
    ValueError
        An override is not a field, or its settings do not go together.

    Examples
    --------
    >>> spec = build_layout("mine", "1987", Wire(), {48: {"format": "ans...50"}})
    >>> spec.fields[48].format, spec.fields[2].format
    ('ans...50', 'n..19')
    """
    changes = overrides or {}
    rows = _EDITIONS[edition]
    numbers = {*rows, *changes} - ({65} if wire.third_bitmap != "none" else set())
    return Spec(
        name=name,
        edition=edition,
        fields={
            de: _field(de, edition, wire, changes.get(de, Override()))
            for de in sorted(numbers)
        },
        mti=wire.mti,
        charset=wire.charset,
        bitmap=wire.bitmap,
        second_bitmap=wire.second_bitmap,
        third_bitmap=wire.third_bitmap,
        description=description,
    )


def _field(de: int, edition: Edition, wire: Wire, change: Override) -> FieldSpec:
    name, fmt = _EDITIONS[edition].get(de, (f"Field {de}", ""))
    fmt = change.get("format", fmt)
    encoding = change.get("encoding", _encoding(de, fmt, wire))
    if encoding == "bcd" and de in CURRENCIES:
        fmt = fmt.replace("an", "n")
    return field_spec(
        de,
        change.get("name", name),
        fmt,
        encoding=encoding,
        length_encoding=change.get("length_encoding", wire.length),
        length_bytes=change.get("length_bytes", -1),
        length_unit=change.get("length_unit", "positions"),
        pad=change.get("pad", wire.pad_variable if "." in fmt else wire.pad_fixed),
        filler=change.get("filler", wire.filler),
        masking=change.get("masking", _masking(de, edition)),
    )


def _encoding(de: int, fmt: str, wire: Wire) -> str:
    if de in CURRENCIES and fmt == "an 3":
        return wire.currency
    cls = fmt.split(" ", maxsplit=1)[0].split(".", maxsplit=1)[0]
    by_class = {
        "n": wire.numeric,
        "b": wire.binary,
        "z": wire.track,
        "x+n": wire.signed,
    }
    return by_class.get(cls, wire.text)


def _masking(de: int, edition: Edition) -> Masking:
    if de in _SHOWN[edition]:
        return "show"
    return "hide" if de in _HIDDEN[edition] else MASKINGS.get(de, "show")
