"""A message in words: each field and what is inside it, where it stands, its meaning.

Masked unless told otherwise: fields as their layout says, parts of composite fields as
theirs says, and a part that nobody knows is not shown where its field is hidden.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from isoswitch.codecs.canonical.errors import DecodeError
from isoswitch.codecs.composites.model import Composite, Element, Layout
from isoswitch.codecs.composites.networks import CHIP_DATA, find_layout
from isoswitch.codecs.emv.bits import explain_value
from isoswitch.codecs.emv.contactless import Scheme, find_scheme_in
from isoswitch.codecs.emv.tlv import decode_tlv
from isoswitch.codecs.explain import MTI, explain_field
from isoswitch.codecs.iso8583.masking import mask_value
from isoswitch.codecs.iso8583.message import Message

HIDDEN = "***"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One field, or one part of a field, as it may be shown.

    ``place`` is a path such as ``"55.9F26"``; ``offset`` counts from the type
    indicator, and is -1 where the bytes on the wire are not those of the part.
    """

    place: str
    offset: int
    size: int
    name: str
    format: str
    value: str
    meaning: str


def annotate(
    message: Message, *, unsafe: bool = False, is_doubtful: bool = False
) -> list[Part]:
    """Give the type indicator and every field, each before the parts inside it.

    Parameters
    ----------
    unsafe
        Show values in clear; for a developer's own terminal only.
    is_doubtful
        The layout may be another one: bytes are hidden, for any may be a secret.

    Examples
    --------
    >>> from isoswitch.codecs.iso8583.specs import get_codec
    >>> build = get_codec("iso87-bcd").build
    >>> message = build("0200", {22: "051", 55: bytes.fromhex("9F270180")})
    >>> for part in annotate(message):
    ...     print(part.place, part.offset, part.value, "-", part.meaning)
    mti 0 0200 - ISO 8583:1987; financial; request; acquirer
    22 10 051 - chip, card verification reliable; terminal can take a PIN
    55 14 *** (4 bytes) -\x20
    55.9F27 14 80 - ARQC: asks the issuer
    """
    parts = [_mti_part(message)]
    for de in message:
        part = _field_part(message, de, unsafe=unsafe)
        if is_doubtful and not unsafe and isinstance(message[de], bytes):
            value = mask_value(message[de], "hide")
            parts.append(replace(part, value=value, meaning=""))
            continue
        parts.append(part)
        parts += _inner_parts(message, de, unsafe=unsafe)
    return parts


def unknown_parts(message: Message) -> Iterator[tuple[str, int]]:
    """Give path and length of each part of a field that its layout does not know.

    Examples
    --------
    >>> from isoswitch.codecs.iso8583.specs import get_codec
    >>> message = get_codec("iso87-bcd").build("0200", {55: bytes.fromhex("DF7F0101")})
    >>> list(unknown_parts(message))
    [('55.DF7F', 1)]
    """
    for de in message:
        with suppress(DecodeError):
            composite, _ = _composite_of(message, de)
            for path, length in composite.unknown() if composite else ():
                yield f"{de}.{path}", length


def clear_value(value: str | bytes) -> str:
    """Give a value as text with nothing hidden; bytes in hexadecimal."""
    return value if isinstance(value, str) else value.hex().upper()


def layout_of(dialect: str, de: int) -> Layout | None:
    """Find how a field is cut; chip data is the same everywhere."""
    layout = find_layout(dialect, de)
    return CHIP_DATA if layout is None and de == 55 else layout


def _mti_part(message: Message) -> Part:
    words = explain_field(MTI, message.mti, "1987")
    return Part(
        place="mti",
        offset=0,
        size=message.codec.mti_end,
        name="Message type",
        format="n 4",
        value=message.mti,
        meaning="; ".join(meaning for _, meaning in words),
    )


def _field_part(message: Message, de: int, *, unsafe: bool) -> Part:
    spec = message.codec.spec.fields[de]
    value = message[de]
    masked = mask_value(value, spec.masking)
    is_open = unsafe or (spec.masking == "show" and "*" not in masked)
    words = explain_field(de, clear_value(value), _edition(message)) if is_open else []
    return Part(
        place=str(de),
        offset=message.offset(de),
        size=message.end(de) - message.offset(de),
        name=spec.name,
        format=spec.format,
        value=clear_value(value) if unsafe else masked,
        meaning="; ".join(meaning for _, meaning in words),
    )


def _edition(message: Message) -> str:
    """The code tables that hold: those of the layout's edition, or UnionPay's."""
    is_unionpay = message.codec.name in {"cup-pos", "cups-interchange"}
    return "unionpay" if is_unionpay else message.codec.spec.edition


def _inner_parts(message: Message, de: int, *, unsafe: bool) -> Iterator[Part]:
    is_wire = _is_wire(message, de)
    try:
        composite, value = _composite_of(message, de)
    except DecodeError as fault:
        yield Part(
            place=fault.field if "." in fault.field else f"{de}.?",
            offset=fault.offset if is_wire else -1,
            size=0,
            name=f"not as the layout says: {fault.reason}",
            format="",
            value="",
            meaning="",
        )
        return
    if composite is None:
        return
    is_hidden = message.codec.spec.fields[de].masking == "hide" and not unsafe
    scheme = _scheme_in(value)
    for path, each in composite.walk():
        shown = "" if each.children else each.shown(unsafe=unsafe)
        yield Part(
            place=f"{de}.{path}",
            offset=each.offset if is_wire else -1,
            size=len(each.value),
            name=each.name or "unknown",
            format="",
            value=HIDDEN if is_hidden and not each.name and shown else shown,
            meaning=_meaning(each, scheme),
        )


def _composite_of(message: Message, de: int) -> tuple[Composite | None, str | bytes]:
    """Give the parts of a field, None if it has none, and what they were read from."""
    layout, value = layout_of(message.codec.name, de), message[de]
    if layout is None or not value:
        return None, value
    if layout is CHIP_DATA and isinstance(value, str):
        value = _from_hexadecimal(value)
    offset = message.offset(de) if _is_wire(message, de) else 0
    return layout.decode(value, path=str(de), offset=offset), value


def _is_wire(message: Message, de: int) -> bool:
    """Whether the bytes of a field on the wire are those of its parts."""
    value = message[de]
    size = message.end(de) - message.offset(de)
    return isinstance(value, bytes) and len(value) == size


def _meaning(element: Element, scheme: Scheme | None) -> str:
    if element.masking != "emv" or not isinstance(element.value, bytes):
        return ""
    words = explain_value(element.key, element.value, scheme)
    return "; ".join(meaning for _, meaning in words)


def _scheme_in(value: str | bytes) -> Scheme | None:
    """The card scheme that chip data names; its private tags go by it."""
    if isinstance(value, str):
        return None
    try:
        return find_scheme_in(decode_tlv(value))
    except DecodeError:
        return None


def _from_hexadecimal(text: str) -> str | bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return text
