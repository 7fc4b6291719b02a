"""Message authentication codes: ISO 9797-1 algorithms 1 and 3, CMAC, HMAC, UnionPay.

A ``MacKey`` says once which algorithm and padding its key is for; ``generate`` and
``verify`` follow it. The retail MAC (algorithm 3, X9.19) chains single DES under K1
over all blocks but the last, which goes through K1|K2::

    H = CBC(K1|K1, blocks 1 .. n-1)[-1]      MAC = E(K1|K2, H xor block n)

so a token that knows no retail MAC makes it from two objects, and only the chaining
value is ever outside.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum
from types import TracebackType

from isoswitch.codecs.canonical.errors import KeyRefused, MacMismatch
from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.hsm.engine import Algorithm, Engine, Use
from isoswitch.hsm.functions.key import ENCRYPT, MAC, Key, KeyPair
from isoswitch.hsm.octets import xor


class MacAlgorithm(Enum):
    """How a MAC is computed."""

    ALG1 = "ISO 9797-1 algorithm 1"
    ALG3 = "ISO 9797-1 algorithm 3"
    CMAC = "CMAC"
    HMAC = "HMAC-SHA-256"
    UNIONPAY = "UnionPay ECB"


class Padding(IntEnum):
    """The padding methods of ISO 9797-1, 6.3, by their numbers."""

    ZEROS = 1
    BIT = 2
    LENGTH = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class MacKey:
    """A key with the algorithm and padding it is for; ``with`` destroys it.

    ``single`` is the K1|K1 form of a retail MAC key and ``key`` its K1|K2 form; the
    other algorithms have one key only. Block ciphers need the use *encrypt*, CMAC and
    HMAC the use *mac*. CMAC and HMAC bring their own padding.
    """

    algorithm: MacAlgorithm
    key: Key
    single: Key | None = None
    padding: Padding = Padding.ZEROS

    def __post_init__(self) -> None:
        if (self.single is not None) != (self.algorithm is MacAlgorithm.ALG3):
            msg = "a retail MAC has two key forms, every other MAC has one"
            raise KeyRefused(msg)

    @staticmethod
    def load(
        engine: Engine,
        value: KeyValue,
        cipher: Algorithm,
        algorithm: MacAlgorithm,
        padding: Padding = Padding.ZEROS,
    ) -> MacKey:
        """Load a key value in the form or forms that its MAC algorithm needs."""
        if algorithm is MacAlgorithm.ALG3:
            return MacKey.of_pair(KeyPair.load(engine, value, ENCRYPT), padding)
        key = Key.load(engine, value, cipher, _USES[algorithm])
        return MacKey(algorithm=algorithm, key=key, padding=padding)

    @staticmethod
    def of_pair(pair: KeyPair, padding: Padding = Padding.ZEROS) -> MacKey:
        """Make a retail MAC key of a key's two forms."""
        return MacKey(
            algorithm=MacAlgorithm.ALG3,
            key=pair.full,
            single=pair.single,
            padding=padding,
        )

    def destroy(self) -> None:
        """Forget the session objects of the key."""
        self.key.destroy()
        if self.single is not None:
            self.single.destroy()

    def __enter__(self) -> MacKey:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.destroy()


def generate(key: MacKey, data: bytes, *, length: int = 8) -> bytes:
    """Make the leading ``length`` bytes of the MAC of the data.

    Raises
    ------
    KeyRefused
        The key's engine does not allow it.
    ValueError
        The algorithm gives no MAC of this length.

    Examples
    --------
    >>> from isoswitch.hsm.software import SoftwareEngine
    >>> value = KeyValue(bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"))
    >>> key = MacKey.load(
    ...     SoftwareEngine(), value, Algorithm.TDES, MacAlgorithm.ALG3
    ... )
    >>> generate(key, b"Now is the time for all ").hex()
    'a1c72e74ea3fa9b6'
    """
    mac = _ALGORITHMS[key.algorithm](key, data)
    length_min = _LENGTH_MIN[key.algorithm]
    if not length_min <= length <= len(mac):
        msg = f"a MAC of this key has {length_min} to {len(mac)} bytes"
        raise ValueError(msg)
    return mac[:length]


