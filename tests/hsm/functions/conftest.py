"""One contract, every engine: a test that takes ``engine`` runs on each of them."""

from __future__ import annotations

import shutil

import pytest

from isoswitch.hsm.engine import Engine
from isoswitch.hsm.provision import make_token
from isoswitch.hsm.settings import DEFAULT_MODULE, TokenSettings
from isoswitch.hsm.software import SoftwareEngine
from isoswitch.hsm.token import open_engine


@pytest.fixture(scope="session")
def softhsm(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """Give an engine on a new SoftHSM token, or skip with the reason."""
    if not DEFAULT_MODULE.exists():
        pytest.skip("softhsm2 is not installed")
    folder = tmp_path_factory.mktemp("softhsm")
    # A copy of the library is initialised apart from the one other tests use.
    module = folder / DEFAULT_MODULE.name
    shutil.copy(DEFAULT_MODULE, module)
    token = TokenSettings(
        label="functions",
        pin_file=folder / "pin",
        module=module,
        softhsm_conf=folder / "softhsm2.conf",
    )
    make_token(token)
    return open_engine(token)


@pytest.fixture(params=["software", "pkcs11"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Give an engine of each kind."""
    if request.param == "software":
        return SoftwareEngine()
    token: Engine = request.getfixturevalue("softhsm")
    return token
