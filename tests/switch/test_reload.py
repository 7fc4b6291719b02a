"""Other addresses for endpoints that connect to us, on real sockets."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random
from typing import Any

import pytest
import trio

from isoswitch.codecs.canonical.errors import ConfigError
from isoswitch.simulators.world import World
from isoswitch.store.disk import MemoryDisk
from isoswitch.store.memory import MemoryStore
from isoswitch.switch.differences import Configuration
from isoswitch.switch.links import Link
from isoswitch.switch.linkstate import LinkState
from isoswitch.switch.ports import SystemClock
from isoswitch.switch.reload import Reloader
from isoswitch.switch.server import Switch
from isoswitch.switch.settings import Role, SignOn
from isoswitch.switch.sockets import listen_tcp, open_tcp
from tests.live.live_network import wait_until

HERE, NEXT_DOOR = "127.0.0.1", "127.0.0.2"


class Site:
    """A switch that north connects to, and the files that it reads again."""

    def __init__(self, port: int) -> None:
        world = World()
        north = replace(
            world.settings.endpoints["north"],
            role=Role.SERVER,
            sign_on=SignOn.NOBODY,
            host=HERE,
            port=port,
            peers=("127.0.0.0/8",),
        )
        settings = replace(world.settings, endpoints={"north": north}, listeners=())
        self._files = Configuration(
            settings=settings, routing=world.routing, lasting={}, digests={}
        )
        self.switch = Switch(
            settings,
            store=MemoryStore(MemoryDisk()),
            hsm=world.hsm,
            routing=world.routing,
            clock=SystemClock(),
            random=Random(1),
        )
        self.reloader = Reloader(self.switch, self._files, self._load)

    async def move(self, **changes: Any) -> None:
        """Have north connect to another address."""
        settings = self._files.settings
        north = replace(settings.endpoints["north"], **changes)
        settings = replace(settings, endpoints={"north": north})
        self._files = replace(self._files, settings=settings)
        await self.reloader.reload(operator="ann")

    @property
    def link(self) -> Link:
        """The link that north is to connect to."""
        return self.switch.links["north"]

    async def connect(self, host: str, port: int) -> None:
        """Connect as north does."""
        stream = await open_tcp(host, port)
        await wait_until(lambda: self.link.is_up, "a link that carries money")
        await stream.aclose()

    async def _load(self) -> Configuration:
        return self._files


@asynccontextmanager
async def running() -> AsyncIterator[tuple[Site, int]]:
    """Run a site, and tell the port of north."""
    port = free_port()
    site = Site(port)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(site.reloader.run)
        await nursery.start(site.switch.run)
        yield site, port
        nursery.cancel_scope.cancel()


def free_port() -> int:
    """Give a port that nobody has."""
    with socket.create_server((HERE, 0)) as door:
        port: int = door.getsockname()[1]
        return port


async def test_an_endpoint_connects_to_its_new_address() -> None:
    async with running() as (site, before):
        after = free_port()
        await site.move(port=after)
        await site.connect(HERE, after)
        with pytest.raises(OSError, match="failed"):
            await open_tcp(HERE, before)


async def test_an_address_that_is_taken_changes_nothing() -> None:
    async with running() as (site, before):
        with (
            listen_tcp(HERE, 0) as taken,
            pytest.raises(ConfigError, match="nothing was changed"),
        ):
            await site.move(port=taken.getsockname()[1])
        await site.connect(HERE, before)


async def test_an_address_that_cannot_be_tried_before_is_tried_until_it_is_free() -> (
    None
):
    """The next address has the port of the one before."""
    async with running() as (site, port):
        with listen_tcp(NEXT_DOOR, port):
            await site.move(host=NEXT_DOOR)
            told = "cannot be opened"
            await wait_until(lambda: told in site.link.status().reason, told)
            assert site.link.state is LinkState.DOWN
        await wait_until(site.link.attempted.is_set, "open door")
        await site.connect(NEXT_DOOR, port)
