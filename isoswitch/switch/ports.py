"""What stands between the switch and the world, so that a simulation can replace it.

Deadlines use trio's clock everywhere; ``Clock`` gives the times that are written down.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """The time of records and messages."""

    def now(self) -> datetime:
        """Give the time, aware, in UTC."""
        ...


class Random(Protocol):
    """The chance that jitter is drawn from."""

    def random(self) -> float:
        """Give a number from 0 up to 1."""
        ...


class SystemClock:
    """The clock of the machine."""

    def now(self) -> datetime:
        """Give the time, aware, in UTC."""
        return datetime.fromtimestamp(time.time(), UTC)


def iso_time(moment: datetime) -> str:
    """Write a moment as records do: UTC, microseconds, ``Z``.

    Examples
    --------
    >>> iso_time(datetime(2026, 1, 2, 3, 4, 5, 6, UTC))
    '2026-01-02T03:04:05.000006Z'
    """
    # Without the offset, which is that of UTC.
    return moment.isoformat(timespec="microseconds")[:26] + "Z"
