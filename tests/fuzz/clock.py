"""The time that decoding takes inside fuzz targets, apart from what they check."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

D = TypeVar("D")
R = TypeVar("R")


class Clock:
    """Notes the longest decode since it was last asked."""

    def __init__(self) -> None:
        self._longest_s = 0.0

    def timed(self, decode: Callable[[D], R], data: D) -> R:
        """Decode, and note how long the processor was busy with it."""
        start = time.thread_time()
        try:
            return decode(data)
        finally:
            self._longest_s = max(self._longest_s, time.thread_time() - start)

    def take_longest_s(self) -> float:
        """Give the longest decode, and begin anew."""
        longest_s, self._longest_s = self._longest_s, 0.0
        return longest_s


CLOCK = Clock()
"""The clock of this process."""
