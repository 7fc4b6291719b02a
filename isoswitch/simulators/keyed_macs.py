"""MACs for those that make many under one key: load generators, light issuers.

Making a cipher context costs as much as a MAC, so each key keeps its own. A CBC context
goes on from the last block it gave; folding that block into the next message's first
one is the same as starting anew from zeros.
"""

from __future__ import annotations

from collections.abc import Callable

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

from isoswitch.hsm.engine import Algorithm
from isoswitch.simulators.keyring import SharedKey

BLOCK_BYTES = 8
MAC_BYTES = 8

MacMaker = Callable[[bytes], bytes]


def mac_maker(key: SharedKey) -> MacMaker:
    """Give what makes the MACs that a key's cipher stands for."""
    kind = AesMac if key.cipher is Algorithm.AES else RetailMac
    return kind(key.value.reveal())


class RetailMac:
    """Retail MACs (ISO 9797-1 algorithm 3, zero padding) under one double-length key.

    Examples
    --------
    >>> make = RetailMac(bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"))
    >>> [make(b"Now is the time for all ").hex() for _ in range(2)]
    ['a1c72e74ea3fa9b6', 'a1c72e74ea3fa9b6']
    """

    def __init__(self, key: bytes) -> None:
        chain = Cipher(TripleDES(3 * key[:8]), modes.CBC(bytes(BLOCK_BYTES)))
        # ISO 9797-1, output transformation 3: one block.
        final = Cipher(TripleDES(key[:16] + key[:8]), modes.ECB())  # noqa: S305
        self._chain = chain.encryptor()
        self._final = final.encryptor()
        self._carried = 0

    def __call__(self, data: bytes) -> bytes:
        """Give the 8-byte MAC of at least two blocks of data."""
        padded = data + bytes(-len(data) % BLOCK_BYTES)
        first = int.from_bytes(padded[:BLOCK_BYTES]) ^ self._carried
        body = first.to_bytes(BLOCK_BYTES) + padded[BLOCK_BYTES:-BLOCK_BYTES]
        self._carried = int.from_bytes(self._chain.update(body)[-BLOCK_BYTES:])
        last = self._carried ^ int.from_bytes(padded[-BLOCK_BYTES:])
        return self._final.update(last.to_bytes(BLOCK_BYTES))


class AesMac:
    """AES-CMACs (NIST SP 800-38B) under one key, cut to 8 bytes."""

    def __init__(self, key: bytes) -> None:
        self._keyed = CMAC(AES(key))

    def __call__(self, data: bytes) -> bytes:
        """Give the MAC of the data."""
        cmac = self._keyed.copy()
        cmac.update(data)
        return cmac.finalize()[:MAC_BYTES]
