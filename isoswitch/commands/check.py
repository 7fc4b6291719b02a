"""``isoswitch check``: whether a configuration holds, and what it comes to."""

from __future__ import annotations

from pathlib import Path

from isoswitch.commands.console import (
    FAILED,
    OK,
    plain_table,
    print_json,
    say_failure,
    stdout,
)
from isoswitch.config.load import LoadedNetwork, load_network
from isoswitch.config.routing import load_routing
from isoswitch.config.settings import stand_in_profiles
from isoswitch.config.source import ConfigProblems


def check(config: Path | None, *, as_json: bool) -> int:
    """Print what a configuration comes to, or every problem it has."""
    try:
        loaded = load_network(config)
        routing = load_routing(loaded)
        stand_in_profiles(loaded)
    except ConfigProblems as fault:
        if as_json:
            print_json({"ok": False, "problems": _problems_json(fault)})
        else:
            say_failure(fault)
        return FAILED
    if as_json:
        told = {"ok": True, "file": str(loaded.path), "bins": len(routing.bins)}
        print_json(told)
        return OK
    console = stdout()
    console.print(f"[green]✓[/] {loaded.path} holds", soft_wrap=True)
    table = plain_table("table", "rows")
    if loaded.network.routing.bins_file is not None:
        console.print(f"[green]✓[/] {len(routing.bins)} BINs, those of the file too")
    for name, rows in _tables(loaded):
        table.add_row(name, ", ".join(rows))
    console.print(table)
    return OK


def _tables(loaded: LoadedNetwork) -> list[tuple[str, list[str]]]:
    network = loaded.network
    return [
        (
            "listeners",
            [f"{name} :{row.port}" for name, row in network.listeners.items()],
        ),
        (
            "endpoints",
            [
                f"{name} {row.host}:{row.port}"
                for name, row in network.endpoints.items()
            ],
        ),
        ("merchants", list(network.merchants)),
        ("terminals", list(network.terminals)),
        (
            "bins",
            [f"{prefix} {route.primary}" for prefix, route in network.bins.items()],
        ),
    ]


def _problems_json(fault: ConfigProblems) -> list[dict[str, object]]:
    source = fault.source
    rows: list[dict[str, object]] = []
    for problem in fault.problems:
        place = source.place(problem.location)
        rows.append(
            {
                "file": str(source.path),
                "line": place.line,
                "column": place.column,
                "what": problem.what,
                "fix": problem.fix,
            }
        )
    return rows
