"""The route of a job: what it is decided from, gathered from where it stands."""

from __future__ import annotations

from isoswitch.routing.bins import EVERYTHING, Span
from isoswitch.routing.facts import Facts
from isoswitch.routing.route import Route, Step, StepKind
from isoswitch.switch.job import Job
from isoswitch.switch.services import Services


def find_route(services: Services, job: Job) -> Route:
    """Decide who is asked about a job, in order; a route without endpoints is none."""
    return services.routing.find_route(
        to_facts(services, job), services.breakers.states()
    )


def route_back(services: Services, job: Job) -> Route:
    """Give the way to the endpoint that decided what a job acts on."""
    assert job.acted is not None, "only what acts on another goes its way"
    original = job.acted.row
    return Route(
        endpoints=(original.endpoint,) if original.endpoint in services.links else (),
        row="",
        steps=(Step(StepKind.ORIGINAL, original.endpoint, original.id),),
        facts=to_facts(services, job),
        states={},
    )


def to_facts(services: Services, job: Job) -> Facts:
    """Give what a route is decided from.

    What the switch knows of its merchants comes before what terminals say of them.
    """
    txn, merchant, now = job.txn, job.merchant, services.clock.now()
    code = txn.code.prefix if txn.code and txn.pan is None else ""
    return Facts(
        transaction_id=job.id,
        card=Span.of_card(txn.pan) if txn.pan else EVERYTHING,
        bin=txn.pan.stored_bin if txn.pan else "",
        kind=txn.kind,
        amount_minor=txn.amount.minor if txn.amount else 0,
        currency=txn.amount.currency if txn.amount else "",
        mcc=merchant.mcc if merchant else txn.mcc,
        merchant_id=job.merchant_id or txn.merchant_id,
        country=(merchant.country if merchant else "") or services.settings.country,
        entry_mode=txn.entry_mode,
        minute=now.hour * 60 + now.minute,
        code=code,
    )
