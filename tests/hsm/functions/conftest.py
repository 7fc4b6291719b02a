"""One contract, every engine: ``engine`` is each of them in turn."""

from __future__ import annotations

import pytest

from isoswitch.hsm.engine import Engine
from isoswitch.hsm.software import SoftwareEngine


@pytest.fixture(params=["software"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Give an engine of each kind."""
    return SoftwareEngine()
