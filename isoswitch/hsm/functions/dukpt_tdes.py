"""TDES DUKPT (ANSI X9.24-1:2009): one key per transaction, from a key serial number.

The serial number (KSN) of ten bytes names the key::

    bits    59                        21
            identifier of the         transaction
            terminal's initial key    counter

The initial key is made in the token, from the base key in two objects: the key itself
and its variant. The steps from there add a constant to key bits, which no token does
without giving the key away; they are computed in this process. Its values are those of
one terminal, never the base key.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from cryptography.hazmat.primitives.ciphers import CipherContext

from isoswitch.codecs.canonical.errors import DecodeError
from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.hsm.engine import Algorithm, Engine
from isoswitch.hsm.functions.dukpt_path import DerivationPath, PathCache
from isoswitch.hsm.functions.key import ENCRYPT, Key
from isoswitch.hsm.functions.tdes import encryptor
from isoswitch.hsm.octets import xor

PATHS_MAX = 20_000
# About 1 KiB each. The terminals heard last keep those that their next keys come from.
ENCRYPTORS_MAX = 8_192


class TdesPurpose(Enum):
    """What a working key is for; each is a variant of the transaction key.

    ``mask`` is what the variant adds to either half. A data key is encrypted under
    itself, so that it leads to no other key.
    """

    PIN = "PIN encryption", 0x00000000000000FF
    MAC_REQUEST = "MAC of the request, or both ways", 0x000000000000FF00
    MAC_RESPONSE = "MAC of the response", 0x00000000FF000000
    DATA_REQUEST = "data of the request, or both ways", 0x0000000000FF0000
    DATA_RESPONSE = "data of the response", 0x000000FF00000000

    def __init__(self, description: str, mask: int) -> None:
        self.description = description
        self.mask = mask << 64 | mask
        self.is_data = description.startswith("data")


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseKey:
    """A base derivation key in its two forms, both for encryption."""

    key: Key
    variant: Key

    @staticmethod
    def load(engine: Engine, value: KeyValue) -> BaseKey:
        """Load a double-length base derivation key and its variant."""
        return BaseKey(
            key=Key.load(engine, value, Algorithm.TDES, ENCRYPT),
            variant=Key.load(engine, variant_of(value), Algorithm.TDES, ENCRYPT),
        )

    def initial_key(self, terminal: bytes) -> KeyValue:
        """Derive the initial key of a terminal."""
        return initial_key(self, terminal)

    def destroy(self) -> None:
        """Forget both session objects."""
        self.key.destroy()
        self.variant.destroy()


@dataclass(frozen=True, slots=True)
class GivenInitialKey:
    """The initial key of one terminal, for which somebody else holds the base key."""

    value: KeyValue

    def initial_key(self, _terminal: bytes) -> KeyValue:
        """Give it, whichever terminal asks: those of others make nothing of it."""
        return self.value


class TdesTerminals:
    """The terminals under one base key, with the derivation paths of the last ones."""

    def __init__(
        self, base: BaseKey | GivenInitialKey, *, paths_max: int = PATHS_MAX
    ) -> None:
        self._base = base
        self._cache = PathCache(self._start, paths_max=paths_max)
        # A key that leads to others mostly leads to several, and making an encryptor
        # costs several times what using it does.
        self._encryptor = lru_cache(ENCRYPTORS_MAX)(encryptor)

    def derive(self, ksn: bytes, purpose: TdesPurpose) -> KeyValue:
        """Derive the working key of a key serial number.

        Raises
        ------
        DecodeError
            The serial number is not ten bytes, or no terminal makes it.
        """
        terminal, counter = split_ksn(ksn)
        transaction = self._cache.get_path(terminal).get_key(counter)
        return working_key(transaction, purpose)

    def close(self) -> None:
        """Forget the keys of every terminal."""
        self._cache.close()
        self._encryptor.cache_clear()

    def _start(self, terminal: bytes) -> DerivationPath[KeyValue]:
        register = int.from_bytes(terminal[2:])

        def step(key: KeyValue, counter: int) -> KeyValue:
            return _next_key(key, register | counter, self._encryptor)

        initial = self._base.initial_key(terminal)
        return DerivationPath(initial, step=step, release=_forget)


def split_ksn(ksn: bytes) -> tuple[bytes, int]:
    """Split a serial number into the ten bytes without counter, and the counter.

    Raises
    ------
    DecodeError
        Not ten bytes, a counter of zero, or one that terminals skip because more
        than ten of its bits are set.

    Examples
    --------
    >>> terminal, counter = split_ksn(bytes.fromhex("FFFF9876543210E00008"))
    >>> terminal.hex(), counter
    ('ffff9876543210e00000', 8)
    """
    if len(ksn) != 10:
        msg = "a TDES key serial number has ten bytes"
        raise DecodeError(msg, field="ksn")
    number = int.from_bytes(ksn)
    counter = number & _COUNTER
    if not 1 <= counter.bit_count() <= 10:
        msg = "no terminal uses this transaction counter"
        raise DecodeError(msg, field="ksn", offset=7)
    return (number - counter).to_bytes(10), counter


def variant_of(value: KeyValue) -> KeyValue:
    """Give the variant of a base key, which makes right halves of initial keys."""
    return KeyValue(xor(value.reveal(), _VARIANT))


def initial_key(base: BaseKey, terminal: bytes) -> KeyValue:
    """Derive a terminal's initial key (IPEK) from its serial number without counter."""
    data = terminal[:8]
    return KeyValue(base.key.ecb(data) + base.variant.ecb(data))


def working_key(transaction: KeyValue, purpose: TdesPurpose) -> KeyValue:
    """Make the working key of a purpose from a transaction key."""
    value = (int.from_bytes(transaction.reveal()) ^ purpose.mask).to_bytes(16)
    if purpose.is_data:
        value = encryptor(value).update(value)
    return KeyValue(value)


_COUNTER = 0x1FFFFF
_VARIANT = bytes.fromhex("C0C0C0C000000000") * 2
_HALF = (1 << 64) - 1
_HALF_VARIANT = int.from_bytes(_VARIANT[:8])


def _next_key(
    key: KeyValue, register: int, encryptor_of: Callable[[bytes], CipherContext]
) -> KeyValue:
    """Derive one key from another (X9.24-1, A.2, non-reversible key generation).

    Numbers are added without carry several times faster than bytes.
    """
    number = int.from_bytes(key.reveal())
    left, right = number >> 64, number & _HALF
    # The variant differs in the same bits of either half.
    variant = right ^ _HALF_VARIANT
    upper = encryptor_of((left ^ _HALF_VARIANT).to_bytes(8)).update(
        (register ^ variant).to_bytes(8)
    )
    lower = encryptor_of(left.to_bytes(8)).update((register ^ right).to_bytes(8))
    return KeyValue(
        (int.from_bytes(upper + lower) ^ (variant << 64 | right)).to_bytes(16)
    )


def _forget(key: KeyValue) -> None:
    """Do nothing: a value in memory goes when nobody refers to it."""
