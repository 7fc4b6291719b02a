"""Disk full, crypto process gone, clock moved: no new money, and no restart needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from math import inf
from typing import Any

import pytest
import structlog
import trio

from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.codecs.canonical.errors import HsmUnavailable
from isoswitch.hsm.port import AnyCommand, Hsm
from isoswitch.journal.records import RecordKind
from isoswitch.simulators.beliefs import Belief, BeliefState
from isoswitch.simulators.cards import get_card
from isoswitch.simulators.swarm import settle
from isoswitch.simulators.world import World
from isoswitch.switch.health import Part
from isoswitch.switch.settings import SwitchSettings

CARD = get_card("visa-ok")
TOLD = ("condition_began", "condition_over")
Change = Callable[[SwitchSettings], SwitchSettings]
HOUR = timedelta(hours=1)


def told_events(logs: Sequence[Mapping[str, Any]]) -> Counter[str]:
    """Count what an operator reads."""
    return Counter(each["event"] for each in logs if each["log_level"] != "debug")


class MovedWorld(World):
    """A network whose wall clock can be moved, and whose crypto service can go."""

    def __init__(self, *, change: Change = lambda settings: settings) -> None:
        self.moved = timedelta(0)
        self.failing_calls: float = 0
        super().__init__(wrap_hsm=self._wrap, change=change)

    def now(self) -> datetime:
        """Give the time as the moved clock shows it."""
        return super().now() + self.moved

    def _wrap(self, hsm: Hsm) -> Hsm:
        world = self

        class Absent:
            async def run(self, *commands: AnyCommand) -> list[bytes]:
                if world.failing_calls:
                    world.failing_calls -= 1
                    msg = "no crypto process answers"
                    raise HsmUnavailable(msg)
                return await hsm.run(*commands)

        return Absent()

    def conditions(self) -> list[Part]:
        """Give what the switch says is wrong."""
        assert self.switch is not None
        return [each.part for each in self.switch.health.conditions]

    async def pay(self) -> Belief:
        """Pay once at a terminal without patience for more than one answer."""
        return await self.terminals["TERM0001"].purchase(CARD, 1250, pin=CARD.pin)

    def booked(self) -> int:
        """Count what the issuer booked."""
        return len(self.issuers["north"].bookings.entries)


@pytest.fixture
async def world(nursery: trio.Nursery) -> AsyncIterator[MovedWorld]:
    """A network that is well again at the end of its test."""
    network = MovedWorld()
    await nursery.start(network.run)
    yield network
    verdict = await settle(network)
    assert verdict.is_settled, verdict.describe()
    assert network.conditions() == []


async def test_a_full_disk_stops_money_until_there_is_room(world: MovedWorld) -> None:
    assert world.store is not None
    with structlog.testing.capture_logs() as logs:
        world.store.is_full = True
        async with trio.open_nursery() as customers:
            for _ in range(5):
                customers.start_soon(world.pay)
            await trio.sleep(6)
            assert world.booked() == 0
            assert world.conditions() == [Part.STORE]
            world.store.is_full = False
            await trio.sleep(2)
            assert world.conditions() == []
    # The terminals repeated, and the same process served them.
    beliefs = world.terminals["TERM0001"].beliefs
    assert {each.state for each in beliefs} == {BeliefState.APPROVED}
    events = told_events(logs)
    assert [events[name] for name in TOLD] == [1, 1]
    assert events["not_answered"] == 0


async def test_what_a_full_disk_kept_from_being_written_is_written_later(
    world: MovedWorld,
) -> None:
    assert world.store is not None
    world.store.is_full = True
    async with trio.open_nursery() as customers:
        customers.start_soon(world.pay)
        await trio.sleep(5)
        world.store.is_full = False
    await trio.sleep(3)
    records = await world.store.records("")
    told = [
        (each.record.body["part"], each.record.body["state"])
        for each in records
        if each.record.kind is RecordKind.CONDITION
    ]
    assert told == [("store", "began"), ("store", "over")]


async def test_without_the_crypto_process_no_money_moves_and_it_is_told_once(
    world: MovedWorld,
) -> None:
    with structlog.testing.capture_logs() as logs:
        world.failing_calls = inf
        # Nobody pays: the switch finds out by itself.
        await trio.sleep(10)
        assert world.conditions() == [Part.CRYPTO]
        async with trio.open_nursery() as customers:
            for _ in range(5):
                customers.start_soon(world.pay)
            await trio.sleep(3)
            assert world.booked() == 0
            world.failing_calls = 0
        await trio.sleep(2)
        assert world.conditions() == []
        assert (await world.pay()).state is BeliefState.APPROVED
    events = told_events(logs)
    assert [events[name] for name in TOLD] == [1, 1]


async def test_a_repeat_that_comes_without_crypto_is_not_taken_for_another_request(
    world: MovedWorld,
) -> None:
    """It cannot be compared with the original, so nothing is said before it can."""
    terminal = world.terminals["TERM0001"]
    request = terminal.build(Kind.PURCHASE, CARD, 1250)
    first = await terminal.exchange(request)
    world.failing_calls = 1
    again = await terminal.exchange(terminal.as_repeat(request))
    assert first
    assert again
    assert again.outcome == first.outcome


@pytest.mark.parametrize("moved", [HOUR, -HOUR], ids=["forward", "back"])
async def test_a_clock_that_jumps_stops_new_money_until_it_is_right(
    world: MovedWorld, moved: timedelta
) -> None:
    paid = await world.pay()
    with structlog.testing.capture_logs() as logs:
        world.moved = moved
        # Before any tick of the watch.
        refused = [await world.pay() for _ in range(5)]
        codes = {each.outcome.code for each in refused if each.outcome}
        assert codes == {ResponseCode.SYSTEM_MALFUNCTION}
        assert world.conditions() == [Part.CLOCK]
        # What happened before can still be undone.
        await world.terminals["TERM0001"].reverse(paid)
        assert paid.state is BeliefState.REVERSED
        await trio.sleep(60)
        world.moved = timedelta(0)
        assert (await world.pay()).state is BeliefState.APPROVED
    events = told_events(logs)
    assert [events[name] for name in TOLD] == [1, 1]


async def test_an_operator_confirms_a_clock_that_was_set_right(
    world: MovedWorld,
) -> None:
    world.moved = HOUR
    await trio.sleep(2)
    assert world.conditions() == [Part.CLOCK]
    assert world.switch is not None
    world.switch.health.confirm_clock()
    assert world.conditions() == []
    assert (await world.pay()).state is BeliefState.APPROVED


@pytest.mark.parametrize("is_confirmed", [True, False])
async def test_a_clock_in_doubt_cuts_a_day_only_when_it_is_trusted_again(
    world: MovedWorld, *, is_confirmed: bool
) -> None:
    assert world.switch is not None
    assert world.switch.services is not None
    days, health = world.switch.services.days, world.switch.health
    # The world begins at noon.
    world.moved = almost_midnight = timedelta(hours=11, minutes=59)
    health.confirm_clock()
    world.moved += timedelta(days=40)
    await trio.sleep(90)
    assert days.date == "2026-06-01"
    if is_confirmed:
        health.confirm_clock()
    else:
        world.moved = almost_midnight
    await trio.sleep(2)
    assert days.date == ("2026-07-12" if is_confirmed else "2026-06-02")


async def test_a_clock_that_is_corrected_a_little_is_no_condition(
    world: MovedWorld,
) -> None:
    for _ in range(100):
        world.moved += timedelta(seconds=2)
        await trio.sleep(1.5)
    assert world.conditions() == []
    assert (await world.pay()).state is BeliefState.APPROVED


@pytest.mark.parametrize("moved", [HOUR, -HOUR], ids=["forward", "back"])
async def test_deadlines_do_not_move_with_the_clock(
    world: MovedWorld, moved: timedelta
) -> None:
    silent = get_card("mc-silent")
    terminal = world.terminals["TERM0001"]
    async with trio.open_nursery() as customers:
        customers.start_soon(terminal.purchase, silent, 1250)
        await trio.sleep(1)
        world.moved = moved
        await trio.sleep(3.9)
        assert terminal.beliefs[-1].state is BeliefState.OPEN
        await trio.sleep(0.3)
        assert terminal.beliefs[-1].state is BeliefState.DECLINED
        world.moved = timedelta(0)
        await trio.sleep(1)
