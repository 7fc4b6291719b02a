"""The portal over a real socket."""

from __future__ import annotations

from functools import partial

import httpx
import pytest
import trio

from isoswitch.portal.server import serve_portal
from isoswitch.portal.settings import PortalSettings
from isoswitch.simulators.world import World

pytestmark = pytest.mark.live


async def test_a_browser_is_answered_while_the_switch_works(
    nursery: trio.Nursery,
) -> None:
    world = World()
    await nursery.start(world.run)
    assert world.switch is not None
    settings = PortalSettings(host="127.0.0.1", port=0)
    port = await nursery.start(partial(serve_portal, settings, world.switch))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        assert (await client.get("/health/ready")).status_code == 200
        assert "isoswitch_ready 1" in (await client.get("/metrics")).text


async def test_a_taken_port_is_an_error(nursery: trio.Nursery) -> None:
    world = World()
    await nursery.start(world.run)
    assert world.switch is not None
    start = partial(serve_portal, switch=world.switch)
    settings = PortalSettings(host="127.0.0.1", port=0)
    port = await nursery.start(start, settings)
    with pytest.raises(OSError, match="in use"):
        await start(PortalSettings(host="127.0.0.1", port=port))
