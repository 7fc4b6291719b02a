"""Reversals of every kind, whole and in part: replacement amounts (DE 95, DE 30)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
import trio

from isoswitch.codecs.canonical.codes import (
    Function,
    Kind,
    ResponseCode,
    ReversalReason,
)
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.transaction import OriginalData, Transaction
from isoswitch.journal.records import RecordKind
from isoswitch.ledger.holds import HoldState
from isoswitch.simulators.beliefs import Belief, BeliefState
from isoswitch.simulators.cards import get_card
from isoswitch.simulators.requests import Request
from isoswitch.simulators.rules import Fixed, Reaction, Rule
from isoswitch.simulators.terminal import Terminal
from isoswitch.simulators.world import World
from tests.system.test_failures import world_kinds
from tests.system.test_kinds_holds import HELD, hold_of, issuer_side, preauthorise

CARDS = pytest.mark.parametrize("card", ["visa-ok", "mc-ok"])
TERMINALS = pytest.mark.parametrize("terminal", ["TERM0001", "TERM0002"])


async def bought(world: World, card: str, terminal: str = "TERM0001") -> Belief:
    """Buy something for 100.00."""
    chosen = get_card(card)
    return await world.terminals[terminal].purchase(chosen, HELD, pin=chosen.pin)


async def forwarded(world: World, transaction_id: str) -> list[dict[str, str]]:
    """Give the messages by which the issuer was told of a reversal."""
    assert world.store is not None
    return [
        each.record.body["message"]
        for each in await world.store.records(transaction_id)
        if each.record.kind is RecordKind.FORWARDED
    ]


def later(till: Terminal, belief: Belief, minor: int) -> Transaction:
    """Give a reversal over an amount that tells its own time, a minute later."""
    reversal = till.build_reversal(till.requests[belief.stan]).transaction
    assert reversal.local_at is not None
    return replace(
        reversal,
        local_at=reversal.local_at + timedelta(minutes=1),
        amount=Money(minor, "978"),
    )


@CARDS
@TERMINALS
@pytest.mark.parametrize("function", [Function.ADVICE, Function.REQUEST])
async def test_a_partial_reversal_leaves_the_replacement_amount(
    world: World, card: str, terminal: str, function: Function
) -> None:
    till = world.terminals[terminal]
    till.profile = replace(till.profile, reversal_function=function)
    belief = await bought(world, card, terminal)
    await till.reverse(
        belief, reason=ReversalReason.PARTIAL_COMPLETION, remaining_minor=6_000
    )
    await trio.sleep(10)
    hold = await hold_of(world, belief)
    assert (hold.captured_minor, hold.returned_minor) == (HELD, 4_000)
    assert issuer_side(world, belief) == (6_000, 0)
    (message,) = await forwarded(world, "1-1")
    if card == "visa-ok":
        assert message["4"] == "000000010000"
        assert message["95"].startswith("000000006000")
        assert message["39"] == "32"
    else:
        assert message["24"] == "401"
        assert message["4"] == "000000006000"
        assert message["30"].startswith("000000010000")


@CARDS
async def test_reversals_go_down_step_by_step_and_never_up(
    world: World, card: str
) -> None:
    terminal = world.terminals["TERM0001"]
    belief = await bought(world, card)
    for remaining in (8_000, 5_000):
        await terminal.reverse(belief, remaining_minor=remaining)
    # More than what stands by now: nothing to undo.
    await terminal.reverse(belief, remaining_minor=7_000)
    belief.remaining_minor = 5_000
    await trio.sleep(10)
    assert issuer_side(world, belief) == (5_000, 0)
    await terminal.reverse(belief)
    await terminal.reverse(belief)
    await trio.sleep(10)
    assert issuer_side(world, belief) == (0, 0)
    assert (await hold_of(world, belief)).returned_minor == HELD


async def test_the_repeat_of_a_partial_reversal_gives_nothing_more_back(
    world: World,
) -> None:
    terminal = world.terminals["TERM0001"]
    belief = await bought(world, "visa-ok")
    reversal = terminal.build_reversal(
        terminal.requests[belief.stan], remaining_minor=6_000
    )
    for request in (reversal, terminal.as_repeat(reversal)):
        answer = await terminal.exchange(request)
        assert answer is not None
        assert answer.outcome.is_approved
    belief.remaining_minor = 6_000
    await trio.sleep(10)
    assert issuer_side(world, belief) == (6_000, 0)
    assert await world_kinds(world, RecordKind.REVERSAL_OWED) == 1


async def test_a_partly_reversed_purchase_is_refunded_up_to_what_stands(
    world: World,
) -> None:
    terminal = world.terminals["TERM0001"]
    belief = await bought(world, "mc-ok")
    await terminal.reverse(belief, remaining_minor=6_000)
    await trio.sleep(10)
    assert (await terminal.refund(belief, 6_001)).state is BeliefState.DECLINED
    assert (await terminal.refund(belief, 6_000)).state is BeliefState.APPROVED


async def test_what_is_to_stand_in_another_currency_is_left_to_the_operator(
    world: World,
) -> None:
    belief = await bought(world, "visa-ok")
    terminal = world.terminals["TERM0001"]
    reversal = terminal.build_reversal(
        terminal.requests[belief.stan], remaining_minor=6_000
    ).transaction
    assert reversal.amount is not None
    assert reversal.remaining is not None
    yen = replace(
        reversal,
        amount=replace(reversal.amount, currency="392"),
        remaining=replace(reversal.remaining, currency="392"),
    )
    answer = await terminal.exchange(terminal.build_from(yen))
    assert answer is not None
    assert answer.outcome.is_approved
    assert await world_kinds(world, RecordKind.EXCEPTION) == 1
    assert issuer_side(world, belief) == (HELD, 0)


async def test_a_partial_reversal_waits_for_its_running_original(world: World) -> None:
    slow = Rule(name="slow", then=Reaction(delay=Fixed(delay_s=2.0)))
    world.issuers["north"].set_rules([slow])
    terminal = world.terminals["TERM0001"]
    request = terminal.build(Kind.PURCHASE, get_card("visa-ok"), HELD)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(terminal.pay, request)
        await trio.sleep(0.5)
        answer = await terminal.exchange(
            terminal.build_reversal(request, remaining_minor=1_000)
        )
    assert answer is not None
    assert answer.outcome.is_approved
    belief = terminal.beliefs[0]
    belief.remaining_minor = 1_000
    await trio.sleep(10)
    assert issuer_side(world, belief) == (1_000, 0)


@CARDS
async def test_a_preauthorisation_is_reversed_whole_or_in_part(
    world: World, card: str
) -> None:
    terminal = world.terminals["TERM0001"]
    belief = await preauthorise(world, card)
    await terminal.reverse(belief, remaining_minor=3_000)
    await trio.sleep(10)
    assert (await hold_of(world, belief)).remaining_minor == 3_000
    assert issuer_side(world, belief) == (0, 3_000)
    await terminal.reverse(belief)
    await trio.sleep(10)
    assert (await hold_of(world, belief)).state is HoldState.RELEASED
    assert issuer_side(world, belief) == (0, 0)


@CARDS
async def test_the_reversal_of_a_preauthorisation_keeps_what_was_completed(
    world: World, card: str
) -> None:
    terminal = world.terminals["TERM0001"]
    belief = await preauthorise(world, card)
    done = await terminal.complete(belief, 4_000, is_final=False)
    await terminal.reverse(belief)
    await trio.sleep(10)
    assert issuer_side(world, belief) == (0, 0)
    assert issuer_side(world, done) == (4_000, 0)


@CARDS
async def test_an_incremental_is_reversed_and_the_rest_stays_held(
    world: World, card: str
) -> None:
    terminal = world.terminals["TERM0001"]
    belief = await preauthorise(world, card)
    more = await terminal.increase(belief, 5_000)
    await terminal.reverse(more)
    await trio.sleep(10)
    assert (await hold_of(world, belief)).held_minor == HELD
    assert issuer_side(world, belief) == (0, HELD)


async def test_a_reversal_with_a_time_of_its_own_is_over_all_that_is_held(
    world: World,
) -> None:
    till = world.terminals["TERM0001"]
    belief = await preauthorise(world, "visa-ok")
    await till.increase(belief, 5_000)
    answer = await till.exchange(till.build_from(later(till, belief, HELD + 5_000)))
    assert answer is not None
    assert answer.outcome.is_approved
    await trio.sleep(10)
    belief.state = BeliefState.REVERSED
    assert (await hold_of(world, belief)).state is HoldState.RELEASED
    assert issuer_side(world, belief) == (0, 0)
    assert await world_kinds(world, RecordKind.EXCEPTION) == 0


@CARDS
async def test_a_completion_is_reversed_whole_or_in_part(
    world: World, card: str
) -> None:
    terminal = world.terminals["TERM0001"]
    belief = await preauthorise(world, card)
    done = await terminal.complete(belief, 8_000)
    await terminal.reverse(done, remaining_minor=5_000)
    await trio.sleep(10)
    assert issuer_side(world, done) == (5_000, 0)
    await terminal.reverse(done)
    await trio.sleep(10)
    assert issuer_side(world, done) == (0, 0)
    assert (await hold_of(world, belief)).captured_minor == 8_000
    part = await hold_of(world, done)
    assert part.captured_minor == part.returned_minor == 8_000


async def test_the_reversal_of_a_completion_that_never_came_spares_its_original(
    world: World,
) -> None:
    """It carries the reference of the pre-authorisation, and means another."""
    terminal = world.terminals["TERM0001"]
    belief = await preauthorise(world)
    never = terminal.build(Kind.COMPLETION, get_card("visa-ok"), HELD, original=belief)
    answer = await terminal.exchange(terminal.build_reversal(never))
    assert answer is not None
    assert answer.outcome.is_approved
    assert await world_kinds(world, RecordKind.EXCEPTION) == 1
    assert (await hold_of(world, belief)).state is HoldState.OPEN


async def test_a_reversal_that_names_only_our_reference_finds_its_original(
    world: World,
) -> None:
    """By network keys: DE 37 and DE 38, without original data (rule 9)."""
    terminal = world.terminals["TERM0001"]
    belief = await bought(world, "visa-ok")
    assert belief.outcome is not None
    plain = terminal.build_reversal(terminal.requests[belief.stan])
    stan = plain.transaction.stan
    named = replace(
        plain.transaction,
        rrn=belief.rrn,
        approval_code=belief.outcome.approval_code,
        original=OriginalData(kind=Kind.PURCHASE, mti="0200", stan=stan),
    )
    answer = await terminal.exchange(terminal.build_from(named))
    assert answer is not None
    assert answer.outcome.is_approved
    belief.state = BeliefState.REVERSED
    await trio.sleep(10)
    assert issuer_side(world, belief) == (0, 0)
    assert await world_kinds(world, RecordKind.EXCEPTION) == 0


def named_by(terminal: Terminal, reversal: Request, named: Request) -> Request:
    """Build a reversal whose original data name another message."""
    original = reversal.transaction.original
    assert original is not None
    original = replace(
        original, mti=named.message.mti, stan=named.transaction.stan, local_at=None
    )
    return terminal.build_from(replace(reversal.transaction, original=original, rrn=""))


async def test_a_reversal_that_names_its_own_message_finds_its_original_all_the_same(
    world: World,
) -> None:
    """Under the trace number of its original, with the message type of its own."""
    terminal = world.terminals["TERM0001"]
    belief = await bought(world, "visa-ok")
    plain = terminal.build_reversal(terminal.requests[belief.stan])
    same = replace(plain.transaction, stan=belief.stan)
    kept = replace(plain, transaction=same)
    answer = await terminal.exchange(named_by(terminal, kept, kept))
    assert answer is not None
    assert answer.outcome.is_approved
    belief.state = BeliefState.REVERSED
    await trio.sleep(10)
    assert issuer_side(world, belief) == (0, 0)


@pytest.mark.parametrize(
    ("function", "code"),
    [
        (Function.ADVICE, ResponseCode.APPROVED),
        (Function.REQUEST, ResponseCode.ORIGINAL_NOT_FOUND),
    ],
)
async def test_reversals_that_name_each_other_are_left_to_the_operator(
    world: World, function: Function, code: ResponseCode
) -> None:
    """Rule 8: an unknown original; and neither takes the key of the other."""
    terminal = world.terminals["TERM0001"]
    terminal.profile = replace(terminal.profile, reversal_function=function)
    belief = await bought(world, "visa-ok")
    plain = [terminal.build_reversal(terminal.requests[belief.stan]) for _ in "ab"]
    for one, other in (plain, plain[::-1]):
        answer = await terminal.exchange(named_by(terminal, one, other))
        assert answer is not None
        assert answer.outcome.code is code
    assert await world_kinds(world, RecordKind.EXCEPTION) == 2
    assert issuer_side(world, belief) == (HELD, 0)


async def test_the_reversal_of_a_lost_request_spares_what_had_its_number_before(
    world: World,
) -> None:
    """A till that begins to count anew: terminal, trace number and amount (rule 9)."""
    till, card = world.terminals["TERM0001"], get_card("visa-ok")
    belief = await bought(world, "visa-ok")
    await trio.sleep(3600)
    lost = till.build(Kind.PURCHASE, card, 5_000, pin=card.pin)
    again = till.build_from(replace(lost.transaction, stan=belief.stan))
    answer = await till.exchange(till.build_reversal(again))
    assert answer is not None
    assert answer.outcome.is_approved
    assert await world_kinds(world, RecordKind.EXCEPTION) == 1
    late = await till.exchange(again)
    assert late is not None
    assert not late.outcome.is_approved
    assert issuer_side(world, belief) == (HELD, 0)


@pytest.mark.parametrize("minor", [HELD, 6_000])
async def test_a_reversal_with_a_time_of_its_own_finds_its_original(
    world: World, minor: int
) -> None:
    """Over what was asked for, or what is left of it."""
    till = world.terminals["TERM0001"]
    belief = await bought(world, "visa-ok")
    await till.reverse(belief, remaining_minor=6_000)
    await trio.sleep(60)
    answer = await till.exchange(till.build_from(later(till, belief, minor)))
    assert answer is not None
    assert answer.outcome.is_approved
    belief.state = BeliefState.REVERSED
    await trio.sleep(10)
    assert issuer_side(world, belief) == (0, 0)
    assert await world_kinds(world, RecordKind.EXCEPTION) == 0
