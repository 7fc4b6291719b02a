"""A closed day's totals go to each endpoint that reconciles, until it has answered.

They are sent when store and forward has nothing left of the day, or after a while
anyway: what is still on its way then shows as a difference. An endpoint that finds
other totals says so with its own; that is an exception for the operator, and no more is
sent. Of several nodes the one sends that also drains what is owed to the endpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import structlog
import trio

from isoswitch.codecs.canonical.codes import Function, Kind, ResponseCode
from isoswitch.codecs.canonical.errors import (
    DecodeError,
    EncodeError,
    HsmError,
    LinkDown,
    MacMismatch,
    NoAnswer,
    StoreUnavailable,
)
from isoswitch.codecs.canonical.totals import Totals, sum_lines
from isoswitch.codecs.canonical.transaction import Transaction
from isoswitch.codecs.dialects.dialect import LegNumbers
from isoswitch.codecs.dialects.settlement import (
    day_fields,
    read_settlement,
    totals_fields,
)
from isoswitch.codecs.iso8583.message import Message
from isoswitch.journal.records import Record, RecordKind
from isoswitch.store.port import Reconciliation, UnitOfWork, Verdict
from isoswitch.switch.legs import authenticate, verify_answer
from isoswitch.switch.links import Link
from isoswitch.switch.ports import iso_time
from isoswitch.switch.services import Services

TICK_S = 1.0
PATIENCE_S = 900.0

VERDICTS: Mapping[ResponseCode, Verdict] = {
    ResponseCode.APPROVED: Verdict.AGREED,
    ResponseCode.RECONCILIATION_ERROR: Verdict.DIFFERS,
}

log = structlog.get_logger()

Key = tuple[str, str, str]


async def reconcile_forever(services: Services) -> None:
    """Send what is owed, one after the other, until cancelled."""
    next_at: dict[Key, float] = {}
    # When totals were first seen here that are owed: wall clocks may be wrong.
    seen_at: dict[Key, float] = {}
    while True:
        await trio.sleep(TICK_S)
        try:
            for owed in await services.store.reconciliations():
                key = owed.business_date, owed.endpoint, owed.currency
                now = trio.current_time()
                waited_s = now - seen_at.setdefault(key, now)
                if next_at.get(key, 0.0) <= now and await _is_due(
                    services, owed, waited_s
                ):
                    settings = services.links[owed.endpoint].settings
                    next_at[key] = trio.current_time() + settings.saf_retry_max_s
                    await _reconcile(services, owed)
        except (StoreUnavailable, HsmError) as error:
            log.error("reconciliation_postponed", reason=str(error))


async def _is_due(services: Services, owed: Reconciliation, waited_s: float) -> bool:
    link = services.links.get(owed.endpoint)
    if link is None or not link.is_up:
        return False
    if not services.leases.drains(link.settings):
        return False
    return waited_s > PATIENCE_S or not await services.store.is_owed(
        owed.endpoint, until=owed.business_date
    )


async def _reconcile(services: Services, owed: Reconciliation) -> None:
    """Send the totals once and record what came back."""
    link = services.links[owed.endpoint]
    lines = await services.store.day_totals(owed.business_date)
    ours = sum_lines(lines, by="endpoint").get((owed.endpoint, owed.currency), Totals())
    tried = replace(owed, attempts=owed.attempts + 1)
    try:
        message = await _build(services, link, owed, ours)
        await _note(services, tried, {"ours": asdict(ours)})
        answer = await link.request(
            message,
            deadline=trio.current_time() + link.settings.request_timeout_s,
            transaction_id="",
        )
        await verify_answer(services.hsm, link, answer)
        theirs = read_settlement(link.dialect, answer).totals
    except (LinkDown, NoAnswer, MacMismatch, DecodeError, EncodeError) as error:
        log.warning(
            "reconciliation_unanswered", endpoint=owed.endpoint, reason=str(error)
        )
        return
    verdict = VERDICTS.get(link.dialect.to_code(answer))
    if verdict is None:
        log.warning("reconciliation_refused", endpoint=owed.endpoint)
        return
    told = {"ours": asdict(ours), "theirs": asdict(theirs) if theirs else None}
    await _note(services, replace(tried, verdict=verdict), told)


async def _build(
    services: Services, link: Link, owed: Reconciliation, ours: Totals
) -> Message:
    numbers = services.numbers.draw()
    now = services.clock.now()
    txn = Transaction(
        kind=Kind.RECONCILIATION,
        function=Function.ADVICE,
        stan=numbers.stan,
        local_at=now.replace(tzinfo=None),
    )
    leg = LegNumbers(
        stan=numbers.stan,
        rrn=numbers.rrn,
        transmitted_at=now,
        acquirer_id=link.settings.acquirer_id,
        repeat=owed.attempts > 0,
    )
    extra = {
        **totals_fields(link.dialect, ours, owed.currency),
        **day_fields(link.dialect, owed.business_date),
    }
    message = link.dialect.to_request(txn, leg, mac=True, extra=extra)
    return await authenticate(services.hsm, link.dialect, message, link.settings.zak)


async def _note(
    services: Services, reconciliation: Reconciliation, told: dict[str, Any]
) -> None:
    """Write an attempt or a verdict down; a difference is an exception too."""
    body = {**asdict(reconciliation), **told}
    differs = reconciliation.verdict is Verdict.DIFFERS
    record = Record(
        kind=RecordKind.EXCEPTION if differs else RecordKind.SETTLEMENT,
        transaction_id="",
        at=iso_time(services.clock.now()),
        body=body,
    )
    await services.store.commit(
        UnitOfWork(records=(record,), reconciliations=(reconciliation,))
    )
    if reconciliation.verdict is not Verdict.OWED:
        report = log.error if differs else log.info
        report("reconciled", **asdict(reconciliation))
