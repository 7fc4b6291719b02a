"""Documents that want to harm their reader, each with the words that refuse it."""

from __future__ import annotations

from collections.abc import Mapping

NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:pacs.008.001.08"
START = f'<Document xmlns="{NAMESPACE}">'.encode()
END = b"</Document>"
SECRET = b"4111111111111111"


def wrapped(content: bytes) -> bytes:
    """Put content into a document."""
    return START + content + END


def _flood(element: bytes, size: int) -> bytes:
    return wrapped(element * (size // len(element)))


_LAUGHS = b"".join(
    b'<!ENTITY l%d "%s">' % (n, b"&l%d;" % (n - 1) * 10) for n in range(1, 10)
)

HOSTILE: Mapping[str, tuple[bytes, str]] = {
    "empty": (b"", "not well-formed XML"),
    "too long": (_flood(b"<a>x</a>", 300_000), "longer than 262144 bytes"),
    "external entity": (
        b'<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + wrapped(b"&x;"),
        "a document type or entity is declared",
    ),
    "parameter entity": (
        b'<!DOCTYPE d [<!ENTITY % x SYSTEM "file:///etc/passwd"> %x;]>' + wrapped(b""),
        "a document type or entity is declared",
    ),
    "external document type": (
        b'<!DOCTYPE Document SYSTEM "http://127.0.0.1:9/x.dtd">' + wrapped(b""),
        "a document type or entity is declared",
    ),
    "entity bomb": (
        b'<!DOCTYPE d [<!ENTITY l0 "l">' + _LAUGHS + b"]>" + wrapped(b"&l9;"),
        "a document type or entity is declared",
    ),
    "undeclared entity": (wrapped(b"&x;"), "not well-formed XML"),
    "depth beyond the parser": (
        wrapped(b"<a>" * 15_000 + b"</a>" * 15_000),
        "not well-formed XML",
    ),
    "depth": (wrapped(b"<a>" * 40 + b"</a>" * 40), "elements more than 32 deep"),
    "element flood": (_flood(b"<a/>", 250_000), "more than 20000 elements"),
    "element flood in an envelope": (
        b"<E>" + b"<a/>" * 19_990 + b"</E>",
        "neither a header nor a message",
    ),
    "two messages in one element": (
        (
            b'<E xmlns:a="urn:iso:std:iso:20022:tech:xsd:pacs.008.001.08"'
            b' xmlns:b="urn:iso:std:iso:20022:tech:xsd:pacs.009.001.08">'
            b"<a:x/><b:x/></E>"
        ),
        "one part of two messages",
    ),
    "header and half a message": (
        b'<AppHdr xmlns="urn:iso:std:iso:20022:tech:xsd:head.001.001.02"/>' + START,
        "not well-formed XML",
    ),
    "comment flood": (_flood(b"<!---->", 250_000), "more than 20000 elements"),
    "attribute flood": (
        b"<a " + b"".join(b'a%d="" ' % n for n in range(20_000)) + b"/>",
        "more than 10000 attributes",
    ),
    "namespace flood": (
        b"<a " + b"".join(b'xmlns:a%d="u%d" ' % (n, n) for n in range(9_000)) + b"/>",
        "more than 64 namespaces are declared",
    ),
    "huge attribute": (
        wrapped(b'<a b="' + b"x" * 240_000 + b'"/>'),
        "an attribute of more than 1024 characters",
    ),
    "huge name": (wrapped(b"<" + b"a" * 100_000 + b"/>"), "not well-formed XML"),
    "UTF-16 with a mark": (
        (
            '<?xml version="1.0" encoding="UTF-16"?>' + START.decode() + END.decode()
        ).encode("utf-16"),
        "not UTF-8",
    ),
    "UTF-16 without a mark": (
        (START.decode() + END.decode()).encode("utf-16-le"),
        "not UTF-8: a zero byte",
    ),
    "UTF-7": (
        b'<?xml version="1.0" encoding="UTF-7"?>+ADwAIQ-DOCTYPE x+AD4-' + wrapped(b""),
        "declares another encoding than UTF-8",
    ),
    "Latin-1": (
        b"<?xml version='1.0' encoding='ISO-8859-1'?>" + wrapped(b"caf\xc3\xa9"),
        "declares another encoding than UTF-8",
    ),
    "bytes that are no text": (wrapped(b"\xff\xfe"), "not UTF-8"),
    "overlong encoding": (wrapped(b"\xc0\xbc!DOCTYPE"), "not UTF-8"),
    "duplicate ids": (
        wrapped(b'<a Id="1"/><b ID="1"/>'),
        "two elements with the same id",
    ),
    "duplicate attribute": (wrapped(b'<a b="1" b="2"/>'), "not well-formed XML"),
    "two messages": (
        b"<E>" + wrapped(b"") + wrapped(b"") + b"</E>",
        "more than one header or message",
    ),
    "no namespace": (b"<Document/>", "neither a header nor a message"),
    "almost a namespace": (
        START.replace(b"pacs.008", b"PACS.008") + END,
        "neither a header nor a message",
    ),
    "something else": (
        START.replace(b"Document", b"Payment") + b"</Payment>",
        "no Document but another element",
    ),
    "a secret in a tag": (
        b"<x>" + SECRET + b"</" + SECRET + b">",
        "not well-formed XML",
    ),
    "a secret in a name": (
        b"<x" + SECRET + b"/>",
        "neither a header nor a message",
    ),
    "a secret in an attribute": (
        wrapped(b'<a b="' + SECRET + b"\" b='x'/>"),
        "not well-formed XML",
    ),
    "half a document": (START + b"<FIToFICstmrCdtTrf>", "not well-formed XML"),
}
