"""What travels between the switch and a payment HSM.

    offset  size  meaning
    0       2     length of the rest, big-endian
    2       4     header: any characters, which the answer repeats
    6       2     letters of the command; in the answer the second one plus 1
    8       2     answers only: error code, 00 for done
    then          the fields of the layout

The header pairs answers with requests, so that many travel at once. An answer with an
error has no fields that anybody reads.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from isoswitch.codecs.canonical.errors import (
    DecodeError,
    EncodeError,
    HsmError,
    HsmUnavailable,
    KeyRefused,
    MacMismatch,
    PinBlockInvalid,
    VerificationFailed,
)
from isoswitch.hsm.payshield.fields import (
    Field,
    Form,
    Layout,
    Value,
    Values,
    key_length,
)

HEADER_CHARACTERS = 4
FRAME_BYTES_MAX = 65_535

DONE = "00"

Fault = type[HsmError] | type[VerificationFailed]

_PARITY = (KeyRefused, "a key does not have odd parity")
_PIN_BLOCK = (PinBlockInvalid, "the PIN block is not valid")
_PIN = (VerificationFailed, "the PIN does not verify")
_PIN_COMMANDS = ("DA", "DC", "EA", "EC")
_CRYPTOGRAM = (VerificationFailed, "the cryptogram does not verify")
_NOT_READY = (HsmUnavailable, "the payment HSM reports a fault of its own")
_NOT_ALLOWED = (HsmError, "the payment HSM does not allow this command")
_WRONG_KEY = (KeyRefused, "the payment HSM refuses the key for this command")
_WRONG_FORMAT = (KeyRefused, "the payment HSM refuses the PIN block format")

ERRORS: Mapping[str, tuple[Fault, str]] = {
    "01": (VerificationFailed, "the value does not verify"),
    "10": _PARITY,
    "11": _PARITY,
    "13": (HsmUnavailable, "the payment HSM has no such local master key"),
    "15": (HsmError, "the payment HSM refuses the input"),
    "17": _NOT_ALLOWED,
    "20": _PIN_BLOCK,
    "23": _WRONG_FORMAT,
    "24": _PIN_BLOCK,
    "26": _WRONG_KEY,
    "27": _WRONG_KEY,
    "28": _WRONG_KEY,
    "29": _WRONG_KEY,
    "40": _NOT_READY,
    "41": _NOT_READY,
    "42": _NOT_READY,
    "47": _NOT_ALLOWED,
    "67": _NOT_ALLOWED,
    "68": _NOT_ALLOWED,
    "69": _WRONG_FORMAT,
    "80": (HsmError, "the payment HSM refuses the length of the data"),
    # Key blocks: their schemes, header fields, authentication and dates.
    **{f"{code:02X}": _WRONG_KEY for code in range(0xA1, 0xB3)},
    "BB": _WRONG_KEY,
    "BD": _WRONG_KEY,
}
"""What an error code means; those of one command alone stand in ``COMMAND_ERRORS``."""

COMMAND_ERRORS: Mapping[tuple[str, str], tuple[Fault, str]] = {
    ("M8", "01"): (MacMismatch, "the MAC does not match"),
    ("CY", "01"): (VerificationFailed, "the card verification value does not verify"),
    ("KQ", "01"): _CRYPTOGRAM,
    ("KW", "01"): _CRYPTOGRAM,
    # A wrong PIN and a wrong block are one thing to whoever asks.
    **{(code, error): _PIN for code in _PIN_COMMANDS for error in ("01", "20", "24")},
}


def encode_fields(fields: Sequence[Field], values: Values) -> bytes:
    """Write fields in order; values that the layout does not know stay away.

    Raises
    ------
    EncodeError
        A value is missing or does not fit.

    Examples
    --------
    >>> fields = (Field("pan", Form.DIGITS, until=";"), Field("mac", Form.HEX, size=2))
    >>> encode_fields(fields, {"pan": "4761739001010010", "mac": b"\\x12\\xab"})
    b'4761739001010010;12AB'
    """
    return b"".join(
        _encode(field, values)
        for field in fields
        if field.when is None or field.when(values)
    )


def decode_fields(
    fields: Sequence[Field], data: bytes, known: Values | None = None
) -> dict[str, Value]:
    """Read fields in order, to the end of the data.

    Parameters
    ----------
    known
        The request that the data answers, where the answer's fields depend on it.

    Raises
    ------
    DecodeError
        The data does not have this layout.

    Examples
    --------
    >>> decode_fields((Field("mac", Form.HEX, size=2),), b"12AB")
    {'mac': b'\\x12\\xab'}
    """
    found: dict[str, Value] = {}
    pos = 0
    for field in fields:
        if field.when is not None and not field.when({**(known or {}), **found}):
            continue
        marker = field.marker.encode()
        if not data.startswith(marker, pos):
            continue
        value, pos = _decode(field, data, pos + len(marker))
        if not field.constant:
            found[field.name] = value
    if pos != len(data):
        msg = "there is more than the layout knows"
        raise DecodeError(msg, field="payload", offset=pos)
    return found


def fault_of(layout: Layout, error: str) -> HsmError | VerificationFailed | None:
    """Give the error that an answer's code stands for; None when it was done."""
    if error == DONE or error in layout.warnings:
        return None
    unknown = (HsmError, f"the payment HSM answers {layout.code} with error {error}")
    kind, reason = COMMAND_ERRORS.get((layout.code, error), ERRORS.get(error, unknown))
    return kind(reason)


