"""Whether something grows: the slope of its samples, which single peaks do not move.

The slope is the median of those between all pairs of samples (Theil and Sen): up to a
quarter of the samples may be anything.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """How much growth of a run is none: a share of the middle, at least ``floor``.

    Examples
    --------
    >>> Limit(share=0.1, floor=5.0).of([100.0, 100.0, 102.0])
    10.0
    >>> Limit(share=0.1, floor=5.0).of([1.0, 1.0, 2.0])
    5.0
    """

    share: float = 0.0
    floor: float = 0.0

    def of(self, samples: Sequence[float]) -> float:
        """Give the growth that samples may show."""
        return max(self.share * statistics.median(samples), self.floor)


def growth(samples: Sequence[float]) -> float:
    """Give by how much evenly spaced samples grow from the first to the last.

    Examples
    --------
    >>> growth([1.0, 2.0, 3.0, 4.0])
    3.0
    >>> growth([5.0, 5.0, 500.0, 5.0, 5.0])
    0.0
    """
    slopes = [
        (later - earlier) / (after - before)
        for (before, earlier), (after, later) in combinations(enumerate(samples), 2)
    ]
    return statistics.median(slopes) * (len(samples) - 1) if slopes else 0.0
