"""Card verification values: static CVV, CVC, CVV2 and iCVV, dynamic dCVV and CVC3.

All static ones and the dCVV are one algorithm over other digits: a retail MAC of PAN,
expiry date and service code, decimalised. There is no function here that makes one.
"""

from __future__ import annotations

import hmac

from isoswitch.codecs.canonical.errors import VerificationFailed
from isoswitch.codecs.canonical.secrets import Pan, Secret
from isoswitch.hsm.functions.digits import decimalise
from isoswitch.hsm.functions.key import KeyPair
from isoswitch.hsm.functions.mac import MacKey, Padding, generate

CVV2_SERVICE_CODE = "000"
ICVV_SERVICE_CODE = "999"


def verify_cvv(
    cvk: KeyPair, pan: Pan, *, expiry: str, service_code: str, cvv: Secret[str]
) -> None:
    """Check the CVV or CVC of a magnetic stripe.

    Also CVV2 and iCVV, which only have another service code: ``CVV2_SERVICE_CODE``
    and ``ICVV_SERVICE_CODE``.

    Parameters
    ----------
    cvk
        The card verification key in its two forms, for encryption.
    expiry
        Four digits: ``YYMM``, but ``MMYY`` for the printed CVV2.

    Raises
    ------
    VerificationFailed
        The value is not that of this card.
    """
    _compare(_card_value(cvk, pan.reveal(), expiry, service_code), cvv)


def verify_dcvv(
    card_key: KeyPair,
    pan: Pan,
    *,
    expiry: str,
    service_code: str,
    atc: int,
    dcvv: Secret[str],
) -> None:
    """Check Visa's dynamic CVV of a contactless stripe transaction.

    ``card_key`` comes from the issuer's dCVV master key; the transaction counter
    stands in the place of the PAN's first four digits.

    Raises
    ------
    VerificationFailed
        The value is not that of this card at this counter.
    """
    digits = f"{atc % 10_000:04d}{pan.reveal()[4:]}"
    _compare(_card_value(card_key, digits, expiry, service_code), dcvv)


def verify_cvc3(
    card_key: KeyPair,
    *,
    static: bytes,
    unpredictable: bytes,
    atc: int,
    cvc3: Secret[str],
) -> None:
    """Check Mastercard's CVC3: the last digits of a contactless stripe cryptogram.

    Parameters
    ----------
    card_key
        The card's key from the issuer's CVC3 master key.
    static
        The two bytes that ``static_cvc3`` gives for the card's track.
    unpredictable
        The terminal's number, four bytes.

    Raises
    ------
    VerificationFailed
        The value is not that of this card at this counter, or has under 3 digits.
    """
    data = static + unpredictable + atc.to_bytes(2)
    number = int.from_bytes(card_key.full.ecb(data)[-2:])
    # At least three digits: fewer verify by luck too often.
    width = min(max(len(cvc3.reveal()), 3), 5)
    _compare(f"{number:05d}"[-width:], cvc3)


def static_cvc3(card_key: KeyPair, track: Secret[bytes]) -> bytes:
    """Give the part of a CVC3 that stays the same for a track (IVCVC3)."""
    return generate(MacKey.of_pair(card_key, Padding.BIT), track.reveal())[-2:]


def _card_value(key: KeyPair, pan: str, expiry: str, service_code: str) -> str:
    data = bytes.fromhex(f"{pan}{expiry}{service_code}".ljust(32, "0"))
    return decimalise(generate(MacKey.of_pair(key), data))[:3]


def _compare(expected: str, given: Secret[str]) -> None:
    if not hmac.compare_digest(expected.encode(), given.reveal().encode()):
        msg = "the card verification value does not verify"
        raise VerificationFailed(msg)
