"""Payment tokens: the device's number, who asked for it, and the account behind it.

A wallet pays with a device PAN (DPAN) in DE 2, 57 and 5A, never with the number on
the plastic. 9F19 names the token requestor, 9F24 the account (PAR), 9F25 the last
four digits of the card behind it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from isoswitch.codecs.canonical.errors import DecodeError
from isoswitch.codecs.canonical.secrets import Pan
from isoswitch.codecs.emv.tlv import TlvList
from isoswitch.codecs.emv.tracks import decode_track2_binary

# Token requestor identifiers by wallet; one for each scheme.
WALLETS: Mapping[str, str] = MappingProxyType(
    {
        "40010030273": "Apple Pay",
        "50110030273": "Apple Pay",
        "30010030273": "Apple Pay",
        "40010075001": "Google Pay",
        "40010043095": "Samsung Pay",
        "40010069887": "Garmin Pay",
        "50183038325": "Garmin Pay",
        "40010077056": "Fitbit Pay",
        "50174158869": "Fitbit Pay",
        "40010075338": "Click to Pay",
        "50123197928": "Click to Pay",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentToken:
    """What a chip says about the token it pays with; empty where it does not say."""

    dpan: Pan | None = None
    requestor_id: str = ""
    wallet: str = ""
    par: str = ""
    pan_last4: str = ""


def find_token(tlv: TlvList, *, path: str = "") -> PaymentToken | None:
    """Find the payment token in chip data; None where no token tag is present.

    Parameters
    ----------
    path
        The field that holds the data, for errors.

    Raises
    ------
    DecodeError
        A token tag has a form it cannot have.

    Examples
    --------
    >>> from isoswitch.codecs.emv.tlv import decode_tlv
    >>> token = find_token(decode_tlv(bytes.fromhex("9F19060400100302739F25020119")))
    >>> token.wallet, token.requestor_id, token.pan_last4
    ('Apple Pay', '40010030273', '0119')
    """
    requestor, par, last4 = (tlv.find(tag) for tag in ("9F19", "9F24", "9F25"))
    if requestor is None and par is None and last4 is None:
        return None
    requestor_id = _digits(requestor, "9F19", path, size=11)
    return PaymentToken(
        dpan=find_pan(tlv, path=path),
        requestor_id=requestor_id,
        wallet=WALLETS.get(requestor_id, ""),
        par=_par(par, path),
        pan_last4=_digits(last4, "9F25", path, size=4),
    )


def find_pan(tlv: TlvList, *, path: str = "") -> Pan | None:
    """Find the card number of chip data in 5A or else in 57.

    Raises
    ------
    DecodeError
        The number is not packed digits.

    Examples
    --------
    >>> from isoswitch.codecs.emv.tlv import decode_tlv
    >>> find_pan(decode_tlv(bytes.fromhex("5A084761739001010010")))
    Pan(476173******0010)
    """
    number, track = tlv.find("5A"), tlv.find("57")
    if number is not None:
        try:
            return Pan(number.hex().rstrip("f"))
        except ValueError:
            raise DecodeError("not a card number", field=_join(path, "5A")) from None
    if track is not None:
        return decode_track2_binary(track, path=_join(path, "57")).pan
    return None


def account_key(par: str, pan: Pan) -> str | Pan:
    """Choose what velocity limits and refunds count by: the account, not the device.

    One account pays with as many device numbers as it has devices; its PAR is the
    same on all of them.

    Examples
    --------
    >>> account_key("V0010013021298765432109876543", Pan("4761739001010010"))
    'V0010013021298765432109876543'
    >>> account_key("", Pan("4761739001010010"))
    Pan(476173******0010)
    """
    return par or pan


def _par(value: bytes | None, path: str) -> str:
    if value is None:
        return ""
    text = value.decode("ascii", "replace")
    if len(text) != 29 or not (text.isascii() and text.isalnum()):
        raise DecodeError("not 29 letters and digits", field=_join(path, "9F24"))
    return text


def _digits(value: bytes | None, tag: str, path: str, *, size: int) -> str:
    """Give packed digits without the zeros that pad them to whole bytes."""
    if value is None:
        return ""
    text = value.hex()
    surplus, digits = text[:-size], text[-size:]
    if len(digits) != size or not digits.isdecimal() or surplus.strip("0"):
        raise DecodeError(f"not {size} digits", field=_join(path, tag))
    return digits


def _join(path: str, tag: str) -> str:
    return f"{path}.{tag}" if path else tag
