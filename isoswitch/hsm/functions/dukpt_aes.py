"""AES DUKPT (ANSI X9.24-3:2017): one key per transaction, from a key serial number.

The serial number of twelve bytes is the eight-byte identifier of the terminal's
initial key and a counter of four. Every key is made by encrypting one or two blocks
of derivation data under another, so that they stay in the token (all but short HMAC
keys, which SoftHSM does not derive)::

    offset  size  meaning
    0       1     version, 1
    1       1     number of the block, 1 or 2
    2       2     usage of the derived key
    4       2     its algorithm
    6       2     its length in bits
    8       8     identifier of the initial key; for all but the initial key only
                  its last four bytes, and the counter
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum

from isoswitch.codecs.canonical.errors import DecodeError
from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.hsm.engine import Algorithm, Use
from isoswitch.hsm.functions.dukpt_path import DerivationPath, PathCache
from isoswitch.hsm.functions.key import Key

PATHS_MAX = 1_000
"""Each path holds one session object per bit of its counter, in a token some 8 KB."""


class AesPurpose(IntEnum):
    """What a working key is for (X9.24-3, table 2)."""

    KEY_ENCRYPTION = 0x0002
    PIN = 0x1000
    MAC_GENERATION = 0x2000
    MAC_VERIFICATION = 0x2001
    MAC_BOTH = 0x2002
    DATA_ENCRYPTION = 0x3000
    DATA_DECRYPTION = 0x3001
    DATA_BOTH = 0x3002


class KeyKind(Enum):
    """Algorithm and length of a derived key."""

    TDES_128 = "2TDEA"
    AES_128 = "AES-128"
    AES_192 = "AES-192"
    AES_256 = "AES-256"
    HMAC_128 = "HMAC-128"
    HMAC_256 = "HMAC-256"


class AesTerminals:
    """The terminals under one base key, with the derivation paths of the last ones.

    Parameters
    ----------
    base
        The base derivation key, AES, to derive.
    kind
        Its kind, which is also that of every key on the way.
    is_initial
        Whether the base is itself the initial key of a terminal.
    paths_max
        How many terminals are remembered.
    """

    def __init__(
        self,
        base: Key,
        kind: KeyKind,
        *,
        is_initial: bool = False,
        paths_max: int = PATHS_MAX,
    ) -> None:
        self._base = base
        self._kind = kind
        self._is_initial = is_initial
        self._cache = PathCache(self._start, paths_max=paths_max)

    def derive(
        self, ksn: bytes, purpose: AesPurpose, kind: KeyKind, uses: frozenset[Use]
    ) -> Key:
        """Derive the working key of a serial number, for the caller to destroy.

        Raises
        ------
        DecodeError
            The serial number is not twelve bytes, or no terminal makes it.
        KeyRefused
            The engine takes no key of this kind.
        """
        terminal, counter = split_ksn(ksn)
        context = terminal[4:] + counter.to_bytes(4)
        return _derive(self.transaction_key(ksn), purpose, kind, context, uses)

    def transaction_key(self, ksn: bytes) -> Key:
        """Give the key from which a transaction's working keys come; it is kept.

        Raises
        ------
        DecodeError
            The serial number is not twelve bytes, or no terminal makes it.
        """
        terminal, counter = split_ksn(ksn)
        return self._cache.get_path(terminal).get_key(counter)

    def derive_update_key(self, terminal: bytes, uses: frozenset[Use]) -> Key:
        """Derive the key that carries a new initial key to a terminal.

        It is the key-encryption key of a counter that no transaction uses.
        """
        transaction = self._cache.get_path(terminal).get_key(_UPDATE_COUNTER)
        context = terminal[4:] + _UPDATE_COUNTER.to_bytes(4)
        purpose = AesPurpose.KEY_ENCRYPTION
        return _derive(transaction, purpose, self._kind, context, uses)

    def close(self) -> None:
        """Release the session objects of every terminal; the base key stays."""
        self._cache.close()

    def _start(self, terminal: bytes) -> DerivationPath[Key]:
        def step(key: Key, counter: int) -> Key:
            context = terminal[4:] + counter.to_bytes(4)
            return _derive(key, _INTERMEDIATE, self._kind, context, _PATH_USES)

        initial = self._base
        if not self._is_initial:
            initial = initial_key(self._base, terminal, self._kind)
        return DerivationPath(initial, step=step, release=self._release)

    def _release(self, key: Key) -> None:
        """Destroy a key of a path; the base belongs to whoever gave it."""
        if key is not self._base:
            key.destroy()


def initial_key(base: Key, terminal: bytes, kind: KeyKind) -> Key:
    """Derive a terminal's initial key from the identifier of eight bytes."""
    return _derive(base, _INITIAL, kind, terminal, _PATH_USES)


def split_ksn(ksn: bytes) -> tuple[bytes, int]:
    """Split a serial number into the initial key's identifier and the counter.

    Raises
    ------
    DecodeError
        Not twelve bytes, a counter of zero, or one that terminals skip because more
        than sixteen of its bits are set.
    """
    if len(ksn) != 12:
        msg = "an AES key serial number has twelve bytes"
        raise DecodeError(msg, field="ksn")
    counter = int.from_bytes(ksn[8:])
    if not 1 <= counter.bit_count() <= 16:
        msg = "no terminal uses this transaction counter"
        raise DecodeError(msg, field="ksn", offset=8)
    return ksn[:8], counter


# To encrypt is only for short HMAC keys.
_PATH_USES = frozenset({Use.DERIVE, Use.ENCRYPT})
_INTERMEDIATE = 0x8000
_INITIAL = 0x8001
_UPDATE_COUNTER = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class _Kind:
    """A key kind: its engine algorithm, its code in derivation data, its length.

    A token derives no HMAC key under 32 bytes; such a key goes through memory.
    """

    algorithm: Algorithm
    code: int
    bits: int
    in_memory: bool = False


_KINDS: Mapping[KeyKind, _Kind] = {
    KeyKind.TDES_128: _Kind(Algorithm.TDES, 0x0000, 128),
    KeyKind.AES_128: _Kind(Algorithm.AES, 0x0002, 128),
    KeyKind.AES_192: _Kind(Algorithm.AES, 0x0003, 192),
    KeyKind.AES_256: _Kind(Algorithm.AES, 0x0004, 256),
    KeyKind.HMAC_128: _Kind(Algorithm.HMAC, 0x0005, 128, in_memory=True),
    KeyKind.HMAC_256: _Kind(Algorithm.HMAC, 0x0005, 256),
}


def _derive(
    base: Key, usage: int, kind: KeyKind, context: bytes, uses: frozenset[Use]
) -> Key:
    of_kind = _KINDS[kind]
    bits = of_kind.bits
    tail = usage.to_bytes(2) + of_kind.code.to_bytes(2) + bits.to_bytes(2) + context
    # A key of 192 bits is cut from two blocks.
    blocks = range(1, 1 + -(-bits // 128))
    data = b"".join(bytes([1, number]) + tail for number in blocks)
    if of_kind.in_memory:
        value = KeyValue(base.ecb(data))
        return Key.load(base.engine, value, of_kind.algorithm, uses)
    return base.derive(data, of_kind.algorithm, uses, length=bits // 8)
