"""A request that the issuer decides: purchase, cash, pre-authorisation, inquiries.

Read from the top: check, route, ask, and what follows from each way the asking ends.
"""

from __future__ import annotations

from collections.abc import Mapping

import trio

from isoswitch.codecs.canonical.codes import ResponseCode
from isoswitch.codecs.canonical.errors import (
    DecodeError,
    EncodeError,
    HsmError,
    IsoswitchError,
    KeyRefused,
    LinkDown,
    MacMismatch,
    NoAnswer,
    PinBlockInvalid,
)
from isoswitch.codecs.canonical.transaction import Outcome
from isoswitch.routing.route import Route
from isoswitch.store.port import OwnershipLost
from isoswitch.switch.checks import MOVES_NO_MONEY, check_card_request, may_be_partial
from isoswitch.switch.contactless import (
    COUNTED,
    TAKES_MONEY,
    Verification,
    check_device,
    check_tap,
)
from isoswitch.switch.job import Job
from isoswitch.switch.legs import prepare_leg
from isoswitch.switch.routes import find_route
from isoswitch.switch.scanned import NOT_CONFIRMED, SPENT, NotConfirmed, ask, is_spent
from isoswitch.switch.services import Services
from isoswitch.switch.standin import stand_in
from isoswitch.switch.units import Leg, Silence

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
# Why no request could be made; the first kind that fits tells the outcome.
UNPREPARED: Mapping[type[IsoswitchError], Outcome] = {
    PinBlockInvalid: WRONG_PIN_BLOCK,
    KeyRefused: NO_KEY,
    HsmError: NO_CRYPTO,
    EncodeError: CANNOT_CARRY,
}
WITHOUT_PIN = frozenset({Verification.NONE, Verification.DEVICE})
PARTIAL = ResponseCode.PARTIALLY_APPROVED
NO_PART = Outcome.declined(
    ResponseCode.INSUFFICIENT_FUNDS, "a part was approved, which nobody can use"
)
NOBODY_UP = Outcome.declined(ResponseCode.ISSUER_UNAVAILABLE, "no endpoint is up")
NO_ANSWER = Outcome.declined(ResponseCode.ISSUER_UNAVAILABLE, "the issuer was silent")


async def authorise(services: Services, job: Job) -> Outcome:
    """Have the card's issuer decide, and record what it decided before telling."""
    recorder = services.recorder
    decline = check_card_request(job, services.settings.kinds)
    if decline is None and job.verification in WITHOUT_PIN:
        decline = await _check_device(services, job)
    if decline is None and await is_spent(services, job):
        decline = SPENT
    if decline is not None:
        return await recorder.refuse(job, decline)
    route = find_route(services, job)
    if not route.row:
        return await recorder.refuse(job, NO_ROUTE, route=route)
    try:
        return await ask_issuer(services, job, route)
    except OwnershipLost:
        if not job.code_hash or job.is_open:
            raise
        # Two tills scanned the code in the same moment, and the other was first.
        return await recorder.refuse(job, SPENT)


async def _check_device(services: Services, job: Job) -> Outcome | None:
    """Decline a tap that has gone far enough without a PIN."""
    limits = job.tap_limits or services.settings.contactless
    if job.verification == Verification.DEVICE:
        return check_device(job.txn, limits)
    earlier = await services.store.standing_of_card(
        job.pan_hash,
        kinds=TAKES_MONEY,
        verifications=COUNTED,
        limit=limits.taps_max,
    )
    return check_tap(job.txn, earlier, limits)


async def ask_issuer(services: Services, job: Job, route: Route) -> Outcome:
    """Ask the endpoints of a route until one of them may have decided."""
    recorder = services.recorder
    for name in route.endpoints:
        if not services.breakers.take_turn(name):
            continue
        link = services.links[name]
        try:
            leg = await prepare_leg(
                services, job, link, owes_reversal=job.txn.kind not in MOVES_NO_MONEY
            )
        except tuple(UNPREPARED) as error:
            return await recorder.refuse(job, _why_unprepared(error))
        await recorder.sending(job, leg, route)
        try:
            answer, outcome = await ask(services, job, leg, link)
        except NotConfirmed as error:
            return await recorder.timed_out(
                job, leg, NOT_CONFIRMED, reason=str(error), now=trio.current_time()
            )
        except LinkDown as error:
            services.breakers.failed(name, error)
            await recorder.not_written(job, leg, str(error))
            continue
        except (NoAnswer, MacMismatch, DecodeError, EncodeError, HsmError) as error:
            # Whatever came cannot be trusted, or told: the issuer may have approved,
            # so that nobody else may be asked.
            services.breakers.failed(name, error)
            return await _give_up(services, job, leg, route, error)
        if outcome.code is PARTIAL and not may_be_partial(job):
            return await recorder.unwanted(
                job, leg, answer, outcome, instead=NO_PART, now=trio.current_time()
            )
        is_decided = outcome.code not in link.settings.not_processed
        services.breakers.answered(name, is_success=is_decided)
        if is_decided or name == route.endpoints[-1] or job.reversal_wanted:
            return await recorder.answered(
                job, leg, answer, outcome, now=trio.current_time()
            )
        await recorder.not_processed(job, leg, answer, now=trio.current_time())
    decided = await stand_in(services, job, route)
    if decided is not None and decided.is_approved:
        return decided
    return await recorder.refuse(job, decided or NOBODY_UP, route=route)


async def _give_up(
    services: Services, job: Job, leg: Leg, route: Route, error: IsoswitchError
) -> Outcome:
    """Reverse what may have been approved; after silence, a profile may approve."""
    now, reason = trio.current_time(), str(error)
    decided = None
    if isinstance(error, NoAnswer) and leg.sealed:
        silence = Silence(leg=leg, reason=reason, ended_at=now)
        decided = await stand_in(services, job, route, after=silence)
        if decided is not None and decided.is_approved:
            return decided
    return await services.recorder.timed_out(
        job, leg, decided or NO_ANSWER, reason=reason, now=now
    )


def _why_unprepared(error: IsoswitchError) -> Outcome:
    return next(
        outcome for kind, outcome in UNPREPARED.items() if isinstance(error, kind)
    )
