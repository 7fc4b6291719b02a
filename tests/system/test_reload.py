"""Another configuration while money moves: nothing is lost, a bad one is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.codecs.canonical.errors import ConfigError, StoreUnavailable
from isoswitch.codecs.dialects.key_change import KeyPurpose
from isoswitch.hsm.port import ImportKey
from isoswitch.journal.records import RecordKind
from isoswitch.routing.bins import BinRow
from isoswitch.routing.table import RoutingTable
from isoswitch.simulators.beliefs import BeliefState
from isoswitch.simulators.cards import get_card
from isoswitch.simulators.consistency import check_journal
from isoswitch.simulators.rules import Fault, Fixed, Reaction, Rule
from isoswitch.simulators.swarm import settle
from isoswitch.simulators.world import SHOPPER, WALLET, World, bin_rows
from isoswitch.store.port import Verdict
from isoswitch.switch.differences import Configuration
from isoswitch.switch.keyjournal import KeyEvent, read_story
from isoswitch.switch.reload import Reloader
from isoswitch.switch.server import Switch
from isoswitch.switch.settings import SwitchSettings, TlsFiles
from tests.system.test_key_exchange import (
    beside_dying_hsm,
    versions,
    with_key_exchange,
)

NORTH_CARD = get_card("visa-ok")

Change = Callable[[SwitchSettings], SwitchSettings]


class Desk:
    """A running network whose configuration can be changed."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.fault: ConfigError | None = None
        self._next = self._configuration(world.settings, bin_rows())
        self.reloader = Reloader(self.switch, self._next, self._load)

    @property
    def switch(self) -> Switch:
        """The switch as it runs."""
        assert self.world.switch is not None
        return self.world.switch

    async def change(self, change: Change, *, dry_run: bool = False) -> list[str]:
        """Reload with settings that differ."""
        settings = change(self._next.settings)
        routing = RoutingTable(rows_to(settings.endpoints))
        self._next = replace(self._next, settings=settings, routing=routing)
        return await self.reloader.reload(operator="ann", dry_run=dry_run)

    async def route(self, rows: tuple[BinRow, ...]) -> list[str]:
        """Reload with other routes."""
        self._next = replace(self._next, routing=RoutingTable(rows))
        return await self.reloader.reload(operator="ann")

    async def move_store(self, path: str) -> list[str]:
        """Reload a file that names another store."""
        self._next = replace(self._next, lasting={"store.path": path})
        return await self.reloader.reload(operator="ann")

    async def pay(self, terminal: str, name: str = "visa-ok") -> BeliefState:
        """Pay once."""
        belief = await self.world.terminals[terminal].purchase(get_card(name), 1250)
        return belief.state

    async def operator_records(self) -> list[dict[str, Any]]:
        """Give what operators did."""
        assert self.world.store is not None
        records = [each.record for each in await self.world.store.records("")]
        return [each.body for each in records if each.kind is RecordKind.OPERATOR]

    async def _load(self) -> Configuration:
        if self.fault is not None:
            raise self.fault
        return self._next

    def _configuration(
        self, settings: SwitchSettings, rows: tuple[BinRow, ...]
    ) -> Configuration:
        return Configuration(
            settings=settings,
            routing=RoutingTable(rows),
            lasting={"store.path": "var/isoswitch.db"},
            digests={"network.toml": "00" * 32},
        )


@pytest.fixture
async def desk(nursery: trio.Nursery) -> AsyncIterator[Desk]:
    """A network at work, audited at the end."""
    world = World()
    await nursery.start(world.run)
    desk = Desk(world)
    nursery.start_soon(desk.reloader.run)
    yield desk
    verdict = await settle(world)
    assert verdict.is_settled, verdict.describe()


def rows_to(endpoints: Collection[str]) -> list[BinRow]:
    """Give the routes that lead to these endpoints."""
    return [
        row if row.alternate in endpoints else replace(row, alternate="")
        for row in bin_rows()
        if row.primary in endpoints
    ]


def with_endpoint(name: str, **changes: Any) -> Change:
    """Change an endpoint."""

    def change(settings: SwitchSettings) -> SwitchSettings:
        endpoint = replace(settings.endpoints[name], **changes)
        return replace(settings, endpoints={**settings.endpoints, name: endpoint})

    return change


def without(table: str, name: str) -> Change:
    """Remove a row of a table."""

    def change(settings: SwitchSettings) -> SwitchSettings:
        rows = {k: v for k, v in getattr(settings, table).items() if k != name}
        return replace(settings, **{table: rows})

    return change


