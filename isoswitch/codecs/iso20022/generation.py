"""Published schemas from the data classes that other packages made of them.

xsdata turns a schema into data classes that keep nearly all it says: a field is an
element, its metadata are occurrence and facets, an enumeration is a list of codes. What
they do not keep is told by names: a class called ``...Choice`` is a choice, and so are
two of old versions that are called otherwise; few choices have members that may be
absent.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any, Final, NamedTuple, Union, get_args, get_origin, get_type_hints

from lxml import etree

from isoswitch.codecs.iso20022.document import NAMESPACE, Element
from isoswitch.codecs.iso20022.repair import Repaired, repair_schema

_XS: Final = "{http://www.w3.org/2001/XMLSchema}"
_CHOICES: Final = frozenset({"CashAccountType2", "CashBalanceAvailabilityDate1"})
_MANDATES: Final = frozenset({"DrctDbtMndt", "CdtTrfMndt"})
# Members of choices that need not be there even when they are chosen.
_OPTIONAL: Final[Mapping[str, frozenset[str]]] = {
    "MandateRelatedData1Choice": _MANDATES,
    "MandateRelatedData2Choice": _MANDATES,
    "MandateRelatedData3Choice": _MANDATES,
    "References74Choice": frozenset({"CtrPtyMktInfrstrctrTxId"}),
    "RetrievalDeliveryMethod1Choice": frozenset(
        {"ReqdMtd", "EstblishdMtd", "ActlDlvryMtd"}
    ),
}
_BUILT_IN: Final[Mapping[str, str]] = {
    "str": "string",
    "Decimal": "decimal",
    "bool": "boolean",
    "bytes": "base64Binary",
    "XmlDate": "date",
    "XmlDateTime": "dateTime",
    "XmlTime": "time",
}
# Years and months share one class; the elements of years have this name.
_YEAR: Final = "Yr"
# Of instants that must be in UTC only this pattern is kept.
_ZULU: Final = ".*Z"
_FACETS: Final = (
    ("pattern", "pattern"),
    ("min_length", "minLength"),
    ("max_length", "maxLength"),
    ("length", "length"),
    ("min_inclusive", "minInclusive"),
    ("total_digits", "totalDigits"),
    ("fraction_digits", "fractionDigits"),
)


def find_top(names: Mapping[str, Any], message_id: str) -> type[Any] | None:
    """Find the class of the outermost element of a message in its module."""
    suffix = _suffix(message_id)
    for name in ("AppHdr", "Document", suffix):
        found = names.get(name)
        if isinstance(found, type) and dataclasses.is_dataclass(found):
            return found
    return None


def generate_schema(message_id: str, top: type[Any]) -> Repaired:
    """Write the schema of a message whose outermost element has this class."""
    return repair_schema(_Generator(message_id).generate(top))


def _suffix(message_id: str) -> str:
    """Give what one of the packages hangs on the name of every class."""
    return message_id.replace(".", "").capitalize()


class _Generator:
    def __init__(self, message_id: str) -> None:
        self._suffix = _suffix(message_id)
        self._space = NAMESPACE + message_id
        self._waiting: list[type[Any]] = []
        self._seen: set[type[Any]] = set()

    def generate(self, top: type[Any]) -> bytes:
        schema = etree.Element(
            f"{_XS}schema",
            {"targetNamespace": self._space, "elementFormDefault": "qualified"},
            nsmap={"xs": _XS[1:-1], None: self._space},
        )
        name = "AppHdr" if top.__name__ == "AppHdr" else "Document"
        _add(schema, "element", name=name, type=self._name(top))
        while self._waiting:
            self._write_type(schema, self._waiting.pop())
        octets: bytes = etree.tostring(
            schema, xml_declaration=True, encoding="UTF-8", pretty_print=True
        )
        return octets

    def _name(self, kind: type[Any]) -> str:
        """Give the name of a type, and write that type down later."""
        if kind not in self._seen:
            self._seen.add(kind)
            self._waiting.append(kind)
        name = kind.__name__
        return name if name == self._suffix else name.removesuffix(self._suffix)

    def _write_type(self, schema: Element, kind: type[Any]) -> None:
        if issubclass(kind, Enum):
            listed = _add(schema, "simpleType", name=self._name(kind))
            restriction = _add(listed, "restriction", base="xs:string")
            for member in kind:
                _add(restriction, "enumeration", value=str(member.value))
            return
        name = self._name(kind)
        whole = _add(schema, "complexType", name=name)
        rows = list(_rows(kind))
        if any(row.is_content for row in rows):
            self._write_content(whole, rows)
            return
        is_choice = name.endswith("Choice") or name in _CHOICES
        group = _add(whole, "choice" if is_choice else "sequence")
        for row in rows:
            self._write_particle(group, row, is_choice=is_choice)

    def _write_content(self, whole: Element, rows: list[_FieldRow]) -> None:
        """Write a type that is text with attributes."""
        content = next(row for row in rows if row.is_content)
        base = f"{whole.get('name')}_Content"
        simple = _add(whole.getparent(), "simpleType", name=base)
        self._restrict(simple, content)
        extension = _add(_add(whole, "simpleContent"), "extension", base=base)
        for row in rows:
            if not row.is_content:
                use = "required" if row.meta.get("required") else "optional"
                attribute = _add(extension, "attribute", name=row.name, use=use)
                self._set_type(attribute, row)

    def _write_particle(
        self, group: Element, row: _FieldRow, *, is_choice: bool
    ) -> None:
        meta = row.meta
        if meta.get("type") == "Wildcard":
            how = meta.get("process_contents", "lax")
            space = meta.get("namespace", "##any")
            _add(group, "any", namespace=space, processContents=how)
            return
        optional = _OPTIONAL.get(group.getparent().get("name"), frozenset())
        is_needed = bool(meta.get("required")) or (
            is_choice and row.name not in optional
        )
        least = int(meta.get("min_occurs", 1 if is_needed else 0))
        most = str(meta.get("max_occurs", "unbounded")) if row.is_list else "1"
        element = _add(group, "element", name=row.name)
        if least != 1:
            element.set("minOccurs", str(least))
        if most != "1":
            element.set("maxOccurs", most)
        self._set_type(element, row)

    def _set_type(self, element: Element, row: _FieldRow) -> None:
        if row.kind.__name__ not in _BUILT_IN and row.kind.__name__ != "XmlPeriod":
            element.set("type", self._name(row.kind))
        elif any(key in row.meta for key, _ in _FACETS):
            self._restrict(_add(element, "simpleType"), row)
        else:
            element.set("type", _base(row))

    def _restrict(self, simple: Element, row: _FieldRow) -> None:
        is_built_in = row.kind.__name__ in _BUILT_IN
        base = _base(row) if is_built_in else self._name(row.kind)
        restriction = _add(simple, "restriction", base=base)
        for key, facet in _FACETS:
            if key in row.meta:
                _add(restriction, facet, value=str(row.meta[key]))


class _FieldRow(NamedTuple):
    name: str
    kind: type[Any]
    is_list: bool
    meta: Mapping[str, Any]

    @property
    def is_content(self) -> bool:
        return "type" not in self.meta


def _rows(kind: type[Any]) -> Iterator[_FieldRow]:
    hints = get_type_hints(kind)
    for field in dataclasses.fields(kind):
        hint, is_list = hints[field.name], False
        if get_origin(hint) is list:
            (hint,), is_list = get_args(hint), True
        if get_origin(hint) in {Union, types.UnionType}:
            (hint,) = (each for each in get_args(hint) if each is not type(None))
        name = field.metadata.get("name", field.name)
        yield _FieldRow(name, hint, is_list, field.metadata)


def _base(row: _FieldRow) -> str:
    if row.meta.get("pattern") == _ZULU:
        return "xs:dateTime"
    if row.kind.__name__ == "XmlPeriod":
        return "xs:gYear" if row.name == _YEAR else "xs:gYearMonth"
    return "xs:" + _BUILT_IN[row.kind.__name__]


def _add(parent: Element, tag: str, /, **attributes: str) -> Element:
    return etree.SubElement(parent, _XS + tag, attributes)
