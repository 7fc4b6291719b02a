"""Refunds: linked to a purchase and capped by it, or by the merchant's policy."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio

from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.codecs.canonical.transaction import OriginalData
from isoswitch.journal.records import RecordKind
from isoswitch.simulators.beliefs import Belief, BeliefState
from isoswitch.simulators.cards import get_card
from isoswitch.simulators.rules import Equals, Fixed, Reaction, Rule
from isoswitch.simulators.world import MERCHANT, World
from isoswitch.switch.settings import SwitchSettings
from tests.system.conftest import Run
from tests.system.test_failures import world_kinds
from tests.system.test_saf_orders import lose_seal

CARDS = pytest.mark.parametrize("card", ["visa-ok", "mc-ok"])


async def bought(world: World, card: str = "visa-ok", minor: int = 10_000) -> Belief:
    """Buy something at the first terminal."""
    chosen = get_card(card)
    belief = await world.terminals["TERM0001"].purchase(chosen, minor, pin=chosen.pin)
    assert belief.state is BeliefState.APPROVED
    return belief


def balance(world: World, card: str) -> int:
    """Give what a card has paid so far, as its issuer sees it."""
    chosen = get_card(card)
    account = world.issuers[chosen.issuer].accounts.get_account(card)
    return chosen.balance_minor - account.balance_minor


@CARDS
@pytest.mark.parametrize("terminal", ["TERM0001", "TERM0002"])
async def test_refunds_in_parts_never_exceed_their_purchase(
    world: World, card: str, terminal: str
) -> None:
    """Also at another terminal of the merchant, which knows only our reference."""
    belief = await bought(world, card)
    codes = []
    for minor in (4_000, 4_000, 4_000, 2_000, 1):
        back = await world.terminals[terminal].refund(belief, minor)
        assert back.outcome is not None
        codes.append(back.outcome.code)
    assert codes == [
        ResponseCode.APPROVED,
        ResponseCode.APPROVED,
        ResponseCode.INVALID_AMOUNT,
        ResponseCode.APPROVED,
        ResponseCode.INVALID_AMOUNT,
    ]
    assert balance(world, card) == 0


async def test_two_refunds_at_once_never_exceed_their_purchase(world: World) -> None:
    belief = await bought(world)
    backs: list[Belief] = []

    async def refund(terminal: str) -> None:
        backs.append(await world.terminals[terminal].refund(belief, 6_000))

    async with trio.open_nursery() as nursery:
        for terminal in world.terminals:
            nursery.start_soon(refund, terminal)
    assert sorted(each.state for each in backs) == ["approved", "declined"]
    assert balance(world, "visa-ok") == 4_000


async def test_a_reversed_purchase_is_not_refunded(world: World) -> None:
    belief = await bought(world)
    await world.terminals["TERM0001"].reverse(belief)
    back = await world.terminals["TERM0001"].refund(belief, 1)
    assert back.state is BeliefState.DECLINED


async def test_a_purchase_reversed_after_a_refund_gives_only_the_rest_back(
    world: World,
) -> None:
    belief = await bought(world)
    await world.terminals["TERM0001"].refund(belief, 3_000)
    terminal = world.terminals["TERM0001"]
    answer = await terminal.exchange(
        terminal.build_reversal(terminal.requests[belief.stan])
    )
    assert answer is not None
    assert answer.outcome.is_approved
    await trio.sleep(10)
    assert balance(world, "visa-ok") == 0
    belief.remaining_minor = 3_000


async def test_a_refund_of_an_unknown_purchase_is_declined(world: World) -> None:
    terminal = world.terminals["TERM0001"]
    belief = await bought(world)
    belief.rrn = "999900000001"
    elsewhere = replace(belief, terminal_id="TERM0002")
    back = await terminal.refund(elsewhere, 1_000)
    assert back.outcome is not None
    assert back.outcome.code is ResponseCode.ORIGINAL_NOT_FOUND
    assert balance(world, "visa-ok") == 10_000


async def test_another_card_gets_no_refund_of_a_purchase(world: World) -> None:
    belief = await bought(world)
    back = await world.terminals["TERM0001"].refund(
        replace(belief, card="visa-pin"), 1_000
    )
    assert back.state is BeliefState.DECLINED
    assert balance(world, "visa-pin") == 0


async def test_a_refund_that_fits_two_purchases_is_left_to_the_operator(
    world: World,
) -> None:
    """Same trace number, same amount, no reference and no date: nobody guesses."""
    terminal, card = world.terminals["TERM0001"], get_card("visa-ok")
    for _ in range(2):
        request = terminal.build(Kind.PURCHASE, card, 5_000)
        await terminal.pay(
            terminal.build_from(replace(request.transaction, stan="000777"))
        )
        await trio.sleep(5)
    request = terminal.build(Kind.REFUND, card, 5_000)
    unclear = replace(
        request.transaction, original=OriginalData(mti="0200", stan="000777")
    )
    answer = await terminal.exchange(terminal.build_from(unclear))
    assert answer is not None
    assert answer.outcome.code is ResponseCode.ORIGINAL_NOT_FOUND
    assert world.store is not None
    (exception,) = [
        each.record.body
        for each in await world.store.records()
        if each.record.kind is RecordKind.EXCEPTION
    ]
    assert sorted(exception["candidates"]) == ["1-1", "1-2"]
    assert balance(world, "visa-ok") == 10_000


async def test_a_refund_of_nothing_is_up_to_the_merchants_policy(run: Run) -> None:
    def change(settings: SwitchSettings) -> SwitchSettings:
        merchant = replace(MERCHANT, unlinked_refund_max_minor=5_000)
        return replace(settings, merchants={merchant.id: merchant})

    codes = []
    for world in (World(), World(change=change)):
        await run(world)
        for minor in (5_000, 5_001):
            terminal = world.terminals["TERM0001"]
            back = await terminal.pay(
                terminal.build(Kind.REFUND, get_card("mc-ok"), minor)
            )
            assert back.outcome is not None
            codes.append(back.outcome.code)
    assert codes == [
        ResponseCode.INVALID_TRANSACTION,
        ResponseCode.INVALID_TRANSACTION,
        ResponseCode.APPROVED,
        ResponseCode.EXCEEDS_AMOUNT_LIMIT,
    ]
    assert balance(world, "mc-ok") == -5_000


async def test_a_reversed_refund_may_be_given_again(world: World) -> None:
    belief = await bought(world)
    terminal = world.terminals["TERM0001"]
    back = await terminal.refund(belief, 10_000)
    await terminal.reverse(back)
    await trio.sleep(10)
    assert balance(world, "visa-ok") == 10_000
    assert (await terminal.refund(belief, 10_000)).state is BeliefState.APPROVED
    assert await world_kinds(world, RecordKind.EXCEPTION) == 0


async def test_a_refund_of_what_opens_no_more_is_declined_and_told(
    world: World,
) -> None:
    before = await bought(world)
    lose_seal(world)
    terminal = world.terminals["TERM0001"]
    back = await terminal.refund(before, 4_000)
    assert back.outcome is not None
    assert back.outcome.code is ResponseCode.SYSTEM_MALFUNCTION
    assert await world_kinds(world, RecordKind.EXCEPTION) == 1
    since = await bought(world)
    assert (await terminal.refund(since, 4_000)).state is BeliefState.APPROVED


async def node_of(world: World, terminal: str) -> str:
    """Give the node that a terminal is connected to."""
    await world.terminals[terminal].balance(get_card("visa-ok"))
    return list(world.disk.transactions.values())[-1].node


async def set_apart(world: World) -> None:
    """See that both terminals are connected to different nodes."""
    here = await node_of(world, "TERM0001")
    while await node_of(world, "TERM0002") == here:
        world.terminals["TERM0002"].hang_up()
        await trio.sleep(5)


async def test_a_reversal_waits_for_a_refund_that_runs_on_another_node(
    run: Run,
) -> None:
    """What may still be given back is not acknowledged as undone, nor forgotten."""
    world = World(nodes=2)
    await run(world)
    await set_apart(world)
    belief = await bought(world)
    slow = Reaction(code=ResponseCode.DO_NOT_HONOUR, delay=Fixed(delay_s=3.0))
    is_refund = {"kind": Equals(value="refund")}
    world.issuers["north"].set_rules([Rule(name="slow", then=slow, when=is_refund)])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.terminals["TERM0002"].refund, belief, 6_000)
        await trio.sleep(1)
        await world.terminals["TERM0001"].reverse(belief)
    await trio.sleep(10)
    assert balance(world, "visa-ok") == 0