async def test_what_changes_is_told_written_down_and_done(desk: Desk) -> None:
    changes = await desk.change(without("terminals", "TERM0002"))
    assert changes == ["removed terminal TERM0002"]
    assert await desk.pay("TERM0002") is BeliefState.DECLINED
    assert await desk.pay("TERM0001") is BeliefState.APPROVED
    assert await desk.operator_records() == [
        {
            "order": "reload",
            "operator": "ann",
            "changes": changes,
            "files": {"network.toml": "00" * 32},
        }
    ]


async def test_a_dry_run_tells_and_does_nothing(desk: Desk) -> None:
    changes = await desk.change(without("terminals", "TERM0002"), dry_run=True)
    assert changes == ["removed terminal TERM0002"]
    assert await desk.pay("TERM0002") is BeliefState.APPROVED
    assert await desk.operator_records() == []


async def test_nothing_new_is_nothing_to_do(desk: Desk) -> None:
    assert await desk.change(lambda settings: settings) == []
    assert await desk.operator_records() == []


async def test_what_lasts_is_refused_as_a_whole(desk: Desk) -> None:
    def change(settings: SwitchSettings) -> SwitchSettings:
        return replace(without("terminals", "TERM0002")(settings), node="sw9")

    with pytest.raises(
        ConfigError, match=r"only a restart changes node \(sw1 -> sw9\)"
    ):
        await desk.change(change)
    assert await desk.pay("TERM0002") is BeliefState.APPROVED


async def test_another_store_is_refused(desk: Desk) -> None:
    with pytest.raises(ConfigError, match=r"store.path \(var/isoswitch.db -> x.db\)"):
        await desk.move_store("x.db")


async def test_a_file_that_does_not_hold_changes_nothing(desk: Desk) -> None:
    desk.fault = ConfigError("network.toml, line 7: unknown key")
    with pytest.raises(ConfigError, match="line 7"):
        await desk.change(without("terminals", "TERM0002"))
    assert await desk.pay("TERM0002") is BeliefState.APPROVED


async def test_without_the_store_nothing_changes(desk: Desk) -> None:
    def change(settings: SwitchSettings) -> SwitchSettings:
        fewer = without("terminals", "TERM0002")(settings)
        return with_endpoint("north", request_timeout_s=4.0)(fewer)

    assert desk.world.store is not None
    desk.world.store.is_full = True
    with pytest.raises(StoreUnavailable):
        await desk.change(change)
    desk.world.store.is_full = False
    await trio.sleep(2)
    assert await desk.pay("TERM0002") is BeliefState.APPROVED
    assert len(desk.world.issuers["north"].wires) == 1


async def test_what_cannot_be_read_during_a_reload_is_read_when_it_can(
    nursery: trio.Nursery,
) -> None:
    world = World(change=with_key_exchange(age_s=600))
    await nursery.start(world.run)
    desk = Desk(world)
    nursery.start_soon(desk.reloader.run)
    assert world.store is not None
    assert await desk.pay("TERM0001", "mc-silent") is BeliefState.DECLINED
    world.store.is_unreadable = True
    await desk.change(lambda settings: replace(settings, transaction_timeout_s=9.0))
    await trio.sleep(3)
    world.store.is_unreadable = False
    await trio.sleep(700)
    assert await world.store.pending_saf() == []
    assert (await read_story(world.store, "north/zak")).event is KeyEvent.ACTIVATED
    verdict = await settle(world)
    assert verdict.is_settled, verdict.describe()


async def test_a_part_that_cannot_start_leaves_everything_as_it_was(desk: Desk) -> None:
    def change(settings: SwitchSettings) -> SwitchSettings:
        nowhere = Path("/nowhere/at.pem")
        missing = TlsFiles(certificate=nowhere, key=nowhere, ca=nowhere)
        listener = replace(settings.listeners[0], name="tls", tls=missing)
        return replace(settings, listeners=(*settings.listeners, listener))

    before = dict(desk.switch.listeners)
    with pytest.raises(ConfigError, match="nothing was changed"):
        await desk.change(change)
    assert dict(desk.switch.listeners) == before
    assert await desk.operator_records() == []


@pytest.mark.parametrize(
    "change",
    [
        with_endpoint("north", request_timeout_s=4.0),
        with_endpoint("north", in_flight_max=7, connections=2),
        lambda settings: replace(settings, transaction_timeout_s=9.0),
        without("endpoints", "south"),
    ],
    ids=["timer", "connections", "deadline", "other endpoint removed"],
)
async def test_what_is_in_flight_ends_under_the_settings_it_began_with(
    desk: Desk, change: Change
) -> None:
    slow = Rule(name="slow", then=Reaction(delay=Fixed(delay_s=2.0)), times_max=8)
    desk.world.issuers["north"].set_rules([slow])
    states: list[BeliefState] = []

    async def pay(terminal: str) -> None:
        states.append(await desk.pay(terminal))

    async with trio.open_nursery() as customers:
        for _ in range(4):
            customers.start_soon(pay, "TERM0001")
            customers.start_soon(pay, "TERM0002")
        await trio.sleep(1)
        await desk.change(change)
        # Others begin while the first are in flight.
        for _ in range(4):
            customers.start_soon(pay, "TERM0001")
    assert states == [BeliefState.APPROVED] * 12
    await trio.sleep(30)
    assert await desk.pay("TERM0001") is BeliefState.APPROVED


