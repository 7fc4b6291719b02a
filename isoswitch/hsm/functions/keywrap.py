"""AES key wrap (RFC 3394): a key under a key, with its integrity.

Made of single blocks, so that the wrapping key can stay in a token.
"""

from __future__ import annotations

import hmac

from isoswitch.codecs.canonical.errors import KeyRefused, VerificationFailed
from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.hsm.engine import Algorithm
from isoswitch.hsm.functions.key import Key
from isoswitch.hsm.octets import xor

_INTEGRITY = b"\xa6" * 8
_ROUNDS = 6


def wrap_key(kek: Key, value: KeyValue) -> bytes:
    """Wrap a key of 16 or more bytes; eight bytes longer than the key.

    Raises
    ------
    KeyRefused
        The wrapping key is not AES, or the key not whole blocks of eight bytes.
    """
    _check_aes(kek)
    clear = value.reveal()
    if len(clear) < 16 or len(clear) % 8:
        msg = "only keys of 16, 24, ... bytes are wrapped"
        raise KeyRefused(msg)
    integrity, blocks = _INTEGRITY, _blocks(clear)
    step = 0
    for _ in range(_ROUNDS):
        for index, block in enumerate(blocks):
            step += 1
            encrypted = kek.ecb(integrity + block)
            integrity = xor(encrypted[:8], step.to_bytes(8))
            blocks[index] = encrypted[8:]
    return integrity + b"".join(blocks)


def unwrap_key(kek: Key, wrapped: bytes) -> KeyValue:
    """Open a wrapped key.

    Raises
    ------
    KeyRefused
        The wrapping key is not AES.
    VerificationFailed
        The key is not as it was wrapped under this key.
    """
    _check_aes(kek)
    if len(wrapped) < 24 or len(wrapped) % 8:
        raise VerificationFailed(_FAILED)
    integrity, *blocks = _blocks(wrapped)
    step = _ROUNDS * len(blocks)
    for _ in range(_ROUNDS):
        for index in reversed(range(len(blocks))):
            encrypted = xor(integrity, step.to_bytes(8)) + blocks[index]
            decrypted = kek.ecb(encrypted, decrypt=True)
            integrity, blocks[index] = decrypted[:8], decrypted[8:]
            step -= 1
    if not hmac.compare_digest(integrity, _INTEGRITY):
        raise VerificationFailed(_FAILED)
    return KeyValue(b"".join(blocks))


_FAILED = "the wrapped key does not authenticate"


def _check_aes(kek: Key) -> None:
    if kek.algorithm is not Algorithm.AES:
        msg = "keys are wrapped under AES keys only"
        raise KeyRefused(msg)


def _blocks(data: bytes) -> list[bytes]:
    return [data[start : start + 8] for start in range(0, len(data), 8)]
