"""A certification authority for tests: it signs the switch and its terminals.

The authority's key stays beside its certificate, because this is a test network; none
of these files belongs on a production machine.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from isoswitch.switch.settings import TlsFiles

VALID_FOR = timedelta(days=825)
AUTHORITY_NAME = "isoswitch test authority"


class TestAuthority:
    """Signs certificates for tests; made once, then read from its folder."""

    __test__ = False  # pytest takes every Test* class for tests

    def __init__(self, certificate: Path) -> None:
        key = certificate.with_suffix(".key")
        if not (certificate.exists() and key.exists()):
            _make_authority(certificate, key)
        loaded = load_pem_private_key(key.read_bytes(), password=None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        self._key = loaded
        self._certificate = x509.load_pem_x509_certificate(certificate.read_bytes())

    def sign(self, files: TlsFiles, name: str, *, is_server: bool) -> None:
        """Make a key and a certificate for one side of mutual TLS."""
        usage = (
            ExtendedKeyUsageOID.SERVER_AUTH
            if is_server
            else ExtendedKeyUsageOID.CLIENT_AUTH
        )
        extensions: list[x509.ExtensionType] = [
            x509.BasicConstraints(ca=False, path_length=None),
            x509.ExtendedKeyUsage([usage]),
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
        ]
        if is_server:
            here = x509.IPAddress(IPv4Address("127.0.0.1"))
            extensions.append(
                x509.SubjectAlternativeName([x509.DNSName("localhost"), here])
            )
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(name, key, issuer=self._certificate.subject)
        certificate = _with(builder, extensions).sign(self._key, SHA256())
        _write(files.certificate, files.key, certificate, key)


def _make_authority(certificate_path: Path, key_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, AUTHORITY_NAME)])
    builder = _builder(AUTHORITY_NAME, key, issuer=name)
    extensions: list[x509.ExtensionType] = [
        x509.BasicConstraints(ca=True, path_length=0),
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()),
        x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        ),
    ]
    certificate = _with(builder, extensions).sign(key, SHA256())
    _write(certificate_path, key_path, certificate, key)


def _builder(
    name: str, key: ec.EllipticCurvePrivateKey, *, issuer: x509.Name
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + VALID_FOR)
    )


def _with(
    builder: x509.CertificateBuilder, extensions: Iterable[x509.ExtensionType]
) -> x509.CertificateBuilder:
    critical = (x509.BasicConstraints, x509.KeyUsage)
    for extension in extensions:
        builder = builder.add_extension(
            extension, critical=isinstance(extension, critical)
        )
    return builder


def _write(
    certificate_path: Path,
    key_path: Path,
    certificate: x509.Certificate,
    key: ec.EllipticCurvePrivateKey,
) -> None:
    certificate_path.parent.mkdir(parents=True, exist_ok=True)
    key_path.touch(mode=0o600)
    key_path.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    certificate_path.write_bytes(certificate.public_bytes(Encoding.PEM))
