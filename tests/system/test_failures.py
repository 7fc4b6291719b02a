"""What goes wrong between switch and issuer, and what everybody believes afterwards."""

from __future__ import annotations

import pytest
import trio
from structlog.testing import capture_logs

from isoswitch.codecs.canonical.codes import ResponseCode
from isoswitch.journal.records import RecordKind
from isoswitch.simulators.beliefs import BeliefState
from isoswitch.simulators.bookings import BookingKind
from isoswitch.simulators.cards import get_card
from isoswitch.simulators.rules import Equals, Fault, Fixed, Reaction, Rule
from isoswitch.simulators.world import World
from tests.system.test_purchase import kinds

SILENT = [Rule(name="silent", then=Reaction(fault=Fault.SILENCE), when={})]
TIMED_OUT = [
    RecordKind.OPENED,
    RecordKind.SENDING,
    RecordKind.TIMED_OUT,
    RecordKind.REVERSAL_OWED,
    RecordKind.CLOSED,
    RecordKind.FORWARDED,
    RecordKind.DELIVERED,
]
# Amounts that make the simulated issuer approve and then fail (triggers.py).
UNTRUSTED_ANSWERS = {
    "silence": 901_01,
    "wrong MAC": 901_04,
    "wrong echo": 901_05,
    "garbage": 901_06,
    "disconnect": 901_07,
    "no MAC": 901_09,
}


async def wait_delivered(world: World, endpoint: str) -> None:
    """Wait until an issuer has booked a reversal."""
    books = world.issuers[endpoint].bookings
    with trio.fail_after(120):
        while not any(e.kind is BookingKind.REVERSED for e in books.entries):
            await trio.sleep(0.5)


@pytest.mark.parametrize("card", ["visa-ok", "mc-ok"])
@pytest.mark.parametrize("fault", UNTRUSTED_ANSWERS)
async def test_an_answer_that_cannot_be_trusted_is_reversed(
    world: World, card: str, fault: str
) -> None:
    chosen = get_card(card)
    belief = await world.terminals["TERM0001"].purchase(
        chosen, UNTRUSTED_ANSWERS[fault], pin=chosen.pin
    )
    assert belief.outcome is not None
    assert belief.outcome.code is ResponseCode.ISSUER_UNAVAILABLE
    await wait_delivered(world, chosen.issuer)
    told = await kinds(world.store, "1-1")
    assert [kind for kind in told if kind in TIMED_OUT] == TIMED_OUT


async def test_a_late_approval_is_recorded_and_never_forwarded(world: World) -> None:
    card = get_card("mc-late")
    terminal = world.terminals["TERM0001"]
    belief = await terminal.purchase(card, 1250, pin=card.pin)
    assert belief.state is BeliefState.DECLINED
    await trio.sleep(60)
    told = await kinds(world.store, "1-1")
    assert RecordKind.LATE in told
    assert told.index(RecordKind.DELIVERED) < told.index(RecordKind.LATE)
    assert not terminal.counts


async def test_a_late_balance_is_no_alarm(world: World) -> None:
    """Nothing is held for an inquiry, so nothing of it is left to be reversed."""
    late = Rule(name="late", then=Reaction(delay=Fixed(delay_s=30.0)))
    world.issuers["north"].set_rules([late])
    card = get_card("visa-ok")
    with capture_logs() as lines:
        await world.terminals["TERM0001"].balance(card, pin=card.pin)
        await trio.sleep(60)
    events = [line["event"] for line in lines]
    assert "late_answer" in events
    assert "late_approval_without_reversal" not in events


async def test_repeats_of_a_reversal_carry_the_repeat_digit(world: World) -> None:
    """The first write is an 0420, every later one an 0421 (failure table, rule 10)."""
    card = get_card("visa-ok")
    world.issuers["north"].set_rules(
        [
            Rule(
                name="deaf to everything",
                then=Reaction(books=False),
                times_max=4,
                when={"terminal_id": Equals(value="TERM0001")},
            )
        ]
    )
    await world.terminals["TERM0001"].purchase(card, 1250, pin=card.pin)
    await trio.sleep(120)
    assert world.store is not None
    sent = [
        each.record.body["message"]["mti"]
        for each in await world.store.records("1-1")
        if each.record.kind is RecordKind.FORWARDED
    ]
    assert sent == ["0420", "0421", "0421", "0421"]


