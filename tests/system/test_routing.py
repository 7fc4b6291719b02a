"""Where a purchase goes when endpoints fail, and where it must never go."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest
import trio

from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.journal.records import Record, RecordKind
from isoswitch.routing.bins import BinRow
from isoswitch.routing.health import HealthPolicy
from isoswitch.routing.rules import Rule as RoutingRule
from isoswitch.routing.table import RoutingTable
from isoswitch.simulators.beliefs import BeliefState
from isoswitch.simulators.cards import get_card
from isoswitch.simulators.rules import Fault, Reaction, Rule
from isoswitch.simulators.swarm import settle
from isoswitch.simulators.world import MERCHANT, World
from isoswitch.switch.settings import SwitchSettings
from isoswitch.switch.status import read_status

# South knows this card; north is asked first and does not.
CARD = get_card("mc-ok")
DIGITS = CARD.pan.leading(6)
NORTH_FIRST = BinRow(digits=DIGITS, primary="north", alternate="south")
SILENT = Rule(name="silent", then=Reaction(fault=Fault.SILENCE, books=False))
INOPERATIVE = Rule(
    name="inoperative", then=Reaction(code=ResponseCode.ISSUER_UNAVAILABLE)
)


def profiled(settings: SwitchSettings) -> SwitchSettings:
    """Let an endpoint say that it decided nothing, and spare one that fails twice."""
    codes = frozenset({ResponseCode.ISSUER_UNAVAILABLE})
    return replace(
        settings,
        endpoint_health=HealthPolicy(failures_max=2, open_s=30.0),
        endpoints={
            name: replace(endpoint, not_processed=codes)
            for name, endpoint in settings.endpoints.items()
        },
    )


def make_world(*rules: RoutingRule) -> World:
    """Make a world in which north is asked first about south's card."""
    return World(
        change=profiled, routing=RoutingTable([NORTH_FIRST], rules=list(rules))
    )


@pytest.fixture
async def world(nursery: trio.Nursery) -> AsyncIterator[World]:
    """A network that asks north first, and south when north decides nothing."""
    network = make_world()
    await nursery.start(network.run)
    yield network
    verdict = await settle(network)
    assert verdict.is_settled, verdict.describe()


async def pay(world: World) -> ResponseCode:
    """Pay once, and give what the terminal was told."""
    belief = await world.terminals["TERM0001"].purchase(CARD, 1250, pin=CARD.pin)
    assert belief.outcome is not None
    return belief.outcome.code


async def asked(world: World, transaction_id: str) -> list[str]:
    """Give the endpoints that a transaction was sent to."""
    return [
        record.body["endpoint"]
        for record in await records(world, transaction_id)
        if record.kind is RecordKind.SENDING
    ]


async def records(world: World, transaction_id: str) -> Sequence[Record]:
    """Give what was written down about a transaction."""
    assert world.store is not None
    return [each.record for each in await world.store.records(transaction_id)]


async def test_an_answer_that_decides_nothing_lets_the_next_one_decide(
    world: World,
) -> None:
    world.issuers["north"].set_rules([INOPERATIVE])
    assert await pay(world) is ResponseCode.APPROVED
    assert await asked(world, "1-1") == ["north", "south"]
    told = [record.kind for record in await records(world, "1-1")]
    assert RecordKind.REVERSAL_OWED not in told
    assert told[-1] is RecordKind.CLOSED


async def test_the_last_one_that_decides_nothing_declines(world: World) -> None:
    world.issuers["north"].set_rules([INOPERATIVE])
    world.issuers["south"].set_rules([INOPERATIVE])
    assert await pay(world) is ResponseCode.ISSUER_UNAVAILABLE
    assert await asked(world, "1-1") == ["north", "south"]


async def test_after_silence_nobody_else_is_asked(world: World) -> None:
    """The silent one may have approved: a second approval would be a double charge."""
    world.issuers["north"].set_rules([SILENT])
    assert await pay(world) is ResponseCode.ISSUER_UNAVAILABLE
    assert await asked(world, "1-1") == ["north"]
    assert not world.issuers["south"].bookings.entries
    world.issuers["north"].set_rules([])


