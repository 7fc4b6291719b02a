"""What a terminal tells without asking: it was approved by the chip, offline (0220)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio

from isoswitch.codecs.canonical.codes import EntryMode, Function, Kind, ResponseCode
from isoswitch.codecs.canonical.secrets import Pan, Secret
from isoswitch.journal.records import RecordKind
from isoswitch.ledger.entries import balances
from isoswitch.simulators.beliefs import BeliefState
from isoswitch.simulators.bookings import BookingKey, BookingKind
from isoswitch.simulators.cards import get_card
from isoswitch.simulators.requests import Request
from isoswitch.simulators.rules import Equals, Fault, Reaction, Rule
from isoswitch.simulators.terminal import Terminal
from isoswitch.simulators.world import World
from isoswitch.switch.dispatch import TAKEN_BACK
from tests.system.test_failures import world_kinds
from tests.system.test_repeats import second_connection

CARDS = pytest.mark.parametrize("card", ["visa-ok", "mc-ok"])


def offline(
    terminal: Terminal, card: str = "visa-ok", kind: Kind = Kind.PURCHASE
) -> Request:
    """Build the advice of something that the chip approved over 12.50."""
    return terminal.build(kind, get_card(card), 1_250, function=Function.ADVICE)


async def owed_by(world: World, issuer: str) -> int:
    """Give what an issuer owes by the ledger."""
    assert world.store is not None
    entries = await world.store.entries(world.now().date().isoformat())
    return balances(entries).get((f"issuer/{issuer}", "978"), 0)


@CARDS
@pytest.mark.parametrize("terminal", ["TERM0001", "TERM0002"])
@pytest.mark.parametrize("kind", [Kind.PURCHASE, Kind.CASH_WITHDRAWAL])
async def test_what_was_approved_offline_is_taken_and_the_issuer_told_later(
    world: World, card: str, terminal: str, kind: Kind
) -> None:
    issuer, till = get_card(card).issuer, world.terminals[terminal]
    world.cut_link(issuer)
    belief = await till.tell(offline(till, card, kind))
    assert belief.state is BeliefState.APPROVED
    assert await owed_by(world, issuer) == 1_250
    assert not world.issuers[issuer].bookings.entries
    world.heal_link(issuer)
    await trio.sleep(60)
    (booking,) = world.issuers[issuer].bookings.entries
    assert (booking.kind, booking.amount_minor) == (BookingKind.APPROVED, 1_250)


async def test_an_advice_is_taken_and_told_without_chip_data_that_nobody_can_read(
    world: World,
) -> None:
    terminal = world.terminals["TERM0002"]
    cut_short = Secret(bytes.fromhex("9F2701409F26081122"))
    told = replace(
        offline(terminal).transaction, emv=cut_short, entry_mode=EntryMode.CHIP
    )
    with trio.fail_after(10):
        belief = await terminal.tell(terminal.build_from(told))
    assert belief.state is BeliefState.APPROVED
    await trio.sleep(60)
    assert await owed_by(world, "north") == 1_250
    assert len(world.issuers["north"].bookings.entries) == 1


async def test_the_same_advice_again_is_taken_once(world: World) -> None:
    terminal = world.terminals["TERM0001"]
    request = offline(terminal)
    await terminal.tell(request)
    for _ in range(2):
        again = await terminal.exchange(terminal.as_repeat(request))
        assert again is not None
        assert again.outcome.is_approved
    await trio.sleep(10)
    assert await owed_by(world, "north") == 1_250
    assert await world_kinds(world, RecordKind.ADVICE_OWED) == 1
    assert len(world.issuers["north"].bookings.entries) == 1


async def test_an_advice_under_the_number_of_its_declined_request_is_an_exception(
    world: World,
) -> None:
    """It has happened, so that somebody must look at it; once."""
    terminal = world.terminals["TERM0001"]
    for name in ("north", "south"):
        world.cut_link(name)
    told = offline(terminal).transaction
    asked = terminal.build_from(replace(told, function=Function.REQUEST))
    assert (await terminal.pay(asked)).state is BeliefState.DECLINED
    assert await world_kinds(world, RecordKind.EXCEPTION) == 0
    for _ in range(2):
        answer = await terminal.exchange(terminal.build_from(told))
        assert answer is not None
        assert answer.outcome.code is ResponseCode.ISSUER_UNAVAILABLE
    assert await world_kinds(world, RecordKind.EXCEPTION) == 1


async def test_an_advice_is_told_beside_what_else_an_operator_is_told(
    nursery: trio.Nursery,
) -> None:
    """Its request was not answered, and the issuer refuses to reverse that."""
    world = World()
    await nursery.start(world.run)
    terminal = world.terminals["TERM0001"]
    refused = Rule(
        name="no",
        then=Reaction(fields={39: "12"}),
        when={"kind": Equals(value="reversal")},
    )
    silent = Rule(name="silent", then=Reaction(fault=Fault.SILENCE), times_max=1)
    world.issuers["north"].set_rules([silent, refused])
    told = offline(terminal).transaction
    asked = terminal.build_from(replace(told, function=Function.REQUEST))
    await terminal.exchange(asked)
    await trio.sleep(120)
    assert await world_kinds(world, RecordKind.EXCEPTION) == 1
    await terminal.exchange(terminal.build_from(told))
    assert await world_kinds(world, RecordKind.EXCEPTION) == 2


async def test_an_advice_that_its_terminal_has_reversed_was_not_declined(
    world: World,
) -> None:
    terminal = world.terminals["TERM0001"]
    lost = offline(terminal)
    await terminal.exchange(terminal.build_reversal(lost))
    await terminal.exchange(lost)
    assert world.store is not None
    records = [each.record for each in await world.store.records()]
    reasons = [
        each.body["reason"] for each in records if each.kind is RecordKind.EXCEPTION
    ]
    assert reasons[-1] == TAKEN_BACK


async def test_an_advice_meanwhile_does_not_take_the_answer_of_its_request(
    world: World,
) -> None:
    terminal = world.terminals["TERM0001"]
    silent = Rule(name="silent", then=Reaction(fault=Fault.SILENCE), times_max=1)
    world.issuers["north"].set_rules([silent])
    told = offline(terminal).transaction
    asked = terminal.build_from(replace(told, function=Function.REQUEST))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(terminal.pay, asked)
        await trio.sleep(1)
        other = await second_connection(world, terminal)
        await other.exchange(terminal.build_from(told))
    await trio.sleep(60)
    assert await world_kinds(world, RecordKind.EXCEPTION) == 1


async def test_an_advice_goes_out_before_its_reversal(world: World) -> None:
    """A reversal never overtakes the advice that it undoes (rule 11)."""
    terminal = world.terminals["TERM0001"]
    world.cut_link("north")
    belief = await terminal.tell(offline(terminal))
    await terminal.reverse(belief)
    assert await owed_by(world, "north") == 0
    world.heal_link("north")
    await trio.sleep(120)
    kinds = [each.kind for each in world.issuers["north"].bookings.entries]
    assert kinds == [BookingKind.APPROVED, BookingKind.REVERSED]


async def test_an_advice_is_refunded_and_voided_like_a_purchase(world: World) -> None:
    terminal = world.terminals["TERM0001"]
    first = await terminal.tell(offline(terminal))
    second = await terminal.tell(offline(terminal))
    await trio.sleep(10)
    assert (await terminal.refund(first, 250)).state is BeliefState.APPROVED
    assert (await terminal.void(second)).state is BeliefState.APPROVED
    await trio.sleep(10)
    assert await owed_by(world, "north") == 1_000


async def test_a_decline_of_an_advice_is_left_to_the_operator(
    nursery: trio.Nursery,
) -> None:
    """It has happened: the issuer's no is an exception, and nothing is dropped."""
    world = World()
    await nursery.start(world.run)
    no = Rule(
        name="no",
        then=Reaction(fields={39: "05"}),
        when={"function": Equals(value=Function.ADVICE.value)},
    )
    world.issuers["north"].set_rules([no])
    terminal = world.terminals["TERM0001"]
    belief = await terminal.tell(offline(terminal))
    assert belief.state is BeliefState.APPROVED
    await trio.sleep(60)
    assert await world_kinds(world, RecordKind.QUARANTINED) == 1
    assert world.store is not None
    (exception,) = [
        each.record
        for each in await world.store.records()
        if each.record.kind is RecordKind.EXCEPTION
    ]
    assert exception.transaction_id == "1-1"
    assert "do_not_honour" in exception.body["reason"]
    assert await owed_by(world, "north") == 1_250


