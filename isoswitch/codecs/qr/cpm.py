"""EMVCo consumer-presented QR codes: base64 of BER-TLV.

    85  payload format, "CPV01", first
    61  application template: 4F, 50, 57, 5A ... and 63, one for each application
    62  common data template: 5A, 57, 5F20 ... and 64

The data holds card numbers and tracks, so the object prints only its tags.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass

from isoswitch.codecs.canonical.errors import DecodeError, EncodeError
from isoswitch.codecs.canonical.secrets import Pan
from isoswitch.codecs.emv.tlv import Tlv, TlvList, decode_tlv, primitive
from isoswitch.codecs.emv.tokens import PaymentToken, find_pan, find_token

PAYLOAD_FORMAT = b"CPV01"
CHARACTERS_MAX = 1024

_FORMAT_TAG = "85"
_APPLICATION_TAG = "61"
_COMMON_TAG = "62"


@dataclass(frozen=True, slots=True)
class CpmCode:
    """A consumer-presented code.

    Examples
    --------
    >>> code = decode_cpm("hQVDUFYwMWEaTwegAAAAVVVVVw8SNFZ4kBI0WNGRIgESNF8=")
    >>> code.tlv, [each.hex() for each in code.applications]
    (TlvList(85, 61), ['a0000000555555'])
    >>> code.pan
    Pan(123456******3458)
    """

    tlv: TlvList

    def encode(self) -> str:
        """Give back the text that the code shows."""
        return base64.b64encode(self.tlv.encode()).decode()

    @property
    def applications(self) -> list[bytes]:
        """The application identifiers, by priority."""
        return [
            child.value
            for each in self.tlv.objects
            if each.tag == _APPLICATION_TAG
            for child in each.children
            if child.tag == "4F"
        ]

    @property
    def pan(self) -> Pan | None:
        """The card or device number; raises DecodeError where it is malformed."""
        return find_pan(self.tlv)

    @property
    def token(self) -> PaymentToken | None:
        """The payment token; raises DecodeError where it is malformed."""
        return find_token(self.tlv)


def decode_cpm(payload: str) -> CpmCode:
    """Read a consumer-presented code.

    Raises
    ------
    DecodeError
        Not base64 of TLV that starts with the payload format. Offsets within the TLV
        count decoded bytes.
    """
    if len(payload) > CHARACTERS_MAX:
        reason = f"longer than {CHARACTERS_MAX} characters"
        raise DecodeError(reason, offset=CHARACTERS_MAX)
    data = _decode_base64(payload)
    tlv = decode_tlv(data)
    first = tlv.objects[0] if tlv.objects else None
    if first is None or (first.tag, first.value) != (_FORMAT_TAG, PAYLOAD_FORMAT):
        raise DecodeError("does not start with CPV01", field=_FORMAT_TAG)
    if not any(each.tag == _APPLICATION_TAG for each in tlv.objects):
        reason = "no application template"
        raise DecodeError(reason, field=_APPLICATION_TAG, offset=len(data))
    return CpmCode(tlv)


def build_cpm(templates: Iterable[Tlv]) -> CpmCode:
    """Make a code from application and common data templates.

    Raises
    ------
    EncodeError
        There is no application template, or something else than templates.

    Examples
    --------
    >>> from isoswitch.codecs.emv.tlv import template
    >>> aid = primitive("4F", bytes.fromhex("A0000000555555"))
    >>> build_cpm([template("61", [aid])]).encode()
    'hQVDUFYwMWEJTwegAAAAVVVV'
    """
    objects = tuple(templates)
    for each in objects:
        if each.tag not in (_APPLICATION_TAG, _COMMON_TAG):
            raise EncodeError("not a template of this code", field=each.tag)
    made = TlvList((primitive(_FORMAT_TAG, PAYLOAD_FORMAT), *objects))
    try:
        return decode_cpm(CpmCode(made).encode())
    except DecodeError as error:
        raise EncodeError(error.reason, field=error.field) from None


def _decode_base64(payload: str) -> bytes:
    try:
        data = base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError):
        raise DecodeError("not base64") from None
    # Spare bits that are not zero decode, but would not encode to the same text.
    if base64.b64encode(data).decode() != payload:
        raise DecodeError("not base64 in its one form", offset=len(payload) - 1)
    return data
