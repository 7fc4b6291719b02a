"""A network of processes under customers who do all they can, and how it came out."""

from __future__ import annotations

import os
import socket
import statistics
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import cast

import httpx
import trio

from isoswitch.codecs.canonical.codes import Kind
from isoswitch.codecs.canonical.sealing import load_outcome
from isoswitch.commands.ends import keyring_of
from isoswitch.commands.processes import Part, Processes, parts_of
from isoswitch.commands.setup import ensure
from isoswitch.config.load import LoadedNetwork, load_network
from isoswitch.simulators.auditor import Finding, Verdict, audit, read_store
from isoswitch.simulators.bookings import Bookings, read_bookings
from isoswitch.simulators.consistency import check_journal
from isoswitch.simulators.customers import VISITS, Visit, come, draw_card
from isoswitch.simulators.keyring import Keyring
from isoswitch.simulators.shoppers import Shoppers
from isoswitch.simulators.terminal import Terminal
from isoswitch.store.disk import MemoryDisk
from isoswitch.store.port import LIMIT_MAX
from isoswitch.store.reader import open_reader
from tests.hsm.softhsm import require_softhsm
from tests.live.live_network import Site
from tests.live.network import write_network

SEED = int(os.environ.get("ISOSWITCH_SEED", "20261122"))
PAUSE_S_MAX = 0.6
READY_S = 30.0
REST_S = 120.0
LOOK_S = 0.02
TIMERS = {
    "terminal_s": 3.0,
    "switch_s": 2.0,
    "issuer_s": 1.0,
    "margin_s": 0.5,
    "confirm_s": 2.0,
}
FAST_LINK = """
saf_retry_s = 0.2
saf_retry_max_s = 0.5
reconnect_max_s = 0.4
"""
BY_CARD = {
    name: VISITS[name]
    for name in (
        "pays",
        "pays and cancels",
        "loses patience",
        "pays at a dying terminal",
        "pays and asks again",
        "takes cash",
        "asks for the balance",
        "asks for a statement",
        "has a card verified",
        "asks for cash back",
        "tells of a payment",
        "sets aside and completes",
        "sets aside and voids",
        "pays and voids",
        "pays and brings back",
        "pays and takes less",
    )
}
PARTS = ("hsmd", "issuers", "switch")
NOWHERE_ELSE: Mapping[int, str] = {}

PartsOf = Callable[[LoadedNetwork], tuple[Part, ...]]


