"""One seed, one story: a trio run whose every choice follows from a number.

trio shuffles the tasks of each scheduler pass on purpose. For simulation its private
generator is seeded and its batches are put in order first; deadlines that fall together
are told apart by the order of their making instead of by an address. Nothing of this
touches a run that is not inside ``deterministic``.

`VirtualClock` gives such a run its time. Nothing outside it can wake anybody, so the
clock jumps in the moment in which everybody waits, without looking at the world first.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import trio._core._run

# These are private parts, used on purpose; a test runs one seed twice and compares.
_scheduler: Any = trio._core._run


class VirtualClock(trio.abc.Clock):
    """Time that stands still while anybody works and jumps when everybody waits."""

    def __init__(self) -> None:
        self._now = 0.0

    def start_clock(self) -> None:
        """Do nothing: time begins at zero."""

    def current_time(self) -> float:
        """Give the seconds since the run began."""
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Jump to the next deadline; the scheduler asks when nobody can run."""
        if deadline == math.inf:
            # Only the scheduler's own end comes here; its wake-up is a real event.
            return math.inf
        self._now = max(self._now, deadline)
        return 0.0


@contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """Make the trio runs inside the block repeat themselves exactly."""
    flag = _scheduler._ALLOW_DETERMINISTIC_SCHEDULING
    chance = _scheduler._r.getstate()
    add = _scheduler.Deadlines.add
    order = itertools.count()

    def add_in_order(deadlines: Any, deadline: float, scope: trio.CancelScope) -> None:
        heapq.heappush(deadlines._heap, (deadline, next(order), scope))
        deadlines._active += 1

    _scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True
    _scheduler._r.seed(seed)
    _scheduler.Deadlines.add = add_in_order
    try:
        yield
    finally:
        _scheduler._ALLOW_DETERMINISTIC_SCHEDULING = flag
        _scheduler._r.setstate(chance)
        _scheduler.Deadlines.add = add
