"""A terminal shows a code that the host made, and hears whether it was paid."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio

from isoswitch.codecs.canonical.codes import ResponseCode
from isoswitch.codecs.canonical.errors import HsmUnavailable
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.qr.mpm import decode_mpm
from isoswitch.hsm.port import AnyCommand, GenerateMac, Hsm
from isoswitch.ledger.entries import balances
from isoswitch.simulators.beliefs import Belief
from isoswitch.simulators.cards import get_card
from isoswitch.simulators.interbank_audit import SETTLED_AT_THE_HOUSE
from isoswitch.simulators.world import MERCHANT, World
from isoswitch.switch.refusals import Refusal
from tests.system.test_codes import (
    CLEARING,
    amended,
    failed,
    paid,
    pay_wish,
    react,
    refused,
    with_codes,
)
from tests.system.test_transfers import house_of

Run = Callable[[World], Awaitable[None]]
TERMINALS = ("TERM0001", "TERM0002")


@pytest.fixture
async def world(run: Run) -> World:
    """A network with a clearing house, whose merchant's terminals show codes."""
    network = World(change=with_codes)
    await run(network)
    await trio.sleep(1)
    return network


async def ask(
    world: World, *, at: str = "TERM0001", minor: int = 1250, valid_s: int = 0
) -> Belief:
    terminal = world.terminals[at]
    request = terminal.build_code_request(minor, valid_s=valid_s)
    return await terminal.pay(request)


async def shown(world: World, **wanted: int) -> Belief:
    belief = await ask(world, **wanted)
    assert code(belief) is ResponseCode.APPROVED
    return belief


def code(belief: Belief) -> ResponseCode:
    assert belief.outcome is not None
    return belief.outcome.code


def text(belief: Belief) -> str:
    assert belief.outcome is not None
    return belief.outcome.code_text


async def query(world: World, asked: Belief, *, at: str = "TERM0001") -> ResponseCode:
    terminal = world.terminals[at]
    return code(await terminal.pay(terminal.build_code_query(asked.rrn)))


@pytest.mark.parametrize("at", TERMINALS)
async def test_a_terminal_shows_a_code_and_hears_that_it_is_paid(
    world: World, at: str
) -> None:
    belief = await ask(world, at=at)
    said = decode_mpm(text(belief))
    assert (said.value("54"), said.value("62.07")) == ("12.50", at)
    await paid(world, text(belief))
    assert await query(world, belief, at=at) is ResponseCode.APPROVED
    assert world.store is not None
    sums = balances(await world.store.entries("2026-06-01"))
    assert sums[CLEARING] == 1250


async def test_a_question_waits_for_the_payer_a_while(
    world: World, nursery: trio.Nursery
) -> None:
    belief = await shown(world)
    began_at = trio.current_time()

    async def pay_later() -> None:
        await trio.sleep(2)
        await paid(world, text(belief))

    nursery.start_soon(pay_later)
    assert await query(world, belief) is ResponseCode.APPROVED
    assert 2 <= trio.current_time() - began_at < 4
    again = await shown(world)
    assert await query(world, again) is ResponseCode.REQUEST_IN_PROGRESS


async def test_another_terminal_of_the_merchant_may_ask(world: World) -> None:
    belief = await shown(world)
    await paid(world, text(belief))
    assert await query(world, belief, at="TERM0002") is ResponseCode.APPROVED


async def test_a_repeat_gets_the_same_code(world: World) -> None:
    terminal = world.terminals["TERM0001"]
    request = terminal.build_code_request(1250)
    first = await terminal.pay(request)
    again = await terminal.exchange(terminal.as_repeat(request))
    assert again is not None
    assert again.outcome.code_text == text(first)
    assert len(world.disk.rows) == 1


async def test_a_code_is_paid_in_the_time_that_its_terminal_gave_it(
    world: World,
) -> None:
    belief = await shown(world, valid_s=30)
    await trio.sleep(31)
    assert await refused(world, text(belief)) is Refusal.CODE_EXPIRED
    assert await query(world, belief) is ResponseCode.ANSWER_TOO_LATE


