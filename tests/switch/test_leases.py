"""Who may do what when several nodes share a store, and when nobody may."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from isoswitch.codecs.canonical.errors import StoreUnavailable
from isoswitch.store.disk import MemoryDisk
from isoswitch.store.memory import MemoryStore
from isoswitch.switch.leases import DEAD_AFTER_S, FENCE_AFTER_S, FencedOut, Leases
from isoswitch.switch.ports import SystemClock

CLOCK = SystemClock()


def open_store(disk: MemoryDisk, *, is_shared: bool = True) -> MemoryStore:
    return MemoryStore(disk, is_shared=is_shared)


async def begin(disk: MemoryDisk, node: str) -> Leases:
    """Start a node that wants to drain what is owed to one endpoint."""
    leases = Leases(open_store(disk), node=node)
    leases.want(["saf/north"])
    await leases.begin(CLOCK)
    return leases


@asynccontextmanager
async def running(leases: Leases) -> AsyncIterator[trio.CancelScope]:
    """Keep a node alive for as long as the block runs, or its scope is cancelled."""
    scope = trio.CancelScope()

    async def run() -> None:
        with scope:
            await leases.run()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        yield scope
        nursery.cancel_scope.cancel()


def virtual(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """Run a test on virtual time."""

    def run() -> None:
        trio.run(test, clock=MockClock(autojump_threshold=0))

    run.__name__ = test.__name__
    run.__doc__ = test.__doc__
    return run


@virtual
async def test_one_of_two_nodes_holds_a_lease() -> None:
    disk = MemoryDisk()
    first, second = await begin(disk, "a"), await begin(disk, "b")
    async with running(first), running(second):
        await trio.sleep(60)
        assert first.holds("saf/north") != second.holds("saf/north")
        assert await second.live_boots() == {"1", "2"}


@virtual
async def test_the_lease_of_a_node_that_falls_silent_goes_to_another() -> None:
    disk = MemoryDisk()
    first, second = await begin(disk, "a"), await begin(disk, "b")
    await first.look()
    async with running(first) as life, running(second):
        await trio.sleep(10)
        assert first.holds("saf/north")
        life.cancel()
        await trio.sleep(FENCE_AFTER_S + 0.1)
        # Nobody may act now: the first must not, the second does not know yet.
        assert not first.holds("saf/north")
        assert not second.holds("saf/north")
        await trio.sleep(DEAD_AFTER_S)
        assert second.holds("saf/north")
        assert await second.live_boots() == {"2"}


@virtual
async def test_a_node_that_was_declared_dead_ends() -> None:
    disk = MemoryDisk()
    first, second = await begin(disk, "a"), await begin(disk, "b")
    async with running(second):
        await trio.sleep(DEAD_AFTER_S + 3)
        assert not first.is_alive
        with pytest.raises(FencedOut):
            await first.run()


@virtual
async def test_a_restart_takes_over_from_its_earlier_boot_at_once() -> None:
    disk = MemoryDisk()
    before = await begin(disk, "a")
    await before.look()
    after = await begin(disk, "a")
    await after.look()
    assert after.boot == 2
    assert after.holds("saf/north")
    assert await after.live_boots() == {"2"}


@virtual
async def test_nodes_that_begin_together_have_different_boots() -> None:
    disk = MemoryDisk()
    nodes = [Leases(open_store(disk), node=name) for name in "abcdef"]
    async with trio.open_nursery() as nursery:
        for node in nodes:
            nursery.start_soon(node.begin, CLOCK)
    assert sorted(node.boot for node in nodes) == [1, 2, 3, 4, 5, 6]


@virtual
async def test_what_is_released_is_free_at_once() -> None:
    disk = MemoryDisk()
    first, second = await begin(disk, "a"), await begin(disk, "b")
    await first.look()
    await first.release()
    assert not first.is_alive
    await second.look()
    assert second.holds("saf/north")


@virtual
async def test_what_is_wanted_no_more_is_given_up() -> None:
    disk = MemoryDisk()
    first, second = await begin(disk, "a"), await begin(disk, "b")
    await first.look()
    async with running(first), running(second):
        await trio.sleep(10)
        assert first.holds("saf/north")
        first.want(["saf/south"])
        await trio.sleep(2)
        assert not first.holds("saf/north")
        assert first.holds("saf/south")
        assert second.holds("saf/north")


@virtual
async def test_a_store_that_refuses_fences_its_node_until_it_recovers() -> None:
    disk = MemoryDisk()
    store = open_store(disk)
    leases = Leases(store, node="a")
    await leases.begin(CLOCK)
    async with running(leases):
        store.is_full = True
        await trio.sleep(FENCE_AFTER_S + 1)
        assert not leases.is_alive
        store.is_full = False
        await trio.sleep(3)
        assert leases.is_alive


@virtual
async def test_nodes_that_could_not_renew_together_declare_nobody_dead() -> None:
    disk = MemoryDisk()
    stores = [open_store(disk), open_store(disk)]
    nodes = [Leases(store, node=name) for store, name in zip(stores, "ab", strict=True)]
    for node in nodes:
        await node.begin(CLOCK)
    async with running(nodes[0]), running(nodes[1]):
        await trio.sleep(10)
        for store in stores:
            store.is_full = True
        await trio.sleep(3 * DEAD_AFTER_S)
        for store in stores:
            store.is_full = False
        await trio.sleep(10)
        assert [node.is_alive for node in nodes] == [True, True]


@virtual
async def test_a_node_alone_may_do_everything_and_writes_no_leases() -> None:
    disk = MemoryDisk()
    store = open_store(disk, is_shared=False)
    leases = Leases(store, node="a")
    leases.want(["saf/north"])
    await leases.begin(CLOCK)
    async with running(leases):
        await trio.sleep(60)
        store.is_full = True
        assert leases.holds("saf/north")
        assert await leases.live_boots() == {"1"}
        assert list(disk.leases) == ["boot"]
        with pytest.raises(StoreUnavailable):
            await Leases(store, node="b").begin(CLOCK)


@virtual
async def test_boots_go_on_from_stores_that_had_no_leases() -> None:
    disk = MemoryDisk()
    for _ in range(3):
        await Leases(open_store(disk), node="a").begin(CLOCK)
    disk.leases.clear()
    leases = Leases(open_store(disk), node="a")
    await leases.begin(CLOCK)
    assert leases.boot == 4


@virtual
async def test_a_node_that_has_given_up_its_leases_stays_silent() -> None:
    disk = MemoryDisk()
    first, second = await begin(disk, "a"), await begin(disk, "b")
    async with running(first), running(second):
        await trio.sleep(10)
        await first.release()
        await trio.sleep(10)
        assert not first.is_alive
        assert await second.live_boots() == {"2"}
        assert second.holds("saf/north")
