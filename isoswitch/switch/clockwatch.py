"""Whether the wall clock goes as the monotonic clock goes.

Deadlines are monotonic and records carry wall time, so a wall clock that jumps breaks
no timer. It dates money wrongly, though: local times, trace numbers of a day, the
business date. Small steps and drift are followed, as time daemons make them; a jump
leaves the clock in doubt until it comes back or an operator confirms the new time.
"""

from __future__ import annotations


class ClockWatch:
    """Compares the two clocks whenever somebody looks.

    Examples
    --------
    >>> watch = ClockWatch(jump_s=30.0)
    >>> [watch.look(wall_s, at) for wall_s, at in ((100, 0), (111, 10), (3711, 10))]
    [0.0, 0.0, 3600.0]
    >>> watch.confirm()
    >>> watch.look(3712, 11)
    0.0
    """

    def __init__(self, *, jump_s: float) -> None:
        self.jump_s = jump_s
        self._trusted: float | None = None
        self._seen = 0.0

    def look(self, wall_s: float, monotonic_s: float) -> float:
        """Give by how many seconds the wall clock has jumped; 0 when it is trusted."""
        offset = self._seen = wall_s - monotonic_s
        if self._trusted is None:
            self._trusted = offset
        moved_s = offset - self._trusted
        if abs(moved_s) >= self.jump_s:
            return float(moved_s)
        self._trusted = offset
        return 0.0

    def confirm(self) -> None:
        """Trust the time that was seen last."""
        self._trusted = self._seen
