"""What is durable in a simulated world: the journal and the tables of a store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from isoswitch.journal.chain import (
    GENESIS,
    Link,
    chain_hash,
    decode_record,
)
from isoswitch.store.port import Committed, SafMessage, SafState, UnitOfWork
from isoswitch.store.rows import Forget, is_forgotten
from isoswitch.store.standins import StandIn, Usage, count_usage
from isoswitch.store.tables import Tables

# Who reads a simulated journal reads it again and again.
read_record = lru_cache(maxsize=8192)(decode_record)


@dataclass(slots=True)
class MemoryDisk(Tables):
    """What is durable: the journal and the tables that follow from it."""

    links: list[Link] = field(default_factory=list)

    def apply(self, unit: UnitOfWork, encoded: Sequence[bytes]) -> Committed:
        """Make a unit durable, or raise and change nothing."""
        entries = self.change(unit)
        for forget in unit.forgets:
            self._forget(forget)
        for record in encoded:
            seq = len(self.links) + 1
            previous = self.links[-1].hash if self.links else GENESIS
            digest = chain_hash(previous, seq, record)
            self.links.append(Link(seq=seq, encoded=record, hash=digest))
        return Committed(last_seq=len(self.links), saf_entries=entries)

    def _forget(self, forget: Forget) -> None:
        old = [key for key, row in self.rows.items() if is_forgotten(row, forget)]
        for key in old[: forget.limit]:
            del self.rows[key]

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
