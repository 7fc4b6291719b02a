"""Cutover by clock and on command, under load, with totals that agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import time

import pytest
import trio

from isoswitch.codecs.canonical.totals import Totals, sum_lines
from isoswitch.journal.records import RecordKind
from isoswitch.simulators.cards import get_card
from isoswitch.simulators.swarm import settle
from isoswitch.simulators.world import World
from isoswitch.store.days import DayRefused, DayState
from isoswitch.store.port import Store
from isoswitch.switch.businessday import BusinessDays
from isoswitch.switch.settings import SwitchSettings

FIRST, SECOND = "2026-06-01", "2026-06-02"


def days_of(world: World) -> BusinessDays:
    assert world.switch is not None
    assert world.switch.services is not None
    return world.switch.services.days


def store_of(world: World) -> Store:
    assert world.store is not None
    return world.store


async def states(world: World) -> dict[str, DayState]:
    return {day.date: day.state for day in await store_of(world).days()}


async def date_of(world: World, number: int) -> str:
    row = await store_of(world).find_transaction(f"1-{number}")
    assert row is not None
    return row.business_date


async def net_minor(world: World, date: str) -> int:
    lines = await store_of(world).day_totals(date)
    return sum(line.totals.net_minor for line in lines)


def cut_at(moment: str) -> Callable[[SwitchSettings], SwitchSettings]:
    return lambda settings: replace(settings, cutover_at=time.fromisoformat(moment))


async def test_the_clock_cuts_the_day_and_the_next_takes_over(
    nursery: trio.Nursery,
) -> None:
    # The world begins at noon.
    world = World(change=cut_at("12:01"))
    await nursery.start(world.run)
    card = get_card("visa-ok")
    await world.terminals["TERM0001"].purchase(card, 1000, pin=card.pin)
    await trio.sleep(70)
    await world.terminals["TERM0001"].purchase(card, 500, pin=card.pin)
    assert [await date_of(world, 1), await date_of(world, 2)] == [FIRST, SECOND]
    assert await states(world) == {FIRST: DayState.CLOSED, SECOND: DayState.OPEN}
    assert [await net_minor(world, date) for date in (FIRST, SECOND)] == [1000, 500]


async def test_a_cutover_under_load_loses_and_doubles_nothing(world: World) -> None:
    async def pay(terminal: str, count: int) -> None:
        for number in range(count):
            card = get_card(["visa-ok", "mc-ok", "mc-late"][number % 3])
            await world.terminals[terminal].purchase(card, 100 + number, pin=card.pin)

    async with trio.open_nursery() as payers:
        for terminal in world.terminals:
            payers.start_soon(pay, terminal, 12)
        for _ in range(3):
            await trio.sleep(7)
            await days_of(world).cut(reason="test")
    verdict = await settle(world)
    assert verdict.is_settled, verdict.describe()
    await trio.sleep(5)
    found = await states(world)
    assert list(found.values()) == [DayState.CLOSED] * 3 + [DayState.OPEN]
    by_issuer = [
        sum(
            world.issuers[name].bookings.approved_minor(key)
            for key in {each.key for each in world.issuers[name].bookings.entries}
        )
        for name in world.issuers
    ]
    by_day = [await net_minor(world, date) for date in found]
    assert sum(by_day) == sum(by_issuer) > 0
    assert all(minor > 0 for minor in by_day[:2])


async def test_a_transaction_that_began_before_the_cut_stays_on_its_day(
    world: World,
) -> None:
    card = get_card("mc-late")
    async with trio.open_nursery() as payers:
        payers.start_soon(world.terminals["TERM0001"].purchase, card, 700)
        await trio.sleep(1)
        await days_of(world).cut(reason="test")
        await trio.sleep(2)
        # The issuer has not answered: its day cannot be closed yet.
        assert (await states(world))[FIRST] is DayState.CUT
    await trio.sleep(5)
    assert await date_of(world, 1) == FIRST
    assert (await states(world))[FIRST] is DayState.CLOSED


async def test_what_arrives_as_the_day_is_cut_is_dated_to_the_next_and_says_so(
    world: World,
) -> None:
    days = days_of(world)
    await days.cut(reason="test")
    # As if this switch had not heard of the cut, which another node made.
    days.date = FIRST
    card = get_card("visa-ok")
    await world.terminals["TERM0001"].purchase(card, 900, pin=card.pin)
    assert await date_of(world, 1) == SECOND
    assert days.date == SECOND
    opened = (await store_of(world).records("1-1"))[0].record
    assert opened.kind is RecordKind.OPENED
    assert (opened.body["business_date"], opened.body["late_from"]) == (SECOND, FIRST)


async def test_a_reversal_after_the_cut_belongs_to_the_new_day(world: World) -> None:
    card = get_card("visa-ok")
    terminal = world.terminals["TERM0001"]
    belief = await terminal.purchase(card, 800, pin=card.pin)
    await days_of(world).cut(reason="test")
    await terminal.reverse(belief)
    lines = await store_of(world).day_totals(SECOND)
    assert sum_lines(lines, by="endpoint") == {
        ("north", "978"): Totals(debit_reversals=1, debit_reversals_minor=800)
    }
    assert await net_minor(world, FIRST) == 800


async def test_two_cuts_of_one_day_are_one(world: World) -> None:
    days = days_of(world)
    await days.cut(reason="test")
    days.date = FIRST
    with pytest.raises(DayRefused):
        await days.cut(reason="again")


async def test_the_day_survives_a_restart_and_a_clock_that_goes_back(
    world: World,
) -> None:
    await days_of(world).cut(reason="test")
    world.crash_switch()
    await trio.sleep(1)
    await world.start_switch()
    # The clock still says the first day.
    assert days_of(world).date == SECOND
    await trio.sleep(5)
    assert await states(world) == {FIRST: DayState.CLOSED, SECOND: DayState.OPEN}


async def test_closing_writes_the_totals_down(world: World) -> None:
    card = get_card("visa-ok")
    await world.terminals["TERM0001"].purchase(card, 1000, pin=card.pin)
    await days_of(world).cut(reason="test")
    await trio.sleep(3)
    told = [
        each.record
        for each in await store_of(world).records("")
        if each.record.kind is RecordKind.BUSINESS_DAY
    ]
    assert [each.body["state"] for each in told] == ["open", "cut", "closed"]
    (line,) = told[-1].body["totals"]
    assert (line["terminal_id"], line["totals"]["debits_minor"]) == ("TERM0001", 1000)
