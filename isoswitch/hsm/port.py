"""The payment commands, in terms of key names, and the port that runs them.

A command is a value; ``Hsm.run`` takes one or several and runs them in order in one
round trip. The first that fails fails them all, so what follows a verification is
never done when it does not verify.

A key that is a base derivation key (B0) needs a key serial number, ``ksn``, which
names the terminal's transaction; every other key needs none. What is verified and
decrypted came in the terminal's request, what is made is for the response to it. A
serial number does not say which version of the base key a terminal has:
``base_version`` is the one that verified its request, and may be 0 only while there is
no other.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec


class Command(
    msgspec.Struct, frozen=True, tag=True, kw_only=True, array_like=True, gc=False
):
    """One payment command; subclasses say which. Prints without its values."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(***)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []


class VerifyMac(Command, frozen=True, tag=True, kw_only=True):
    """Check a MAC; the algorithm follows from the key's usage.

    Gives ``b""``, or in decimal digits the version of a pending key that verifies it:
    the partner uses that one already. Of a base derivation key gives the version that
    verifies it, for the response to that terminal.

    Raises ``MacMismatch``. A shorter MAC is compared with the leading bytes.
    """

    key: str
    data: bytes
    mac: bytes
    ksn: bytes = b""


class Splice(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """Where the result of the command before goes into this command's data."""

    offset: int
    as_hex: bool = False


class GenerateMac(Command, frozen=True, tag=True, kw_only=True):
    """Make a MAC of ``length`` bytes, after putting the last result in its place.

    ``splice`` lets one round trip translate a PIN block, place it in the message and
    authenticate that message.
    """

    key: str
    data: bytes
    length: int = 8
    splice: Splice | None = None
    ksn: bytes = b""
    base_version: int = 0


class TranslatePin(Command, frozen=True, tag=True, kw_only=True):
    """Re-encrypt a PIN block from a zone or terminal to a zone; gives the new block.

    One PAN only: no block can be moved to another card (PCI PIN 3-3). Raises
    ``PinBlockInvalid``.
    """

    source: str
    target: str
    block: bytes
    pan: str
    source_format: int = 0
    target_format: int = 0
    ksn: bytes = b""


class VerifyPvv(Command, frozen=True, tag=True, kw_only=True):
    """Check the PIN in a block against Visa's PIN verification value. Gives ``b""``.

    Raises ``VerificationFailed`` whatever is wrong with block or PIN. Nothing here
    counts attempts: the caller limits them per card. ``source`` decrypts the block,
    ``key`` is the PIN verification key and ``index`` its number at the issuer (PVKI).
    """

    source: str
    key: str
    block: bytes
    pan: str
    index: int
    pvv: str
    source_format: int = 0
    ksn: bytes = b""


class VerifyOffset(Command, frozen=True, tag=True, kw_only=True):
    """Check the PIN in a block against an IBM 3624 offset. Gives ``b""``.

    As ``VerifyPvv``; the issuer's decimalisation table belongs to the key, as whoever
    chooses it learns the PIN.
    """

    source: str
    key: str
    block: bytes
    pan: str
    offset: str
    source_format: int = 0
    ksn: bytes = b""


class VerifyCardValue(Command, frozen=True, tag=True, kw_only=True):
    """Check a static CVV or CVC. Gives ``b""``; raises ``VerificationFailed``.

    ``service_code`` is that of the stripe, ``000`` for the printed CVV2 and ``999`` for
    the chip's iCVV. ``expiry`` is ``YYMM``, for the printed CVV2 mostly ``MMYY``.
    """

    key: str
    pan: str
    expiry: str
    service_code: str
    value: str


class VerifyDynamicCvv(Command, frozen=True, tag=True, kw_only=True):
    """Check Visa's dCVV of a contactless stripe transaction. Gives ``b""``.

    Raises ``VerificationFailed``. ``sequence`` is two digits (tag 5F34).
    """

    key: str
    pan: str
    expiry: str
    service_code: str
    atc: int
    value: str
    sequence: str = "00"


class VerifyCvc3(Command, frozen=True, tag=True, kw_only=True):
    """Check Mastercard's CVC3 of a contactless stripe transaction. Gives ``b""``.

    Raises ``VerificationFailed``. ``track`` is the card's static track data, or the two
    bytes that its issuer made of them (IVCVC3).
    """

    key: str
    pan: str
    track: bytes
    unpredictable: bytes
    atc: int
    value: str
    sequence: str = "00"


class VerifyCryptogram(Command, frozen=True, tag=True, kw_only=True):
    """Check a card's cryptogram (ARQC) and make the answer to it (ARPC).

    ``version`` is one of ``functions.emv.VERSIONS``, such as ``visa-18``, and ``data``
    what that version authenticates. With an ``answer`` gives the ARPC: by method 1 it
    is the response code of two bytes, by method 2 the card status update and any
    proprietary data. Without one gives ``b""``. Raises ``VerificationFailed``.
    """

    key: str
    version: str
    pan: str
    data: bytes
    atc: bytes
    unpredictable: bytes
    arqc: bytes
    answer: bytes = b""
    sequence: str = "00"
    option: str = "A"


class GenerateScriptMac(Command, frozen=True, tag=True, kw_only=True):
    """Authenticate an issuer script command, in ``length`` bytes."""

    key: str
    version: str
    pan: str
    data: bytes
    atc: bytes
    arqc: bytes
    length: int = 8
    sequence: str = "00"
    option: str = "A"


class EncryptData(Command, frozen=True, tag=True, kw_only=True):
    """Seal data with AES-GCM; gives nonce, ciphertext and tag in one piece.

    For a terminal (``ksn``) encrypts whole blocks in CBC mode from zeros, without
    context or integrity, as X9.24 has it.
    """

    key: str
    data: bytes
    context: bytes = b""
    ksn: bytes = b""
    base_version: int = 0


class DecryptData(Command, frozen=True, tag=True, kw_only=True):
    """Open what ``EncryptData`` sealed under the same context, or a terminal's data.

    Raises ``VerificationFailed``.
    """

    key: str
    data: bytes
    context: bytes = b""
    ksn: bytes = b""
    base_version: int = 0


class HashData(Command, frozen=True, tag=True, kw_only=True):
    """Give the HMAC-SHA-256 of the data, 32 bytes, for look-ups."""

    key: str
    data: bytes


class ImportKey(Command, frozen=True, tag=True, kw_only=True):
    """Take a working key from the partner, as the next version of a key; pending.

    Usage and mode are those of the versions before it. ``payload`` is a key block, or
    with ``is_legacy`` the encrypted key, which needs its check value. The same key
    again gives the same version. Gives a ``WorkingKey``.

    Raises ``VerificationFailed`` for a wrong block or check value, ``KeyRefused`` for
    one of another usage or one that was in use before, ``KeyPending`` while we offer
    one ourselves or one that was agreed on is not in use.
    """

    name: str
    under: str
    payload: bytes
    check_value: bytes = b""
    is_legacy: bool = False
    cause: str


class OfferKey(Command, frozen=True, tag=True, kw_only=True):
    """Make the next version of a key and give it for the partner; pending.

    Asked again before it is activated or dropped, gives the same key. ``length`` counts
    the bytes of a TDES value that travel, 0 as many as before; 8 is single length, and
    only on this word. A pending key of another length is replaced, never cut.
    Gives a ``WorkingKey``.

    A key of the partner's that is pending gives way, unless both sides have agreed on
    it; then raises ``KeyPending``.
    """

    name: str
    under: str
    length: int = 0
    check_bytes: int = 0
    is_legacy: bool = False
    cause: str


class AgreeKey(Command, frozen=True, tag=True, kw_only=True):
    """Keep a key of the partner's, who is told next that we took it. Gives ``b""``.

    From then on it gives way to no other. Raises ``KeyRefused`` when it is there no
    longer: then the partner must not hear that we took it.
    """

    name: str
    version: int
    check_value: bytes
    cause: str


class ActivateKey(Command, frozen=True, tag=True, kw_only=True):
    """Use a pending version of a key from now on. Gives ``b""``.

    What the partner sends under the one before is accepted for ``overlap_s``. Raises
    ``KeyRefused`` when the version is gone, or is a key with another check value.
    """

    name: str
    version: int
    check_value: bytes
    overlap_s: float
    cause: str


class DropKey(Command, frozen=True, tag=True, kw_only=True):
    """Forget a pending version of a key, if it is still there. Gives ``b""``."""

    name: str
    version: int
    cause: str


class WorkingKey(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A version of a key and its check value; ``payload`` is it, protected."""

    version: int
    check_value: bytes
    payload: bytes = b""

    def encode(self) -> bytes:
        """Give it as the result of a command."""
        return msgspec.msgpack.encode(self)

    @staticmethod
    def decode(result: bytes) -> WorkingKey:
        """Read it from the result of a command."""
        return msgspec.msgpack.decode(result, type=WorkingKey)


class Random(Command, frozen=True, tag=True, kw_only=True):
    """Give random bytes of the token's generator, at most 4096."""

    length: int


class Sign(Command, frozen=True, tag=True, kw_only=True):
    """Give the signature of data with SHA-256, by the key: ECDSA P-256 or RSA-PSS."""

    key: str
    data: bytes


class ReadPublicKey(Command, frozen=True, tag=True, kw_only=True):
    """Give the public key to a signature key, as SubjectPublicKeyInfo in DER."""

    key: str


class VerifySignature(Command, frozen=True, tag=True, kw_only=True):
    """Check a signature with a partner's public key in DER. Gives ``b""``.

    The caller answers for whose key that is. Raises ``VerificationFailed``.
    """

    public: bytes
    data: bytes
    signature: bytes


class CheckHealth(Command, frozen=True, tag=True, kw_only=True):
    """Have the engine compute known answers; gives ``b""``.

    Raises ``HsmUnavailable`` when an answer is wrong or does not come.
    """


class ReadMetrics(Command, frozen=True, tag=True, kw_only=True):
    """Give counts and times per command, in the text format of Prometheus."""


class ListKeys(Command, frozen=True, tag=True, kw_only=True):
    """Give name, version, state and check value of the loaded keys, as JSON."""


AnyCommand = (
    VerifyMac
    | GenerateMac
    | TranslatePin
    | VerifyPvv
    | VerifyOffset
    | VerifyCardValue
    | VerifyDynamicCvv
    | VerifyCvc3
    | VerifyCryptogram
    | GenerateScriptMac
    | EncryptData
    | DecryptData
    | HashData
    | Random
    | Sign
    | ReadPublicKey
    | VerifySignature
    | CheckHealth
    | ReadMetrics
    | ListKeys
    | ImportKey
    | OfferKey
    | AgreeKey
    | ActivateKey
    | DropKey
)
"""What a service is asked; the closed set that crosses the socket."""


class Hsm(Protocol):
    """A crypto service: a process behind a socket, or an engine in this process."""

    async def run(self, *commands: AnyCommand) -> list[bytes]:
        """Run commands in order and give one result for each.

        Raises
        ------
        VerificationFailed
            A verification failed; a business result, never a fault of the service.
        KeyRefused
            An unknown key, or a key used against its usage.
        HsmError
            A command that makes no sense, such as data that is no whole block.
        NotSupported
            A command that this backend, or its token, has no means for.
        HsmUnavailable
            The service did not answer in time.
        """
        ...
