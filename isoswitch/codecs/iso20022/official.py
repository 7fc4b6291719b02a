"""The official download, taken with care.

A ZIP from the Internet may hold anything: files that unpack to gigabytes, names that
climb out of the folder, links, schemas that fetch others. What is taken is schemas of
messages that stand alone; all else is refused, or left out where it does no harm.
"""

from __future__ import annotations

import io
import re
import stat
import zipfile
import zlib
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from lxml import etree

from isoswitch.codecs.canonical.errors import DecodeError, DocumentError
from isoswitch.codecs.iso20022.document import NAMESPACE, check_bytes
from isoswitch.codecs.iso20022.repair import repair_schema
from isoswitch.codecs.iso20022.schemas import compile_schema

ARCHIVE_BYTES_MAX: Final = 64 << 20
MEMBERS_MAX: Final = 3_000
SCHEMA_BYTES_MAX: Final = 1 << 20
TOTAL_BYTES_MAX: Final = 256 << 20
SCHEMA_ELEMENTS_MAX: Final = 60_000
OCCURS_MAX: Final = 10_000

_XS: Final = "{http://www.w3.org/2001/XMLSchema}"
_FILE = re.compile(r"(?:.*/)?([a-z]{4}\.\d{3}\.\d{3}\.\d{2})\.xsd", re.DOTALL)
_FETCHES: Final = ("include", "import", "redefine", "override")


@dataclass(frozen=True, slots=True, kw_only=True)
class OfficialSchema:
    """A schema of the download, and what was mended in it."""

    message_id: str
    content: bytes
    changes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """What a download holds; ``left_out`` are the names of what is no schema."""

    schemas: tuple[OfficialSchema, ...]
    left_out: tuple[str, ...]


def read_download(data: bytes) -> Download:
    """Read a ZIP of schemas.

    Raises
    ------
    DecodeError
        No ZIP, a ZIP that is too large in any way, one that could harm, or a schema
        in it that does not stand alone; ``field`` names the file.
    """
    if len(data) > ARCHIVE_BYTES_MAX:
        raise DecodeError(f"longer than {ARCHIVE_BYTES_MAX >> 20} MiB")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _read_archive(archive)
    except (
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
        EOFError,
        zlib.error,
    ):
        raise DecodeError("not a ZIP, or a broken or encrypted one") from None


def _read_archive(archive: zipfile.ZipFile) -> Download:
    members = archive.infolist()
    if len(members) > MEMBERS_MAX:
        raise DecodeError(f"more than {MEMBERS_MAX} files")
    if sum(each.file_size for each in members) > TOTAL_BYTES_MAX:
        raise DecodeError(f"unpacks to more than {TOTAL_BYTES_MAX >> 20} MiB")
    schemas: dict[str, OfficialSchema] = {}
    left_out = []
    for member in members:
        _check_name(member)
        named = _FILE.fullmatch(member.filename)
        if named is None:
            if not member.is_dir():
                left_out.append(member.filename)
            continue
        message_id = named[1]
        if message_id in schemas:
            _refuse(member, "the schema is there twice")
        content = _unpack(archive, member)
        try:
            schemas[message_id] = read_schema(message_id, content)
        except DecodeError as fault:
            _refuse(member, str(fault))
    if not schemas:
        raise DecodeError("no schema of a message")
    return Download(schemas=tuple(schemas.values()), left_out=tuple(left_out))


def read_schema(message_id: str, content: bytes) -> OfficialSchema:
    """Check that this is the schema of a message, stands alone and compiles.

    Raises
    ------
    DecodeError
        It is not.
    """
    check_bytes(content, SCHEMA_BYTES_MAX, elements_max=SCHEMA_ELEMENTS_MAX)
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        root = etree.fromstring(content, parser)
    except etree.XMLSyntaxError as fault:
        raise DocumentError("not well-formed XML", line=fault.lineno or 0) from None
    if root.tag != f"{_XS}schema":
        raise DocumentError("no XML schema")
    if root.get("targetNamespace") != NAMESPACE + message_id:
        raise DocumentError("the schema of another message than its name says")
    if any(next(root.iter(_XS + name), None) is not None for name in _FETCHES):
        raise DocumentError("refers to other schemas; it has to stand alone")
    tops = [each.get("name") for each in root.findall(f"{_XS}element")]
    if tops != ["AppHdr" if message_id.startswith("head.001") else "Document"]:
        raise DocumentError("not one outermost element Document or AppHdr")
    if any(_is_excessive(each.get("maxOccurs")) for each in root.iter()):
        raise DocumentError(f"an element may occur more than {OCCURS_MAX} times")
    repaired = repair_schema(content)
    try:
        compile_schema(repaired.content)
    except ValueError:
        raise DocumentError("a schema that does not hold") from None
    return OfficialSchema(
        message_id=message_id, content=repaired.content, changes=repaired.changes
    )


def _check_name(member: zipfile.ZipInfo) -> None:
    """Refuse what could end up outside of the folder it is unpacked into."""
    name = member.filename
    parts = name.split("/")
    if "\\" in name or ":" in name or name.startswith("/") or ".." in parts:
        _refuse(member, "the name leads out of the archive")
    mode = member.external_attr >> 16
    if mode and stat.S_IFMT(mode) not in {0, stat.S_IFREG, stat.S_IFDIR}:
        _refuse(member, "a link or a device")


def _unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    # The size that is told may be a lie, so no more is read than may be.
    with archive.open(member) as file:
        content = file.read(SCHEMA_BYTES_MAX + 1)
    if len(content) > SCHEMA_BYTES_MAX:
        _refuse(member, f"longer than {SCHEMA_BYTES_MAX >> 10} KiB")
    return content


def _is_excessive(occurs: Any) -> bool:
    return occurs not in {None, "unbounded"} and not (
        occurs.isascii() and occurs.isdecimal() and int(occurs[:9]) <= OCCURS_MAX
    )


def _refuse(member: zipfile.ZipInfo, reason: str) -> NoReturn:
    printable = "".join(each if each.isprintable() else "?" for each in member.filename)
    raise DecodeError(reason, field=printable[-80:])
