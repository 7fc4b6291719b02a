"""Nodes that share a PostgreSQL are killed and frozen, and lose their database.

Three switch processes serve the same ports. Each is killed in turn, one is frozen until
the others have taken over and then woken, one is parted from the store and then not any
more, and at last the database's primary dies with a synchronous standby to take its
place. Customers pay all the time. Then terminals,
store, journal and issuers' books are compared transaction by transaction.
``make drills ROUNDS=10`` does it more often than a run of all tests.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from isoswitch.commands.database import LocalServer
from isoswitch.commands.processes import Part, own_command, parts_of
from isoswitch.config.load import STORE_URL, LoadedNetwork
from isoswitch.store.place import DatabaseUrl
from tests.live.conftest import Tell
from tests.live.drill import PARTS, Drill, drilled
from tests.live.partition import Way, way_to
from tests.live.takeovers import assert_agreed, boot_of, gives_up, taken_over
from tests.postgres import (
    new_database,
    promote,
    running_server,
    start_standby,
    temporary_folder,
)

pytestmark = pytest.mark.live

ROUNDS = int(os.environ.get("ISOSWITCH_ROUNDS", "1"))
NODES = (1, 2, 3)
WORK_S = 1.5


def three_nodes(loaded: LoadedNetwork) -> tuple[Part, ...]:
    """Give the parts of a network of three nodes."""
    portal = loaded.network.portal
    assert portal is not None, "the packaged network has one"
    nodes = [
        Part(
            name=f"node{number}",
            command=own_command(
                "serve", "--config", str(loaded.path), "--worker", str(number)
            ),
            opens=((portal.host, portal.port + number - 1),),
        )
        for number in NODES
    ]
    others = [part for part in parts_of(loaded) if part.name in PARTS[:2]]
    return (*others, *nodes)


@contextmanager
def primary_and_standby() -> Iterator[tuple[LocalServer, LocalServer, DatabaseUrl]]:
    """Run a server and one that has every commit before it is answered."""
    with (
        temporary_folder() as folder,
        running_server(folder / "a") as primary,
    ):
        there = new_database(primary).reveal()
        standby = start_standby(primary, folder / "b")
        try:
            both = f"host={primary.folder},{standby.folder}"
            url = there.replace(f"host={primary.folder}", both)
            yield primary, standby, DatabaseUrl(url)
        finally:
            standby.stop("immediate")


async def test_nodes_that_die_freeze_or_lose_their_database_lose_no_money(
    tmp_path: Path, tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    takeovers: list[float] = []
    with primary_and_standby() as (primary, standby, url):
        monkeypatch.setenv(STORE_URL, url.reveal())
        async with drilled(tmp_path, parts=three_nodes, customers_count=2) as drill:
            for _ in range(ROUNDS):
                for number in NODES:
                    await trio.sleep(WORK_S)
                    takeovers.append(await kill(drill, number))
                await trio.sleep(WORK_S)
                takeovers.append(await freeze(drill, NODES[0]))
                with way_to(primary.folder, url.reveal()) as (way, there):
                    monkeypatch.setenv(STORE_URL, there)
                    await drill.processes.kill("node2")
                    await drill.processes.start("node2")
                    monkeypatch.setenv(STORE_URL, url.reveal())
                    await drill.wait_ready(2)
                    await trio.sleep(WORK_S)
                    takeovers.append(await part(drill, 2, way))
            await trio.sleep(WORK_S)
            primary.stop("immediate")
            promote(standby)
            for number in NODES:
                await drill.wait_ready(number)
            await trio.sleep(WORK_S)
        assert_agreed(drill, takeovers, tell)


async def kill(drill: Drill, number: int) -> float:
    """Kill a node, wait until the others have taken over, and start it again."""
    boot = await boot_of(drill, number)
    await drill.processes.kill(f"node{number}")
    taken_s = await taken_over(drill, boot)
    await drill.processes.start(f"node{number}")
    await drill.wait_ready(number)
    drill.kills["node"] += 1
    return taken_s


async def part(drill: Drill, number: int, way: Way) -> float:
    """Part a node from the store until the others have taken over; it must give up."""
    name = f"node{number}"
    boot = await boot_of(drill, number)
    way.is_open.clear()
    taken_s = await taken_over(drill, boot)
    way.is_open.set()
    await gives_up(drill, name)
    await drill.wait_ready(number)
    drill.kills["parted"] += 1
    return taken_s


async def freeze(drill: Drill, number: int) -> float:
    """Freeze a node until the others have taken over; woken, it must give up."""
    name = f"node{number}"
    boot = await boot_of(drill, number)
    pid = drill.processes.pid_of(name)
    os.kill(pid, signal.SIGSTOP)
    taken_s = await taken_over(drill, boot)
    os.kill(pid, signal.SIGCONT)
    await gives_up(drill, name)
    await drill.wait_ready(number)
    drill.kills["frozen"] += 1
    return taken_s
