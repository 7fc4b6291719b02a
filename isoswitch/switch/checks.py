"""What the switch itself declines, before any endpoint is asked."""

from __future__ import annotations

from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.transaction import Outcome
from isoswitch.switch.job import Job
from isoswitch.switch.settings import KindSettings

MOVES_NO_MONEY = frozenset(
    {Kind.BALANCE_INQUIRY, Kind.MINI_STATEMENT, Kind.ACCOUNT_VERIFICATION}
)
# A terminal can go on with a part of these.
HAS_PARTS = frozenset({Kind.PURCHASE, Kind.CASH_WITHDRAWAL, Kind.PREAUTHORISATION})


def check_terminal(job: Job) -> Outcome | None:
    """Decline what comes from a terminal that nobody registered."""
    terminal = job.terminal
    if terminal is None:
        return Outcome.declined(
            ResponseCode.TERMINAL_NOT_PERMITTED, "the terminal is not registered"
        )
    if job.txn.merchant_id and job.txn.merchant_id != terminal.merchant_id:
        return Outcome.declined(
            ResponseCode.INVALID_MERCHANT, "the terminal belongs to another merchant"
        )
    return None


def may_be_partial(job: Job) -> bool:
    """Whether a terminal can go on with less than it asked for."""
    by_profile = job.terminal is not None and job.terminal.partial_approvals
    return job.txn.kind in HAS_PARTS and (job.txn.takes_part or by_profile)


def check_card_request(
    job: Job, kinds: KindSettings, *, needs_card: bool = True
) -> Outcome | None:
    """Decline a request that no issuer could approve, or that we do not offer.

    What names an earlier payment need not name the card or code that paid.
    """
    txn = job.txn
    if txn.pan is None and needs_card:
        if txn.code is None:
            return Outcome.declined(ResponseCode.FORMAT_ERROR, "no card number")
        if txn.kind is not Kind.PURCHASE:
            return Outcome.declined(
                ResponseCode.INVALID_TRANSACTION, "a payment code only buys"
            )
    if txn.kind in MOVES_NO_MONEY:
        if txn.amount is not None and txn.amount.minor:
            return Outcome.declined(ResponseCode.INVALID_AMOUNT, "moves no money")
        return None
    if txn.amount is None:
        return Outcome.declined(ResponseCode.FORMAT_ERROR, "no amount")
    if txn.amount.minor <= 0:
        return Outcome.declined(ResponseCode.INVALID_AMOUNT, "the amount is zero")
    if txn.kind is Kind.PURCHASE_WITH_CASHBACK:
        return _check_cashback(txn.amount, txn.cashback, kinds)
    return None


def _check_cashback(
    amount: Money, cash: Money | None, kinds: KindSettings
) -> Outcome | None:
    """The cash is a part of the amount, and no more than is paid out at a till."""
    if cash is None or not 0 < cash.minor <= amount.minor:
        return Outcome.declined(ResponseCode.INVALID_AMOUNT, "no part of it is cash")
    if cash.currency != amount.currency:
        return Outcome.declined(ResponseCode.INVALID_AMOUNT, "cash in other money")
    if cash.minor > kinds.cashback_max_minor:
        return Outcome.declined(
            ResponseCode.EXCEEDS_AMOUNT_LIMIT, "more cash than a till pays out"
        )
    return None
