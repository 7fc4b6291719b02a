"""What is shipped for operators holds: checked by the programs that read it."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
import trio

from isoswitch.config.load import load_network, packaged_network
from tests.live.balancer import write_balancer
from tests.live.network import free_ports

pytestmark = pytest.mark.live

DEPLOY = Path(__file__).parents[2] / "deploy"
PATIENCE_S = 20.0


def test_haproxy_takes_its_configuration() -> None:
    done = subprocess.run(
        [haproxy_program(), "-c", "-f", DEPLOY / "haproxy.cfg"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr


async def test_terminals_keep_a_node_that_drains_and_leave_one_that_hangs(
    tmp_path: Path,
) -> None:
    path = tmp_path / "haproxy.cfg"
    *ports, portal = free_ports(5)
    listeners = dict(zip(("ascii", "bcd", "tls", "caaa"), ports, strict=True))
    hosts = {1: "127.0.1.1", 2: "127.0.1.2", 3: "127.0.1.3"}
    write_balancer(path, hosts=hosts, listeners=listeners, portal=portal)
    workers = [Worker(), Worker()]
    # One that follows another, so that this is seen to hold for each listener.
    port = listeners["tls"]
    async with trio.open_nursery() as nursery:
        for number, worker in enumerate(workers):
            await nursery.start(worker.run, hosts[1], portal + number)
        await nursery.start(partial(trio.serve_tcp, echo, port, host=hosts[1]))
        async with haproxy(path) as said, AsyncExitStack() as stack:
            await heard(said, "tls_nodes/node-b is DOWN", "tls_nodes/node-c is DOWN")
            terminal = await trio.open_tcp_stream("127.0.0.1", port)
            await stack.enter_async_context(terminal)
            assert await repeated(terminal)
            workers[0].scope.cancel()
            await heard(said, "Server node-a/1 is DOWN")
            workers[1].status = 404
            await heard(said, "tls_nodes/node-a is stopping")
            assert await repeated(terminal)
            async with await trio.open_tcp_stream("127.0.0.1", port) as newcomer:
                assert not await repeated(newcomer)
            workers[1].status = None
            await heard(said, "tls_nodes/node-a is DOWN")
            assert not await repeated(terminal)
        nursery.cancel_scope.cancel()


def test_haproxy_has_a_way_to_every_listener_and_asks_the_portal() -> None:
    text = (DEPLOY / "haproxy.cfg").read_text(encoding="utf-8")
    network = load_network(packaged_network()).network
    assert network.portal is not None
    for name, listener in network.listeners.items():
        assert f"frontend {name}\n    bind :{listener.port}\n" in text
        servers = re.findall(rf"server node-\w [\d.]+:{listener.port} ", text)
        assert len(servers) == 3
    for worker in (1, 2):
        port = network.portal.port + worker - 1
        assert len(re.findall(rf"server {worker} [\d.]+:{port}\n", text)) == 3
    assert "GET /health/ready" in text


@pytest.mark.parametrize("unit", ["isoswitch", "isoswitch-hsmd"])
def test_systemd_units_call_commands_that_exist(unit: str) -> None:
    from typer.main import get_command

    from isoswitch.cli import app

    text = (DEPLOY / f"{unit}.service").read_text(encoding="utf-8")
    (line,) = re.findall(
        r"^ExecStart=/opt/isoswitch/bin/isoswitch (.*)$", text, re.MULTILINE
    )
    name, *arguments = line.split()
    command = get_command(app).get_command(None, name)  # type: ignore[attr-defined]
    known = {option for each in command.params for option in each.opts}
    assert {each for each in arguments if each.startswith("--")} <= known


@pytest.mark.parametrize(
    "unit", sorted(DEPLOY.glob("*.service")), ids=lambda unit: unit.stem
)
def test_a_unit_that_crashes_takes_no_other_with_it(unit: Path) -> None:
    # systemd restarts what requires a unit together with it (systemd.unit(5)).
    bound = r"^(Requires|Requisite|BindsTo|PartOf|Upholds)="
    assert not re.search(bound, unit.read_text(encoding="utf-8"), re.MULTILINE)


@dataclass
class Worker:
    """Stands for the portal of a worker; says nothing without a status."""

    status: int | None = 200
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    async def say(self, stream: trio.SocketStream) -> None:
        """Answer the one question of a connection, whether it is ready."""
        await stream.receive_some()
        if self.status is None:
            await trio.sleep_forever()
        await stream.send_all(f"HTTP/1.0 {self.status} said\r\n\r\n".encode())

    async def run(
        self, host: str, port: int, *, task_status: trio.TaskStatus[object]
    ) -> None:
        """Answer until it is taken away."""
        with self.scope:
            await trio.serve_tcp(self.say, port, host=host, task_status=task_status)


async def echo(stream: trio.SocketStream) -> None:
    """Be a node to a terminal: give everything back."""
    async for data in stream:
        await stream.send_all(data)


async def repeated(terminal: trio.SocketStream) -> bool:
    """Tell whether a node gives back what a terminal sends."""
    with trio.fail_after(PATIENCE_S), suppress(trio.BrokenResourceError):
        await terminal.send_all(b"0200")
        return await terminal.receive_some() == b"0200"
    return False


@asynccontextmanager
async def haproxy(path: Path) -> AsyncIterator[trio.abc.ReceiveStream]:
    """Run HAProxy for a block; gives what it says."""
    process = await trio.lowlevel.open_process(
        [haproxy_program(), "-db", "-f", str(path)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None, "it was started with a pipe"
    try:
        yield process.stdout
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            await process.stdout.aclose()


async def heard(said: trio.abc.ReceiveStream, *words: str) -> None:
    """Wait until HAProxy says all of this."""
    text = ""
    with trio.fail_after(PATIENCE_S):
        while not all(each in text for each in words):
            text += (await said.receive_some()).decode()


def haproxy_program() -> str:
    """Give the program, or skip the test where there is none."""
    program = shutil.which("haproxy", path="/usr/sbin:/usr/bin")
    if program is None:
        pytest.skip("no haproxy here: .ci/packages haproxy installs it")
    return program
