"""What follows a pre-authorisation: more is set aside, or it is taken.

A completion takes all or a part of what is held, and a little more within the
merchant's tolerance. Asked for (0200) the issuer decides; told of (0220) it has
happened: it is taken as soon as it is durable, and store and forward tells the issuer.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from isoswitch.codecs.canonical.codes import Function, Kind, ResponseCode
from isoswitch.codecs.canonical.transaction import Outcome
from isoswitch.ledger.entries import LedgerRefused
from isoswitch.switch.accounts import check_covered
from isoswitch.switch.checks import check_card_request
from isoswitch.switch.flows.advice import take
from isoswitch.switch.flows.authorisation import ask_issuer
from isoswitch.switch.job import Acted, Job
from isoswitch.switch.originals import (
    OriginalMissing,
    claim_original,
    complete_by_original,
    refuse_without_original,
)
from isoswitch.switch.ports import iso_time
from isoswitch.switch.routes import route_back
from isoswitch.switch.services import Services

HELD = frozenset({Kind.PREAUTHORISATION})
NOT_COVERED = ResponseCode.INVALID_AMOUNT


async def increase(services: Services, job: Job) -> Outcome:
    """Set more aside for a pre-authorisation, and wait for its completion anew."""
    decline = check_card_request(job, services.settings.kinds)
    if decline is not None:
        return await services.recorder.refuse(job, decline)
    try:
        async with claim_original(services, job, HELD) as found:
            held_for = timedelta(seconds=job.held_s)
            expires_at = iso_time(services.clock.now() + held_for)
            acted = replace(found, expires_at=expires_at)
            await complete_by_original(services, job, acted)
            return await _ask(services, job)
    except OriginalMissing as missing:
        return await refuse_without_original(services, job, missing)


async def complete(services: Services, job: Job) -> Outcome:
    """Take what a pre-authorisation holds, or a part of it."""
    decline = check_card_request(job, services.settings.kinds)
    if decline is not None:
        return await services.recorder.refuse(job, decline)
    try:
        async with claim_original(services, job, HELD) as found:
            await complete_by_original(services, job, _terms(services, job, found))
            if job.txn.function is Function.ADVICE:
                return await take(services, job, found.row.endpoint)
            return await _ask(services, job)
    except OriginalMissing as missing:
        return await refuse_without_original(services, job, missing)


def _terms(services: Services, job: Job, found: Acted) -> Acted:
    over_percent = services.settings.kinds.over_percent(job.merchant)
    return replace(found, is_final=job.txn.is_final, over_percent=over_percent)


async def _ask(services: Services, job: Job) -> Outcome:
    """Have the issuer decide what the ledger would take."""
    try:
        check_covered(job)
    except LedgerRefused as refused:
        decline = Outcome.declined(NOT_COVERED, str(refused))
        return await services.recorder.refuse(job, decline)
    return await ask_issuer(services, job, route_back(services, job))
