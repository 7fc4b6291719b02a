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
async def world(nursery: trio.Nursery) -> AsyncIterator[World]:
    """A network of two terminals, one switch and two issuers."""
    network = World()
    await nursery.start(network.run)
    yield network
    verdict = await settle(network)
    assert verdict.is_settled, verdict.describe()


Run = Callable[[World], Awaitable[None]]


@pytest.fixture
async def run(nursery: trio.Nursery) -> AsyncIterator[Run]:
    """Starts worlds with settings of their own, audited when the test is over."""
    running: list[World] = []

    async def start(network: World) -> None:
        await nursery.start(network.run)
        running.append(network)

    yield start
    for each in running:
        verdict = await settle(each)
        assert verdict.is_settled, verdict.describe()