def verify(key: MacKey, data: bytes, mac: bytes) -> None:
    """Check a MAC of the data; a shorter one against the leading bytes.

    Raises
    ------
    MacMismatch
        The MAC is not that of the data, or has a length that no MAC has.
    """
    expected = _ALGORITHMS[key.algorithm](key, data)
    fits = _LENGTH_MIN[key.algorithm] <= len(mac) <= len(expected)
    if not hmac.compare_digest(expected[: len(mac)], mac) or not fits:
        msg = "the MAC does not match"
        raise MacMismatch(msg)


def pad(data: bytes, padding: Padding, block_size: int) -> bytes:
    """Fill data up to whole blocks, at least one (ISO 9797-1, 6.3).

    Examples
    --------
    >>> pad(b"ABC", Padding.BIT, 8).hex()
    '4142438000000000'
    """
    return _PADDINGS[padding](data, block_size)


def _pad_zeros(data: bytes, block_size: int) -> bytes:
    missing = -len(data) % block_size if data else block_size
    return data + bytes(missing)


def _pad_bit(data: bytes, block_size: int) -> bytes:
    return _pad_zeros(data + b"\x80", block_size)


def _pad_length(data: bytes, block_size: int) -> bytes:
    length = (len(data) * 8).to_bytes(block_size)
    return length + _pad_zeros(data, block_size)


_PADDINGS: Mapping[Padding, Callable[[bytes, int], bytes]] = {
    Padding.ZEROS: _pad_zeros,
    Padding.BIT: _pad_bit,
    Padding.LENGTH: _pad_length,
}


def _alg1(key: MacKey, data: bytes) -> bytes:
    size = key.key.block_size
    return key.key.cbc(pad(data, key.padding, size), bytes(size))[-size:]


def _alg3(key: MacKey, data: bytes) -> bytes:
    assert key.single is not None, "MacKey has checked it"
    padded = pad(data, key.padding, 8)
    head, last = padded[:-8], padded[-8:]
    chain = key.single.cbc(head, bytes(8))[-8:] if head else bytes(8)
    return key.key.ecb(xor(chain, last))


def _cmac(key: MacKey, data: bytes) -> bytes:
    return key.key.cmac(data)


def _hmac(key: MacKey, data: bytes) -> bytes:
    return key.key.hmac(data)


def _unionpay(key: MacKey, data: bytes) -> bytes:
    """Fold all blocks into one, encrypt its hex digits in two steps, give hex digits.

    The MAC travels as the first eight hexadecimal characters, upper case.
    """
    padded = pad(data, Padding.ZEROS, 8)
    folded = bytes(8)
    for start in range(0, len(padded), 8):
        folded = xor(folded, padded[start : start + 8])
    digits = folded.hex().upper().encode()
    first = key.key.ecb(digits[:8])
    return key.key.ecb(xor(first, digits[8:])).hex().upper().encode()[:8]


_ALGORITHMS: Mapping[MacAlgorithm, Callable[[MacKey, bytes], bytes]] = {
    MacAlgorithm.ALG1: _alg1,
    MacAlgorithm.ALG3: _alg3,
    MacAlgorithm.CMAC: _cmac,
    MacAlgorithm.HMAC: _hmac,
    MacAlgorithm.UNIONPAY: _unionpay,
}

# A shorter MAC is guessed too easily to verify anything (ISO 9797-1, annex C); eight
# hexadecimal digits are four bytes.
_LENGTH_MIN: Mapping[MacAlgorithm, int] = {
    MacAlgorithm.ALG1: 4,
    MacAlgorithm.ALG3: 4,
    MacAlgorithm.CMAC: 4,
    MacAlgorithm.HMAC: 4,
    MacAlgorithm.UNIONPAY: 8,
}

_USES: Mapping[MacAlgorithm, frozenset[Use]] = {
    MacAlgorithm.ALG1: ENCRYPT,
    MacAlgorithm.CMAC: MAC,
    MacAlgorithm.HMAC: MAC,
    MacAlgorithm.UNIONPAY: ENCRYPT,
}
