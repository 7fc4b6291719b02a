"""When requests are due: rates that are held or change evenly, one stage on another."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A time in which the rate goes evenly from one number a second to another."""

    seconds: float
    begin_per_s: float
    end_per_s: float

    @property
    def count(self) -> float:
        """How many requests become due, and the fraction of the next."""
        return self.seconds * (self.begin_per_s + self.end_per_s) / 2

    def seconds_to(self, count: float) -> float:
        """Give the time after which so many are due."""
        # The count is begin * t + slope / 2 * t^2; this form of its root also serves
        # a slope of zero and a begin of zero.
        slope = (self.end_per_s - self.begin_per_s) / self.seconds
        root = math.sqrt(max(self.begin_per_s**2 + 2 * slope * count, 0.0))
        divisor = self.begin_per_s + root
        return 2 * count / divisor if divisor else 0.0


def make_stages(
    rates: Sequence[float], *, hold_s: float, ramp_s: float
) -> tuple[Stage, ...]:
    """Rise to each rate from the one before it, and hold each.

    Examples
    --------
    >>> stages = make_stages([100, 300], hold_s=60, ramp_s=10)
    >>> [(each.seconds, each.begin_per_s, each.end_per_s) for each in stages]
    [(10, 0.0, 100), (60, 100, 100), (10, 100, 300), (60, 300, 300)]
    """
    stages, before = [], 0.0
    for rate in rates:
        if ramp_s:
            stages.append(Stage(seconds=ramp_s, begin_per_s=before, end_per_s=rate))
        stages.append(Stage(seconds=hold_s, begin_per_s=rate, end_per_s=rate))
        before = rate
    return tuple(stages)


def due_times(stages: Sequence[Stage]) -> Iterator[float]:
    """Give when each request is due, in seconds from the beginning.

    Examples
    --------
    >>> list(due_times([Stage(seconds=1.0, begin_per_s=4, end_per_s=4)]))
    [0.0, 0.25, 0.5, 0.75]
    """
    began_s = reached = 0.0
    number = 0
    for stage in stages:
        while number < reached + stage.count:
            yield began_s + stage.seconds_to(number - reached)
            number += 1
        reached += stage.count
        began_s += stage.seconds
