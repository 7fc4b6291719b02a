"""Latencies counted in buckets whose width grows with them, so that none is lost.

A bucket is at most 1/128 of its latency wide: two significant digits from a microsecond
to an hour in under 4,000 buckets, and recording costs a fifth of a microsecond. The
layout, with 128 buckets for each power of two::

    microseconds   0 .. 255   256, 258 .. 510   512, 516 .. 1020   1024 ..
    width          1          2                 4                  8
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

_BITS = 7
_LINEAR = 1 << (_BITS + 1)


class Histogram:
    """Counts of latencies.

    Examples
    --------
    >>> times = Histogram()
    >>> for latency_ms in range(1, 101):
    ...     times.record(latency_ms / 1000)
    >>> times.count, round(times.percentile_ms(0.5)), round(times.percentile_ms(0.99))
    (100, 50, 99)
    """

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self.max_s = 0.0

    @property
    def count(self) -> int:
        """How many latencies were recorded."""
        return self._counts.total()

    def record(self, latency_s: float) -> None:
        """Count one latency."""
        micros = int(latency_s * 1e6)
        shift = micros.bit_length() - (_BITS + 1)
        if shift > 0:
            micros = (shift << _BITS) + (micros >> shift)
        self._counts[micros] += 1
        self.max_s = max(self.max_s, latency_s)

    def add(self, other: Histogram) -> None:
        """Count everything that another histogram has counted."""
        self._counts.update(other._counts)
        self.max_s = max(self.max_s, other.max_s)

    @property
    def mean_ms(self) -> float:
        """The mean, as well as the buckets tell it; 0 when nothing was recorded."""
        total = sum(_middle_ms(each) * n for each, n in self._counts.items())
        return total / self.count if self._counts else 0.0

    def percentile_ms(self, share: float) -> float:
        """Give the latency that this share of all stayed under; 0 when there is none.

        The share 1 gives the largest, exactly.
        """
        wanted = share * self.count
        reached = 0
        for bucket in sorted(self._counts):
            reached += self._counts[bucket]
            if reached >= wanted and share < 1:
                return min(_middle_ms(bucket), self.max_s * 1000)
        return self.max_s * 1000

    def spectrum(self) -> Iterator[tuple[float, float]]:
        """Give, for each bucket in use, the share up to it and its milliseconds."""
        total, reached = self.count, 0
        for bucket in sorted(self._counts):
            reached += self._counts[bucket]
            yield reached / total, _middle_ms(bucket)


def _middle_ms(bucket: int) -> float:
    """Give the middle of a bucket in milliseconds."""
    if bucket < _LINEAR:
        return (bucket + 0.5) / 1000
    # The first bucket of a power of two has the number 128 * (shift + 1).
    shift = (bucket >> _BITS) - 1
    low = (bucket - (shift << _BITS)) << shift
    return (low + (1 << shift) / 2) / 1000
