"""The keys of a simulated payment HSM, under the local master key that everybody knows.

The variant scheme: the type of a key, such as 109, names a variant (1) and a pair of
the local master key (09 is 28-29). The variant changes the pair's first byte, and the
parts of the key have variants of their own (``variant_lmk``). Key blocks have the
header of a real unit; how they are encrypted inside concerns nobody but the unit, and
here it is that of version D.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from isoswitch.codecs.canonical.errors import DecodeError, VerificationFailed
from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.hsm.engine import Algorithm
from isoswitch.hsm.functions import tr31
from isoswitch.hsm.functions.components import has_odd_parity, with_odd_parity
from isoswitch.hsm.functions.kcv import check_values
from isoswitch.hsm.functions.tr31 import Header, ProtectionKey
from isoswitch.hsm.keys import KeyPlan
from isoswitch.hsm.payshield.fields import KEY_BLOCK
from isoswitch.hsm.payshield.keys import UnitKey
from isoswitch.hsm.payshield.layouts import KEY_BLOCK_TYPE, KEY_TYPES, KeyKind
from isoswitch.hsm.software import SoftwareEngine
from isoswitch.simulators import variant_lmk


class UnitRefusal(Exception):
    """A simulated unit's refusal; ``error`` is the code in its answer."""

    def __init__(self, error: str) -> None:
        self.error = error
        super().__init__(f"error {error}")


@dataclass(frozen=True, slots=True)
class ClearKey:
    """A key inside the simulated unit."""

    value: KeyValue
    algorithm: Algorithm


def wrap_key(value: KeyValue, key_type: str) -> str:
    """Encrypt a TDES key under the variant for its type, with odd parity.

    Examples
    --------
    >>> value = KeyValue(bytes.fromhex("13345779133457791334577913345779"))
    >>> wrap_key(value, "001")
    'U34E2FC8EAD7CD07BFA2B7ED5FE4D8212'
    """
    return variant_lmk.encrypt_key(
        _pair(key_type), KeyValue(with_odd_parity(value.reveal()))
    )


def wrap_block(value: KeyValue, *, usage: str, algorithm: Algorithm, mode: str) -> str:
    """Encrypt a key in a key block, with odd parity where it is TDES."""
    clear = value.reveal()
    if algorithm is Algorithm.TDES:
        clear = with_odd_parity(clear)
    header = Header(version="D", usage=usage, algorithm=_LETTERS[algorithm], mode=mode)
    block = tr31.wrap(_protection_key(), header, KeyValue(clear))
    return KEY_BLOCK + _BLOCK_VERSION + block[1:]


def wrap_test_key(plan: KeyPlan, kind: KeyKind, value: KeyValue) -> UnitKey:
    """Wrap a test key as the simulated unit does: AES keys go in key blocks."""
    if plan.algorithm is Algorithm.AES:
        wrapped = wrap_block(
            value, usage=plan.usage, algorithm=plan.algorithm, mode=plan.mode
        )
    else:
        wrapped = wrap_key(value, KEY_TYPES[kind])
    # Units compute this one of both kinds of keys (BU).
    kcv = check_values(value, plan.algorithm).legacy.hex().upper()
    return UnitKey(plan=plan, kind=kind, wrapped=wrapped, kcv=kcv)


def unwrap(wrapped: str, key_type: str, usages: str = "") -> ClearKey:
    """Decrypt a key for one use.

    Parameters
    ----------
    key_type
        What the command takes, by the type of a key under a variant.
    usages
        What it takes, by the usages of key blocks with a blank between them.

    Raises
    ------
    UnitRefusal
        Wrong parity, a key block that is none, or a key for something else.
    """
    if wrapped.startswith(KEY_BLOCK):
        return _unwrap_block(wrapped, usages.split())
    if key_type == KEY_BLOCK_TYPE or wrapped[0] not in {"U", "T"}:
        raise UnitRefusal(_KEY_TYPE)
    try:
        value = variant_lmk.decrypt_key(_pair(key_type), wrapped)
    except ValueError:
        raise UnitRefusal(_INPUT) from None
    if not has_odd_parity(value.reveal()):
        raise UnitRefusal(_PARITY)
    return ClearKey(value, Algorithm.TDES)


def _unwrap_block(wrapped: str, usages: list[str]) -> ClearKey:
    try:
        header, value = tr31.unwrap(_protection_key(), "D" + wrapped[2:])
    except (DecodeError, VerificationFailed):
        raise UnitRefusal(_BLOCK_AUTHENTICATION) from None
    if header.usage not in usages:
        raise UnitRefusal(_BLOCK_USAGE)
    return ClearKey(value, _ALGORITHMS[header.algorithm])


_INPUT, _PARITY, _KEY_TYPE = "15", "10", "28"
_BLOCK_AUTHENTICATION, _BLOCK_USAGE = "A4", "A6"

# The published test values of the pairs, by the last two characters of a key type.
_PAIRS: Mapping[str, str] = {
    "00": "40404040404040405151515151515151",  # 04-05
    "01": "61616161616161617070707070707070",  # 06-07
    "02": "E0E0010101010101F1F1010101010101",  # 14-15
    "03": "1C587F1C13924FEF0101010101010101",  # 16-17
    "08": "16161616161616161919191919191919",  # 26-27
    "09": "1A1A1A1A1A1A1A1A1C1C1C1C1C1C1C1C",  # 28-29
}
_VARIANTS = (0x00, 0xA6, 0x5A, 0x6A, 0xDE, 0x2B, 0x50, 0x74, 0x9C)

# The AES-256 key of the examples in FIPS 197.
_BLOCK_KEY = KeyValue(bytes(range(32)))
_BLOCK_VERSION = "1"
_LETTERS: Mapping[Algorithm, str] = {Algorithm.TDES: "T", Algorithm.AES: "A"}
_ALGORITHMS: Mapping[str, Algorithm] = {
    letter: algorithm for algorithm, letter in _LETTERS.items()
}


def _pair(key_type: str) -> KeyValue:
    variant, pair = key_type[:1], key_type[1:]
    if pair not in _PAIRS or not variant.isdecimal() or int(variant) > 8:
        raise UnitRefusal(_KEY_TYPE)
    octets = bytearray.fromhex(_PAIRS[pair])
    octets[0] ^= _VARIANTS[int(variant)]
    return KeyValue(bytes(octets))


def _protection_key() -> ProtectionKey:
    return ProtectionKey.load(SoftwareEngine(), _BLOCK_KEY, Algorithm.AES)
