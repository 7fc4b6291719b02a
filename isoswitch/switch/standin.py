"""Approving in place of an issuer that nobody can ask (failure table, rule 17).

What a profile does not allow is declined as it would be without one. What it allows is
approved with an approval code of our own range, recorded as stand-in, and owed to the
issuer as an advice by store and forward, before any reversal of it. The limits are kept
by the store (``store/standins.py``), so that they hold across requests and nodes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import structlog

from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.codecs.canonical.errors import EncodeError, HsmError
from isoswitch.codecs.canonical.transaction import Outcome, Transaction
from isoswitch.routing.route import Route
from isoswitch.store.port import OwnershipLost
from isoswitch.store.standins import StandIn, StandInRefused
from isoswitch.switch.advices import Advice
from isoswitch.switch.job import Job
from isoswitch.switch.legs import seal_advice
from isoswitch.switch.proof import CHIPS, prove
from isoswitch.switch.services import Services
from isoswitch.switch.settings import StandInSettings
from isoswitch.switch.units import Silence

APPROVAL_CODE_CHARACTERS = 6
# Cash is never given, and what gives money back can wait for its issuer.
MAY_STAND_IN = frozenset({Kind.PURCHASE, Kind.PREAUTHORISATION})

log = structlog.get_logger()

# What a profile may forbid: the question, and what is said when it does.
FORBIDDEN: tuple[tuple[Callable[[StandInSettings, Transaction], bool], str], ...] = (
    (lambda profile, txn: txn.kind not in profile.kinds, "not for this kind"),
    (lambda profile, txn: txn.amount is None, "not without an amount"),
    # Whose a wallet's code is, and whether it is one, only the wallet knows.
    (lambda profile, txn: txn.pan is None, "not without a card"),
    (
        lambda profile, txn: txn.pin_block is not None and not profile.with_pin,
        "not with a PIN that nobody can verify",
    ),
    (
        lambda profile, txn: (
            txn.emv is not None
            and not profile.with_chip
            and not (profile.cryptogram_key and txn.entry_mode in CHIPS)
        ),
        "not with chip data that nobody can verify",
    ),
    (
        lambda profile, txn: (
            txn.amount is not None and txn.amount.currency != profile.currency
        ),
        "not in this currency",
    ),
    (
        lambda profile, txn: (
            txn.amount is not None and txn.amount.minor > profile.floor_minor
        ),
        "above the floor limit",
    ),
)


async def stand_in(
    services: Services, job: Job, route: Route, *, after: Silence | None = None
) -> Outcome | None:
    """Approve what nobody could be asked about, within a profile; None if it may not.

    An outcome that declines is the answer, recorded by the caller: the card proved to
    be none that anybody would approve. ``after`` is the leg that an issuer left
    unanswered.
    """
    profile = find_profile(services, route)
    if profile is None or (after is not None and not profile.after_silence):
        return None
    month = f"{services.clock.now():%y%m}"
    objection = find_objection(profile, job.txn, month=month)
    if objection:
        log.info("not_stood_in", transaction=job.id, reason=objection)
        return None
    try:
        proof = await prove(services, job, profile)
        if isinstance(proof, Outcome):
            return replace(proof, reason=f"stand-in: {proof.reason}")
        outcome = Outcome(
            code=ResponseCode.APPROVED,
            approval_code=_approval_code(profile, job),
            reason=f"stand-in: {_why(route, after)}",
            emv=proof.answer,
        )
        advice = await _prepare_advice(services, job, route, profile, outcome)
        if job.reversal_wanted:
            return None
        await services.recorder.stand_in(
            job, advice, outcome, route=route, after=after, rows=proof.rows
        )
    except OwnershipLost:
        # Another request with the same cryptogram, or code, was first?
        proof = await prove(services, job, profile)
        if isinstance(proof, Outcome):
            return proof
        raise
    except (HsmError, EncodeError, StandInRefused) as error:
        log.warning("not_stood_in", transaction=job.id, reason=str(error))
        return None
    log.warning(
        "stood_in",
        transaction=job.id,
        endpoint=advice.limits.endpoint,
        profile=profile.name,
        reason=advice.reason,
    )
    return outcome


def find_profile(services: Services, route: Route) -> StandInSettings | None:
    """Find the profile for a card: of its BIN row, else of its first candidate."""
    profiles = services.settings.stand_in
    if route.stand_in:
        return profiles.get(route.stand_in)
    if not route.candidates:
        return None
    return profiles.get(services.links[route.candidates[0]].settings.stand_in)


def find_objection(profile: StandInSettings, txn: Transaction, *, month: str) -> str:
    """Say why a request is not approved in its issuer's place; empty when it may be.

    ``month`` is ``YYMM``: a card that expired before it gets nothing.
    """
    if txn.expiry and txn.expiry < month:
        return "not for an expired card"
    return next((reason for asks, reason in FORBIDDEN if asks(profile, txn)), "")


async def _prepare_advice(
    services: Services,
    job: Job,
    route: Route,
    profile: StandInSettings,
    outcome: Outcome,
) -> Advice:
    """Seal what the issuer must be told, under numbers that it has not seen yet.

    Raises
    ------
    HsmError, EncodeError
        It cannot be sealed, or the issuer's dialect cannot carry it.
    """
    link = services.links[route.candidates[0]]
    # A leg that was sent has taken the numbers of the transaction.
    numbers = services.numbers.draw() if job.is_open else job.numbers
    # The proof of the card and of its holder stays here: nobody asks for it now.
    txn = replace(
        job.txn, approval_code=outcome.approval_code, pin_block=None, track2=None
    )
    sealed = await seal_advice(services, txn, link, stan=numbers.stan, rrn=numbers.rrn)
    assert txn.amount is not None, "no profile allows a request without an amount"
    return Advice(
        sealed=sealed,
        rrn=numbers.rrn,
        reason=outcome.reason,
        limits=StandIn(
            transaction_id=job.id,
            profile=profile.name,
            endpoint=link.settings.name,
            pan_hash=job.pan_hash,
            business_date=job.business_date,
            currency=txn.amount.currency,
            amount_minor=txn.amount.minor,
            card_count_max=profile.card_count_max,
            card_minor_max=profile.card_minor_max,
            total_minor_max=profile.total_minor_max,
        ),
    )


def _approval_code(profile: StandInSettings, job: Job) -> str:
    """Give an approval code of our own range."""
    digits = APPROVAL_CODE_CHARACTERS - len(profile.approval_prefix)
    return profile.approval_prefix + job.numbers.stan[-digits:]


def _why(route: Route, after: Silence | None) -> str:
    return f"{after.leg.endpoint} was silent" if after else route.reason
