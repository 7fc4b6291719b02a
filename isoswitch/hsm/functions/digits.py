"""Decimal digits out of a cryptogram, as PVV, CVV and card key derivation take them."""

from __future__ import annotations

_LETTERS = str.maketrans("abcdef", "012345")


def decimalise(cryptogram: bytes) -> str:
    """Give the decimal digits in order, then the letters less ten, in order.

    Examples
    --------
    >>> decimalise(bytes.fromhex("4A1F"))
    '4105'
    """
    nibbles = cryptogram.hex()
    digits = "".join(nibble for nibble in nibbles if nibble <= "9")
    letters = "".join(nibble for nibble in nibbles if nibble > "9")
    return digits + letters.translate(_LETTERS)
