"""A person can follow any transaction: its story in sentences, and how it ends."""

from __future__ import annotations

import re

import trio

from isoswitch.commands.story import ending, relate, tell
from isoswitch.simulators.cards import get_card
from isoswitch.simulators.terminal import Terminal
from isoswitch.simulators.world import World
from isoswitch.store.port import StoredTransaction

DECLINED = "the switch declines to the terminal (issuer unavailable)"
TIMES = re.compile(r"\d+(\.\d+)? ms|[0-9]{6}(?= *$)|BIN \d+")


async def story_of(world: World, transaction_id: str) -> list[str]:
    """Give the story of a transaction, times and numbers left out, and its ending."""
    stored = stored_in(world, transaction_id)
    assert world.store is not None
    records = await world.store.records(transaction_id)
    lines = [TIMES.sub("#", each.text) for each in tell(records)]
    return [*lines, ending(stored, records)]


def stored_in(world: World, transaction_id: str) -> StoredTransaction:
    """Give a stored transaction."""
    return world.disk.transactions[transaction_id]


def newest_id(world: World) -> str:
    """Give the id of the newest transaction."""
    return list(world.disk.transactions)[-1]


def terminal_of(world: World) -> Terminal:
    """Give the terminal of these stories."""
    return world.terminals["TERM0001"]


async def test_an_approval(world: World) -> None:
    card = get_card("visa-ok")
    await terminal_of(world).purchase(card, 1250, pin=card.pin)
    assert await story_of(world, newest_id(world)) == [
        "terminal TERM0001 asks for a purchase over ascii; its MAC is right",
        "the switch asks north, with the PIN translated, because #: north, then south",
        "north answers after # with code 00",
        "the switch approves to the terminal with approval code #",
        "It is approved and stands: 12.50 EUR.",
    ]


async def test_who_was_silent_and_when_its_reversal_was_acknowledged(
    world: World,
) -> None:
    await terminal_of(world).purchase(get_card("mc-silent"), 1250)
    silent = newest_id(world)
    told = await story_of(world, silent)
    assert told[-1] == "It is still on its way to south, sent once so far."
    await trio.sleep(30)
    assert await story_of(world, silent) == [
        "terminal TERM0001 asks for a purchase over ascii; its MAC is right",
        "the switch asks south, because #: south",
        "south is silent for #: no answer before the deadline",
        "a reversal to south is owed: no answer before the deadline",
        f"{DECLINED}: the issuer was silent",
        "the switch sends the reversal to south (1420)",
        "south acknowledges it",
        "It is reversed: no money stays moved.",
    ]


async def test_a_late_answer(world: World) -> None:
    terminal = terminal_of(world)
    await terminal.purchase(get_card("visa-late"), 1250)
    late = newest_id(world)
    await trio.sleep(60)
    told = await story_of(world, late)
    assert "north answers too late with code 00; nobody is told" in told
    assert told[-1] == "It is reversed: no money stays moved."


async def test_a_reversal_and_its_original_know_each_other(world: World) -> None:
    terminal = terminal_of(world)
    belief = await terminal.purchase(get_card("visa-ok"), 1250)
    paid = stored_in(world, newest_id(world))
    await terminal.reverse(belief)
    await trio.sleep(30)
    undone, reversal = (
        stored_in(world, paid.id),
        stored_in(world, newest_id(world)),
    )
    assert (await story_of(world, paid.id))[-4:] == [
        "a reversal to north is owed: the terminal sent a reversal",
        "the switch sends the reversal to north (0420)",
        "north acknowledges it",
        "It is reversed: no money stays moved.",
    ]
    assert [
        (each.relation, each.transaction.id)
        for each in relate(undone, None, [reversal])
    ] == [("reversed by", reversal.id)]
    assert reversal.original_id == paid.id
    assert [each.relation for each in relate(reversal, undone, [])] == ["reversal of"]


async def test_an_endpoint_that_is_away_has_seen_nothing(world: World) -> None:
    world.cut_link("north")
    await trio.sleep(1)
    await terminal_of(world).purchase(get_card("visa-insufficient"), 1250)
    told = await story_of(world, newest_id(world))
    assert told[-1] == "It is declined: no money has moved."
    assert told[-2].startswith(
        "the switch declines to the terminal (issuer unavailable)"
    )
