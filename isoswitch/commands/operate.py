"""Orders to the running switch, and what it says of itself."""

from __future__ import annotations

import getpass
from pathlib import Path

import msgspec
import trio
from rich.console import Console
from rich.text import Text

from isoswitch.commands.console import FAILED, OK, plain_table, print_json, stdout
from isoswitch.config.load import load_network
from isoswitch.routing.health import FULL_SCORE, BreakerState
from isoswitch.switch.control import (
    ConfirmClock,
    ReadStatus,
    Reload,
    control_path,
    send_order,
)
from isoswitch.switch.status import EndpointStatus, Status


def socket_of(config: Path | None) -> Path:
    """Give the control socket of the switch of a configuration, or of a worker."""
    return sockets_of(config)[0]


def sockets_of(config: Path | None) -> list[Path]:
    """Give the control socket of the switch, or of each of its workers that runs."""
    loaded = load_network(config)
    alone = control_path(loaded.file(loaded.network.store.path))
    workers = sorted(alone.parent.glob(f"{alone.stem}.*{alone.suffix}"))
    return [alone] if alone.exists() or not workers else workers


def operator_name(given: str) -> str:
    """Give who orders: the name given, else the user."""
    return given or getpass.getuser()


def status(config: Path | None, *, as_json: bool) -> int:
    """Print how the running switch, or each worker, stands; 1 when one is not ready."""
    order = ReadStatus(operator=operator_name(""))
    is_ready = True
    for path in sockets_of(config):
        found = trio.run(send_order, path, order, Status)
        is_ready = is_ready and found.is_ready
        if as_json:
            print_json({"ready": found.is_ready, **msgspec.to_builtins(found)})
        else:
            _print_status(found, stdout())
    return OK if is_ready else FAILED


def confirm_clock(config: Path | None, *, operator: str) -> int:
    """Have the running switch trust the clock as it stands."""
    order = ConfirmClock(operator=operator_name(operator))
    was_in_doubt = trio.run(send_order, socket_of(config), order, bool)
    stdout().print(
        "the clock is trusted as it stands" if was_in_doubt else "it was not in doubt"
    )
    return OK


def reload(config: Path | None, *, operator: str, dry_run: bool, as_json: bool) -> int:
    """Have the running switch read its configuration again, and print what changes."""
    order = Reload(operator=operator_name(operator), dry_run=dry_run)
    changes: list[str] = []
    for path in sockets_of(config):
        changes = trio.run(send_order, path, order, list[str])
    if as_json:
        print_json({"changes": changes, "dry_run": dry_run})
        return OK
    for change in changes:
        stdout().print(Text(change))
    if not changes:
        stdout().print("nothing differs from what is running")
    elif dry_run:
        stdout().print("nothing was changed: this was a dry run", style="dim")
    return OK


def _print_status(found: Status, console: Console) -> None:
    word, style = ("ready", "green") if found.is_ready else ("not ready", "bold red")
    title = f"{found.node}, boot {found.boot}: "
    console.print(Text.assemble((title, "bold"), (word, style)))
    for problem in found.problems:
        console.print(Text(f"  ✗ {problem}", style="red"))
    for warning in found.warnings:
        console.print(Text(f"  ! {warning}", style="yellow"))
    table = plain_table("what", "state", "")
    for listener in found.listeners:
        state = "open" if listener.is_open else "closed"
        said = f"{listener.connections} connected"
        table.add_row(f"listener {listener.name} {listener.address}", state, said)
    for endpoint in found.endpoints:
        state = "signed on" if endpoint.is_up else "down"
        table.add_row(f"endpoint {endpoint.name}", state, _story(endpoint))
    table.add_row("transactions", f"{found.in_flight} in hand", "")
    table.add_row("store and forward", f"{found.saf_waiting} waiting", "")
    console.print(table)


def _story(endpoint: EndpointStatus) -> str:
    """Tell how an endpoint does, beyond whether it is there."""
    story = f"{endpoint.waiting} waiting"
    if endpoint.breaker != BreakerState.CLOSED:
        story += f", breaker {endpoint.breaker}"
    if endpoint.score != FULL_SCORE:
        story += f", answers {endpoint.score} of {FULL_SCORE}"
    return story
