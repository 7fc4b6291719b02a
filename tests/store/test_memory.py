"""The store of simulated worlds: virtual time, crashes, and the same run twice."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from isoswitch.codecs.canonical.errors import StoreUnavailable
from isoswitch.journal.chain import walk_chain
from isoswitch.store.disk import MemoryDisk
from isoswitch.store.memory import MemoryStore, open_memory_store
from isoswitch.store.port import Committed
from tests.store.units import closing, opening

DELAY_S = 0.010


@pytest.fixture
def disk() -> MemoryDisk:
    """Make an empty disk."""
    return MemoryDisk()


def _slow(disk: MemoryDisk) -> MemoryStore:
    return MemoryStore(disk, delay_s=lambda: DELAY_S)


async def test_a_batch_takes_its_time_twice(
    disk: MemoryDisk, autojump_clock: MockClock
) -> None:
    async with open_memory_store(disk, delay_s=lambda: DELAY_S) as store:
        await store.commit(opening("1"))
    assert trio.current_time() == pytest.approx(2 * DELAY_S)


async def test_what_arrives_during_a_commit_shares_the_next_one(
    disk: MemoryDisk, autojump_clock: MockClock
) -> None:
    store = _slow(disk)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.commit, opening("0"))
        await trio.sleep(DELAY_S / 2)
        for number in range(1, 100):
            nursery.start_soon(store.commit, opening(str(number)))
    assert trio.current_time() == pytest.approx(4 * DELAY_S)
    assert walk_chain(disk.links).last_seq == 200


@pytest.mark.parametrize(
    ("crash_after_s", "durable"),
    [(0.5 * DELAY_S, 0), (1.5 * DELAY_S, 2), (2.5 * DELAY_S, 2), (3.5 * DELAY_S, 4)],
    ids=["before", "durable-not-told", "second-before", "second-not-told"],
)
async def test_a_crash_loses_what_is_not_durable_and_nothing_else(
    disk: MemoryDisk,
    autojump_clock: MockClock,
    crash_after_s: float,
    durable: int,
) -> None:
    store = _slow(disk)
    applied: list[int] = []
    store.on_commit(lambda _unit, made: applied.append(made.last_seq))
    heard: list[str] = []

    async def purchase() -> None:
        try:
            for unit in (opening("1"), closing("1")):
                await store.commit(unit)
                heard.append("durable")
        except StoreUnavailable:
            heard.append("dead")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(purchase)
        await trio.sleep(crash_after_s)
        store.crash()
        died_at = trio.current_time()
    assert trio.current_time() == died_at
    assert heard[-1] == "dead"
    assert len(heard) - 1 == len(applied) == int(crash_after_s > 2 * DELAY_S)
    reopened = MemoryStore(disk)
    assert len(await reopened.records()) == durable
    assert walk_chain(disk.links).is_sound


async def test_a_dead_store_accepts_nothing(disk: MemoryDisk) -> None:
    store = MemoryStore(disk)
    store.crash()
    with pytest.raises(StoreUnavailable, match="died"):
        await store.commit(opening("1"))
    assert disk.links == []


async def test_a_reopened_store_goes_on_where_the_disk_ends(
    disk: MemoryDisk, autojump_clock: MockClock
) -> None:
    dead = _slow(disk)
    await dead.commit(opening("1"))
    dead.crash()
    store = MemoryStore(disk)
    assert await store.commit(closing("1")) == Committed(last_seq=4)
    assert walk_chain(disk.links).is_sound


async def test_a_full_disk_refuses_and_recovers(disk: MemoryDisk) -> None:
    store = MemoryStore(disk)
    store.is_full = True
    with pytest.raises(StoreUnavailable, match="full"):
        await store.commit(opening("1"))
    store.is_full = False
    assert await store.commit(opening("1")) == Committed(last_seq=2)


async def test_the_same_work_gives_the_same_journal(
    autojump_clock: MockClock,
) -> None:
    disks = MemoryDisk(), MemoryDisk()
    for disk in disks:
        store = _slow(disk)
        for number in range(20):
            await store.commit(opening(str(number)))
    assert disks[0] == disks[1]
