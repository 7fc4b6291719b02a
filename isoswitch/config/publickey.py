"""Public keys of partners, from their files."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

from isoswitch.codecs.canonical.errors import ConfigError

RSA_BITS_MIN = 2048


def read_public(path: Path) -> bytes:
    """Read a partner's public key (PEM) as SubjectPublicKeyInfo in DER.

    Raises
    ------
    ConfigError
        There is none, or not one whose signatures the crypto service verifies.
    """
    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError):
        msg = f"{path} is no public key in PEM"
        raise ConfigError(msg) from None
    is_ec = isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp256r1"
    is_rsa = isinstance(key, rsa.RSAPublicKey) and key.key_size >= RSA_BITS_MIN
    if not (is_ec or is_rsa):
        msg = f"{path} is neither a key on P-256 nor of RSA with {RSA_BITS_MIN} bits"
        raise ConfigError(msg)
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
