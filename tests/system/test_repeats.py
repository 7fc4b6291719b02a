"""The same message again, another message under the same key, and reversals."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
import trio

from isoswitch.codecs.canonical.codes import Function, Kind, ResponseCode
from isoswitch.codecs.canonical.money import Money
from isoswitch.journal.records import RecordKind
from isoswitch.simulators.beliefs import BeliefState
from isoswitch.simulators.bookings import BookingKind
from isoswitch.simulators.cards import get_card
from isoswitch.simulators.requests import Request
from isoswitch.simulators.rules import Fixed, Reaction, Rule
from isoswitch.simulators.terminal import Terminal
from isoswitch.simulators.world import World
from tests.system.test_failures import wait_delivered, world_kinds

SLOW = [Rule(name="slow", then=Reaction(delay=Fixed(delay_s=2.0)))]


def a_purchase(terminal: Terminal) -> Request:
    """Build a purchase over 12.50 without sending it."""
    card = get_card("visa-ok")
    return terminal.build(Kind.PURCHASE, card, 1250, pin=card.pin)


async def test_a_repeat_gets_the_stored_answer(world: World) -> None:
    terminal = world.terminals["TERM0001"]
    request = a_purchase(terminal)
    await terminal.pay(request)
    again = await terminal.exchange(terminal.as_repeat(request))
    first = terminal.beliefs[0]
    assert again is not None
    assert first.outcome is not None
    assert again.outcome.approval_code == first.outcome.approval_code
    assert again.message[37] == first.rrn
    assert len(world.issuers["north"].bookings.entries) == 1
    assert await world_kinds(world, RecordKind.REPEATED) == 1


async def test_a_repeat_while_pending_waits_for_the_same_answer(world: World) -> None:
    world.issuers["north"].set_rules(SLOW)
    terminal = world.terminals["TERM0001"]
    request = a_purchase(terminal)
    other = await second_connection(world, terminal)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(terminal.pay, request)
        await trio.sleep(1)
        repeated = await other.exchange(terminal.as_repeat(request))
    assert repeated is not None
    assert repeated.outcome.is_approved
    assert terminal.beliefs[0].rrn == repeated.message[37]
    assert len(world.issuers["north"].bookings.entries) == 1


async def test_repeats_that_come_together_carry_the_number_of_their_original(
    world: World,
) -> None:
    terminal = world.terminals["TERM0001"]
    request = a_purchase(terminal)
    belief = await terminal.pay(request)
    twins = [await second_connection(world, terminal) for _ in range(3)]
    rrns: list[object] = []

    async def ask_again(twin: Terminal) -> None:
        answer = await twin.exchange(terminal.as_repeat(request))
        assert answer is not None
        rrns.append(answer.message[37])

    async with trio.open_nursery() as nursery:
        for twin in twins:
            nursery.start_soon(ask_again, twin)
    assert rrns == [belief.rrn] * 3


async def second_connection(world: World, terminal: Terminal) -> Terminal:
    """Give the same terminal on another connection."""
    twin = Terminal(
        terminal.profile,
        keyring=world.keyring,
        connect=lambda: world.connect("ascii"),
        clock=world,
    )
    assert world.nursery is not None
    await world.nursery.start(twin.run)
    return twin


async def test_the_same_key_with_another_amount_is_refused(world: World) -> None:
    terminal = world.terminals["TERM0001"]
    request = a_purchase(terminal)
    await terminal.pay(request)
    other = terminal.build_from(replace(request.transaction, amount=Money(9999, "978")))
    answer = await terminal.exchange(other)
    assert answer is not None
    assert answer.outcome.code is ResponseCode.DUPLICATE_TRANSACTION
    assert answer.message[39] == "94"
    assert len(world.issuers["north"].bookings.entries) == 1
    assert await world_kinds(world, RecordKind.EXCEPTION) == 1


@pytest.mark.parametrize(
    ("kind", "with_card"), [(Kind.VOID, True), (Kind.VOID, False), (Kind.REFUND, True)]
)
async def test_what_keeps_the_number_of_its_original_is_refused(
    world: World, kind: Kind, *, with_card: bool
) -> None:
    """It would wait for itself; rule 7: the same key, other content."""
    terminal, card = world.terminals["TERM0001"], get_card("visa-ok")
    held = await terminal.preauthorise(card, 1250)
    named = await terminal.complete(held, 1250)
    first = terminal.requests[named.stan].transaction
    acting = terminal.build(kind, card, 1250, original=named).transaction
    pan, expiry = (acting.pan, acting.expiry) if with_card else (None, "")
    same = replace(
        acting, stan=first.stan, local_at=first.local_at, pan=pan, expiry=expiry
    )
    answer = await terminal.exchange(terminal.build_from(same))
    assert answer is not None
    assert answer.outcome.code is ResponseCode.DUPLICATE_TRANSACTION
    assert await world_kinds(world, RecordKind.EXCEPTION) == 1


@pytest.mark.parametrize("function", [Function.ADVICE, Function.REQUEST])
async def test_a_reversal_of_an_approval_reaches_the_issuer_once(
    world: World, function: Function
) -> None:
    terminal = world.terminals["TERM0001"]
    terminal.profile = replace(terminal.profile, reversal_function=function)
    request = a_purchase(terminal)
    belief = await terminal.pay(request)
    await terminal.reverse(belief)
    await terminal.reverse(belief)
    await wait_delivered(world, "north")
    kinds = [each.kind for each in world.issuers["north"].bookings.entries]
    assert kinds == [BookingKind.APPROVED, BookingKind.REVERSED]


async def test_a_reversed_purchase_never_answers_approved_again(world: World) -> None:
    terminal = world.terminals["TERM0001"]
    request = a_purchase(terminal)
    belief = await terminal.pay(request)
    await terminal.reverse(belief)
    again = await terminal.exchange(terminal.as_repeat(request))
    assert again is not None
    assert not again.outcome.is_approved


async def test_a_reversal_of_a_decline_undoes_nothing(world: World) -> None:
    terminal = world.terminals["TERM0002"]
    card = get_card("visa-insufficient")
    request = terminal.build(Kind.PURCHASE, card, 1250, pin=card.pin)
    belief = await terminal.pay(request)
    await terminal.reverse(belief)
    await trio.sleep(30)
    kinds = [each.kind for each in world.issuers["north"].bookings.entries]
    assert kinds == [BookingKind.DECLINED]


async def test_a_reversal_before_the_answer_is_applied_after_it(world: World) -> None:
    """Acknowledged at once, undone when the outcome is known (rule 8)."""
    world.issuers["north"].set_rules(SLOW)
    terminal = world.terminals["TERM0001"]
    request = a_purchase(terminal)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(terminal.pay, request)
        await trio.sleep(0.5)
        asked_at = trio.current_time()
        answer = await terminal.exchange(terminal.build_reversal(request))
        assert trio.current_time() - asked_at < 1.0
    assert answer is not None
    assert answer.outcome.is_approved
    assert terminal.beliefs[0].state is BeliefState.DECLINED
    await wait_delivered(world, "north")


async def test_the_original_that_comes_after_its_reversal_is_refused(
    world: World,
) -> None:
    terminal = world.terminals["TERM0001"]
    request = a_purchase(terminal)
    acknowledged = await terminal.exchange(terminal.build_reversal(request))
    assert acknowledged is not None
    assert acknowledged.outcome.is_approved
    belief = await terminal.pay(request)
    assert belief.state is BeliefState.DECLINED
    assert not world.issuers["north"].bookings.entries
    assert await world_kinds(world, RecordKind.EXCEPTION) == 1


async def test_an_interactive_reversal_of_an_unknown_original_says_so(
    world: World,
) -> None:
    terminal = world.terminals["TERM0001"]
    terminal.profile = replace(terminal.profile, reversal_function=Function.REQUEST)
    answer = await terminal.exchange(terminal.build_reversal(a_purchase(terminal)))
    assert answer is not None
    assert answer.outcome.code is ResponseCode.ORIGINAL_NOT_FOUND


async def test_the_same_trace_number_is_legal_on_another_terminal(
    world: World,
) -> None:
    card = get_card("visa-ok")
    for terminal in world.terminals.values():
        belief = await terminal.purchase(card, 1250, pin=card.pin)
        assert belief.stan == "000001"
        assert belief.state is BeliefState.APPROVED
    assert len(world.issuers["north"].bookings.entries) == 2


async def test_the_issuer_learns_why_a_transaction_was_undone(world: World) -> None:
    terminal = world.terminals["TERM0001"]
    belief = await terminal.pay(a_purchase(terminal))
    await terminal.reverse(belief)
    silent = get_card("visa-silent")
    await terminal.purchase(silent, 1250, pin=silent.pin)
    await wait_delivered(world, "north")
    await trio.sleep(10)
    assert world.store is not None
    reasons = [
        each.record.body["message"].get("39")
        for each in await world.store.records()
        if each.record.kind is RecordKind.FORWARDED
    ]
    assert reasons == ["17", "68"]


async def test_a_reversal_with_another_time_waits_for_its_running_original(
    world: World,
) -> None:
    """Found by its card instead of its key, the original still has its owner."""
    world.issuers["north"].set_rules(SLOW)
    terminal = world.terminals["TERM0001"]
    request = a_purchase(terminal)
    moment = request.transaction.local_at
    assert moment is not None
    elsewhen = replace(
        request,
        transaction=replace(
            request.transaction, local_at=moment - timedelta(seconds=7)
        ),
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(terminal.pay, request)
        await trio.sleep(0.5)
        answer = await terminal.exchange(terminal.build_reversal(elsewhen))
    assert answer is not None
    assert answer.outcome.is_approved
    assert terminal.beliefs[0].sends == 1
    assert terminal.beliefs[0].state is BeliefState.DECLINED
    await wait_delivered(world, "north")