async def test_nothing_is_reversed_when_nothing_was_written(world: World) -> None:
    world.cut_link("south")
    card = get_card("mc-lost")
    belief = await world.terminals["TERM0001"].purchase(card, 1250, pin=card.pin)
    assert belief.outcome is not None
    assert belief.outcome.code is ResponseCode.ISSUER_UNAVAILABLE
    assert RecordKind.REVERSAL_OWED not in await kinds(world.store, "1-1")
    assert not world.issuers["south"].bookings.entries
    world.heal_link("south")


async def test_the_alternate_is_asked_while_the_primary_is_down(world: World) -> None:
    world.cut_link("south")
    await trio.sleep(1)
    card = get_card("mc-ok")
    await world.terminals["TERM0001"].purchase(card, 1250, pin=card.pin)
    assert world.store is not None
    sending = (await world.store.records("1-1"))[1].record.body
    assert sending["endpoint"] == "north"
    assert sending["route"] == "BIN 54133300: south is down, so north"
    world.heal_link("south")


async def test_a_link_comes_back_by_itself_and_carries_money_again(
    world: World,
) -> None:
    card = get_card("visa-ok")
    world.cut_link("north")
    await trio.sleep(30)
    world.heal_link("north")
    await trio.sleep(30)
    belief = await world.terminals["TERM0002"].purchase(card, 1250, pin=card.pin)
    assert belief.state is BeliefState.APPROVED


async def test_an_issuer_that_leaves_echoes_unanswered_is_dropped(
    world: World,
) -> None:
    assert world.switch is not None
    world.issuers["north"].set_rules(SILENT)
    await trio.sleep(200)
    assert not world.switch.links["north"].is_up
    assert world.switch.links["south"].is_up
    world.issuers["north"].set_rules([])


async def test_an_answer_nobody_asked_for_is_recorded_as_unmatched(
    world: World,
) -> None:
    issuer = world.issuers["north"]
    stray = {"37": "999900000001"}
    issuer.set_rules(
        [
            Rule(
                name="answers with another reference",
                then=Reaction(fields={37: stray["37"]}),
                when={"card": Equals(value="visa-ok")},
                times_max=1,
            )
        ]
    )
    card = get_card("visa-ok")
    belief = await world.terminals["TERM0001"].purchase(card, 1250, pin=card.pin)
    assert belief.state is BeliefState.DECLINED
    assert world.store is not None
    unmatched = [
        each.record.body
        for each in await world.store.records()
        if each.record.kind is RecordKind.UNMATCHED
    ]
    assert [body["differing"] for body in unmatched] == [[37]]


async def test_an_answer_from_the_wrong_link_wakes_nobody(world: World) -> None:
    """The same numbers on another endpoint's link answer nothing."""
    world.issuers["south"].set_rules(
        [Rule(name="slow", then=Reaction(delay=Fixed(delay_s=3.0)))]
    )
    card = get_card("mc-ok")
    terminal = world.terminals["TERM0001"]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: terminal.purchase(card, 1250, pin=card.pin))
        await trio.sleep(1)
        assert world.switch is not None
        dialect = world.switch.links["north"].dialect
        forged = dialect.codec.build(
            "0210", {3: "000000", 11: "000001", 37: "000100000001", 39: "00"}
        )
        world.issuers["north"].wires[0].send_nowait(forged.raw)
    assert terminal.beliefs[0].state is BeliefState.APPROVED
    assert world.issuers["south"].bookings.entries
    assert await world_kinds(world, RecordKind.UNMATCHED) == 1


async def world_kinds(world: World, kind: RecordKind) -> int:
    """Count the records of a kind."""
    assert world.store is not None
    return sum(each.record.kind is kind for each in await world.store.records())


async def test_a_terminal_that_hangs_up_cancels_nothing(world: World) -> None:
    card = get_card("visa-ok")
    world.issuers["north"].set_rules(
        [Rule(name="slow", then=Reaction(delay=Fixed(delay_s=2.0)), times_max=1)]
    )
    terminal = world.terminals["TERM0001"]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: terminal.purchase(card, 1250, pin=card.pin))
        await trio.sleep(1)
        terminal.hang_up()
    # The repeat came on a new connection and got the stored answer.
    assert terminal.beliefs[0].state is BeliefState.APPROVED
    assert terminal.beliefs[0].sends == 2
    books = world.issuers["north"].bookings.entries
    assert [each.kind for each in books] == [BookingKind.APPROVED]
