"""Units of work as a switch makes them, for the tests of stores."""

from __future__ import annotations

from dataclasses import replace

from isoswitch.journal.records import Record, RecordKind
from isoswitch.store.port import (
    Lease,
    LeaseChange,
    Move,
    SafEntry,
    SafMessage,
    SafUpdate,
    StoredTransaction,
    TransactionState,
    UnitOfWork,
)
from isoswitch.store.standins import StandIn

AT = "2026-01-31T12:00:00.000000Z"


def record(kind: RecordKind, transaction_id: str = "", /, **body: object) -> Record:
    """Make a record."""
    return Record(kind=kind, transaction_id=transaction_id, at=AT, body=body)


def transaction(transaction_id: str, **changes: object) -> StoredTransaction:
    """Make a transaction that has just been sent to its issuer."""
    made = StoredTransaction(
        id=transaction_id,
        dedup_key=f"key-{transaction_id}",
        fingerprint="f",
        kind="purchase",
        state=TransactionState.SENDING,
        node="n1",
        business_date="2026-01-31",
        opened_at=AT,
        terminal_id="T1",
        stan="000001",
        pan_masked="476173******0010",
        amount_minor=1250,
        currency="978",
        sealed=b"sealed",
    )
    return replace(made, **changes)


def opening(transaction_id: str, **changes: object) -> UnitOfWork:
    """Make the first unit of a purchase: opened and sending."""
    row = transaction(transaction_id, **changes)
    return UnitOfWork(
        records=(
            record(
                RecordKind.OPENED,
                transaction_id,
                kind=row.kind,
                amount_minor=row.amount_minor,
                currency=row.currency,
                listener="pos",
                terminal=row.terminal_id,
                business_date=row.business_date,
            ),
            record(RecordKind.SENDING, transaction_id, endpoint="alpha"),
        ),
        opens=(row,),
    )


def closing(transaction_id: str, outcome: str = '{"code":"approved"}') -> UnitOfWork:
    """Make the second unit of a purchase: answered and closed."""
    return UnitOfWork(
        records=(
            record(RecordKind.ANSWERED, transaction_id, code="00"),
            record(RecordKind.CLOSED, transaction_id, code="approved"),
        ),
        moves=(close_move(transaction_id, outcome),),
    )


def timing_out(transaction_id: str) -> UnitOfWork:
    """Make the other second unit: timed out, a reversal owed."""
    return UnitOfWork(
        records=(
            record(RecordKind.TIMED_OUT, transaction_id),
            record(RecordKind.REVERSAL_OWED, transaction_id, endpoint="alpha"),
            record(RecordKind.CLOSED, transaction_id, code="issuer_unavailable"),
        ),
        moves=(
            replace(
                close_move(transaction_id, '{"code":"issuer_unavailable"}'),
                mark_reversed=True,
            ),
        ),
        saf_puts=(saf_entry(transaction_id),),
    )


def close_move(transaction_id: str, outcome: str) -> Move:
    """Make the move of a sent transaction to its end."""
    return Move(
        id=transaction_id,
        expect=TransactionState.SENDING,
        state=TransactionState.CLOSED,
        outcome=outcome,
        wipe=True,
    )


def saf_entry(transaction_id: str) -> SafEntry:
    """Make a reversal that has not been sent yet."""
    return SafEntry(
        transaction_id=transaction_id,
        endpoint="alpha",
        order_key="alpha",
        sealed=b"reversal",
        next_at=1.5,
    )


def saf_update(entry_id: int, **changes: object) -> UnitOfWork:
    """Make a step in the life of a store-and-forward entry."""
    update = replace(SafUpdate(id=entry_id, attempts=1, next_at=2.5), **changes)
    return UnitOfWork(records=(record(RecordKind.FORWARDED),), saf_updates=(update,))


def lease_change(expect: Lease | None, holder: str) -> UnitOfWork:
    """Make a unit that takes, renews or releases the lease ``node/n1``."""
    change = LeaseChange(name="node/n1", expect=expect, holder=holder)
    return UnitOfWork(records=(), leases=(change,))


def standing_in(
    transaction_id: str, *, entry: SafEntry | None = None, **changes: object
) -> UnitOfWork:
    """Make the unit of an approval in place of the endpoint ``alpha``."""
    limits = StandIn(
        transaction_id=transaction_id,
        profile="small",
        endpoint="alpha",
        pan_hash="card",
        business_date="2026-01-31",
        currency="978",
        amount_minor=1250,
        card_count_max=2,
        card_minor_max=3_000,
        total_minor_max=5_000,
    )
    return UnitOfWork(
        records=(
            record(RecordKind.OPENED, transaction_id),
            record(RecordKind.STOOD_IN, transaction_id, endpoint="alpha"),
            record(RecordKind.CLOSED, transaction_id),
        ),
        opens=(transaction(transaction_id, state=TransactionState.CLOSED),),
        saf_puts=(
            entry or replace(saf_entry(transaction_id), message=SafMessage.ADVICE),
        ),
        stand_in=replace(limits, **changes),
    )
