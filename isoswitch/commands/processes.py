"""The processes of a network under one parent: start, readiness, drain, kill.

Order matters: the crypto process before the switch, issuers before the switch signs
on, terminals last. Stopping goes the other way round, so that what is in flight can
end. Children run in sessions of their own, so that Ctrl-C reaches the parent only; the
kernel ends them when the parent is killed.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import trio

from isoswitch.commands.console import UNREACHABLE, Failure
from isoswitch.config.load import LoadedNetwork
from isoswitch.config.model import Network
from isoswitch.config.settings import unit_address
from isoswitch.config.workers import portal_port
from isoswitch.switch.sockets import listen_tcp

READY_TIMEOUT_S = 20.0
DRAIN_TIMEOUT_S = 30.0
POLL_S = 0.05
LOG_LINES_SHOWN = 8
PORTAL = "portal"
PORT_MAX = 65_535
EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 (compared, not opened)
_PR_SET_PDEATHSIG = 1

Address = tuple[str, int] | Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One process of a network: its command line, and the addresses it must open."""

    name: str
    command: tuple[str, ...]
    opens: tuple[Address, ...] = ()


def own_command(*arguments: str) -> tuple[str, ...]:
    """Give the command line of this program."""
    return (sys.executable, "-m", "isoswitch", *arguments)


def parts_of(loaded: LoadedNetwork, *, workers: int = 1) -> tuple[Part, ...]:
    """Give the processes of a network in the order of their start."""
    network = loaded.network
    config = ("--config", str(loaded.path))
    several = ("--workers", str(workers)) if workers > 1 else ()
    parts = [
        Part(
            name="hsmd",
            command=own_command("hsmd", *config),
            opens=(loaded.file(network.hsm.socket),),
        )
    ]
    simulators, units = network.simulators, network.hsm.payshield
    if simulators is not None and simulators.payment_hsm and units is not None:
        parts.append(
            Part(
                name="unit",
                command=own_command("simulate", "payshield", *config),
                opens=(unit_address(units.units[0]),),
            )
        )
    if simulators is not None:
        parts.append(
            Part(
                name="issuers",
                command=own_command("simulate", "issuers", *config),
                opens=tuple(address for _, address in _issuer_addresses(network)),
            )
        )
    parts.append(
        Part(
            name="switch",
            command=own_command("serve", *config, *several),
            opens=tuple(address for _, address in _switch_addresses(network, workers)),
        )
    )
    if simulators is not None and simulators.trickle is not None:
        parts.append(
            Part(name="trickle", command=own_command("simulate", "trickle", *config))
        )
    return tuple(parts)


def check_ports_free(
    loaded: LoadedNetwork, *, issuers: bool = True, workers: int = 1
) -> None:
    """Find out before anything starts whether every port can be opened.

    ``issuers=False`` leaves the ports of the simulated issuers out.

    Raises
    ------
    Failure
        A port is taken, or a worker's portal would take that of something else; says
        which, by what it is needed, and what to do.
    """
    network = loaded.network
    wanted = list(_switch_addresses(network, workers))
    if issuers:
        wanted += _issuer_addresses(network)
    _check_ports_differ(wanted)
    for table, (host, port) in wanted:
        try:
            listen_tcp(host, port).close()
        except OSError as exc:
            raise Failure(
                f"{host}:{port}, which [{table}] needs: {exc.strerror}",
                fix=f"stop what listens there (ss -ltnp 'sport = :{port}' names "
                f"it; another `isoswitch up`?) or set another port in [{table}]",
                exit_code=UNREACHABLE,
            ) from None


async def answers(address: Address) -> bool:
    """Tell whether anybody listens at an address."""
    try:
        if isinstance(address, Path):
            stream = await trio.open_unix_socket(os.fspath(address))
        else:
            stream = await trio.open_tcp_stream(*address)
    except OSError:
        return False
    await stream.aclose()
    return True


