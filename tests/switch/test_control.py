"""Orders to a running switch over its own socket."""

from __future__ import annotations

import os
import resource
import socket
from pathlib import Path

import pytest
import trio
import trio.testing

from isoswitch.codecs.canonical.errors import ConfigError, SwitchUnavailable
from isoswitch.journal.records import RecordKind
from isoswitch.simulators.world import World
from isoswitch.switch.control import (
    ConfirmClock,
    CutDay,
    Desk,
    ExchangeKeys,
    OrderLink,
    ReadLinks,
    ReadStatus,
    Reload,
    RetrySaf,
    control_path,
    send_order,
    serve_control,
)
from isoswitch.switch.differences import Configuration
from isoswitch.switch.health import Part
from isoswitch.switch.keyexchange import Change
from isoswitch.switch.linkstate import LinkState, LinkStatus
from isoswitch.switch.reload import Reloader
from isoswitch.switch.status import Status
from tests.system.test_key_exchange import with_key_exchange


@pytest.fixture
async def world(nursery: trio.Nursery) -> World:
    """A network whose links may change their keys."""
    world = World(change=with_key_exchange())
    await nursery.start(world.run)
    return world


@pytest.fixture
async def path(nursery: trio.Nursery, world: World, tmp_path: Path) -> Path:
    """The socket of its switch."""
    assert world.switch is not None
    path = control_path(tmp_path / "switch.db")
    await nursery.start(serve_control, Desk(switch=world.switch), path)
    return path


async def test_an_order_changes_keys_and_tells_what_became_of_them(path: Path) -> None:
    assert (await trio.Path(path).stat()).st_mode & 0o777 == 0o600
    changes = await send_order(
        path, ExchangeKeys(endpoint="north", operator="ann"), list[Change]
    )
    assert [(each.key, each.version, each.result) for each in changes] == [
        ("north/zpk", 2, "changed"),
        ("north/zak", 2, "changed"),
    ]


async def test_the_order_to_cut_the_day_gives_the_next_and_is_recorded(
    world: World, path: Path
) -> None:
    assert await send_order(path, CutDay(operator="ann"), str) == "2026-06-02"
    assert world.store is not None
    told = [each.record for each in await world.store.records("")]
    (order,) = [each for each in told if each.kind is RecordKind.OPERATOR]
    assert order.body == {"order": "cut day", "operator": "ann", "date": "2026-06-01"}
    assert [day.date for day in await world.store.days()] == [
        "2026-06-01",
        "2026-06-02",
    ]


async def test_an_order_that_cannot_be_done_says_why(path: Path) -> None:
    with pytest.raises(ConfigError, match="key_exchange"):
        await send_order(
            path, ExchangeKeys(endpoint="nobody", operator="ann"), list[Change]
        )


@pytest.mark.parametrize("line", [b"hello\n", b"{}\n", b"x" * 10_000])
async def test_what_is_no_order_is_refused(path: Path, line: bytes) -> None:
    async with await trio.open_unix_socket(os.fspath(path)) as stream:
        await stream.send_all(line)
        assert b"not an order" in await stream.receive_some()


async def test_an_order_waits_while_no_descriptor_is_free(path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with trio.socket.socket(socket.AF_UNIX) as client:
        # Standard input, output and error are open: nothing else can be opened.
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
        try:
            await client.connect(os.fspath(path))
            await client.send(b"an order\n")
            await trio.testing.wait_all_tasks_blocked(cushion=0.02)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert b"not an order" in await client.recv(100)


async def test_an_order_that_fails_by_a_fault_of_ours_ends_nothing_else(
    nursery: trio.Nursery, world: World, tmp_path: Path
) -> None:
    async def load() -> Configuration:
        await trio.Path(tmp_path / "gone.toml").read_bytes()
        raise AssertionError

    assert world.switch is not None
    reloader = Reloader(world.switch, world.nodes[0].configuration, load)
    path = control_path(tmp_path / "switch.db")
    desk = Desk(switch=world.switch, reloader=reloader)
    await nursery.start(serve_control, desk, path)
    with pytest.raises(ConfigError, match="a fault of ours"):
        await send_order(path, Reload(operator="ann"), list[str])
    assert (await send_order(path, ReadStatus(operator="ann"), Status)).is_ready


@pytest.mark.parametrize("number", [0, 2**63])
async def test_no_store_has_an_entry_of_that_number(path: Path, number: int) -> None:
    with pytest.raises(ConfigError, match=r"not an order: Expected `int` [<>]= "):
        await send_order(path, RetrySaf(entry=number, operator="ann"), str)


async def test_without_a_switch_an_order_says_where_none_is(tmp_path: Path) -> None:
    order = ExchangeKeys(endpoint="north", operator="ann")
    with pytest.raises(SwitchUnavailable, match=r"takes orders at .*switch\.control"):
        await send_order(tmp_path / "switch.control", order, list[Change])


async def test_a_switch_tells_how_it_stands(path: Path) -> None:
    status = await send_order(path, ReadStatus(operator="ann"), Status)
    assert status.is_ready
    assert [(each.name, each.is_up) for each in status.endpoints] == [
        ("north", True),
        ("south", True),
    ]


async def test_a_clock_in_doubt_is_confirmed_by_name(path: Path, world: World) -> None:
    assert world.switch is not None
    order = ConfirmClock(operator="ann")
    assert not await send_order(path, order, bool)
    world.switch.health.report(Part.CLOCK, "it jumped")
    assert await send_order(path, order, bool)
    assert not world.switch.health.conditions
    assert world.store is not None
    records = [each.record for each in await world.store.records("")]
    (said,) = [each for each in records if each.kind is RecordKind.OPERATOR]
    assert said.body == {"order": "confirm clock", "operator": "ann"}


async def test_an_order_suspends_a_link_and_the_list_tells(path: Path) -> None:
    suspend = OrderLink(endpoint="north", act="suspend", operator="ann")
    done = await send_order(path, suspend, LinkStatus)
    assert (done.state, done.halted_by) == (LinkState.SUSPENDED, ["operator"])
    listed = await send_order(path, ReadLinks(operator="ann"), list[LinkStatus])
    assert [(each.endpoint, each.state) for each in listed] == [
        ("north", LinkState.SUSPENDED),
        ("south", LinkState.SIGNED_ON),
    ]
    resume = OrderLink(endpoint="north", act="resume", operator="ann")
    assert (await send_order(path, resume, LinkStatus)).state is LinkState.SIGNED_ON


async def test_a_link_that_does_not_exist_cannot_be_ordered(path: Path) -> None:
    with pytest.raises(ConfigError, match="isoswitch links"):
        await send_order(
            path,
            OrderLink(endpoint="nobody", act="suspend", operator="ann"),
            LinkStatus,
        )
