"""What an issuer must be told of: an approval that was given in its place."""

from __future__ import annotations

from dataclasses import dataclass

from isoswitch.codecs.canonical.sealing import store_outcome
from isoswitch.codecs.canonical.transaction import Outcome
from isoswitch.store.port import Move, SafEntry, SafMessage, TransactionState
from isoswitch.store.standins import StandIn
from isoswitch.switch.job import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What an endpoint must be told that was approved in its place.

    ``sealed`` is the encrypted material of the advice and of its reversal, under
    ``rrn``; ``limits`` are what the approval must keep.
    """

    sealed: bytes
    rrn: str
    reason: str
    limits: StandIn


def advice_entry(job: Job, advice: Advice) -> SafEntry:
    """Give what store and forward takes to the issuer, in the order of its card."""
    return SafEntry(
        transaction_id=job.id,
        endpoint=advice.limits.endpoint,
        order_key=job.pan_hash,
        sealed=advice.sealed,
        reason=advice.reason,
        message=SafMessage.ADVICE,
        business_date=job.business_date,
    )


def stood_in_move(job: Job, advice: Advice, outcome: Outcome) -> Move:
    """Close a transaction with an approval that can be reversed as its advice says."""
    return Move(
        id=job.id,
        expect=TransactionState.SENDING,
        state=TransactionState.CLOSED,
        outcome=store_outcome(outcome),
        endpoint=advice.limits.endpoint,
        sealed=advice.sealed,
    )