class Child:
    """One child process, started from the main thread.

    The kernel's signal at a parent's death follows the thread that made the child,
    which is why trio's own processes, made in a worker thread, do not serve here.
    """

    def __init__(self, command: Sequence[str], output: IO[bytes]) -> None:
        self._process = subprocess.Popen(  # noqa: S603 (a part of ours, no shell)
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=_die_with_parent(os.getpid()),  # noqa: PLW1509 (one thread)
        )
        self._descriptor = os.pidfd_open(self._process.pid)

    @property
    def pid(self) -> int:
        """Its process id, which is also that of its session and process group."""
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether it runs no more."""
        return self._process.poll() is not None

    @property
    def exit_text(self) -> str:
        """How it ended, for people."""
        code = self._process.poll()
        if code is not None and code < 0:
            return f"killed by {signal.Signals(-code).name}"
        return f"exit code {code}"

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        if not self.has_ended:
            self._process.send_signal(number)

    async def wait(self) -> None:
        """Wait for its end."""
        await trio.lowlevel.wait_readable(self._descriptor)
        self._process.wait()
        os.close(self._descriptor)


class Processes:
    """The running parts of one network.

    Parameters
    ----------
    folder
        Where the output of each part is kept, as ``<name>.out``.
    """

    def __init__(self, parts: tuple[Part, ...], *, folder: Path) -> None:
        self._parts = {part.name: part for part in parts}
        self._running: dict[str, Child] = {}
        self._folder = folder

    @property
    def names(self) -> tuple[str, ...]:
        """The parts that run, in the order of their start."""
        return tuple(self._running)

    def pid_of(self, name: str) -> int:
        """Give the process id of a running part."""
        return self._running[name].pid

    async def start(self, name: str) -> None:
        """Start a part and wait until it has opened its addresses.

        Raises
        ------
        Failure
            It ended or did not open them in time; says why, as far as it said so.
        """
        part = self._parts[name]
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._output(name).open("ab") as output:
            process = Child(part.command, output)
        self._running[name] = process
        with trio.move_on_after(READY_TIMEOUT_S):
            await self._wait_open(part, process)
            return
        raise self._failure(name, f"did not get ready in {READY_TIMEOUT_S:g} s")

    async def stop(self, name: str) -> None:
        """Ask a part to finish, and end it when it does not in time."""
        process = self._running.pop(name)
        process.send(signal.SIGTERM)
        with trio.CancelScope(shield=True):
            with trio.move_on_after(DRAIN_TIMEOUT_S):
                await process.wait()
                return
            process.send(signal.SIGKILL)
            await process.wait()

    async def kill(self, name: str) -> None:
        """End a part at once, as a power cut would."""
        process = self._running.pop(name)
        process.send(signal.SIGKILL)
        await process.wait()

    async def stop_all(self) -> None:
        """Stop everything, last started first."""
        for name in reversed(self.names):
            await self.stop(name)

    async def wait_any_end(self) -> None:
        """Wait until a part ends that should not.

        Raises
        ------
        Failure
            Always, when it happens; says which part, and what it said last.
        """
        while True:
            for name, process in self._running.items():
                if process.has_ended:
                    del self._running[name]
                    raise self._failure(name, f"ended ({process.exit_text})")
            await trio.sleep(POLL_S)

    async def _wait_open(self, part: Part, process: Child) -> None:
        for address in part.opens:
            while not await answers(address):
                if process.has_ended:
                    del self._running[part.name]
                    raise self._failure(part.name, "could not start")
                await trio.sleep(POLL_S)

    def _output(self, name: str) -> Path:
        return self._folder / f"{name}.out"

    def _failure(self, name: str, what: str) -> Failure:
        """Tell what a part said last; its own errors come first."""
        path = self._output(name)
        text = path.read_text(encoding="utf-8", errors="replace")
        lines = [line for line in text.splitlines() if line.strip()]
        said = [line for line in lines if line.startswith(("error:", "fix:"))][-2:]
        fixes = [line.removeprefix("fix: ") for line in said if line[0] == "f"]
        errors = [line.removeprefix("error: ") for line in said if line[0] == "e"]
        if errors:
            return Failure(
                f"{name} {what}: {errors[-1]}",
                fix=fixes[-1] if fixes else f"see {path}, then isoswitch doctor",
            )
        last = "".join(f"\n  {line}" for line in lines[-LOG_LINES_SHOWN:])
        return Failure(
            f"{name} {what}" + (f"; it said last:{last}" if last else ""),
            fix=f"see {path}, then isoswitch doctor",
        )


def _check_ports_differ(wanted: Sequence[tuple[str, tuple[str, int]]]) -> None:
    """Refuse portals of workers that nothing could open; the file says the rest."""
    portals = [address for table, address in wanted if table == PORTAL]
    for number, (host, port) in enumerate(portals, start=1):
        others = [
            f"is that of [{table}]"
            for table, (other, taken) in wanted
            if table != PORTAL and taken == port and _meet(host, other)
        ]
        if port > PORT_MAX:
            others.append("does not exist")
        if others:
            raise Failure(
                f"the portal of worker {number} would have port {port}, which "
                f"{others[0]}",
                fix="each worker has its portal on a port of its own, counted from "
                "[portal] port: set that where so many in a row are free",
            )


def _meet(host: str, other: str) -> bool:
    return host == other or not EVERYWHERE.isdisjoint((host, other))


def _switch_addresses(
    network: Network, workers: int
) -> Iterator[tuple[str, tuple[str, int]]]:
    """Give what the switch opens, by the table that says so."""
    if network.portal is not None:
        for worker in range(1, workers + 1):
            port = portal_port(network.portal.port, worker)
            yield PORTAL, (network.portal.host, port)
    for name, row in network.listeners.items():
        yield f"listeners.{name}", (row.host, row.port)
    for name, endpoint in network.endpoints.items():
        if endpoint.role == "server":
            yield f"endpoints.{name}", (endpoint.host, endpoint.port)


def _issuer_addresses(network: Network) -> Iterator[tuple[str, tuple[str, int]]]:
    """Give what the simulated issuers open; those that connect to us open nothing."""
    for name in network.simulators.issuers if network.simulators else ():
        endpoint = network.endpoints[name]
        if endpoint.role == "client":
            yield f"endpoints.{name}", (endpoint.host, endpoint.port)
    for name in network.simulators.houses if network.simulators else ():
        house = network.houses[name]
        yield f"houses.{name}", (house.host, house.port)


def _die_with_parent(parent: int) -> Callable[[], None]:
    """Make what a child does first: have the kernel end it when its parent dies."""
    libc = ctypes.CDLL(None, use_errno=True)

    def prepare() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return prepare
