"""Money goes back to a cardholder: a transaction of its own, decided by the issuer.

A refund names the purchase that it gives money back of. All refunds of a purchase
together never exceed it. One that names nothing is up to the merchant's policy.
"""

from __future__ import annotations

from dataclasses import replace

from isoswitch.codecs.canonical.codes import Function, Kind, ResponseCode
from isoswitch.codecs.canonical.transaction import Outcome
from isoswitch.ledger.entries import LedgerRefused
from isoswitch.switch.accounts import check_covered
from isoswitch.switch.checks import check_card_request
from isoswitch.switch.flows.authorisation import ask_issuer, authorise
from isoswitch.switch.job import Job
from isoswitch.switch.numbers import find_transaction_id
from isoswitch.switch.originals import (
    OriginalMissing,
    claim_original,
    complete_by_original,
    refuse_without_original,
)
from isoswitch.switch.routes import route_back
from isoswitch.switch.services import Services

REFUNDABLE = frozenset({Kind.PURCHASE, Kind.PURCHASE_WITH_CASHBACK, Kind.COMPLETION})
NO_POLICY = Outcome.declined(
    ResponseCode.INVALID_TRANSACTION, "this merchant refunds named purchases only"
)
OVER_POLICY = Outcome.declined(
    ResponseCode.EXCEEDS_AMOUNT_LIMIT, "more than a refund without a purchase may be"
)


async def refund(services: Services, job: Job) -> Outcome:
    """Give money back, within what was taken."""
    decline = check_card_request(
        job, services.settings.kinds, needs_card=not _names_original(job)
    )
    if decline is not None:
        return await services.recorder.refuse(job, decline)
    # Some networks tell refunds (0220); the issuer is asked all the same.
    job.txn = replace(job.txn, function=Function.REQUEST)
    if not _names_original(job):
        decline = _check_policy(job)
        if decline is not None:
            return await services.recorder.refuse(job, decline)
        return await authorise(services, job)
    try:
        async with claim_original(services, job, REFUNDABLE) as found:
            await complete_by_original(services, job, found)
            try:
                check_covered(job)
            except LedgerRefused as refused:
                decline = Outcome.declined(ResponseCode.INVALID_AMOUNT, str(refused))
                return await services.recorder.refuse(job, decline)
            return await ask_issuer(services, job, route_back(services, job))
    except OriginalMissing as missing:
        return await refuse_without_original(services, job, missing)


def _names_original(job: Job) -> bool:
    txn = job.txn
    is_ours = find_transaction_id(txn.rrn) is not None
    return txn.original is not None or bool(txn.approval_code) or is_ours


def _check_policy(job: Job) -> Outcome | None:
    """Decline a refund of nothing in particular that the merchant may not make."""
    max_minor = job.merchant.unlinked_refund_max_minor if job.merchant else 0
    assert job.txn.amount is not None, "checked before"
    if max_minor == 0:
        return NO_POLICY
    return OVER_POLICY if job.txn.amount.minor > max_minor else None
