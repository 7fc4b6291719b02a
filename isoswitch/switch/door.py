"""Turns away what comes when too much is being decided already.

A refusal must cost little, or refusing takes the time that decisions need. What is
turned away is therefore not decided one by one: all that came since the last look is
written down in one unit of work, without its messages, and authenticated in one round
trip to the crypto process. No MAC is verified: the answer tells nothing, and a copy of
the request gets no other one.

Only plain requests end here. Whatever needs a closer look (an unknown terminal, a
repeat, a message that makes no sense, a key that is taken) is decided like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
import trio

from isoswitch.codecs.canonical.errors import (
    HsmError,
    HsmUnavailable,
    LinkDown,
    StoreUnavailable,
)
from isoswitch.codecs.canonical.transaction import Outcome
from isoswitch.codecs.iso8583.message import Message
from isoswitch.store.days import DayClosed
from isoswitch.store.port import DuplicateTransaction
from isoswitch.switch.admission import begins_anew
from isoswitch.switch.checks import check_terminal
from isoswitch.switch.dispatch import (
    Arrival,
    check_overload,
    find_terminal,
    log_leg,
    open_job,
)
from isoswitch.switch.flows.table import NETWORK_KINDS
from isoswitch.switch.job import Job
from isoswitch.switch.legs import mac_command, with_mac
from isoswitch.switch.services import Services

# As many commands as the crypto process takes in one request (`HsmdSettings`).
TOGETHER_MAX = 16
# While so many groups are under way the next one gathers.
GROUPS_MAX = 16

log = structlog.get_logger()


@dataclass(slots=True, eq=False)
class Refused:
    """A request that is turned away, and how it is answered."""

    arrival: Arrival
    job: Job
    outcome: Outcome


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
        self._waiting: list[Arrival] = []
        self._filled = trio.lowlevel.ParkingLot()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, arrival: Arrival) -> None:
        """Take a message that came when too much was in hand."""
        self._waiting.append(arrival)
        self._filled.unpark()

    async def run(self) -> None:
        """Turn away what waits, until cancelled."""
        room = trio.Semaphore(GROUPS_MAX)
        async with trio.open_nursery() as nursery:
            while True:
                await room.acquire()
                while not self._waiting:
                    await self._filled.park()
                arrivals = self._waiting[:TOGETHER_MAX]
                del self._waiting[:TOGETHER_MAX]
                nursery.start_soon(self._end, arrivals, room)

    async def _end(self, arrivals: Sequence[Arrival], room: trio.Semaphore) -> None:
        services = self._current()
        refused: list[Refused] = []
        for arrival in arrivals:
            found = _look(services, arrival)
            if found is None:
                self._decide(arrival)
            else:
                refused.append(found)
        is_done = not refused or await _turn_away(services, refused)
        for each in refused:
            if is_done:
                each.arrival.done()
            else:
                self._decide(each.arrival)
        room.release()


async def _turn_away(services: Services, refused: Sequence[Refused]) -> bool:
    """Write down and answer; False when nothing was written and each needs a look."""
    try:
        await services.recorder.turn_away(
            [(each.job, each.outcome) for each in refused]
        )
        answers = await _authenticated(services, refused)
        for each, answer in zip(refused, answers, strict=True):
            _send(services, each, answer)
    except (DuplicateTransaction, DayClosed):
        # One of them has a story already, or all came on a day that is over.
        return False
    except StoreUnavailable as error:
        # What cannot be written down is not answered.
        services.counts.unanswered += len(refused)
        services.health.notice("not_answered", error)
    except Exception:
        # The edge of what came in: a fault of ours ends these and nothing else.
        log.exception("turning_away_failed")
    return True


def _look(services: Services, arrival: Arrival) -> Refused | None:
    """Give how a request is turned away; None for what needs a closer look."""
    try:
        return _find_plain(services, arrival)
    except Exception:  # noqa: BLE001 (whoever decides it meets the fault and logs it)
        return None


def _find_plain(services: Services, arrival: Arrival) -> Refused | None:
    settings = services.settings
    txn = arrival.dialect.to_transaction(
        arrival.message,
        reference=services.clock.now(),
        currency=settings.default_currency,
    )
    terminal = find_terminal(services, txn.terminal_id, arrival.certificate_pin)
    is_plain = begins_anew(txn) and txn.kind not in NETWORK_KINDS and txn.code is None
    if terminal is None or not is_plain:
        return None
    job = open_job(services, arrival, txn, terminal)
    if check_terminal(job) is not None or services.jobs.find(job.dedup_key):
        return None
    job.in_hand = settings.admission.in_flight_max + 1
    outcome = check_overload(services, job)
    assert outcome is not None, "more is in hand than the limit allows"
    # Made now: what cannot be answered is not for here either.
    job.response(outcome)
    return Refused(arrival, job, outcome)


async def _authenticated(
    services: Services, refused: Sequence[Refused]
) -> Sequence[Message | None]:
    """Give the answers with their MACs, where they need one; None where none is made.

    A request for many MACs fails for all when one key is missing, or when they are too
    many for the crypto process; its halves may not.
    """
    try:
        return await _authenticate_all(services, refused)
    except HsmError as error:
        if len(refused) > 1 and not isinstance(error, HsmUnavailable):
            middle = len(refused) // 2
            parts = refused[:middle], refused[middle:]
            return [
                answer
                for part in parts
                for answer in await _authenticated(services, part)
            ]
        services.counts.unanswered += len(refused)
        services.health.notice("not_answered", error, count=len(refused))
        return [None] * len(refused)


async def _authenticate_all(
    services: Services, refused: Sequence[Refused]
) -> list[Message]:
    """Give the answers, authenticated in one round trip; raises HsmError for all."""
    commands = [
        mac_command(each.job.dialect, each.job.response(each.outcome), each.job.tak)
        for each in refused
        if each.job.tak
    ]
    macs = iter(await services.hsm.run(*commands) if commands else ())
    return [
        with_mac(each.job.dialect, each.job.response(each.outcome), next(macs))
        if each.job.tak
        else each.job.response(each.outcome)
        for each in refused
    ]


def _send(services: Services, each: Refused, answer: Message | None) -> None:
    job, arrival = each.job, each.arrival
    services.counts.transactions[job.txn.kind, each.outcome.code] += 1
    log_leg(job, arrival.message, direction="in")
    try:
        if answer is not None:
            arrival.send(answer)
            log_leg(job, answer, direction="out")
    except LinkDown as error:
        log.warning("answer_undeliverable", reason=str(error))
