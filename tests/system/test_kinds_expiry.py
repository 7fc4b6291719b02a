"""A pre-authorisation that nobody completes in time is given free on both sides."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio

from isoswitch.codecs.canonical.codes import Function, Kind, ResponseCode
from isoswitch.journal.records import RecordKind
from isoswitch.ledger.holds import HoldState
from isoswitch.simulators.beliefs import BeliefState
from isoswitch.simulators.cards import get_card
from isoswitch.simulators.world import World
from isoswitch.switch.settings import SwitchSettings
from tests.system.conftest import Run
from tests.system.test_failures import world_kinds
from tests.system.test_kinds_holds import HELD, hold_of, issuer_side, preauthorise

CARDS = pytest.mark.parametrize("card", ["visa-ok", "mc-ok"])


HELD_S = 600.0


def short(settings: SwitchSettings) -> SwitchSettings:
    """Let holds wait for ten minutes."""
    return replace(settings, kinds=replace(settings.kinds, held_s=HELD_S))


async def wait_expired(world: World) -> None:
    """Wait until the time of a hold is over, and a little more."""
    await trio.sleep(HELD_S + 120)
    assert await world_kinds(world, RecordKind.EXPIRED) == 1


@pytest.fixture
async def brief(run: Run) -> World:
    """A world in which holds wait for ten minutes."""
    world = World(change=short)
    await run(world)
    return world


@CARDS
async def test_an_expired_hold_is_released_and_the_issuer_told(
    brief: World, card: str
) -> None:
    belief = await preauthorise(brief, card)
    await wait_expired(brief)
    assert (await hold_of(brief, belief)).state is HoldState.EXPIRED
    assert issuer_side(brief, belief) == (0, 0)


@CARDS
async def test_an_expired_hold_keeps_what_was_completed_of_it(
    brief: World, card: str
) -> None:
    belief = await preauthorise(brief, card)
    terminal = brief.terminals["TERM0001"]
    done = await terminal.complete(belief, 4_000, is_final=False)
    await wait_expired(brief)
    hold = await hold_of(brief, belief)
    assert (hold.state, hold.captured_minor) == (HoldState.CAPTURED, 4_000)
    assert issuer_side(brief, belief) == (0, 0)
    assert issuer_side(brief, done) == (4_000, 0)
    # What was taken may still be given back.
    assert (await terminal.void(done)).state is BeliefState.APPROVED


async def test_a_renewed_hold_does_not_expire(brief: World) -> None:
    belief = await preauthorise(brief)
    await trio.sleep(HELD_S * 0.8)
    await brief.terminals["TERM0001"].increase(belief, 1_000)
    await trio.sleep(HELD_S * 0.8)
    assert (await hold_of(brief, belief)).state is HoldState.OPEN


async def test_nothing_is_left_to_complete_or_to_undo_of_an_expired_hold(
    brief: World,
) -> None:
    belief = await preauthorise(brief)
    await wait_expired(brief)
    terminal = brief.terminals["TERM0001"]
    for function in (Function.REQUEST, Function.ADVICE):
        request = terminal.build(
            Kind.COMPLETION,
            get_card("visa-ok"),
            HELD,
            original=belief,
            function=function,
        )
        late = await terminal.tell(request)
        assert late.outcome is not None
        assert late.outcome.code is ResponseCode.DUPLICATE_TRANSACTION
    assert await world_kinds(brief, RecordKind.EXCEPTION) == 1
    owed = await world_kinds(brief, RecordKind.REVERSAL_OWED)
    await terminal.reverse(belief)
    assert await world_kinds(brief, RecordKind.REVERSAL_OWED) == owed
    assert issuer_side(brief, belief) == (0, 0)


async def test_an_issuer_that_forgets_by_itself_is_not_told(
    nursery: trio.Nursery,
) -> None:
    def forgetful(settings: SwitchSettings) -> SwitchSettings:
        endpoints = {
            name: replace(each, tells_expiry=False)
            for name, each in settings.endpoints.items()
        }
        return replace(short(settings), endpoints=endpoints)

    world = World(change=forgetful)
    await nursery.start(world.run)
    belief = await preauthorise(world)
    await wait_expired(world)
    assert (await hold_of(world, belief)).state is HoldState.EXPIRED
    assert await world_kinds(world, RecordKind.REVERSAL_OWED) == 0


async def test_a_crash_after_the_end_of_a_hold_leaves_nothing_to_do_twice(
    brief: World,
) -> None:
    belief = await preauthorise(brief)
    await wait_expired(brief)
    brief.crash_switch()
    await brief.start_switch()
    await trio.sleep(120)
    assert await world_kinds(brief, RecordKind.EXPIRED) == 1
    assert issuer_side(brief, belief) == (0, 0)
