"""Callbacks are repeated until heard, for a day."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise

import pytest
import trio
import trio.testing

from isoswitch.store.disk import MemoryDisk
from isoswitch.store.memory import open_memory_store
from isoswitch.store.port import UnitOfWork
from isoswitch.store.rows import Callback, CallbackState, RowMove
from isoswitch.switch.callbacks import (
    AT_ONCE_FOR_ONE,
    GIVEN_UP_AFTER_S,
    Deliver,
    call_back_forever,
    forget_forever,
)

EPOCH = datetime(2026, 6, 1, tzinfo=UTC)
AT = EPOCH.timestamp()
OWED = Callback(
    id="1-1.succeeded",
    merchant_id="M1",
    transaction_id="1-1",
    body="{}",
    created_at=AT,
    next_at=AT,
    expires_at=AT + GIVEN_UP_AFTER_S,
)


class TrioClock:
    """A wall clock that goes with trio's."""

    def __init__(self) -> None:
        self.began_at = trio.current_time()

    def now(self) -> datetime:
        """Give the time."""
        return EPOCH + timedelta(seconds=trio.current_time() - self.began_at)


@asynccontextmanager
async def calling_back(
    rows: Sequence[Callback],
    deliver: Deliver,
    *,
    may_send: Callable[[], bool] = lambda: True,
) -> AsyncIterator[MemoryDisk]:
    """Have what is owed be sent while the block runs, on a clock that begins now."""
    disk, clock = MemoryDisk(), TrioClock()
    moves = tuple(RowMove(expect=None, row=row) for row in rows)
    run = partial(call_back_forever, may_send=may_send)
    async with open_memory_store(disk) as store, trio.open_nursery() as nursery:
        await store.commit(UnitOfWork(records=(), rows=moves))
        nursery.start_soon(run, store, clock, deliver)
        yield disk
        nursery.cancel_scope.cancel()


async def attempts_of(*answers: str, lasts_s: float) -> tuple[list[float], Callback]:
    """Give when a callback was sent to a merchant that answers so, and its end."""
    waiting, times = list(answers), []

    async def deliver(callback: Callback) -> str:
        assert callback.id == OWED.id
        times.append(trio.current_time() - clock.began_at)
        return waiting.pop(0) if waiting else ""

    clock = TrioClock()
    async with calling_back([OWED], deliver) as disk:
        await trio.sleep(lasts_s)
    end = disk.rows[Callback, OWED.id]
    assert isinstance(end, Callback)
    return times, end


async def test_what_was_heard_is_not_sent_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    times, end = await attempts_of("away", "away", lasts_s=3600)
    assert times == pytest.approx([0.0, 2.0, 6.0], abs=1.1)
    assert (end.state, end.attempts) == (CallbackState.DELIVERED, 3)


async def test_pauses_grow_to_an_hour_and_end_after_a_day(
    autojump_clock: trio.testing.MockClock,
) -> None:
    times, end = await attempts_of(*["HTTP 503"] * 1000, lasts_s=25 * 3600)
    pauses = [later - at for at, later in pairwise(times)]
    assert pauses[:3] == pytest.approx([2.0, 4.0, 8.0], abs=1.1)
    assert max(pauses) == pytest.approx(3600, abs=1.1)
    assert times[-1] == pytest.approx(GIVEN_UP_AFTER_S, abs=3601)
    assert (end.state, end.reason) == (CallbackState.GIVEN_UP, "HTTP 503")


async def test_a_server_that_hangs_delays_no_other_merchant(
    autojump_clock: trio.testing.MockClock,
) -> None:
    clock, under_way, most = TrioClock(), 0, 0
    heard: list[float] = []

    async def deliver(callback: Callback) -> str:
        nonlocal under_way, most
        if callback.id == OWED.id:
            heard.append(trio.current_time() - clock.began_at)
            return "away"
        under_way += 1
        most = max(under_way, most)
        await trio.sleep(10)
        under_way -= 1
        return "no answer"

    hanging = [replace(OWED, id=f"1-{n}", merchant_id="M2") for n in range(2, 500)]
    async with calling_back((*hanging, OWED), deliver):
        await trio.sleep(20)
    assert heard == pytest.approx([0.0, 2.0, 6.0, 14.0], abs=1.1)
    assert most == 1


