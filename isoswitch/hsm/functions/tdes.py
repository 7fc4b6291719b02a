"""TDES on whole blocks, with keys that serve once or twice.

Of what ``cryptography`` does to make a context for a key more than half is checking the
algorithm and the mode, which never change here. So one cipher takes all keys in turn.
"""

from __future__ import annotations

import threading

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.modes import ECB


def encryptor(key: bytes) -> CipherContext:
    """Give what encrypts blocks; a key of eight bytes makes it single DES.

    Examples
    --------
    >>> encryptor(bytes.fromhex("0123456789ABCDEF")).update(bytes(8)).hex()
    'd5d44ff720683d0d'
    """
    return _of_thread.with_key(key).encryptor()


def decryptor(key: bytes) -> CipherContext:
    """Give what decrypts blocks; a key of eight bytes makes it single DES."""
    return _of_thread.with_key(key).decryptor()


class _KeyedCipher(threading.local):
    """One cipher per thread, as its key and the context are not made in one step."""

    def __init__(self) -> None:
        self._algorithm = TripleDES(bytes(24))
        # What is encrypted here is one block, or blocks that somebody else chains.
        self._cipher = Cipher(self._algorithm, ECB())  # noqa: S305

    def with_key(self, key: bytes) -> Cipher[ECB]:
        # K1, K1|K2 and K1|K2|K3 become three parts.
        self._algorithm.key = (key * 3)[:24] if len(key) < 24 else key
        return self._cipher


_of_thread = _KeyedCipher()
