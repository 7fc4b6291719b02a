"""What a card can do besides a purchase: cash, cash-back, inquiries, a part."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio

from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.codecs.canonical.money import Money
from isoswitch.ledger.entries import balances
from isoswitch.simulators.beliefs import BeliefState
from isoswitch.simulators.bookings import BookingKey
from isoswitch.simulators.cards import get_card
from isoswitch.simulators.rules import Equals, Fault, Fixed, Reaction, Rule
from isoswitch.simulators.world import World
from isoswitch.switch.settings import KindSettings, SwitchSettings
from tests.system.conftest import Run
from tests.system.test_failures import wait_delivered

CARDS = pytest.mark.parametrize("card", ["visa-ok", "mc-ok"])
TERMINALS = pytest.mark.parametrize("terminal", ["TERM0001", "TERM0002"])
INQUIRIES = pytest.mark.parametrize(
    "kind", [Kind.ACCOUNT_VERIFICATION, Kind.MINI_STATEMENT, Kind.BALANCE_INQUIRY]
)


def with_kinds(kinds: KindSettings) -> World:
    """Make a world with terms of its own."""
    return World(change=lambda settings: replace(settings, kinds=kinds))


@CARDS
@TERMINALS
async def test_cash_is_owed_to_the_till_and_not_to_the_merchant(
    world: World, card: str, terminal: str
) -> None:
    chosen, till = get_card(card), world.terminals[terminal]
    request = till.build(Kind.CASH_WITHDRAWAL, chosen, 5_000, pin=chosen.pin)
    assert (await till.pay(request)).state is BeliefState.APPROVED
    assert world.store is not None
    sums = balances(await world.store.entries(world.now().date().isoformat()))
    assert sums[f"cash/{terminal}", "978"] == -5_000
    assert sums[f"issuer/{chosen.issuer}", "978"] == 5_000


# The total, the cash in it, and what comes of it.
CASH_BACK = [
    (5_000, 2_000, ResponseCode.APPROVED),
    (2_000, 2_000, ResponseCode.APPROVED),
    (5_000, 2_001, ResponseCode.EXCEEDS_AMOUNT_LIMIT),
    (1_000, 1_001, ResponseCode.INVALID_AMOUNT),
    (1_000, 0, ResponseCode.INVALID_AMOUNT),
]


@CARDS
@TERMINALS
async def test_cash_back_is_a_part_of_the_amount_within_the_limit(
    run: Run, card: str, terminal: str
) -> None:
    world = with_kinds(KindSettings(cashback_max_minor=2_000))
    await run(world)
    till = world.terminals[terminal]
    for total, cash, code in CASH_BACK:
        request = till.build(
            Kind.PURCHASE_WITH_CASHBACK, get_card(card), total, cashback_minor=cash
        )
        belief = await till.pay(request)
        assert belief.outcome is not None
        assert belief.outcome.code is code
    assert world.store is not None
    sending = (await world.store.records("1-1"))[1].record.body["message"]
    # A debit of the type cash, DE 54 of both editions.
    assert sending["54"] == "0040978D000000002000"


async def test_no_cash_is_paid_out_where_nobody_allowed_it(run: Run) -> None:
    world = with_kinds(KindSettings())
    await run(world)
    till = world.terminals["TERM0001"]
    request = till.build(
        Kind.PURCHASE_WITH_CASHBACK, get_card("visa-ok"), 5_000, cashback_minor=1
    )
    assert (await till.pay(request)).state is BeliefState.DECLINED


@CARDS
@TERMINALS
async def test_an_account_is_verified_and_nothing_moves(
    world: World, card: str, terminal: str
) -> None:
    chosen, till = get_card(card), world.terminals[terminal]
    belief = await till.inquire(Kind.ACCOUNT_VERIFICATION, chosen, pin=chosen.pin)
    assert belief.state is BeliefState.APPROVED
    (booking,) = world.issuers[chosen.issuer].bookings.entries
    assert (booking.amount_minor, booking.held_minor) == (0, 0)


async def test_a_verification_over_an_amount_is_refused(world: World) -> None:
    till = world.terminals["TERM0001"]
    request = till.build(Kind.ACCOUNT_VERIFICATION, get_card("visa-ok"), 1)
    assert (await till.pay(request)).state is BeliefState.DECLINED
    assert not world.issuers["north"].bookings.entries


@INQUIRIES
async def test_a_silent_inquiry_is_not_reversed(world: World, kind: Kind) -> None:
    silent = Rule(name="silent", then=Reaction(fault=Fault.SILENCE))
    world.issuers["north"].set_rules([silent])
    await world.terminals["TERM0001"].inquire(kind, get_card("visa-ok"))
    assert world.store is not None
    assert not await world.store.pending_saf()


@INQUIRIES
async def test_a_cancelled_inquiry_is_not_reversed(world: World, kind: Kind) -> None:
    slow = Rule(name="slow", then=Reaction(delay=Fixed(delay_s=3.0)))
    world.issuers["north"].set_rules([slow])
    till = world.terminals["TERM0001"]
    request = till.build(kind, get_card("visa-ok"), 0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(till.pay, request)
        await trio.sleep(1)
        await till.exchange(till.build_reversal(request))
    (belief,) = till.beliefs
    assert belief.outcome is not None
    assert belief.outcome.code is ResponseCode.ANSWER_TOO_LATE
    assert world.store is not None
    assert not await world.store.pending_saf()


async def test_an_inquiry_that_is_approved_in_part_is_not_reversed(
    world: World,
) -> None:
    part = Rule(name="part", then=Reaction(fields={39: "10"}))
    world.issuers["north"].set_rules([part])
    belief = await world.terminals["TERM0001"].inquire(
        Kind.ACCOUNT_VERIFICATION, get_card("visa-ok")
    )
    assert belief.state is BeliefState.DECLINED
    assert world.store is not None
    assert not await world.store.pending_saf()


@CARDS
@TERMINALS
async def test_a_mini_statement_tells_what_moved_last(
    world: World, card: str, terminal: str
) -> None:
    chosen, till = get_card(card), world.terminals[terminal]
    for minor in range(1_000, 13_000, 1_000):
        paid = await till.purchase(chosen, minor, pin=chosen.pin)
    await till.reverse(paid)
    await wait_delivered(world, chosen.issuer)
    belief = await till.inquire(Kind.MINI_STATEMENT, chosen, pin=chosen.pin)
    assert belief.outcome is not None
    amounts = [line.amount for line in belief.outcome.statement]
    assert amounts[:3] == [
        Money(12_000, "978"),
        Money(-12_000, "978"),
        Money(-11_000, "978"),
    ]
    assert len(amounts) == 10
    today = world.now().date()
    assert {line.booked_on for line in belief.outcome.statement} == {today}


async def test_the_repeat_of_a_mini_statement_gets_the_same_lines(
    world: World,
) -> None:
    till, card = world.terminals["TERM0001"], get_card("visa-ok")
    await till.purchase(card, 1_000, pin=card.pin)
    request = till.build(Kind.MINI_STATEMENT, card, 0)
    first = await till.exchange(request)
    await till.purchase(card, 2_000, pin=card.pin)
    again = await till.exchange(till.as_repeat(request))
    assert first is not None
    assert again is not None
    assert again.outcome.statement == first.outcome.statement


def no_parts(settings: SwitchSettings) -> SwitchSettings:
    """Let no terminal take a partial approval."""
    return replace(
        settings,
        terminals={
            name: replace(each, partial_approvals=False)
            for name, each in settings.terminals.items()
        },
    )


@pytest.mark.parametrize("card", ["visa-partial", "mc-partial"])
async def test_a_part_that_the_terminal_cannot_use_is_given_back(
    run: Run, card: str
) -> None:
    world = World(change=no_parts)
    await run(world)
    chosen = get_card(card)
    belief = await world.terminals["TERM0001"].purchase(chosen, 5_000, pin=chosen.pin)
    assert belief.outcome is not None
    assert belief.outcome.code is ResponseCode.INSUFFICIENT_FUNDS
    await wait_delivered(world, chosen.issuer)
    account = world.issuers[chosen.issuer].accounts.get_account(card)
    assert account.balance_minor == chosen.balance_minor


@pytest.mark.parametrize("card", ["visa-partial", "mc-partial"])
async def test_a_partial_approval_tells_its_amount_and_is_reversed_over_it(
    world: World, card: str
) -> None:
    chosen, till = get_card(card), world.terminals["TERM0001"]
    belief = await till.purchase(chosen, 5_000, pin=chosen.pin)
    assert belief.outcome is not None
    assert belief.outcome.code is ResponseCode.PARTIALLY_APPROVED
    assert belief.approved_minor == 2_500
    await till.reverse(belief)
    await wait_delivered(world, chosen.issuer)
    assert world.store is not None
    forwarded = [
        each.record.body["message"]["4"]
        for each in await world.store.records("1-1")
        if each.record.kind == "forwarded"
    ]
    assert forwarded == ["000000002500"]


async def test_a_part_of_a_refund_is_no_refund(world: World) -> None:
    """What has no parts is declined and undone, whatever the terminal can use."""
    till, card = world.terminals["TERM0001"], get_card("visa-ok")
    belief = await till.purchase(card, 5_000, pin=card.pin)
    half = Rule(
        name="half",
        then=Reaction(approved_percent=50),
        when={"kind": Equals(value=Kind.REFUND.value)},
    )
    world.issuers["north"].set_rules([half])
    back = await till.refund(belief, 4_000)
    assert back.state is BeliefState.DECLINED
    await wait_delivered(world, "north")
    key = BookingKey("10001", back.rrn)
    assert world.issuers["north"].bookings.approved_minor(key) == 0
