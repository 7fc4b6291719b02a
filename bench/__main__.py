"""Runs the benchmarks, prints their table, and writes it to ``var/bench/``.

    python -m bench [--quick] [--json | --markdown] [part ...]
    python -m bench show [--json | --markdown]      the last run again
    python -m bench capacity [--rate 100000]        what a rate takes, by the last run
    python -m bench soak [--minutes 60]             half load, and nothing may grow

``latest.json`` is ``{machine, failed: {part: why}, rows: [{part, name, cpu_us,
per_second, p50_ms, p99_ms, kib, baseline, ratio, goal, ...}]}``. What was not measured
is null, ``baseline`` says what the ratio compares with; failed is what could not be
measured, not what missed its goal. ``latest.html`` is the same with plots.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import (
    capacity,
    codec,
    connections,
    crypto,
    framing,
    hsm,
    log,
    overload,
    purchase,
    routing,
    soak,
    store,
    switching,
    workers,
    xml,
)
from bench.page import HEADS, as_markdown, as_page, cells
from bench.purchase import Stacks, stacks
from bench.rows import Row

ALONE: Mapping[str, Callable[[bool], list[Row]]] = {
    "codec": codec.run,
    "framing": framing.run,
    "crypto": crypto.run,
    "hsm": hsm.run,
    "routing": routing.run,
    "store": store.run,
    "log": log.run,
    "xml": xml.run,
    "switching": switching.run,
    "workers": workers.run,
}
ON_STACKS: Mapping[str, Callable[[bool, Stacks], list[Row]]] = {
    "idle": connections.run_idle,
    "purchase": purchase.run,
    "burst": connections.run_burst,
    "overload": overload.run,
}
"""Parts that load the same running switch, one after the other."""

PARTS = (*ALONE, *ON_STACKS)
ELSE = ("show", "capacity", "soak")
LATEST = purchase.FOLDER / "latest.json"


def main() -> None:
    """Measure what was asked for and report it."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "parts", nargs="*", metavar="part", help=", ".join((*PARTS, *ELSE))
    )
    parser.add_argument("--quick", action="store_true", help="under one minute")
    parser.add_argument("--json", action="store_true", help="print the JSON")
    parser.add_argument("--markdown", action="store_true", help="print Markdown")
    parser.add_argument("--minutes", type=float, default=60.0, help="of the soak")
    parser.add_argument("--rate", type=float, default=1e5, help="of the capacity")
    arguments = parser.parse_args()
    unknown = {*arguments.parts} - {*PARTS, *ELSE}
    if unknown:
        parser.error(f"no part {', '.join(sorted(unknown))}")
    if arguments.parts == ["soak"]:
        raise SystemExit(soak.main(arguments.minutes))
    if arguments.parts in (["show"], ["capacity"]):
        results = json.loads(LATEST.read_text(encoding="utf-8"))
    else:
        results = measure(arguments.parts or PARTS, quick=arguments.quick)
        save(results)
    if arguments.parts == ["capacity"]:
        cost = capacity.cost_of(results)
        print(capacity.as_markdown(cost, arguments.rate, capacity.Assumptions()))
    elif arguments.json:
        print(json.dumps(results, indent=1))
    elif arguments.markdown:
        print(as_markdown(results))
    else:
        show(results)
    if results["failed"]:
        raise SystemExit(f"failed: {', '.join(results['failed'])}")


def measure(parts: Sequence[str], *, quick: bool) -> dict[str, Any]:
    """Run parts one after the other, those on the same switch last."""
    began, load_before = time.monotonic(), os.getloadavg()[0]
    console = Console(stderr=True)
    rows: list[Row] = []
    failed: dict[str, str] = {}

    def run(name: str, part: Callable[[], list[Row]]) -> None:
        if name not in parts:
            return
        console.print(f"{time.monotonic() - began:5.0f} s  {name}", style="dim")
        try:
            rows.extend({**row, "part": name} for row in part())
        except RuntimeError as error:
            # What the other parts measured in these minutes is worth keeping.
            failed[name] = str(error)
            console.print(f"{name} failed: {error}", style="bold red")

    for name, part in ALONE.items():
        run(name, partial(part, quick))
    if {*ON_STACKS} & {*parts}:
        with stacks() as running:
            for name, loading in ON_STACKS.items():
                run(name, partial(loading, quick, running))
    return {
        "machine": {
            "measured": datetime.now(UTC).isoformat(timespec="seconds"),
            "CPUs": os.cpu_count(),
            "CPU": _cpu_model(),
            "Python": platform.python_version(),
            "kernel": platform.release(),
            "load before": round(load_before, 1),
            "load after": round(os.getloadavg()[0], 1),
            "quick": quick,
            "seconds": round(time.monotonic() - began),
        },
        "failed": failed,
        "rows": rows,
    }


def save(results: Mapping[str, Any]) -> None:
    """Write the results, and their page beside them."""
    LATEST.parent.mkdir(parents=True, exist_ok=True)
    LATEST.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    LATEST.with_suffix(".html").write_text(as_page(results), encoding="utf-8")


def show(results: Mapping[str, Any]) -> None:
    """Print the table for people."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=130)
    for part, rows in groupby(results["rows"], key=itemgetter("part")):
        table = Table(part, *HEADS[1:], box=None, pad_edge=False)
        table.columns[0].no_wrap = True
        for column in table.columns[1:-2]:
            column.justify = "right"
        for row in rows:
            table.add_row(*cells(row))
        console.print(table)
        console.print()
    facts = (f"{name} {value}" for name, value in results["machine"].items())
    console.print(", ".join(facts), style="dim")
    console.print(f"{LATEST} and {LATEST.with_suffix('.html')}")


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(": ")[2]
    return platform.machine()


if __name__ == "__main__":
    main()
