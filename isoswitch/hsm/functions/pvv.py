"""The Visa PIN verification value."""

from __future__ import annotations

import hmac

from isoswitch.codecs.canonical.errors import VerificationFailed
from isoswitch.codecs.canonical.secrets import Pan, Pin
from isoswitch.hsm.functions.digits import decimalise
from isoswitch.hsm.functions.key import Key


def verify_pvv(pvk: Key, pin: Pin, pan: Pan, *, index: int, pvv: str) -> None:
    """Check the first four digits of a PIN against a PVV.

    Parameters
    ----------
    pvk
        The PIN verification key, for encryption.
    index
        The number of that key among the issuer's, 0 to 9 (PVKI).
    pvv
        Four digits, from the card's track or the issuer's record.

    Raises
    ------
    VerificationFailed
        The PIN is not the one of this PVV.
    """
    # Eleven digits of the PAN without its check digit, the key's number, the PIN.
    data = f"{pan.reveal()[-12:-1]}{index}{pin.reveal()[:4]}".rjust(16, "0")
    expected = decimalise(pvk.ecb(bytes.fromhex(data)))[:4]
    if not hmac.compare_digest(expected.encode(), pvv.encode()):
        msg = "the PIN does not verify"
        raise VerificationFailed(msg)
