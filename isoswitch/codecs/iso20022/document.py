"""The door: bytes from a stranger -> a tree that is safe to read.

    bytes -> size, encoding, no DTD -> parser -> depth, elements, attributes -> parts

A document is found by its namespaces and never by the names around it: senders wrap
the header and the message as they like. What fails any check is a ``DocumentError``
without a value of the document.
"""

from __future__ import annotations

import re
from typing import Any, Final, NoReturn

import msgspec
from lxml import etree

from isoswitch.codecs.canonical.errors import DocumentError
from isoswitch.codecs.iso8583.masking import scan

Element = Any
"""An element of lxml, which has no types of its own."""

BYTES_MAX: Final = 256 * 1024
DEPTH_MAX: Final = 32
ELEMENTS_MAX: Final = 20_000
ATTRIBUTES_MAX: Final = 10_000
ATTRIBUTE_CHARACTERS_MAX: Final = 1_024
NAMESPACES_MAX: Final = 64

NAMESPACE: Final = "urn:iso:std:iso:20022:tech:xsd:"
_MESSAGE = re.compile(
    r"\{urn:iso:std:iso:20022:tech:xsd:([a-z]{4}\.\d{3}\.\d{3}\.\d{2})\}(.+)", re.DOTALL
)
_DECLARED_ENCODING = re.compile(
    rb"\s*<\?xml\b[^>]*?\bencoding\s*=\s*[\"']([A-Za-z0-9._-]*)"
)
_FORBIDDEN = (b"<!DOCTYPE", b"<!ENTITY")
_BOM = b"\xef\xbb\xbf"
_HEADER = "head.001"

# Only lxml's default of collect_ids keeps external DTDs away, so it is not given.
_PARSER = etree.XMLParser(
    resolve_entities=False,
    no_network=True,
    load_dtd=False,
    dtd_validation=False,
    huge_tree=False,
    remove_comments=True,
    remove_pis=True,
    encoding="utf-8",
)
_is_too_deep = etree.XPath("boolean(" + "/*" * (DEPTH_MAX + 1) + ")")
_attributes = etree.XPath("//@*", smart_strings=False)
_ids = etree.XPath(
    "//@*[translate(local-name(), 'ID', 'id') = 'id']", smart_strings=False
)


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A header or a message within a document.

    ``message_id`` is that of its namespace, such as ``pacs.008.001.08``; ``element`` is
    its ``AppHdr`` or ``Document``.
    """

    message_id: str
    element: Element

    @property
    def family(self) -> str:
        """The message without its version, such as ``pacs.008``."""
        return self.message_id[:8]


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A document that passed the door: its exact bytes and its parts.

    ``envelope`` is the name of the outermost element where that is neither header nor
    message; ``pieces`` counts the outermost elements of ISO 20022.
    """

    raw: bytes
    header: Part | None
    body: Part | None
    envelope: str
    pieces: int


def read_document(data: bytes, *, bytes_max: int = BYTES_MAX) -> Document:
    """Read a document that anybody may have sent.

    Raises
    ------
    DocumentError
        Anything but one well-formed UTF-8 document within the limits, which holds at
        most one header and one message of ISO 20022 and at least one of both.

    Examples
    --------
    >>> space = "urn:iso:std:iso:20022:tech:xsd:pacs.008.001.08"
    >>> document = read_document(f'<Document xmlns="{space}"/>'.encode())
    >>> document.body.message_id, document.header
    ('pacs.008.001.08', None)
    """
    check_bytes(data, bytes_max)
    root = _parse(data.removeprefix(_BOM))
    _check_tree(root)
    return _find_parts(data, root)


def check_bytes(
    data: bytes, bytes_max: int, *, elements_max: int = ELEMENTS_MAX
) -> None:
    """Refuse bytes that no parser shall see.

    Raises
    ------
    DocumentError
        Too long, not UTF-8, too many elements or namespaces, or a document type.
    """
    if len(data) > bytes_max:
        raise DocumentError(f"longer than {bytes_max} bytes")
    if b"\0" in data:
        raise DocumentError("not UTF-8: a zero byte")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as fault:
        line = data.count(b"\n", 0, fault.start) + 1
        raise DocumentError("not UTF-8", line=line) from None
    declared = _DECLARED_ENCODING.match(data.removeprefix(_BOM))
    if declared and declared[1].lower() not in {b"utf-8", b"utf8"}:
        raise DocumentError("declares another encoding than UTF-8", line=1)
    if b"<!" in data:
        for forbidden in _FORBIDDEN:
            at = data.find(forbidden)
            if at >= 0:
                line = data.count(b"\n", 0, at) + 1
                raise DocumentError("a document type or entity is declared", line=line)
    # No element is shorter than four bytes.
    if (
        len(data) > 4 * elements_max
        and data.count(b"<") - data.count(b"</") > elements_max
    ):
        raise DocumentError(f"more than {elements_max} elements")
    if data.count(b"xmlns") > NAMESPACES_MAX:
        raise DocumentError(f"more than {NAMESPACES_MAX} namespaces are declared")


