"""Does a message follow its schema?

There are two schemas of a message. The *profile* is ours, lies in this package and
admits only what this host says and understands. The *base* schema is the published
one; it lies in a directory that ``isoswitch schemas`` fills.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import msgspec
from lxml import etree

from isoswitch.codecs.canonical.errors import ConfigError, DocumentError
from isoswitch.codecs.iso20022.document import Element, Part, path_of

PROFILES: Final = Path(__file__).parent / "profiles"
MANIFEST: Final = "manifest.json"
_MESSAGE_ID = re.compile(r"[a-z]{4}\.\d{3}\.\d{3}\.\d{2}")
_EXPECTED = re.compile(r"Expected is(?: one of)? \( ([^()]*) \)\.\s*$")
_PREFIX = re.compile(r"/([A-Za-z_][\w.-]*):")
_EXPECTED_NAMES_MAX = 4

# What the validator found, without the value that it found wrong.
_REASONS: Mapping[str, str] = {
    "SCHEMAV_ELEMENT_CONTENT": "a wrong or missing element",
    "SCHEMAV_CVC_ELT_1": "not the element of this namespace",
    "SCHEMAV_CVC_PATTERN_VALID": "not of the pattern that belongs here",
    "SCHEMAV_CVC_MAXLENGTH_VALID": "too long",
    "SCHEMAV_CVC_MINLENGTH_VALID": "too short",
    "SCHEMAV_CVC_LENGTH_VALID": "not of the length that belongs here",
    "SCHEMAV_CVC_ENUMERATION_VALID": "not one of the codes that belong here",
    "SCHEMAV_CVC_DATATYPE_VALID_1_2_1": "not a value of the type that belongs here",
    "SCHEMAV_CVC_TOTALDIGITS_VALID": "too many digits",
    "SCHEMAV_CVC_FRACTIONDIGITS_VALID": "too many decimals",
    "SCHEMAV_CVC_MININCLUSIVE_VALID": "too small a number",
    "SCHEMAV_CVC_COMPLEX_TYPE_2_3": "text between elements",
    "SCHEMAV_CVC_TYPE_3_1_1": "an attribute that does not belong here",
    "SCHEMAV_CVC_COMPLEX_TYPE_3_2_1": "an attribute that does not belong here",
    "SCHEMAV_CVC_COMPLEX_TYPE_4": "a missing attribute",
}


class Mode(StrEnum):
    """Which schemas a message is held to.

    ``BASE`` takes the profile where no base schema is there.
    """

    PROFILE = "profile"
    BASE = "base"
    BOTH = "both"


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where a base schema comes from, the hash of its file, what was mended in it."""

    source: str
    sha256: str
    changes: tuple[str, ...] = ()


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What lies in a directory of base schemas."""

    schemas: dict[str, Origin]


class Schemas:
    """The schemas of all messages, each compiled when it is first needed.

    One object serves one thread: a validator keeps what it found last.

    Parameters
    ----------
    base
        The directory of base schemas; None where there is none.
    """

    def __init__(self, base: Path | None = None) -> None:
        self._base = base
        self._origins: Mapping[str, Origin] = MappingProxyType({})
        if base is not None:
            self._origins = read_manifest(base).schemas
        self._validators: dict[tuple[str, Mode], tuple[Any, ...]] = {}

    def has_base(self, message_id: str) -> bool:
        """Whether the published schema of this message is there."""
        return message_id in self._origins

    def has_profile(self, message_id: str) -> bool:
        """Whether this host has a profile of this very version."""
        return (
            _MESSAGE_ID.fullmatch(message_id) is not None
            and (PROFILES / f"{message_id}.xsd").exists()
        )

    def verify(self, part: Part, mode: Mode = Mode.BASE) -> None:
        """Hold a part to its schema.

        Raises
        ------
        DocumentError
            The first fault, with its path and line; or no schema for this message.
        """
        validators = self._validators.get((part.message_id, mode))
        if validators is None:
            validators = self._choose(part.message_id, mode)
            self._validators[part.message_id, mode] = validators
        for each in validators:
            if not each.validate(part.element):
                raise _fault(each.error_log[0], part.element)

    def _choose(self, message_id: str, mode: Mode) -> tuple[Any, ...]:
        used = [Mode.PROFILE, Mode.BASE] if mode is Mode.BOTH else [mode]
        if Mode.BASE in used and not self.has_base(message_id):
            used = [Mode.PROFILE]
        if Mode.PROFILE in used and not self.has_profile(message_id):
            raise DocumentError("no schema for this message", path=message_id)
        return tuple(self._compile(message_id, each) for each in used)

    def _compile(self, message_id: str, mode: Mode) -> Any:
        name = f"{message_id}.xsd"
        if mode is Mode.PROFILE:
            return etree.XMLSchema(file=str(PROFILES / name))
        assert self._base is not None, "a base schema lies in a directory"
        file = self._base / name
        content = file.read_bytes()
        if hashlib.sha256(content).hexdigest() != self._origins[message_id].sha256:
            msg = f"{file} is not what was put there; run `isoswitch schemas build`"
            raise ConfigError(msg)
        return compile_schema(content)


def compile_schema(content: bytes) -> Any:
    """Compile a schema that stands alone.

    Raises
    ------
    ValueError
        It is no schema.
    """
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        return etree.XMLSchema(etree.fromstring(content, parser))
    except (etree.XMLSyntaxError, etree.XMLSchemaParseError):
        msg = "no XML schema"
        raise ValueError(msg) from None


def read_manifest(directory: Path) -> Manifest:
    """Read what lies in a directory of base schemas; nothing where it is not there.

    Raises
    ------
    ConfigError
        The manifest is not one.
    """
    file = directory / MANIFEST
    if not file.exists():
        return Manifest(schemas={})
    try:
        return msgspec.json.decode(file.read_bytes(), type=Manifest)
    except msgspec.DecodeError:
        msg = f"{file} is no list of schemas; remove it and run `schemas build`"
        raise ConfigError(msg) from None


def _fault(error: Any, top: Element) -> DocumentError:
    element = _locate(error.path, top)
    reason = _REASONS.get(error.type_name, "not what the schema wants")
    if error.type_name == "SCHEMAV_ELEMENT_CONTENT":
        # The names after these words are the schema's, not the sender's.
        expected = _EXPECTED.search(error.message)
        if expected:
            names = [each.rpartition("}")[2] for each in expected[1].split(", ")]
            more = " ..." if len(names) > _EXPECTED_NAMES_MAX else ""
            wanted = ", ".join(names[:_EXPECTED_NAMES_MAX])
            reason = f"{reason}; here may stand {wanted}{more}"
    return DocumentError(reason, path=path_of(element), line=error.line)


def _locate(path: str | None, top: Element) -> Element:
    """Find the element of a path that the validator gives, from the part down."""
    steps = (path or "").partition("/")[2].partition("/")[2]
    if not steps:
        return top
    prefixes = {
        prefix: space
        for element in top.iter()
        for prefix, space in element.nsmap.items()
        if prefix
    }
    found = top.xpath("./" + steps, namespaces=prefixes)
    return found[0] if found else top
