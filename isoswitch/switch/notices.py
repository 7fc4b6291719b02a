"""Tells terminals, unasked, what became of the codes that they show.

A notice is a courtesy: it is sent once, over the connection that asked for the code or
else that which the terminal used last, and nobody waits for it. A terminal that does
not get it asks. Where several processes share a store, that one tells which gave the
terminal its code: what others have seen paid it finds by looking now and then.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress

import structlog
import trio

from isoswitch.codecs.canonical.errors import HsmError, LinkDown, StoreUnavailable
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.transaction import Outcome
from isoswitch.codecs.dialects.notice import CodeNotice, build_notice
from isoswitch.codecs.iso8583.message import Message
from isoswitch.store.rows import PaymentCode
from isoswitch.switch.codewatch import EXPIRED, NOT_PAID, Shown, status_of
from isoswitch.switch.legs import authenticate
from isoswitch.switch.logs import LegLine, legs
from isoswitch.switch.services import Services

LOOK_S = 2.0
# So many codes are looked up at once without a sign that they have changed.
LOOKS_MAX = 100

log = structlog.get_logger()


class Notices:
    """Looks after what ``CodeWatch`` keeps; ``run`` it for as long as a switch runs."""

    def __init__(self, current: Callable[[], Services]) -> None:
        self._current = current

    async def run(self) -> None:
        """Tell of each code as soon as there is something to tell, until cancelled."""
        watch = self._current().code_watch
        while True:
            changed = await watch.wait_due(LOOK_S)
            services = self._current()
            for shown in _due(services, changed):
                try:
                    await self._look(services, shown)
                except (StoreUnavailable, HsmError) as error:
                    watch.look_again(shown.id)
                    log.info("notice_postponed", code=shown.id, reason=str(error))
                except LinkDown as error:
                    log.info("notice_undeliverable", code=shown.id, reason=str(error))
                except Exception:
                    watch.forget(shown.id)
                    log.exception("notice_failed", code=shown.id)
            # What it sends must not keep others from their turn.
            await trio.lowlevel.checkpoint()

    async def _look(self, services: Services, shown: Shown) -> None:
        watch = services.code_watch
        code = await services.store.find_row(PaymentCode, shown.id)
        if code is None:
            watch.forget(shown.id)
            return
        now = services.clock.now().timestamp()
        outcome = await status_of(services.store, code, now=now)
        if outcome is NOT_PAID:
            return
        if outcome is EXPIRED and not services.health.trusts_clock():
            # Another node may know better what time it is.
            return
        if watch.is_asked(shown):
            # It will know; if its question is answered too early, it is told.
            watch.look_again(shown.id)
            return
        await self._tell(services, shown, code, outcome)

    async def _tell(
        self, services: Services, shown: Shown, code: PaymentCode, outcome: Outcome
    ) -> None:
        numbers, dialect = services.numbers.draw(), shown.dialect
        message = build_notice(
            dialect,
            CodeNotice(
                rrn=shown.rrn,
                code=outcome.code,
                amount=Money(code.amount_minor, code.currency),
                terminal_id=shown.terminal.id,
                merchant_id=code.merchant_id,
            ),
            stan=numbers.stan,
            transmitted_at=services.clock.now(),
            mac=bool(shown.terminal.tak),
        )
        if shown.terminal.tak:
            tak = shown.terminal.tak
            message = await authenticate(services.hsm, dialect, message, tak)
        services.code_watch.forget(shown.id)
        _send(shown, message)
        legs.put(
            LegLine(
                transaction=shown.id,
                direction="out",
                endpoint="notice",
                mti=message.mti,
                stan=numbers.stan,
                terminal=shown.terminal.id,
                code=str(message.get(39, "")),
            )
        )


def _send(shown: Shown, message: Message) -> None:
    """Send to where the code was asked for, or else to where its terminal is now."""
    for send in shown.sends[:-1]:
        with suppress(LinkDown):
            send(message)
            return
    shown.sends[-1](message)


def _due(services: Services, changed: Collection[str]) -> list[Shown]:
    """Give what has changed, what has expired, and some of what others may pay."""
    everything = list(services.code_watch.shown.values())
    now = services.clock.now().timestamp()
    others = [
        shown
        for shown in everything
        if shown.id not in changed
        and (services.store.is_shared or shown.expires_at <= now)
    ]
    first = [shown for shown in everything if shown.id in changed]
    return first + others[:LOOKS_MAX]
