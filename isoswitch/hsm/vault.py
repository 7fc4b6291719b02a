"""Wrapping keys for storage, bound to their headers, under the storage master key.

Every object is wrapped with AES key wrap (RFC 3394) under a key of its own::

    wrapping key = AES-ECB(storage master key, SHA-256(header))
    block        = AES-KW(wrapping key, value)

A block whose header was changed unwraps under another key and fails its integrity
check. Where the token can unwrap, the value of a stored key is never in host memory.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Protocol

from isoswitch.codecs.canonical.errors import KeyRefused
from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.hsm.engine import Algorithm, Engine, Handle, Use
from isoswitch.hsm.functions.key import DERIVE, MAC, Key
from isoswitch.hsm.octets import xor

_WRAPPING = frozenset({Use.ENCRYPT, Use.DECRYPT})
_INTEGRITY = bytes.fromhex("A6A6A6A6A6A6A6A6")  # RFC 3394, 2.2.3.1


class Unwrapper(Protocol):
    """An engine that unwraps by itself."""

    def unwrap(
        self,
        base: Handle,
        context: bytes,
        wrapped: bytes,
        algorithm: Algorithm,
        uses: frozenset[Use],
    ) -> Handle:
        """Load a key wrapped under the key that ``derive(base, context)`` gives."""
        ...


class Vault:
    """The storage master key of an engine, and what it protects.

    Parameters
    ----------
    engine
        The engine that holds the storage master key and receives unwrapped keys.
    storage_key
        The handle of the storage master key, an AES-256 key that may derive.
    unwrapper
        The engine again if it unwraps by itself; otherwise values pass through host
        memory when they are loaded.
    """

    def __init__(
        self, engine: Engine, storage_key: Handle, unwrapper: Unwrapper | None = None
    ) -> None:
        self.engine = engine
        self._storage_key = Key(engine, storage_key, Algorithm.AES)
        self._unwrapper = unwrapper

    @staticmethod
    def of_value(engine: Engine, value: KeyValue) -> Vault:
        """Open a vault whose storage master key has this value; for tests."""
        return Vault(engine, engine.create(value, Algorithm.AES, DERIVE))

    def wrap(self, value: KeyValue, header: bytes) -> bytes:
        """Wrap a key value, bound to its header."""
        with self._derive(header, _WRAPPING) as wrapping:
            return _wrap(wrapping, value.reveal())

    def unwrap(
        self,
        wrapped: bytes,
        header: bytes,
        algorithm: Algorithm,
        uses: frozenset[Use],
    ) -> Key:
        """Load a wrapped key into the engine.

        Raises
        ------
        KeyRefused
            The block is damaged, or was wrapped under another header or storage key.
        """
        if len(wrapped) < 24 or len(wrapped) % 8:
            raise KeyRefused("the key block has no possible length")
        if self._unwrapper is not None:
            context = sha256(header).digest()
            handle = self._unwrapper.unwrap(
                self._storage_key.handle, context, wrapped, algorithm, uses
            )
            return Key(self.engine, handle, algorithm)
        with self._derive(header, _WRAPPING) as wrapping:
            value = KeyValue(_unwrap(wrapping, wrapped))
        return Key.load(self.engine, value, algorithm, uses)

    def authenticate(self, data: bytes) -> bytes:
        """Give a CMAC of data under a key derived from the storage master key."""
        with self._derive(b"isoswitch-key-file/1", MAC) as key:
            return key.cmac(data)

    def _derive(self, header: bytes, uses: frozenset[Use]) -> Key:
        return self._storage_key.derive(sha256(header).digest(), Algorithm.AES, uses)


def _wrap(wrapping: Key, value: bytes) -> bytes:
    """Wrap whole 64-bit blocks (RFC 3394, 2.2.1)."""
    register = _INTEGRITY
    blocks = [value[start : start + 8] for start in range(0, len(value), 8)]
    for step in range(6 * len(blocks)):
        index = step % len(blocks)
        encrypted = wrapping.ecb(register + blocks[index])
        register = xor(encrypted[:8], (step + 1).to_bytes(8))
        blocks[index] = encrypted[8:]
    return register + b"".join(blocks)


def _unwrap(wrapping: Key, wrapped: bytes) -> bytes:
    """Undo ``_wrap`` and check its integrity (RFC 3394, 2.2.2)."""
    register = wrapped[:8]
    blocks = [wrapped[start : start + 8] for start in range(8, len(wrapped), 8)]
    for step in reversed(range(6 * len(blocks))):
        index = step % len(blocks)
        masked = xor(register, (step + 1).to_bytes(8))
        decrypted = wrapping.ecb(masked + blocks[index], decrypt=True)
        register = decrypted[:8]
        blocks[index] = decrypted[8:]
    if register != _INTEGRITY:
        raise KeyRefused("the key block is damaged or not of this key")
    return b"".join(blocks)