@pytest.mark.parametrize(
    ("amount", "refusal"),
    [
        (Money(1249, "978"), Refusal.AMOUNT_DIFFERS),
        (Money(1251, "978"), Refusal.AMOUNT_DIFFERS),
        (Money(1250, "840"), Refusal.AMOUNT_DIFFERS),
    ],
    ids=str,
)
async def test_neither_a_part_nor_more_is_paid(
    world: World, amount: Money, refusal: Refusal
) -> None:
    belief = await shown(world)
    assert await refused(world, text(belief), amount) is refusal
    assert await query(world, belief) is ResponseCode.REQUEST_IN_PROGRESS


async def test_an_altered_amount_is_noticed(world: World) -> None:
    belief = await shown(world)
    altered = amended(text(belief), "54", "0.50")
    assert await refused(world, altered) is Refusal.CODE_ALTERED
    assert await query(world, belief) is ResponseCode.REQUEST_IN_PROGRESS


async def test_it_is_paid_once(world: World) -> None:
    belief = await shown(world)
    await paid(world, text(belief))
    assert await refused(world, text(belief)) is Refusal.CODE_PAID


async def test_a_transfer_that_is_rejected_leaves_it_to_be_paid(world: World) -> None:
    belief = await shown(world)
    react(world, code=ResponseCode.INSUFFICIENT_FUNDS)
    assert await failed(world, text(belief))
    assert await query(world, belief) is ResponseCode.REQUEST_IN_PROGRESS
    await paid(world, text(belief))
    assert await query(world, belief) is ResponseCode.APPROVED


async def test_what_is_shown_outlives_the_switch(world: World) -> None:
    belief = await shown(world)
    world.crash_switch()
    await trio.sleep(1)
    await world.start_switch()
    await trio.sleep(5)
    await paid(world, text(belief))
    assert await query(world, belief) is ResponseCode.APPROVED


async def test_a_switch_that_dies_while_it_is_paid_tells_the_truth(
    world: World,
) -> None:
    belief = await shown(world)
    with trio.move_on_after(0.05):
        await paid(world, text(belief))
    world.crash_switch()
    await trio.sleep(1)
    await world.start_switch()
    await trio.sleep(60)
    told = await query(world, belief)
    settled_minor = sum(
        each.transfer.amount.minor
        for each in house_of(world).payments.values()
        if each.status in SETTLED_AT_THE_HOUSE and not each.returned
    )
    assert settled_minor == (1250 if told is ResponseCode.APPROVED else 0)
    assert balances(world.disk.ledger.values()).get(CLEARING, 0) == settled_minor


async def test_what_cannot_be_a_code_is_declined(world: World) -> None:
    for wanted, said in (
        ({"minor": 0}, ResponseCode.INVALID_AMOUNT),
        ({"valid_s": 86_401}, ResponseCode.INVALID_TRANSACTION),
    ):
        assert code(await ask(world, **wanted)) is said
    terminal = world.terminals["TERM0001"]
    unknown = await terminal.pay(terminal.build_code_query("001100000999"))
    assert code(unknown) is ResponseCode.ORIGINAL_NOT_FOUND


async def test_a_merchant_without_a_payee_shows_none(run: Run) -> None:
    network = World()
    await run(network)
    assert MERCHANT.payee is None
    assert code(await ask(network)) is ResponseCode.INVALID_MERCHANT


async def noticed(world: World, belief: Belief, *, within_s: float) -> ResponseCode:
    """Give what a terminal is told unasked of the code that it shows."""
    terminal = world.terminals[belief.terminal_id]
    with trio.fail_after(within_s):
        return (await terminal.wait_notice(belief.rrn)).code


@pytest.mark.parametrize("at", TERMINALS)
async def test_a_terminal_is_told_when_its_code_is_paid(world: World, at: str) -> None:
    belief = await shown(world, at=at)
    await paid(world, text(belief))
    assert await noticed(world, belief, within_s=0.5) is ResponseCode.APPROVED
    notice = world.terminals[at].notices[belief.rrn]
    assert notice.amount == Money(1250, "978")
    await trio.sleep(60)
    assert world.terminals[at].counts["wrong mac"] == 0
    assert await query(world, belief, at=at) is ResponseCode.APPROVED


