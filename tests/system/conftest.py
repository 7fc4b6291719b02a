"""A running network for each test, audited when the test is over."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock

from isoswitch.simulators.auditor import Verdict, audit, view_store
from isoswitch.simulators.world import World

SETTLE_S = 300.0


async def settled(world: World) -> Verdict:
    """Let everything that is under way come to rest, and audit all sides."""
    deadline = trio.current_time() + SETTLE_S
    while True:
        assert world.store is not None
        verdict = audit(
            view=await view_store(world.store),
            bookings={name: each.bookings for name, each in world.issuers.items()},
            beliefs=[b for t in world.terminals.values() for b in t.beliefs],
        )
        if verdict.is_settled or trio.current_time() > deadline:
            return verdict
        await trio.sleep(1.0)


@pytest.fixture
async def world(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> AsyncIterator[World]:
    """A network of two terminals, one switch and two issuers."""
    network = World()
    await nursery.start(network.run)
    yield network
    verdict = await settled(network)
    assert verdict.is_settled, verdict.describe()
