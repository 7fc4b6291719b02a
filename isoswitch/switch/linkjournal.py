"""Writes down what becomes of links, beside the way of the money.

State changes and cutovers wait in a queue for the one task that writes them. A link
never waits for it: what does not fit is counted and dropped, and the log has it still.
A partner's cutover is acknowledged when it is written down, and not before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

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
from isoswitch.journal.records import RecordKind
from isoswitch.store.days import DayRefused
from isoswitch.switch.incoming import NetworkRequest
from isoswitch.switch.linkstate import LinkChange
from isoswitch.switch.services import Services

QUEUE_MAX = 1000
RETRY_S = 1.0

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
    code = ResponseCode.APPROVED
    try:
        day = read_cutover_date(request.message, reference=services.clock.now())
        date = day.isoformat() if day else ""
        body = {"event": "cutover", "endpoint": request.endpoint, "date": date}
        await services.recorder.note(RecordKind.LINK, "", body)
        if link.settings.cuts_day and (not date or date > services.days.date):
            await services.days.cut(reason=f"cutover of {request.endpoint}", to=date)
        log.info("cutover", endpoint=request.endpoint, date=date)
    except DecodeError as error:
        log.warning("cutover_refused", endpoint=request.endpoint, reason=str(error))
        code = ResponseCode.FORMAT_ERROR
    except DayRefused as error:
        # Another node, or another message, has cut the same day.
        log.info("day_cut_already", endpoint=request.endpoint, reason=str(error))
    except StoreUnavailable as error:
        # Without an answer the endpoint says it again.
        services.health.notice("cutover_not_recorded", error)
        return
    try:
        request.reply(link.dialect.to_response(request.message, Outcome(code=code)))
    except LinkDown as error:
        log.warning("cutover_not_answered", reason=str(error))
