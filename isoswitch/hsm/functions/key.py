"""A key as the payment functions see it: a handle bound to the engine that holds it.

A handle alone means nothing: with two tokens, or with keys derived in the memory of
the crypto process, equal numbers name different keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType

from isoswitch.codecs.canonical.errors import KeyRefused
from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.hsm.engine import Algorithm, Engine, Handle, Use

ENCRYPT = frozenset({Use.ENCRYPT})
DECRYPT = frozenset({Use.DECRYPT})
MAC = frozenset({Use.MAC})
DERIVE = frozenset({Use.DERIVE})


@dataclass(frozen=True, slots=True)
class Key:
    """One key in its engine; as a context manager it is destroyed at the end."""

    engine: Engine
    handle: Handle
    algorithm: Algorithm

    @staticmethod
    def load(
        engine: Engine, value: KeyValue, algorithm: Algorithm, uses: frozenset[Use]
    ) -> Key:
        """Load a key value into an engine.

        A single DES key becomes K1|K1, and a short HMAC key is filled with the zeros
        that HMAC adds anyway: tokens take neither as it is.
        """
        clear = value.reveal()
        if algorithm is Algorithm.TDES and len(clear) == 8:
            value = KeyValue(clear * 2)
        if algorithm is Algorithm.HMAC and len(clear) < 32:
            value = KeyValue(clear.ljust(32, b"\x00"))
        return Key(engine, engine.create(value, algorithm, uses), algorithm)

    @property
    def block_size(self) -> int:
        """The bytes in one block of the key's cipher."""
        return 16 if self.algorithm is Algorithm.AES else 8

    def ecb(self, data: bytes, *, decrypt: bool = False) -> bytes:
        """Run the block cipher over whole blocks."""
        return self.engine.ecb(self.handle, data, decrypt=decrypt)

    def cbc(self, data: bytes, iv: bytes, *, decrypt: bool = False) -> bytes:
        """Run cipher block chaining over whole blocks."""
        return self.engine.cbc(self.handle, data, iv, decrypt=decrypt)

    def cmac(self, data: bytes) -> bytes:
        """Give the full-length CMAC of the data."""
        return self.engine.cmac(self.handle, data)

    def hmac(self, data: bytes) -> bytes:
        """Give the HMAC-SHA-256 of the data."""
        return self.engine.hmac(self.handle, data)

    def gcm(
        self, data: bytes, nonce: bytes, context: bytes, *, decrypt: bool = False
    ) -> bytes:
        """Seal data with AES-GCM and a 16-byte tag at the end, or open it."""
        return self.engine.gcm(self.handle, data, nonce, context, decrypt=decrypt)

    def sign(self, data: bytes) -> bytes:
        """Give the signature of the data with SHA-256."""
        return self.engine.sign(self.handle, data)

    def derive(
        self,
        data: bytes,
        algorithm: Algorithm,
        uses: frozenset[Use],
        *,
        length: int = 0,
    ) -> Key:
        """Make a session key of ECB-encrypted data, in the same engine.

        ``length`` takes its first bytes only; 0 takes all.
        """
        handle = self.engine.derive(self.handle, data, algorithm, uses, length=length)
        return Key(self.engine, handle, algorithm)

    def destroy(self) -> None:
        """Forget the session object."""
        self.engine.destroy(self.handle)

    def __enter__(self) -> Key:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.destroy()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPair:
    """The two forms of one double-length TDES key that a retail MAC needs.

    ``single`` is K1|K1, which makes the cipher single DES under the left half;
    ``full`` is K1|K2. The two forms of a single DES key are equal.
    """

    single: Key
    full: Key

    @staticmethod
    def load(engine: Engine, value: KeyValue, uses: frozenset[Use]) -> KeyPair:
        """Load both forms of a TDES key; each gets the same uses.

        Raises
        ------
        KeyRefused
            The key has three parts, for which no retail MAC is defined.
        """
        if len(value.reveal()) not in {8, 16}:
            msg = "a retail MAC key has 8 or 16 bytes"
            raise KeyRefused(msg)
        left = KeyValue(value.reveal()[:8])
        return KeyPair(
            single=Key.load(engine, left, Algorithm.TDES, uses),
            full=Key.load(engine, value, Algorithm.TDES, uses),
        )

    @staticmethod
    def derive(base: Key, left: bytes, right: bytes, uses: frozenset[Use]) -> KeyPair:
        """Derive a double-length key from two blocks, in both forms.

        The single form costs a second derivation, and keeps the key in the token.
        """
        return KeyPair(
            single=base.derive(left + left, Algorithm.TDES, uses),
            full=base.derive(left + right, Algorithm.TDES, uses),
        )

    def destroy(self) -> None:
        """Forget both session objects."""
        self.single.destroy()
        self.full.destroy()

    def __enter__(self) -> KeyPair:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.destroy()
