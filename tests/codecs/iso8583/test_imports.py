"""Packagers of jPOS and TOML files become layouts, and bad ones are refused."""

from __future__ import annotations

import pytest

from isoswitch.codecs.iso8583.codec import compile_spec
from isoswitch.codecs.iso8583.imports import PACKAGER_BYTES_MAX, import_jpos
from isoswitch.codecs.iso8583.userlayout import read_layout

HEAD = '<?xml version="1.0"?><!DOCTYPE isopackager {}>'
PUBLIC = (
    'PUBLIC "-//jPOS/jPOS Generic Packager DTD 1.0//EN"'
    ' "http://jpos.org/dtd/generic-packager-1.0.dtd"'
)
ROW = '<isofield id="{}" length="{}" name="F{}" class="org.jpos.iso.{}"{}/>'


def packager(*rows: tuple[int, int, str, str], head: str = "") -> bytes:
    odd = "<comment/>"
    body = odd + "".join(
        ROW.format(de, size, de, cls, more) for de, size, cls, more in rows
    )
    return f"{head}<isopackager><!-- c -->{body}</isopackager>".encode()


ASCII = ((0, 4, "IFA_NUMERIC", ""), (1, 16, "IFA_BITMAP", ""))
BINARY = ((0, 4, "IFB_NUMERIC", ""), (1, 16, "IFB_BITMAP", ""))
EBCDIC = ((0, 4, "IFE_NUMERIC", ""), (1, 16, "IFB_BITMAP", ""))


@pytest.mark.parametrize(
    ("base", "row", "value", "wire"),
    [
        (ASCII, (2, 19, "IFA_LLNUM", ""), "123", "3033313233"),
        (ASCII, (48, 999, "IFA_LLLCHAR", ""), "ab", "3030326162"),
        (ASCII, (52, 8, "IFA_BINARY", ""), bytes(8), "30" * 16),
        (ASCII, (28, 9, "IFA_AMOUNT", ""), "C00000001", "433030303030303031"),
        (ASCII, (41, 8, "IF_CHAR", ""), "TERM0001", "5445524d30303031"),
        (BINARY, (2, 19, "IFB_LLNUM", ""), "123", "031230"),
        (BINARY, (2, 19, "IFB_LLNUM", ' pad="true"'), "123", "030123"),
        (BINARY, (2, 19, "IFB_LLHNUM", ""), "12", "0212"),
        (BINARY, (35, 37, "IFB_LLNUM", ' pad="true"'), "1D2", "0301d2"),
        (BINARY, (28, 9, "IFB_AMOUNT", ""), "D00000001", "4400000001"),
        (BINARY, (55, 255, "IFB_LLLBINARY", ""), b"\x9f", "00019f"),
        (BINARY, (49, 3, "IF_CHAR", ""), "978", "393738"),
        (EBCDIC, (49, 3, "IFE_NUMERIC", ""), "978", "f9f7f8"),
        (EBCDIC, (48, 99, "IFE_LLCHAR", ""), "A", "f0f1c1"),
    ],
)
def test_a_packager_is_a_layout(
    base: tuple[tuple[int, int, str, str], ...],
    row: tuple[int, int, str, str],
    value: str | bytes,
    wire: str,
) -> None:
    codec = compile_spec(import_jpos("theirs", packager(*base, row)))
    message = codec.build("0200", {row[0]: value})
    assert message.raw.hex().endswith(wire)
    assert codec.decode(message.raw)[row[0]] == value


@pytest.mark.parametrize("doctype", [PUBLIC, 'SYSTEM "genericpackager.dtd"', ""])
def test_the_document_type_of_jpos_is_accepted(doctype: str) -> None:
    xml = packager(*ASCII, head=HEAD.format(doctype))
    assert import_jpos("theirs", xml).fields == {}


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        (packager(*ASCII, head=HEAD.format('[<!ENTITY a "b">]')), "document type"),
        (packager(*ASCII, head=HEAD.format("") * 2), "document type"),
        (packager(*ASCII, head="<!DOCTYPE other>"), "document type"),
        (b"<isopackager>", "well-formed"),
        (b"<packager/>", "not a generic packager"),
        (packager(), "fields 0 and 1"),
        (packager(*ASCII, (2, 1, "X_ODD", "")), "unknown packager class"),
        (packager(*ASCII, (2, 1, "IFA_ODD", "")), "unknown packager class"),
        (b" " * (PACKAGER_BYTES_MAX + 1), "at most"),
    ],
    ids=["entity", "twice", "other", "broken", "root", "empty", "odd", "odder", "big"],
)
def test_a_bad_packager_is_refused(xml: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        import_jpos("theirs", xml)


GOOD = """
name = "acme"
edition = "1987"
description = "Acme hosts"
[wire]
mti = "bcd"
bitmap = "raw"
numeric = "bcd"
length = "bcd"
[fields.48]
format = "b...999"
encoding = "raw"
[fields.2]
pad = "right"
filler = "F"
"""


def test_a_file_of_ones_own_is_a_layout() -> None:
    codec = compile_spec(read_layout(GOOD))
    raw = codec.build("0200", {2: "123", 48: b"\x00"}).raw
    assert raw.hex() == "0200" + "4000000000010000" + "03123f" + "000100"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[wire]", "[wir]", "wir: unknown key; did you mean 'wire'"),
        ("numeric =", "numbers =", "wire.numbers: unknown key"),
        ('pad = "right"', 'pad = "up"', "fields.2.pad: one of left, right"),
        ('pad = "right"', "pad = 1", "fields.2.pad: not text"),
        ('pad = "right"', 'length_bytes = "1"', "length_bytes: not a number"),
        ('edition = "1987"', 'edition = "1988"', "edition"),
        ("[fields.48]", "[fields.x]", "fields.x: not the number"),
        ("[fields.48]", "[fields.128.a]", "fields.128.a: unknown key"),
        ("[wire]", "[[wire]]", "wire: not a table"),
        ('"b...999"', '"q...999"', "no field format"),
        ('name = "acme"', "name = ", "not TOML"),
    ],
)
def test_a_mistake_in_a_file_is_named(old: str, new: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_layout(GOOD.replace(old, new))
