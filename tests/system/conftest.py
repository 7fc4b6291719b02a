"""A running network for each test, audited when the test is over."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from inspect import iscoroutinefunction
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from isoswitch.simulators.swarm import settle
from isoswitch.simulators.world import World
from isoswitch.store.inspection import inspect_store
from tests.store.copying import copy_disk


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Run every test of this folder on the virtual clock."""
    for item in items:
        is_ours = Path(__file__).parent in item.path.parents
        if is_ours and iscoroutinefunction(getattr(item, "obj", None)):
            item.add_marker(pytest.mark.trio(run=run_virtual), append=False)


def run_virtual(
    test: Callable[[], Awaitable[None]],
    *,
    clock: trio.abc.Clock | None = None,
    instruments: Sequence[trio.abc.Instrument] = (),
) -> None:
    """Run a test under a clock that jumps whenever everybody waits."""
    jumping = clock or MockClock(autojump_threshold=0)
    trio.run(test, clock=jumping, instruments=instruments)


@pytest.fixture
async def world(nursery: trio.Nursery, tmp_path: Path) -> AsyncIterator[World]:
    """A network of two terminals, one switch and two issuers."""
    network = World()
    await nursery.start(network.run)
    yield network
    await _audit(network, tmp_path)


Run = Callable[[World], Awaitable[None]]


@pytest.fixture
async def run(nursery: trio.Nursery, tmp_path: Path) -> AsyncIterator[Run]:
    """Starts worlds with settings of their own, audited when the test is over."""
    running: list[World] = []

    async def start(network: World) -> None:
        await nursery.start(network.run)
        running.append(network)

    yield start
    for each in running:
        await _audit(each, tmp_path)


async def _audit(network: World, folder: Path) -> None:
    """Compare all sides of a network when it is at rest, and inspect its store.

    The inspection raises no alarm before that, either.
    """
    _inspect(network, folder / f"{id(network)}-busy.db")
    verdict = await settle(network)
    assert verdict.is_settled, verdict.describe()
    _inspect(network, folder / f"{id(network)}-settled.db")


def _inspect(network: World, path: Path) -> None:
    copy_disk(network.disk, path)
    assert inspect_store(path).findings == ()
