"""Answers of issuers that hold what a terminal cannot be told, or what makes no sense.

An approval reaches its terminal without what cannot be carried; what is no approval is
undone at once, and not when somebody finds it left behind.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import trio

from isoswitch.codecs.canonical.codes import Kind
from isoswitch.journal.records import RecordKind
from isoswitch.simulators.beliefs import BeliefState
from isoswitch.simulators.bookings import BookingKind
from isoswitch.simulators.cards import get_card
from isoswitch.simulators.rules import Reaction, Rule
from isoswitch.simulators.terminal import Terminal
from isoswitch.simulators.world import World
from isoswitch.switch.settings import SwitchSettings
from tests.system.conftest import Run
from tests.system.test_caaa import with_caaa
from tests.system.test_failures import wait_delivered, world_kinds

CARD = get_card("visa-ok")
Change = Callable[[SwitchSettings], SwitchSettings]


def with_short_fields(settings: SwitchSettings) -> SwitchSettings:
    """Let terminals speak a dialect whose DE 55 holds 255 bytes."""
    listeners = tuple(replace(each, dialect="iso93-bcd") for each in settings.listeners)
    return replace(settings, listeners=listeners)


def with_ebcdic(settings: SwitchSettings) -> SwitchSettings:
    """Let issuers speak a character set that has more digits than ten."""
    endpoints = {
        name: replace(each, dialect="iso87-ebcdic")
        for name, each in settings.endpoints.items()
    }
    return replace(settings, endpoints=endpoints)


def without_macs(change: Change) -> Change:
    """Change what else, and let terminals have no MAC key."""

    def both(settings: SwitchSettings) -> SwitchSettings:
        terminals = {
            name: replace(each, tak="") for name, each in settings.terminals.items()
        }
        return replace(change(settings), terminals=terminals)

    return both


def terminal_of(world: World) -> Terminal:
    """Give a terminal; it has a MAC key where the switch has one for it."""
    terminal = world.terminals["TERM0001"]
    assert world.switch is not None
    if not world.switch.settings.terminals["TERM0001"].tak:
        terminal._tak = None
    return terminal


def answering(reaction: Reaction) -> list[Rule]:
    """Let an issuer answer so once."""
    return [Rule(name="odd", then=reaction, times_max=1)]


TWO_SCRIPTS = f"728180{bytes(128).hex()}718180{bytes(128).hex()}"
ODD = {
    "a balance nobody can name": (with_caaa, {54: "0002999C000000005000"}),
    "digits that are none": (with_ebcdic, {54: "0002978C00000000500²"}),
    "more chip data than fits": (with_short_fields, {55: TWO_SCRIPTS}),
    "all of it": (
        without_macs(with_short_fields),
        {54: "0002999C000000005000", 55: TWO_SCRIPTS},
    ),
}


@pytest.mark.parametrize("odd", ODD)
async def test_an_approval_reaches_its_terminal_whatever_comes_with_it(
    run: Run, odd: str
) -> None:
    change, fields = ODD[odd]
    world = World(change=change)
    await run(world)
    await trio.sleep(1)
    world.issuers["north"].set_rules(answering(Reaction(fields=fields)))
    terminal = terminal_of(world)
    request = terminal.build(Kind.PURCHASE, CARD, 1250, pin=CARD.pin)
    belief = await terminal.pay(request)
    assert (belief.state, belief.sends) == (BeliefState.APPROVED, 1)
    again = await terminal.exchange(terminal.as_repeat(request))
    assert again is not None
    assert again.outcome == belief.outcome
    await trio.sleep(60)
    (booking,) = world.issuers["north"].bookings.entries
    assert (booking.kind, booking.amount_minor) == (BookingKind.APPROVED, 1_250)


async def test_chip_data_that_fit_are_told_without_a_balance_that_does_not(
    run: Run,
) -> None:
    """The chip needs its issuer's cryptogram to agree to what was approved."""
    world = World(change=with_caaa)
    await run(world)
    await trio.sleep(1)
    fields = {54: "0002999C000000005000", 55: "910A00112233445566773030"}
    world.issuers["north"].set_rules(answering(Reaction(fields=fields)))
    belief = await world.terminals["TERM0001"].purchase(CARD, 1250, pin=CARD.pin)
    assert belief.outcome is not None
    assert belief.outcome.emv is not None
    assert belief.outcome.balance is None


@pytest.mark.parametrize("change", [with_ebcdic, without_macs(with_ebcdic)])
async def test_a_part_that_is_nothing_is_undone_at_once(
    run: Run, change: Change
) -> None:
    world = World(change=change)
    await run(world)
    await trio.sleep(1)
    nothing = Reaction(approved_percent=0, fields={4: "000000000000"})
    world.issuers["north"].set_rules(answering(nothing))
    terminal = terminal_of(world)
    began_at = trio.current_time()
    belief = await terminal.purchase(CARD, 1250, pin=CARD.pin)
    assert (belief.state, belief.sends) == (BeliefState.DECLINED, 1)
    assert trio.current_time() - began_at < 1
    await wait_delivered(world, "north")
    assert await world_kinds(world, RecordKind.TIMED_OUT) == 1
