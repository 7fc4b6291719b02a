"""Key check values: what two sides compare to know that they hold the same key."""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from isoswitch.codecs.canonical.errors import VerificationFailed
from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.hsm.engine import Algorithm, Use
from isoswitch.hsm.functions.key import Key
from isoswitch.hsm.software import SoftwareEngine

LENGTH_MIN = 2
"""Fewer bytes would confirm a wrong key too often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckValues:
    """Both check values of one key, at the lengths that are shown and exchanged."""

    legacy: bytes
    cmac: bytes


def legacy_kcv(key: Key, *, length: int = 3) -> bytes:
    """Encrypt a block of zeros and give its first bytes (X9.24-1, TDES).

    Examples
    --------
    >>> value = KeyValue(bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"))
    >>> uses = frozenset({Use.ENCRYPT})
    >>> legacy_kcv(Key.load(SoftwareEngine(), value, Algorithm.TDES, uses)).hex()
    '08d7b4'
    """
    return key.ecb(bytes(key.block_size))[:length]


def cmac_kcv(key: Key, *, length: int = 5) -> bytes:
    """Give the first bytes of the CMAC of a block of zeros (X9.24-1:2017, annex A)."""
    return key.cmac(bytes(key.block_size))[:length]


def check_values(value: KeyValue, algorithm: Algorithm) -> CheckValues:
    """Compute both check values of a block cipher key that is in memory anyway."""
    uses = frozenset({Use.ENCRYPT, Use.MAC})
    key = Key.load(SoftwareEngine(), value, algorithm, uses)
    return CheckValues(legacy=legacy_kcv(key), cmac=cmac_kcv(key))


def customary_kcv(value: KeyValue, algorithm: Algorithm, *, length: int = 0) -> bytes:
    """Compute the check value that networks exchange for a block cipher key.

    TDES: legacy, three bytes; AES: CMAC, five bytes; ``length`` asks for another
    number of them.
    """
    both = frozenset({Use.ENCRYPT, Use.MAC})
    key = Key.load(SoftwareEngine(), value, algorithm, both)
    if algorithm is Algorithm.AES:
        return cmac_kcv(key, length=length or 5)
    return legacy_kcv(key, length=length or 3)


def verify_kcv(value: KeyValue, algorithm: Algorithm, given: bytes) -> None:
    """Check a key against the check value that came with it.

    The customary one of the algorithm: legacy for TDES, CMAC for AES. A longer or
    shorter one is compared at its own length.

    Raises
    ------
    VerificationFailed
        The key has another check value, or the given one is under two bytes.
    """
    expected = customary_kcv(value, algorithm, length=max(len(given), LENGTH_MIN))
    if not hmac.compare_digest(expected, given):
        msg = "the key does not have this check value"
        raise VerificationFailed(msg)
