"""The one writer of a SQLite store: a thread that commits units of work in groups.

    take all that waits (at most BATCH_MAX) -> BEGIN IMMEDIATE
    each unit: opens, moves, store and forward     a refused unit leaves nothing behind
    what the units make of the ledger (`book.py`), and their records, chained
    COMMIT (fsync)  -> deliver the batch: one call wakes everybody
    checkpoint when the write-ahead log is long     after the delivery, so nobody waits

What can go wrong has three outcomes. A unit is refused: its own waiter hears why. The
disk is full or the file locked: all waiters of the batch hear `StoreUnavailable` and
the next batch tries again. Anything else, an fsync error above all: nobody hears
anything, because nobody knows what is on the disk, and ``on_fatal`` ends the process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import apsw

from isoswitch.codecs.canonical.errors import StoreUnavailable
from isoswitch.journal.chain import chain_hash
from isoswitch.ledger.entries import Entry, LedgerRefused
from isoswitch.store.batching import BatchWriter, Waiter
from isoswitch.store.book import LedgerBook
from isoswitch.store.days import (
    DayClosed,
    DayMove,
    DayRefused,
    check_books,
    check_enters,
    move_day,
)
from isoswitch.store.port import (
    BatchClose,
    Committed,
    DuplicateTransaction,
    LeaseChange,
    Move,
    OwnershipLost,
    Reconciliation,
    SafEntry,
    SafState,
    SafUpdate,
    StoredTransaction,
    TransferMove,
    UnitOfWork,
)
from isoswitch.store.reader import SELECT_TRANSACTIONS, StoreReader
from isoswitch.store.rows import TABLES, Forget, RowMove, forgotten_where, row_values
from isoswitch.store.schema import (
    DAY_COLUMNS,
    RECONCILIATION_COLUMNS,
    SAF_COLUMNS,
    TRANSACTION_COLUMNS,
    TRANSFER_COLUMNS,
    day_row,
    reconciliation_row,
    saf_row,
    to_saf_entry,
    to_stored_transaction,
    transaction_row,
    transfer_row,
)
from isoswitch.store.standins import StandIn, StandInRefused, check_stand_in

CHECKPOINT_PAGES = 4000

INSERT_RECORD = (
    "INSERT INTO journal (seq, transaction_id, record, hash) VALUES (?, ?, ?, ?)"
)
INSERT_TRANSACTION = f"""
    INSERT INTO transactions ({", ".join(TRANSACTION_COLUMNS)})
    VALUES ({", ".join("?" * len(TRANSACTION_COLUMNS))})
    ON CONFLICT (dedup_key) DO NOTHING
"""  # noqa: S608 (names of our own columns)
MOVE_TRANSACTION = """
    UPDATE transactions SET
        state = ?,
        outcome = coalesce(?, outcome),
        endpoint = coalesce(?, endpoint),
        sealed = iif(?, x'', coalesce(?, sealed)),
        reversed = reversed OR ?
    WHERE id = ? AND state = ? AND NOT (reversed AND ?)
        AND endpoint = coalesce(?, endpoint)
"""
# The first column is the id, which SQLite gives.
INSERT_SAF = f"""
    INSERT INTO saf ({", ".join(SAF_COLUMNS)})
    VALUES (NULL, {", ".join("?" * (len(SAF_COLUMNS) - 1))})
    RETURNING {", ".join(SAF_COLUMNS)}
"""  # noqa: S608 (names of our own columns)
# Delivered is final: nothing brings such an entry back.
UPDATE_SAF = """
    UPDATE saf SET attempts = ?, next_at = ?, state = ?, reason = ?,
        sealed = iif(?, x'', sealed)
    WHERE id = ? AND state <> 'delivered'
"""
PUT_DAY = f"""
    INSERT OR REPLACE INTO days ({", ".join(DAY_COLUMNS)})
    VALUES ({", ".join("?" * len(DAY_COLUMNS))})
"""  # noqa: S608 (names of our own columns)
PUT_BATCH = "INSERT OR REPLACE INTO batches (terminal_id, number) VALUES (?, ?)"
PUT_RECONCILIATION = f"""
    INSERT OR REPLACE INTO reconciliations ({", ".join(RECONCILIATION_COLUMNS)})
    VALUES ({", ".join("?" * len(RECONCILIATION_COLUMNS))})