async def test_only_who_heard_the_last_one_is_sent_several_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    under_way, counts = 0, []

    async def deliver(callback: Callback) -> str:
        nonlocal under_way
        under_way += 1
        counts.append(under_way)
        is_down = len(counts) > 50
        await trio.sleep(10)
        under_way -= 1
        return "no answer" if is_down else ""

    rows = [replace(OWED, id=f"1-{n}") for n in range(1, 101)]
    async with calling_back(rows, deliver):
        await trio.sleep(300)
    assert (counts[0], max(counts)) == (1, AT_ONCE_FOR_ONE)
    # Who finishes first of eight at the turn decides how many the next round has.
    assert set(counts[70:]) == {1}


async def test_a_hundred_servers_that_hang_delay_no_other_merchant(
    autojump_clock: trio.testing.MockClock,
) -> None:
    clock = TrioClock()
    heard: list[float] = []

    async def deliver(callback: Callback) -> str:
        if callback.id == OWED.id:
            heard.append(trio.current_time() - clock.began_at)
            return ""
        await trio.sleep(10)
        return "no answer"

    hanging = [
        replace(OWED, id=f"1-{n}", merchant_id=f"H{n % 100}") for n in range(2, 1000)
    ]
    late = replace(OWED, next_at=AT + 5)
    async with calling_back((*hanging, late), deliver):
        await trio.sleep(60)
    assert heard == pytest.approx([5.0], abs=1.1)


async def test_who_lost_the_lease_sends_nothing_that_waits(
    autojump_clock: trio.testing.MockClock,
) -> None:
    sent: list[float] = []
    began_at = trio.current_time()

    def may_send() -> bool:
        return not 15 < trio.current_time() - began_at < 100

    async def deliver(callback: Callback) -> str:
        sent.append(trio.current_time() - began_at)
        await trio.sleep(10)
        return ""

    rows = [replace(OWED, id=f"1-{n}") for n in range(1, 101)]
    async with calling_back(rows, deliver, may_send=may_send) as disk:
        await trio.sleep(99)
        assert len(sent) == 1 + AT_ONCE_FOR_ONE
        # It has the lease again, and what it let go is not forgotten.
        await trio.sleep(300)
    assert len(sent) == 100
    states = {row.state for row in disk.rows.values() if isinstance(row, Callback)}
    assert states == {CallbackState.DELIVERED}


async def test_a_callback_that_hangs_delays_no_other_of_its_merchant(
    autojump_clock: trio.testing.MockClock,
) -> None:
    clock = TrioClock()
    heard: list[float] = []

    async def deliver(callback: Callback) -> str:
        if callback.id == "1-2":
            await trio.sleep_forever()
        heard.append(trio.current_time() - clock.began_at)
        return ""

    later = [replace(OWED, id=f"1-{n}", next_at=AT + 2 * n) for n in range(2, 5)]
    async with calling_back((OWED, *later), deliver):
        await trio.sleep(100)
    assert heard == pytest.approx([0.0, 6.0, 8.0], abs=1.1)


async def test_what_has_ended_is_forgotten_in_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    clock, disk = TrioClock(), MemoryDisk()
    told = replace(OWED, id="1-1.failed", state=CallbackState.DELIVERED)
    async with open_memory_store(disk) as store, trio.open_nursery() as nursery:
        moves = tuple(RowMove(expect=None, row=row) for row in (OWED, told))
        await store.commit(UnitOfWork(records=(), rows=moves))
        nursery.start_soon(partial(forget_forever, store, clock, kept_s=100.0))
        await trio.sleep(95)
        assert len(disk.rows) == 2
        await trio.sleep(20)
        assert list(disk.rows) == [(Callback, OWED.id)]
        nursery.cancel_scope.cancel()
