"""Signatures: both kinds of key, every wrong one, and what the library says of them."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from isoswitch.codecs.canonical.errors import KeyRefused, VerificationFailed
from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.hsm.functions.signature import (
    load_private,
    public_of,
    sign,
    verify_signature,
)

Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def der(key: Private) -> KeyValue:
    return KeyValue(
        key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    )


def public_der(key: Private) -> bytes:
    return key.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )


@pytest.fixture(params=["ECDSA", "RSA"], scope="module")
def private(request: pytest.FixtureRequest) -> KeyValue:
    if request.param == "RSA":
        return der(rsa.generate_private_key(65537, 2048))
    return der(ec.generate_private_key(ec.SECP256R1()))


@pytest.fixture
def other() -> KeyValue:
    return der(ec.generate_private_key(ec.SECP256R1()))


def test_a_signature_holds_for_its_data_and_key_only(
    private: KeyValue, other: KeyValue
) -> None:
    signature = sign(load_private(private), b"data")
    verify_signature(public_of(private), b"data", signature)
    flipped = signature[:-1] + bytes([signature[-1] ^ 1])
    wrong = [
        (public_of(private), b"datb", signature),
        (public_of(private), b"data", flipped),
        (public_of(private), b"data", signature[:-1]),
        (public_of(private), b"data", b""),
        (public_of(other), b"data", signature),
    ]
    for public, data, given in wrong:
        with pytest.raises(VerificationFailed):
            verify_signature(public, data, given)


def test_an_ecdsa_signature_is_its_two_numbers(other: KeyValue) -> None:
    assert len(sign(load_private(other), b"data")) == 64


def test_a_signature_of_another_implementation_verifies() -> None:
    """RFC 6979, A.2.5, P-256 with SHA-256, message "sample"."""
    number = 0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721
    key = ec.derive_private_key(number, ec.SECP256R1())
    signature = bytes.fromhex(
        "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716"
        "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8"
    )
    verify_signature(public_der(key), b"sample", signature)


WEAK: dict[str, Private] = {
    "RSA of 1024 bits": rsa.generate_private_key(65537, 1024),
    "another curve": ec.generate_private_key(ec.SECP384R1()),
    "another kind": ed25519.Ed25519PrivateKey.generate(),
}


@pytest.mark.parametrize("key", WEAK.values(), ids=WEAK)
def test_a_key_of_another_kind_is_refused(key: Private) -> None:
    with pytest.raises(KeyRefused):
        load_private(der(key))
    with pytest.raises(KeyRefused):
        verify_signature(public_der(key), b"data", bytes(64))


def test_what_is_no_key_is_refused_without_a_cause() -> None:
    """The cause could quote the key."""
    with pytest.raises(KeyRefused) as error:
        load_private(KeyValue(b"no key"))
    assert error.value.__suppress_context__
    with pytest.raises(KeyRefused):
        verify_signature(b"no key", b"data", bytes(64))
