"""Working keys encrypted under a zone or terminal master key, as older links send them.

TDES in ECB mode protects neither the order of the key's halves nor its usage, so a
check value is always required, and a link's profile must ask for this form; key blocks
(``tr31``) are the form that PCI PIN 18-3 wants.
"""

from __future__ import annotations

from isoswitch.codecs.canonical.errors import KeyRefused, VerificationFailed
from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.hsm.engine import Algorithm
from isoswitch.hsm.functions.components import has_odd_parity
from isoswitch.hsm.functions.kcv import LENGTH_MIN, check_values, verify_kcv
from isoswitch.hsm.functions.key import Key


def import_zone_key(zmk: Key, cryptogram: bytes, check_value: bytes) -> KeyValue:
    """Decrypt a TDES working key and check it against its check value.

    Parameters
    ----------
    zmk
        The zone or terminal master key, TDES, to decrypt.
    cryptogram
        The encrypted key: 8, 16 or 24 bytes.
    check_value
        At least two bytes; networks send three, UnionPay four.

    Raises
    ------
    KeyRefused
        The master key is not TDES, or the key has no odd parity.
    VerificationFailed
        The key does not have this check value, or has a length that none has.
    """
    _check_tdes(zmk)
    if len(cryptogram) not in _LENGTHS or len(check_value) < LENGTH_MIN:
        msg = "the key does not have this check value"
        raise VerificationFailed(msg)
    value = KeyValue(zmk.ecb(cryptogram, decrypt=True))
    verify_kcv(value, Algorithm.TDES, check_value)
    if not has_odd_parity(value.reveal()):
        msg = "the key does not have odd parity"
        raise KeyRefused(msg)
    return value


def export_zone_key(zmk: Key, value: KeyValue) -> tuple[bytes, bytes]:
    """Encrypt a TDES working key; gives it with its check value of three bytes.

    Raises
    ------
    KeyRefused
        One of the keys is not TDES.
    """
    _check_tdes(zmk)
    if len(value.reveal()) not in _LENGTHS:
        msg = "the key has no length of a TDES key"
        raise KeyRefused(msg)
    return zmk.ecb(value.reveal()), check_values(value, Algorithm.TDES).legacy


_LENGTHS = frozenset({8, 16, 24})


def _check_tdes(zmk: Key) -> None:
    if zmk.algorithm is not Algorithm.TDES:
        msg = "only a TDES master key wraps keys in this form"
        raise KeyRefused(msg)
