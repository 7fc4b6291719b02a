"""What units of work do to the tables of a store, as plain values.

These are the rules that every `UnitOfWork` keeps: what may open, what may move, whose
compare-and-set wins. `MemoryDisk` holds all of a store in such tables, PostgreSQL's
writer those rows that a batch touches.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from isoswitch.clearing.transfer import Transfer
from isoswitch.ledger.entries import Entry
from isoswitch.ledger.holds import Change, Hold, apply
from isoswitch.store.days import (
    BusinessDay,
    DayMove,
    check_books,
    check_enters,
    move_day,
)
from isoswitch.store.port import (
    BatchClose,
    DuplicateTransaction,
    Lease,
    LeaseChange,
    Move,
    OwnershipLost,
    Reconciliation,
    SafEntry,
    SafState,
    SafUpdate,
    StoredTransaction,
    TransactionState,
    TransferMove,
    UnitOfWork,
)
from isoswitch.store.rows import TABLES, Row, RowMove
from isoswitch.store.standins import StandIn, Usage, check_stand_in


@dataclass(slots=True)
class Tables:
    """Rows by their keys; days stand in their order.

    ``last_saf_id`` is the last id that was given to an entry of store and forward.
    """

    transactions: dict[str, StoredTransaction] = field(default_factory=dict)
    by_dedup_key: dict[str, str] = field(default_factory=dict)
    saf: dict[int, SafEntry] = field(default_factory=dict)
    holds: dict[str, Hold] = field(default_factory=dict)
    ledger: dict[str, Entry] = field(default_factory=dict)
    days: dict[str, BusinessDay] = field(default_factory=dict)
    batches: dict[str, int] = field(default_factory=dict)
    transfers: dict[str, Transfer] = field(default_factory=dict)
    reconciliations: dict[tuple[str, str, str], Reconciliation] = field(
        default_factory=dict
    )
    leases: dict[str, Lease] = field(default_factory=dict)
    stand_ins: dict[str, StandIn] = field(default_factory=dict)
    rows: dict[tuple[type[Any], str], Row] = field(default_factory=dict)
    last_saf_id: int = 0

    def change(self, unit: UnitOfWork) -> tuple[SafEntry, ...]:
        """Make all the changes of a unit and give its new entries, or raise."""
        if unit.stand_in is not None:
            check_stand_in(unit.stand_in, self.usage(unit.stand_in))
        staged = _Staged(self)
        entries = staged.change(unit)
        self.transactions |= staged.transactions.maps[0]
        self.by_dedup_key |= staged.by_dedup_key.maps[0]
        self.saf |= staged.saf.maps[0]
        self.holds |= staged.holds.maps[0]
        self.ledger |= staged.ledger.maps[0]
        self.transfers |= staged.transfers.maps[0]
        self.reconciliations |= staged.reconciliations.maps[0]
        self.rows |= staged.rows.maps[0]
        self.days = staged.days
        self.batches = staged.batches
        self.leases = staged.leases
        self.last_saf_id = staged.last_saf_id
        if unit.stand_in is not None:
            self.stand_ins[unit.stand_in.transaction_id] = unit.stand_in
        return entries

    def usage(self, stand_in: StandIn) -> Usage:
        """Give what is used of the limits of an approval in an issuer's place."""
        raise NotImplementedError

    def open_elsewhere(self, business_date: str) -> Iterable[str]:
        """Give the open transactions of a day, of which these tables may know some."""
        raise NotImplementedError


