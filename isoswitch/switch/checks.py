"""What the switch itself declines, before any endpoint is asked."""

from __future__ import annotations

from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.codecs.canonical.transaction import Outcome
from isoswitch.switch.job import Job

MOVES_NO_MONEY = frozenset({Kind.BALANCE_INQUIRY, Kind.ACCOUNT_VERIFICATION})


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


def check_card_request(job: Job) -> Outcome | None:
    """Decline a request that no issuer could approve."""
    txn = job.txn
    if txn.pan is None:
        return Outcome.declined(ResponseCode.FORMAT_ERROR, "no card number")
    if txn.kind in MOVES_NO_MONEY:
        return None
    if txn.amount is None:
        return Outcome.declined(ResponseCode.FORMAT_ERROR, "no amount")
    if txn.amount.minor <= 0:
        return Outcome.declined(ResponseCode.INVALID_AMOUNT, "the amount is zero")
    return None
