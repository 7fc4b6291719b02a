"""Signatures: ECDSA over P-256 and RSA-PSS, both with SHA-256.

The kind follows from the key. An ECDSA signature is the two numbers of 32 bytes one
after the other, as tokens give it, and not their DER form.
"""

from __future__ import annotations

from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
)

from isoswitch.codecs.canonical.errors import KeyRefused, VerificationFailed
from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.hsm.engine import Algorithm

RSA_BITS_MIN = 2048


PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def load_private(private: KeyValue) -> PrivateKey:
    """Load a private key (PKCS#8, DER) for many signatures.

    Raises
    ------
    KeyRefused
        The key is not a private one on P-256 or of RSA with at least 2048 bits.
    """
    try:
        key = load_der_private_key(_without_filler(private.reveal()), password=None)
    except (ValueError, TypeError):
        # The library's error may quote the key.
        raise KeyRefused(_REFUSED) from None
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= RSA_BITS_MIN:
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey) and _is_p256(key.curve):
        return key
    raise KeyRefused(_REFUSED)


def sign(key: PrivateKey, data: bytes) -> bytes:
    """Sign data with a private key."""
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, _pss(), SHA256())
    # RFC 6979: no random number that is drawn badly can give the key away.
    how = ec.ECDSA(SHA256(), deterministic_signing=True)
    r, s = decode_dss_signature(key.sign(data, how))
    return r.to_bytes(32) + s.to_bytes(32)


def verify_signature(public: bytes, data: bytes, signature: bytes) -> None:
    """Check a signature with a public key (SubjectPublicKeyInfo, DER).

    Raises
    ------
    KeyRefused
        The key is not a public one on P-256 or of RSA with at least 2048 bits.
    VerificationFailed
        The signature is not the one of this data.
    """
    key = _load_public(public)
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, data, _pss(), SHA256())
        else:
            key.verify(_dss_form(signature), data, ec.ECDSA(SHA256()))
    except InvalidSignature:
        msg = "the signature does not verify"
        raise VerificationFailed(msg) from None


def public_of(private: KeyValue) -> bytes:
    """Give the public key that belongs to a private one (SubjectPublicKeyInfo, DER)."""
    public = load_private(private).public_key()
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def random_private(algorithm: Algorithm, length: int) -> KeyValue:
    """Make a private key: on P-256, or of RSA with a modulus of ``length`` bytes."""
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    if algorithm is Algorithm.EC:
        key = ec.generate_private_key(ec.SECP256R1())
    else:
        key = rsa.generate_private_key(public_exponent=65_537, key_size=length * 8)
    return KeyValue(
        key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    )


def private_length(private: KeyValue, algorithm: Algorithm) -> int:
    """Give the bytes of a private key's group order or modulus.

    Raises
    ------
    KeyRefused
        The key is not one that signs, or of another algorithm.
    """
    key = load_private(private)
    if isinstance(key, rsa.RSAPrivateKey) is not (algorithm is Algorithm.RSA):
        raise KeyRefused(_REFUSED)
    return key.key_size // 8


def _pss() -> padding.PSS:
    return padding.PSS(padding.MGF1(SHA256()), padding.PSS.DIGEST_LENGTH)


def _dss_form(signature: bytes) -> bytes:
    if len(signature) != 64:
        raise InvalidSignature
    return encode_dss_signature(
        int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
    )


def _without_filler(octets: bytes) -> bytes:
    """Cut what follows the one DER value: stored keys are filled up to whole blocks."""
    size = octets[1] & 0x7F if len(octets) > 1 else 0
    is_long = size != 0 and octets[1] > 0x7F
    length = int.from_bytes(octets[2 : 2 + size]) + size if is_long else size
    return octets[: 2 + length]


# Who signs to us signs often, and to read a key takes half as long as to use it.
@lru_cache(maxsize=256)
def _load_public(public: bytes) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey:
    try:
        key = load_der_public_key(public)
    except ValueError:
        raise KeyRefused(_REFUSED) from None
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= RSA_BITS_MIN:
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and _is_p256(key.curve):
        return key
    raise KeyRefused(_REFUSED)


_REFUSED = "not a key on P-256 or of RSA with at least 2048 bits"


def _is_p256(curve: ec.EllipticCurve) -> bool:
    return isinstance(curve, ec.SECP256R1)
