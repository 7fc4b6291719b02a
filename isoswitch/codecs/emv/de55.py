"""What DE 55 carries in which message, and its form on each network.

Most networks put bare TLV into DE 55. Visa wraps it: data set 01, two bytes of
length, then the TLV. :func:`decode_de55` reads either and keeps the wrapper.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from isoswitch.codecs.canonical.errors import DecodeError, EncodeError
from isoswitch.codecs.emv.tlv import SIZE_MAX, TlvList, decode_tlv, primitive

# EMV Book 4, 12.1.1: what an issuer needs to check the cryptogram.
CRYPTOGRAM_INPUT = (
    "9F02",
    "9F03",
    "9F1A",
    "95",
    "5F2A",
    "9A",
    "9C",
    "9F37",
    "82",
    "9F36",
    "9F10",
)
REQUEST_REQUIRED = ("9F26", "9F27", *CRYPTOGRAM_INPUT)

REQUEST = frozenset(
    {
        *REQUEST_REQUIRED,
        "5F34",
        "84",
        "9F09",
        "9F19",
        "9F1E",
        "9F24",
        "9F33",
        "9F34",
        "9F35",
        "9F41",
        "9F53",
        "9F6E",
        "9F7C",
    }
)
RESPONSE = frozenset({"71", "72", "89", "8A", "91"})
ADVICE = frozenset({"95", "9B", "9F26", "9F27", "9F36", "9F5B", "DF31"})

# The order in which UnionPay terminals send an online request.
UNIONPAY_REQUEST_ORDER = (
    "9F26",
    "9F27",
    "9F10",
    "9F37",
    "9F36",
    "95",
    "9A",
    "9C",
    "9F02",
    "5F2A",
    "82",
    "9F1A",
    "9F03",
    "9F33",
    "9F34",
    "9F35",
    "9F1E",
    "84",
    "9F09",
    "9F41",
    "9F63",
)

VISA_CHIP_DATASET = 0x01

_WRAPPER_SIZE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipData:
    """The objects of DE 55; ``is_wrapped`` where Visa's data set stood around them."""

    tlv: TlvList
    is_wrapped: bool = False

    def encode(self) -> bytes:
        """Give the field's bytes, wrapper included."""
        data = self.tlv.encode()
        if not self.is_wrapped:
            return data
        return bytes([VISA_CHIP_DATASET]) + len(data).to_bytes(2) + data

    def only(self, tags: Iterable[str]) -> ChipData:
        """Keep the top-level objects with these tags, in their order."""
        kept = frozenset(tags)
        objects = tuple(each for each in self.tlv.objects if each.tag in kept)
        return replace(self, tlv=TlvList(objects))


def decode_de55(data: bytes, *, path: str = "55", offset: int = 0) -> ChipData:
    """Read DE 55, bare or in Visa's data set.

    Tag 01 does not occur in payment cards, so the first byte tells the form.

    Raises
    ------
    DecodeError
        Not TLV, or the wrapper's length is not that of the data.

    Examples
    --------
    >>> bare = decode_de55(bytes.fromhex("9F27018095050000000000"))
    >>> wrapped = decode_de55(bytes.fromhex("01000B9F27018095050000000000"))
    >>> bare.is_wrapped, wrapped.is_wrapped, bare.tlv == wrapped.tlv
    (False, True, True)
    """
    if len(data) < _WRAPPER_SIZE or data[0] != VISA_CHIP_DATASET:
        return ChipData(tlv=decode_tlv(data, path=path, offset=offset))
    if int.from_bytes(data[1:_WRAPPER_SIZE]) != len(data) - _WRAPPER_SIZE:
        raise DecodeError("data set length is wrong", field=path, offset=offset + 1)
    inside = data[_WRAPPER_SIZE:]
    tlv = decode_tlv(inside, path=path, offset=offset + _WRAPPER_SIZE)
    return ChipData(tlv=tlv, is_wrapped=True)


def build_de55(
    values: Mapping[str, bytes], *, order: Iterable[str] = (), is_wrapped: bool = False
) -> ChipData:
    """Build DE 55 from values by tag.

    Parameters
    ----------
    order
        Tags to put first; the others follow in the order of ``values``.

    Raises
    ------
    EncodeError
        A tag is not one, or a value is too long.

    Examples
    --------
    >>> values = {"91": bytes.fromhex("AF6F5977B4CA29253030")}
    >>> build_de55(values).encode().hex()
    '910aaf6f5977b4ca29253030'
    """
    tags = dict.fromkeys([*(tag for tag in order if tag in values), *values])
    tlv = TlvList(tuple(primitive(tag, values[tag]) for tag in tags))
    if len(tlv.encode()) > SIZE_MAX:
        raise EncodeError(f"longer than {SIZE_MAX} bytes", field="55")
    return ChipData(tlv=tlv, is_wrapped=is_wrapped)


def missing_tags(tlv: TlvList, required: Iterable[str] = REQUEST_REQUIRED) -> list[str]:
    """Give the required tags that are absent, in the order asked.

    Examples
    --------
    >>> missing_tags(decode_de55(bytes.fromhex("9F270180")).tlv, ["9F26", "9F27"])
    ['9F26']
    """
    present = {each.tag for _, each in tlv.walk()}
    return [tag for tag in required if tag not in present]
