"""A user's own layout: a TOML file over an edition.

name = "acme"
edition = "1987"
[wire]
mti = "bcd"
bitmap = "raw"
numeric = "bcd"
[fields.48]
format = "b...999"
encoding = "raw"

The fields of the edition that the file does not name are as the edition has them;
with ``complete = true`` there are no others than those it names.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import fields as dataclass_fields
from dataclasses import replace
from difflib import get_close_matches
from typing import Any, cast, get_args

from isoswitch.codecs.iso8583.layouts import Edition, Override, Wire, build_layout
from isoswitch.codecs.iso8583.spec import FieldSpec, Spec

_TOP = frozenset({"name", "edition", "description", "complete", "wire", "fields"})
_WIRE = frozenset(field.name for field in dataclass_fields(Wire))
_FIELD = frozenset(Override.__annotations__)
_CHOICES: Mapping[str, frozenset[str]] = {
    "mti": frozenset({"text", "bcd"}),
    "bitmap": frozenset({"raw", "hex", "hex-ascii"}),
    "second_bitmap": frozenset({"when-used", "always", "always-unflagged"}),
    "third_bitmap": frozenset({"none", "after-second", "in-65"}),
    "pad": frozenset({"left", "right"}),
    "pad_fixed": frozenset({"left", "right"}),
    "pad_variable": frozenset({"left", "right"}),
    "length_unit": frozenset({"positions", "bytes"}),
    "masking": frozenset({"show", "pan", "track", "hide"}),
}


def read_layout(text: str) -> Spec:
    """Give the layout that a TOML document describes.

    Raises
    ------
    ValueError
        Not TOML, an unknown key (with the nearest known one), a value that is not
        one of its choices, or settings that do not go together.

    Examples
    --------
    >>> lines = ['name = "acme"', 'edition = "1987"', '[fields.48]']
    >>> spec = read_layout("\\n".join([*lines, 'format = "ans...50"']))
    >>> spec.name, spec.fields[48].max
    ('acme', 50)
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        msg = f"not TOML: {exc}"
        raise ValueError(msg) from None
    _check_keys(document, _TOP, "")
    name, edition = document.get("name"), str(document.get("edition", ""))
    if not isinstance(name, str) or edition not in get_args(Edition):
        msg = "a layout has a name and an edition of 1987, 1993 or 2003"
        raise ValueError(msg)
    wire = _table(document.get("wire", {}), _WIRE, "wire")
    rows = _table(document.get("fields", {}), None, "fields")
    overrides = {}
    for key, row in rows.items():
        if not (key.isascii() and key.isdecimal()):
            msg = f"fields.{key}: not the number of a data element"
            raise ValueError(msg)
        overrides[int(key)] = cast("Override", _table(row, _FIELD, f"fields.{key}"))
    spec = build_layout(
        name,
        cast("Edition", edition),
        Wire(**wire),
        overrides,
        description=str(document.get("description", "")),
    )
    if document.get("complete") is not True:
        return spec
    return replace(spec, fields={de: spec.fields[de] for de in sorted(overrides)})


def write_layout(spec: Spec) -> str:
    """Give a layout as a TOML document that says the same.

    Examples
    --------
    >>> from isoswitch.codecs.iso8583.specs import get_spec
    >>> text = write_layout(get_spec("iso87-bcd"))
    >>> print(text[:58])
    name = "iso87-bcd"
    edition = "1987"
    description = "Packed,
    >>> read_layout(text).fields[35].format
    'z..37'
    """
    top = {
        "name": spec.name,
        "edition": spec.edition,
        "description": spec.description,
    }
    wire = {
        "mti": spec.mti,
        "bitmap": spec.bitmap,
        "charset": spec.charset,
        "second_bitmap": spec.second_bitmap,
        "third_bitmap": spec.third_bitmap,
    }
    lines = [*_pairs(top), "complete = true", "", "[wire]", *_pairs(wire)]
    for de, field in sorted(spec.fields.items()):
        lines += ["", f"[fields.{de}]", *_pairs(_row(field))]
        if field.length:
            lines.append(f"length_bytes = {field.length_bytes}")
    return "\n".join(lines) + "\n"


def _row(field: FieldSpec) -> dict[str, str]:
    """Give the settings that matter for a field of this kind."""
    row = {"name": field.name, "format": field.format, "encoding": field.encoding}
    if field.encoding == "bcd":
        row |= {"pad": field.pad, "filler": field.filler}
    if field.length:
        row |= {
            "length_encoding": field.length_encoding,
            "length_unit": field.length_unit,
        }
    return row | {"masking": field.masking}


def _pairs(row: Mapping[str, str]) -> Iterator[str]:
    for key, value in row.items():
        # A string of JSON is one of TOML.
        yield f"{key} = {json.dumps(value, ensure_ascii=False)}"


def _table(found: Any, known: frozenset[str] | None, path: str) -> dict[str, Any]:
    if not isinstance(found, dict):
        msg = f"{path}: not a table"
        raise ValueError(msg)
    if known is None:
        return found
    _check_keys(found, known, path)
    for key, value in found.items():
        wanted = int if key == "length_bytes" else str
        if type(value) is not wanted:
            msg = f"{path}.{key}: not {'a number' if wanted is int else 'text'}"
            raise ValueError(msg)
        if value not in _CHOICES.get(key, {value}):
            msg = f"{path}.{key}: one of {', '.join(sorted(_CHOICES[key]))}"
            raise ValueError(msg)
    return found


def _check_keys(found: Mapping[str, Any], known: frozenset[str], path: str) -> None:
    for key in found:
        if key not in known:
            near = get_close_matches(key, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            msg = f"{path}{'.' if path else ''}{key}: unknown key{hint}"
            raise ValueError(msg)
