"""A node is parted from everything: terminals, issuers, the other nodes, the database.

Three switches on machines of their own (network namespaces) share a PostgreSQL that
they reach over the network; terminals come through HAProxy, by the configuration that
we ship. The network of one machine goes dark without a word while customers pay. The
others must take over, and the parted node must do nothing more: neither while it is
alone nor when it is back. Then all sides are compared transaction by transaction.
``make drills ROUNDS=3`` parts each of the nodes.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from isoswitch.commands.processes import Part, own_command, parts_of
from isoswitch.config.load import STORE_URL, LoadedNetwork, load_network
from isoswitch.store.place import DatabaseUrl
from tests.live.balancer import write_balancer
from tests.live.conftest import Tell
from tests.live.drill import Drill, PartsOf, drilled
from tests.live.machines import Machines, machines
from tests.live.takeovers import assert_agreed, boot_of, gives_up, taken_over
from tests.postgres import new_database, running_server, temporary_folder

pytestmark = pytest.mark.live

ROUNDS = int(os.environ.get("ISOSWITCH_ROUNDS", "1"))
NODES = (1, 2, 3)
WORK_S = 3.0


async def test_a_node_without_network_does_nothing_and_others_take_over(
    tmp_path: Path, tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = shutil.which("haproxy", path="/usr/sbin:/usr/bin")
    if program is None:
        pytest.skip("no haproxy here: .ci/packages haproxy installs it")
    takeovers: list[float] = []
    with machines(len(NODES)) as network, database(network) as url:
        monkeypatch.setenv(STORE_URL, url.reveal())
        async with drilled(
            tmp_path,
            parts=scattered(network, balancer=program),
            customers_count=2,
            hosts={number: network.address(number) for number in NODES},
        ) as drill:
            for number in NODES:
                await drill.wait_ready(number)
            for turn in range(ROUNDS):
                await trio.sleep(WORK_S)
                takeovers.append(await part(drill, network, NODES[turn % len(NODES)]))
            await trio.sleep(WORK_S)
        assert_agreed(drill, takeovers, tell)


async def part(drill: Drill, network: Machines, number: int) -> float:
    """Part a node until the others have taken over; back again, it must give up."""
    boot = await boot_of(drill, number, joint="-")
    network.part(number)
    taken_s = await taken_over(drill, boot)
    await trio.sleep(WORK_S)
    network.rejoin(number)
    await gives_up(drill, f"node{number}")
    await drill.wait_ready(number)
    drill.kills["parted"] += 1
    return taken_s


def scattered(network: Machines, *, balancer: str) -> PartsOf:
    """Make what gives the parts of a network whose switches have their own machines."""

    def parts(loaded: LoadedNetwork) -> tuple[Part, ...]:
        portal = loaded.network.portal
        assert portal is not None, "the packaged network has one"
        files = {number: place(loaded, network, number) for number in NODES}
        others = {part.name: part for part in parts_of(load_network(files[1]))}
        listeners = loaded.network.listeners.values()
        proxy = Part(
            name="haproxy",
            command=(balancer, "-f", str(balance(loaded, network))),
            opens=tuple(("127.0.0.1", each.port) for each in listeners),
        )
        nodes = [
            Part(
                name=f"node{number}",
                command=network.command(
                    number, *own_command("serve", "--config", str(path))
                ),
                opens=((network.address(number), portal.port),),
            )
            for number, path in files.items()
        ]
        return others["hsmd"], others["issuers"], *nodes, proxy

    return parts


def place(loaded: LoadedNetwork, network: Machines, number: int) -> Path:
    """Write the configuration of one node: its name, its addresses, its own files."""
    text = loaded.path.read_text(encoding="utf-8")
    node = loaded.network.switch.node
    text = text.replace(f'node = "{node}"', f'node = "{node}-{number}"')
    text = re.sub(r'"(var/isoswitch)\.(db|log)"', rf'"\1.{number}.\2"', text)
    for tables, host in (
        (r"listeners\.\w+|portal", network.address(number)),
        (r"endpoints\.\w+|houses\.\w+", network.here),
    ):
        text, places = re.subn(
            rf"^\[({tables})\].*$", rf'\g<0>\nhost = "{host}"', text, flags=re.MULTILINE
        )
        assert places, f"no table {tables} in the packaged network"
    path = loaded.path.with_name(f"node{number}.toml")
    path.write_text(text, encoding="utf-8")
    return path


def balance(loaded: LoadedNetwork, network: Machines) -> Path:
    """Write the configuration of HAProxy that we ship, with the ports in use here."""
    portal = loaded.network.portal
    assert portal is not None, "the packaged network has one"
    path = loaded.path.with_name("haproxy.cfg")
    write_balancer(
        path,
        hosts={number: network.address(number) for number in NODES},
        listeners={
            name: listener.port for name, listener in loaded.network.listeners.items()
        },
        portal=portal.port,
    )
    return path


@contextmanager
def database(network: Machines) -> Iterator[DatabaseUrl]:
    """Run a database that the machines reach over the network."""
    with temporary_folder() as folder:
        access = folder / "pg_hba.conf"
        access.write_text(
            f"local all all trust\nhost all all {network.network} trust\n"
        )
        access.chmod(0o644)
        settings = f"listen_addresses = '{network.here}'\nhba_file = '{access}'\n"
        with running_server(folder / "server", settings=settings) as server:
            there = new_database(server).reveal()
            yield DatabaseUrl(re.sub(r"host=[^&]*", f"host={network.here}", there))
