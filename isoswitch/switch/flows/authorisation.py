"""A request that the issuer decides: purchase, cash, balance.

Read from the top: check, route, ask, and what follows from each way the asking ends.
"""

from __future__ import annotations

import trio

from isoswitch.codecs.canonical.codes import ResponseCode
from isoswitch.codecs.canonical.errors import (
    DecodeError,
    EncodeError,
    HsmError,
    KeyRefused,
    LinkDown,
    MacMismatch,
    NoAnswer,
    PinBlockInvalid,
)
from isoswitch.codecs.canonical.transaction import Outcome
from isoswitch.switch.checks import MOVES_NO_MONEY, check_card_request
from isoswitch.switch.job import Job
from isoswitch.switch.legs import prepare_leg, read_answer
from isoswitch.switch.services import Services

NO_ROUTE = Outcome.declined(ResponseCode.NO_SUCH_ISSUER, "no route for this BIN")
WRONG_PIN_BLOCK = Outcome.declined(
    ResponseCode.CRYPTOGRAPHIC_ERROR, "the PIN block cannot be translated"
)
NO_KEY = Outcome.declined(
    ResponseCode.CRYPTOGRAPHIC_ERROR, "a working key of terminal or endpoint is missing"
)
NO_CRYPTO = Outcome.declined(
    ResponseCode.SYSTEM_MALFUNCTION, "the crypto service cannot serve this request"
)
CANNOT_CARRY = Outcome.declined(
    ResponseCode.SYSTEM_MALFUNCTION, "the endpoint's dialect cannot carry this request"
)
NOBODY_UP = Outcome.declined(ResponseCode.ISSUER_UNAVAILABLE, "no endpoint is up")
NO_ANSWER = Outcome.declined(ResponseCode.ISSUER_UNAVAILABLE, "the issuer was silent")


async def authorise(services: Services, job: Job) -> Outcome:
    """Have the card's issuer decide, and record what it decided before telling."""
    recorder = services.recorder
    decline = check_card_request(job)
    if decline is not None:
        return await recorder.refuse(job, decline)
    assert job.txn.pan is not None, "checked above"
    route = services.routing.find_route(job.txn.pan, services.is_up)
    if route is None:
        return await recorder.refuse(job, NO_ROUTE)
    for name in route.endpoints:
        link = services.links[name]
        try:
            leg = await prepare_leg(
                services, job, link, owes_reversal=job.txn.kind not in MOVES_NO_MONEY
            )
        except PinBlockInvalid:
            return await recorder.refuse(job, WRONG_PIN_BLOCK)
        except KeyRefused:
            return await recorder.refuse(job, NO_KEY)
        except HsmError:
            return await recorder.refuse(job, NO_CRYPTO)
        except EncodeError:
            return await recorder.refuse(job, CANNOT_CARRY)
        await recorder.sending(job, leg, route)
        deadline = min(
            job.deadline, trio.current_time() + link.settings.request_timeout_s
        )
        try:
            answer = await link.request(
                leg.message, deadline=deadline, transaction_id=job.id
            )
            outcome = await read_answer(services, job, link, answer)
        except LinkDown as error:
            await recorder.not_written(job, leg, str(error))
            continue
        except (NoAnswer, MacMismatch, DecodeError, HsmError) as error:
            # Whatever came cannot be trusted: the issuer may have approved.
            return await recorder.timed_out(
                job, leg, NO_ANSWER, reason=str(error), now=trio.current_time()
            )
        return await recorder.answered(
            job, leg, answer, outcome, now=trio.current_time()
        )
    return await recorder.refuse(job, NOBODY_UP)
