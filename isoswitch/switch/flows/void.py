"""A terminal voids a transaction of its own before it counts.

Only a whole transaction is voided, of which nothing was refunded and nothing completed.
An endpoint that knows voids is asked; for the others a void is a reversal, accepted as
soon as it is durable and told by store and forward.
"""

from __future__ import annotations

from dataclasses import replace

from isoswitch.codecs.canonical.codes import Kind, ResponseCode, ReversalReason
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.transaction import Outcome
from isoswitch.ledger.holds import HoldState
from isoswitch.switch.accounts import STAYS_HELD, standing_minor, undo
from isoswitch.switch.flows.authorisation import NOBODY_UP, ask_issuer
from isoswitch.switch.job import Acted, Job
from isoswitch.switch.originals import (
    OriginalMissing,
    claim_original,
    complete_by_original,
    refuse_without_original,
)
from isoswitch.switch.routes import route_back
from isoswitch.switch.services import Services
from isoswitch.switch.settings import VoidStyle

VOIDABLE = frozenset(
    {
        Kind.PURCHASE,
        Kind.PURCHASE_WITH_CASHBACK,
        Kind.PREAUTHORISATION,
        Kind.COMPLETION,
        Kind.REFUND,
    }
)
VOIDED = Outcome(code=ResponseCode.APPROVED, reason="voided")
OTHER_AMOUNT = Outcome.declined(
    ResponseCode.INVALID_AMOUNT, "a void is over the whole amount that stands"
)
NOT_WHOLE = Outcome.declined(
    ResponseCode.INVALID_TRANSACTION, "part of the original was completed or refunded"
)


async def void(services: Services, job: Job) -> Outcome:
    """Undo a transaction at the wish of its terminal."""
    try:
        async with claim_original(services, job, VOIDABLE) as found:
            return await _void(services, job, found)
    except OriginalMissing as missing:
        return await refuse_without_original(services, job, missing)


async def _void(services: Services, job: Job, found: Acted) -> Outcome:
    recorder = services.recorder
    standing = Money(_voidable_minor(found), found.row.currency)
    if job.txn.amount not in (None, standing):
        return await recorder.refuse(job, OTHER_AMOUNT)
    undoing = undo(found.row, found.hold, by=job.id, business_date=job.business_date)
    if not undoing.changes or undoing.after_minor:
        return await recorder.refuse(job, NOT_WHOLE)
    link = services.links.get(found.row.endpoint)
    if link is None:
        return await recorder.refuse(job, NOBODY_UP)
    await complete_by_original(services, job, found)
    job.txn = replace(
        job.txn,
        amount=standing,
        reversal_reason=ReversalReason.CUSTOMER_CANCELLATION,
    )
    if link.settings.void_style is VoidStyle.REVERSAL:
        return await recorder.undo(job, VOIDED, found.row, undoing)
    return await ask_issuer(services, job, route_back(services, job))


def _voidable_minor(found: Acted) -> int:
    """Give what stands: of a pre-authorisation all that is held with it."""
    is_held = found.row.kind in STAYS_HELD and found.hold.state is HoldState.OPEN
    return found.hold.held_minor if is_held else standing_minor(found.row)
