"""Instant transfers: paid once or not at all, whatever the clearing house does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from isoswitch.clearing.profiles import PROFILES
from isoswitch.clearing.transfer import Transfer, TransferState
from isoswitch.codecs.canonical.codes import ResponseCode
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.iso20022.document import read_document
from isoswitch.codecs.iso20022.messages import build_message, read_message
from isoswitch.codecs.iso20022.schemas import Mode, Schemas
from isoswitch.codecs.iso20022.transfers import (
    PaymentReturn,
    ReturnedTransfer,
    SettlementRequest,
    StatusReport,
    StatusRequest,
    TransferStatus,
)
from isoswitch.codecs.iso20022.values import OriginalMessage, Reason
from isoswitch.journal.records import RecordKind
from isoswitch.ledger.entries import balances
from isoswitch.ledger.holds import HoldState
from isoswitch.simulators.clearing_house import ClearingHouse
from isoswitch.simulators.rules import Fault, Fixed, Reaction, Rule
from isoswitch.simulators.world import (
    HOUSE,
    MERCHANT,
    MERCHANT_ACCOUNT,
    MERCHANT_BANK,
    PAYER_ACCOUNT,
    PAYER_BANK,
    World,
    house_settings,
)
from isoswitch.switch.interbank.documents import Order, read_news
from isoswitch.switch.interbank.house import House
from isoswitch.switch.interbank.inbox import Inbox
from isoswitch.switch.interbank.reports import Reports
from isoswitch.switch.interbank.transfers import Transfers
from isoswitch.switch.settings import SwitchSettings
from tests.iso20022 import published_into

ORDER = Order(
    amount=Money(1250, "978"),
    debtor="A. Payer",
    debtor_account=PAYER_ACCOUNT,
    debtor_agent=PAYER_BANK,
    creditor="Kiosk",
    creditor_account=MERCHANT_ACCOUNT,
    creditor_agent=MERCHANT_BANK,
    merchant_id=MERCHANT.id,
)


def with_house(
    profile: str = "default", **changed: Any
) -> Callable[[SwitchSettings], SwitchSettings]:
    house = replace(house_settings(profile=profile), **changed)
    return lambda settings: replace(settings, houses={HOUSE: house})


@pytest.fixture
async def world(nursery: trio.Nursery) -> World:
    """A network with a clearing house."""
    network = World(change=with_house())
    await nursery.start(network.run)
    await trio.sleep(1)
    return network


def house_of(world: World) -> ClearingHouse:
    return world.houses[HOUSE]


def transfers_of(world: World) -> Transfers:
    assert world.switch is not None
    assert world.switch.transfers is not None
    return world.switch.transfers


async def pay(world: World, order: Order = ORDER, *, name: str = "1-1") -> bool:
    return await transfers_of(world).pay(name, order, house=HOUSE)


async def find(world: World, name: str = "1-1") -> Transfer:
    assert world.store is not None
    return world.disk.transfers[name]


async def ledger(world: World) -> Mapping[tuple[str, str], int]:
    assert world.store is not None
    sums = balances(await world.store.entries("2026-06-01"))
    return {key: minor for key, minor in sums.items() if minor}


def react(world: World, **reaction: object) -> None:
    rule = Rule(name="test", then=Reaction(**reaction), times_max=1)
    house_of(world).set_rules([rule])


async def never_connect(_: object) -> trio.abc.Stream:
    raise OSError("nobody is there")


async def tell(world: World, status: TransferStatus, *, by: str) -> None:
    """Let a house of some name say what became of a transfer."""
    switch = world.switch
    assert switch is not None
    house = House(
        replace(house_settings(), name=by, signing=None),
        connect=never_connect,
        random=world.random,
        hsm=world.hsm,
    )
    assert switch.services is not None
    assert switch.receipts is not None
    inbox = Inbox(
        switch.services,
        transfers=transfers_of(world),
        receipts=switch.receipts,
        reports=Reports(switch.services, switch.houses),
    )
    report = StatusReport(message_id="X1", created_at=world.now(), statuses=(status,))
    await inbox.receive(house, build_message(report, None), None)


PAID = {("clearing/house", "978"): 1250, (f"merchant/{MERCHANT.id}", "978"): -1250}


async def test_what_is_said_follows_our_profile_and_the_published_schema(
    world: World, tmp_path: Path
) -> None:
    bank = house_of(world).members[MERCHANT_BANK]
    react(world, delay=Fixed(delay_s=12.0))
    await pay(world, name="1-1")
    react(world, books=False)
    await pay(world, name="1-2")
    bank.posts_later, bank.credits_in_the_end = True, False
    await pay(world, name="1-3")
    await trio.sleep(60)
    bank.posts_later = False
    await pay(world, name="1-4")
    assert house_of(world).close_window() is not None
    await trio.sleep(1)
    schemas, base = Schemas(), published_into(tmp_path)
    told: set[str] = set()
    for data in house_of(world).documents:
        document = read_document(data)
        for part in filter(None, (document.header, document.body)):
            schemas.verify(part, Mode.PROFILE)
            Schemas(base).verify(part, Mode.BOTH)
            told.add(part.family)
    assert told == {
        "head.001",
        "pacs.008",
        "pacs.002",
        "pacs.028",
        "pacs.004",
        "pacs.029",
        "camt.056",
        "camt.029",
        "camt.052",
        "camt.053",
        "camt.054",
        "camt.060",
        "admi.004",
        "admi.011",
    }


async def test_only_where_there_is_a_house_is_there_anything_to_follow(
    world: World,
) -> None:
    switch = world.switch
    assert switch is not None
    services = switch.services
    assert services is not None
    with trio.fail_after(5):
        await Transfers(services, {}).run()
    with trio.move_on_after(60) as waited:
        await Transfers(services, switch.houses).run()
    assert waited.cancelled_caught


async def test_a_transfer_is_settled_and_the_merchant_is_owed(world: World) -> None:
    assert await pay(world)
    assert (await find(world)).state is TransferState.SETTLED
    assert await ledger(world) == PAID
    positions = house_of(world).window.positions()
    assert {each.participant: each.amount.minor for each in positions} == {
        PAYER_BANK: -1250,
        MERCHANT_BANK: 1250,
    }


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (ResponseCode.INSUFFICIENT_FUNDS, "AM04"),
        (ResponseCode.ISSUER_UNAVAILABLE, "AB08"),
        (ResponseCode.DO_NOT_HONOUR, "MS03"),
    ],
)
async def test_a_rejection_says_why_and_moves_nothing(
    world: World, code: ResponseCode, reason: str
) -> None:
    react(world, code=code)
    assert not await pay(world)
    transfer = await find(world)
    assert (transfer.state, transfer.reason) == (TransferState.REJECTED, reason)
    assert await ledger(world) == {}
    assert world.disk.holds["1-1"].state is HoldState.RELEASED


async def test_an_account_that_does_not_exist_is_not_paid(world: World) -> None:
    order = replace(ORDER, creditor_account="DE00000000000000000000")
    assert not await pay(world, order)
    assert (await find(world)).reason == "AC03"


async def test_a_house_that_is_not_connected_gets_nothing_and_owes_nothing(
    world: World,
) -> None:
    world.cut_link(HOUSE)
    await trio.sleep(1)
    assert not await pay(world)
    assert (await find(world)).state is TransferState.REJECTED
    assert house_of(world).payments == {}


async def test_a_lost_payment_is_asked_for_and_never_sent_again(world: World) -> None:
    react(world, books=False)
    began_at = trio.current_time()
    assert not await pay(world)
    assert trio.current_time() - began_at == pytest.approx(10.0)
    assert (await find(world)).state is TransferState.IN_DOUBT
    await trio.sleep(8)
    transfer = await find(world)
    assert (transfer.state, transfer.reason) == (TransferState.REJECTED, "AG09")
    assert house_of(world).counts["duplicate"] == 0
    assert await ledger(world) == {}


@pytest.mark.parametrize("delay_s", [10.5, 14.0, 100.0])
async def test_a_late_settlement_is_recalled_and_returned(
    world: World, delay_s: float
) -> None:
    react(world, delay=Fixed(delay_s=delay_s))
    assert not await pay(world)
    await trio.sleep(delay_s + 20)
    transfer = await find(world)
    assert transfer.state is TransferState.RETURNED
    assert transfer.returned_minor == 1250
    assert await ledger(world) == {}
    assert {each.amount.minor for each in house_of(world).window.positions()} == {0}


async def test_a_silent_settlement_is_found_out_and_recalled(world: World) -> None:
    react(world, fault=Fault.SILENCE)
    assert not await pay(world)
    await trio.sleep(30)
    assert (await find(world)).state is TransferState.RETURNED
    assert await ledger(world) == {}


async def test_a_refused_recall_is_an_exception_and_the_money_stands_aside(
    world: World,
) -> None:
    house_of(world).members[MERCHANT_BANK].agrees_to_recalls = False
    react(world, delay=Fixed(delay_s=12.0))
    assert not await pay(world)
    await trio.sleep(30)
    assert (await find(world)).state is TransferState.RECALL_REFUSED
    assert await ledger(world) == {
        ("clearing/house", "978"): 1250,
        ("recalls/house", "978"): -1250,
    }
    assert world.store is not None
    told = [each.record.kind for each in await world.store.records("1-1")]
    assert RecordKind.EXCEPTION in told


async def test_a_bank_that_posts_later_credits_in_the_end(world: World) -> None:
    house_of(world).members[MERCHANT_BANK].posts_later = True
    assert await pay(world)
    assert (await find(world)).state is TransferState.HELD
    await trio.sleep(6)
    assert (await find(world)).state is TransferState.SETTLED
    assert await ledger(world) == PAID


async def test_a_bank_that_posts_later_may_return_instead(world: World) -> None:
    bank = house_of(world).members[MERCHANT_BANK]
    bank.posts_later, bank.credits_in_the_end = True, False
    assert await pay(world)
    await trio.sleep(10)
    assert (await find(world)).state is TransferState.RETURNED
    assert await ledger(world) == {}


@pytest.mark.parametrize(
    ("is_credited", "state"),
    [(True, TransferState.SETTLED), (False, TransferState.RETURN_DUE)],
)
async def test_a_held_transfer_of_which_nothing_is_told_is_asked_about(
    world: World, state: TransferState, *, is_credited: bool
) -> None:
    bank = house_of(world).members[MERCHANT_BANK]
    bank.posts_later, bank.credits_in_the_end = True, is_credited
    bank.posting_s = 3600.0
    assert await pay(world)
    await trio.sleep(PROFILES["default"].ask_held_s - 10)
    assert (await find(world)).state is TransferState.HELD
    await trio.sleep(20)
    assert (await find(world)).state is state
    await trio.sleep(3600)
    end = TransferState.SETTLED if is_credited else TransferState.RETURNED
    assert (await find(world)).state is end
    assert await ledger(world) == (PAID if is_credited else {})


@pytest.mark.parametrize(
    "fault", [Fault.DUPLICATE, Fault.GARBAGE, Fault.DISCONNECT], ids=str
)
async def test_a_house_that_misbehaves_books_no_payment_twice(
    world: World, fault: Fault
) -> None:
    react(world, fault=fault)
    is_paid = await pay(world)
    await trio.sleep(60)
    transfer = await find(world)
    assert is_paid == (transfer.state is TransferState.SETTLED)
    assert await ledger(world) == (PAID if is_paid else {})
    assert len(house_of(world).payments) == 1


def returning(minor: int, return_id: str, uetr: str) -> bytes:
    """Build the pacs.004 of a part of a transfer."""
    amount = Money(minor, "978")
    part = ReturnedTransfer(returned_amount=amount, return_id=return_id, uetr=uetr)
    message = PaymentReturn(
        message_id=f"M{return_id}",
        created_at=datetime(2026, 6, 1, 12, tzinfo=UTC),
        count=1,
        returns=(part,),
    )
    return build_message(message, None)


async def test_returns_in_parts_and_told_twice_are_given_back_once(
    world: World,
) -> None:
    assert await pay(world)
    uetr = (await find(world)).uetr
    for part in ((400, "R1"), (400, "R1"), (850, "R2"), (850, "R2"), (400, "R1")):
        house_of(world).send_nowait(returning(*part, uetr))
        await trio.sleep(0.1)
    assert (await find(world)).returned_minor == 1250
    assert await ledger(world) == {}
    assert world.store is not None
    told = [each.record.kind for each in await world.store.records("1-1")]
    assert RecordKind.EXCEPTION not in told


async def test_what_settles_after_another_node_closed_the_day_is_booked_on_the_next(
    world: World,
) -> None:
    assert world.switch is not None
    assert world.switch.services is not None
    days = world.switch.services.days
    react(world, delay=Fixed(delay_s=6.0))
    async with trio.open_nursery() as payers:
        payers.start_soon(pay, world)
        await days.cut(reason="test")
        await trio.sleep(3)
        # As if this node had not heard of it.
        days.date = "2026-06-01"
    assert (await find(world)).state is TransferState.SETTLED
    assert world.store is not None
    assert len(await world.store.entries("2026-06-02")) == 1


async def test_a_restart_goes_on_with_what_was_open(world: World) -> None:
    react(world, delay=Fixed(delay_s=30.0))
    async with trio.open_nursery() as payers:
        payers.start_soon(pay, world)
        await trio.sleep(2)
        payers.cancel_scope.cancel()
    world.crash_switch()
    await trio.sleep(1)
    await world.start_switch()
    await trio.sleep(60)
    # Nobody was told in time, so it is as if the payer had been told no.
    assert (await find(world)).state is TransferState.RETURNED
    assert await ledger(world) == {}


async def test_the_same_news_at_once_changes_a_transfer_once(world: World) -> None:
    react(world, fault=Fault.SILENCE, code=ResponseCode.INSUFFICIENT_FUNDS)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pay, world)
        await trio.sleep(1)
        (payment,) = house_of(world).payments.values()
        body = read_document(payment.answer).body
        assert body is not None
        (news,) = read_news(read_message(body))
        hear = partial(transfers_of(world).hear, house=HOUSE)
        for _ in range(3):
            nursery.start_soon(hear, news)
    assert (await find(world)).state is TransferState.REJECTED
    assert await ledger(world) == {}


async def test_a_payment_that_was_blocked_while_in_doubt_waits_for_its_return(
    world: World,
) -> None:
    bank = house_of(world).members[MERCHANT_BANK]
    bank.posts_later, bank.credits_in_the_end, bank.posting_s = True, False, 12.0
    react(world, fault=Fault.SILENCE)
    assert not await pay(world)
    world.partition(HOUSE, 20.0)
    await trio.sleep(60)
    assert (await find(world)).state is TransferState.RETURNED
    assert await ledger(world) == {}


async def test_a_return_that_could_not_be_recorded_is_heard_again(
    world: World,
) -> None:
    bank = house_of(world).members[MERCHANT_BANK]
    bank.posts_later, bank.credits_in_the_end = True, False
    assert await pay(world)
    assert world.store is not None
    world.store.is_full = True
    await trio.sleep(30)
    world.store.is_full = False
    await trio.sleep(30)
    assert (await find(world)).state is TransferState.RETURNED
    assert await ledger(world) == {}


async def test_a_question_set_by_a_wrong_clock_does_not_wait_for_hours(
    world: World,
) -> None:
    react(world, delay=Fixed(delay_s=14.0))
    async with trio.open_nursery() as payers:
        payers.start_soon(pay, world)
        await trio.sleep(9)
        world.nodes[0].clock.offset_s = 3600.0
        await trio.sleep(3)
        world.nodes[0].clock.offset_s = 0.0
    await trio.sleep(60)
    assert (await find(world)).state is TransferState.RETURNED


async def test_what_the_house_said_it_had_not_received_it_never_books(
    world: World,
) -> None:
    react(world, books=False)
    assert not await pay(world)
    await trio.sleep(8)
    (document,) = (
        each
        for each in house_of(world).documents
        if read_document(each).body and b"FIToFICstmrCdtTrf" in each
    )
    (house,) = world.switch.houses.values() if world.switch else ()
    await house.send(document)
    await trio.sleep(1)
    assert [each.status for each in house_of(world).payments.values()] == ["RJCT"]
    assert await ledger(world) == {}


async def test_a_net_debit_cap_refuses_what_would_exceed_it(
    nursery: trio.Nursery,
) -> None:
    world = World(change=with_house())
    house = house_of(world)
    house.members[PAYER_BANK].net_debit_cap_minor = 2000
    house.close_window()
    await nursery.start(world.run)
    await trio.sleep(1)
    assert await pay(world, name="1-1")
    assert not await pay(world, name="1-2")
    assert (await find(world, "1-2")).reason == "AM14"


async def test_a_window_is_closed_with_one_movement_for_each_participant(
    world: World,
) -> None:
    for number in range(1, 4):
        assert await pay(world, name=f"1-{number}")
    settlement_request = house_of(world).close_window()
    assert settlement_request is not None
    document = read_document(settlement_request)
    assert document.body is not None
    message = read_message(document.body)
    assert isinstance(message, SettlementRequest)
    (settlement,) = message.settlements
    assert [
        (each.bic, each.amount.minor, each.is_credit) for each in settlement.movements
    ] == [(PAYER_BANK, 3750, False), (MERCHANT_BANK, 3750, True)]
    assert house_of(world).window.positions() == ()
    await trio.sleep(1)
    # The announcement of the next window is acknowledged.
    assert house_of(world).counts["EventAcknowledgement"] == 1


@pytest.mark.parametrize("profile", ["fednow-like", "sct-inst-like", "cnaps-like"])
async def test_each_profile_has_its_own_deadline(
    nursery: trio.Nursery, profile: str
) -> None:
    world = World(change=with_house(profile))
    await nursery.start(world.run)
    await trio.sleep(1)
    react(world, fault=Fault.SILENCE)
    began_at = trio.current_time()
    assert not await pay(world)
    expected_s = {"fednow-like": 20.0, "sct-inst-like": 10.0, "cnaps-like": 20.0}
    assert trio.current_time() - began_at == pytest.approx(expected_s[profile])
    await trio.sleep(200)
    assert (await find(world)).state is TransferState.RETURNED


@pytest.mark.parametrize("names_uetr", [True, False])
async def test_a_house_is_not_believed_about_what_was_sent_over_another(
    world: World, *, names_uetr: bool
) -> None:
    react(world, delay=Fixed(delay_s=5.0))
    async with trio.open_nursery() as payers:
        payers.start_soon(pay, world)
        await trio.sleep(1)
        sent = await find(world)
        rejected = TransferStatus(
            status="RJCT",
            original=OriginalMessage(
                message_id=sent.message_id, message_name="pacs.008.001.08"
            ),
            uetr=sent.uetr if names_uetr else "",
            reasons=(Reason(code="AB05"),),
        )
        await tell(world, rejected, by="other")
        assert (await find(world)).state is TransferState.SENT
    assert (await find(world)).state is TransferState.SETTLED
    assert await ledger(world) == PAID


async def test_a_return_that_overtakes_the_lost_answer_ends_the_payment(
    world: World,
) -> None:
    react(world, fault=Fault.SILENCE)
    told: list[bool] = []

    async def payer() -> None:
        told.append(await pay(world))

    async with trio.open_nursery() as payers:
        payers.start_soon(payer)
        await trio.sleep(3)
        house = house_of(world)
        (payment,) = house.payments.values()
        house.send_nowait(house._give_back(payment, "AC04"))
        await trio.sleep(1)
        assert told == [False]
    transfer = await find(world)
    assert (transfer.state, transfer.reason) == (TransferState.RETURNED, "AC04")
    assert await ledger(world) == {}


@pytest.mark.parametrize("after_s", [3.0, 12.0])
async def test_the_rest_of_a_part_that_overtakes_the_lost_answer_is_recalled(
    world: World, after_s: float
) -> None:
    react(world, fault=Fault.SILENCE)
    told: list[bool] = []

    async def payer() -> None:
        told.append(await pay(world))

    async with trio.open_nursery() as payers:
        payers.start_soon(payer)
        await trio.sleep(after_s)
        house = house_of(world)
        (payment,) = house.payments.values()
        # It agrees to a recall, and gives back no more by itself.
        payment.returned = True
        uetr = payment.transfer.uetr
        house.send_nowait(returning(400, "R1", uetr))
        await trio.sleep(1)
        assert told == [False]
    assert (await find(world)).state is TransferState.RECALLING
    assert await ledger(world) == {
        ("clearing/house", "978"): 850,
        ("recalls/house", "978"): -850,
    }
    await trio.sleep(5)
    assert any(b"camt.056" in each for each in house.documents)
    house.send_nowait(returning(850, "R2", uetr))
    await trio.sleep(1)
    assert (await find(world)).state is TransferState.RETURNED
    assert await ledger(world) == {}
    assert world.store is not None
    told_operator = [
        each.record.body["reason"]
        for each in await world.store.records("1-1")
        if each.record.kind is RecordKind.EXCEPTION
    ]
    before = "sent" if after_s < 10 else "in_doubt"
    assert told_operator == [f"returned while {before}: it is recalling now"]


async def test_nodes_with_two_clocks_ask_no_more_often_than_one(
    nursery: trio.Nursery,
) -> None:
    world = World(change=with_house(), nodes=2)
    await nursery.start(world.run)
    await trio.sleep(5)
    world.nodes[1].clock.offset_s = 3600.0
    react(world, fault=Fault.SILENCE)
    assert not await pay(world)
    house = house_of(world)
    house._takers = {**house._takers, StatusRequest: lambda line, message: None}
    await trio.sleep(60)
    transfer = await find(world)
    assert transfer.state is TransferState.IN_DOUBT
    assert 5 < transfer.asked <= 60 / PROFILES["default"].ask_every_s
