"""Every store there is, for the tests of what they all promise."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from isoswitch.store.disk import MemoryDisk
from isoswitch.store.memory import open_memory_store
from isoswitch.store.port import Store
from isoswitch.store.postgres.store import open_postgres_store
from isoswitch.store.sqlite import open_sqlite_store
from tests.postgres import new_database

Open = Callable[[], AbstractAsyncContextManager[Store]]


@pytest.fixture(params=["sqlite", "memory", "postgres"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Open the same store as often as wanted."""
    if request.param == "postgres":
        url = new_database(request.getfixturevalue("postgres"))
        return lambda: open_postgres_store(url)
    disk = MemoryDisk()
    return {
        "sqlite": lambda: open_sqlite_store(tmp_path / "store.db"),
        "memory": lambda: open_memory_store(disk),
    }[request.param]


@pytest.fixture
async def store(open_store: Open) -> AsyncIterator[Store]:
    """Open an empty store."""
    async with open_store() as opened:
        yield opened
