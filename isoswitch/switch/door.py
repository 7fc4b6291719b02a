"""Turns away what comes when too much is being decided already.

A refusal must cost little, or refusing takes the time that decisions need. So whoever
is turned away gets a glance and no more, and all who wait are turned away together:

    gather for a moment     what comes meanwhile comes along, and who finds a place goes
    one unit of work        for each a record and a row, which keeps its trace number
    the answers             authenticated group by group, a round trip for each
    read on                 now whoever sent them is heard again, see `Session.handle`

No MAC is verified: the answer tells nothing, and a copy of the request gets no other.

Only plain requests end here. Whatever needs a closer look (an unknown terminal, a
repeat, a message that makes no sense, a request that is known already) is decided like
any other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache

import structlog
import trio

from isoswitch.codecs.canonical.codes import ResponseCode
from isoswitch.codecs.canonical.errors import (
    HsmError,
    HsmUnavailable,
    LinkDown,
    StoreUnavailable,
)
from isoswitch.codecs.canonical.sealing import store_outcome
from isoswitch.codecs.canonical.transaction import Outcome
from isoswitch.codecs.dialects.glance import Glance, glance
from isoswitch.codecs.iso8583.message import Message
from isoswitch.journal.records import Record, RecordKind
from isoswitch.store.days import DayClosed
from isoswitch.store.port import (
    DuplicateTransaction,
    StoredTransaction,
    TransactionState,
    UnitOfWork,
)
from isoswitch.switch.admission import REASONS, Limit
from isoswitch.switch.dispatch import Arrival, Wait, find_terminal
from isoswitch.switch.keys import glanced_key
from isoswitch.switch.legs import mac_command, with_mac
from isoswitch.switch.logs import LegLine, legs
from isoswitch.switch.numbers import Numbering
from isoswitch.switch.ports import iso_time
from isoswitch.switch.services import Services
from isoswitch.switch.settings import TerminalSettings

# As many commands as the crypto process takes in one request (`HsmdSettings`).
TOGETHER_MAX = 16
# So many end in one round, which others wait for.
ROUND_MAX = 512
# What comes in this time is turned away together; nobody's patience is that short.
GATHER_S = 0.1

log = structlog.get_logger()


@dataclass(slots=True, eq=False)
class Refused:
    """A request that is turned away, and how it is answered."""

    arrival: Arrival
    glance: Glance
    key: str
    terminal: TerminalSettings
    numbers: Numbering
    outcome: Outcome
    answer: Message

    @property
    def id(self) -> str:
        """The id of what it would have been."""
        return self.numbers.transaction_id


class Door:
    """What waits to be turned away, and the task that does it.

    Parameters
    ----------
    current
        What a decision is made with now.
    decide
        Takes what needs a closer look after all.
    """

    def __init__(
        self, current: Callable[[], Services], *, decide: Callable[[Arrival], None]
    ) -> None:
        self._current = current
        self._decide = decide
        self._waiting: deque[Arrival] = deque()
        self._filled = trio.lowlevel.ParkingLot()
        self._ended = trio.Event()
        # Whether somebody waits for the next round, even if all have been let in.
        self._is_awaited = False

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, arrival: Arrival) -> Wait:
        """Take a message that came when too much was in hand.

        Gives a wait for the end of its round, by which it is turned away or let in.
        """
        self._waiting.append(arrival)
        self._is_awaited = True
        if self._filled:
            self._filled.unpark()
        return self._ended.wait

    def let_in(self) -> Arrival | None:
        """Give who has waited longest a place that has become free."""
        return self._waiting.popleft() if self._waiting else None

    async def run(self) -> None:
        """Turn away what waits, until cancelled."""
        while True:
            if not self._is_awaited:
                await self._filled.park()
            if len(self._waiting) < ROUND_MAX:
                await trio.sleep(GATHER_S)
            count = min(len(self._waiting), ROUND_MAX)
            arrivals = [self._waiting.popleft() for _ in range(count)]
            ended, self._ended = self._ended, trio.Event()
            self._is_awaited = bool(self._waiting)
            await self._end(arrivals)
            ended.set()

    async def _end(self, arrivals: Sequence[Arrival]) -> None:
        services = self._current()
        now = services.clock.now()
        looked = [(each, _look(services, each, now)) for each in arrivals]
        refused = [found for _, found in looked if found is not None]
        stored: Sequence[Refused] = []
        try:
            stored = await _write_down(services, refused, at=iso_time(now))
            services.counts.refusals[Limit.TOTAL] += len(stored)
            async with trio.open_nursery() as nursery:
                for start in range(0, len(stored), TOGETHER_MAX):
                    group = stored[start : start + TOGETHER_MAX]
                    nursery.start_soon(_answer, services, group)
        except StoreUnavailable as error:
            # What cannot be written down is not answered.
            stored = refused
            services.counts.unanswered += len(refused)
            services.health.notice("not_answered", error, count=len(refused))
        except Exception:
            # The edge of what came in: a fault of ours ends these and nothing else.
            stored = refused
            log.exception("turning_away_failed")
        is_over = frozenset(stored)
        for arrival, found in looked:
            if found in is_over:
                arrival.done()
            else:
                self._decide(arrival)


def _look(services: Services, arrival: Arrival, now: datetime) -> Refused | None:
    """Give how a request is turned away; None for what needs a closer look."""
    try:
        return _find_plain(services, arrival, now)
    except Exception:  # noqa: BLE001 (whoever decides it meets the fault and logs it)
        return None


@cache
def _outcome(code: ResponseCode) -> Outcome:
    return Outcome.declined(code, REASONS[Limit.TOTAL])


@cache
def _stored(code: ResponseCode) -> str:
    return store_outcome(_outcome(code))


def _find_plain(services: Services, arrival: Arrival, now: datetime) -> Refused | None:
    message = arrival.message
    currency = services.settings.default_currency
    seen = glance(arrival.dialect, message, reference=now, currency=currency)
    # Whoever has its numbers already has a place in the store.
    if seen is None or seen.is_repeat or arrival.numbers is not None:
        return None
    terminal = find_terminal(services, seen.terminal_id, arrival.certificate_pin)
    key = glanced_key(seen)
    if terminal is None or services.jobs.find(key):
        return None
    numbers = services.numbers.draw()
    outcome = _outcome(services.settings.overload_code(arrival.listener))
    answer = arrival.dialect.to_response(
        message,
        outcome,
        extra={} if 37 in message else {37: numbers.rrn},
        mac=bool(terminal.tak),
    )
    return Refused(arrival, seen, key, terminal, numbers, outcome, answer)


async def _write_down(
    services: Services, refused: Sequence[Refused], *, at: str
) -> Sequence[Refused]:
    """Make refusals durable, all in one unit, and give those that are.

    Not among them is what has a story already, which its copy must not contradict, and
    nothing at all is when its day was cut.
    """
    stored = list(refused)
    while stored:
        unit = UnitOfWork(
            records=tuple(_record(each, at) for each in stored),
            opens=tuple(_row(services, each, at) for each in stored),
        )
        try:
            await services.store.commit(unit)
        except DuplicateTransaction as duplicate:
            taken = duplicate.existing.dedup_key
            stored = [each for each in stored if each.key != taken]
        except DayClosed:
            return []
        else:
            break
    return stored


def _record(each: Refused, at: str) -> Record:
    seen, outcome = each.glance, each.outcome
    body = {
        "listener": each.arrival.listener,
        "terminal": seen.terminal_id,
        "kind": seen.kind,
        "mti": seen.mti,
        "stan": seen.stan,
        "mac": "unverified",
        "code": outcome.code,
        "reason": outcome.reason,
    }
    return Record(kind=RecordKind.REFUSED, transaction_id=each.id, at=at, body=body)


def _row(services: Services, each: Refused, at: str) -> StoredTransaction:
    seen = each.glance
    return StoredTransaction(
        id=each.id,
        dedup_key=each.key,
        fingerprint="",
        kind=seen.kind,
        state=TransactionState.CLOSED,
        node=services.settings.node,
        business_date=services.days.date,
        opened_at=at,
        terminal_id=seen.terminal_id,
        merchant_id=each.terminal.merchant_id,
        stan=seen.stan,
        rrn=each.numbers.rrn,
        outcome=_stored(each.outcome.code),
    )


async def _answer(services: Services, refused: Sequence[Refused]) -> None:
    """Authenticate answers in one round trip, where they need it, and send them.

    A request for many MACs fails for all when one key is missing, or when they are too
    many for the crypto process; its halves may not.
    """
    signed = [each for each in refused if each.terminal.tak]
    commands = [
        mac_command(each.arrival.dialect, each.answer, each.terminal.tak)
        for each in signed
    ]
    try:
        macs = await services.hsm.run(*commands) if commands else []
    except HsmError as error:
        if len(refused) > 1 and not isinstance(error, HsmUnavailable):
            middle = len(refused) // 2
            await _answer(services, refused[:middle])
            await _answer(services, refused[middle:])
            return
        services.counts.unanswered += len(refused)
        services.health.notice("not_answered", error, count=len(refused))
        return
    for each, mac in zip(signed, macs, strict=True):
        each.answer = with_mac(each.arrival.dialect, each.answer, mac)
    for each in refused:
        _send(each)


def _send(each: Refused) -> None:
    try:
        each.arrival.send(each.answer)
    except LinkDown as error:
        log.warning("answer_undeliverable", reason=str(error))
        return
    # One line for both messages: nothing happened between them.
    legs.put(
        LegLine(
            transaction=each.id,
            direction="refused",
            endpoint=each.arrival.listener,
            mti=each.glance.mti,
            stan=each.glance.stan,
            terminal=each.glance.terminal_id,
            code=str(each.answer.get(39, "")),
        )
    )
