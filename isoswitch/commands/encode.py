"""What ``isoswitch encode`` does: make the bytes of a message that JSON describes.

{"dialect": "iso87-ascii", "mti": "0800", "fields": {"11": "000001", "70": "301"}}

A field of bytes is hexadecimal; a field made of parts may be an object. What
``decode --json --unsafe`` prints encodes back to the same bytes.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from isoswitch.codecs.annotation import layout_of
from isoswitch.codecs.canonical.errors import DecodeError, EncodeError
from isoswitch.codecs.composites.networks import CHIP_DATA
from isoswitch.codecs.framing import get_framing
from isoswitch.codecs.headers import join, split
from isoswitch.codecs.iso8583.codec import Codec
from isoswitch.codecs.iso8583.spec import FieldSpec
from isoswitch.commands.console import OK, USAGE, Failure
from isoswitch.commands.dialects import check_framing, check_header, find_codec
from isoswitch.commands.inputs import read_json

_KEYS = frozenset({"dialect", "framing", "header", "mti", "fields"})
_IGNORED = frozenset(
    {"confidence", "margin_bits", "evidence", "doubts", "ties", "rivals", "parts"}
    | {"packet", "time_s", "source", "destination"}
)

Value = str | bytes


def encode(
    what: str, *, dialect: str | None, framing: str | None, is_binary: bool
) -> int:
    """Print the message as hexadecimal, or write its bytes."""
    try:
        wire = _encode(read_json(what), dialect=dialect, framing=framing)
    except EncodeError as fault:
        fix = "`isoswitch dialect show NAME` shows the format of every field"
        raise Failure(str(fault), fix=fix) from None
    if is_binary:
        sys.stdout.buffer.write(wire)
        sys.stdout.buffer.flush()
    else:
        sys.stdout.write(wire.hex().upper() + "\n")
    return OK


def _encode(
    document: Mapping[str, Any], *, dialect: str | None, framing: str | None
) -> bytes:
    for key in document:
        if key not in _KEYS | _IGNORED:
            raise _usage(f"unknown key {key!r}", f"one of {', '.join(sorted(_KEYS))}")
    mti, fields = document.get("mti"), document.get("fields", {})
    if not isinstance(mti, str) or not isinstance(fields, dict):
        fix = '{"mti": "0800", "fields": {"11": "000001"}}'
        raise _usage("a message has a text mti and an object of fields", fix)
    name = dialect or document.get("dialect") or "iso87-ascii"
    codec = find_codec(str(name))
    message = codec.build(
        mti, {_number(key): _value(codec, key, each) for key, each in fields.items()}
    )
    kind, header = _header(document.get("header") or {})
    payload = _with_header(kind, header, message.raw)
    chosen = document.get("framing", "") if framing is None else framing
    if not chosen:
        return payload
    return get_framing(check_framing(str(chosen))).encode(payload)


def _header(header: Any) -> tuple[str, bytes]:
    if not isinstance(header, dict):
        raise _usage("a header is an object", '{"kind": "tpdu", "hex": "6000000000"}')
    kind = check_header(str(header.get("kind", "")))
    return kind, _octets(str(header.get("hex", "")), "header")


def _with_header(kind: str, header: bytes, message: bytes) -> bytes:
    try:
        payload = join(kind, header, message)
        if split(kind, payload)[0] == header or not kind:
            return payload
    except (DecodeError, OverflowError):
        pass
    raise EncodeError(f"not a header of the kind {kind}", field="header")


def _number(key: str) -> int:
    if not (key.isascii() and key.isdecimal() and len(key) <= 3):
        raise _usage(f"{key[:20]!r} is not the number of a field", "such as 11")
    return int(key)


def _value(codec: Codec, key: str, value: Any) -> Value:
    spec = codec.spec.fields.get(_number(key))
    if spec is None:
        raise EncodeError(f"not in the layout {codec.name}", field=key)
    if isinstance(value, dict):
        return _composite(codec, spec, value)
    if not isinstance(value, str):
        raise EncodeError("the value is not text", field=key)
    if "*" in value and (spec.masking != "show" or spec.cls == "b"):
        reason = "the value is masked; take what decode --unsafe gives"
        raise EncodeError(reason, field=key)
    return _octets(value, key) if spec.cls == "b" else value


def _composite(codec: Codec, spec: FieldSpec, parts: Mapping[str, Any]) -> Value:
    """Put a field together from its parts; those of a field of bytes are bytes."""
    layout = layout_of(codec.name, spec.de)
    if layout is None:
        reason = f"{codec.name} does not know parts of this field"
        raise EncodeError(reason, field=str(spec.de))
    is_octets = spec.cls == "b" or layout is CHIP_DATA
    built = layout.build(
        {
            key: _octets(str(value), f"{spec.de}.{key}") if is_octets else str(value)
            for key, value in parts.items()
        }
    ).encode()
    if isinstance(built, bytes) and spec.cls != "b":
        return built.hex().upper()
    return built


def _octets(text: str, field: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise EncodeError("the value is not hexadecimal", field=field) from None


def _usage(what: str, fix: str) -> Failure:
    return Failure(what, fix=fix, exit_code=USAGE)
