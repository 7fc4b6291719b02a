"""Writes down what becomes of links, beside the way of the money.

State changes and cutovers wait in a queue for the one task that writes them. A link
never waits for it: what does not fit is counted and dropped, and the log has it still.
A partner's cutover is acknowledged when it is written down, and not before. Each
endpoint has a stream of its cutovers, ``cutover/<endpoint>``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import date, datetime, timedelta

import structlog
import trio

from isoswitch.codecs.canonical.codes import ResponseCode
from isoswitch.codecs.canonical.errors import (
    DecodeError,
    LinkDown,
    StoreUnavailable,
)
from isoswitch.codecs.canonical.transaction import Outcome
from isoswitch.codecs.dialects.cutover import read_cutover_date
from isoswitch.journal.records import Record, RecordKind
from isoswitch.store.days import DayRefused
from isoswitch.store.port import UnitOfWork
from isoswitch.switch.incoming import NetworkRequest
from isoswitch.switch.linkstate import LinkChange
from isoswitch.switch.ports import iso_time
from isoswitch.switch.services import Services

QUEUE_MAX = 1000
RETRY_S = 1.0
# No run of bank holidays with the weekends about it is longer.
AHEAD_MAX = timedelta(days=10)
# A cutover that names no day may be said again, under another trace number too, and
# some partners also tell when it is complete (202). The next day's comes later.
REPEATED_FOR = timedelta(hours=6)

log = structlog.get_logger()


class LinkJournal:
    """A bounded queue of what becomes of links, and the task that writes it down."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[
            LinkChange | NetworkRequest
        ](QUEUE_MAX)
        self.dropped_count = 0

    def put(self, event: LinkChange | NetworkRequest) -> None:
        """Take a state change or a cutover; a flood of them is counted and dropped."""
        try:
            self._send.send_nowait(event)
        except trio.WouldBlock:
            self.dropped_count += 1

    async def run(self, current: Callable[[], Services]) -> None:
        """Write until cancelled; the services may change meanwhile."""
        async for event in self._receive:
            services = current()
            if isinstance(event, LinkChange):
                await _note_change(services, event)
            else:
                await _take_cutover(services, event)


async def _note_change(services: Services, change: LinkChange) -> None:
    while True:
        try:
            await services.recorder.note(RecordKind.LINK, "", asdict(change))
        except StoreUnavailable as error:
            services.health.notice("link_change_not_recorded", error)
            await trio.sleep(RETRY_S)
        else:
            return


async def _take_cutover(services: Services, request: NetworkRequest) -> None:
    """Write down an endpoint's cutover, cut our day if it decides, and answer."""
    link = services.links.get(request.endpoint)
    if link is None:
        # It is configured no more, and its last connection is about to end.
        return
    try:
        code = await _count_cutover(services, request, cuts_day=link.settings.cuts_day)
    except DecodeError as error:
        log.warning("cutover_refused", endpoint=request.endpoint, reason=str(error))
        code = ResponseCode.FORMAT_ERROR
    except StoreUnavailable as error:
        # Without an answer the endpoint says it again.
        services.health.notice("cutover_not_recorded", error)
        return
    try:
        request.reply(Outcome(code=code), {})
    except LinkDown as error:
        log.warning("cutover_not_answered", reason=str(error))


async def _count_cutover(
    services: Services, request: NetworkRequest, *, cuts_day: bool
) -> ResponseCode:
    """Do what a cutover says, and give the answer to it."""
    endpoint, now = request.endpoint, services.clock.now()
    day = read_cutover_date(request.message, reference=now)
    named, opened = day.isoformat() if day else "", services.days.date
    if cuts_day and day and day - date.fromisoformat(opened) > AHEAD_MAX:
        reason = f"its cutover names {named}, too far ahead of {opened}"
        body = {"endpoint": endpoint, "reason": reason}
        await services.recorder.note(RecordKind.EXCEPTION, "", body)
        log.error("cutover_refused", endpoint=endpoint, reason=reason)
        return ResponseCode.RECONCILIATION_ERROR
    if cuts_day and not day and await _is_repeated(services, endpoint, now):
        log.warning("cutover_repeated", endpoint=endpoint)
        return ResponseCode.APPROVED
    record = Record(
        kind=RecordKind.LINK,
        transaction_id=_stream(endpoint),
        at=iso_time(now),
        body={"event": "cutover", "endpoint": endpoint, "date": named},
    )
    moves = cuts_day and (not named or named > opened)
    if not (moves and await _cut(services, endpoint, record, to=named)):
        await services.store.commit(UnitOfWork(records=(record,)))
    log.info("cutover", endpoint=endpoint, date=named)
    return ResponseCode.APPROVED


async def _cut(services: Services, endpoint: str, record: Record, *, to: str) -> bool:
    """Cut our day together with what tells of the cutover; False when it was cut."""
    reason = f"cutover of {endpoint}"
    try:
        await services.days.cut(reason=reason, to=to, records=(record,))
    except DayRefused as error:
        # Another node, or another message, has cut the same day.
        log.info("day_cut_already", endpoint=endpoint, reason=str(error))
        return False
    return True


async def _is_repeated(services: Services, endpoint: str, now: datetime) -> bool:
    """Tell whether an endpoint's last cutover, on any connection, is not long ago."""
    last_at, after_seq = "", 0
    while chained := await services.store.records(
        _stream(endpoint), after_seq=after_seq
    ):
        last_at, after_seq = chained[-1].record.at, chained[-1].seq
    return last_at > iso_time(now - REPEATED_FOR)


def _stream(endpoint: str) -> str:
    return f"cutover/{endpoint}"