async def test_a_link_is_replaced_once_its_requests_are_answered(desk: Desk) -> None:
    slow = Rule(name="slow", then=Reaction(delay=Fixed(delay_s=3.0)), times_max=1)
    desk.world.issuers["north"].set_rules([slow])
    old = desk.switch.links["north"]
    async with trio.open_nursery() as customers:
        customers.start_soon(desk.pay, "TERM0001")
        await trio.sleep(1)
        await desk.change(with_endpoint("north", request_timeout_s=4.0))
        new = desk.switch.links["north"]
        assert new is not old
        assert new.is_up
        assert (old.is_up, old.waiting_count) == (True, 1)
    await trio.sleep(1)
    assert not old.is_up
    assert len(desk.world.issuers["north"].wires) == 1


async def test_a_payer_who_is_asked_to_confirm_is_waited_for(
    nursery: trio.Nursery,
) -> None:
    """A payer may take longer to confirm than others take to decide."""
    world = World(with_wallet=True)
    await nursery.start(world.run)
    desk = Desk(world)
    nursery.start_soon(desk.reloader.run)
    terminal = world.terminals["TERM0001"]
    code = world.wallet.show_code(SHOPPER, confirms=True)
    states: list[BeliefState] = []

    async def pay() -> None:
        states.append((await terminal.pay(terminal.build_scan(code, 1250))).state)

    async with trio.open_nursery() as customers:
        customers.start_soon(pay)
        await trio.sleep(1)
        await desk.change(with_endpoint(WALLET, request_timeout_s=4.0))
        await trio.sleep(11.5)
        world.wallet.confirm()
    assert states == [BeliefState.APPROVED]
    verdict = await settle(world)
    assert verdict.is_settled, verdict.describe()


async def test_a_sign_off_never_meets_the_session_that_replaces_its_own(
    desk: Desk,
) -> None:
    """One endpoint may be had once, the other has its next session already."""
    north = desk.world.issuers["north"]

    def change(settings: SwitchSettings) -> SwitchSettings:
        both = with_endpoint("south", owner="sw1")(settings)
        return with_endpoint("north", request_timeout_s=4.0)(both)

    await desk.change(change)
    await trio.sleep(20)
    assert (north.heard[Kind.SIGN_ON], north.heard[Kind.SIGN_OFF]) == (2, 0)
    assert desk.world.issuers["south"].heard[Kind.SIGN_OFF] == 1


async def test_what_is_owed_goes_out_over_the_link_that_replaces_its_own(
    desk: Desk,
) -> None:
    assert await desk.pay("TERM0001", "mc-silent") is BeliefState.DECLINED
    desk.world.cut_link("south")
    await desk.change(with_endpoint("south", request_timeout_s=4.0))
    assert desk.switch.saf is not None
    desk.world.heal_link("south")
    await trio.sleep(60)
    assert desk.switch.saf.waiting_count == 0


async def test_a_removed_endpoint_is_signed_off_and_gets_nothing_more(
    desk: Desk,
) -> None:
    await desk.change(without("endpoints", "south"))
    await trio.sleep(15)
    assert not desk.world.issuers["south"].wires
    assert await desk.pay("TERM0001", "mc-ok") is BeliefState.DECLINED
    assert not desk.world.issuers["south"].bookings.entries


async def test_an_endpoint_that_comes_back_is_asked_again(desk: Desk) -> None:
    south = desk.world.settings.endpoints["south"]
    await desk.change(without("endpoints", "south"))
    await trio.sleep(15)
    changes = await desk.change(
        lambda settings: replace(
            settings, endpoints={**settings.endpoints, "south": south}
        )
    )
    assert "added endpoint south" in changes
    assert await desk.pay("TERM0001", "mc-ok") is BeliefState.APPROVED
    assert len(desk.world.issuers["south"].bookings.entries) == 1


async def test_routes_change_for_the_next_card(desk: Desk) -> None:
    rows = tuple(
        replace(row, primary="south", alternate="")
        if row.digits == NORTH_CARD.pan.leading(8)
        else row
        for row in bin_rows()
    )
    (change,) = await desk.route(rows)
    assert "primary north -> south" in change
    await desk.pay("TERM0001")
    assert not desk.world.issuers["north"].bookings.entries


