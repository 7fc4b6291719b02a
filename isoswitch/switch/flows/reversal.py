"""A terminal undoes an earlier transaction, or one whose fate it does not know.

Every reversal is acknowledged once it is written down, because a terminal that gets no
acknowledgement repeats for ever. What it does depends on how the original stands:

    running        acknowledged; undone as soon as its outcome is known
    approved       a reversal advice to the issuer is owed
    declined       nothing to undo
    reversed       nothing more to undo
    unknown        its key is taken, so that it is refused should it still arrive
    ambiguous      an exception for the operator; nothing is guessed
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from isoswitch.codecs.canonical.codes import Function, Kind, ResponseCode
from isoswitch.codecs.canonical.errors import IsoswitchError
from isoswitch.codecs.canonical.sealing import load_outcome
from isoswitch.codecs.canonical.transaction import Outcome
from isoswitch.store.port import (
    DuplicateTransaction,
    OwnershipLost,
    StoredTransaction,
    TransactionState,
)
from isoswitch.switch.job import Job
from isoswitch.switch.keys import original_key
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
NO_ORIGINAL_DATA = Outcome.declined(
    ResponseCode.FORMAT_ERROR, "the reversal does not name its original"
)
ATTEMPTS_MAX = 3


async def reverse(services: Services, job: Job) -> Outcome:
    """Acknowledge a reversal and see to it that the issuer learns of it."""
    original = job.txn.original
    if original is None:
        return await services.recorder.refuse(job, NO_ORIGINAL_DATA)
    key = original_key(job.txn)
    for _ in range(ATTEMPTS_MAX):
        running = services.jobs.find(key)
        if running is not None and running.is_open and not running.is_closing:
            running.reversal_wanted = True
            return await services.recorder.refuse(job, ACKNOWLEDGED)
        if running is not None:
            await running.wait_outcome()
        try:
            return await _reverse_stored(services, job, key, original.stan)
        except _OriginalRuns as found:
            # Its owner decides, as if the reversal had named its key.
            key = found.key
        except (OwnershipLost, _OriginalArrived):
            # The original moved between the question and the commit: look again.
            continue
    msg = "the original changed too often while it was being reversed"
    raise ReversalUndecided(msg)


class ReversalUndecided(IsoswitchError):
    """The original never stood still; nothing was answered, the terminal repeats."""


class _OriginalRuns(IsoswitchError):
    """The original was found by its card, under another key, and has its owner."""

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__("the original is still running")


class _OriginalArrived(IsoswitchError):
    """The original's key was taken while its absence was being written down."""


async def _reverse_stored(services: Services, job: Job, key: str, stan: str) -> Outcome:
    recorder = services.recorder
    rows = await services.store.find_originals(job.txn.terminal_id, stan)
    match = find_original(job, key, rows)
    if isinstance(match, Ambiguous):
        return await recorder.except_reversal(job, AMBIGUOUS, match.ids)
    if match is None:
        outcome = UNKNOWN_ADVICE
        if job.txn.function is Function.REQUEST:
            outcome = UNKNOWN_REQUEST
        try:
            return await recorder.take_key(
                job, outcome, key=key, stan=stan, numbers=services.numbers.draw()
            )
        except DuplicateTransaction as duplicate:
            if duplicate.existing.dedup_key == key:
                raise _OriginalArrived(str(duplicate)) from None
            raise
    if match.dedup_key != key and services.jobs.find(match.dedup_key) is not None:
        raise _OriginalRuns(match.dedup_key)
    if not has_something_to_undo(match):
        return await recorder.refuse(job, NOTHING_TO_UNDO)
    return await recorder.undo(job, ACKNOWLEDGED, match)


def has_something_to_undo(original: StoredTransaction) -> bool:
    """Whether the issuer may hold money for this transaction.

    That is an approved one, and one that lost its owner before its outcome was known.
    """
    if original.reversed or not original.sealed:
        return False
    if original.state is TransactionState.CLOSED:
        return load_outcome(original.outcome).is_approved
    return True


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """Several transactions fit the original data."""

    ids: tuple[str, ...]


def find_original(
    job: Job, key: str, rows: Sequence[StoredTransaction]
) -> StoredTransaction | Ambiguous | None:
    """Find what a reversal means: by its exact key, else by card among the same STAN.

    The same STAN is legal again on another day, so the card must agree as well, and
    when several still fit nobody guesses.
    """
    candidates = [row for row in rows if row.kind != Kind.REVERSAL]
    for row in candidates:
        if row.dedup_key == key:
            return row
    same_card = [
        row
        for row in candidates
        if row.business_date == job.business_date
        and (not job.pan_hash or row.pan_hash == job.pan_hash)
    ]
    if len(same_card) > 1:
        return Ambiguous(tuple(row.id for row in same_card))
    return same_card[0] if same_card else None