class _Staged:
    """The changes of one unit, laid over tables and not yet part of them."""

    def __init__(self, tables: Tables) -> None:
        self.transactions = ChainMap({}, tables.transactions)
        self.by_dedup_key = ChainMap({}, tables.by_dedup_key)
        self.saf = ChainMap({}, tables.saf)
        self.holds = ChainMap({}, tables.holds)
        self.ledger = ChainMap({}, tables.ledger)
        self.days = tables.days
        self.batches = tables.batches
        self.transfers = ChainMap({}, tables.transfers)
        self.reconciliations = ChainMap({}, tables.reconciliations)
        self.rows = ChainMap({}, tables.rows)
        self.leases = tables.leases
        self._tables = tables
        self.last_saf_id = tables.last_saf_id

    def change(self, unit: UnitOfWork) -> tuple[SafEntry, ...]:
        """Make all the changes of a unit, or raise."""
        steps: tuple[tuple[Callable[[Any], None], Iterable[Any]], ...] = (
            (self.open, unit.opens),
            (self.move, unit.moves),
            (self.update_saf, unit.saf_updates),
            # Who has lost a race must hear that, and not what the ledger says of it.
            (self.move_transfer, unit.transfers),
            (self.move_row, unit.rows),
            (self.change_ledger, unit.ledger),
            (self.move_day, () if unit.day is None else (unit.day,)),
            (self.put_reconciliation, unit.reconciliations),
            (self.change_lease, unit.leases),
            (self.close_batch, () if unit.batch is None else (unit.batch,)),
        )
        for step, wanted in steps:
            for each in wanted:
                step(each)
        return tuple(self.put_saf(entry) for entry in unit.saf_puts)

    def find_hold(self, hold_id: str) -> Hold | None:
        """Find a hold, for the rules of the ledger."""
        return self.holds.get(hold_id)

    def find_entry(self, entry_id: str) -> Entry | None:
        """Find an entry, for the rules of the ledger."""
        return self.ledger.get(entry_id)

    def change_ledger(self, change: Change) -> None:
        effect = apply(change, self)
        for hold in effect.holds:
            self.holds[hold.id] = hold
        if effect.entry is not None:
            check_books(self.days, effect.entry.business_date)
            self.ledger[effect.entry.id] = effect.entry

    def move_transfer(self, move: TransferMove) -> None:
        if self.transfers.get(move.transfer.id) != move.expect:
            msg = f"transfer {move.transfer.id} is no longer as it was"
            raise OwnershipLost(msg)
        self.transfers[move.transfer.id] = move.transfer

    def move_row(self, move: RowMove) -> None:
        key = type(move.row), move.row.id
        if self.rows.get(key) != move.expect:
            msg = f"{TABLES[key[0]]} {move.row.id} is no longer as it was"
            raise OwnershipLost(msg)
        self.rows[key] = move.row

    def close_batch(self, close: BatchClose) -> None:
        if self.batches.get(close.terminal_id, 1) != close.number:
            msg = f"batch {close.number} of {close.terminal_id} is closed already"
            raise OwnershipLost(msg)
        self.batches = {**self.batches, close.terminal_id: close.number + 1}

    def move_day(self, move: DayMove) -> None:
        self.days = move_day(self.days, move, has_open=self._has_open)

    def _has_open(self, business_date: str) -> bool:
        return any(
            transaction.state is not TransactionState.CLOSED
            and transaction.business_date == business_date
            for transaction in self.transactions.values()
        ) or any(
            name not in self.transactions
            for name in self._tables.open_elsewhere(business_date)
        )

    def open(self, transaction: StoredTransaction) -> None:
        check_enters(self.days, transaction.business_date)
        holder = self.by_dedup_key.get(transaction.dedup_key)
        if holder is not None:
            raise DuplicateTransaction(self.transactions[holder])
        if transaction.id in self.transactions:
            msg = f"transaction id {transaction.id} is taken"
            raise ValueError(msg)
        batch = self.batches.get(transaction.terminal_id, 1)
        self.transactions[transaction.id] = replace(transaction, batch=batch)
        self.by_dedup_key[transaction.dedup_key] = transaction.id

    def move(self, move: Move) -> None:
        before = self.transactions.get(move.id)
        if (
            before is None
            or before.state is not move.expect
            or (before.reversed and move.mark_reversed)
            or move.expect_endpoint not in (None, before.endpoint)
        ):
            msg = f"transaction {move.id} is no longer {move.expect}, or is reversed"
            raise OwnershipLost(msg)
        sealed = before.sealed if move.sealed is None else move.sealed
        self.transactions[move.id] = replace(
            before,
            state=move.state,
            outcome=before.outcome if move.outcome is None else move.outcome,
            endpoint=before.endpoint if move.endpoint is None else move.endpoint,
            sealed=b"" if move.wipe else sealed,
            reversed=before.reversed or move.mark_reversed,
        )

    def put_saf(self, entry: SafEntry) -> SafEntry:
        self.last_saf_id += 1
        self.saf[self.last_saf_id] = stored = replace(entry, id=self.last_saf_id)
        return stored

    def update_saf(self, update: SafUpdate) -> None:
        before = self.saf.get(update.id)
        if before is None or before.state is SafState.DELIVERED:
            msg = f"store-and-forward entry {update.id} is gone or delivered"
            raise OwnershipLost(msg)
        self.saf[update.id] = replace(
            before,
            attempts=update.attempts,
            next_at=update.next_at,
            state=update.state,
            reason=update.reason,
            sealed=b"" if update.state is SafState.DELIVERED else before.sealed,
        )

    def put_reconciliation(self, each: Reconciliation) -> None:
        key = each.business_date, each.endpoint, each.currency
        self.reconciliations[key] = each

    def change_lease(self, change: LeaseChange) -> None:
        before = self.leases.get(change.name)
        if before != change.expect:
            msg = f"lease {change.name} is no longer as it was"
            raise OwnershipLost(msg)
        others = {name: each for name, each in self.leases.items() if each != before}
        if change.holder:
            beat = before.beat + 1 if before else 1
            others[change.name] = Lease(
                name=change.name, holder=change.holder, beat=beat
            )
        self.leases = others