async def test_a_terminal_is_told_when_the_time_of_its_code_is_over(
    world: World,
) -> None:
    belief = await shown(world, valid_s=30)
    assert await noticed(world, belief, within_s=35) is ResponseCode.ANSWER_TOO_LATE


async def test_an_attempt_that_fails_is_not_told_as_the_code_can_still_be_paid(
    world: World,
) -> None:
    belief = await shown(world)
    react(world, code=ResponseCode.INSUFFICIENT_FUNDS)
    assert await failed(world, text(belief))
    await trio.sleep(10)
    assert not world.terminals["TERM0001"].notices
    await paid(world, text(belief))
    assert await noticed(world, belief, within_s=0.5) is ResponseCode.APPROVED


async def test_who_asks_is_answered_and_not_told_besides(
    world: World, nursery: trio.Nursery
) -> None:
    belief = await shown(world)

    async def pay_later() -> None:
        await trio.sleep(2)
        await paid(world, text(belief))

    nursery.start_soon(pay_later)
    began_at = trio.current_time()
    assert await query(world, belief) is ResponseCode.APPROVED
    assert trio.current_time() - began_at < 2.5
    await trio.sleep(30)
    assert not world.terminals["TERM0001"].notices


async def test_who_asked_too_early_is_told(world: World) -> None:
    belief = await shown(world)
    assert await query(world, belief) is ResponseCode.REQUEST_IN_PROGRESS
    await paid(world, text(belief))
    assert await noticed(world, belief, within_s=0.5) is ResponseCode.APPROVED


async def test_a_terminal_that_connected_again_is_told_where_it_was_heard_last(
    world: World,
) -> None:
    belief = await shown(world)
    terminal = world.terminals["TERM0001"]
    terminal.hang_up()
    await trio.sleep(3)
    card = get_card("visa-ok")
    assert (await terminal.balance(card)).outcome is not None
    await paid(world, text(belief))
    assert await noticed(world, belief, within_s=0.5) is ResponseCode.APPROVED


async def test_a_terminal_that_is_away_asks_and_gets_the_result(world: World) -> None:
    belief = await shown(world)
    terminal = world.terminals["TERM0001"]
    terminal.hang_up()
    await paid(world, text(belief))
    await trio.sleep(30)
    assert not terminal.notices
    assert await query(world, belief) is ResponseCode.APPROVED


class WithoutMacs:
    """A crypto service that at times makes no MACs, and signs all the same."""

    def __init__(self, hsm: Hsm) -> None:
        self._hsm = hsm
        self.is_away = False

    async def run(self, *commands: AnyCommand) -> list[bytes]:
        """Run commands, unless one makes a MAC while that does not work."""
        if self.is_away and any(isinstance(each, GenerateMac) for each in commands):
            await trio.lowlevel.checkpoint()
            msg = "no MAC is made now"
            raise HsmUnavailable(msg)
        return await self._hsm.run(*commands)


async def test_a_notice_waits_for_a_crypto_service_that_is_away(run: Run) -> None:
    made: list[WithoutMacs] = []

    def wrap(hsm: Hsm) -> Hsm:
        made.append(WithoutMacs(hsm))
        return made[-1]

    network = World(change=with_codes, wrap_hsm=wrap)
    await run(network)
    await trio.sleep(1)
    belief = await shown(network)
    made[0].is_away = True
    await paid(network, text(belief))
    await trio.sleep(5)
    assert not network.terminals["TERM0001"].notices
    made[0].is_away = False
    assert await noticed(network, belief, within_s=5) is ResponseCode.APPROVED


async def test_the_node_that_gave_the_code_tells_what_another_has_seen_paid(
    run: Run,
) -> None:
    network = World(change=with_codes, nodes=2)
    await run(network)
    await trio.sleep(1)
    belief = await shown(network)
    switches = [node.switch for node in network.nodes if node.switch]
    (other,) = (
        each
        for each in switches
        if each.services and not each.services.code_watch.shown
    )
    assert other.codes is not None
    await other.codes.pay(pay_wish(text(belief)))
    assert await noticed(network, belief, within_s=3) is ResponseCode.APPROVED
