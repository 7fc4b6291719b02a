"""The engine that keeps keys in this process and computes with ``cryptography``.

The second opinion beside the token in tests, and the engine of keys that live in the
memory of the crypto process anyway: DUKPT and key-block keys derived there. Cipher
contexts are built once per key and reused, which makes a block ten times cheaper;
like every engine it has exactly one worker.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import cached_property
from itertools import count

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import (
    BlockCipherAlgorithm,
    Cipher,
    CipherContext,
)
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC, ECB
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from isoswitch.codecs.canonical.errors import HsmError, KeyRefused, VerificationFailed
from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.hsm.engine import Algorithm, Handle, Use
from isoswitch.hsm.functions import signature, tdes
from isoswitch.hsm.octets import xor


class SoftwareEngine:
    """An ``Engine`` whose keys are objects of this process.

    Examples
    --------
    >>> engine = SoftwareEngine()
    >>> value = KeyValue(bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"))
    >>> key = engine.create(value, Algorithm.TDES, frozenset({Use.ENCRYPT}))
    >>> engine.ecb(key, bytes(8))[:3].hex()
    '08d7b4'
    """

    def __init__(self) -> None:
        self._keys: dict[Handle, _SoftKey] = {}
        self._numbers = count(1)

    def create(
        self, value: KeyValue, algorithm: Algorithm, uses: frozenset[Use]
    ) -> Handle:
        """Load a key value as a session object."""
        key = _KINDS[algorithm](value.reveal(), uses)
        handle = Handle(next(self._numbers))
        self._keys[handle] = key
        return handle

    def destroy(self, handle: Handle) -> None:
        """Forget a session object."""
        self._keys.pop(handle, None)

    def ecb(self, handle: Handle, data: bytes, *, decrypt: bool = False) -> bytes:
        """Run the block cipher over whole blocks."""
        use = Use.DECRYPT if decrypt else Use.ENCRYPT
        return self._get(handle, use).ecb(data, decrypt=decrypt)

    def cbc(
        self, handle: Handle, data: bytes, iv: bytes, *, decrypt: bool = False
    ) -> bytes:
        """Run cipher block chaining over whole blocks, without padding."""
        use = Use.DECRYPT if decrypt else Use.ENCRYPT
        return self._get(handle, use).cbc(data, iv, decrypt=decrypt)

    def cmac(self, handle: Handle, data: bytes) -> bytes:
        """Give the full-length CMAC (NIST SP 800-38B) of the data."""
        return self._get(handle, Use.MAC).cmac(data)

    def hmac(self, handle: Handle, data: bytes) -> bytes:
        """Give the HMAC-SHA-256 of the data, 32 bytes."""
        return self._get(handle, Use.MAC).hmac(data)

    def gcm(
        self,
        handle: Handle,
        data: bytes,
        nonce: bytes,
        context: bytes,
        *,
        decrypt: bool = False,
    ) -> bytes:
        """Seal data with AES-GCM and a 16-byte tag at the end, or open it."""
        use = Use.DECRYPT if decrypt else Use.ENCRYPT
        return self._get(handle, use).gcm(data, nonce, context, decrypt=decrypt)

    def derive(
        self,
        handle: Handle,
        data: bytes,
        algorithm: Algorithm,
        uses: frozenset[Use],
        *,
        length: int = 0,
    ) -> Handle:
        """Make a session key of ECB-encrypted data; ``length`` cuts it, 0 does not."""
        value = self._get(handle, Use.DERIVE).ecb(data, decrypt=False)
        return self.create(KeyValue(value[: length or len(value)]), algorithm, uses)

    def sign(self, handle: Handle, data: bytes) -> bytes:
        """Give the signature of the data with SHA-256: ECDSA or RSA-PSS."""
        return self._get(handle, Use.SIGN).sign(data)

    def random(self, length: int) -> bytes:
        """Give random bytes."""
        return secrets.token_bytes(length)

    def _get(self, handle: Handle, use: Use) -> _SoftKey:
        key = self._keys.get(handle)
        if key is None:
            msg = "no such key handle"
            raise KeyRefused(msg)
        if use not in key.uses:
            msg = f"this key may not {use}"
            raise KeyRefused(msg)
        return key


class _SoftKey:
    """What every kind of key refuses unless it can do it."""

    def __init__(self, uses: frozenset[Use]) -> None:
        self.uses = uses

    def ecb(self, data: bytes, *, decrypt: bool) -> bytes:
        raise KeyRefused(_WRONG_KIND)

    def cbc(self, data: bytes, iv: bytes, *, decrypt: bool) -> bytes:
        raise KeyRefused(_WRONG_KIND)

    def cmac(self, data: bytes) -> bytes:
        raise KeyRefused(_WRONG_KIND)

    def gcm(self, data: bytes, nonce: bytes, context: bytes, *, decrypt: bool) -> bytes:
        raise KeyRefused(_WRONG_KIND)

    def hmac(self, data: bytes) -> bytes:
        raise KeyRefused(_WRONG_KIND)

    def sign(self, data: bytes) -> bytes:
        raise KeyRefused(_WRONG_KIND)


# What the functions above build everything from.
_SINGLE_BLOCKS = ECB()  # noqa: S305
_WRONG_KIND = "the key is of another algorithm"


class _BlockKey(_SoftKey, ABC):
    """A block cipher key with its reusable contexts, each built when first needed.

    An ECB context has no state between whole blocks. The CBC context has: it chains
    from its last ciphertext block, which is cancelled out of the next first block.
    """

    def __init__(self, value: bytes, uses: frozenset[Use], *, block_size: int) -> None:
        super().__init__(uses)
        self._value = value
        self._size = block_size
        self._chain = bytes(block_size)
        self._encryptor: CipherContext | None = None
        self._decryptor: CipherContext | None = None

    @abstractmethod
    def _make_cipher(self) -> BlockCipherAlgorithm:
        """Give the cipher under this key."""

    @abstractmethod
    def _make_context(self, *, decrypt: bool) -> CipherContext:
        """Give what encrypts or decrypts whole blocks."""

    @cached_property
    def _chainer(self) -> CipherContext:
        return Cipher(self._make_cipher(), CBC(self._chain)).encryptor()

    @cached_property
    def _mac(self) -> CMAC:
        return CMAC(self._make_cipher())

    def ecb(self, data: bytes, *, decrypt: bool) -> bytes:
        self._check_blocks(data)
        if decrypt:
            if self._decryptor is None:
                self._decryptor = self._make_context(decrypt=True)
            return self._decryptor.update(data)
        if self._encryptor is None:
            self._encryptor = self._make_context(decrypt=False)
        return self._encryptor.update(data)

    def cbc(self, data: bytes, iv: bytes, *, decrypt: bool) -> bytes:
        self._check_blocks(data)
        if len(iv) != self._size:
            msg = "the initial vector is not one block"
            raise HsmError(msg)
        if decrypt:
            return xor(self.ecb(data, decrypt=True), (iv + data)[: len(data)])
        first = xor(xor(data[: self._size], iv), self._chain)
        chained = self._chainer.update(first + data[self._size :])
        self._chain = chained[-self._size :]
        return chained

    def cmac(self, data: bytes) -> bytes:
        mac = self._mac.copy()
        mac.update(data)
        return mac.finalize()

    def _check_blocks(self, data: bytes) -> None:
        if not data or len(data) % self._size:
            msg = "the data is not a whole number of blocks"
            raise HsmError(msg)


class _TdesKey(_BlockKey):
    """A TDES key; most are of one DUKPT transaction and serve once."""

    def __init__(self, value: bytes, uses: frozenset[Use]) -> None:
        if len(value) not in {16, 24}:
            msg = "a TDES key has 16 or 24 bytes"
            raise KeyRefused(msg)
        super().__init__(value, uses, block_size=8)

    def _make_cipher(self) -> BlockCipherAlgorithm:
        return TripleDES((self._value + self._value[:8])[:24])

    def _make_context(self, *, decrypt: bool) -> CipherContext:
        make = tdes.decryptor if decrypt else tdes.encryptor
        return make(self._value)


class _AesKey(_BlockKey):
    """An AES key, the only kind that seals data."""

    def __init__(self, value: bytes, uses: frozenset[Use]) -> None:
        if len(value) not in {16, 24, 32}:
            msg = "an AES key has 16, 24 or 32 bytes"
            raise KeyRefused(msg)
        super().__init__(value, uses, block_size=16)

    def _make_cipher(self) -> BlockCipherAlgorithm:
        return AES(self._value)

    def _make_context(self, *, decrypt: bool) -> CipherContext:
        cipher = Cipher(self._make_cipher(), _SINGLE_BLOCKS)
        return cipher.decryptor() if decrypt else cipher.encryptor()

    @cached_property
    def _gcm(self) -> AESGCM:
        return AESGCM(self._value)

    def gcm(self, data: bytes, nonce: bytes, context: bytes, *, decrypt: bool) -> bytes:
        if not decrypt:
            return self._gcm.encrypt(nonce, data, context)
        try:
            return self._gcm.decrypt(nonce, data, context)
        except InvalidTag:
            msg = "the sealed data does not open"
            raise VerificationFailed(msg) from None


class _HmacKey(_SoftKey):
    """An HMAC-SHA-256 key, hashed once."""

    def __init__(self, value: bytes, uses: frozenset[Use]) -> None:
        super().__init__(uses)
        self._hmac = HMAC(value, SHA256())

    def hmac(self, data: bytes) -> bytes:
        mac = self._hmac.copy()
        mac.update(data)
        return mac.finalize()


class _SigningKey(_SoftKey):
    """A private key."""

    def __init__(self, value: bytes, uses: frozenset[Use]) -> None:
        super().__init__(uses)
        self._value = KeyValue(value)

    @cached_property
    def _key(self) -> signature.PrivateKey:
        return signature.load_private(self._value)

    def sign(self, data: bytes) -> bytes:
        return signature.sign(self._key, data)


_KINDS: Mapping[Algorithm, Callable[[bytes, frozenset[Use]], _SoftKey]] = {
    Algorithm.TDES: _TdesKey,
    Algorithm.AES: _AesKey,
    Algorithm.HMAC: _HmacKey,
    Algorithm.EC: _SigningKey,
    Algorithm.RSA: _SigningKey,
}