def path_of(element: Element) -> str:
    """Give the names from the outermost element down to this one.

    Names are the sender's too, so what looks like a card number is masked in them.
    """
    names = [_local(each) for each in (element, *element.iterancestors())]
    return scan("/".join(reversed(names)))[:300]


def _parse(data: bytes) -> Element:
    try:
        return etree.fromstring(data, _PARSER)
    except etree.XMLSyntaxError as fault:
        # Some send header and message one after the other, as two outermost elements.
        if fault.code == etree.ErrorTypes.ERR_DOCUMENT_END and b"AppHdr" in data:
            return _parse_siblings(data)
        _refuse(fault)


def _parse_siblings(data: bytes) -> Element:
    prolog = re.match(rb"\s*<\?xml[^>]*\?>", data)
    start = prolog.end() if prolog else 0
    try:
        return etree.fromstring(b"<Siblings>" + data[start:] + b"</Siblings>", _PARSER)
    except etree.XMLSyntaxError as fault:
        _refuse(fault)


def _refuse(fault: etree.XMLSyntaxError) -> NoReturn:
    # The parser's own words quote the document.
    raise DocumentError("not well-formed XML", line=fault.lineno or 0) from None


def _check_tree(root: Element) -> None:
    tree = root.getroottree()
    assert not tree.docinfo.doctype, "check_bytes lets none through"
    if _is_too_deep(tree):
        raise DocumentError(f"elements more than {DEPTH_MAX} deep")
    values = _attributes(tree)
    if not values:
        return
    if len(values) > ATTRIBUTES_MAX:
        raise DocumentError(f"more than {ATTRIBUTES_MAX} attributes")
    if max(map(len, values)) > ATTRIBUTE_CHARACTERS_MAX:
        reason = f"an attribute of more than {ATTRIBUTE_CHARACTERS_MAX} characters"
        raise DocumentError(reason)
    if len(set(values)) < len(values):
        ids = _ids(tree)
        if len(set(ids)) < len(ids):
            raise DocumentError("two elements with the same id")


def _find_parts(data: bytes, root: Element) -> Document:
    named = _MESSAGE.fullmatch(root.tag)
    if named and named[2] == "Document" and named[1][:8] != _HEADER:
        body = Part(message_id=named[1], element=root)
        return Document(raw=data, header=None, body=body, envelope="", pieces=1)
    outermost = [(named[1], root)] if named else _outermost(root)
    headers: dict[Element, list[Element]] = {}
    bodies: dict[Element, list[Element]] = {}
    ids: dict[Element, str] = {}
    for message_id, element in outermost:
        found = headers if message_id[:8] == _HEADER else bodies
        is_whole = _local(element) in {"AppHdr", "Document"}
        above = element.getparent()
        owner = element if is_whole or above is None else above
        found.setdefault(owner, []).append(element)
        if ids.setdefault(owner, message_id) != message_id:
            raise DocumentError("one part of two messages", path=path_of(owner))
    if not ids:
        reason = "no ISO 20022 namespace: neither a header nor a message"
        raise DocumentError(reason, path=path_of(root))
    if len(headers) > 1 or len(bodies) > 1:
        raise DocumentError("more than one header or message", path=path_of(root))
    return Document(
        raw=data,
        header=_part(headers, ids, "AppHdr"),
        body=_part(bodies, ids, "Document"),
        envelope="" if named else scan(_local(root)),
        pieces=len(outermost),
    )


def _outermost(root: Element) -> list[tuple[str, Element]]:
    """Find the elements of ISO 20022 that stand in none other."""
    found: list[tuple[str, Element]] = []
    waiting = list(reversed(root))
    while waiting:
        element = waiting.pop()
        named = _MESSAGE.fullmatch(element.tag)
        if named:
            found.append((named[1], element))
        else:
            waiting.extend(reversed(element))
    return found


def _part(
    found: dict[Element, list[Element]], ids: dict[Element, str], name: str
) -> Part | None:
    """Give the part; where a scheme has left out the element around it, add that."""
    for owner, elements in found.items():
        message_id = ids[owner]
        if elements == [owner]:
            if _local(owner) != name:
                reason = f"no {name} but another element of its namespace"
                raise DocumentError(reason, path=path_of(owner), line=owner.sourceline)
            return Part(message_id=message_id, element=owner)
        whole = etree.Element(f"{{{NAMESPACE}{message_id}}}{name}")
        whole.extend(elements)
        return Part(message_id=message_id, element=whole)
    return None


def _local(element: Element) -> str:
    tag: str = element.tag
    return tag.rpartition("}")[2]
