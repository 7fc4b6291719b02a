"""What a switch has done since it started, counted.

What became durable is counted from the journal itself, so that figures and records
cannot disagree; the rest (what was refused, unheard, unanswered) is counted where it
happens.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.journal.records import RecordKind
from isoswitch.store.port import Committed, UnitOfWork
from isoswitch.switch.admission import Limit


@dataclass(slots=True, kw_only=True)
class Counts:
    """Counters that grow.

    ``transactions`` counts decisions by kind and code, ``records`` what was written
    down by kind and endpoint, ``refusals`` by the limit that was exceeded. No answer
    was given to ``unanswered`` messages because something failed, and to ``unheard``
    ones because too many were being decided. Only ``deciding``, how many messages are
    being decided now, goes down again.
    """

    transactions: Counter[tuple[Kind, ResponseCode]] = field(default_factory=Counter)
    records: Counter[tuple[RecordKind, str]] = field(default_factory=Counter)
    refusals: Counter[Limit] = field(default_factory=Counter)
    deciding: int = 0
    unanswered: int = 0
    unheard: int = 0
    crypto_failures: int = 0

    def applied(self, unit: UnitOfWork, _: Committed) -> None:
        """Count what became durable; a callback for ``Store.on_commit``."""
        for record in unit.records:
            self.records[record.kind, record.body.get("endpoint", "")] += 1
