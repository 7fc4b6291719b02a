"""The ledger while a batch is being committed: its rules, and what they have changed.

The holds and entries that the units of a batch make stay in memory and are written
together when the batch ends, so that a unit which is refused leaves nothing to undo.
Holds that stay open are remembered, because most of them are captured soon after.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import apsw

from isoswitch.ledger.entries import Entry
from isoswitch.ledger.holds import Book, Change, Hold, HoldState, apply
from isoswitch.store.schema import HOLD_COLUMNS, hold_row, posting_rows

REMEMBERED_MAX = 10_000

PUT_HOLD = f"""
    INSERT OR REPLACE INTO holds ({", ".join(HOLD_COLUMNS)})
    VALUES ({", ".join("?" * len(HOLD_COLUMNS))})
"""  # noqa: S608 (names of our own columns)
INSERT_POSTING = "INSERT INTO postings VALUES (?, ?, ?, ?, ?, ?)"


class LedgerBook:
    """The ledger as the one writer of a store sees it; a `Book` for its rules.

    Parameters
    ----------
    stored
        What is committed.
    remembered_max
        So many open holds are found without a question to the store.
    """

    def __init__(self, stored: Book, *, remembered_max: int = REMEMBERED_MAX) -> None:
        self._stored = stored
        self._remembered_max = remembered_max
        self._remembered: dict[str, Hold] = {}
        # What the batch has changed, and what its present unit has.
        self._holds: dict[str, Hold] = {}
        self._entries: dict[str, Entry] = {}
        self._unit_holds: dict[str, Hold] = {}
        self._unit_entries: dict[str, Entry] = {}

    def find_hold(self, hold_id: str) -> Hold | None:
        """Find a hold as it is now."""
        return (
            self._unit_holds.get(hold_id)
            or self._holds.get(hold_id)
            or self._remembered.get(hold_id)
            or self._stored.find_hold(hold_id)
        )

    def find_entry(self, entry_id: str) -> Entry | None:
        """Find an entry."""
        return (
            self._unit_entries.get(entry_id)
            or self._entries.get(entry_id)
            or self._stored.find_entry(entry_id)
        )

    def change(
        self, changes: Iterable[Change], *, check: Callable[[Entry], None]
    ) -> None:
        """Take in what a unit changes; kept by ``keep`` and gone by ``drop``.

        Raises
        ------
        LedgerRefused
            A rule forbids it, or ``check`` raises for one of its entries.
        """
        for change in changes:
            effect = apply(change, self)
            self._unit_holds.update((hold.id, hold) for hold in effect.holds)
            if effect.entry is not None:
                check(effect.entry)
                self._unit_entries[effect.entry.id] = effect.entry

    def keep(self) -> None:
        """Make what the unit has changed part of the batch."""
        self._holds |= self._unit_holds
        self._entries |= self._unit_entries
        self.drop()

    def drop(self) -> None:
        """Forget what the unit has changed."""
        self._unit_holds, self._unit_entries = {}, {}

    def write(self, connection: apsw.Connection) -> None:
        """Write what the batch has changed, each hold as it has become."""
        if self._holds:
            connection.executemany(PUT_HOLD, map(hold_row, self._holds.values()))
        if self._entries:
            rows = [
                row for each in self._entries.values() for row in posting_rows(each)
            ]
            connection.executemany(INSERT_POSTING, rows)

    def committed(self) -> None:
        """Begin the next batch; this one is durable."""
        for hold in self._holds.values():
            self._remembered.pop(hold.id, None)
            if hold.state is HoldState.OPEN:
                self._remembered[hold.id] = hold
        while len(self._remembered) > self._remembered_max:
            del self._remembered[next(iter(self._remembered))]
        self._holds, self._entries = {}, {}

    def rolled_back(self) -> None:
        """Begin the next batch; nothing of this one is stored."""
        self.drop()
        self._holds, self._entries = {}, {}
