"""The IBM 3624 PIN offset: digits that lead from the natural PIN to the chosen one.

natural PIN = decimalise(E(key, validation data)), by a table of the issuer
offset      = PIN - natural PIN, digit by digit, modulo 10
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from isoswitch.codecs.canonical.errors import ConfigError, VerificationFailed
from isoswitch.codecs.canonical.secrets import Pan, Pin
from isoswitch.hsm.functions.key import Key


@dataclass(frozen=True, slots=True, kw_only=True)
class Ibm3624Rule:
    """How one issuer takes validation data from a PAN and digits from a cryptogram.

    Configuration, never request data: whoever chooses the table learns the PIN.
    ``table`` gives the decimal digit for each of the nibbles 0 to F; ``start`` and
    ``length`` cut the validation data out of the PAN, ``pad`` fills it up to 16.

    Raises
    ------
    ConfigError
        The table is not 16 decimal digits that differ enough, pad no nibble, or the
        validation data no part of a PAN.
    """

    table: str
    start: int = 0
    length: int = 16
    pad: str = "F"

    def __post_init__(self) -> None:
        is_table = (
            len(self.table) == 16 and self.table.isascii() and self.table.isdecimal()
        )
        # With few digits in the table every PIN is easily guessed.
        if not is_table or len(set(self.table)) < _TABLE_DIGITS_MIN:
            msg = "a decimalisation table has 16 digits, at least 8 of them different"
            raise ConfigError(msg)
        if len(self.pad) != 1 or self.pad not in _NIBBLES:
            msg = "validation data is padded with one hexadecimal digit"
            raise ConfigError(msg)
        if self.start < 0 or not 4 <= self.length <= 16:
            msg = "validation data is 4 to 16 digits of the PAN"
            raise ConfigError(msg)


_TABLE_DIGITS_MIN = 8
_NIBBLES = "0123456789ABCDEF"


def verify_offset(
    pvk: Key, pin: Pin, pan: Pan, rule: Ibm3624Rule, *, offset: str
) -> None:
    """Check a PIN against an offset of at least four digits.

    Only as many digits of the PIN are checked as the offset has.

    Raises
    ------
    VerificationFailed
        The PIN is not the one of this offset.
    """
    natural = _natural_pin(pvk, pan, rule)
    digits = pin.reveal()[: len(offset)]
    expected = "".join(
        str((int(chosen) - int(own)) % 10)
        for chosen, own in zip(digits, natural, strict=False)
    )
    is_long_enough = len(offset) >= _OFFSET_DIGITS_MIN
    matches = hmac.compare_digest(expected.encode(), offset.encode())
    if not (matches and is_long_enough):
        msg = "the PIN does not verify"
        raise VerificationFailed(msg)


_OFFSET_DIGITS_MIN = 4


def _natural_pin(pvk: Key, pan: Pan, rule: Ibm3624Rule) -> str:
    validation = pan.reveal()[rule.start : rule.start + rule.length]
    cryptogram = pvk.ecb(bytes.fromhex(validation.ljust(16, rule.pad)[:16]))
    return "".join(rule.table[int(nibble, 16)] for nibble in cryptogram.hex())
