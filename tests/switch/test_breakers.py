"""What was seen of endpoints outlives a reload as far as it means the same after it."""

from __future__ import annotations

import pytest
import trio

from isoswitch.routing.health import BreakerState, EndpointState, HealthPolicy
from isoswitch.simulators.world import World
from isoswitch.switch.breakers import Breakers

POLICY = HealthPolicy(failures_max=3, open_s=30.0, window_s=60.0, samples_min=1)
SPARED = EndpointState(breaker=BreakerState.OPEN, score=0)


@pytest.mark.parametrize(
    ("after", "seen"),
    [
        pytest.param(POLICY, SPARED, id="the same"),
        pytest.param(
            HealthPolicy(failures_max=3, window_s=3600.0, samples_min=1),
            EndpointState(breaker=BreakerState.OPEN),
            id="another window",
        ),
        pytest.param(
            HealthPolicy(failures_max=0, window_s=60.0, samples_min=1),
            EndpointState(score=0),
            id="no breaker",
        ),
    ],
)
async def test_a_reload_keeps_what_still_means_the_same(
    nursery: trio.Nursery, after: HealthPolicy, seen: EndpointState
) -> None:
    world = World()
    await nursery.start(world.run)
    assert world.switch is not None
    before = Breakers(world.switch.links, POLICY)
    for _ in range(POLICY.failures_max):
        before.answered("north", is_success=False)
    now = Breakers(world.switch.links, after)
    now.adopt(before)
    assert now.states()["north"] == seen
