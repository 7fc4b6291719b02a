"""One seed, one story: a trio run whose every choice follows from a number.

trio shuffles the tasks of each scheduler pass on purpose. For simulation its private
generator is seeded and its batches are put in order first; deadlines that fall together
are told apart by the order of their making instead of by an address. Nothing of this
touches a run that is not inside ``deterministic``.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import trio._core._run

# These are private parts, used on purpose; a test runs one seed twice and compares.
_scheduler: Any = trio._core._run


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
