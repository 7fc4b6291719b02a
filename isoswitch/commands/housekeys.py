"""Makes the test keys that sign between the switch and simulated clearing houses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
)

from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.config.houses import HouseSignature, SimulatedHouse
from isoswitch.config.load import LoadedNetwork
from isoswitch.config.publickey import read_public
from isoswitch.config.settings import hsmd_settings
from isoswitch.hsm.engine import Algorithm
from isoswitch.hsm.keys import KeyPlan, Mode, Usage
from isoswitch.hsm.provision import read_public_key
from isoswitch.simulators.signer import Signer

P256_BYTES = 32


def signature_plans(loaded: LoadedNetwork) -> Iterator[KeyPlan]:
    """Plan the keys with which the switch signs for clearing houses."""
    for signature, _ in _signed(loaded):
        yield KeyPlan(
            name=signature.key,
            usage=Usage.SIGNATURE,
            mode=Mode.SIGN,
            algorithm=Algorithm.EC,
            length=P256_BYTES,
        )


def ensure_house_keys(loaded: LoadedNetwork) -> Iterator[Path]:
    """Make the missing keys of simulated houses; give their files."""
    for signature, simulated in _signed(loaded):
        if simulated.key_file is None or loaded.file(simulated.key_file).exists():
            continue
        path, key = loaded.file(simulated.key_file), _generate()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        _write_public(loaded.file(signature.their_file), key.public_key())
        yield simulated.key_file


def ensure_our_public_keys(loaded: LoadedNetwork) -> Iterator[Path]:
    """Give simulated houses the public keys of the switch; give their files."""
    for signature, simulated in _signed(loaded):
        if simulated.our_file is None or loaded.file(simulated.our_file).exists():
            continue
        public = load_der_public_key(
            read_public_key(hsmd_settings(loaded), signature.key)
        )
        assert isinstance(public, ec.EllipticCurvePublicKey), "planned so"
        _write_public(loaded.file(simulated.our_file), public)
        yield simulated.our_file


def signer_of(loaded: LoadedNetwork, name: str) -> Signer | None:
    """Give what a simulated house signs with; None where its link is not signed."""
    signature = loaded.network.houses[name].signature
    simulators = loaded.network.simulators
    if signature is None or simulators is None:
        return None
    simulated = simulators.houses[name]
    assert simulated.key_file is not None, "checked when it was loaded"
    assert simulated.our_file is not None, "checked when it was loaded"
    pem = loaded.file(simulated.key_file).read_bytes()
    key = load_pem_private_key(pem, password=None)
    return Signer(
        name=signature.their_name,
        private=KeyValue(
            key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        ),
        their_name=signature.name,
        their_public=read_public(loaded.file(simulated.our_file)),
    )


def _signed(loaded: LoadedNetwork) -> Iterator[tuple[HouseSignature, SimulatedHouse]]:
    """Give the simulated houses whose links are signed."""
    simulators = loaded.network.simulators
    for name, simulated in simulators.houses.items() if simulators else ():
        signature = loaded.network.houses[name].signature
        if signature is not None:
            yield signature, simulated


def _generate() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _write_public(path: Path, key: ec.EllipticCurvePublicKey) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
