"""A simulated issuer, asked by a simulated terminal over memory streams."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio
import trio.testing

from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.secrets import Pin
from isoswitch.codecs.dialects.registry import get_dialect
from isoswitch.codecs.framing import get_framing
from isoswitch.simulators.beliefs import BeliefState
from isoswitch.simulators.bookings import BookingKind
from isoswitch.simulators.cards import get_card
from isoswitch.simulators.rules import Fault, Fixed, Reaction, Rule
from isoswitch.simulators.triggers import standing_rules
from tests.simulators.pairs import EPOCH, SHAPES, Pair

VISA = get_card("visa-ok")
RIGHT, WRONG = Pin("1234"), Pin("9999")


@asynccontextmanager
async def running_pair(
    shape: tuple[str, str, str, str] = SHAPES[0],
    reaction: Reaction | None = None,
    repeats_max: int = 1,
) -> AsyncIterator[Pair]:
    """Run a pair; a reaction applies to the first purchase message."""
    rules = list(standing_rules(late_s=60.0))
    if reaction is not None:
        rules.insert(0, Rule(name="test", then=reaction, times_max=1))
    async with trio.open_nursery() as nursery:
        pair = Pair(nursery, shape, repeats_max=repeats_max)
        await pair.start()
        pair.issuer.set_rules(rules)
        yield pair
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("shape", SHAPES, ids="-".join)
async def test_a_purchase_with_pin_and_mac_is_approved(
    shape: tuple[str, str, str, str], autojump_clock: trio.testing.MockClock
) -> None:
    async with running_pair(shape) as pair:
        belief = await pair.terminal.purchase(VISA, 1250, pin=RIGHT)
    assert belief.state is BeliefState.APPROVED
    (booking,) = pair.issuer.bookings.entries
    assert (booking.kind, booking.amount_minor) == (BookingKind.APPROVED, 1250)
    assert booking.card == "visa-ok"
    assert belief.outcome is not None
    assert belief.outcome.approval_code == booking.approval_code


@pytest.mark.parametrize("shape", SHAPES, ids="-".join)
async def test_a_wrong_pin_is_declined(
    shape: tuple[str, str, str, str], autojump_clock: trio.testing.MockClock
) -> None:
    async with running_pair(shape) as pair:
        belief = await pair.terminal.purchase(VISA, 1250, pin=WRONG)
    assert belief.outcome is not None
    assert belief.outcome.code is ResponseCode.WRONG_PIN


@pytest.mark.parametrize("shape", SHAPES, ids="-".join)
async def test_a_balance_is_told(
    shape: tuple[str, str, str, str], autojump_clock: trio.testing.MockClock
) -> None:
    async with running_pair(shape) as pair:
        belief = await pair.terminal.balance(VISA, pin=RIGHT)
    assert belief.outcome is not None
    assert belief.outcome.balance == Money(VISA.balance_minor, "978")


@pytest.mark.parametrize("shape", SHAPES, ids="-".join)
async def test_silence_is_repeated_then_reversed(
    shape: tuple[str, str, str, str], autojump_clock: trio.testing.MockClock
) -> None:
    """The approval of a silent issuer is undone by the terminal's reversal."""
    silent = Reaction(fault=Fault.SILENCE)
    async with running_pair(shape) as pair:
        pair.issuer.set_rules([Rule(name="twice", then=silent, times_max=2)])
        belief = await pair.terminal.purchase(VISA, 1250)
    assert belief.state is BeliefState.REVERSED
    assert (belief.sends, belief.reversal_sends) == (2, 1)
    kinds = [booking.kind for booking in pair.issuer.bookings.entries]
    assert kinds == [BookingKind.APPROVED, BookingKind.REVERSED]
    assert pair.issuer.accounts.get_account("visa-ok").balance_minor == (
        VISA.balance_minor
    )


async def test_a_repeat_after_silence_gets_the_first_answer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running_pair(reaction=Reaction(fault=Fault.SILENCE)) as pair:
        belief = await pair.terminal.purchase(VISA, 1250)
    assert belief.state is BeliefState.APPROVED
    assert belief.sends == 2
    assert len(pair.issuer.bookings.entries) == 1


