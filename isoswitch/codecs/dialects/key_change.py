"""Working keys in messages: key changes between hosts, and sign-ins of terminals.

Hosts send one key in a network management request; its answer carries the check value
that the receiver computed::

    1987    DE 53  n16  purpose: 1 PIN, 2 MAC | form: 1 key block, 2 encrypted key
                        | hexadecimal digits of the check value, n2 | zeros
            DE 120      the key block, or the key in hexadecimal, then the check value
    1993    DE 53  b8   the same digits, packed
            DE 96       the same content, binary

A terminal gets all of its keys in DE 62 of the answer to its sign-in, PIN key first::

    cup-pos (UnionPay)  binary: value, 4 bytes check value, next value ...; values of
                        one message have equal room, shorter ones end in zeros
    others              the same in hexadecimal, or key blocks one after the other
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from isoswitch.codecs.canonical.errors import DecodeError
from isoswitch.codecs.dialects.dialect import Dialect
from isoswitch.codecs.dialects.edition import Fields
from isoswitch.codecs.iso8583.message import Message

CONTROL_FIELD = 53
TERMINAL_FIELD = 62
TERMINAL_CHECK_BYTES = 4
BLOCK_HEADER_LENGTH = 16

_KEY_FIELDS: Mapping[str, int] = {"0": 120, "1": 96, "2": 96}
_CONTROL_DIGITS = 16
_FORMS: Mapping[str, bool] = {"1": True, "2": False}
# Keys and the room of each, by the size of DE 62.
_TERMINAL_SIZES: Mapping[int, tuple[int, int]] = {
    24: (2, 8),
    40: (2, 16),
    56: (2, 24),
    60: (3, 16),
    84: (3, 24),
}


# What a UnionPay terminal asks for (DE 60.3): keys, and bytes of each if not as before.
_UNIONPAY_NETWORK_FIELD = 60
_UNIONPAY_SIGN_INS: Mapping[str, tuple[int, int]] = {
    "001": (2, 8),
    "003": (2, 0),
    "004": (3, 0),
}


class KeyPurpose(StrEnum):
    """What a working key is for, by its digit in DE 53."""

    PIN = "1"
    MAC = "2"


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportedKey:
    """A key as it travels: a key block, or an encrypted value with its check value."""

    payload: bytes
    check_value: bytes = b""
    is_block: bool = False


@dataclass(frozen=True, slots=True)
class SignIn:
    """How many keys a terminal signs in for, and of how many bytes.

    ``length`` 0 leaves theirs as it is; None where the dialect cannot say.
    """

    count: int = 2
    length: int | None = None


def write_key_change(
    dialect: Dialect, purpose: KeyPurpose, key: TransportedKey
) -> Fields:
    """Give the fields of a request that brings a key, or of the answer to it.

    An answer brings the check value only.

    Examples
    --------
    >>> from isoswitch.codecs.dialects.registry import get_dialect
    >>> key = TransportedKey(payload=bytes(8), check_value=bytes.fromhex("8CA64D"))
    >>> write_key_change(get_dialect("iso87-ascii"), KeyPurpose.MAC, key)
    {53: '2206000000000000', 120: '00000000000000008CA64D'}
    """
    form = "1" if key.is_block else "2"
    control = f"{purpose}{form}{2 * len(key.check_value):02}".ljust(
        _CONTROL_DIGITS, "0"
    )
    field = _KEY_FIELDS[dialect.edition.version]
    if dialect.edition.version != "0":
        content = key.payload + key.check_value
        return {CONTROL_FIELD: bytes.fromhex(control), field: content}
    text = key.payload.decode("ascii") if key.is_block else _hex(key.payload)
    return {CONTROL_FIELD: control, field: text + _hex(key.check_value)}


def read_key_change(
    dialect: Dialect, message: Message
) -> tuple[KeyPurpose, TransportedKey]:
    """Read the key that a request brings, or the check value of an answer.

    Raises
    ------
    DecodeError
        A field is missing or senseless; it says nothing of the key.
    """
    field = _KEY_FIELDS[dialect.edition.version]
    for de in (CONTROL_FIELD, field):
        if de not in message:
            raise DecodeError("missing", field=str(de))
    control, content = message[CONTROL_FIELD], message[field]
    digits = control.hex() if isinstance(control, bytes) else control
    try:
        purpose, is_block = KeyPurpose(digits[:1]), _FORMS[digits[1:2]]
        check_digits = int(digits[2:4])
    except (KeyError, ValueError):
        reason = "no control information of a key change"
        raise DecodeError(reason, field=str(CONTROL_FIELD)) from None
    text = content if isinstance(content, str) else _hex(content)
    split_at = len(text) - check_digits
    try:
        check_value = bytes.fromhex(text[max(split_at, 0) :])
        is_text = is_block and isinstance(content, str)
        payload = (
            text[:split_at].encode() if is_text else bytes.fromhex(text[:split_at])
        )
    except ValueError:
        raise DecodeError("no key", field=str(field)) from None
    if split_at < 0 or len(check_value) * 2 != check_digits:
        raise DecodeError("shorter than its check value", field=str(field))
    key = TransportedKey(payload=payload, check_value=check_value, is_block=is_block)
    return purpose, key


def read_sign_in(dialect: Dialect, code: str) -> SignIn:
    """Read what keys a sign-in with this management code wants."""
    if dialect.edition.network_field != _UNIONPAY_NETWORK_FIELD:
        return SignIn()
    return SignIn(*_UNIONPAY_SIGN_INS.get(code, ()))


def write_terminal_keys(dialect: Dialect, keys: Sequence[TransportedKey]) -> Fields:
    """Give the field of a sign-in answer that brings a terminal its keys."""
    if keys[0].is_block:
        blocks = b"".join(key.payload for key in keys)
        return {TERMINAL_FIELD: blocks.decode("ascii")}
    room = max(len(key.payload) for key in keys)
    content = b"".join(
        key.payload.ljust(room, b"\x00") + key.check_value for key in keys
    )
    return {TERMINAL_FIELD: content if _is_binary(dialect) else _hex(content)}


def read_terminal_keys(dialect: Dialect, message: Message) -> list[TransportedKey]:
    """Read the keys of a sign-in answer: the PIN key, the MAC key, the track key.

    Raises
    ------
    DecodeError
        DE 62 is missing, or holds no keys.
    """
    content = message.get(TERMINAL_FIELD)
    if content is None:
        raise DecodeError("missing", field=str(TERMINAL_FIELD))
    octets = _unhex(content) if isinstance(content, str) else content
    # What a PIN key's block tells of its use is no hexadecimal, and it comes first.
    if not octets and (blocks := _find_blocks(str(content))):
        return blocks
    try:
        count, room = _TERMINAL_SIZES[len(octets)]
    except KeyError:
        reason = "no keys of a known size"
        raise DecodeError(reason, field=str(TERMINAL_FIELD)) from None
    step = room + TERMINAL_CHECK_BYTES
    return [
        TransportedKey(
            payload=octets[start : start + room],
            check_value=octets[start + room : start + step],
        )
        for start in range(0, count * step, step)
    ]


def _unhex(text: str) -> bytes:
    """Give the bytes of hexadecimal digits, and nothing of other text."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""


def _find_blocks(text: str) -> list[TransportedKey]:
    """Split key blocks by the lengths that they tell; none if they do not fit."""
    keys = []
    while text:
        length = int(text[1:5]) if text[1:5].isdecimal() else 0
        if not BLOCK_HEADER_LENGTH < length <= len(text):
            return []
        keys.append(TransportedKey(payload=text[:length].encode(), is_block=True))
        text = text[length:]
    return keys


def _is_binary(dialect: Dialect) -> bool:
    return dialect.codec.spec.fields[TERMINAL_FIELD].cls == "b"


def _hex(octets: bytes) -> str:
    return octets.hex().upper()