async def test_an_advice_whose_mac_met_another_key_is_told_again(
    nursery: trio.Nursery,
) -> None:
    """The keys of a link may change while it is on its way."""
    world = World()
    await nursery.start(world.run)
    unverified = Rule(
        name="once",
        then=Reaction(fields={39: "63"}),
        when={"function": Equals(value=Function.ADVICE.value)},
        times_max=1,
    )
    world.issuers["north"].set_rules([unverified])
    await world.terminals["TERM0001"].tell(offline(world.terminals["TERM0001"]))
    await trio.sleep(60)
    assert await world_kinds(world, RecordKind.FORWARDED) == 2
    assert await world_kinds(world, RecordKind.QUARANTINED) == 0
    assert await world_kinds(world, RecordKind.DELIVERED) == 1


async def test_a_decline_offline_is_written_down_and_moves_nothing(
    world: World,
) -> None:
    terminal = world.terminals["TERM0001"]
    told = offline(terminal)
    declined = replace(told.transaction, is_declined=True)
    answer = await terminal.exchange(terminal.build_from(declined))
    assert answer is not None
    assert answer.outcome.code is ResponseCode.DO_NOT_HONOUR
    assert await owed_by(world, "north") == 0
    assert not world.issuers["north"].bookings.entries


async def test_an_advice_for_nobody_is_left_to_the_operator(world: World) -> None:
    terminal = world.terminals["TERM0001"]
    told = replace(offline(terminal).transaction, pan=Pan("9999990000000002"))
    answer = await terminal.exchange(terminal.build_from(told))
    assert answer is not None
    assert answer.outcome.code is ResponseCode.NO_SUCH_ISSUER
    assert await world_kinds(world, RecordKind.EXCEPTION) == 1


async def test_an_advice_survives_a_crash_of_the_switch(world: World) -> None:
    terminal = world.terminals["TERM0001"]
    world.cut_link("north")
    belief = await terminal.tell(offline(terminal))
    world.crash_switch()
    world.heal_link("north")
    await world.start_switch()
    await trio.sleep(60)
    key = BookingKey("10001", belief.rrn)
    assert world.issuers["north"].bookings.approved_minor(key) == 1_250


async def test_an_offline_preauthorisation_is_held_and_completed(world: World) -> None:
    terminal = world.terminals["TERM0001"]
    belief = await terminal.tell(offline(terminal, kind=Kind.PREAUTHORISATION))
    await trio.sleep(10)
    assert await owed_by(world, "north") == 0
    assert (await terminal.complete(belief, 1_000)).state is BeliefState.APPROVED
    assert await owed_by(world, "north") == 1_000