def _encode(field: Field, values: Values) -> bytes:
    value = field.constant or values.get(field.name)
    if value is None and field.marker:
        return b""
    octets = _octets(field, value)
    units = len(octets) // 2 if field.form is Form.HEX else len(octets)
    if field.size is not None and units != field.size:
        raise EncodeError(f"not {field.size} long", field=field.name)
    # What is counted may hold anything.
    if field.until and not field.counted and field.until.encode() in octets:
        raise EncodeError("holds its own delimiter", field=field.name)
    count = b""
    if field.counted:
        if units >= 16**field.counted:
            raise EncodeError("longer than can be counted", field=field.name)
        count = f"{units:0{field.counted}X}".encode()
    return field.marker.encode() + count + octets + field.until.encode()


def _octets(field: Field, value: Value | None) -> bytes:
    """Give the characters of a value in the form of its field."""
    is_octets = field.form in {Form.BYTES, Form.HEX}
    if isinstance(value, bytes) and is_octets:
        octets = value.hex().upper().encode() if field.form is Form.HEX else value
    elif isinstance(value, str) and not is_octets:
        octets = value.encode()
    else:
        raise EncodeError(f"not {field.form.value}", field=field.name)
    is_key = field.form is Form.KEY
    is_whole = not is_key or key_length(octets[:6].decode("latin-1")) == len(octets)
    if not is_whole or not _PATTERNS[field.form].fullmatch(octets):
        raise EncodeError(f"not {field.form.value}", field=field.name)
    return octets


def _decode(field: Field, data: bytes, pos: int) -> tuple[Value, int]:
    """Give the value at ``pos`` and where the next field begins."""
    start, end = _extent(field, data, pos)
    if end > len(data):
        raise DecodeError("cut short", field=field.name, offset=pos)
    value = _value(field, data[start:end], start)
    if field.constant not in {"", value}:
        raise DecodeError("not the constant", field=field.name, offset=start)
    until = field.until.encode()
    if not data.startswith(until, end):
        raise DecodeError("no delimiter behind", field=field.name, offset=end)
    return value, end + len(until)


def _extent(field: Field, data: bytes, pos: int) -> tuple[int, int]:
    """Give where a value begins and ends; the end may lie behind the data."""
    width = 2 if field.form is Form.HEX else 1
    if field.form is Form.KEY:
        length = key_length(data[pos : pos + 6].decode("ascii", "replace"))
        if length is None:
            raise DecodeError("not a wrapped key", field=field.name, offset=pos)
        return pos, pos + length
    if field.counted:
        start = pos + field.counted
        count = data[pos:start]
        if len(count) != field.counted or count.strip(b"0123456789ABCDEF"):
            raise DecodeError("not a count", field=field.name, offset=pos)
        return start, start + int(count, 16) * width
    if field.size is not None:
        return pos, pos + field.size * width
    end = data.find(field.until.encode(), pos) if field.until else len(data)
    return pos, len(data) if end < 0 else end


def _value(field: Field, octets: bytes, pos: int) -> Value:
    if not _PATTERNS[field.form].fullmatch(octets):
        raise DecodeError(f"not {field.form.value}", field=field.name, offset=pos)
    match field.form:
        case Form.BYTES:
            return octets
        case Form.HEX:
            return bytes.fromhex(octets.decode())
        case _:
            return octets.decode()


_PATTERNS: Mapping[Form, re.Pattern[bytes]] = {
    Form.TEXT: re.compile(rb"[ -~]*"),
    Form.DIGITS: re.compile(rb"[0-9]*"),
    Form.HEX: re.compile(rb"(?:[0-9A-Fa-f]{2})*"),
    Form.BYTES: re.compile(rb".*", re.DOTALL),
    Form.KEY: re.compile(rb"[ -~]+"),
}