"""  # noqa: S608 (names of our own columns)
PUT_TRANSFER = f"""
    INSERT OR REPLACE INTO transfers ({", ".join(TRANSFER_COLUMNS)})
    VALUES ({", ".join("?" * len(TRANSFER_COLUMNS))})
"""  # noqa: S608 (names of our own columns)
PUT_ROW = "INSERT OR REPLACE INTO {table} VALUES ({places})"
FORGET = """
    DELETE FROM {table}
    WHERE id IN (SELECT id FROM {table} WHERE {where} LIMIT ?)
"""
INSERT_STAND_IN = "INSERT INTO stand_ins VALUES (?, ?, ?, ?, ?, ?, ?)"
INSERT_LEASE = """
    INSERT INTO leases (name, holder, beat) VALUES (?, ?, 1)
    ON CONFLICT (name) DO NOTHING
"""
UPDATE_LEASE = """
    UPDATE leases SET holder = ?, beat = beat + 1
    WHERE name = ? AND holder = ? AND beat = ?
"""
DELETE_LEASE = "DELETE FROM leases WHERE name = ? AND holder = ? AND beat = ?"

# A unit of ours that the schema does not take; the rest of its batch is fine.
_REFUSALS = (
    DuplicateTransaction,
    OwnershipLost,
    LedgerRefused,
    DayClosed,
    DayRefused,
    StandInRefused,
    apsw.ConstraintError,
    apsw.TooBigError,
    TypeError,
    ValueError,
    OverflowError,
)
# Conditions that pass without us: space is freed, a lock is released.
_PASSING = (apsw.FullError, apsw.BusyError, apsw.LockedError)


class GroupCommitWriter(BatchWriter):
    """Owns the writing connection and the head of the chain.

    Parameters
    ----------
    connection
        From `connect_writer`; used by the writer's thread only once it runs.
    checkpoint_pages
        How long the write-ahead log may grow before it is folded into the file.
    """

    def __init__(
        self,
        connection: apsw.Connection,
        *,
        deliver: Callable[[list[Waiter]], None],
        on_fatal: Callable[[BaseException], None],
        checkpoint_pages: int = CHECKPOINT_PAGES,
    ) -> None:
        super().__init__(deliver=deliver, on_fatal=on_fatal)
        self._connection = connection
        self._checkpoint_pages = checkpoint_pages
        self._book = StoreReader(connection)
        self._ledger = LedgerBook(self._book)
        self._seq, self._head = self._book.head()
        self._days = {day.date: day for day in self._book.days()}
        # The open batch of each terminal that closed one; before that it is the first.
        self._batches = self._book.batches()
        self._wal_pages = 0
        # Checkpoints are taken between batches, not inside somebody's commit.
        connection.wal_autocheckpoint(0)
        connection.set_wal_hook(self._note_wal_pages)

    def close(self) -> None:
        """Fold the write-ahead log away and close the file."""
        self._connection.close()

    def commit(self, batch: list[Waiter]) -> None:
        """Make a batch durable and set the result of every waiter."""
        seq, head, days = self._seq, self._head, self._days
        batches = self._batches
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            rows: list[tuple[Any, ...]] = []
            for waiter in batch:
                waiter.result = self._apply(waiter, rows)
            self._ledger.write(self._connection)
            self._connection.executemany(INSERT_RECORD, rows)
            self._connection.execute("COMMIT")
            self._ledger.committed()
        except (*_PASSING, *_REFUSALS) as exc:
            self._seq, self._head, self._days = seq, head, days
            self._batches = batches
            self._ledger.rolled_back()
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            if isinstance(exc, _PASSING):
                for waiter in batch:
                    waiter.result = StoreUnavailable(f"the store cannot commit: {exc}")
            elif len(batch) == 1:
                batch[0].result = exc
            else:
                # One unit's rows are not taken; alone it hears so, and the rest stand.
                for waiter in batch:
                    self.commit([waiter])

    def _apply(
        self, waiter: Waiter, rows: list[tuple[Any, ...]]
    ) -> Committed | Exception:
        """Apply one unit or nothing of it; its records are added to ``rows``."""
        unit, days, batches = waiter.unit, self._days, self._batches
        try:
            entries = self._change_atomically(unit)
        except _REFUSALS as exc:
            self._days, self._batches = days, batches
            return exc
        for record, encoded in zip(unit.records, waiter.encoded, strict=True):
            self._seq += 1
            self._head = chain_hash(self._head, self._seq, encoded)
            rows.append(
                (self._seq, record.transaction_id, encoded.decode(), self._head)
            )
        return Committed(last_seq=self._seq, saf_entries=entries)

    def _change_atomically(self, unit: UnitOfWork) -> tuple[SafEntry, ...]:
        """Change all that a unit changes, or nothing when it is refused."""
        statements = (
            *unit.opens,
            *unit.moves,
            *unit.saf_puts,
            *unit.saf_updates,
            *unit.leases,
        )
        is_simple = not (
            unit.day or unit.batch or unit.stand_in or unit.rows or unit.transfers
        )
        refusal = self._change_ledger(unit)
        if len(statements) <= 1 and is_simple and refusal is None:
            # SQLite itself undoes a statement that fails. A savepoint costs two more,
            # and at each one the thread gives up the GIL and waits to get it back.
            entries = self._change(unit, refusal)
        else:
            self._connection.execute("SAVEPOINT unit")
            try:
                entries = self._change(unit, refusal)
            except _REFUSALS:
                self._connection.execute("ROLLBACK TO unit; RELEASE unit")
                raise
            self._connection.execute("RELEASE unit")
        self._ledger.keep()
        return entries

    def _change_ledger(self, unit: UnitOfWork) -> Exception | None:
        """Change the ledger in memory, and give why that is refused."""
        self._ledger.drop()

        def check(entry: Entry) -> None:
            check_books(self._days, entry.business_date)

        try:
            self._ledger.change(unit.ledger, check=check)
        except _REFUSALS as exc:
            return exc
        return None

    def _change(
        self, unit: UnitOfWork, refusal: Exception | None
    ) -> tuple[SafEntry, ...]:
        if unit.stand_in is not None:
            self._stand_in(unit.stand_in)
        steps: tuple[tuple[Callable[[Any], None], Iterable[Any]], ...] = (
            (self._open, unit.opens),
            (self._move, unit.moves),
            (self._update_saf, unit.saf_updates),
            # Who has lost a race must hear that, and not what the ledger says of it.
            (self._move_transfer, unit.transfers),
            (self._move_row, unit.rows),
            (self._refuse, () if refusal is None else (refusal,)),
            (self._change_lease, unit.leases),
            (self._move_day, () if unit.day is None else (unit.day,)),
            (self._put_reconciliation, unit.reconciliations),
            (self._forget, unit.forgets),
            (self._close_batch, () if unit.batch is None else (unit.batch,)),
        )
        for step, wanted in steps:
            for each in wanted:
                step(each)
        return tuple(self._put_saf(entry) for entry in unit.saf_puts)

    def _open(self, transaction: StoredTransaction) -> None:
        check_enters(self._days, transaction.business_date)
        batch = self._batches.get(transaction.terminal_id)
        if batch is not None:
            transaction = replace(transaction, batch=batch)
        self._connection.execute(INSERT_TRANSACTION, transaction_row(transaction))
        if self._connection.changes():
            return
        existing = self._connection.execute(
            f"{SELECT_TRANSACTIONS} WHERE dedup_key = ?", (transaction.dedup_key,)
        ).get
        raise DuplicateTransaction(to_stored_transaction(existing))

    def _move(self, move: Move) -> None:
        self._connection.execute(
            MOVE_TRANSACTION,
            (
                move.state,
                move.outcome,
                move.endpoint,
                move.wipe,
                move.sealed,
                move.mark_reversed,
                move.id,
                move.expect,
                move.mark_reversed,
                move.expect_endpoint,
            ),
        )
        if not self._connection.changes():
            msg = f"transaction {move.id} is no longer {move.expect}, or is reversed"
            raise OwnershipLost(msg)

    def _put_saf(self, entry: SafEntry) -> SafEntry:
        row = self._connection.execute(INSERT_SAF, saf_row(entry)[1:]).get
        return to_saf_entry(row)

    def _update_saf(self, update: SafUpdate) -> None:
        is_delivered = update.state is SafState.DELIVERED
        self._connection.execute(
            UPDATE_SAF,
            (
                update.attempts,
                update.next_at,
                update.state,
                update.reason,
                is_delivered,
                update.id,
            ),
        )
        if not self._connection.changes():
            msg = f"store-and-forward entry {update.id} is gone or delivered"
            raise OwnershipLost(msg)

    def _stand_in(self, stand_in: StandIn) -> None:
        check_stand_in(stand_in, self._book.stand_in_usage(stand_in))
        self._connection.execute(
            INSERT_STAND_IN,
            (
                stand_in.transaction_id,
                stand_in.profile,
                stand_in.endpoint,
                stand_in.pan_hash,
                stand_in.business_date,
                stand_in.currency,
                stand_in.amount_minor,
            ),
        )

    def _refuse(self, refusal: Exception) -> None:
        """Say what the ledger refused, in its turn among what may be refused."""
        raise refusal

    def _change_lease(self, change: LeaseChange) -> None:
        name, before = change.name, change.expect
        if before is None:
            self._connection.execute(INSERT_LEASE, (name, change.holder))
        elif change.holder:
            self._connection.execute(
                UPDATE_LEASE, (change.holder, name, before.holder, before.beat)
            )
        else:
            self._connection.execute(DELETE_LEASE, (name, before.holder, before.beat))
        if not self._connection.changes():
            msg = f"lease {name} is no longer as it was"
            raise OwnershipLost(msg)

    def _move_transfer(self, move: TransferMove) -> None:
        if self._book.find_transfer_of(move.transfer.id) != move.expect:
            msg = f"transfer {move.transfer.id} is no longer as it was"
            raise OwnershipLost(msg)
        self._connection.execute(PUT_TRANSFER, transfer_row(move.transfer))

    def _move_row(self, move: RowMove) -> None:
        kind = type(move.row)
        if self._book.find_row(kind, move.row.id) != move.expect:
            msg = f"{TABLES[kind]} {move.row.id} is no longer as it was"
            raise OwnershipLost(msg)
        values = row_values(move.row)
        places = ", ".join("?" * len(values))
        self._connection.execute(
            PUT_ROW.format(table=TABLES[kind], places=places), values
        )

    def _forget(self, forget: Forget) -> None:
        where = forgotten_where(forget.kind, "?")
        self._connection.execute(
            FORGET.format(table=TABLES[forget.kind], where=where),
            (forget.before, forget.limit),
        )

    def _put_reconciliation(self, reconciliation: Reconciliation) -> None:
        self._connection.execute(PUT_RECONCILIATION, reconciliation_row(reconciliation))

    def _close_batch(self, close: BatchClose) -> None:
        """Begin a terminal's next batch."""
        if self._batches.get(close.terminal_id, 1) != close.number:
            msg = f"batch {close.number} of {close.terminal_id} is closed already"
            raise OwnershipLost(msg)
        following = close.number + 1
        self._connection.execute(PUT_BATCH, (close.terminal_id, following))
        self._batches = {**self._batches, close.terminal_id: following}

    def _move_day(self, move: DayMove) -> None:
        before = self._days
        self._days = move_day(before, move, has_open=self._book.has_open)
        # What leaves the state of being open is written first: one day is open.
        changed = [day for day in self._days.values() if before.get(day.date) != day]
        for day in sorted(changed, key=lambda day: day.date):
            self._connection.execute(PUT_DAY, day_row(day))

    def _note_wal_pages(
        self, _connection: apsw.Connection, _database: str, pages: int
    ) -> int:
        self._wal_pages = pages
        return apsw.SQLITE_OK

    def after_delivery(self) -> None:
        """Move a long write-ahead log into the database file."""
        if self._wal_pages < self._checkpoint_pages:
            return
        try:
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except _PASSING:
            # Nothing is lost: the log grows until a later checkpoint succeeds.
            return
        self._wal_pages = 0
