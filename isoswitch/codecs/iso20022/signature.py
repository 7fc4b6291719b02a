"""A signature beside a document, over its exact bytes.

What is signed is what was sent, byte for byte: no canonical form, no parsing before the
check, and nothing for wrapping attacks to wrap. The crypto service signs and verifies.
Over HTTPS the signature travels in a header field, over TCP before the document:

    offset  size  meaning
    0       4     "SIG1"
    4       1     length of the key's name
    5       n     name of the key, ASCII
    ..      2     length of the signature, big endian
    ..      m     signature
    ..            document

A document begins with ``<``, so a payload without the four letters is an unsigned one.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Final

from isoswitch.codecs.canonical.errors import DecodeError, EncodeError

HEADER_NAME: Final = "Isoswitch-Signature"
KEY_NAME_MAX: Final = 64
SIGNATURE_BYTES_MAX: Final = 1_024
_MAGIC: Final = b"SIG1"
_KEY_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HEADER = re.compile(r'key="([A-Za-z0-9._-]{1,64})", value="([A-Za-z0-9+/=]{4,1400})"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """A signature and the name of the key that made it."""

    key_name: str
    value: bytes

    def __post_init__(self) -> None:
        if not _KEY_NAME.fullmatch(self.key_name):
            raise EncodeError("no name of a key", field="signature")
        if not 0 < len(self.value) <= SIGNATURE_BYTES_MAX:
            raise EncodeError("no length of a signature", field="signature")


def signing_input(document: bytes) -> bytes:
    """Give the bytes that are signed: those of the document, as they travel."""
    return document


def join_payload(document: bytes, signature: Signature) -> bytes:
    """Put a signature before its document, for TCP."""
    name = signature.key_name.encode()
    return b"".join(
        (
            _MAGIC,
            len(name).to_bytes(1),
            name,
            len(signature.value).to_bytes(2),
            signature.value,
            document,
        )
    )


def split_payload(payload: bytes) -> tuple[bytes, Signature | None]:
    """Give the document of a payload, and its signature if it has one.

    Raises
    ------
    DecodeError
        What begins like a signature is none.
    """
    if not payload.startswith(_MAGIC):
        return payload, None
    name_end = 5 + (payload[4] if len(payload) > 4 else 0)
    value_at = name_end + 2
    value_end = value_at + int.from_bytes(payload[name_end:value_at])
    if value_end > len(payload) or len(payload) < value_at:
        raise DecodeError("cut short", field="signature", offset=len(payload))
    try:
        name = payload[5:name_end].decode("ascii")
        signature = Signature(key_name=name, value=payload[value_at:value_end])
    except (UnicodeDecodeError, EncodeError):
        raise DecodeError("no signature", field="signature", offset=4) from None
    return payload[value_end:], signature


def to_header(signature: Signature) -> str:
    """Give the value of the header field, for HTTPS.

    Examples
    --------
    >>> to_header(Signature(key_name="bank-1", value=b"abc"))
    'key="bank-1", value="YWJj"'
    """
    value = base64.b64encode(signature.value).decode()
    return f'key="{signature.key_name}", value="{value}"'


def from_header(text: str) -> Signature:
    """Read the value of the header field.

    Raises
    ------
    DecodeError
        It is none.
    """
    found = _HEADER.fullmatch(text)
    try:
        if found is not None:
            value = base64.b64decode(found[2], validate=True)
            return Signature(key_name=found[1], value=value)
    except (binascii.Error, EncodeError):
        pass
    raise DecodeError("no signature", field=HEADER_NAME)