async def test_a_decline_is_a_decision_and_nobody_else_is_asked(world: World) -> None:
    world.issuers["north"].set_rules(
        [Rule(name="no", then=Reaction(code=ResponseCode.DO_NOT_HONOUR))]
    )
    assert await pay(world) is ResponseCode.DO_NOT_HONOUR
    assert await asked(world, "1-1") == ["north"]


async def test_an_endpoint_that_fails_again_and_again_is_spared_then_probed(
    world: World,
) -> None:
    world.issuers["north"].set_rules([SILENT])
    for _ in range(2):
        assert await pay(world) is ResponseCode.ISSUER_UNAVAILABLE
    assert await pay(world) is ResponseCode.APPROVED
    assert await asked(world, "1-3") == ["south"]
    first = (await records(world, "1-3"))[1].body
    assert first["route"] == (f"BIN {DIGITS}: the breaker of north is open, so south")
    assert world.switch is not None
    status = read_status(world.switch)
    assert [each.is_spared for each in status.endpoints] == [True, False]
    assert "endpoint north is not asked: its breaker is open" in status.warnings
    world.issuers["north"].set_rules([INOPERATIVE])
    await trio.sleep(31)
    assert await pay(world) is ResponseCode.APPROVED
    assert await asked(world, "1-4") == ["north", "south"]
    # The probe failed: the breaker is open again.
    await pay(world)
    assert await asked(world, "1-5") == ["south"]


async def test_a_breaker_closes_when_its_probe_is_answered(world: World) -> None:
    world.issuers["north"].set_rules([INOPERATIVE])
    for _ in range(2):
        await pay(world)
    world.issuers["north"].set_rules([])
    await trio.sleep(31)
    for _ in range(2):
        # North does not know the card, but it decides.
        assert await pay(world) is ResponseCode.INVALID_CARD_NUMBER
    assert await asked(world, "1-4") == ["north"]


async def test_a_rule_sends_one_kind_elsewhere(nursery: trio.Nursery) -> None:
    rule = RoutingRule(
        name="purchases", kinds=frozenset({Kind.PURCHASE}), candidates=("south",)
    )
    network = make_world(rule)
    await nursery.start(network.run)
    assert await pay(network) is ResponseCode.APPROVED
    await network.terminals["TERM0001"].balance(CARD, pin=CARD.pin)
    assert await asked(network, "1-1") == ["south"]
    assert await asked(network, "1-2") == ["north"]


async def test_a_rule_for_a_merchant_holds_for_terminals_that_do_not_name_it(
    nursery: trio.Nursery,
) -> None:
    rule = RoutingRule(
        name="shop", merchants=frozenset({MERCHANT.id}), candidates=("south",)
    )
    world = make_world(rule)
    await nursery.start(world.run)
    terminal = world.terminals["TERM0001"]
    named = terminal.build(Kind.PURCHASE, CARD, 1250, pin=CARD.pin).transaction
    belief = await terminal.pay(terminal.build_from(replace(named, merchant_id="")))
    assert belief.state is BeliefState.APPROVED
    (row,) = world.disk.transactions.values()
    assert await asked(world, row.id) == ["south"]
    (opened,) = [
        each for each in await records(world, row.id) if each.kind is RecordKind.OPENED
    ]
    assert opened.body["merchant"] == MERCHANT.id


async def test_a_decision_is_written_down_once_with_what_it_was_made_from(
    world: World,
) -> None:
    world.cut_link("north")
    world.cut_link("south")
    await trio.sleep(1)
    await pay(world)
    closed = (await records(world, "1-1"))[-1]
    decision = closed.body["decision"]
    assert decision["facts"] == {
        "bin": CARD.pan.stored_bin,
        "kind": "purchase",
        "minor": 1250,
        "currency": "978",
        "mcc": "5994",
        "merchant": "KIOSK0000000001",
        "country": "276",
        "entry": "chip",
        "minute": 12 * 60,
    }
    assert decision["to"] == []
    assert decision["states"] == {"north": {"up": False}, "south": {"up": False}}
    assert CARD.pan.reveal()[:9] not in str(decision)
    world.heal_link("north")
    world.heal_link("south")
