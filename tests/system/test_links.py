"""Links from both ends: who may connect, sign on, suspend, and what money notices."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date
from random import Random
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs

from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.codecs.canonical.errors import ConfigError
from isoswitch.codecs.dialects.cutover import write_cutover_date
from isoswitch.codecs.dialects.registry import get_dialect
from isoswitch.codecs.framing import get_framing
from isoswitch.codecs.iso8583.message import Message
from isoswitch.journal.records import ChainedRecord, RecordKind
from isoswitch.routing.table import RoutingTable
from isoswitch.simulators.beliefs import Belief, BeliefState
from isoswitch.simulators.cards import get_card
from isoswitch.simulators.network import MemoryStream, connect_in_memory
from isoswitch.simulators.rules import Equals, Fault, Fixed, OneOf, Reaction, Rule
from isoswitch.simulators.swarm import settle
from isoswitch.simulators.world import World, bin_rows
from isoswitch.switch import linkorders, numbers
from isoswitch.switch.connection import Connection
from isoswitch.switch.linkjournal import REPEATED_FOR
from isoswitch.switch.linkorders import LinkOrder
from isoswitch.switch.links import Link
from isoswitch.switch.linkstate import LinkState
from isoswitch.switch.mux import Mux
from isoswitch.switch.settings import Role, SignOn, SwitchSettings
from isoswitch.switch.upkeep import Upkeep
from tests.system.test_business_day import days_of
from tests.system.test_conditions import MovedWorld
from tests.system.test_failures import world_kinds

DIALECT = get_dialect("iso87-ascii")
BIN2 = get_framing("bin2")
PEER = "192.0.2.7"
MONEY = {"kind": OneOf(values=(Kind.PURCHASE, Kind.REVERSAL))}


def north_with(**changes: Any) -> Callable[[SwitchSettings], SwitchSettings]:
    """Change the settings of the endpoint north."""

    def change(settings: SwitchSettings) -> SwitchSettings:
        north = replace(settings.endpoints["north"], **changes)
        return replace(settings, endpoints={**settings.endpoints, "north": north})

    return change


def network(*, nodes: int = 1, **changes: Any) -> World:
    """Make a network with another north, where no BIN has an alternate."""
    routing = RoutingTable([replace(row, alternate="") for row in bin_rows()])
    return World(change=north_with(**changes), routing=routing, nodes=nodes)


@asynccontextmanager
async def audited(nursery: trio.Nursery, **changes: Any) -> AsyncIterator[World]:
    """Run such a network, and audit it when the test is over."""
    world = network(**changes)
    await nursery.start(world.run)
    yield world
    verdict = await settle(world)
    assert verdict.is_settled, verdict.describe()
    assert not world.issuers["north"].counts["before sign-on"]


@pytest.fixture
async def world(nursery: trio.Nursery) -> AsyncIterator[World]:
    """A network with the usual links."""
    async with audited(nursery) as each:
        yield each


def slow(delay_s: float, **more: Any) -> list[Rule]:
    """Let an issuer take its time with money."""
    reaction = Reaction(delay=Fixed(delay_s=delay_s), **more)
    return [Rule(name="slow", then=reaction, when=MONEY)]


def silent(kind: Kind, fault: Fault = Fault.SILENCE) -> list[Rule]:
    """Let an issuer leave something unanswered."""
    when = {"kind": Equals(value=kind)}
    return [Rule(name="silent", then=Reaction(fault=fault), when=when)]


def link_of(world: World, name: str = "north") -> Link:
    """Give a link of the running switch."""
    assert world.switch is not None
    return world.switch.links[name]


async def pay(world: World, terminal: str = "TERM0001") -> Belief:
    """Pay with a card of north."""
    card = get_card("visa-ok")
    return await world.terminals[terminal].purchase(card, 1250, pin=card.pin)


async def order(world: World, what: LinkOrder, endpoint: str = "north") -> LinkState:
    """Order something of a link as an operator does."""
    assert world.switch is not None
    assert world.switch.services is not None
    services = world.switch.services
    return (await linkorders.carry_out(services, what, endpoint, operator="ann")).state


async def changes_of(world: World, endpoint: str = "north") -> list[tuple[str, str]]:
    """Give the state changes of a link that the journal has: into what, and why."""
    assert world.store is not None
    records: list[ChainedRecord] = []
    while page := await world.store.records(after_seq=len(records)):
        records += page
    return [
        (each.record.body["after"], each.record.body["reason"])
        for each in records
        if each.record.kind is RecordKind.LINK
        and each.record.body.get("endpoint") == endpoint
        and "after" in each.record.body
    ]


# States ------------------------------------------------------------------------------


async def test_a_link_connects_then_signs_on_and_the_journal_tells(
    world: World,
) -> None:
    await trio.sleep(1)
    assert link_of(world).state is LinkState.SIGNED_ON
    assert await changes_of(world) == [
        ("connected", "connected"),
        ("signed_on", "signed on"),
    ]


async def money_waits_for_the_sign_on(nursery: trio.Nursery) -> bool:
    """Tell whether an issuer that has not accepted the sign-on sees no money."""
    world = network()
    issuer = world.issuers["north"]
    when = {"kind": Equals(value=Kind.SIGN_ON)}
    issuer.set_rules([Rule(name="lost", then=Reaction(books=False), when=when)])
    await nursery.start(world.run)
    belief = await pay(world)
    assert belief.state is BeliefState.DECLINED
    return not issuer.counts["before sign-on"]


async def test_no_money_goes_before_the_sign_on_is_accepted(
    nursery: trio.Nursery,
) -> None:
    assert await money_waits_for_the_sign_on(nursery)


async def test_a_skipped_sign_on_would_show(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bug is planted: a connection carries money as soon as it is there."""
    sign_on = Upkeep.sign_on

    async def hasty(self: Upkeep, connection: Connection, **more: bool) -> bool:
        self.mark(connection, "assumed")
        return await sign_on(self, connection, **more)

    monkeypatch.setattr(Upkeep, "sign_on", hasty)
    assert not await money_waits_for_the_sign_on(nursery)


