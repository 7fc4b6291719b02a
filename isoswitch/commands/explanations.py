"""What ``isoswitch explain`` does: find the table that knows the value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rich.markup import escape

from isoswitch.codecs.canonical.errors import DecodeError
from isoswitch.codecs.composites.model import Composite, Layout
from isoswitch.codecs.composites.networks import find_layout
from isoswitch.codecs.emv.bits import explain_value
from isoswitch.codecs.emv.contactless import find_scheme, find_tag
from isoswitch.codecs.emv.de55 import decode_de55
from isoswitch.codecs.emv.describe import SHORT_NAMES, describe_tlv, show_value
from isoswitch.codecs.emv.tracks import decode_track2, explain_service_code
from isoswitch.codecs.iso8583.masking import mask_value
from isoswitch.commands import console

Row = tuple[str, str]

_EDITIONS: Mapping[str, str] = {
    "1987": "iso87-ascii",
    "1993": "iso93-ascii",
    "2003": "iso2003-ascii",
}
"""The dialect that shows the fields of each edition."""

_UNIONPAY = frozenset({"cup-pos", "cups-interchange"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked: the kind, the words after it, and the options."""

    kind: str
    words: tuple[str, ...]
    edition: str
    dialect: str
    aid: str
    unsafe: bool


def explain(question: Question, *, as_json: bool) -> None:
    """Print what the value means."""
    rows = _KINDS.get(question.kind, _explain_tag)(question)
    if as_json:
        parts = [{"place": place, "meaning": meaning} for place, meaning in rows]
        console.print_json({"what": question.kind, "rows": parts})
        return
    table = console.plain_table("where", "meaning")
    for place, meaning in rows:
        table.add_row(escape(place), escape(meaning))
    console.stdout().print(table)


def _explain_de(question: Question) -> list[Row]:
    if len(question.words) != 2 or not question.words[0].isdecimal():
        raise _usage("DE takes a field number and a value", "explain DE 22 051")
    number, value = question.words
    de = int(number)
    if de == 55:
        return _explain_tlv(value, number, question)
    layout = find_layout(question.dialect, de)
    if layout is None:
        return _explain_codes(de, value, question)
    composite = _cut(layout, value, number)
    return [
        (f"{number}.{path}", f"{name}: {shown}" if shown else name)
        for path, name, shown in composite.describe(unsafe=question.unsafe)
    ]


def _explain_codes(de: int, value: str, question: Question) -> list[Row]:
    """Name a field, and give the meaning of its codes where it has any."""
    # Only this kind needs the field tables.
    from isoswitch.codecs.explain import explain_field
    from isoswitch.commands.dialects import find_codec

    if question.edition not in _EDITIONS:
        known = ", ".join(_EDITIONS)
        raise _usage(f"no edition {question.edition[:20]!r}", f"one of {known}")
    spec = find_codec(question.dialect or _EDITIONS[question.edition]).spec
    field = spec.fields.get(de)
    if field is None:
        fix = f"`isoswitch dialect show {spec.name}` shows the fields there are"
        raise _usage(f"{spec.name} has no field {de}", fix)
    is_unionpay = question.dialect in _UNIONPAY
    edition = "unionpay" if is_unionpay else spec.edition
    shown = value if question.unsafe else mask_value(value, field.masking)
    codes = explain_field(de, value, edition) if shown == value else []
    return [(str(de), f"{field.name}, {field.format}: {shown}"), *codes]


def _explain_mti(question: Question) -> list[Row]:
    from isoswitch.codecs.explain import explain_mti

    (mti,) = question.words if len(question.words) == 1 else ("",)
    if len(mti) != 4 or not (mti.isascii() and mti.isdecimal()):
        raise _usage("a message type has four digits", "explain MTI 0421")
    return explain_mti(mti)


def _cut(layout: Layout, value: str, path: str) -> Composite:
    """Cut a field given as its text, or else as its bytes in hexadecimal."""
    try:
        return layout.decode(value, path=path)
    except DecodeError:
        return layout.decode(_octets(value), path=path)


def _explain_tlv_words(question: Question) -> list[Row]:
    return _explain_tlv("".join(question.words), "", question)


def _explain_tlv(value: str, path: str, question: Question) -> list[Row]:
    tlv = decode_de55(_octets(value), path=path).tlv
    rows: list[Row] = []
    for view in describe_tlv(tlv, unsafe=question.unsafe):
        rows.append((view.path, f"{view.name}: {view.value}".rstrip(": ")))
        rows += [(f"  {place}", meaning) for place, meaning in view.words]
    return rows


def _explain_service_code(question: Question) -> list[Row]:
    (code,) = question.words if len(question.words) == 1 else ("",)
    if len(code) != 3 or not (code.isascii() and code.isdecimal()):
        raise _usage("a service code has three digits", "explain SERVICE 201")
    return explain_service_code(code)


def _explain_track2(question: Question) -> list[Row]:
    track = decode_track2("".join(question.words))
    clear = question.unsafe
    return [
        ("card number", track.pan.reveal() if clear else track.pan.masked),
        ("expiry", track.expiry if clear else "***"),
        ("service code", track.service_code or "absent"),
        *explain_service_code(track.service_code),
        (
            "discretionary",
            track.discretionary.reveal() if clear else track.discretionary.masked,
        ),
    ]


def _explain_tag(question: Question) -> list[Row]:
    name = question.kind
    tag, scheme = SHORT_NAMES.get(name, (name, None))
    if question.aid:
        scheme = find_scheme(_octets(question.aid))
    known = find_tag(tag, scheme)
    if known is None:
        short = ", ".join(SHORT_NAMES)
        raise _usage(
            f"no tag {name}", f"DE, MTI, TLV, SERVICE, TRACK2, a tag, or {short}"
        )
    value = _octets("".join(question.words))
    shown = show_value(tag, value, unsafe=question.unsafe)
    return [(tag, f"{known.name}: {shown}"), *explain_value(tag, value, scheme)]


def _octets(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise _usage("the value is not hexadecimal", "digits 0-9 and A-F") from None


def _usage(what: str, fix: str) -> console.Failure:
    return console.Failure(what, fix=fix, exit_code=console.USAGE)


_KINDS: Mapping[str, Callable[[Question], list[Row]]] = {
    "DE": _explain_de,
    "MTI": _explain_mti,
    "SERVICE": _explain_service_code,
    "TLV": _explain_tlv_words,
    "TRACK2": _explain_track2,
}
