"""Several completions of a pre-authorisation: each is given back once, and no more."""

from __future__ import annotations

import pytest
import trio

from isoswitch.codecs.canonical.codes import ResponseCode
from isoswitch.journal.records import RecordKind
from isoswitch.simulators.beliefs import Belief, BeliefState
from isoswitch.simulators.rules import Equals, Fixed, Reaction, Rule
from isoswitch.simulators.world import World
from isoswitch.switch.settings import VoidStyle
from tests.system.conftest import Run
from tests.system.test_failures import world_kinds
from tests.system.test_kinds_holds import a_world, preauthorise
from tests.system.test_kinds_refunds import balance, set_apart

CARD = "visa-ok"


async def complete_twice(world: World) -> tuple[Belief, Belief]:
    """Take 30.00 and 70.00 of the 100.00 that were set aside."""
    held = await preauthorise(world, CARD)
    terminal = world.terminals["TERM0001"]
    first = await terminal.complete(held, 3_000, is_final=False)
    second = await terminal.complete(held, 7_000)
    assert (first.state, second.state) == (BeliefState.APPROVED, BeliefState.APPROVED)
    return first, second


async def reverse(world: World, belief: Belief, *, remaining_minor: int = 0) -> None:
    """Ask for what is left of a completion, and wait until its issuer has heard."""
    terminal = world.terminals["TERM0001"]
    request = terminal.requests[belief.stan]
    answer = await terminal.exchange(
        terminal.build_reversal(request, remaining_minor=remaining_minor)
    )
    assert answer is not None
    assert answer.outcome.is_approved
    await trio.sleep(20)


@pytest.mark.parametrize("style", list(VoidStyle))
@pytest.mark.parametrize("place", [0, 1])
async def test_a_refunded_completion_is_not_voided_and_the_other_is(
    run: Run, style: VoidStyle, place: int
) -> None:
    world = await a_world(run, style)
    both = await complete_twice(world)
    refunded, other = both[place], both[1 - place]
    terminal = world.terminals["TERM0001"]
    assert refunded.amount is not None
    minor = refunded.amount.minor
    assert (await terminal.refund(refunded, minor)).state is BeliefState.APPROVED
    assert (await terminal.void(refunded)).state is BeliefState.DECLINED
    await trio.sleep(20)
    assert balance(world, CARD) == 10_000 - minor
    assert (await terminal.void(other)).state is BeliefState.APPROVED
    await trio.sleep(20)
    assert balance(world, CARD) == 0


@pytest.mark.parametrize("place", [0, 1])
async def test_the_reversal_of_a_refunded_completion_gives_nothing_more_back(
    world: World, place: int
) -> None:
    both = await complete_twice(world)
    refunded, other = both[place], both[1 - place]
    assert refunded.amount is not None
    minor = refunded.amount.minor
    await world.terminals["TERM0001"].refund(refunded, minor)
    await reverse(world, refunded)
    assert balance(world, CARD) == 10_000 - minor
    await world.terminals["TERM0001"].reverse(other)
    await trio.sleep(20)
    assert balance(world, CARD) == 0


async def test_a_completion_reversed_in_part_is_refunded_up_to_what_stands(
    world: World,
) -> None:
    first, second = await complete_twice(world)
    terminal = world.terminals["TERM0001"]
    await terminal.reverse(first, remaining_minor=2_000)
    codes = []
    for minor in (2_001, 500):
        back = await terminal.refund(first, minor)
        assert back.outcome is not None
        codes.append(back.outcome.code)
    assert codes == [ResponseCode.INVALID_AMOUNT, ResponseCode.APPROVED]
    await reverse(world, first)
    first.remaining_minor = 500
    assert balance(world, CARD) == 7_000
    assert (await terminal.refund(second, 7_000)).state is BeliefState.APPROVED


async def test_refunds_never_exceed_their_own_completion(world: World) -> None:
    """Although what another one took of the same hold would cover them."""
    first, second = await complete_twice(world)
    terminal = world.terminals["TERM0001"]
    codes = []
    asked = ((first, 3_001), (first, 2_000), (first, 1_001), (second, 7_000))
    for belief, minor in (*asked, (first, 1_000), (second, 1)):
        back = await terminal.refund(belief, minor)
        assert back.outcome is not None
        codes.append(back.outcome.code)
    yes, no = ResponseCode.APPROVED, ResponseCode.INVALID_AMOUNT
    assert codes == [no, yes, no, yes, yes, no]
    # No issuer was asked for what is not covered.
    assert await world_kinds(world, RecordKind.SENDING) == 6
    assert balance(world, CARD) == 0


async def test_a_reversed_refund_of_a_completion_may_be_given_again(
    world: World,
) -> None:
    first, _ = await complete_twice(world)
    terminal = world.terminals["TERM0001"]
    back = await terminal.refund(first, 3_000)
    await terminal.reverse(back)
    await trio.sleep(10)
    assert balance(world, CARD) == 10_000
    assert (await terminal.refund(first, 3_000)).state is BeliefState.APPROVED
    assert (await terminal.void(first)).state is BeliefState.DECLINED


async def test_a_voided_completion_is_not_refunded(world: World) -> None:
    first, second = await complete_twice(world)
    terminal = world.terminals["TERM0001"]
    assert (await terminal.void(first)).state is BeliefState.APPROVED
    assert (await terminal.refund(first, 1)).state is BeliefState.DECLINED
    assert (await terminal.refund(second, 7_000)).state is BeliefState.APPROVED


async def test_a_refund_names_a_completion_and_not_what_was_set_aside(
    world: World,
) -> None:
    held = await preauthorise(world, CARD)
    terminal = world.terminals["TERM0001"]
    await terminal.complete(held, 3_000)
    back = await terminal.refund(held, 3_000)
    assert back.outcome is not None
    assert back.outcome.code is ResponseCode.ORIGINAL_NOT_FOUND
    assert balance(world, CARD) == 3_000


@pytest.mark.parametrize("way", ["void", "reversal"])
async def test_a_refund_that_runs_on_another_node_is_not_undercut(
    run: Run, way: str
) -> None:
    world = World(nodes=2)
    await run(world)
    await set_apart(world)
    first, second = await complete_twice(world)
    slow = Reaction(delay=Fixed(delay_s=3.0))
    is_refund = {"kind": Equals(value="refund")}
    world.issuers["north"].set_rules([Rule(name="slow", then=slow, when=is_refund)])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.terminals["TERM0002"].refund, first, 3_000)
        await trio.sleep(1)
        if way == "void":
            await world.terminals["TERM0001"].void(first)
        else:
            terminal = world.terminals["TERM0001"]
            await terminal.exchange(
                terminal.build_reversal(terminal.requests[first.stan])
            )
    await trio.sleep(20)
    assert balance(world, CARD) == 7_000
    assert (await world.terminals["TERM0001"].void(second)).state is (
        BeliefState.APPROVED
    )
