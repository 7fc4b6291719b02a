"""Runs all benchmarks, prints their table, and writes it to ``var/bench/latest.json``.

    python -m bench [--quick] [codec] [xml] [routing] [store] [hsm] [purchase]
        [overload]

A row is ``{name, cpu_us, per_second, p50_ms, p99_ms, baseline, ratio, goal}``; what was
not measured is null. ``baseline`` says what the ratio compares with.
"""

from __future__ import annotations

import argparse
import json
import operator
import os
import platform
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import codec, hsm, overload, purchase, routing, store, xml

Row = dict[str, Any]

PARTS: Mapping[str, Callable[[bool], list[Row]]] = {
    "codec": codec.run,
    "routing": routing.run,
    "xml": xml.run,
    "store": store.run,
    "hsm": hsm.run,
    "purchase": purchase.run,
    "overload": overload.run,
}
LATEST = purchase.FOLDER / "latest.json"
COLUMNS = ("cpu_us", "per_second", "p50_ms", "p99_ms", "ratio")
GOALS: Mapping[str, str] = {
    r">= ([\d.]+)x": "ratio",
    r"<= ([\d.]+)x": "ratio",
    r">= ([\d.]+)/s": "per_second",
    r"<= ([\d.]+) us": "cpu_us",
    r"< ([\d.]+) ms": "p99_ms",
}
"""How a goal is written, and the column it is about."""
_MEETS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "<": operator.lt,
}


def main() -> None:
    """Measure what was asked for and report it."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], metavar="part")
    parser.add_argument("--quick", action="store_true", help="under one minute")
    arguments = parser.parse_args()
    rows: list[Row] = []
    load_before = os.getloadavg()[0]
    for name in arguments.parts or PARTS:
        rows += PARTS[name](arguments.quick)
    LATEST.parent.mkdir(parents=True, exist_ok=True)
    LATEST.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    console.print(as_table(rows))
    console.print(
        f"{os.cpu_count()} CPUs, Python {platform.python_version()}, load average "
        f"{load_before:.1f} before and {os.getloadavg()[0]:.1f} after; see {LATEST}"
    )


def as_table(rows: Sequence[Row]) -> Table:
    """Lay rows out for people, with a word on each goal."""
    table = Table("measured", *COLUMNS, "goal", "", box=None, pad_edge=False)
    table.columns[0].no_wrap = True
    for column in table.columns[1:-2]:
        column.justify = "right"
    for row in rows:
        cells = ["" if row[key] is None else f"{row[key]:,g}" for key in COLUMNS]
        table.add_row(row["name"], *cells, row["goal"], verdict(row))
    return table


def verdict(row: Row) -> str:
    """Say whether a row meets its goal; nothing without one.

    Examples
    --------
    >>> verdict({"goal": ">= 1.5x", "ratio": 1.7})
    'met'
    >>> verdict({"goal": "< 50 ms", "p99_ms": 80.0})
    'missed'
    >>> verdict({"goal": "<= 20 us", "cpu_us": 20.0})
    'met'
    """
    for pattern, column in GOALS.items():
        found = re.fullmatch(pattern, row["goal"])
        if found is not None and row[column] is not None:
            limit = float(found[1])
            return (
                "met"
                if _MEETS[row["goal"].split()[0]](row[column], limit)
                else "missed"
            )
    return ""


if __name__ == "__main__":
    main()
