"""Signed requests: what is signed, and whether a request is fresh and its client's.

Each line of what is signed ends the one before, so that no two requests sign alike::

    isoswitch-1
    (name of the client's key)
    POST
    /v1/codes
    (query without its question mark)
    (Idempotency-Key)
    (SHA-256 of the body, hexadecimal)
    1780315200
    (nonce)
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass

from isoswitch.codecs.canonical.errors import VerificationFailed
from isoswitch.codecs.canonical.secrets import Secret
from isoswitch.hsm.port import Hsm, VerifySignature
from isoswitch.portal.settings import ClientSettings

KEY = "isoswitch-key"
TIMESTAMP = "isoswitch-timestamp"
NONCE = "isoswitch-nonce"
SIGNATURE = "isoswitch-signature"
IDEMPOTENCY_KEY = "idempotency-key"

SKEW_MAX_S = 300
# A nonce is remembered for as long as its timestamp could be accepted.
NONCE_S = 2 * SKEW_MAX_S
NONCE_PATTERN = r"^[A-Za-z0-9_-]{16,64}$"
TIMESTAMP_PATTERN = r"^[0-9]{1,12}$"


class SignatureRefused(VerificationFailed):
    """A request is not signed by its client, not fresh, or was made before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signable:
    """What of a request is signed."""

    key: str
    method: str
    path: str
    query: str
    body: bytes
    idempotency_key: str
    timestamp: str
    nonce: str

    def data(self) -> bytes:
        """Give the bytes that are signed."""
        lines = (
            "isoswitch-1",
            self.key,
            self.method,
            self.path,
            self.query,
            self.idempotency_key,
            hashlib.sha256(self.body).hexdigest(),
            self.timestamp,
            self.nonce,
        )
        return "\n".join(lines).encode()


class Nonces:
    """The nonces of the last minutes, by client.

    There are as many as the rates of the clients let in: one that was turned away is
    not remembered.

    Examples
    --------
    >>> nonces = Nonces()
    >>> nonces.remember("till", "a", now=0.0)
    >>> [nonces.knows("till", "a", now=at) for at in (599.0, 601.0)]
    [True, False]
    """

    def __init__(self) -> None:
        # Insertion is in the order of time, so that the oldest stand first.
        self._seen_at: dict[tuple[str, str], float] = {}

    def knows(self, client: str, nonce: str, *, now: float) -> bool:
        """Whether a client has used a nonce."""
        while self._seen_at:
            oldest = next(iter(self._seen_at))
            if now - self._seen_at[oldest] <= NONCE_S:
                break
            del self._seen_at[oldest]
        return (client, nonce) in self._seen_at

    def remember(self, client: str, nonce: str, *, now: float) -> None:
        """Take a nonce, which is not known yet, as used."""
        self._seen_at[client, nonce] = now


def make_signature(secret: Secret[bytes], request: Signable) -> str:
    """Sign with a shared secret, as a client does; base64.

    Examples
    --------
    >>> request = Signable(
    ...     key="till", method="GET", path="/v1/codes/1-1", query="", body=b"",
    ...     idempotency_key="", timestamp="1780315200", nonce="0123456789abcdef",
    ... )
    >>> make_signature(Secret(b"not secret"), request)
    'IhaZECijRsq2ivpOvUdUr5z0xO12tpHOPN46GVzhJjY='
    """
    digest = hmac.digest(secret.reveal(), request.data(), "sha256")
    return base64.b64encode(digest).decode()


async def verify_request(
    client: ClientSettings | None, request: Signable, signature: str, *, hsm: Hsm
) -> None:
    """Check a request's signature.

    Raises
    ------
    SignatureRefused
        It does not verify; an unknown client is told the same.
    HsmUnavailable
        A public key cannot be used now.
    """
    try:
        given = base64.b64decode(signature, validate=True)
        if client is None:
            raise SignatureRefused(_WRONG)
        if client.secret is None:
            command = VerifySignature(
                public=client.public, data=request.data(), signature=given
            )
            await hsm.run(command)
            return
    except (binascii.Error, ValueError, VerificationFailed):
        raise SignatureRefused(_WRONG) from None
    expected = hmac.digest(client.secret.reveal(), request.data(), "sha256")
    if not hmac.compare_digest(given, expected):
        raise SignatureRefused(_WRONG)


def verify_fresh(headers: Mapping[str, str], *, now: float) -> None:
    """Check that a request's timestamp and nonce have their form and are of now.

    Raises
    ------
    SignatureRefused
        They are not.
    """
    timestamp, nonce = headers.get(TIMESTAMP, ""), headers.get(NONCE, "")
    if not re.fullmatch(TIMESTAMP_PATTERN.strip("^$"), timestamp):
        msg = f"{TIMESTAMP} is not a time in seconds since 1970"
        raise SignatureRefused(msg)
    if not re.fullmatch(NONCE_PATTERN.strip("^$"), nonce):
        msg = f"{NONCE} is not 16 to 64 letters, digits, _ and -"
        raise SignatureRefused(msg)
    if abs(now - int(timestamp)) > SKEW_MAX_S:
        msg = f"{TIMESTAMP} is more than {SKEW_MAX_S} s from our time"
        raise SignatureRefused(msg)


_WRONG = "the signature does not verify"
