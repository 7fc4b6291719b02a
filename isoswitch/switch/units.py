"""The pieces that units of work are made of, as functions of what they record."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from isoswitch.codecs.canonical.codes import ResponseCode, ReversalReason
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.sealing import load_outcome, store_outcome
from isoswitch.codecs.canonical.transaction import Outcome
from isoswitch.codecs.canonical.values import quick
from isoswitch.codecs.iso8583.message import Message
from isoswitch.journal.records import RecordKind
from isoswitch.ledger.holds import DATED
from isoswitch.store.port import (
    Move,
    SafEntry,
    StoredTransaction,
    TransactionState,
    UnitOfWork,
)
from isoswitch.store.rows import RowMove, SpentCode
from isoswitch.switch.accounts import Undoing
from isoswitch.switch.job import Job

REVERSED_MEANWHILE = Outcome(
    code=ResponseCode.ANSWER_TOO_LATE, reason="reversed before its outcome was known"
)


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """One exchange with an endpoint, ready to be sent.

    ``sealed`` is the encrypted material of its reversal, empty when none can be owed.
    """

    endpoint: str
    message: Message
    sealed: bytes
    pin_verdict: str
    began_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """A leg that nobody answered, why it ended, and when."""

    leg: Leg
    reason: str
    ended_at: float


def opened_body(job: Job) -> dict[str, Any]:
    """Give what is written down of a request, besides its message."""
    amount = job.txn.amount
    return {
        "kind": job.txn.kind,
        "amount_minor": amount.minor if amount else 0,
        "currency": amount.currency if amount else "",
        "listener": job.listener,
        "terminal": job.txn.terminal_id,
        "merchant": job.merchant_id or job.txn.merchant_id,
        "business_date": job.business_date,
        "mac": job.mac_verdict,
    }


def spending(job: Job) -> tuple[RowMove, ...]:
    """Give what makes the code of a job spent, which fails if it is already."""
    if not job.code_hash:
        return ()
    row = SpentCode(id=job.code_hash, transaction_id=job.id)
    return (RowMove(expect=None, row=row),)


def undone(original: StoredTransaction, undoing: Undoing | None = None) -> Move:
    """Mark a transaction as undone, or keep with it what still stands of it.

    Undone in full it is marked and its material wiped: nothing more can be undone.
    """
    outcome, is_full = None, undoing is None or not undoing.after_minor
    if not original.outcome:
        outcome = REVERSED_MEANWHILE
    elif undoing is not None and not is_full:
        remaining = Money(undoing.after_minor, original.currency)
        outcome = replace(load_outcome(original.outcome), amount=remaining)
    return Move(
        id=original.id,
        expect=original.state,
        state=TransactionState.CLOSED,
        outcome=store_outcome(outcome) if outcome else None,
        wipe=is_full,
        mark_reversed=is_full,
        expect_endpoint=original.endpoint,
    )


def reversal_of(
    original: StoredTransaction,
    undoing: Undoing,
    *,
    reason: ReversalReason,
    business_date: str,
) -> SafEntry:
    """Give the reversal that tells the issuer what stands of a transaction."""
    return SafEntry(
        transaction_id=original.id,
        endpoint=original.endpoint,
        order_key=original.pan_hash,
        sealed=original.sealed,
        reason=reason,
        business_date=business_date,
        amount_minor=undoing.before_minor,
        remaining_minor=undoing.after_minor,
    )


def answer_body(leg: Leg, answer: Message, *, now: float) -> dict[str, Any]:
    """Give what is written down of an answer."""
    return {
        "endpoint": leg.endpoint,
        "message": answer.masked(),
        "mac": "verified",
        "elapsed_ms": round((now - leg.began_at) * 1000, 1),
    }


def reversal_entry(job: Job, leg: Leg) -> SafEntry:
    """Give the reversal that a leg calls for whose fate is not known."""
    return SafEntry(
        transaction_id=job.id,
        endpoint=leg.endpoint,
        order_key=job.card_key,
        sealed=leg.sealed,
        business_date=job.business_date,
    )


def redated(unit: UnitOfWork, job: Job) -> UnitOfWork:
    """Give the unit as it is on the day to which its transaction was moved."""
    date = job.business_date
    limits = unit.stand_in
    return replace(
        unit,
        stand_in=limits and replace(limits, business_date=date),
        saf_puts=tuple(replace(entry, business_date=date) for entry in unit.saf_puts),
        opens=tuple(replace(row, business_date=date) for row in unit.opens),
        ledger=tuple(
            replace(change, business_date=date) if isinstance(change, DATED) else change
            for change in unit.ledger
        ),
        records=tuple(
            replace(
                record,
                body={
                    **record.body,
                    "business_date": date,
                    "late_from": job.late_from,
                },
            )
            if record.kind is RecordKind.OPENED
            else record
            for record in unit.records
        ),
    )
