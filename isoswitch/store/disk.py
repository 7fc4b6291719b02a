"""What is durable in a simulated world: the journal and the tables of a store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from isoswitch.journal.chain import (
    GENESIS,
    Link,
    chain_hash,
    decode_record,
)
from isoswitch.store.port import (
    Committed,
    SafMessage,
    SafState,
    StoredTransaction,
    TransactionState,
    UnitOfWork,
)
from isoswitch.store.rows import Forget, is_forgotten
from isoswitch.store.standins import StandIn, Usage, count_usage
from isoswitch.store.tables import Tables

# Who reads a simulated journal reads it again and again.
read_record = lru_cache(maxsize=8192)(decode_record)


@dataclass(slots=True)
class MemoryDisk(Tables):
    """What is durable: the journal and the tables that follow from it."""

    links: list[Link] = field(default_factory=list)
    # Indexes for what is asked again and again: the records of a transaction by their
    # place in the journal, the transactions that are not closed, oldest first, and the
    # rows of each kind by id.
    places: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    unclosed: dict[str, StoredTransaction] = field(default_factory=dict)
    by_kind: dict[type[Any], dict[str, Any]] = field(
        default_factory=lambda: defaultdict(dict)
    )

    def apply(self, unit: UnitOfWork, encoded: Sequence[bytes]) -> Committed:
        """Make a unit durable, or raise and change nothing."""
        entries = self.change(unit)
        for name in (
            *(each.id for each in unit.opens),
            *(each.id for each in unit.moves),
        ):
            row = self.transactions[name]
            if row.state is TransactionState.CLOSED:
                self.unclosed.pop(row.id, None)
            else:
                self.unclosed[row.id] = row
        for moved in unit.rows:
            self.by_kind[type(moved.row)][moved.row.id] = moved.row
        for forget in unit.forgets:
            self._forget(forget)
        for record, octets in zip(unit.records, encoded, strict=True):
            self.places[record.transaction_id].append(len(self.links))
            seq = len(self.links) + 1
            previous = self.links[-1].hash if self.links else GENESIS
            digest = chain_hash(previous, seq, octets)
            self.links.append(Link(seq=seq, encoded=octets, hash=digest))
        return Committed(last_seq=len(self.links), saf_entries=entries)

    def _forget(self, forget: Forget) -> None:
        rows = self.by_kind[forget.kind]
        old = [row_id for row_id, row in rows.items() if is_forgotten(row, forget)]
        for row_id in old[: forget.limit]:
            del rows[row_id], self.rows[forget.kind, row_id]

    def untold(self) -> list[StandIn]:
        """Give the stand-in approvals that their endpoints do not know yet."""
        owed = {
            entry.transaction_id
            for entry in self.saf.values()
            if entry.message is SafMessage.ADVICE
            and entry.state is not SafState.DELIVERED
        }
        return [each for each in self._unreversed() if each.transaction_id in owed]

    def usage(self, stand_in: StandIn) -> Usage:
        """Give what is used of the limits of an approval in an issuer's place."""
        return count_usage(
            stand_in,
            given=self.stand_ins.values(),
            unreversed=self._unreversed(),
            untold=self.untold(),
        )

    def open_elsewhere(self, business_date: str) -> Iterable[str]:
        """Give no transactions: these tables know them all."""
        del business_date
        return ()

    def _unreversed(self) -> list[StandIn]:
        return [
            each
            for name, each in self.stand_ins.items()
            if not self.transactions[name].reversed
        ]
