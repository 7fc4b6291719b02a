"""The spec-drift report: what a peer sends that no dictionary here knows.

A network announces a new tag in a bulletin and starts sending it before anybody has
read it. Unknown tags and data sets are carried on unchanged; this counter tells that
they are there, since which message, how often and how long. It never sees a value.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

ROWS_MAX = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """What is known about one unknown element of one peer.

    ``first`` and ``last`` are the sequence numbers of the messages it was seen in.
    """

    peer: str
    path: str
    first: int
    last: int
    count: int
    length_min: int
    length_max: int


class DriftCounter:
    """Counts unknown elements by peer; the owner feeds it and asks for the report.

    The table has a limit, so that a peer who invents a tag per message cannot fill
    the memory; what does not fit is counted in ``overflow``.

    Examples
    --------
    >>> counter = DriftCounter()
    >>> counter.observe("issuer-a", 17, [("55.DF7F", 2)])
    >>> counter.observe("issuer-a", 42, [("55.DF7F", 5)])
    >>> [(row.path, row.first, row.last, row.count) for row in counter.report()]
    [('55.DF7F', 17, 42, 2)]
    """

    def __init__(self, *, rows_max: int = ROWS_MAX) -> None:
        self._rows: dict[tuple[str, str], Drift] = {}
        self._rows_max = rows_max
        self.overflow = 0

    def observe(
        self, peer: str, sequence: int, unknown: Iterable[tuple[str, int]]
    ) -> None:
        """Count the unknown elements of one message.

        Parameters
        ----------
        sequence
            The message's number, growing with time.
        unknown
            Path and length of each, as the decoded data's ``unknown`` gives them.
        """
        for path, length in unknown:
            key = (peer, path)
            seen = self._rows.get(key)
            if seen is not None:
                self._rows[key] = replace(
                    seen,
                    last=sequence,
                    count=seen.count + 1,
                    length_min=min(seen.length_min, length),
                    length_max=max(seen.length_max, length),
                )
            elif len(self._rows) < self._rows_max:
                self._rows[key] = Drift(
                    peer=peer,
                    path=path,
                    first=sequence,
                    last=sequence,
                    count=1,
                    length_min=length,
                    length_max=length,
                )
            else:
                self.overflow += 1

    def report(self) -> list[Drift]:
        """Give a row for each peer and element, by peer and first appearance."""
        return sorted(self._rows.values(), key=lambda row: (row.peer, row.first))
