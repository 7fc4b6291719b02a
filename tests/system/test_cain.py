"""An issuer that speaks cain: purchases to reversals, PINs and MACs over XML."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial

import pytest
import trio

from isoswitch.codecs.canonical.codes import ResponseCode
from isoswitch.codecs.canonical.secrets import Pin
from isoswitch.journal.records import RecordKind
from isoswitch.simulators.beliefs import BeliefState
from isoswitch.simulators.cards import NORTH, SOUTH, get_card
from isoswitch.simulators.plan import draw_plan
from isoswitch.simulators.rules import Fault, Fixed, Reaction, Rule
from isoswitch.simulators.storm import STRIKES
from isoswitch.simulators.swarm import tell
from isoswitch.simulators.world import ISSUERS, World
from isoswitch.switch.settings import SignOn, SwitchSettings
from tests.system.conftest import Run
from tests.system.test_purchase import OUTCOMES

TERMINALS = ["TERM0001", "TERM0002"]
# What strikes in messages that cain has not.
HAS_NO = {"key change"}


def with_cain(
    settings: SwitchSettings, *, names: Iterable[str] = ISSUERS
) -> SwitchSettings:
    """Let both issuers speak cain, one with retail MACs and one with CMACs."""
    endpoints = {
        name: replace(
            settings.endpoints[name],
            dialect="cain",
            framing="bin4",
            one_shot=True,
            sign_on=SignOn.NOBODY,
            frame_bytes_max=16_384,
            reconciles=False,
        )
        for name in names
    }
    return replace(settings, endpoints={**settings.endpoints, **endpoints})


@pytest.fixture
async def world(run: Run) -> World:
    """A network whose issuers speak cain, audited when the test is over."""
    network = World(change=with_cain)
    await run(network)
    await trio.sleep(1)
    return network


def react(world: World, **reaction: object) -> None:
    rule = Rule(name="test", then=Reaction(**reaction), times_max=1)
    for name in (NORTH, SOUTH):
        world.issuers[name].set_rules([rule])


@pytest.mark.parametrize("terminal", TERMINALS)
@pytest.mark.parametrize("card", OUTCOMES)
async def test_each_card_ends_as_its_table_says(
    world: World, terminal: str, card: str
) -> None:
    chosen = get_card(card)
    belief = await world.terminals[terminal].purchase(chosen, 1250, pin=chosen.pin)
    assert belief.outcome is not None
    assert belief.outcome.code is OUTCOMES[card]


@pytest.mark.parametrize("card", ["visa-ok", "mc-ok"])
async def test_a_wrong_pin_is_declined(world: World, card: str) -> None:
    wrong = await world.terminals["TERM0001"].purchase(
        get_card(card), 1250, pin=Pin("9876")
    )
    assert wrong.outcome is not None
    assert wrong.outcome.code is ResponseCode.WRONG_PIN


@pytest.mark.parametrize("fault", [Fault.SILENCE, Fault.WRONG_MAC, Fault.NO_MAC])
async def test_what_is_not_answered_well_is_reversed(
    world: World, fault: Fault
) -> None:
    react(world, fault=fault)
    card = get_card("mc-ok")
    belief = await world.terminals["TERM0001"].purchase(card, 1250, pin=card.pin)
    assert belief.state is BeliefState.DECLINED
    await trio.sleep(30)
    books = world.issuers[SOUTH].bookings
    assert {books.approved_minor(each.key) for each in books.entries} == {0}
    assert world.store is not None
    told = [each.record.kind for each in await world.store.records("1-1")]
    assert RecordKind.REVERSAL_OWED in told
    assert RecordKind.DELIVERED in told


async def test_a_late_approval_is_written_down_and_reversed(world: World) -> None:
    react(world, delay=Fixed(delay_s=7.0))
    card = get_card("visa-ok")
    belief = await world.terminals["TERM0001"].purchase(card, 1250, pin=card.pin)
    assert belief.state is not BeliefState.APPROVED
    await trio.sleep(40)
    books = world.issuers[NORTH].bookings
    assert {books.approved_minor(each.key) for each in books.entries} == {0}


async def test_garbage_is_no_answer(world: World) -> None:
    react(world, fault=Fault.GARBAGE)
    card = get_card("mc-ok")
    belief = await world.terminals["TERM0001"].purchase(card, 1250, pin=card.pin)
    assert belief.state is BeliefState.DECLINED


async def test_no_card_number_or_pin_block_is_written_down(world: World) -> None:
    card = get_card("mc-ok")
    await world.terminals["TERM0001"].purchase(card, 1250, pin=card.pin)
    assert world.store is not None
    stored = repr([each.record.body for each in await world.store.records()])
    assert card.pan.reveal() not in stored
    assert "******" in stored


@pytest.mark.parametrize("seed", [1, 12, 15])
def test_a_story_with_all_kinds_and_faults_leaves_all_sides_agreed(seed: int) -> None:
    # The other issuer answers some faults in words of its own dialect.
    plan = draw_plan(seed, [each for each in STRIKES if each not in HAS_NO])
    report = tell(plan, change=partial(with_cain, names=[NORTH]))
    assert report.is_good, (report.violations, report.verdict.describe())
    assert report.transactions > 50
