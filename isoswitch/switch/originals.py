"""The stored transaction that a request acts on, found by what names it best.

    1.  the RRN that we gave it
    2.  its trace number at this terminal, on the day that the original data tell
    3.  the same, and the amount

Merchant, card and approval code must agree wherever both sides tell them. When several
fit nobody guesses: the operator decides.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import trio

from isoswitch.codecs.canonical.codes import Function, Kind, ResponseCode
from isoswitch.codecs.canonical.errors import IsoswitchError
from isoswitch.codecs.canonical.sealing import load_outcome
from isoswitch.codecs.canonical.transaction import Outcome
from isoswitch.store.port import StoredTransaction, TransactionState
from isoswitch.switch.accounts import hold_id
from isoswitch.switch.job import Acted, Job
from isoswitch.switch.legs import SealLost, open_leg
from isoswitch.switch.services import Services

NOT_FOUND = Outcome.declined(ResponseCode.ORIGINAL_NOT_FOUND, "unknown original")
SEVERAL = Outcome.declined(
    ResponseCode.ORIGINAL_NOT_FOUND, "several originals fit; see the exceptions"
)
NOT_APPROVED = Outcome.declined(
    ResponseCode.ORIGINAL_NOT_FOUND, "the original was not approved"
)
UNDECIDED = Outcome.declined(
    ResponseCode.ISSUER_UNAVAILABLE, "the original is not decided yet"
)
UNDONE = Outcome.declined(
    ResponseCode.DUPLICATE_TRANSACTION, "the original is undone already"
)
BUSY = Outcome.declined(
    ResponseCode.ISSUER_UNAVAILABLE, "another request about the same original runs"
)
# DE 90 tells the day and time of the terminal's clock, rows that of ours.
SAME_DAY = timedelta(hours=12)


class OriginalMissing(IsoswitchError):
    """There is nothing to act on; an operator is to look at the ``candidates``."""

    def __init__(self, outcome: Outcome, candidates: tuple[str, ...] = ()) -> None:
        self.outcome = outcome
        self.candidates = candidates
        super().__init__(outcome.reason)


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """Several transactions fit what names the original."""

    ids: tuple[str, ...]


@asynccontextmanager
async def claim_original(
    services: Services, job: Job, kinds: Collection[Kind]
) -> AsyncIterator[Acted]:
    """Find what a job acts on, and keep others away from it meanwhile.

    Raises
    ------
    OriginalMissing
        Nothing approved fits, or several do.
    """
    row = await _find_original(services, job, kinds)
    owner = services.jobs.find(row.dedup_key)
    # Another under its key, be it this very job, has nothing to tell of it.
    if owner is not None and owner.id == row.id:
        with trio.move_on_at(job.deadline) as patience:
            await owner.wait_outcome()
        if patience.cancelled_caught:
            raise OriginalMissing(UNDECIDED)
    async with services.jobs.claims.hold(hold_id(row)):
        is_late = trio.current_time() >= job.deadline
        if is_late and job.txn.function is Function.REQUEST:
            raise OriginalMissing(BUSY)
        yield await _get_acted(services, row.id)


async def complete_by_original(services: Services, job: Job, acted: Acted) -> None:
    """Let a job act on its original, and tell the issuer of it as the issuer knows it.

    Raises
    ------
    OriginalMissing
        What was sealed of the original cannot be opened any more.
    HsmUnavailable
        It cannot be opened now.
    """
    try:
        leg = await open_leg(services, acted.row.sealed)
    except SealLost as lost:
        reason = f"what is sealed of the original: {lost}"
        outcome = Outcome.declined(ResponseCode.SYSTEM_MALFUNCTION, reason)
        raise OriginalMissing(outcome, (acted.row.id,)) from None
    job.acted, job.original_id = acted, acted.row.id
    job.txn = replace(
        job.txn,
        pan=job.txn.pan or leg.pan,
        expiry=job.txn.expiry or leg.expiry,
        original=leg.original,
        approval_code=load_outcome(acted.row.outcome).approval_code,
    )


async def refuse_without_original(
    services: Services, job: Job, missing: OriginalMissing
) -> Outcome:
    """Decline, and tell the operator where something may have happened already."""
    recorder = services.recorder
    if missing.candidates or job.txn.function is Function.ADVICE:
        return await recorder.leave_to_operator(
            job, missing.outcome, missing.candidates
        )
    return await recorder.refuse(job, missing.outcome)


async def _find_original(
    services: Services, job: Job, kinds: Collection[Kind]
) -> StoredTransaction:
    rows = await services.store.find_by_rrn(job.txn.rrn) if job.txn.rrn else ()
    match = match_original(job, kinds, rows)
    if match is None and job.txn.original is not None:
        stan = job.txn.original.stan
        rows = await services.store.find_originals(job.txn.terminal_id, stan)
        match = match_original(job, kinds, rows, by_trace=True)
    if match is None:
        raise OriginalMissing(NOT_FOUND)
    if isinstance(match, Ambiguous):
        raise OriginalMissing(SEVERAL, match.ids)
    return match


def match_original(
    job: Job,
    kinds: Collection[Kind],
    rows: Sequence[StoredTransaction],
    *,
    by_trace: bool = False,
) -> StoredTransaction | Ambiguous | None:
    """Choose among rows that have the right number; by trace the day must agree too."""
    fitting = [
        row
        for row in rows
        if row.kind in kinds
        and _agrees(job, row)
        and (not by_trace or is_day(job, row))
    ]
    if len(fitting) > 1:
        # What was refused at first came again.
        fitting = [row for row in fitting if not _was_declined(row)] or fitting
    amount = job.txn.amount
    if len(fitting) > 1 and amount is not None:
        fitting = [
            row for row in fitting if row.amount_minor == amount.minor
        ] or fitting
    if len(fitting) > 1:
        return Ambiguous(tuple(row.id for row in fitting))
    return fitting[0] if fitting else None


def _was_declined(row: StoredTransaction) -> bool:
    return bool(row.outcome) and not load_outcome(row.outcome).is_approved


def _agrees(job: Job, row: StoredTransaction) -> bool:
    """Whether merchant, card and approval code do not contradict each other."""
    code = load_outcome(row.outcome).approval_code if row.outcome else ""
    told = job.txn.approval_code
    return (
        row.merchant_id == job.merchant_id
        and (not job.pan_hash or row.pan_hash in ("", job.pan_hash))
        and (not told or not code or told == code)
    )


def is_day(job: Job, row: StoredTransaction) -> bool:
    """Whether a row is of the time that the original data tell, if they tell one."""
    original = job.txn.original
    assert original is not None, "only what names a trace number comes here"
    if original.local_at is not None:
        return row.local_at == original.local_at.isoformat()
    if original.transmitted_at is None:
        return True
    opened_at = datetime.fromisoformat(row.opened_at)
    return abs(opened_at - original.transmitted_at.astimezone(UTC)) < SAME_DAY


async def _get_acted(services: Services, transaction_id: str) -> Acted:
    """Give what a job acts on as it stands now, if anything of it stands."""
    row = await services.store.find_transaction(transaction_id)
    assert row is not None, "transactions are never deleted"
    if row.state is not TransactionState.CLOSED:
        raise OriginalMissing(UNDECIDED)
    if not load_outcome(row.outcome).is_approved:
        raise OriginalMissing(NOT_APPROVED)
    if row.reversed:
        raise OriginalMissing(UNDONE)
    hold = await services.store.find_hold(hold_id(row))
    if hold is None:
        raise OriginalMissing(NOT_FOUND)
    return Acted(row=row, hold=hold)
