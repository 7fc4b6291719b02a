"""Operators order what is owed: try again, set aside, call it settled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import trio

from isoswitch.codecs.canonical.errors import ConfigError, StoreUnavailable
from isoswitch.commands.story import ending
from isoswitch.hsm.keychange import KeyStore
from isoswitch.hsm.settings import Environment
from isoswitch.journal.records import RecordKind
from isoswitch.simulators.beliefs import BeliefState
from isoswitch.simulators.cards import get_card
from isoswitch.simulators.world import World
from isoswitch.store.disk import MemoryDisk
from isoswitch.store.memory import MemoryStore
from isoswitch.store.port import Committed, SafEntry, SafState, UnitOfWork
from isoswitch.switch.saf import POLL_S, Saf
from isoswitch.switch.saforders import (
    RESOLVE,
    park_entry,
    resolve_exception,
    retry_entry,
)
from isoswitch.switch.services import Services

SEAL_KEY = "store/seal"


async def be_silent(world: World) -> None:
    """Have a sale be asked for that its issuer never decides, and lose the link."""
    async with trio.open_nursery() as customers:
        terminal = world.terminals["TERM0001"]
        customers.start_soon(terminal.purchase, get_card("mc-silent"), 1250)
        await trio.sleep(1)
        world.cut_link("south")


async def owe(world: World) -> tuple[Services, Saf]:
    """Make the switch owe a reversal that cannot be delivered."""
    await be_silent(world)
    # Another node may have taken the sale.
    await trio.sleep(2 * POLL_S)
    assert world.switch is not None
    assert world.switch.services is not None
    assert world.switch.saf is not None
    assert world.switch.saf.waiting_count == 1
    return world.switch.services, world.switch.saf


async def told(world: World, kind: RecordKind) -> list[dict[str, object]]:
    """Give the bodies of the records of a kind."""
    assert world.store is not None
    records = [each.record for each in await world.store.records()]
    return [each.body for each in records if each.kind is kind]


def lose_seal(world: World) -> None:
    """Change the key that seals what is stored, and forget the version before."""
    keys = KeyStore(
        world.keys_file,
        world.vault,
        operators=("ann",),
        environment=Environment.TEST,
    )
    version = keys.rotate(SEAL_KEY).plan.version
    keys.activate(SEAL_KEY, version)
    keys.remove(SEAL_KEY, version - 1)


@pytest.fixture
async def quick(nursery: trio.Nursery) -> World:
    """A network whose issuer answers the sale late and its reversal never."""
    world = World()
    await nursery.start(world.run)
    return world


async def test_what_is_parked_waits_for_an_operator(quick: World) -> None:
    services, saf = await owe(quick)
    (entry_id,) = quick.disk.saf
    await park_entry(services, saf, entry_id, reason="ask south", operator="ann")
    assert quick.disk.saf[entry_id].state is SafState.QUARANTINED
    assert saf.waiting_count == 0
    quick.heal_link("south")
    await trio.sleep(120)
    assert quick.disk.saf[entry_id].state is SafState.QUARANTINED
    (body,) = await told(quick, RecordKind.OPERATOR)
    assert body == {
        "endpoint": "south",
        "order": "saf park",
        "operator": "ann",
        "entry": entry_id,
        "reason": "ask south",
    }


async def test_what_was_parked_is_delivered_when_it_is_tried_again(
    quick: World,
) -> None:
    services, saf = await owe(quick)
    (entry_id,) = quick.disk.saf
    transaction = quick.disk.saf[entry_id].transaction_id
    await park_entry(services, saf, entry_id, reason="ask south", operator="ann")
    assert quick.store is not None
    stored = quick.disk.transactions[transaction]
    records = await quick.store.records(transaction)
    assert ending(stored, records).startswith("south did not take it")
    await retry_entry(services, saf, entry_id, operator="bob")
    records = await quick.store.records(transaction)
    assert ending(stored, records).startswith("It is still on its way to south")
    quick.heal_link("south")
    await trio.sleep(60)
    assert quick.disk.saf[entry_id].state is SafState.DELIVERED
    records = await quick.store.records(transaction)
    assert ending(stored, records) == "It is reversed: no money stays moved."


async def test_what_was_ordered_is_done_though_the_store_cannot_be_read(
    quick: World,
) -> None:
    services, saf = await owe(quick)
    (entry_id,) = quick.disk.saf
    await park_entry(services, saf, entry_id, reason="ask south", operator="ann")
    store = quick.store
    assert store is not None

    def lose_reads(unit: UnitOfWork, _: Committed) -> None:
        store.is_unreadable = bool(unit.saf_updates)

    store.on_commit(lose_reads)
    await retry_entry(services, saf, entry_id, operator="bob")
    assert store.is_unreadable
    store.is_unreadable = False
    quick.heal_link("south")
    await trio.sleep(60)
    assert quick.disk.saf[entry_id].state is SafState.DELIVERED


async def test_what_opens_no_more_is_set_aside_and_told(quick: World) -> None:
    await owe(quick)
    lose_seal(quick)
    quick.heal_link("south")
    await trio.sleep(60)
    (entry,) = quick.disk.saf.values()
    assert entry.state is SafState.QUARANTINED
    (exception,) = await told(quick, RecordKind.EXCEPTION)
    assert f"no version of key {SEAL_KEY} opens it" in str(exception["reason"])
    card = get_card("mc-ok")
    belief = await quick.terminals["TERM0001"].purchase(card, 500, pin=card.pin)
    assert belief.state is BeliefState.APPROVED


async def test_an_operators_other_orders_send_nothing_again(quick: World) -> None:
    services, saf = await owe(quick)
    (entry_id,) = quick.disk.saf
    transaction = quick.disk.saf[entry_id].transaction_id
    await park_entry(services, saf, entry_id, reason="ask south", operator="ann")
    body = {"order": RESOLVE, "operator": "ann", "note": "paid by hand"}
    await services.recorder.note(RecordKind.OPERATOR, transaction, body)
    records = await services.store.records(transaction)
    stored = quick.disk.transactions[transaction]
    assert ending(stored, records).startswith("south did not take it")


async def test_another_node_is_not_ordered_to_send(nursery: trio.Nursery) -> None:
    world = World(nodes=2)
    await nursery.start(world.run)
    await trio.sleep(10)
    await be_silent(world)
    (entry_id,) = world.disk.saf
    refusals = []
    for node in world.nodes:
        assert node.switch is not None
        assert node.switch.services is not None
        assert node.switch.saf is not None
        services, saf = node.switch.services, node.switch.saf
        try:
            await retry_entry(services, saf, entry_id, operator="ann")
        except ConfigError as refusal:
            refusals.append(str(refusal))
    (told_why,) = refusals
    assert "order it there" in told_why
    assert len(await told(world, RecordKind.OPERATOR)) == 1


async def test_a_retry_that_comes_too_late_leaves_the_entry_to_the_operator(
    nursery: trio.Nursery,
) -> None:
    """Whoever took over meanwhile read what was owed before, and reads it once."""
    world = World(nodes=2)
    await nursery.start(world.run)
    await trio.sleep(10)
    services, saf = await owe(world)
    (entry_id,) = world.disk.saf
    await park_entry(services, saf, entry_id, reason="ask south", operator="ann")
    world.nodes[0].stalled_until = trio.current_time() + 10
    with pytest.raises((ConfigError, StoreUnavailable)):
        await retry_entry(services, saf, entry_id, operator="bob")
    assert world.disk.saf[entry_id].state is SafState.QUARANTINED
    other = world.nodes[1].switch
    assert other is not None
    assert other.services is not None
    assert other.saf is not None
    world.heal_link("south")
    await retry_entry(other.services, other.saf, entry_id, operator="bob")
    await trio.sleep(60)
    assert world.disk.saf[entry_id].state is SafState.DELIVERED


async def test_what_cannot_be_parked_goes_out(quick: World) -> None:
    services, saf = await owe(quick)
    (entry_id,) = quick.disk.saf
    assert quick.store is not None
    quick.store.is_full = True
    with pytest.raises(StoreUnavailable):
        await park_entry(services, saf, entry_id, reason="ask south", operator="ann")
    quick.store.is_full = False
    quick.heal_link("south")
    await trio.sleep(60)
    assert quick.disk.saf[entry_id].state is SafState.DELIVERED


class Watched(MemoryStore):
    """A store that knows which entries it was asked for."""

    def __init__(self, disk: MemoryDisk) -> None:
        super().__init__(disk, is_shared=True)
        self.given: list[int] = []
        self.questions = 0

    async def pending_saf(self, **part: Any) -> Sequence[SafEntry]:
        """Give what is pending, and remember it."""
        self.questions += 1
        given = await super().pending_saf(**part)
        self.given += [entry.id for entry in given]
        return given


def watch(world: World, node: int) -> tuple[Saf, Watched]:
    """Give store and forward of a node with a store that is watched."""
    switch = world.nodes[node].switch
    assert switch is not None
    assert switch.services is not None
    store = Watched(world.disk)
    return Saf(replace(switch.services, store=store)), store


async def test_what_is_owed_is_read_once_and_by_whoever_sends_it(
    nursery: trio.Nursery,
) -> None:
    world = World(nodes=2)
    await nursery.start(world.run)
    await owe(world)
    (sends, asked), (idle, unasked) = watch(world, 0), watch(world, 1)
    for _ in range(2):
        await sends.take_over()
        await idle.take_over()
    assert asked.given == [1]
    (entry,) = world.disk.saf.values()
    await asked.commit(UnitOfWork(records=(), saf_puts=(entry, entry)))
    await sends.take_over()
    assert asked.given == [1, 2, 3]
    assert sends.waiting_count == 3
    assert (unasked.questions, idle.waiting_count) == (0, 0)


async def test_what_waits_for_its_pause_is_sent_now(quick: World) -> None:
    services, saf = await owe(quick)
    (entry_id,) = quick.disk.saf
    # Long enough for pauses of a minute.
    await trio.sleep(300)
    quick.heal_link("south")
    await trio.sleep(15)
    if quick.disk.saf[entry_id].state is SafState.PENDING:
        await retry_entry(services, saf, entry_id, operator="ann")
        await trio.sleep(2)
    assert quick.disk.saf[entry_id].state is SafState.DELIVERED


async def test_what_is_delivered_or_unknown_is_left_alone(quick: World) -> None:
    services, saf = await owe(quick)
    (entry_id,) = quick.disk.saf
    quick.heal_link("south")
    await trio.sleep(60)
    with pytest.raises(ConfigError, match="is delivered"):
        await retry_entry(services, saf, entry_id, operator="ann")
    with pytest.raises(ConfigError, match="does not exist"):
        await park_entry(services, saf, 99, reason="?", operator="ann")


async def test_an_exception_is_resolved_with_a_note(quick: World) -> None:
    services, _ = await owe(quick)
    await services.recorder.note(RecordKind.EXCEPTION, "1-1", {"reason": "odd"})
    assert quick.store is not None
    seq = (await quick.store.records(limit=10_000))[-1].seq
    assert await resolve_exception(services, seq, note="seen", operator="ann") == "1-1"
    (body,) = await told(quick, RecordKind.OPERATOR)
    assert (body["exception"], body["note"]) == (seq, "seen")
    with pytest.raises(ConfigError, match="is no exception"):
        await resolve_exception(services, 1, note="?", operator="ann")
