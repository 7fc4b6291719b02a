"""What all tests share: no wall-clock deadlines, and no secret left behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

from tests.leak_watch import OutputWatch, leaks_in_written_files
from tests.postgres import postgres

__all__ = ["postgres"]

# The machine may be busy; how long an example takes says nothing about the code.
settings.register_profile("isoswitch", deadline=None)
settings.load_profile("isoswitch")

# The default prints the variables of every frame of a traceback, secrets included.
structlog.configure(
    processors=[
        structlog.stdlib.add_log_level,
        structlog.dev.ConsoleRenderer(
            colors=False, exception_formatter=structlog.dev.plain_traceback
        ),
    ]
)


def pytest_configure(config: pytest.Config) -> None:
    """Watch what tests print."""
    config.pluginmanager.register(OutputWatch())


@pytest.fixture(scope="session", autouse=True)
def _clean_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """After the last test, search the files that all of them left."""
    yield
    leaks = leaks_in_written_files(tmp_path_factory.getbasetemp())
    assert leaks == [], "card numbers in clear"