async def test_a_listener_that_goes_lets_its_terminals_finish(desk: Desk) -> None:
    slow = Rule(name="slow", then=Reaction(delay=Fixed(delay_s=3.0)), times_max=1)
    desk.world.issuers["north"].set_rules([slow])
    gone = desk.switch.listeners["bcd"]

    def change(settings: SwitchSettings) -> SwitchSettings:
        kept = tuple(each for each in settings.listeners if each.name != "bcd")
        return replace(settings, listeners=kept)

    state = None
    async with trio.open_nursery() as customers:

        async def pay() -> None:
            nonlocal state
            state = await desk.pay("TERM0002")

        customers.start_soon(pay)
        await trio.sleep(1)
        assert await desk.change(change) == ["removed listener bcd"]
        assert not gone.is_open
        assert gone.connection_count == 1
    assert state is BeliefState.APPROVED
    await trio.sleep(2)
    assert gone.connection_count == 0


async def test_the_totals_of_a_day_go_to_those_that_reconcile_when_it_is_closed(
    desk: Desk,
) -> None:
    await desk.change(with_endpoint("north", reconciles=True))
    await desk.pay("TERM0001")
    services = desk.switch.services
    assert services is not None
    date = services.days.date
    await services.days.cut(reason="test")
    await trio.sleep(120)
    (told,) = await desk.switch.store.reconciliations(date)
    assert (told.endpoint, told.verdict) == ("north", Verdict.AGREED)


async def test_one_reload_drains_before_the_next(desk: Desk) -> None:
    slow = Rule(name="slow", then=Reaction(delay=Fixed(delay_s=3.0)), times_max=1)
    desk.world.issuers["north"].set_rules([slow])
    async with trio.open_nursery() as customers:
        customers.start_soon(desk.pay, "TERM0001")
        await trio.sleep(1)
        await desk.change(with_endpoint("north", request_timeout_s=4.0))
        with pytest.raises(ConfigError, match="still draining"):
            await desk.change(with_endpoint("north", request_timeout_s=4.5))
    await trio.sleep(5)
    await desk.change(with_endpoint("north", request_timeout_s=4.6))


async def test_what_is_owed_keeps_its_order(nursery: trio.Nursery) -> None:
    """What becomes durable while the reload looks for what is owed comes after it."""
    world = World(store_delay_s=lambda: 0.5)
    await nursery.start(world.run)
    desk = Desk(world)
    nursery.start_soon(desk.reloader.run)
    async with trio.open_nursery() as customers:
        customers.start_soon(desk.pay, "TERM0001", "mc-silent")
        await trio.sleep(1.5)
        customers.start_soon(desk.pay, "TERM0002", "mc-silent")
        # The first payment's reversal is about to go, the second's about to be owed.
        await trio.sleep(6.0)
        await desk.change(with_endpoint("north", request_timeout_s=4.0))
    verdict = await settle(world)
    assert verdict.is_settled, verdict.describe()
    assert list(check_journal(world.disk)) == []


@pytest.mark.parametrize("owner", ["", "sw1"])
async def test_what_is_owed_goes_out_from_the_node_that_connects_now(
    nursery: trio.Nursery, owner: str
) -> None:
    world = World(change=with_endpoint("north", owner=owner), nodes=2)
    await nursery.start(world.run)
    await trio.sleep(10)
    assert world.disk.leases["saf/north"].holder == "1"
    for node in world.nodes:
        settings = with_endpoint("north", owner="sw2")(node.configuration.settings)
        node.configuration = replace(node.configuration, settings=settings)
        await node.have(read_files)
    await trio.sleep(20)
    assert world.disk.leases["saf/north"].holder == "2"
    _, after = world.nodes
    assert after.switch is not None
    silence = Rule(name="silent", then=Reaction(fault=Fault.SILENCE), times_max=1)
    world.issuers["north"].set_rules([silence])
    while not await after.switch.store.pending_saf():
        await world.terminals["TERM0001"].purchase(NORTH_CARD, 1250)
    verdict = await settle(world)
    assert verdict.is_settled, verdict.describe()


async def read_files(_: Switch, reloader: Reloader) -> None:
    """Have a node read its files again."""
    await reloader.reload(operator="ann")


async def test_a_copy_of_an_offer_that_was_declined_before_is_declined_after(
    nursery: trio.Nursery,
) -> None:
    async with beside_dying_hsm(nursery) as (world, dying):
        desk = Desk(world)
        nursery.start_soon(desk.reloader.run)
        dying.broken = ImportKey
        code = await world.issuers["north"].change_key(KeyPurpose.MAC)
        assert code is ResponseCode.SYSTEM_MALFUNCTION
        dying.broken = None
        streams = list(world.streams)
        assert await desk.change(without("terminals", "TERM0002"))
        for stream in streams:
            stream.replay()
        await trio.sleep(5)
        assert await versions(world, "north/zak") == {1: "active"}
        assert await desk.pay("TERM0001") is BeliefState.APPROVED
