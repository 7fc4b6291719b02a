"""What a clearing house reports and settles is compared with what we believe."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio

from isoswitch.clearing.reports import HouseItem, HouseWindow, ItemState, WindowState
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.iso20022.messages import build_message
from isoswitch.codecs.iso20022.reports import Balance
from isoswitch.journal.records import RecordKind
from isoswitch.simulators.house_documents import (
    entry_of,
    notification_of,
    settlement_of,
    statement_of,
)
from isoswitch.simulators.rules import Fault
from isoswitch.simulators.world import HOUSE, PAYER_BANK, World
from tests.system.test_receipts import send, transfer
from tests.system.test_transfers import house_of, pay, react, with_house


@pytest.fixture
async def world(nursery: trio.Nursery) -> World:
    """A network with a clearing house."""
    network = World(change=with_house())
    await nursery.start(network.run)
    await trio.sleep(2)
    return network


async def items(world: World, state: ItemState = ItemState.OPEN) -> list[HouseItem]:
    assert world.store is not None
    return list(await world.store.find_rows(HouseItem, state=state))


async def breaks(world: World) -> list[str]:
    assert world.store is not None
    return [
        str(each.record.body["reason"])
        for each in await world.store.records()
        if each.record.kind is RecordKind.EXCEPTION
    ]


async def close(world: World) -> HouseWindow:
    """Let all be old enough to be missed, and end the window."""
    await trio.sleep(30)
    house_of(world).close_window()
    await trio.sleep(1)
    assert world.store is not None
    name = house_of(world).window.name
    number = int(name[-3:]) - 1
    window_id = f"{HOUSE}/{name[:-3]}{number:03d}"
    found = await world.store.find_row(HouseWindow, window_id)
    assert found is not None
    return found


async def test_a_window_of_payments_both_ways_agrees_and_is_settled(
    world: World,
) -> None:
    assert await pay(world, name="1-1")
    await send(world, transfer(1, amount=Money(300, "978")))
    await send(world, transfer(2))
    house_of(world).recall(transfer(2).uetr, "DUPL")
    window = await close(world)
    assert window.state is WindowState.AGREED
    assert (window.settled_minor, window.ours_minor) == (-950, -950)
    assert await items(world) == []
    assert len(await items(world, ItemState.SETTLED)) == 4
    assert await breaks(world) == []


async def test_two_windows_follow_each_other(world: World) -> None:
    assert await pay(world, name="1-1")
    assert (await close(world)).settled_minor == -1250
    await send(world, transfer(1))
    window = await close(world)
    assert (window.settled_minor, window.state) == (1250, WindowState.AGREED)


async def test_a_booking_that_we_know_nothing_of_is_a_break(world: World) -> None:
    house = house_of(world)
    entry = entry_of(
        transfer(7),
        reference="E7",
        is_credit=True,
        is_return=False,
        day=world.now().date(),
    )
    for _ in range(2):
        message = notification_of(PAYER_BANK, (entry,), message_id="N7", at=world.now())
        house.send_nowait(build_message(message, None))
    assert await pay(world)
    window = await close(world)
    assert window.state is WindowState.DIFFERS
    settled, unknown = sorted(await breaks(world), key=len)
    assert "it settles -1250 and has reported 0" in settled
    assert transfer(7).uetr in unknown
    assert "the house 12.50 EUR" in unknown


async def test_a_booking_that_the_house_does_not_report_is_a_break(
    world: World,
) -> None:
    house = house_of(world)
    house.notifies = False
    assert await pay(world)
    house.entries.clear()
    window = await close(world)
    assert window.state is WindowState.DIFFERS
    assert window.theirs_minor == 0
    assert len(await breaks(world)) == 2


async def test_a_statement_tells_what_was_not_told_before(world: World) -> None:
    house_of(world).notifies = False
    assert await pay(world)
    assert (await close(world)).state is WindowState.AGREED


async def test_after_a_broken_link_the_house_is_asked_for_its_bookings(
    world: World,
) -> None:
    react(world, fault=Fault.DISCONNECT)
    assert not await pay(world)
    await trio.sleep(20)
    (out, back) = await items(world)
    assert out.theirs_minor == back.theirs_minor == 1250
    assert await pay(world, name="1-2")
    window = await close(world)
    assert (window.state, window.settled_minor) == (WindowState.AGREED, -1250)
    assert await items(world) == []


async def test_a_settlement_told_twice_is_compared_once(world: World) -> None:
    assert await pay(world)
    await trio.sleep(30)
    document = house_of(world).close_window()
    assert document is not None
    house_of(world).send_nowait(document)
    await trio.sleep(1)
    assert await breaks(world) == []
    assert world.store is not None
    told = [
        each.record.body["state"]
        for each in await world.store.records()
        if each.record.kind is RecordKind.SETTLEMENT
    ]
    assert told == [WindowState.AGREED]


async def test_a_settlement_of_another_amount_is_a_break(world: World) -> None:
    assert await pay(world)
    await trio.sleep(30)
    house = house_of(world)
    moved = tuple(
        replace(each, amount=Money(each.amount.minor * 2, "978"))
        for each in house.window.positions()
    )
    message = settlement_of("W9", moved, message_id="S9", at=world.now())
    house.send_nowait(build_message(message, None))
    await trio.sleep(1)
    (sentence,) = await breaks(world)
    assert sentence == "window W9: it settles -2500 and has reported -1250"


async def test_a_statement_that_does_not_add_up_is_a_break(world: World) -> None:
    statement = statement_of(
        PAYER_BANK, (), currency="978", message_id="ST1", at=world.now()
    )
    (report,) = statement.reports
    wrong = Balance(kind="CLBD", amount=Money(5, "978"), is_credit=True, day=None)
    wrong = replace(wrong, day=world.now().date())
    report = replace(report, balances=(report.balances[0], wrong))
    message = replace(statement, reports=(report,))
    house_of(world).send_nowait(build_message(message, None))
    await trio.sleep(1)
    assert await breaks(world) == ["statement ST1 does not add up"]


async def test_what_is_in_doubt_when_a_window_ends_agrees_in_the_end(
    world: World,
) -> None:
    react(world, fault=Fault.SILENCE)
    house = house_of(world)
    async with trio.open_nursery() as payers:
        payers.start_soon(pay, world)
        await trio.sleep(11)
        # Booked and reported by the house; we do not know yet.
        house.close_window()
    await trio.sleep(60)
    window = await close(world)
    assert window.settled_minor == 1250
    assert window.state is WindowState.AGREED
    assert await items(world) == []