@dataclass(kw_only=True)
class Drill(Site):
    """A network of processes under customers, and the tally of what it went through.

    ``hosts`` gives the addresses of switches that have a machine of their own, by their
    number.
    """

    processes: Processes
    keyring: Keyring
    terminals: tuple[Terminal, ...]
    random: Random
    kills: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    accusations: list[str] = field(default_factory=list)
    recoveries_s: list[float] = field(default_factory=list)
    hosts: Mapping[int, str] = field(default_factory=dict)
    over: trio.Event = field(default_factory=trio.Event)

    async def serve_customer(self, terminal: Terminal, number: int) -> None:
        """Have one customer after the other at a terminal until the drill is over."""
        random = Random(f"{SEED} {terminal.profile.terminal_id} {number}")
        while not self.over.is_set():
            visit = Visit(
                terminal=terminal,
                card=draw_card(random),
                # Who pays without a card needs a world in this process.
                shoppers=cast("Shoppers", None),
                random=random,
                counts=self.counts,
                accuse=self.accusations.append,
                note=lambda _: None,
            )
            await come(visit, PAUSE_S_MAX, visits=BY_CARD)

    async def kill(self, name: str) -> None:
        """Kill a part and start it again; of the switch, note how long it was away."""
        killed_at = trio.current_time()
        await self.processes.kill(name)
        await self.processes.start(name)
        self.kills[name] += 1
        await self.wait_ready()
        if name == "switch":
            self.recoveries_s.append(trio.current_time() - killed_at)

    async def wait_ready(self, worker: int = 1) -> None:
        """Wait until the switch, or a worker, says that it takes money."""
        portal = self.loaded.network.portal
        assert portal is not None, "the packaged network has one"
        host, port = portal.host, portal.port + worker - 1
        if worker in self.hosts:
            host, port = self.hosts[worker], portal.port
        url = f"http://{host}:{port}/health/ready"
        async with httpx.AsyncClient() as client:
            with trio.fail_after(READY_S):
                while (await client.get(url)).status_code != httpx.codes.OK:
                    await trio.sleep(LOOK_S)

    async def settled(self) -> Verdict:
        """Let what is under way come to rest, then compare all sides."""
        with trio.move_on_after(REST_S):
            while not self.compare().is_settled:
                await trio.sleep(1.0)
        return self.compare()

    def compare(self) -> Verdict:
        """Compare what terminals, store and issuers' books say."""
        with open_reader(self.loaded.store) as reader:
            view = read_store(reader)
        return audit(
            view=view,
            bookings={name: self.books(name) for name in self.loaded.network.endpoints},
            beliefs=[b for each in self.terminals for b in each.beliefs],
        )

    def books(self, issuer: str) -> Bookings:
        """Read what an issuer's process has booked in all its lives."""
        books = Bookings()
        for booking in read_bookings(
            self.store_path.with_name(f"books-{issuer}.jsonl")
        ):
            books.add(booking)
        return books

    def contradictions(self) -> list[Finding]:
        """Give everything on which the store contradicts itself."""
        with open_reader(self.loaded.store) as reader:
            disk = MemoryDisk(
                links=list(reader.links()),
                transactions={
                    row.id: row for row in reader.transactions(limit=LIMIT_MAX)
                },
                saf={entry.id: entry for entry in reader.saf()},
            )
        return list(check_journal(disk))

    def kinds(self) -> Counter[Kind]:
        """Count what was approved, by kind."""
        with open_reader(self.loaded.store) as reader:
            rows = reader.transactions(limit=LIMIT_MAX)
        return Counter(
            Kind(row.kind)
            for row in rows
            if row.outcome and load_outcome(row.outcome).is_approved
        )

    def describe(self, verdict: Verdict) -> str:
        """Tell what the drill came to."""
        times = self.recoveries_s or [0.0]
        head = (
            f"{self.kills.total()} kills ({counted(self.kills)}), seed {SEED}; from "
            f"SIGKILL of the switch to ready again: median "
            f"{statistics.median(times):.2f} s, worst {max(times):.2f} s"
        )
        kinds, counts = counted(self.kinds()), counted(self.counts)
        return "\n".join([head, verdict.describe(), f"  {kinds}", f"  {counts}"])


def crowd() -> float:
    """Give how many there are for each CPU, and with it how long all takes."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def single_switch(loaded: LoadedNetwork) -> tuple[Part, ...]:
    """Give the parts of a network of one switch, without its trickle."""
    return tuple(part for part in parts_of(loaded) if part.name in PARTS)


@asynccontextmanager
async def drilled(
    folder: Path,
    *,
    parts: PartsOf = single_switch,
    customers_count: int = 4,
    hosts: Mapping[int, str] = NOWHERE_ELSE,
) -> AsyncIterator[Drill]:
    """Run a network under customers; afterwards let it come to rest and stop it."""
    require_softhsm()
    tables = {"endpoints.north": FAST_LINK, "endpoints.south": FAST_LINK}
    while True:
        loaded = load_network(write_network(folder, values=TIMERS, tables=tables))
        wanted = parts(loaded)
        if all(_is_free(port) for part in wanted for port in _ports(part)):
            break
    ensure(loaded)
    site = Site(loaded=loaded)
    drill = Drill(
        loaded=loaded,
        processes=Processes(wanted, folder=folder / "var"),
        keyring=keyring_of(loaded),
        terminals=tuple(site.terminal(name) for name in loaded.network.terminals),
        random=Random(SEED),
        hosts=hosts,
    )
    async with trio.open_nursery() as nursery:
        try:
            for part in wanted:
                await drill.processes.start(part.name)
            for terminal in drill.terminals:
                await nursery.start(terminal.run)
            await drill.wait_ready()
            async with trio.open_nursery() as customers:
                for terminal in drill.terminals:
                    for number in range(customers_count):
                        customers.start_soon(drill.serve_customer, terminal, number)
                yield drill
                drill.over.set()
                customers.cancel_scope.deadline = trio.current_time() + REST_S
            await drill.settled()
        finally:
            with trio.CancelScope(shield=True):
                await drill.processes.stop_all()
        nursery.cancel_scope.cancel()


def counted(counts: Counter[str] | Counter[Kind]) -> str:
    """Tell how often each happened."""
    return ", ".join(f"{name} {times}" for name, times in sorted(counts.items()))


def _ports(part: Part) -> list[int]:
    return [address[1] for address in part.opens if isinstance(address, tuple)]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
