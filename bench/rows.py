"""The rows of the benchmark's table: what was measured, against what, and the goal."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

Row = dict[str, Any]

COLUMNS = ("cpu_us", "per_second", "p50_ms", "p99_ms", "kib", "ratio")
GOALS: Mapping[str, str] = {
    r">= ([\d.]+)x": "ratio",
    r"<= ([\d.]+)x": "ratio",
    r">= ([\d.]+)/s": "per_second",
    r"<= ([\d.]+) us": "cpu_us",
    r"< ([\d.]+) ms": "p99_ms",
    r"<= ([\d.]+) KiB": "kib",
}
"""How a goal is written, and the column it is about."""

_MEETS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "<": operator.lt,
}


def row(name: str, **given: Any) -> Row:
    """Make a row; what is not given was not measured.

    ``kib`` is memory or disk for each. Besides the columns there may be ``spectrum``,
    shares and their milliseconds, and ``course``, approvals in each second.
    """
    return {"name": name, **dict.fromkeys(COLUMNS), "baseline": "", "goal": "", **given}


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
    found = held_against(row)
    if found is None:
        return ""
    value, limit = found
    return "met" if _MEETS[row["goal"].split()[0]](value, limit) else "missed"


def share_of_goal(row: Row) -> float | None:
    """Give how far a goal is reached: 1 just meets it, 2 is twice as good.

    Examples
    --------
    >>> share_of_goal({"goal": ">= 2x", "ratio": 3.0})
    1.5
    >>> share_of_goal({"goal": "< 50 ms", "p99_ms": 25.0})
    2.0
    """
    found = held_against(row)
    if found is None:
        return None
    value, limit = found
    if row["goal"].startswith(">="):
        return value / limit
    return limit / value if value else None


def held_against(row: Row) -> tuple[float, float] | None:
    """Give the value that a goal is about and its limit; None without either."""
    for pattern, column in GOALS.items():
        found = re.fullmatch(pattern, row["goal"])
        if found is not None and row.get(column) is not None:
            return row[column], float(found[1])
    return None
