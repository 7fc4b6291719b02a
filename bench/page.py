"""The results of a run as one HTML page, and as a table for the documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from bench.rows import COLUMNS, Row, share_of_goal, verdict
from isoswitch.simulators.charts import (
    Bar,
    Series,
    bar_chart,
    line_chart,
    page,
    spectrum_chart,
    table,
)

HEADS = (
    "measured",
    "CPU us",
    "per second",
    "p50 ms",
    "p99 ms",
    "KiB",
    "ratio",
    "goal",
    "",
)
SHARE_MAX = 3.0
NOTE = (
    "CPU time is per operation. A ratio above 1 is better than the baseline of the "
    "same run, except where the goal is an upper limit."
)


def as_page(results: Mapping[str, Any]) -> str:
    """Lay out the results of a run: how far each goal is reached, then part by part."""
    rows: list[Row] = results["rows"]
    sections = [("Goals", _goals(rows))]
    for part, group in groupby(rows, key=itemgetter("part")):
        found = list(group)
        shown = table(
            (*HEADS, "against"), ([*cells(row), row["baseline"]] for row in found)
        )
        sections.append((part, shown + "\n".join(_charts(found))))
    machine = ", ".join(f"{name} {value}" for name, value in results["machine"].items())
    return page("isoswitch: measured", f"{machine}. {NOTE}", sections)


def as_markdown(results: Mapping[str, Any]) -> str:
    """Write the rows as tables of Markdown, one for each part."""
    lines = []
    rows: list[Row] = results["rows"]
    for part, group in groupby(rows, key=itemgetter("part")):
        lines += [f"| {part} | " + " | ".join(HEADS[1:]) + " |"]
        lines += ["|---" + "|---:" * (len(HEADS) - 3) + "|---|---|"]
        for row in group:
            lines.append(f"| {' | '.join(cells(row))} |")
        lines.append("")
    facts = ", ".join(f"{name} {value}" for name, value in results["machine"].items())
    return "\n".join([*lines, f"Machine: {facts}."])


def cells(row: Row) -> list[str]:
    """Give a row as text; what was not measured is empty."""
    name = row["name"].removeprefix(f"{row['part']}: ")
    return [
        name,
        *(_number(row.get(key)) for key in COLUMNS),
        row["goal"],
        verdict(row),
    ]


def _number(value: float | None) -> str:
    """Write what people compare: three digits, or all of a large number."""
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _goals(rows: Sequence[Row]) -> str:
    bars = []
    for row in rows:
        share = share_of_goal(row)
        # All hostile messages have one bound; the table tells of each.
        if share is not None and "hostile" not in row["name"]:
            is_met = verdict(row) == "met"
            shown = round(min(share, SHARE_MAX), 2)
            label = row["name"] if len(row["name"]) < 46 else row["name"][:45] + "…"
            bars.append(Bar(label, shown, 1.0, is_good=is_met))
    title = f"How far each goal is reached: 1 meets it; cut off at {SHARE_MAX:g}"
    return bar_chart(title, bars)


def _charts(rows: Sequence[Row]) -> Iterator[str]:
    spectra = [
        Series(row["name"].partition(": ")[2].partition(",")[0], row["spectrum"])
        for row in rows
        if row.get("spectrum")
    ]
    if spectra:
        yield spectrum_chart("Latency by share of requests, open loop", spectra)
    courses = [
        Series(row["name"].partition(": ")[2], list(enumerate(row["course"])))
        for row in rows
        if row.get("course")
    ]
    if courses:
        yield line_chart("Approved, by the second", courses, x="s", y="a second")
