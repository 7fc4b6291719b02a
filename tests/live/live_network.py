"""A switch and its crypto process as real processes; the other ends live in the test.

What the ends believe and booked can then be compared with what the switch stored, as
often as the switch is killed meanwhile.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import trio

from isoswitch.commands.ends import keyring_of, make_issuer, make_terminal
from isoswitch.commands.processes import Processes, parts_of
from isoswitch.commands.setup import ensure
from isoswitch.config.load import LoadedNetwork, load_network
from isoswitch.simulators.auditor import Verdict, audit, read_store
from isoswitch.simulators.issuer import Issuer
from isoswitch.simulators.keyring import Keyring
from isoswitch.simulators.terminal import Terminal
from isoswitch.store.reader import open_reader
from tests.hsm.softhsm import require_softhsm
from tests.live.network import FASTER, NO_TABLES, read_until, running, write_network

PATIENCE_S = 30.0
LOOK_S = 0.003
KILL_TIMERS: Mapping[str, float] = {
    "terminal_s": 1.6,
    "switch_s": 1.0,
    "issuer_s": 0.5,
    "margin_s": 0.25,
    "confirm_s": 1.0,
}
"""Short waits, so that a switch that is killed often is soon at rest again."""


Tap = Callable[[str, trio.abc.Stream], trio.abc.Stream]


def untapped(name: str, stream: trio.abc.Stream) -> trio.abc.Stream:
    """Leave a stream as it is."""
    del name
    return stream


@dataclass(kw_only=True)
class Site:
    """A running network as its files and addresses show it."""

    loaded: LoadedNetwork

    @property
    def store_path(self) -> Path:
        """The store's file."""
        return self.loaded.file(self.loaded.network.store.path)

    @property
    def log_path(self) -> Path:
        """The switch's log."""
        assert self.loaded.network.log.path is not None, "the network has a log file"
        return self.loaded.file(self.loaded.network.log.path)

    def log_lines(self, event: str = "") -> list[dict[str, Any]]:
        """Give the log lines of one event, or all."""
        # A line is not whole before its end is written.
        lines = self.log_path.read_bytes().split(b"\n")[:-1]
        told = [json.loads(line) for line in lines]
        return [line for line in told if event in {"", line["event"]}]

    def address(self, listener: str) -> tuple[str, int]:
        """Give the address of a listener."""
        row = self.loaded.network.listeners[listener]
        return row.host, row.port

    def terminal(self, name: str) -> Terminal:
        """Make a terminal that comes back at once when its connection breaks."""
        terminal = make_terminal(self.loaded, name)
        terminal.profile = replace(
            terminal.profile, reconnect_s=0.05, reversal_retry_s=1.0
        )
        return terminal


@dataclass(kw_only=True)
class LiveNetwork(Site):
    """A site whose terminals and issuers live in this process."""

    processes: Processes
    keyring: Keyring
    issuers: Mapping[str, Issuer]
    terminals: Mapping[str, Terminal]

    @property
    def switch_pid(self) -> int:
        """The process id of the switch."""
        return self.processes.pid_of("switch")

    @property
    def crypto_pid(self) -> int:
        """The process id of the crypto process, which leads a process group."""
        return self.processes.pid_of("hsmd")

    @property
    def has_switch_ended(self) -> bool:
        """Whether the switch runs no more."""
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.switch_pid, options) is not None

    async def kill_switch(self) -> None:
        """End the switch by SIGKILL."""
        await self.processes.kill("switch")

    async def start_switch(self) -> None:
        """Start the switch and wait until it takes connections."""
        await self.processes.start("switch")

    def compare(self) -> Verdict:
        """Compare what terminals, switch and issuers say."""
        with open_reader(self.store_path) as reader:
            view = read_store(reader)
        return audit(
            view=view,
            bookings={name: each.bookings for name, each in self.issuers.items()},
            beliefs=[b for each in self.terminals.values() for b in each.beliefs],
        )

    async def settled(self) -> Verdict:
        """Let what is under way come to rest, then compare all sides."""
        with trio.move_on_after(PATIENCE_S):
            while not self.compare().is_settled:
                await trio.sleep(0.1)
        return self.compare()


@contextmanager
def running_site(
    folder: Path,
    *,
    values: Mapping[str, object] = FASTER,
    tables: Mapping[str, str] = NO_TABLES,
) -> Iterator[Site]:
    """Run ``isoswitch up`` in a folder until the block ends."""
    require_softhsm()
    loaded = load_network(write_network(folder, values=values, tables=tables))
    with running(folder, "up", "--no-trickle", mark=str(folder)) as process:
        read_until(process, "Ctrl-C stops the network")
        yield Site(loaded=loaded)


@asynccontextmanager
async def live_network(
    folder: Path,
    *,
    values: Mapping[str, object] = KILL_TIMERS,
    tables: Mapping[str, str] = NO_TABLES,
    tap: Tap = untapped,
) -> AsyncIterator[LiveNetwork]:
    """Run a network in a folder until the block ends; stop its processes always.

    ``tap`` may listen to what comes in at the issuer of a name, and what goes out.
    """
    require_softhsm()
    loaded = load_network(write_network(folder, values=values, tables=tables))
    ensure(loaded)
    site = Site(loaded=loaded)
    network = LiveNetwork(
        loaded=loaded,
        processes=Processes(parts_of(loaded), folder=folder / "var"),
        keyring=keyring_of(loaded),
        issuers={name: make_issuer(loaded, name) for name in loaded.network.endpoints},
        terminals={name: site.terminal(name) for name in loaded.network.terminals},
    )
    async with trio.open_nursery() as nursery:
        for name, issuer in network.issuers.items():
            row = loaded.network.endpoints[name]
            listeners = await trio.open_tcp_listeners(row.port, host=row.host)
            serve = partial(_serve, issuer, partial(tap, name))
            nursery.start_soon(trio.serve_listeners, serve, listeners)
        try:
            await network.processes.start("hsmd")
            await network.processes.start("switch")
            for terminal in network.terminals.values():
                await nursery.start(terminal.run)
            yield network
        finally:
            with trio.CancelScope(shield=True):
                await network.processes.stop_all()
        nursery.cancel_scope.cancel()


async def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait for something that another process does or writes."""
    with trio.move_on_after(PATIENCE_S):
        while not condition():
            await trio.sleep(LOOK_S)
        return
    msg = f"no {what} in {PATIENCE_S:g} s"
    raise AssertionError(msg)


async def _serve(
    issuer: Issuer,
    tap: Callable[[trio.abc.Stream], trio.abc.Stream],
    stream: trio.abc.Stream,
) -> None:
    await issuer.serve_stream(tap(stream))
