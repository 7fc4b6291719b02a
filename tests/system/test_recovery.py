"""The switch dies at every moment of a story, starts again, and all sides agree.

The store asks for its delay twice for each batch: before the batch is durable and
before its waiters hear of it. Dying at either moment, for every batch, covers a stop
before and after each journal record; dying on sends covers the bytes between.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import count

import pytest
import trio
import trio.testing

from isoswitch.codecs.canonical.codes import Kind
from isoswitch.journal.records import RecordKind
from isoswitch.simulators.beliefs import BeliefState
from isoswitch.simulators.cards import get_card
from isoswitch.simulators.rules import Fault, Fixed, Reaction, Rule
from isoswitch.simulators.swarm import settle
from isoswitch.simulators.world import World
from isoswitch.store.port import TransactionState, UnitOfWork
from isoswitch.switch.leases import DEAD_AFTER_S
from isoswitch.switch.recovery import recover
from tests.store.units import transaction
from tests.system.test_failures import world_kinds

DOWN_S = 2.0


async def story(world: World) -> None:
    """Two terminals pay, are declined, wait in vain, and reverse."""
    async with trio.open_nursery() as nursery:
        for name in world.terminals:
            nursery.start_soon(_customers, world, name)
            # Apart by less than a step, so that batches of both interleave.
            await trio.sleep(0.0005)


async def _customers(world: World, name: str) -> None:
    terminal = world.terminals[name]
    for card_name in ("visa-ok", "mc-insufficient", "mc-silent", "visa-late", "mc-ok"):
        card = get_card(card_name)
        belief = await terminal.purchase(card, 1250, pin=card.pin)
        if card_name == "visa-ok" and belief.state is BeliefState.APPROVED:
            await terminal.reverse(belief)


async def run_with_death_at(
    moment: int, tell: Callable[[World], Awaitable[None]]
) -> tuple[World, int]:
    """Run a story and kill the switch at the n-th moment; give the moments seen."""
    moments = count(1)
    seen = 0
    deaths = trio.Event()

    def delay_s() -> float:
        nonlocal seen
        seen = next(moments)
        if seen == moment:
            deaths.set()
            world.crash_switch()
        return 0.001

    world = World(store_delay_s=delay_s)

    async def nurse() -> None:
        await deaths.wait()
        await trio.sleep(DOWN_S)
        await world.start_switch()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(nurse)
        await nursery.start(world.run)
        await tell(world)
        if deaths.is_set():
            with trio.fail_after(60):
                while world.switch is None:
                    await trio.sleep(0.1)
        verdict = await settle(world)
        assert verdict.is_settled, f"death at moment {moment}: {verdict.describe()}"
        nursery.cancel_scope.cancel()
    return world, seen


async def test_a_death_at_any_moment_loses_and_doubles_nothing() -> None:
    _, moments = await run_with_death_at(0, story)
    assert moments > 50
    for moment in range(1, moments + 1):
        await run_with_death_at(moment, story)


async def test_what_was_only_sent_is_reversed_at_the_next_start() -> None:
    world = World()
    async with trio.open_nursery() as nursery:
        await nursery.start(world.run)
        world.issuers["north"].set_rules(
            [Rule(name="slow", then=Reaction(delay=Fixed(delay_s=3.0)))]
        )
        terminal = world.terminals["TERM0001"]
        card = get_card("visa-ok")
        nursery.start_soon(lambda: terminal.purchase(card, 1250, pin=card.pin))
        await trio.sleep(1)
        world.crash_switch()
        await trio.testing.wait_all_tasks_blocked()
        await world.start_switch()
        verdict = await settle(world)
        assert verdict.is_settled, verdict.describe()
        assert await world_kinds(world, RecordKind.REVERSAL_OWED) == 1
        assert terminal.beliefs[0].state is BeliefState.DECLINED
        nursery.cancel_scope.cancel()


async def test_after_a_restart_the_first_reversal_is_a_repeat() -> None:
    """What was queued before the restart may have been written (money rule 14)."""
    world = World()
    async with trio.open_nursery() as nursery:
        await nursery.start(world.run)
        issuer = world.issuers["north"]
        issuer.set_rules([Rule(name="deaf", then=Reaction(books=False))])
        card = get_card("visa-ok")
        await world.terminals["TERM0001"].purchase(card, 1250, pin=card.pin)
        world.crash_switch()
        await trio.testing.wait_all_tasks_blocked()
        issuer.set_rules([])
        assert world.store is not None
        before = await world_kinds(world, RecordKind.FORWARDED)
        await world.start_switch()
        verdict = await settle(world)
        assert verdict.is_settled, verdict.describe()
        sent = [
            each.record.body["message"]["mti"]
            for each in await world.store.records("1-1")
            if each.record.kind is RecordKind.FORWARDED
        ]
        assert sent[before] == "0421"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("fault", [Fault.DISCONNECT, Fault.AWAY])
async def test_numbers_are_never_used_again_after_a_restart(fault: Fault) -> None:
    world = World()
    async with trio.open_nursery() as nursery:
        await nursery.start(world.run)
        world.issuers["south"].set_rules(
            [Rule(name="fails once", then=Reaction(fault=fault), times_max=1)]
        )
        card = get_card("mc-ok")
        terminal = world.terminals["TERM0002"]
        await terminal.purchase(card, 1250, pin=card.pin)
        world.crash_switch()
        await trio.testing.wait_all_tasks_blocked()
        await world.start_switch()
        await terminal.purchase(card, 1250, pin=card.pin)
        rrns = [row.rrn for row in world.disk.transactions.values()]
        assert len(set(rrns)) == len(rrns)
        verdict = await settle(world)
        assert verdict.is_settled, verdict.describe()
        nursery.cancel_scope.cancel()


async def leave_open(world: World, count: int, *, boot: int = 1) -> None:
    """Have a boot ask issuers for what it does not live to hear."""
    assert world.store is not None
    (business_date,) = world.disk.days
    asked = tuple(
        transaction(
            f"{boot}-{number}",
            kind=Kind.BALANCE_INQUIRY,
            business_date=business_date,
            sealed=b"",
        )
        for number in range(count)
    )
    await world.store.commit(UnitOfWork(records=(), opens=asked))


def open_count(world: World) -> int:
    rows = world.disk.transactions.values()
    return sum(row.state is not TransactionState.CLOSED for row in rows)


async def test_a_node_is_not_taken_for_dead_while_it_recovers(
    nursery: trio.Nursery,
) -> None:
    """Also where its store is so slow that others would have waited long enough."""
    world = World(nodes=2, store_delay_s=lambda: 0.05)
    await nursery.start(world.run)
    await leave_open(world, 5_000)
    world.crash_switch()
    began_at = trio.current_time()
    await world.start_switch()
    assert trio.current_time() - began_at > DEAD_AFTER_S
    await trio.sleep(DEAD_AFTER_S)
    assert world.switch is not None
    assert open_count(world) == 0


async def test_much_that_was_in_flight_is_brought_to_an_end_together(
    nursery: trio.Nursery,
) -> None:
    world = World(store_delay_s=lambda: 0.01)
    await nursery.start(world.run)
    await leave_open(world, 1_000)
    world.crash_switch()
    began_at = trio.current_time()
    await world.start_switch()
    assert open_count(world) == 0
    assert trio.current_time() - began_at < 2.0


async def test_recovery_ends_with_its_node(nursery: trio.Nursery) -> None:
    """One that is fenced out must not go on for as long as it has something to do."""
    world = World(store_delay_s=lambda: 0.01)
    await nursery.start(world.run)
    await leave_open(world, 1_000, boot=0)
    assert world.switch is not None
    assert world.switch.services is not None
    with trio.move_on_after(0.05):
        await recover(world.switch.services)
    assert 0 < open_count(world) < 1_000
