"""A terminal tells of what has happened without asking: the chip approved it, offline.

It is taken for true as soon as it is durable, and store and forward tells the issuer.
What cannot be taken is declined and left to the operator: the goods are gone. That
something was declined offline is written down as a decline, and moves nothing.
"""

from __future__ import annotations

from isoswitch.codecs.canonical.codes import ResponseCode
from isoswitch.codecs.canonical.errors import EncodeError
from isoswitch.codecs.canonical.transaction import Outcome
from isoswitch.ledger.entries import LedgerRefused
from isoswitch.switch.checks import check_card_request
from isoswitch.switch.flows.authorisation import CANNOT_CARRY, NO_ROUTE, NOBODY_UP
from isoswitch.switch.job import Job
from isoswitch.switch.legs import seal_advice
from isoswitch.switch.routes import find_route
from isoswitch.switch.services import Services

ACCEPTED = Outcome(code=ResponseCode.APPROVED, reason="taken as told")
DECLINED_OFFLINE = Outcome.declined(
    ResponseCode.DO_NOT_HONOUR, "declined offline: nothing to take"
)


async def take_advice(services: Services, job: Job) -> Outcome:
    """Take for true what was approved offline."""
    recorder = services.recorder
    if job.txn.is_declined:
        return await recorder.refuse(job, DECLINED_OFFLINE)
    decline = check_card_request(job, services.settings.kinds)
    if decline is not None:
        return await recorder.leave_to_operator(job, decline)
    route = find_route(services, job)
    if not route.candidates:
        return await recorder.leave_to_operator(job, NO_ROUTE)
    return await take(services, job, route.candidates[0])


async def take(services: Services, job: Job, endpoint: str) -> Outcome:
    """Record what was done, and see to it that an endpoint learns of it."""
    recorder = services.recorder
    link = services.links.get(endpoint)
    if link is None:
        return await recorder.leave_to_operator(job, NOBODY_UP)
    try:
        sealed = await seal_advice(
            services, job.txn, link, stan=job.numbers.stan, rrn=job.rrn
        )
        return await recorder.advise(job, ACCEPTED, endpoint=endpoint, sealed=sealed)
    except EncodeError:
        return await recorder.leave_to_operator(job, CANNOT_CARRY)
    except LedgerRefused as refused:
        decline = Outcome.declined(ResponseCode.INVALID_AMOUNT, str(refused))
        return await recorder.leave_to_operator(job, decline)
