"""One contract, every engine: a test that takes ``engine`` runs on each of them."""

from __future__ import annotations

import pytest

from isoswitch.hsm.engine import Engine
from isoswitch.hsm.keytable import KeyTable, form_record
from isoswitch.hsm.knownanswers import KnownAnswers
from isoswitch.hsm.pkcs11_engine import Pkcs11Engine
from isoswitch.hsm.provision import make_token
from isoswitch.hsm.service import CryptoService
from isoswitch.hsm.software import SoftwareEngine
from isoswitch.hsm.token import open_engine
from isoswitch.hsm.vault import Vault
from tests.hsm.softhsm import PLANS, VALUES, require_softhsm, token_settings

SOFTWARE = pytest.param("software")
PKCS11 = pytest.param("pkcs11", marks=pytest.mark.live)


@pytest.fixture(scope="session")
def token_engine(tmp_path_factory: pytest.TempPathFactory) -> Pkcs11Engine:
    """Give an engine on a new SoftHSM token with a storage master key."""
    require_softhsm()
    token = token_settings(tmp_path_factory.mktemp("softhsm"))
    make_token(token)
    return open_engine(token)


@pytest.fixture(params=[SOFTWARE, PKCS11])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Give an engine of each kind."""
    if request.param == "software":
        return SoftwareEngine()
    engine: Engine = request.getfixturevalue("token_engine")
    return engine


@pytest.fixture(scope="session")
def token_vault(token_engine: Pkcs11Engine) -> Vault:
    """Give the vault of the SoftHSM token."""
    handle = token_engine.generate_storage_key("storage")
    return Vault(token_engine, handle, unwrapper=token_engine)


@pytest.fixture(params=[SOFTWARE, PKCS11])
def vault(request: pytest.FixtureRequest) -> Vault:
    """Give a vault of each kind."""
    if request.param == "software":
        return Vault.of_value(SoftwareEngine(), VALUES["store/hash"])
    vault: Vault = request.getfixturevalue("token_vault")
    return vault


@pytest.fixture
def service(vault: Vault) -> CryptoService:
    """Give a service with the keys of ``PLANS`` on each kind of engine."""
    records = [
        form_record(vault, plan, VALUES[plan.name], created="") for plan in PLANS
    ]
    return CryptoService(KeyTable(vault, records), KnownAnswers(vault.engine))
