"""Orders to a running switch over its own socket."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

from isoswitch.codecs.canonical.errors import ConfigError
from isoswitch.simulators.world import World
from isoswitch.switch.control import Order, control_path, send_order, serve_control
from tests.system.test_key_exchange import with_key_exchange


@pytest.fixture
async def path(nursery: trio.Nursery, tmp_path: Path) -> Path:
    """The socket of a running switch whose links may change their keys."""
    world = World(change=with_key_exchange())
    await nursery.start(world.run)
    assert world.switch is not None
    path = control_path(tmp_path / "switch.db")
    await nursery.start(serve_control, world.switch, path)
    return path


async def test_an_order_changes_keys_and_tells_what_became_of_them(path: Path) -> None:
    assert (await trio.Path(path).stat()).st_mode & 0o777 == 0o600
    changes = await send_order(path, Order(endpoint="north", operator="ann"))
    assert [(each.key, each.version, each.result) for each in changes] == [
        ("north/zpk", 2, "changed"),
        ("north/zak", 2, "changed"),
    ]


async def test_an_order_that_cannot_be_done_says_why(path: Path) -> None:
    with pytest.raises(ConfigError, match="key_exchange"):
        await send_order(path, Order(endpoint="nobody", operator="ann"))


@pytest.mark.parametrize("line", [b"hello\n", b"{}\n", b"x" * 10_000])
async def test_what_is_no_order_is_refused(path: Path, line: bytes) -> None:
    async with await trio.open_unix_socket(os.fspath(path)) as stream:
        await stream.send_all(line)
        assert b"not an order" in await stream.receive_some()


async def test_without_a_switch_an_order_says_what_to_start(tmp_path: Path) -> None:
    order = Order(endpoint="north", operator="ann")
    with pytest.raises(ConfigError, match="isoswitch serve"):
        await send_order(tmp_path / "switch.control", order)