async def test_a_reversal_is_repeated_until_it_is_acknowledged(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """xx21 from the second write on (field notes, rule 10)."""
    async with running_pair() as pair:
        silent = Reaction(fault=Fault.SILENCE)
        pair.issuer.set_rules([Rule(name="deaf", then=silent, times_max=6)])
        belief = await pair.terminal.purchase(VISA, 1250)
    assert belief.state is BeliefState.REVERSED
    assert belief.reversal_sends == 5
    kinds = [booking.kind for booking in pair.issuer.bookings.entries]
    assert kinds == [BookingKind.APPROVED, BookingKind.REVERSED]


async def test_a_request_lost_before_it_was_booked_leaves_a_tombstone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running_pair(reaction=Reaction(books=False), repeats_max=0) as pair:
        belief = await pair.terminal.purchase(VISA, 1250)
    assert belief.state is BeliefState.REVERSED
    (booking,) = pair.issuer.bookings.entries
    assert booking.kind is BookingKind.TOMBSTONE


async def test_a_late_answer_is_heard_and_not_believed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    late = Reaction(delay=Fixed(delay_s=30.0))
    async with running_pair(reaction=late, repeats_max=0) as pair:
        belief = await pair.terminal.purchase(VISA, 1250)
        await trio.sleep(30)
    assert belief.state is BeliefState.REVERSED
    assert pair.terminal.counts["late or unasked"] == 1


async def test_a_slow_answer_holds_nobody_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running_pair(reaction=Reaction(delay=Fixed(delay_s=10.0))) as pair:
        async with trio.open_nursery() as nursery:
            start = trio.current_time()
            nursery.start_soon(pair.terminal.purchase, VISA, 1250)
            await trio.testing.wait_all_tasks_blocked()
            second = await pair.terminal.purchase(VISA, 1300)
            assert trio.current_time() == start
            assert second.state is BeliefState.APPROVED
        assert trio.current_time() == start + 10
    assert {each.state for each in pair.terminal.beliefs} == {BeliefState.APPROVED}


@pytest.mark.parametrize(
    ("fault", "count"),
    [
        (Fault.DUPLICATE, "duplicate"),
        (Fault.GARBAGE, "undecodable"),
        (Fault.WRONG_MAC, "wrong mac"),
        (Fault.NO_MAC, "wrong mac"),
        (Fault.WRONG_ECHO, "wrong echo"),
    ],
)
async def test_a_spoilt_answer_is_no_answer(
    fault: Fault, count: str, autojump_clock: trio.testing.MockClock
) -> None:
    """The repeat brings the good one; the spoilt one is counted."""
    async with running_pair(reaction=Reaction(fault=fault)) as pair:
        belief = await pair.terminal.purchase(VISA, 1250)
        await trio.testing.wait_all_tasks_blocked()
    assert belief.state is BeliefState.APPROVED
    assert pair.terminal.counts[count] == 1
    assert len(pair.issuer.bookings.entries) == 1


@pytest.mark.parametrize("fault", [Fault.DISCONNECT, Fault.AWAY])
async def test_a_terminal_comes_back_after_its_connection_broke(
    fault: Fault, autojump_clock: trio.testing.MockClock
) -> None:
    async with running_pair(reaction=Reaction(fault=fault)) as pair:
        with trio.move_on_after(15):
            await pair.terminal.purchase(VISA, 1250)
        outcome = await pair.terminal.network(Kind.SIGN_ON)
        assert outcome is not None
        belief = await pair.terminal.purchase(VISA, 1300)
    assert belief.state is BeliefState.APPROVED


async def test_a_field_of_the_answer_can_be_replaced(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running_pair(reaction=Reaction(fields={38: "ABCDEF"})) as pair:
        belief = await pair.terminal.purchase(VISA, 1250)
    assert belief.outcome is not None
    assert belief.outcome.approval_code == "ABCDEF"


async def test_a_wrong_mac_is_refused_and_not_booked(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running_pair() as pair:
        request = pair.terminal.build(Kind.PURCHASE, VISA, 1250)
        answer = await pair.terminal.exchange(pair.terminal.with_wrong_mac(request))
    assert answer is not None
    assert answer.outcome.code is ResponseCode.SECURITY_VIOLATION
    assert pair.issuer.bookings.entries == []
    assert pair.issuer.counts["wrong mac"] == 1


async def test_money_before_sign_on_is_refused(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running_pair() as pair:
        await pair.terminal.network(Kind.SIGN_OFF)
        belief = await pair.terminal.purchase(VISA, 1250)
    assert belief.state is BeliefState.DECLINED
    assert pair.issuer.bookings.entries == []


async def test_a_sign_off_counts_for_the_connection_that_brings_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """One that was long on its way does not end a sign-on on the next connection."""
    sign_off = get_dialect(SHAPES[0][0]).network_request(
        Kind.SIGN_OFF, stan="000900", transmitted_at=EPOCH
    )
    async with running_pair() as pair:
        before = await pair.connect()
        await before.send_all(get_framing(SHAPES[0][1]).encode(sign_off.raw))
        await before.receive_some()
        belief = await pair.terminal.purchase(VISA, 1250)
    assert belief.state is BeliefState.APPROVED


async def test_an_echo_is_answered(autojump_clock: trio.testing.MockClock) -> None:
    async with running_pair() as pair:
        outcome = await pair.terminal.network(Kind.ECHO)
    assert outcome is not None
    assert outcome.is_approved


async def test_garbage_gets_no_answer_and_harms_nobody(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running_pair() as pair:
        await pair.terminal.send_raw(b"\x00\x05hello")
        belief = await pair.terminal.purchase(VISA, 1250)
    assert belief.state is BeliefState.APPROVED
    assert pair.issuer.counts["undecodable"] == 1


async def test_half_a_frame_then_a_hang_up_books_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running_pair() as pair:
        await pair.terminal.send_half(pair.terminal.build(Kind.PURCHASE, VISA, 1250))
        await trio.testing.wait_all_tasks_blocked()
        pair.terminal.hang_up()
        await trio.testing.wait_all_tasks_blocked()
    assert pair.issuer.bookings.entries == []
    assert pair.issuer.wires == []


async def test_a_customer_who_changes_his_mind_gets_his_money_back(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running_pair() as pair:
        belief = await pair.terminal.purchase(VISA, 1250)
        await pair.terminal.reverse(belief)
    assert belief.state is BeliefState.REVERSED
    assert belief.approved_minor == 0
    kinds = [booking.kind for booking in pair.issuer.bookings.entries]
    assert kinds == [BookingKind.APPROVED, BookingKind.REVERSED]


async def test_half_the_amount_is_believed_paid(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running_pair() as pair:
        belief = await pair.terminal.purchase(get_card("visa-partial"), 1250)
    assert belief.approved_minor == 625


async def test_a_load_generator_may_take_answers_on_trust(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running_pair(reaction=Reaction(fault=Fault.WRONG_MAC)) as pair:
        trusting = replace(pair.terminal.profile, verifies_answers=False)
        pair.terminal.profile = trusting
        belief = await pair.terminal.purchase(VISA, 1250)
    assert (belief.state, belief.sends) == (BeliefState.APPROVED, 1)
