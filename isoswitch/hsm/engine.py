"""The ten calls that every key-holding engine offers to ``hsm/functions``.

An engine holds keys under opaque handles; the functions above it never see a key
value unless they made it themselves. Engines are synchronous: exactly one worker
drives each token.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NewType, Protocol

from isoswitch.codecs.canonical.secrets import KeyValue

Handle = NewType("Handle", int)


class Algorithm(StrEnum):
    """The block cipher, MAC or signature family of a key.

    ``TDES`` takes 16 or 24 bytes; K1|K1 is single DES (SoftHSM has no DES of its own).
    ``EC`` is P-256 and ``RSA`` signs by PSS; their values are PKCS#8 in DER, filled up
    with zeros to whole blocks of eight bytes.
    """

    TDES = "tdes"
    AES = "aes"
    HMAC = "hmac"
    EC = "ec"
    RSA = "rsa"


class Use(StrEnum):
    """What a handle may do; an engine refuses every other use with ``KeyRefused``."""

    ENCRYPT = "encrypt"
    DECRYPT = "decrypt"
    MAC = "mac"
    DERIVE = "derive"
    SIGN = "sign"


class Engine(Protocol):
    """Block cipher, MAC, derivation, signature and session keys, by handle."""

    def create(
        self, value: KeyValue, algorithm: Algorithm, uses: frozenset[Use]
    ) -> Handle:
        """Load a key value as a session object."""
        ...

    def destroy(self, handle: Handle) -> None:
        """Forget a session object."""
        ...

    def ecb(self, handle: Handle, data: bytes, *, decrypt: bool = False) -> bytes:
        """Run the block cipher over whole blocks."""
        ...

    def cbc(
        self, handle: Handle, data: bytes, iv: bytes, *, decrypt: bool = False
    ) -> bytes:
        """Run cipher block chaining over whole blocks, without padding."""
        ...

    def cmac(self, handle: Handle, data: bytes) -> bytes:
        """Give the full-length CMAC (NIST SP 800-38B) of the data."""
        ...

    def hmac(self, handle: Handle, data: bytes) -> bytes:
        """Give the HMAC-SHA-256 of the data, 32 bytes."""
        ...

    def gcm(
        self,
        handle: Handle,
        data: bytes,
        nonce: bytes,
        context: bytes,
        *,
        decrypt: bool = False,
    ) -> bytes:
        """Seal data with AES-GCM and a 16-byte tag at the end, or open it.

        Raises
        ------
        VerificationFailed
            The tag does not match data, nonce and context.
        """
        ...

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
        ...

    def sign(self, handle: Handle, data: bytes) -> bytes:
        """Give the signature of the data with SHA-256: ECDSA or RSA-PSS."""
        ...

    def random(self, length: int) -> bytes:
        """Give random bytes."""
        ...
