"""How long units of work waited until they were durable."""

from __future__ import annotations

from bisect import bisect_left

BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class CommitTimes:
    """A histogram: how many waits were at most so many seconds.

    Examples
    --------
    >>> times = CommitTimes()
    >>> for seconds in (0.0004, 0.003, 7.0):
    ...     times.observe(seconds)
    >>> times.count, times.buckets()[:3], times.buckets()[-1]
    (3, [(0.001, 1), (0.0025, 1), (0.005, 2)], (2.5, 2))
    """

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS_S) + 1)
        self.count = 0
        self.seconds = 0.0

    def observe(self, seconds: float) -> None:
        """Count one wait."""
        self._counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.count += 1
        self.seconds += seconds

    def buckets(self) -> list[tuple[float, int]]:
        """Give for every bound how many waits were no longer."""
        total = 0
        given = []
        for bound, count in zip(BOUNDS_S, self._counts, strict=False):
            total += count
            given.append((bound, total))
        return given
