"""A terminal undoes an earlier transaction, or one whose fate it does not know.

Every reversal is acknowledged once it is written down, because a terminal that gets no
acknowledgement repeats for ever. What it does depends on how the original stands:

    running        acknowledged; undone as soon as its outcome is known
    approved       a reversal advice to the issuer is owed
    declined       nothing to undo
    reversed       nothing more to undo
    in refund      by another node: not answered, the terminal asks again
    unknown        its key is taken, so that it is refused should it still arrive
    a reversal     an exception for the operator; what stands under its key goes on
    ambiguous      an exception for the operator; nothing is guessed

One that names a replacement amount undoes down to that. What has been refunded of a
purchase, or completed of a pre-authorisation, stands in any case.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import trio

from isoswitch.codecs.canonical.codes import Function, Kind, ResponseCode
from isoswitch.codecs.canonical.errors import IsoswitchError
from isoswitch.codecs.canonical.sealing import load_outcome
from isoswitch.codecs.canonical.transaction import Outcome
from isoswitch.ledger.entries import LedgerRefused
from isoswitch.store.port import (
    DuplicateTransaction,
    OwnershipLost,
    StoredTransaction,
    TransactionState,
)
from isoswitch.switch.accounts import STAYS_HELD, hold_id, standing_minor, stands, undo
from isoswitch.switch.job import Job
from isoswitch.switch.keys import original_key
from isoswitch.switch.originals import Ambiguous, is_day
from isoswitch.switch.services import Services

ACKNOWLEDGED = Outcome(code=ResponseCode.APPROVED, reason="reversal accepted")
NOTHING_TO_UNDO = Outcome(code=ResponseCode.APPROVED, reason="nothing to undo")
UNKNOWN_ADVICE = Outcome(
    code=ResponseCode.APPROVED, reason="unknown original; refused should it arrive"
)
UNKNOWN_REQUEST = Outcome.declined(
    ResponseCode.ORIGINAL_NOT_FOUND, "unknown original; refused should it arrive"
)
AMBIGUOUS = Outcome(
    code=ResponseCode.APPROVED, reason="several originals fit; see the exceptions"
)
VOID_STANDS = Outcome(
    code=ResponseCode.APPROVED, reason="a void is not undone; see the exceptions"
)
OTHER_MONEY = Outcome(
    code=ResponseCode.APPROVED,
    reason="what is to stand is in another currency; see the exceptions",
)
UNDOES_NO_REVERSAL = "a reversal is not undone; see the exceptions"
NO_ORIGINAL_DATA = Outcome.declined(
    ResponseCode.FORMAT_ERROR, "the reversal does not name its original"
)
ATTEMPTS_MAX = 3
# The second digit of its MTI.
REVERSAL_CLASS = "4"


async def reverse(services: Services, job: Job) -> Outcome:
    """Acknowledge a reversal and see to it that the issuer learns of it."""
    original = job.txn.original
    if original is None:
        return await services.recorder.refuse(job, NO_ORIGINAL_DATA)
    key = original_key(job.txn)
    for _ in range(ATTEMPTS_MAX):
        running = _find_running(services, key)
        if running is not None and _may_wish(job, running):
            running.reversal_wanted = True
            return await services.recorder.refuse(job, ACKNOWLEDGED)
        if running is not None:
            with trio.move_on_at(job.deadline) as patience:
                await running.wait_outcome()
            if patience.cancelled_caught:
                break
        try:
            return await _reverse_stored(services, job, key, original.stan)
        except _OriginalRuns as found:
            # Its owner decides, as if the reversal had named its key.
            key = found.key
        except (OwnershipLost, LedgerRefused, _OriginalArrived):
            # The original moved between the question and the commit: look again.
            continue
    msg = "the original did not stand still while it was to be reversed"
    raise ReversalUndecided(msg)


def _find_running(services: Services, key: str) -> Job | None:
    """Find the owner of an original; a reversal, perhaps this very one, is none."""
    running = services.jobs.find(key)
    is_reversal = running is not None and running.txn.kind is Kind.REVERSAL
    return None if is_reversal else running


def _may_wish(job: Job, running: Job) -> bool:
    """Whether a reversal can leave its wish with the owner of its original."""
    is_whole = job.txn.remaining is None
    return is_whole and running.is_open and not running.is_closing


class ReversalUndecided(IsoswitchError):
    """The original does not stand still; nothing was answered, the terminal repeats."""


class _OriginalRuns(IsoswitchError):
    """The original was found by its card, under another key, and has its owner."""

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__("the original is still running")


class _OriginalArrived(IsoswitchError):
    """The original's key was taken while its absence was being written down."""


async def _reverse_stored(services: Services, job: Job, key: str, stan: str) -> Outcome:
    store, rrn = services.store, job.txn.rrn
    rows = await store.find_originals(job.txn.terminal_id, stan)
    named = await store.find_by_rrn(rrn) if rrn else ()
    held = await _held_minor(services, rows)
    match = find_original(job, key, rows, named, held=held)
    if isinstance(match, Ambiguous):
        return await services.recorder.leave_to_operator(job, AMBIGUOUS, match.ids)
    if match is None:
        return await _refuse_unknown(services, job, key, stan)
    if match.dedup_key != key and services.jobs.find(match.dedup_key) is not None:
        raise _OriginalRuns(match.dedup_key)
    async with services.jobs.claims.hold(hold_id(match)):
        return await _undo(services, job, match.id)


