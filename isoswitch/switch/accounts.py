"""What each kind of transaction does to the ledger.

    kind                                  holds between               when approved
    purchase, purchase with cash-back     issuer owes -> merchant     captured
    cash withdrawal                       issuer owes -> cash         captured
    refund                                merchant owes -> issuer     captured
    pre-authorisation                     issuer owes -> merchant     stays held
    incremental                           (that of its original)      more is held
    completion                            (that of its original)      captured
    void                                  (that of its original)      undone

A hold has the id of the transaction that places it; what a completion captured is one
of its own under its own id. A refund's is ``of`` the hold that it gives money back of,
if it names an original.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.codecs.canonical.sealing import load_outcome
from isoswitch.codecs.canonical.transaction import Outcome
from isoswitch.ledger.entries import Entry
from isoswitch.ledger.holds import (
    AmountExceeded,
    Capture,
    Change,
    Hold,
    HoldState,
    HoldUnknown,
    Place,
    Redirect,
    Release,
    Resize,
    Return,
    apply,
)
from isoswitch.store.port import StoredTransaction, TransactionState
from isoswitch.store.takings import ISSUER_ACCOUNTS
from isoswitch.switch.job import Acted, Job
from isoswitch.switch.ports import iso_time

# Which sides a kind debits and credits when its hold is captured.
SIDES: Mapping[Kind, tuple[str, str]] = {
    Kind.PURCHASE: ("issuer", "merchant"),
    Kind.PURCHASE_WITH_CASHBACK: ("issuer", "merchant"),
    Kind.CASH_WITHDRAWAL: ("issuer", "cash"),
    Kind.PREAUTHORISATION: ("issuer", "merchant"),
    Kind.REFUND: ("merchant", "issuer"),
}
# What stays held after its approval, until it is completed or its time is over.
STAYS_HELD = frozenset({Kind.PREAUTHORISATION})
# What moves money when it is approved.
MOVES_MONEY = (SIDES.keys() - STAYS_HELD) | {Kind.COMPLETION}

EPOCH = datetime.fromtimestamp(0, UTC)


def issuer_account(endpoint: str) -> str:
    """Name the account of what an endpoint owes us."""
    return ISSUER_ACCOUNTS + endpoint


def hold_id(row: StoredTransaction) -> str:
    """Give the hold of a stored transaction, or the one that it made larger."""
    return row.original_id if row.kind == Kind.INCREMENTAL else row.id


def stands(row: StoredTransaction) -> bool:
    """Whether a transaction was approved and nobody has undone all of it since."""
    return (
        bool(row.outcome) and not row.reversed and load_outcome(row.outcome).is_approved
    )


def standing_minor(row: StoredTransaction) -> int:
    """Give what stands of an approved transaction: what was approved, less reversals.

    The outcome of a partly reversed transaction is kept with the amount that remains.
    """
    outcome = load_outcome(row.outcome) if row.outcome else None
    return outcome.amount.minor if outcome and outcome.amount else row.amount_minor


def place_hold(job: Job, endpoint: str, *, opened_at: datetime) -> tuple[Change, ...]:
    """Set the amount of a request aside before its issuer is asked."""
    sides = SIDES.get(job.txn.kind)
    if sides is None or job.txn.amount is None:
        return ()
    terminal = job.terminal
    assert terminal is not None, "only a registered terminal reaches a leg"
    accounts = {
        "issuer": issuer_account(endpoint),
        "merchant": f"merchant/{terminal.merchant_id}",
        "cash": f"cash/{terminal.id}",
    }
    debit, credit = sides
    expires_at = ""
    if job.txn.kind in STAYS_HELD:
        expires_at = iso_time(opened_at + timedelta(seconds=job.held_s))
    return (
        Place(
            id=job.id,
            debit=accounts[debit],
            credit=accounts[credit],
            amount=job.txn.amount,
            of=job.acted.hold.id if job.acted else "",
            expires_at=expires_at,
        ),
    )


def redirect_hold(job: Job, *, endpoint: str, instead: str) -> tuple[Change, ...]:
    """Let another issuer owe what is held, because the request goes there now."""
    if job.txn.kind not in SIDES:
        return ()
    return (
        Redirect(
            id=job.id,
            account=issuer_account(endpoint),
            instead=issuer_account(instead),
        ),
    )


def settle_hold(job: Job, outcome: Outcome) -> tuple[Change, ...]:
    """Do what an approval does to the ledger; give free what was held for a decline.

    Raises
    ------
    AmountExceeded
        It is in another currency than what is held.
    """
    asked = job.txn.amount
    if asked is None:
        return ()
    if not outcome.is_approved:
        return (Release(id=job.id),) if job.txn.kind in SIDES else ()
    approved_minor = outcome.amount.minor if outcome.amount else asked.minor
    if job.acted is not None and job.txn.kind in _ON_APPROVAL:
        if asked.currency != job.acted.hold.currency:
            msg = f"hold {job.acted.hold.id} is in another currency"
            raise AmountExceeded(msg)
        return _ON_APPROVAL[job.txn.kind](job, job.acted, approved_minor)
    if job.txn.kind not in SIDES:
        return ()
    if job.txn.kind in STAYS_HELD:
        if approved_minor == asked.minor:
            return ()
        return (Resize(id=job.id, by_minor=approved_minor - asked.minor),)
    return (
        Capture(
            id=job.id,
            by=job.id,
            minor=approved_minor,
            business_date=job.business_date,
        ),
    )


def check_covered(job: Job) -> None:
    """Check that the ledger would take what a job does to its original.

    Raises
    ------
    LedgerRefused
        The hold is resolved, or smaller than this.
    """
    assert job.acted is not None, "only what acts on another is checked"
    book = _OneHold(job.acted.hold)
    approved = Outcome(code=ResponseCode.APPROVED)
    placed = place_hold(job, "", opened_at=EPOCH)
    for change in (*placed, *settle_hold(job, approved)):
        for hold in apply(change, book).holds:
            book.holds[hold.id] = hold


class _OneHold:
    """A book that knows one hold, and what is tried on it."""

    def __init__(self, hold: Hold) -> None:
        self.holds = {hold.id: hold}

    def find_hold(self, hold_id: str) -> Hold | None:
        """Find a hold."""
        return self.holds.get(hold_id)

    def find_entry(self, entry_id: str) -> Entry | None:
        """Find no entry: nothing is ever written here."""
        del entry_id
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Undoing:
    """What undoing a transaction does to the ledger.

    ``before_minor`` stood until now, ``after_minor`` stands then. For a
    pre-authorisation both are all that is held with it, increments included.
    """

    changes: tuple[Change, ...]
    before_minor: int
    after_minor: int


def undo(
    row: StoredTransaction,
    hold: Hold | None,
    *,
    by: str,
    business_date: str,
    leave_minor: int = 0,
) -> Undoing:
    """Give what undoes a transaction, down to what is to stand of it.

    What was refunded of it stays refunded, and what of it was captured stays captured:
    so much more stands of it. A hold that is resolved already is left alone.

    Raises
    ------
    HoldUnknown
        The ledger does not know what moved money.
    """
    before = standing_minor(row)
    is_closed = row.state is TransactionState.CLOSED
    if hold is None and is_closed and before and row.kind in MOVES_MONEY:
        msg = f"transaction {row.id} has no hold of its own in the ledger"
        raise HoldUnknown(msg)
    if hold is None or not is_closed:
        # It lost its owner before its outcome was known: nothing was captured.
        release = (Release(id=row.id),) if row.kind in SIDES else ()
        return Undoing(changes=release, before_minor=before, after_minor=0)
    changes: tuple[Change, ...]
    if row.kind in STAYS_HELD:
        return _undo_hold(hold, leave_minor=leave_minor)
    if row.kind == Kind.INCREMENTAL:
        least = max(1, hold.captured_minor)
        minor = min(before - leave_minor, hold.held_minor - least)
        if hold.state is not HoldState.OPEN or minor <= 0:
            return Undoing(changes=(), before_minor=before, after_minor=before)
        changes = (Resize(id=hold.id, by_minor=-minor, from_minor=hold.held_minor),)
        return Undoing(changes=changes, before_minor=before, after_minor=before - minor)
    minor = min(before - leave_minor, hold.returnable_minor)
    if minor <= 0:
        return Undoing(changes=(), before_minor=before, after_minor=before)
    changes = (
        Return(
            id=hold.id,
            by=by,
            business_date=business_date,
            minor=minor,
            from_minor=hold.returned_minor,
        ),
    )
    return Undoing(changes=changes, before_minor=before, after_minor=before - minor)


def _undo_hold(hold: Hold, *, leave_minor: int) -> Undoing:
    """Release an open hold, or hold less."""
    held, least = hold.held_minor, hold.captured_minor
    changes: tuple[Change, ...] = ()
    after = held
    if hold.state is HoldState.OPEN and leave_minor < held:
        after = max(leave_minor, least)
        changes = (Release(id=hold.id, from_minor=hold.remaining_minor),)
        if after > least:
            changes = (Resize(id=hold.id, by_minor=after - held, from_minor=held),)
    return Undoing(changes=changes, before_minor=held, after_minor=after)


def _increase(job: Job, acted: Acted, minor: int) -> tuple[Change, ...]:
    del job
    return (Resize(id=acted.hold.id, by_minor=minor, expires_at=acted.expires_at),)


def _complete(job: Job, acted: Acted, minor: int) -> tuple[Change, ...]:
    return (
        Capture(
            id=acted.hold.id,
            by=job.id,
            minor=minor,
            business_date=job.business_date,
            is_final=acted.is_final,
            over_percent=acted.over_percent,
        ),
    )


def _void(job: Job, acted: Acted, minor: int) -> tuple[Change, ...]:
    del minor
    undoing = undo(acted.row, acted.hold, by=job.id, business_date=job.business_date)
    return undoing.changes


_ON_APPROVAL: Mapping[Kind, Callable[[Job, Acted, int], tuple[Change, ...]]] = {
    Kind.INCREMENTAL: _increase,
    Kind.COMPLETION: _complete,
    Kind.VOID: _void,
}
