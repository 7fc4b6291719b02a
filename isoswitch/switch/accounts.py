"""What each kind of transaction does to the ledger.

    kind                                  holds between               when approved
    purchase, purchase with cash-back     issuer owes -> merchant     captured
    cash withdrawal                       issuer owes -> cash         captured
    refund                                merchant owes -> issuer     captured
    pre-authorisation                     issuer owes -> merchant     stays held

A hold has the id of the transaction that places it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from isoswitch.codecs.canonical.codes import Kind
from isoswitch.codecs.canonical.transaction import Outcome
from isoswitch.ledger.holds import Capture, Change, Place, Redirect, Release, Resize
from isoswitch.store.takings import ISSUER_ACCOUNTS
from isoswitch.switch.job import Job
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


def issuer_account(endpoint: str) -> str:
    """Name the account of what an endpoint owes us."""
    return ISSUER_ACCOUNTS + endpoint


def place_hold(
    job: Job, endpoint: str, *, opened_at: datetime, held_days: int
) -> tuple[Change, ...]:
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
        expires_at = iso_time(opened_at + timedelta(days=held_days))
    return (
        Place(
            id=job.id,
            debit=accounts[debit],
            credit=accounts[credit],
            amount=job.txn.amount,
            of=job.original_id if job.txn.kind is Kind.REFUND else "",
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
    """Capture what an issuer approved, or release what it did not."""
    asked = job.txn.amount
    if job.txn.kind not in SIDES or asked is None:
        return ()
    if not outcome.is_approved:
        return (Release(id=job.id),)
    approved_minor = outcome.amount.minor if outcome.amount else asked.minor
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
