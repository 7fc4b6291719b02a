"""A purchase from end to end, in every dialect, and each way it can end."""

from __future__ import annotations

import pytest
import trio

from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.codecs.canonical.secrets import Pin
from isoswitch.journal.records import RecordKind
from isoswitch.simulators.beliefs import BeliefState
from isoswitch.simulators.cards import get_card
from isoswitch.simulators.world import World
from isoswitch.store.port import Store

TERMINALS = ["TERM0001", "TERM0002"]

OUTCOMES = {
    "visa-ok": ResponseCode.APPROVED,
    "visa-insufficient": ResponseCode.INSUFFICIENT_FUNDS,
    "visa-expired": ResponseCode.EXPIRED_CARD,
    "visa-lost": ResponseCode.LOST_CARD,
    "visa-stolen": ResponseCode.STOLEN_CARD,
    "visa-declined": ResponseCode.DO_NOT_HONOUR,
    "visa-duplicate": ResponseCode.APPROVED,
    "visa-partial": ResponseCode.PARTIALLY_APPROVED,
    "mc-ok": ResponseCode.APPROVED,
    "mc-insufficient": ResponseCode.INSUFFICIENT_FUNDS,
    "mc-lost": ResponseCode.LOST_CARD,
    "mc-partial": ResponseCode.PARTIALLY_APPROVED,
}


async def kinds(store: Store | None, transaction_id: str) -> list[RecordKind]:
    """Give the kinds of a transaction's records in order."""
    assert store is not None
    return [each.record.kind for each in await store.records(transaction_id)]


@pytest.mark.parametrize("terminal", TERMINALS)
@pytest.mark.parametrize("card", OUTCOMES)
async def test_each_card_ends_as_its_table_says(
    world: World, terminal: str, card: str
) -> None:
    chosen = get_card(card)
    belief = await world.terminals[terminal].purchase(chosen, 1250, pin=chosen.pin)
    assert belief.outcome is not None
    assert belief.outcome.code is OUTCOMES[card]


async def test_a_purchase_leaves_its_four_records_in_order(world: World) -> None:
    card = get_card("mc-ok")
    await world.terminals["TERM0001"].purchase(card, 1250, pin=card.pin)
    assert await kinds(world.store, "1-1") == [
        RecordKind.OPENED,
        RecordKind.SENDING,
        RecordKind.ANSWERED,
        RecordKind.CLOSED,
    ]


async def test_the_route_is_stored_with_the_transaction(world: World) -> None:
    card = get_card("visa-ok")
    await world.terminals["TERM0001"].purchase(card, 1250, pin=card.pin)
    assert world.store is not None
    records = await world.store.records("1-1")
    assert records[1].record.body["route"] == "BIN 47617390: north, then south"


async def test_a_wrong_pin_is_declined_and_the_third_blocks_the_card(
    world: World,
) -> None:
    card, wrong = get_card("visa-pin"), Pin("9999")
    terminal = world.terminals["TERM0001"]
    codes = []
    for pin in (wrong, wrong, wrong, card.pin):
        belief = await terminal.purchase(card, 500, pin=pin)
        assert belief.outcome is not None
        codes.append(belief.outcome.code)
    assert codes[0] is ResponseCode.WRONG_PIN
    assert codes[-1] is ResponseCode.PIN_TRIES_EXCEEDED


@pytest.mark.parametrize("terminal", TERMINALS)
@pytest.mark.parametrize("card", ["visa-ok", "mc-ok"])
async def test_a_balance_inquiry_brings_the_balance_home(
    world: World, terminal: str, card: str
) -> None:
    chosen = get_card(card)
    belief = await world.terminals[terminal].balance(chosen, pin=chosen.pin)
    assert belief.outcome is not None
    assert belief.outcome.balance is not None
    assert belief.outcome.balance.minor == chosen.balance_minor


@pytest.mark.parametrize("kind", [Kind.SIGN_ON, Kind.ECHO, Kind.SIGN_OFF])
async def test_network_messages_of_a_terminal_are_answered(
    world: World, kind: Kind
) -> None:
    outcome = await world.terminals["TERM0002"].network(kind)
    assert outcome is not None
    assert outcome.is_approved


async def test_many_messages_are_in_flight_on_one_connection(world: World) -> None:
    card = get_card("visa-ok")
    terminal = world.terminals["TERM0001"]
    async with trio.open_nursery() as nursery:
        for _ in range(40):
            nursery.start_soon(terminal.purchase, card, 100)
    assert {belief.state for belief in terminal.beliefs} == {BeliefState.APPROVED}
    assert len({belief.rrn for belief in terminal.beliefs}) == 40


async def test_a_purchase_without_pin_goes_through(world: World) -> None:
    belief = await world.terminals["TERM0002"].purchase(get_card("mc-ok"), 900)
    assert belief.state is BeliefState.APPROVED
