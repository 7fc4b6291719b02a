"""One contract, every engine: ``payments`` runs the commands on each of them."""

from __future__ import annotations

import pytest

from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.hsm.service import CryptoService
from isoswitch.hsm.software import SoftwareEngine
from isoswitch.hsm.vault import Vault
from tests.hsm.conftest import PKCS11, SOFTWARE
from tests.hsm.handlers.payments import AES_BASE, payments_on


@pytest.fixture(scope="session")
def software_payments() -> CryptoService:
    """Give the commands on the software engine."""
    storage = KeyValue(bytes.fromhex(AES_BASE * 2))
    return payments_on(Vault.of_value(SoftwareEngine(), storage))


@pytest.fixture(scope="session")
def token_payments(token_vault: Vault) -> CryptoService:
    """Give the commands on a SoftHSM token."""
    return payments_on(token_vault)


@pytest.fixture(params=[SOFTWARE, PKCS11])
def payments(request: pytest.FixtureRequest) -> CryptoService:
    """Give the commands on an engine of each kind."""
    service: CryptoService = request.getfixturevalue(
        {"software": "software_payments", "pkcs11": "token_payments"}[request.param]
    )
    return service
