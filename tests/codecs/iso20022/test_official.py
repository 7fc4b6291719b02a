"""The official download is taken, and what could do harm is refused."""

from __future__ import annotations

import io
import stat
import zipfile
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoswitch.codecs.canonical.errors import DecodeError
from isoswitch.codecs.iso20022.document import Part, read_document
from isoswitch.codecs.iso20022.official import (
    ARCHIVE_BYTES_MAX,
    SCHEMA_BYTES_MAX,
    read_download,
    read_schema,
)
from isoswitch.codecs.iso20022.schemas import compile_schema
from tests.iso20022 import FOLDER

ID = "cain.001.001.04"
SPACE = f"urn:iso:std:iso:20022:tech:xsd:{ID}"
SCHEMA = f"""<?xml version="1.0" encoding="UTF-8"?>
<xs:schema xmlns="{SPACE}" xmlns:xs="http://www.w3.org/2001/XMLSchema"
 targetNamespace="{SPACE}" elementFormDefault="qualified">
<xs:element name="Document" type="Chip"/>
<xs:complexType name="Chip"><xs:sequence>
<xs:element name="ICCRltdData" type="Hex"/></xs:sequence></xs:complexType>
<xs:simpleType name="Hex"><xs:restriction base="xs:string">
<xs:pattern value="([0-9A-F][0-9A-F]){{1,10000}}  "/></xs:restriction></xs:simpleType>
</xs:schema>""".encode()


def packed(files: Mapping[str, bytes], *, mode: int = 0) -> bytes:
    """Give a ZIP of these files."""
    octets = io.BytesIO()
    with zipfile.ZipFile(octets, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            member = zipfile.ZipInfo(name)
            member.external_attr = mode << 16
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, content)
    return octets.getvalue()


def lying(data: bytes) -> bytes:
    """Make a ZIP tell of its only file that it unpacks to a single byte."""
    at = data.rindex(b"PK\x01\x02") + 24
    return data[:at] + (1).to_bytes(4, "little") + data[at + 4 :]


BOMB = packed({f"{ID}.xsd": bytes(SCHEMA_BYTES_MAX + 1)})
REFUSED = {
    "no ZIP": (b"PK\x03\x04 nothing", "not a ZIP"),
    "empty": (packed({}), "no schema of a message"),
    "nothing but words": (packed({"readme.txt": b"x"}), "no schema of a message"),
    "climbs out": (packed({f"../{ID}.xsd": SCHEMA}), "leads out"),
    "climbs out in the middle": (packed({f"a/../../{ID}.xsd": SCHEMA}), "leads out"),
    "from the root": (packed({f"/etc/{ID}.xsd": SCHEMA}), "leads out"),
    "a drive": (packed({f"C:{ID}.xsd": SCHEMA}), "leads out"),
    "other slashes": (packed({f"..\\{ID}.xsd": SCHEMA}), "leads out"),
    "a link": (
        packed({f"{ID}.xsd": b"/etc/passwd"}, mode=stat.S_IFLNK | 0o777),
        "a link or a device",
    ),
    "a bomb": (BOMB, "longer than 1024 KiB"),
    "a bomb that lies": (lying(BOMB), "not a ZIP, or a broken"),
    "much": (packed({f"{n}.txt": b"" for n in range(3_001)}), "more than 3000 files"),
    "very much": (
        packed({f"{n}.bin": bytes(100 << 20) for n in range(3)}),
        "unpacks to more than 256 MiB",
    ),
    "twice": (packed({f"a/{ID}.xsd": SCHEMA, f"b/{ID}.xsd": SCHEMA}), "there twice"),
    "an entity": (
        packed({f"{ID}.xsd": b"<!DOCTYPE x [<!ENTITY y 'z'>]>" + SCHEMA}),
        "document type or entity",
    ),
    "another name": (packed({"cain.001.001.05.xsd": SCHEMA}), "of another message"),
    "no schema": (packed({f"{ID}.xsd": b"<a/>"}), "no XML schema"),
    "no XML": (packed({f"{ID}.xsd": b"<a>"}), "not well-formed"),
    "fetches": (
        packed(
            {
                f"{ID}.xsd": SCHEMA.replace(
                    b'<xs:element name="Doc',
                    b'<xs:include schemaLocation="/etc/passwd"/><xs:element name="Doc',
                )
            }
        ),
        "refers to other schemas",
    ),
    "another top": (
        packed({f"{ID}.xsd": SCHEMA.replace(b"Document", b"Other")}),
        "not one outermost element",
    ),
    "does not hold": (
        packed({f"{ID}.xsd": SCHEMA.replace(b'type="Chip"', b'type="Chop"')}),
        "does not hold",
    ),
    "without end": (
        packed(
            {
                f"{ID}.xsd": SCHEMA.replace(
                    b'type="Hex"', b'type="Hex" maxOccurs="99999"'
                )
            }
        ),
        "more than 10000 times",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_could_do_harm_is_refused(name: str) -> None:
    data, reason = REFUSED[name]
    with pytest.raises(DecodeError, match=reason):
        read_download(data)


def test_a_download_beyond_the_limit_is_not_even_opened() -> None:
    with pytest.raises(DecodeError, match="longer than 64 MiB"):
        read_download(bytes(ARCHIVE_BYTES_MAX + 1))


def test_schemas_are_taken_and_words_left_out() -> None:
    download = read_download(
        packed({f"area/{ID}.xsd": SCHEMA, "area/": b"", "a.txt": b""})
    )
    [schema] = download.schemas
    assert schema.message_id == ID
    assert download.left_out == ("a.txt",)


@pytest.mark.parametrize(
    ("blanks", "admitted"), [("", True), ("  ", True), ("   ", False)]
)
def test_chip_data_needs_no_blanks_once_the_defect_is_mended(
    blanks: str, *, admitted: bool
) -> None:
    schema = read_schema(ID, SCHEMA)
    assert schema.changes == (
        "1 times: two blanks at the end of a pattern made optional (ICCRltdData)",
    )
    data = (
        f'<Document xmlns="{SPACE}"><ICCRltdData>9F26{blanks}</ICCRltdData></Document>'
    )
    part = read_document(data.encode()).body
    assert isinstance(part, Part)
    assert compile_schema(schema.content).validate(part.element) is admitted
    assert compile_schema(SCHEMA).validate(part.element) is (blanks == "  ")


@given(data=st.binary(max_size=300))
def test_whatever_comes_is_refused_in_words(data: bytes) -> None:
    for each in (data, b"PK\x03\x04" + data, packed({f"{ID}.xsd": data})):
        with pytest.raises(DecodeError):
            read_download(each)


def test_every_published_schema_is_taken() -> None:
    files = sorted((FOLDER / "xsd").glob("*.xsd"))
    if not files:
        pytest.skip("no published schemas beside the repository")
    download = read_download(packed({each.name: each.read_bytes() for each in files}))
    assert len(download.schemas) == len(files)
    mended = [each.message_id for each in download.schemas if each.changes]
    assert len(mended) == 12
