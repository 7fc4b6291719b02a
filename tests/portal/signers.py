"""Clients of the API, as their own programs would sign."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from itertools import count

import httpx
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from isoswitch.codecs.canonical.secrets import Secret
from isoswitch.portal.settings import ClientSettings
from isoswitch.portal.signing import Signable, make_signature
from isoswitch.simulators.world import EPOCH, MERCHANT

SERVER = "WEB00001"
SECRET = Secret(b"a secret of thirty-two characters")
ECDSA = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _der(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )


CLIENTS = {
    each.name: each
    for each in (
        ClientSettings(
            name="till", merchant_id=MERCHANT.id, terminal_id=SERVER, secret=SECRET
        ),
        ClientSettings(name="till-ec", merchant_id=MERCHANT.id, public=_der(ECDSA)),
        ClientSettings(name="till-rsa", merchant_id=MERCHANT.id, public=_der(RSA)),
        ClientSettings(name="other", merchant_id="OTHER", secret=SECRET),
        ClientSettings(name="purse", secret=SECRET),
        ClientSettings(name="purse-2", secret=SECRET),
    )
}


def sign(name: str, request: Signable) -> str:
    """Sign as a client does."""
    if name == "till-ec":
        r, s = decode_dss_signature(ECDSA.sign(request.data(), ec.ECDSA(SHA256())))
        return base64.b64encode(r.to_bytes(32) + s.to_bytes(32)).decode()
    if name == "till-rsa":
        pss = padding.PSS(mgf=padding.MGF1(SHA256()), salt_length=32)
        return base64.b64encode(RSA.sign(request.data(), pss, SHA256())).decode()
    return make_signature(SECRET, request)


@dataclass(slots=True)
class Signer:
    """Signs the requests of a client; ``now`` is what it takes for the time."""

    name: str
    now: float = EPOCH.timestamp()
    numbers: count[int] = field(default_factory=count)

    def headers(
        self,
        method: str,
        url: httpx.URL,
        body: bytes,
        *,
        idempotency_key: str = "",
        nonce: str = "",
    ) -> dict[str, str]:
        """Give the headers of one request."""
        nonce = nonce or f"{self.name}-{next(self.numbers):016d}"
        signable = Signable(
            key=self.name,
            method=method,
            path=url.raw_path.partition(b"?")[0].decode(),
            query=url.query.decode(),
            body=body,
            idempotency_key=idempotency_key,
            timestamp=str(int(self.now)),
            nonce=nonce,
        )
        headers = {
            "Isoswitch-Key": self.name,
            "Isoswitch-Timestamp": signable.timestamp,
            "Isoswitch-Nonce": nonce,
            "Isoswitch-Signature": sign(self.name, signable),
        }
        if idempotency_key:
            headers["Idempotency-Key"] = idempotency_key
        return headers
