"""``isoswitch up``: the whole network under one parent, until Ctrl-C."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from shlex import quote

import trio
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.text import Text

from isoswitch.commands.console import OK, plain_table, stdout
from isoswitch.commands.database import LocalServer
from isoswitch.commands.processes import Part, Processes, check_ports_free, parts_of
from isoswitch.commands.running import run_trio
from isoswitch.commands.setup import ensure
from isoswitch.config.load import STORE_URL, LoadedNetwork, load_network
from isoswitch.simulators.cards import CARDS
from isoswitch.store.place import DatabaseUrl

NEXT_COMMANDS = (
    ("isoswitch pay 12.50 --card visa-ok --pin 1234", "pay, and see both messages"),
    ("isoswitch trigger timeout", "let the issuer fall silent"),
    ("isoswitch show last", "every leg of it, and why this route"),
)


def up(config: Path | None, *, trickle: bool, postgres: bool, workers: int) -> int:
    """Set up what is missing, start everything, and run until Ctrl-C."""
    loaded = load_network(config)
    console = stdout()
    for line in ensure(loaded):
        console.print(Text(f"made {line}", style="dim"))
    check_ports_free(loaded, workers=workers)
    parts = tuple(
        part
        for part in parts_of(loaded, workers=workers)
        if trickle or part.name != "trickle"
    )
    with _database(loaded) if postgres else nullcontext():
        run_trio(lambda: _run(loaded, parts, console))
    return OK


@contextmanager
def _database(loaded: LoadedNetwork) -> Iterator[None]:
    """Run a PostgreSQL of our own, and have every part keep the store in it."""
    server = LocalServer(output_folder(loaded) / "postgres")
    server.prepare()
    server.start()
    try:
        server.create()
        os.environ[STORE_URL] = server.url()
        told = f"in another window first: export {STORE_URL}={quote(server.url())}"
        stdout().print(Text(told, style="bold"), soft_wrap=True)
        yield
    finally:
        server.stop()


async def start_all(processes: Processes, parts: tuple[Part, ...]) -> None:
    """Start the parts in their order."""
    for part in parts:
        await processes.start(part.name)


def output_folder(loaded: LoadedNetwork) -> Path:
    """Give where the output of the parts is kept: beside the store."""
    return loaded.file(loaded.network.store.path).parent


async def _run(
    loaded: LoadedNetwork, parts: tuple[Part, ...], console: Console
) -> None:
    processes = Processes(parts, folder=output_folder(loaded))
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_on_signal, signals, nursery.cancel_scope)
            try:
                await start_all(processes, parts)
                console.print(describe(loaded))
                await processes.wait_any_end()
            finally:
                with trio.CancelScope(shield=True):
                    await _drain(processes, console)


async def _drain(processes: Processes, console: Console) -> None:
    """Stop everything in order, telling what is waited for."""
    for name in reversed(processes.names):
        console.print(Text(f"stopping {name}", style="dim"))
        await processes.stop(name)
    console.print("stopped")


async def _cancel_on_signal(
    signals: AsyncIterator[int], scope: trio.CancelScope
) -> None:
    async for _ in signals:
        scope.cancel()
        return


def describe(loaded: LoadedNetwork) -> RenderableType:
    """Tell what runs where, which cards there are, and what to try next."""
    return Group(
        Panel.fit(
            Text("a test network: test keys, test cards, no real money"),
            style="yellow",
        ),
        _titled("addresses", _addresses(loaded)),
        _titled("test cards", _cards(loaded)),
        _titled("try next, in another window", _next()),
        Text("Ctrl-C stops the network", style="dim"),
    )


def _titled(title: str, body: RenderableType) -> RenderableType:
    return Group(Text(title, style="bold"), Padding(body, (0, 0, 1, 2)))


def _addresses(loaded: LoadedNetwork) -> RenderableType:
    network = loaded.network
    table = plain_table("what", "address", "speaks")
    for name, row in network.listeners.items():
        extras = [row.framing, row.header, "TLS 1.3" if row.tls else ""]
        speaks = ", ".join([row.dialect, *filter(None, extras)])
        table.add_row(f"terminals: {name}", f"{row.host}:{row.port}", speaks)
    for name, endpoint in network.endpoints.items():
        speaks = f"{endpoint.dialect}, {endpoint.framing}"
        table.add_row(f"issuer: {name}", f"{endpoint.host}:{endpoint.port}", speaks)
    portal = network.portal
    if portal is not None:
        table.add_row(
            "portal", f"{portal.host}:{portal.port}", "HTTP: /health/ready, /metrics"
        )
    table.add_row("crypto process", str(network.hsm.socket), "SoftHSM by PKCS#11")
    if isinstance(loaded.store, DatabaseUrl):
        table.add_row("store", str(loaded.store), "PostgreSQL, one journal")
    else:
        table.add_row("store", str(network.store.path), "SQLite, one journal")
    if network.log.path:
        table.add_row("log", str(network.log.path), "JSON lines")
    return table


def _cards(loaded: LoadedNetwork) -> RenderableType:
    assert loaded.network.simulators is not None, "a test network"
    issuers = loaded.network.simulators.issuers
    table = plain_table("card", "number", "PIN", "issuer", "outcome")
    for card in CARDS.values():
        if card.issuer in issuers:
            # Published test numbers, and the PINs of cards that do not exist.
            table.add_row(
                card.name,
                card.pan.masked,
                card.pin.reveal(),
                card.issuer,
                card.outcome,
            )
    return table


def _next() -> RenderableType:
    table = plain_table("", "")
    table.show_header = False
    for command, what in NEXT_COMMANDS:
        table.add_row(Text(f".venv/bin/{command}", style="bold cyan"), what)
    return table
