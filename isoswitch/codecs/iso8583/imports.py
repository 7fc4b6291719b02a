"""Layouts that people bring along: pyiso8583 dictionaries and jPOS packagers.

Both describe encodings, not what a field may hold. What they leave open is taken as
wide as it can be: text of any character, bytes of any value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal
from xml.etree import ElementTree as ET

from isoswitch.codecs.iso8583.layouts import CURRENCIES, Edition
from isoswitch.codecs.iso8583.spec import (
    MASKINGS,
    BitmapForm,
    FieldClass,
    FieldSpec,
    Spec,
)

PACKAGER_BYTES_MAX = 1_000_000


def import_pyiso8583(
    name: str, library: Mapping[str, Mapping[str, Any]], *, edition: Edition = "1987"
) -> Spec:
    """Give the layout that a specification dictionary of pyiso8583 describes.

    Raises
    ------
    ValueError
        A field lacks a setting, or its settings do not go together.

    Examples
    --------
    >>> import iso8583.specs
    >>> spec = import_pyiso8583("theirs", iso8583.specs.default_ascii)
    >>> spec.fields[2].length, spec.bitmap, spec.mti
    (2, 'hex', 'text')
    """
    try:
        mti, bitmap = library["t"]["data_enc"], library["p"]["data_enc"]
        charset = _main_charset(library)
        fields = {
            int(key): _library_field(int(key), row, charset)
            for key, row in library.items()
            if key.isdecimal() and int(key) > 1
        }
    except KeyError as exc:
        msg = f"{name}: the setting {exc} is missing"
        raise ValueError(msg) from None
    third = "after-second" if any(de > 128 for de in fields) else "none"
    if third == "after-second":
        fields.pop(65, None)
    return Spec(
        name=name,
        edition=edition,
        fields=fields,
        mti="bcd" if mti == "b" else "text",
        charset=charset,
        bitmap=_library_bitmap(bitmap, charset),
        third_bitmap="after-second" if third == "after-second" else "none",
        description="imported from pyiso8583",
    )


def import_jpos(name: str, xml: bytes, *, edition: Edition = "1987") -> Spec:
    """Give the layout that a jPOS generic packager describes.

    Raises
    ------
    ValueError
        Not a generic packager, one of its field classes is unknown, or it declares
        entities; its own document type is accepted and never loaded.

    Examples
    --------
    >>> import_jpos("theirs", b'''<isopackager>
    ...   <isofield id="0" length="4" name="MTI" class="org.jpos.iso.IFB_NUMERIC"/>
    ...   <isofield id="1" length="16" name="Bitmap" class="org.jpos.iso.IFB_BITMAP"/>
    ...   <isofield id="2" length="19" name="PAN" class="org.jpos.iso.IFB_LLNUM"/>
    ... </isopackager>''').fields[2].encoding
    'bcd'
    """
    root = _parse_packager(xml)
    rows = {}
    for element in root:
        if element.tag not in {"isofield", "isofieldpackager"}:
            continue
        rows[int(element.get("id", "-1"))] = (
            element.get("name", ""),
            int(element.get("length", "0")),
            element.get("class", "").rpartition(".")[2],
            element.get("pad") == "true",
        )
    if not {0, 1} <= rows.keys():
        msg = f"{name}: a packager has the fields 0 and 1"
        raise ValueError(msg)
    mti, bitmap = rows.pop(0)[2], rows.pop(1)[2]
    charset = "cp1047" if mti.startswith("IFE") else "ascii"
    return Spec(
        name=name,
        edition=edition,
        fields={de: _packager_field(de, *row) for de, row in rows.items() if de > 1},
        mti="bcd" if mti.startswith("IFB") else "text",
        charset=charset,
        bitmap="raw" if bitmap.startswith("IFB") else "hex",
        description="imported from jPOS",
    )


def _main_charset(library: Mapping[str, Mapping[str, Any]]) -> str:
    mti = str(library["t"]["data_enc"])
    if mti != "b":
        return _charset(mti)
    texts = [_charset(str(row["data_enc"])) for row in library.values()]
    known = [charset for charset in texts if charset in {"cp037", "cp500"}]
    return known[0] if known else "ascii"


def _charset(name: str) -> str:
    """The name under which this package knows a charset of Python."""
    plain = name.lower().replace("_", "-")
    return {"latin1": "latin-1", "iso8859-1": "latin-1", "us-ascii": "ascii"}.get(
        plain, plain
    )


def _library_bitmap(encoding: str, charset: str) -> BitmapForm:
    if encoding == "b":
        return "raw"
    return "hex" if _charset(encoding) == charset else "hex-ascii"


def _library_field(de: int, row: Mapping[str, Any], charset: str) -> FieldSpec:
    encoding, limit = str(row["data_enc"]), int(row["max_len"])
    size, length_encoding = int(row["len_type"]), str(row["len_enc"])
    is_packed = encoding == "b" and row.get("len_count", "bytes") == "nibbles"
    cls: FieldClass = "b" if encoding == "b" else "text"
    if is_packed:
        cls = "z" if de in {35, 36} else "n"
    length_encoding = {"b": "bin"}.get(length_encoding, _charset(length_encoding))
    pad: Literal["left", "right"] = "right" if row.get("right_pad") else "left"
    return FieldSpec(
        de=de,
        name=str(row.get("desc", f"Field {de}")),
        cls=cls,
        max=limit,
        length=_prefix_digits(size, length_encoding, limit),
        length_bytes=size,
        encoding="bcd" if is_packed else "raw" if cls == "b" else _charset(encoding),
        length_encoding=length_encoding,
        pad=pad,
        filler=str(row.get(f"{pad}_pad") or "0")[:1].upper(),
        masking=MASKINGS.get(de, "show"),
    )


def _prefix_digits(size: int, encoding: str, limit: int) -> int:
    if size == 0 or encoding not in {"bcd", "bin"}:
        return size
    return max(2, len(str(limit)))


# IFB_LLHNUM: family, digits of the length, H for a length in binary, kind.
_JPOS_CLASS = re.compile(r"IF([ABE]?)P?_(L*)(H?)(\w+)")

_JPOS_KINDS: Mapping[str, FieldClass] = MappingProxyType(
    {
        "NUMERIC": "n",
        "NUM": "n",
        "AMOUNT": "x+n",
        "CHAR": "text",
        "BINARY": "b",
    }
)


def _parse_packager(xml: bytes) -> ET.Element:
    if len(xml) > PACKAGER_BYTES_MAX:
        msg = f"a packager is at most {PACKAGER_BYTES_MAX} bytes"
        raise ValueError(msg)
    # The document type of jPOS names an external file; nothing loads it. An
    # internal subset could declare entities, and no packager needs one.
    doctype = re.search(rb"<!DOCTYPE([^>]*)>", xml)
    plain = rb"\s+isopackager(\s+(PUBLIC\s+\"[^\"]*\"|SYSTEM)(\s+\"[^\"]*\"))?\s*"
    declared = xml.count(b"<!DOCTYPE") + xml.count(b"<!ENTITY")
    if declared > (doctype is not None) or (
        doctype is not None and re.fullmatch(plain, doctype[1]) is None
    ):
        msg = "a packager may only have the document type of jPOS"
        raise ValueError(msg)
    if doctype is not None:
        xml = xml.replace(doctype[0], b"")
    try:
        root = ET.fromstring(xml)  # noqa: S314 - without DOCTYPE no entities
    except ET.ParseError:
        msg = "not well-formed XML"
        raise ValueError(msg) from None
    if root.tag != "isopackager":
        msg = "not a generic packager"
        raise ValueError(msg)
    return root


def _packager_field(de: int, name: str, size: int, cls: str, left: bool) -> FieldSpec:
    found = _JPOS_CLASS.fullmatch(cls)
    kind = found and _JPOS_KINDS.get(found[4])
    if found is None or kind is None:
        msg = f"field {de}: unknown packager class {cls!r}"
        raise ValueError(msg)
    family, prefix = found[1], len(found[2])
    text = "cp1047" if family == "E" else "ascii"
    is_packed = family == "B" and kind in {"n", "x+n"}
    packed_length = "bin" if found[3] else "bcd"
    encoding = "bcd" if is_packed else text
    if kind == "b":
        encoding = "hex" if family == "A" else "raw"
    field_class: FieldClass = "z" if kind == "n" and de in {35, 36} else kind
    return FieldSpec(
        de=de,
        name=name or f"Field {de}",
        cls="an" if kind == "n" and de in CURRENCIES and not is_packed else field_class,
        max=size,
        length=prefix,
        encoding=encoding,
        length_encoding=packed_length if family == "B" else text,
        pad="left" if left else "right",
        masking=MASKINGS.get(de, "show"),
    )