async def test_an_idle_link_is_echoed_and_tells_how_long_it_took(world: World) -> None:
    issuer = world.issuers["north"]
    issuer.set_rules([Rule(name="slow", then=Reaction(delay=Fixed(delay_s=0.25)))])
    await trio.sleep(100)
    assert 2 <= issuer.heard[Kind.ECHO] <= 4
    status = link_of(world).status()
    assert status.echo_ms == pytest.approx(250, abs=1)
    assert status.last_echo_at > "2026-06-01T12:00:30"


async def is_closed_after_missed_echoes(nursery: trio.Nursery) -> bool:
    """Tell whether a link goes down whose echoes stay unanswered."""
    world = network()
    await nursery.start(world.run)
    world.issuers["north"].set_rules(silent(Kind.ECHO))
    await trio.sleep(30 + 2 * 5 + 1)
    return ("down", "echoes were not answered") in await changes_of(world)


async def test_missed_echoes_close_the_connection(nursery: trio.Nursery) -> None:
    assert await is_closed_after_missed_echoes(nursery)


async def test_a_skipped_echo_check_would_show(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bug is planted: whatever comes of an echo counts as an answer."""
    agrees = Link._agrees

    async def trusting(self: Link, connection: Any, kind: Kind) -> bool:
        return await agrees(self, connection, kind) or kind is Kind.ECHO

    monkeypatch.setattr(Link, "_agrees", trusting)
    assert not await is_closed_after_missed_echoes(nursery)


async def test_a_suspended_link_sends_neither_money_nor_what_is_stored(
    world: World,
) -> None:
    issuer = world.issuers["north"]
    issuer.set_rules([Rule(name="lost", then=Reaction(books=False), when=MONEY)])
    async with trio.open_nursery() as customers:
        customers.start_soon(pay, world)
        await trio.sleep(1)
        assert await order(world, "suspend") is LinkState.SUSPENDED
    assert await world_kinds(world, RecordKind.REVERSAL_OWED) == 1
    issuer.set_rules([])
    assert (await pay(world)).state is BeliefState.DECLINED
    await trio.sleep(300)
    assert not issuer.bookings.entries
    assert issuer.heard[Kind.ECHO] >= 8
    assert issuer.heard[Kind.SIGN_OFF] == 0
    assert await order(world, "resume") is LinkState.SIGNED_ON
    await trio.sleep(120)
    assert await world_kinds(world, RecordKind.DELIVERED) == 1
    assert (await changes_of(world))[-2:] == [
        ("suspended", "suspended by an operator"),
        ("signed_on", "resumed by an operator"),
    ]


async def test_what_an_operator_suspended_stays_so_over_a_restart(
    world: World,
) -> None:
    await order(world, "suspend")
    world.crash_switch()
    await world.start_switch()
    await trio.sleep(5)
    assert link_of(world).state is LinkState.SUSPENDED
    assert link_of(world, "south").state is LinkState.SIGNED_ON
    await order(world, "resume")


async def test_the_journal_names_who_ordered_it(world: World) -> None:
    await order(world, "suspend")
    await order(world, "resume")
    assert world.store is not None
    told = [each.record for each in await world.store.records("link/north")]
    assert [each.kind for each in told] == [RecordKind.OPERATOR] * 2
    assert told[0].body == {"order": "suspend", "endpoint": "north", "operator": "ann"}


# Sign-off, theirs and ours -----------------------------------------------------------


async def test_a_partners_sign_off_lets_in_flight_money_finish_and_no_new_begin(
    world: World,
) -> None:
    issuer = world.issuers["north"]
    issuer.set_rules(slow(2.0))
    async with trio.open_nursery() as customers:
        customers.start_soon(pay, world)
        await trio.sleep(1)
        assert await issuer.ask(Kind.SIGN_OFF) is ResponseCode.APPROVED
        assert link_of(world).state is LinkState.SUSPENDED
        belief = await pay(world, "TERM0002")
        assert belief.state is BeliefState.DECLINED
    assert world.terminals["TERM0001"].beliefs[0].state is BeliefState.APPROVED
    assert not issuer.counts["after sign-off"]
    await trio.sleep(100)
    assert issuer.heard[Kind.ECHO] >= 2
    assert await issuer.ask(Kind.SIGN_ON) is ResponseCode.APPROVED
    issuer.set_rules([])
    assert (await pay(world)).state is BeliefState.APPROVED


async def test_after_a_partners_sign_off_an_operator_may_ask_it_to_go_on(
    world: World,
) -> None:
    issuer = world.issuers["north"]
    await issuer.ask(Kind.SIGN_OFF)
    assert await order(world, "resume") is LinkState.SUSPENDED
    when = {"kind": Equals(value=Kind.SIGN_ON)}
    issuer.set_rules([Rule(name="lost", then=Reaction(books=False), when=when)])
    with pytest.raises(ConfigError, match="accepts no sign-on"):
        await order(world, "sign-on")
    assert link_of(world).state is LinkState.SUSPENDED
    issuer.set_rules([])
    assert await order(world, "sign-on") is LinkState.SIGNED_ON
    assert issuer.heard[Kind.SIGN_ON] == 2
    assert (await pay(world)).state is BeliefState.APPROVED
    await issuer.ask(Kind.SIGN_OFF)
    issuer.set_rules([Rule(name="lost", then=Reaction(books=False), when=when)])
    with pytest.raises(ConfigError, match="accepts no sign-on"):
        await order(world, "sign-on")
    assert await issuer.ask(Kind.SIGN_ON) is ResponseCode.APPROVED
    assert link_of(world).state is LinkState.SIGNED_ON


async def test_a_partner_that_accepts_a_sign_on_has_taken_back_its_sign_off(
    nursery: trio.Nursery,
) -> None:
    async with audited(nursery, connections=2) as world:
        issuer = world.issuers["north"]
        await issuer.ask(Kind.SIGN_OFF)
        issuer.wires[0].close()
        await trio.sleep(5)
        assert issuer.heard[Kind.SIGN_ON] == 3
        assert link_of(world).state is LinkState.SIGNED_ON
        assert (await pay(world)).state is BeliefState.APPROVED


async def test_our_sign_off_waits_for_what_is_in_flight_and_holds(
    world: World,
) -> None:
    issuer = world.issuers["north"]
    issuer.set_rules(slow(2.0))
    async with trio.open_nursery() as customers:
        customers.start_soon(pay, world)
        await trio.sleep(1)
        assert await order(world, "sign-off") is LinkState.CONNECTED
        assert world.terminals["TERM0001"].beliefs[0].state is BeliefState.APPROVED
    assert issuer.heard[Kind.SIGN_OFF] == 1
    issuer.set_rules([])
    assert (await pay(world)).state is BeliefState.DECLINED
    world.cut_link("north")
    await trio.sleep(5)
    world.heal_link("north")
    await trio.sleep(30)
    assert link_of(world).state is LinkState.CONNECTED
    assert issuer.heard[Kind.SIGN_ON] == 1
    assert await order(world, "sign-on") is LinkState.SIGNED_ON
    assert (await pay(world)).state is BeliefState.APPROVED


async def test_a_switch_that_drains_signs_off_after_its_last_answer(
    world: World,
) -> None:
    issuer = world.issuers["north"]
    issuer.set_rules(slow(2.0))
    async with trio.open_nursery() as customers:
        customers.start_soon(pay, world)
        await trio.sleep(1)
        assert world.switch is not None
        await world.switch.drain()
    assert issuer.heard[Kind.SIGN_OFF] == 1
    assert not issuer.counts["after sign-off"]
    assert world.terminals["TERM0001"].beliefs[0].state is BeliefState.APPROVED
    world.crash_switch()
    await world.start_switch()


@pytest.mark.parametrize("kind", [Kind.ECHO, Kind.SIGN_ON])
@pytest.mark.parametrize("state", list(LinkState)[1:])
async def test_echo_and_sign_on_are_answered_in_every_state(
    nursery: trio.Nursery, state: LinkState, kind: Kind
) -> None:
    world = network()
    issuer = world.issuers["north"]
    if state is LinkState.CONNECTED:
        issuer.set_rules(silent(Kind.SIGN_ON))
    await nursery.start(world.run)
    if state is LinkState.SUSPENDED:
        await order(world, "suspend")
    assert link_of(world).state is state
    assert await issuer.ask(kind) is ResponseCode.APPROVED


# Several connections -----------------------------------------------------------------


async def test_an_answer_on_the_sister_connection_is_taken(
    nursery: trio.Nursery,
) -> None:
    async with audited(nursery, connections=2) as world:
        issuer = world.issuers["north"]
        issuer.set_rules([Rule(name="sister", then=Reaction(elsewhere=True))])
        for _ in range(4):
            assert (await pay(world)).state is BeliefState.APPROVED
        # Its echoes come back there too, and are not repeated at once.
        heard = issuer.heard[Kind.ECHO]
        await trio.sleep(100)
        assert issuer.heard[Kind.ECHO] - heard <= 8


async def test_an_answer_comes_on_the_sister_after_the_first_connection_is_lost(
    nursery: trio.Nursery,
) -> None:
    async with audited(nursery, connections=2) as world:
        await pay_and_lose_the_connection(world)
        (belief,) = world.terminals["TERM0001"].beliefs
        assert belief.state is BeliefState.APPROVED
        assert await world_kinds(world, RecordKind.REVERSAL_OWED) == 0


async def test_a_profile_may_fail_what_a_lost_connection_carried(
    nursery: trio.Nursery,
) -> None:
    async with audited(nursery, connections=2, fail_fast=True) as world:
        began_at = trio.current_time()
        await pay_and_lose_the_connection(world)
        (belief,) = world.terminals["TERM0001"].beliefs
        assert belief.state is BeliefState.DECLINED
        assert trio.current_time() - began_at < 3
        assert await world_kinds(world, RecordKind.REVERSAL_OWED) == 1


async def pay_and_lose_the_connection(world: World) -> None:
    """Pay, and lose the connection of the request before its answer comes."""
    issuer = world.issuers["north"]
    issuer.set_rules(slow(2.0, elsewhere=True))
    async with trio.open_nursery() as customers:
        customers.start_soon(pay, world)
        await trio.sleep(1)
        (waiting,) = link_of(world)._mux._waiting.values()
        waiting.connection.close("cut")


# Trace numbers that come round -------------------------------------------------------


async def approvals_are_their_own(nursery: trio.Nursery) -> bool:
    """Tell whether every approval heard is the one that its own request got.

    A late answer arrives while another request waits under the same trace number, for
    the same card, amount and terminal.
    """
    world = network(match_fields=(11,))
    await nursery.start(world.run)
    issuer, terminal = world.issuers["north"], world.terminals["TERM0001"]
    when = {"kind": Equals(value=Kind.PURCHASE)}
    late = Rule(name="late", then=Reaction(delay=Fixed(delay_s=7)), when=when)
    issuer.set_rules([late])
    await pay(world)
    issuer.set_rules([])
    await pay(world)
    await pay(world)
    issuer.set_rules([replace_delay(late, 4)])
    await trio.sleep(1)
    await pay(world)
    await trio.sleep(60)
    issued = {each.rrn: each.approval_code for each in issuer.bookings.entries}
    return all(
        belief.outcome is not None
        and issued.get(belief.rrn) == belief.outcome.approval_code
        for belief in terminal.beliefs
        if belief.state is BeliefState.APPROVED
    )


def replace_delay(rule: Rule, delay_s: float) -> Rule:
    """Give a rule another delay."""
    reaction = Reaction(delay=Fixed(delay_s=delay_s))
    return Rule(name=rule.name, then=reaction, when=rule.when)


async def test_a_late_answer_reaches_nobody_when_trace_numbers_wrap(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numbers, "STAN_MAX", 3)
    assert await approvals_are_their_own(nursery)


async def test_a_forgotten_trace_number_would_show(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bug is planted: a key is used again although its answer may still come."""
    monkeypatch.setattr(numbers, "STAN_MAX", 3)
    monkeypatch.setattr(Mux, "_check_unburied", lambda *_: None)
    assert not await approvals_are_their_own(nursery)


async def test_a_header_stands_before_requests_and_answers(
    nursery: trio.Nursery,
) -> None:
    header = bytes.fromhex("6000010002")
    async with audited(nursery, header="tpdu", header_value=header) as world:
        # It has been deaf so far: it expected none.
        issuer = world.issuers["north"]
        issuer.profile = replace(issuer.profile, header="tpdu")
        await trio.sleep(30)
        assert link_of(world).state is LinkState.SIGNED_ON
        assert (await pay(world)).state is BeliefState.APPROVED


# Server role -------------------------------------------------------------------------


async def call(
    world: World, nursery: trio.Nursery, *, host: str = PEER
) -> MemoryStream:
    """Let north connect to the switch; gives the switch's end."""
    ours, theirs = connect_in_memory(world.weather)
    nursery.start_soon(world.issuers["north"].serve_stream, theirs)

    async def serve() -> None:
        await link_of(world).serve_stream(ours, host=host)

    nursery.start_soon(serve)
    await trio.sleep(0.5)
    return ours


@pytest.mark.parametrize("sign_on", [SignOn.US, SignOn.THEM])
async def test_a_partner_connects_and_either_side_signs_on(
    nursery: trio.Nursery, sign_on: SignOn
) -> None:
    async with audited(
        nursery, role=Role.SERVER, peers=("192.0.2.0/24",), sign_on=sign_on
    ) as world:
        issuer = world.issuers["north"]
        assert link_of(world).state is LinkState.DOWN
        await call(world, nursery)
        if sign_on is SignOn.THEM:
            assert link_of(world).state is LinkState.CONNECTED
            assert await issuer.ask(Kind.SIGN_ON) is ResponseCode.APPROVED
        assert link_of(world).state is LinkState.SIGNED_ON
        assert issuer.heard[Kind.SIGN_ON] == (sign_on is SignOn.US)
        assert (await pay(world)).state is BeliefState.APPROVED
        await trio.sleep(100)
        assert issuer.heard[Kind.ECHO] >= 2


@pytest.mark.parametrize("host", ["198.51.100.7", "", "not an address"])
async def test_a_stranger_does_not_get_in(nursery: trio.Nursery, host: str) -> None:
    async with audited(nursery, role=Role.SERVER, peers=("192.0.2.0/24",)) as world:
        stream = await call(world, nursery, host=host)
        assert stream.is_closed
        assert link_of(world).state is LinkState.DOWN
        assert link_of(world).status().refused_peers == 1


async def test_a_partner_gets_no_more_connections_than_agreed(
    nursery: trio.Nursery,
) -> None:
    async with audited(nursery, role=Role.SERVER, peers=(PEER,)) as world:
        await call(world, nursery)
        second = await call(world, nursery)
        assert second.is_closed
        assert link_of(world).status().connections == 1
        assert (await pay(world)).state is BeliefState.APPROVED


# One-shot connections ----------------------------------------------------------------


def one_shot(world: World) -> None:
    """Let north take money without a sign-on."""
    issuer = world.issuers["north"]
    issuer.profile = replace(issuer.profile, needs_sign_on=False)


async def test_each_request_has_a_connection_of_its_own(nursery: trio.Nursery) -> None:
    async with audited(nursery, one_shot=True, sign_on=SignOn.NOBODY) as world:
        one_shot(world)
        issuer = world.issuers["north"]
        assert link_of(world).state is LinkState.SIGNED_ON
        for _ in range(3):
            assert (await pay(world)).state is BeliefState.APPROVED
            await trio.sleep(0.5)
            assert issuer.wires == []
        await trio.sleep(200)
        assert not issuer.heard


async def test_a_one_shot_request_that_cannot_connect_was_never_seen(
    nursery: trio.Nursery,
) -> None:
    async with audited(nursery, one_shot=True, sign_on=SignOn.NOBODY) as world:
        one_shot(world)
        world.cut_link("north")
        assert (await pay(world)).state is BeliefState.DECLINED
        assert await world_kinds(world, RecordKind.NOT_WRITTEN) == 1
        assert await world_kinds(world, RecordKind.REVERSAL_OWED) == 0
        assert link_of(world).state is LinkState.DOWN
        world.heal_link("north")
        await trio.sleep(30)
        assert (await pay(world)).state is BeliefState.APPROVED


@pytest.mark.parametrize("fault", [Fault.DISCONNECT, Fault.SILENCE])
async def test_a_one_shot_request_without_an_answer_is_reversed(
    nursery: trio.Nursery, fault: Fault
) -> None:
    async with audited(nursery, one_shot=True, sign_on=SignOn.NOBODY) as world:
        one_shot(world)
        issuer = world.issuers["north"]
        issuer.set_rules(silent(Kind.PURCHASE, fault))
        assert (await pay(world)).state is BeliefState.DECLINED
        assert await world_kinds(world, RecordKind.REVERSAL_OWED) == 1
        issuer.set_rules([])
        await trio.sleep(60)
        assert await world_kinds(world, RecordKind.DELIVERED) == 1


@pytest.mark.parametrize("is_one_shot", [False, True])
async def test_where_nobody_signs_on_an_operator_takes_back_a_partners_sign_off(
    nursery: trio.Nursery, *, is_one_shot: bool
) -> None:
    async with audited(nursery, one_shot=is_one_shot, sign_on=SignOn.NOBODY) as world:
        one_shot(world)
        issuer = world.issuers["north"]
        issuer.set_rules(slow(2.0))
        async with trio.open_nursery() as customers:
            customers.start_soon(pay, world)
            await trio.sleep(1)
            assert await issuer.ask(Kind.SIGN_OFF) is ResponseCode.APPROVED
        assert world.terminals["TERM0001"].beliefs[0].state is BeliefState.APPROVED
        assert await order(world, "resume") is LinkState.SUSPENDED
        assert (await pay(world)).state is BeliefState.DECLINED
        assert await order(world, "sign-off") is LinkState.SUSPENDED
        assert await order(world, "sign-on") is LinkState.SIGNED_ON
        assert issuer.heard[Kind.SIGN_ON] == 0
        assert issuer.counts["after sign-off"] == 0
        await pay(world)
        # Our money reaches it again; to take it, too, is for its operator to order.
        assert issuer.counts["after sign-off"] == 1


# Cutover -----------------------------------------------------------------------------


async def test_a_partners_cutover_is_acknowledged_when_it_is_written_down(
    world: World,
) -> None:
    issuer, store = world.issuers["north"], world.store
    assert store is not None
    fields = write_cutover_date(DIALECT, date(2026, 6, 2))
    store.is_full = True
    assert await issuer.ask(Kind.CUTOVER, fields=fields) is None
    store.is_full = False
    assert await issuer.ask(Kind.CUTOVER, fields=fields) is ResponseCode.APPROVED
    told = [
        each.record.body
        for each in await store.records()
        if each.record.body.get("event") == "cutover"
    ]
    assert told == [{"event": "cutover", "endpoint": "north", "date": "2026-06-02"}]


async def test_a_cutover_to_no_day_is_a_format_error(world: World) -> None:
    issuer = world.issuers["north"]
    code = await issuer.ask(Kind.CUTOVER, fields={15: "1399"})
    assert code is ResponseCode.FORMAT_ERROR


async def test_the_cutover_of_the_partner_that_decides_ends_our_day(
    nursery: trio.Nursery,
) -> None:
    async with audited(nursery, cuts_day=True) as world:
        issuer = world.issuers["north"]
        fields = write_cutover_date(DIALECT, date(2026, 6, 2))
        for _ in range(2):
            code = await issuer.ask(Kind.CUTOVER, fields=fields)
            assert code is ResponseCode.APPROVED
        assert days_of(world).date == "2026-06-02"


@pytest.mark.parametrize("mti", ["0840", "0841"])
async def test_a_cutover_that_wants_no_answer_ends_our_day_and_nothing_else(
    nursery: trio.Nursery, mti: str
) -> None:
    async with audited(nursery, cuts_day=True) as world:
        issuer = world.issuers["north"]
        fields = write_cutover_date(DIALECT, date(2026, 6, 2))
        told = DIALECT.network_request(
            Kind.CUTOVER, stan="000123", transmitted_at=world.now(), extra=fields
        ).replace({}, mti=mti)
        issuer.wires[-1].send_nowait(told.raw)
        await trio.sleep(5)
        assert days_of(world).date == "2026-06-02"
        assert (await pay(world)).state is BeliefState.APPROVED


async def test_a_cutover_without_a_date_that_is_said_again_counts_once(
    nursery: trio.Nursery,
) -> None:
    async with audited(nursery, cuts_day=True, connections=2) as world:
        issuer, store = world.issuers["north"], world.store
        assert store is not None
        store.is_full = True
        assert await issuer.ask(Kind.CUTOVER) is None
        store.is_full = False
        assert await issuer.ask(Kind.CUTOVER) is ResponseCode.APPROVED
        issuer.wires.reverse()
        assert await issuer.ask(Kind.CUTOVER) is ResponseCode.APPROVED
        world.crash_switch()
        await world.start_switch()
        await trio.sleep(5)
        complete = {70: "202"}
        for fields in ({}, complete):
            code = await issuer.ask(Kind.CUTOVER, fields=fields)
            assert code is ResponseCode.APPROVED
        assert days_of(world).date == "2026-06-02"


async def test_the_next_cutover_without_a_date_counts_again(
    nursery: trio.Nursery,
) -> None:
    world = MovedWorld(change=north_with(cuts_day=True))
    await nursery.start(world.run)
    assert world.switch is not None
    for opened in ("2026-06-02", "2026-06-03"):
        code = await world.issuers["north"].ask(Kind.CUTOVER)
        assert code is ResponseCode.APPROVED
        assert days_of(world).date == opened
        world.moved += REPEATED_FOR
        world.switch.health.confirm_clock()


@pytest.mark.parametrize(
    ("day", "code", "opened"),
    [
        (date(2026, 6, 11), ResponseCode.APPROVED, "2026-06-11"),
        (date(2026, 6, 12), ResponseCode.RECONCILIATION_ERROR, "2026-06-01"),
        (date(2026, 11, 30), ResponseCode.RECONCILIATION_ERROR, "2026-06-01"),
    ],
    ids=["after holidays", "too far", "another month"],
)
async def test_a_cutover_to_a_day_far_ahead_is_declined_and_told(
    nursery: trio.Nursery, day: date, code: ResponseCode, opened: str
) -> None:
    async with audited(nursery, cuts_day=True) as world:
        fields = write_cutover_date(DIALECT, day)
        assert await world.issuers["north"].ask(Kind.CUTOVER, fields=fields) is code
        assert days_of(world).date == opened
        told = await world_kinds(world, RecordKind.EXCEPTION)
        assert told == (code is not ResponseCode.APPROVED)


async def test_our_cutover_reaches_the_partner(world: World) -> None:
    link = link_of(world, "south")
    fields = write_cutover_date(link.dialect, date(2026, 6, 2))
    answer = await link.manage(Kind.CUTOVER, extra=fields)
    assert link.dialect.to_code(answer) is ResponseCode.APPROVED
    assert world.issuers["south"].cutover_dates == ["260602"]


# One session only --------------------------------------------------------------------


@pytest.mark.parametrize(("owner", "state"), [("sw1", "signed_on"), ("sw2", "down")])
async def test_only_its_owner_connects_to_an_endpoint_of_one_session(
    nursery: trio.Nursery, owner: str, state: str
) -> None:
    world = network(owner=owner)
    await nursery.start(world.run)
    await trio.sleep(60)
    assert link_of(world).state == state
    assert len(world.issuers["north"].wires) == (owner == "sw1")


async def test_of_several_nodes_one_connects_and_another_when_it_dies(
    nursery: trio.Nursery,
) -> None:
    world = network(nodes=2, leased=True)
    await nursery.start(world.run)
    await trio.sleep(20)
    issuer = world.issuers["north"]

    def states() -> list[LinkState]:
        return [
            node.switch.links["north"].state
            for node in world.nodes
            if node.switch is not None
        ]

    assert sorted(states()) == [LinkState.DOWN, LinkState.SIGNED_ON]
    assert len(issuer.wires) == 1
    owner = states().index(LinkState.SIGNED_ON)
    world.nodes[owner].die()
    await trio.sleep(20)
    assert states() == [LinkState.SIGNED_ON]
    assert len(issuer.wires) == 1
    assert issuer.heard[Kind.SIGN_ON] == 2


async def test_what_is_owed_goes_out_from_the_node_that_connects(
    nursery: trio.Nursery,
) -> None:
    world = network(nodes=2, owner="sw2")
    await nursery.start(world.run)
    first, owner = world.nodes
    first.die()
    await trio.sleep(20)
    world.issuers["north"].set_rules(silent(Kind.PURCHASE))
    async with trio.open_nursery() as paying:
        paying.start_soon(pay, world)
        await trio.sleep(1)
        world.cut_link("north")
    owner.die()
    await nursery.start(first.run)
    # Long enough for it to take whatever the dead node held.
    await trio.sleep(20)
    await nursery.start(owner.run)
    world.heal_link("north")
    verdict = await settle(world)
    assert verdict.is_settled, verdict.describe()
    assert world.issuers["north"].heard[Kind.SIGN_ON] == 2
    (belief,) = world.terminals["TERM0001"].beliefs
    assert belief.state is not BeliefState.APPROVED


async def test_of_several_nodes_the_last_one_signs_off(nursery: trio.Nursery) -> None:
    world = network(nodes=2)
    await nursery.start(world.run)
    await trio.sleep(20)
    issuer = world.issuers["north"]
    signed_off = []
    for node in world.nodes:
        assert node.switch is not None
        await node.switch.drain()
        signed_off.append(issuer.heard[Kind.SIGN_OFF])
    assert signed_off == [0, 1]


# Hostile partners --------------------------------------------------------------------


def build(mti: str, **fields: str) -> Message:
    """Build a message by field numbers, such as ``_11="000001"``."""
    return DIALECT.codec.build(
        mti, {int(name[1:]): value for name, value in fields.items()}
    )


REQUEST = build("0200", _3="000000", _4="000000001250", _7="0601120000", _11="000009")


@pytest.mark.parametrize(
    ("mti", "answered"), [("0200", True), ("0420", True), ("0240", False)]
)
async def test_a_request_of_a_partner_is_declined_and_counted(
    world: World, mti: str, *, answered: bool
) -> None:
    issuer = world.issuers["north"]
    issuer.wires[0].send_nowait(REQUEST.replace({}, mti=mti).raw)
    await trio.sleep(1)
    assert link_of(world).status().unexpected == 1
    # The simulated issuer counts the answer to what it did not ask.
    assert issuer.counts["not a request"] == answered
    assert (await pay(world)).state is BeliefState.APPROVED


async def test_an_unknown_network_code_is_declined(world: World) -> None:
    issuer = world.issuers["north"]
    code = await issuer.ask(Kind.ECHO, fields={70: "999"})
    assert code is ResponseCode.INVALID_TRANSACTION


GARBAGE = BIN2.encode(b"\xff" * 40)
STRAY = BIN2.encode(build("0210", _11="000001", _37="ZZZZZZZZZZZZ", _39="00").raw)
ECHO = BIN2.encode(build("0800", _7="0601120000", _11="000009", _70="301").raw)
FLOODS = {
    "echoes": ECHO,
    "garbage": GARBAGE,
    "requests": BIN2.encode(REQUEST.raw),
    "answers nobody waits for": STRAY,
}


@pytest.mark.parametrize("piece", FLOODS.values(), ids=FLOODS)
async def test_a_flood_ends_its_connection_and_nothing_else(
    world: World, piece: bytes
) -> None:
    issuer = world.issuers["north"]
    for _ in range(40):
        if not issuer.wires:
            break
        issuer.wires[0].send_raw_nowait(piece * 500)
        await trio.sleep(0.01)
    await trio.sleep(30)
    assert any("a flood of" in reason for _, reason in await changes_of(world))
    assert link_of(world).state is LinkState.SIGNED_ON
    assert (await pay(world)).state is BeliefState.APPROVED


async def test_a_few_bad_messages_are_counted_and_the_link_goes_on(
    world: World,
) -> None:
    issuer = world.issuers["north"]
    issuer.wires[0].send_raw_nowait(GARBAGE + STRAY + GARBAGE)
    await trio.sleep(1)
    status = link_of(world).status()
    assert (status.undecodable, status.strays) == (2, 1)
    assert status.state is LinkState.SIGNED_ON
    assert (await pay(world)).state is BeliefState.APPROVED


async def test_half_a_frame_and_silence_is_found_out_by_echoes(world: World) -> None:
    world.issuers["north"].wires[0].send_raw_nowait(b"\x0f\xffhalf")
    await trio.sleep(60)
    assert ("down", "echoes were not answered") in await changes_of(world)
    assert link_of(world).state is LinkState.SIGNED_ON


async def test_an_impossible_length_ends_the_connection(world: World) -> None:
    world.issuers["north"].wires[0].send_raw_nowait(b"\xff\xff")
    await trio.sleep(30)
    reasons = [reason for _, reason in await changes_of(world)]
    assert any(reason.startswith("not frames") for reason in reasons)
    assert link_of(world).state is LinkState.SIGNED_ON


@pytest.mark.parametrize("seed", range(5))
async def test_messages_with_bytes_changed_break_nothing(
    world: World, seed: int
) -> None:
    """What still is a message is answered or counted; a fault of ours would log."""
    chance = Random(seed)
    issuer = world.issuers["north"]
    good = [REQUEST.raw, STRAY[2:], ECHO[2:]]
    with capture_logs() as lines:
        for _ in range(400):
            raw = bytearray(chance.choice(good))
            for _ in range(chance.randint(1, 4)):
                raw[chance.randrange(len(raw))] = chance.randrange(256)
            issuer.wires[-1].send_nowait(bytes(raw[: chance.randint(1, len(raw))]))
        await trio.sleep(30)
    assert link_of(world).status().undecodable > 50
    assert [line for line in lines if "exc_info" in line] == []
    told = [line for line in lines if line["event"] == "undecodable_message"]
    assert 1 <= len(told) <= 10
    assert (await pay(world)).state is BeliefState.APPROVED


async def test_state_changes_wait_for_the_store_and_links_do_not(
    world: World,
) -> None:
    store = world.store
    assert store is not None
    store.is_full = True
    world.cut_link("north")
    await trio.sleep(5)
    world.heal_link("north")
    await trio.sleep(30)
    assert link_of(world).state is LinkState.SIGNED_ON
    before = await changes_of(world)
    store.is_full = False
    await trio.sleep(5)
    later = (await changes_of(world))[len(before) :]
    assert [after for after, _ in later] == ["down", "connected", "signed_on"]
