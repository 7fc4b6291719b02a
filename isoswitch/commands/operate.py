"""Orders to the running switch, and what it says of itself."""

from __future__ import annotations

import getpass
import os
from pathlib import Path
from typing import TypeVar

import msgspec
import trio
from rich.console import Console
from rich.text import Text

from isoswitch.codecs.canonical.errors import (
    ConfigError,
    IsoswitchError,
    OrderUnanswered,
    SwitchUnavailable,
)
from isoswitch.commands.console import (
    FAILED,
    OK,
    plain_table,
    print_json,
    stderr,
    stdout,
)
from isoswitch.commands.processes import answers
from isoswitch.config.load import load_network
from isoswitch.config.workers import paths_of_workers
from isoswitch.routing.health import FULL_SCORE, BreakerState
from isoswitch.switch.control import (
    AnyOrder,
    ConfirmClock,
    ReadStatus,
    Reload,
    control_path,
    send_order,
)
from isoswitch.switch.status import EndpointStatus, Status

T = TypeVar("T")


def order_all(
    config: Path | None, order: AnyOrder, result: type[T]
) -> tuple[dict[str, T], int]:
    """Give an order to the running switch or to each of its workers, by its number.

    A switch that is alone has the number ``""``. Whoever does not carry the order out
    is told of, and makes the exit code that comes with the results a failure.

    Raises
    ------
    SwitchUnavailable, ConfigError
        None carries it out; what the last one said.
    """
    results: dict[str, T] = {}
    refusals: dict[str, IsoswitchError] = {}
    for worker, path in _sockets_of(config).items():
        try:
            results[worker] = trio.run(send_order, path, order, result)
        except IsoswitchError as error:
            refusals[worker] = error
    if not results:
        raise refusals.popitem()[1]
    for worker, refusal in refusals.items():
        stderr().print(Text(f"worker {worker}: {refusal}", style="yellow"))
    return results, FAILED if refusals else OK


def order_one(
    config: Path | None, order: AnyOrder, result: type[T], *, asks_on: bool = False
) -> T:
    """Give an order to the first worker that is there.

    With ``asks_on`` it goes to the next one where a worker refuses it, as what is
    another's to do.

    Raises
    ------
    SwitchUnavailable
        No worker is there.
    ConfigError
        It does not carry the order out; says why.
    OrderUnanswered
        It may have carried the order out; no other was asked.
    """
    *others, last = _sockets_of(config).values()
    for path in others:
        try:
            return trio.run(send_order, path, order, result)
        except OrderUnanswered:
            raise
        except SwitchUnavailable:
            continue
        except ConfigError:
            if not asks_on:
                raise
    return trio.run(send_order, last, order, result)


def operator_name(given: str) -> str:
    """Give who orders: the name given, else the user, who may have but a number."""
    try:
        return given or getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def status(config: Path | None, *, as_json: bool) -> int:
    """Print how the running switch, or each worker, stands; 1 when one is not ready."""
    asked = ReadStatus(operator=operator_name(""))
    told, code = order_all(config, asked, Status)
    for found in told.values():
        if as_json:
            print_json({"ready": found.is_ready, **msgspec.to_builtins(found)})
        else:
            _print_status(found, stdout())
    return code if all(found.is_ready for found in told.values()) else FAILED


def confirm_clock(config: Path | None, *, operator: str) -> int:
    """Have the running switch trust the clock as it stands."""
    order = ConfirmClock(operator=operator_name(operator))
    told, code = order_all(config, order, bool)
    stdout().print(
        "the clock is trusted as it stands"
        if any(told.values())
        else "it was not in doubt"
    )
    return code


def reload(config: Path | None, *, operator: str, dry_run: bool, as_json: bool) -> int:
    """Have the running switch read its configuration again, and print what changes."""
    order = Reload(operator=operator_name(operator), dry_run=dry_run)
    told, code = order_all(config, order, list[str])
    *_, changes = told.values()
    if as_json:
        print_json({"changes": changes, "dry_run": dry_run})
        return code
    for change in changes:
        stdout().print(Text(change))
    if not changes:
        stdout().print("nothing differs from what is running")
    elif dry_run:
        stdout().print("nothing was changed: this was a dry run", style="dim")
    return code


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


def _sockets_of(config: Path | None) -> dict[str, Path]:
    """Give the control socket of the switch, or of each of its workers that runs."""
    loaded = load_network(config)
    alone = control_path(loaded.file(loaded.network.store.path))
    workers = paths_of_workers(alone)
    # One that was killed leaves its socket, where nobody listens any more.
    if trio.run(answers, alone) or not workers:
        return {"": alone}
    return {str(number): path for number, path in workers.items()}
