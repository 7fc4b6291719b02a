"""The figures of a load run, and the thresholds they are held against.

A threshold is what people type: a figure, a comparison, a limit with its unit.

    p50 p90 p99.9 mean max      latency of all that was due, in ms or s
    approved declined refused unanswered      share of all that was due, in %
    rate                        approvals a second, in /s
    wrong                       answers to nothing, or with a wrong MAC; a number
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from isoswitch.codecs.canonical.errors import ConfigError
from isoswitch.simulators.load import Fate, Tally

PERCENTILES = (50, 90, 95, 99, 99.9)
_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_TYPED = re.compile(r"([a-z]+[\d.]*)\s*(<=?|>=?)\s*(\d+(?:\.\d+)?)\s*(ms|s|%|/s|)")
_PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d+)?|100)")
# How many of a figure's own unit each unit is.
_LATENCY_UNITS = {"ms": 1.0, "s": 1000.0}
_UNITS: Mapping[str, Mapping[str, float]] = {
    "mean": _LATENCY_UNITS,
    "max": _LATENCY_UNITS,
    **{fate.value: {"%": 1.0} for fate in Fate},
    "rate": {"/s": 1.0},
    "wrong": {"": 1.0},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a run came to: latencies in ms, shares in per cent, approvals a second."""

    values: Mapping[str, float]
    due: int

    def get(self, name: str) -> float:
        """Give a figure by the name that thresholds use."""
        return self.values[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """A limit on one figure, in the figure's own unit."""

    text: str
    figure: str
    comparison: str
    limit: float
    unit: str

    def is_met(self, value: float) -> bool:
        """Whether a value is on the right side of the limit."""
        return _COMPARE[self.comparison](value, self.limit)

    def show(self, value: float) -> str:
        """Write a value of the figure with its unit."""
        return f"{value:,.2f} {self.unit}".rstrip()


def parse_threshold(text: str) -> Threshold:
    """Read a threshold as it is typed.

    Raises
    ------
    ConfigError
        It is none, its figure does not exist, or its unit is another's.

    Examples
    --------
    >>> threshold = parse_threshold("p99<0.2s")
    >>> threshold.figure, threshold.limit, threshold.is_met(199.0)
    ('p99', 200.0, True)
    >>> parse_threshold("approved > 99%").is_met(99.0)
    False
    """
    found = _TYPED.fullmatch(text.strip())
    if found is None:
        msg = f"{text!r} is no threshold; such as p99<200ms or approved>99%"
        raise ConfigError(msg)
    figure, comparison, limit, unit = found.groups()
    is_percentile = _PERCENTILE.fullmatch(figure) is not None
    units = _LATENCY_UNITS if is_percentile else _UNITS.get(figure)
    if units is None:
        msg = f"there is no figure {figure!r}; one of p50, p99.9, {', '.join(_UNITS)}"
        raise ConfigError(msg)
    if unit not in units:
        wanted = " or ".join(each or "no unit" for each in units)
        msg = f"{text!r}: {figure} is measured in {wanted}"
        raise ConfigError(msg)
    return Threshold(
        text=text.strip(),
        figure=figure,
        comparison=comparison,
        limit=float(limit) * units[unit],
        unit=next(iter(units)),
    )


def measure(tally: Tally, thresholds: tuple[Threshold, ...] = ()) -> Figures:
    """Work out the figures of a run, and what its thresholds ask for besides."""
    times, fates = tally.all_latencies(), tally.fates
    due = times.count
    values = {
        **{
            name: times.percentile_ms(float(name[1:]) / 100)
            for name in (
                *(f"p{each:g}" for each in PERCENTILES),
                *(each.figure for each in thresholds if each.figure not in _UNITS),
            )
        },
        "mean": times.mean_ms,
        "max": times.max_s * 1000,
        **{
            fate.value: 100 * count / due if due else 0.0
            for fate, count in fates.items()
        },
        "rate": tally.approved_in_time / (tally.ends_at - tally.begins_at),
        "wrong": float(tally.wrong),
    }
    return Figures(values=values, due=due)
