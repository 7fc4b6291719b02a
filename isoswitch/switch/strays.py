"""Answers that nobody waits for: late, misdirected, or not echoing their request.

The stored transaction is the tombstone: our retrieval reference number in the answer
names it. A late answer is written down and never forwarded; a late approval without a
reversal is an alarm.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog
import trio

from isoswitch.codecs.canonical.errors import StoreUnavailable
from isoswitch.codecs.canonical.sealing import load_outcome
from isoswitch.journal.records import RecordKind
from isoswitch.store.port import StoredTransaction, TransactionState
from isoswitch.switch.checks import MOVES_NO_MONEY
from isoswitch.switch.incoming import Stray
from isoswitch.switch.numbers import find_transaction_id
from isoswitch.switch.services import Services

QUEUE_MAX = 1000

log = structlog.get_logger()


class Strays:
    """A bounded queue of strays and the one task that writes them down."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[Stray](QUEUE_MAX)
        self.dropped_count = 0

    def put(self, stray: Stray) -> None:
        """Take a stray; a flood of them is counted and dropped, never queued."""
        try:
            self._send.send_nowait(stray)
        except trio.WouldBlock:
            self.dropped_count += 1

    async def run(self, current: Callable[[], Services]) -> None:
        """Write strays down until cancelled; the services may change meanwhile."""
        async for stray in self._receive:
            services = current()
            try:
                await _note(services, stray)
            except StoreUnavailable as error:
                services.health.notice("stray_not_recorded", error)


async def _note(services: Services, stray: Stray) -> None:
    message = stray.message
    transaction_id = find_transaction_id(str(message.get(37, ""))) or ""
    row = await services.store.find_transaction(transaction_id)
    body = {
        "endpoint": stray.endpoint,
        "reason": stray.miss.reason,
        "differing": list(stray.miss.differing),
        "message": message.masked(),
    }
    is_late = row is not None and row.state is TransactionState.CLOSED
    kind = RecordKind.LATE if is_late else RecordKind.UNMATCHED
    await services.recorder.note(kind, transaction_id if row else "", body)
    log.warning(
        "late_answer" if is_late else "unmatched_answer",
        transaction=transaction_id if row else "",
        endpoint=stray.endpoint,
        reason=stray.miss.reason,
        differing=stray.miss.differing,
        waiting_count=stray.miss.waiting_count,
    )
    link = services.links.get(stray.endpoint)
    # An endpoint that is configured no more may have approved.
    may_approve = link is None or link.dialect.to_code(message).is_approval
    if row is not None and is_late and may_approve and _holds_money(row):
        log.error("late_approval_without_reversal", transaction=row.id)


def _holds_money(row: StoredTransaction) -> bool:
    """Whether an approval would stay at the issuer without anybody wanting it."""
    if row.reversed or row.kind in MOVES_NO_MONEY:
        return False
    return not load_outcome(row.outcome).is_approved