async def _held_minor(
    services: Services, rows: Sequence[StoredTransaction]
) -> dict[str, int]:
    """Give what is held by the id of each pre-authorisation, with its increments."""
    held: dict[str, int] = {}
    for row in rows:
        if row.kind in STAYS_HELD:
            hold = await services.store.find_hold(hold_id(row))
            held[row.id] = hold.held_minor if hold else 0
    return held


async def _refuse_unknown(services: Services, job: Job, key: str, stan: str) -> Outcome:
    """Take the key of an original that nobody knows, unless it is a reversal's."""
    recorder, original = services.recorder, job.txn.original
    assert original is not None, "checked first"
    is_request = job.txn.function is Function.REQUEST
    outcome = UNKNOWN_REQUEST if is_request else UNKNOWN_ADVICE
    if original.mti[1:2] == REVERSAL_CLASS:
        outcome = replace(outcome, reason=UNDOES_NO_REVERSAL)
        return await recorder.leave_to_operator(job, outcome)
    try:
        return await recorder.take_key(
            job, outcome, key=key, stan=stan, numbers=services.numbers.draw()
        )
    except DuplicateTransaction as duplicate:
        if duplicate.existing.dedup_key == key:
            raise _OriginalArrived(str(duplicate)) from None
        raise


async def _undo(services: Services, job: Job, original_id: str) -> Outcome:
    """Undo what stands of a transaction, down to what the reversal leaves."""
    recorder = services.recorder
    original = await services.store.find_transaction(original_id)
    assert original is not None, "transactions are never deleted"
    if not has_something_to_undo(original):
        return await recorder.refuse(job, NOTHING_TO_UNDO)
    if original.kind == Kind.VOID:
        return await recorder.leave_to_operator(job, VOID_STANDS, (original.id,))
    remaining = job.txn.remaining
    if remaining is not None and remaining.currency != original.currency:
        return await recorder.leave_to_operator(job, OTHER_MONEY, (original.id,))
    hold = await services.store.find_hold(hold_id(original))
    if hold is not None and hold.returning_minor:
        msg = "somebody gives money of it back, and does not know yet how much"
        raise ReversalUndecided(msg)
    undoing = undo(
        original,
        hold,
        by=job.id,
        business_date=job.business_date,
        leave_minor=remaining.minor if remaining else 0,
    )
    if undoing.after_minor >= undoing.before_minor:
        return await recorder.refuse(job, NOTHING_TO_UNDO)
    job.original_id = original.id
    return await recorder.undo(job, ACKNOWLEDGED, original, undoing)


def has_something_to_undo(original: StoredTransaction) -> bool:
    """Whether the issuer may hold money for this transaction.

    That is an approved one, and one that lost its owner before its outcome was known.
    """
    if original.reversed or not original.sealed:
        return original.kind == Kind.VOID and stands(original)
    return original.state is not TransactionState.CLOSED or stands(original)


def find_original(
    job: Job,
    key: str,
    rows: Sequence[StoredTransaction],
    named: Sequence[StoredTransaction] = (),
    *,
    held: Mapping[str, int] = {},
) -> StoredTransaction | Ambiguous | None:
    """Find what a reversal means: by its exact key, by our RRN, by card and amount.

    ``rows`` have the trace number, ``named`` the RRN that the reversal gives. The same
    trace number is legal again on another day, and comes again when a terminal begins
    to count anew: card, time and amount must agree as well, and when several still fit
    nobody guesses. ``held`` is what is set aside by the id of what stays held.
    """
    candidates = [row for row in rows if row.kind != Kind.REVERSAL]
    for row in candidates:
        if row.dedup_key == key:
            return row
    for row in named:
        if _is_named(job, row):
            return row
    fitting = [
        row
        for row in candidates
        if row.business_date == job.business_date
        and _has_card(job, row)
        and is_day(job, row)
        and _has_amount(job, row, held.get(row.id))
    ]
    if len(fitting) > 1:
        return Ambiguous(tuple(row.id for row in fitting))
    return fitting[0] if fitting else None


def _has_card(job: Job, row: StoredTransaction) -> bool:
    return not job.pan_hash or row.pan_hash == job.pan_hash


def _has_amount(job: Job, row: StoredTransaction, held_minor: int | None) -> bool:
    """Whether a row is over the amount that is reversed, at first or as it stands."""
    amount = job.txn.amount
    return amount is None or (
        amount.minor in (row.amount_minor, standing_minor(row), held_minor)
        and row.currency in ("", amount.currency)
    )


def _is_named(job: Job, row: StoredTransaction) -> bool:
    """Whether a reversal names this transaction by our RRN.

    A request that acts on another carries that one's RRN, and so does its reversal: it
    means the transaction of its trace number. Without one of its own, kind and
    approval code must agree.
    """
    txn, original = job.txn, job.txn.original
    assert original is not None, "checked first"
    if row.merchant_id != job.merchant_id or not _has_card(job, row):
        return False
    if original.stan != txn.stan:
        return row.stan == original.stan and row.terminal_id == txn.terminal_id
    code = load_outcome(row.outcome).approval_code if row.outcome else ""
    return row.kind == original.kind and bool(code) and txn.approval_code == code
