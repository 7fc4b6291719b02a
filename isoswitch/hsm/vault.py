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

from isoswitch.codecs.canonical.errors import KeyRefused, VerificationFailed
from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.hsm.engine import Algorithm, Engine, Handle, Use
from isoswitch.hsm.functions.key import DERIVE, MAC, Key
from isoswitch.hsm.functions.keywrap import unwrap_key, wrap_key

_WRAPPING = frozenset({Use.ENCRYPT, Use.DECRYPT})


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

    def rewrap(
        self,
        base: Handle,
        target: Handle,
        context: bytes,
        wrapped: bytes,
        algorithm: Algorithm,
    ) -> bytes:
        """Wrap a wrapped key under the key that ``derive(target, context)`` gives."""
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
            return wrap_key(wrapping, value)

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
        return Key.load(self.engine, self.reveal(wrapped, header), algorithm, uses)

    def reveal(self, wrapped: bytes, header: bytes) -> KeyValue:
        """Unwrap a key into host memory; for export, and where no token unwraps.

        Raises
        ------
        KeyRefused
            The block is damaged, or was wrapped under another header or storage key.
        """
        with self._derive(header, _WRAPPING) as wrapping:
            try:
                return unwrap_key(wrapping, wrapped)
            except VerificationFailed:
                msg = "the key block is damaged or not of this key"
                raise KeyRefused(msg) from None

    def rewrap(
        self, wrapped: bytes, header: bytes, algorithm: Algorithm, target: Vault
    ) -> bytes:
        """Wrap a wrapped key for another storage master key of the same engine.

        Raises
        ------
        KeyRefused
            The block is damaged, or was wrapped under another header or storage key.
        """
        # SoftHSM wraps a private key in an encoding of its own, whose length does not
        # suit key wrap.
        if self._unwrapper is None or algorithm in {Algorithm.EC, Algorithm.RSA}:
            return target.wrap(self.reveal(wrapped, header), header)
        return self._unwrapper.rewrap(
            self._storage_key.handle,
            target._storage_key.handle,
            sha256(header).digest(),
            wrapped,
            algorithm,
        )

    def authenticate(self, data: bytes) -> bytes:
        """Give a CMAC of data under a key derived from the storage master key."""
        with self._derive(b"isoswitch-key-file/1", MAC) as key:
            return key.cmac(data)

    def _derive(self, header: bytes, uses: frozenset[Use]) -> Key:
        return self._storage_key.derive(sha256(header).digest(), Algorithm.AES, uses)
