"""One seed, one story: a trio run whose every choice follows from a number.

trio shuffles the tasks of each scheduler pass on purpose. For simulation its private
generator is seeded and its batches are put in order first; deadlines that fall together
are told apart by the order of their making instead of by an address. Nothing of this
touches a run that is not inside ``deterministic``.

`VirtualClock` gives such a run its time. Nothing outside it can wake anybody, so the
clock jumps in the moment in which everybody waits, without looking at the world first;
the operating system is asked for events only now and then, for who presses Ctrl-C. It
also lets tasks sleep at a fifth of the price: trio makes a cancel scope for each
sleep and raises `Cancelled` to end it, and a story sleeps thousands of times.
"""

from __future__ import annotations

import heapq
import itertools
import math
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import psec.tr31
import trio
import trio._core._run

# Passes of the scheduler; there are some ten thousand in a second.
LOOK_OUTSIDE_EVERY = 256

# These are private parts, used on purpose; a test runs one seed twice and compares.
_scheduler: Any = trio._core._run
_secrets: Any = secrets
_key_blocks: Any = psec.tr31


class VirtualClock(trio.abc.Clock):
    """Time that stands still while anybody works and jumps when everybody waits."""

    def __init__(self) -> None:
        self._now = 0.0
        self._order = itertools.count()
        # A sleeper that is cancelled leaves an empty place.
        self._sleepers: list[tuple[float, int, list[trio.lowlevel.Task]]] = []

    def start_clock(self) -> None:
        """Do nothing: time begins at zero."""

    def current_time(self) -> float:
        """Give the seconds since the run began."""
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Jump to the next deadline; the scheduler asks when nobody can run."""
        sleepers = self._sleepers
        while sleepers and not sleepers[0][2]:
            heapq.heappop(sleepers)
        deadline = min(deadline, sleepers[0][0] if sleepers else math.inf)
        if deadline == math.inf:
            # Only the scheduler's own end comes here; its wake-up is a real event.
            return math.inf
        self._now = max(self._now, deadline)
        while sleepers and sleepers[0][0] <= self._now:
            for task in heapq.heappop(sleepers)[2]:
                trio.lowlevel.reschedule(task)
        return 0.0

    async def sleep(self, seconds: float) -> None:
        """Sleep as `trio.sleep` does."""
        if seconds < 0:
            msg = "nobody can sleep for less than no time"
            raise ValueError(msg)
        await self.sleep_until(self._now + seconds)

    async def sleep_until(self, deadline: float) -> None:
        """Sleep as `trio.sleep_until` does."""
        if deadline <= self._now:
            await trio.lowlevel.checkpoint()
            return
        place = [trio.lowlevel.current_task()]
        heapq.heappush(self._sleepers, (deadline, next(self._order), place))

        def abort(_: object) -> trio.lowlevel.Abort:
            place.clear()
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)


@contextmanager
def deterministic(seed: int) -> Iterator[VirtualClock]:
    """Make the trio run inside the block, on the clock it gives, repeat itself."""
    clock = VirtualClock()
    flag = _scheduler._ALLOW_DETERMINISTIC_SCHEDULING
    chance = _scheduler._r.getstate()
    add = _scheduler.Deadlines.add
    get_events = _scheduler.TheIOManager.get_events
    sleep, sleep_until = trio.sleep, trio.sleep_until
    system_chance, block_filler = _secrets._sysrand, _key_blocks._urandom
    order, passes = itertools.count(), itertools.count()

    def add_in_order(deadlines: Any, deadline: float, scope: trio.CancelScope) -> None:
        heapq.heappush(deadlines._heap, (deadline, next(order), scope))
        deadlines._active += 1

    def get_events_rarely(manager: Any, timeout: float) -> Any:
        if timeout == 0 and next(passes) % LOOK_OUTSIDE_EVERY:
            return []
        return get_events(manager, timeout)

    _scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True
    _scheduler.TheIOManager.get_events = get_events_rarely
    _scheduler._r.seed(seed)
    _scheduler.Deadlines.add = add_in_order
    trio.sleep, trio.sleep_until = clock.sleep, clock.sleep_until
    # New working keys show in what is written down: as check values and in MACs. Their
    # key blocks do not, but where a frame is cut decides what of them is read.
    # Not the source of the test keys: what is drawn as a nonce would be one of them.
    chosen = Random(f"secrets {seed}")  # noqa: S311 a simulation repeats its chance
    _secrets._sysrand, _key_blocks._urandom = chosen, chosen.randbytes
    try:
        yield clock
    finally:
        _scheduler._ALLOW_DETERMINISTIC_SCHEDULING = flag
        _scheduler._r.setstate(chance)
        _scheduler.Deadlines.add = add
        _scheduler.TheIOManager.get_events = get_events
        trio.sleep, trio.sleep_until = sleep, sleep_until
        _secrets._sysrand, _key_blocks._urandom = system_chance, block_filler
