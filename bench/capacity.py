"""What a rate takes: arithmetic on the measured cost of a purchase.

    python -m bench capacity [--rate 100000]

The figures are those of the last run. What they are multiplied with is an assumption,
and is said to be one. ``docs/scaling.md`` explains the model.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

SECONDS_A_DAY = 86_400
BYTES_ON_THE_WIRE = 2_000
"""Four messages with their frames and TCP headers, of the benchmark's purchase."""

COMMANDS = 7
"""Crypto commands of a purchase: 4 MACs, a PIN block, a look-up hash, a seal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one purchase was measured to cost."""

    switch_us: float
    crypto_us: float
    store_kib: float
    log_kib: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumptions:
    """What is decided and not measured.

    ``utilisation`` is how busy a CPU may be, so that latencies stay and one cell of
    ``cells_spare`` may be lost; ``cell_rate`` how much one cell decides.
    """

    utilisation: float = 0.5
    cell_rate: float = 1_000.0
    cells_spare: int = 1
    peak_to_mean: float = 3.0


def cost_of(results: Mapping[str, Any]) -> Cost:
    """Take the costs from the results of a run; raises KeyError when it has none."""
    rows = {row["name"]: row for row in results["rows"]}
    return Cost(
        switch_us=rows["purchase: CPU of the switch process"]["cpu_us"],
        crypto_us=rows["purchase: CPU of the crypto process"]["cpu_us"],
        store_kib=rows["purchase: KiB in the store"]["kib"],
        log_kib=rows["purchase: KiB in the log"]["kib"],
    )


def as_markdown(cost: Cost, rate: float, given: Assumptions) -> str:
    """Write the model as a table: what, how much, and where it comes from."""
    lines = ["| what | how much | from |", "|---|---:|---|"]
    lines += [
        f"| {what} | {much} | {whence} |"
        for what, much, whence in _rows(cost, rate, given)
    ]
    return "\n".join(lines)


def _rows(
    cost: Cost, rate: float, given: Assumptions
) -> Iterator[tuple[str, str, str]]:
    total_us = cost.switch_us + cost.crypto_us
    cells = math.ceil(rate / given.cell_rate) + given.cells_spare
    yield "CPU of the switch, a purchase", f"{cost.switch_us:,.0f} us", "measured"
    yield (
        "CPU of the crypto process on SoftHSM",
        f"{cost.crypto_us:,.0f} us",
        "measured",
    )
    yield "left in the store", f"{cost.store_kib:.1f} KiB", "measured"
    yield "left in the log", f"{cost.log_kib:.1f} KiB", "measured"
    yield (
        "one switch process, one CPU always busy",
        f"{1e6 / cost.switch_us:,.0f}/s",
        "arithmetic",
    )
    yield (
        "the same at the utilisation planned for",
        f"{given.utilisation * 1e6 / cost.switch_us:,.0f}/s",
        f"arithmetic; {given.utilisation:.0%} assumed",
    )
    yield "rate", f"{rate:,.0f}/s", "given"
    yield (
        "CPUs for switch and SoftHSM",
        f"{rate * total_us / 1e6 / given.utilisation:,.0f}",
        "arithmetic",
    )
    yield (
        "of them for the switch alone, with real HSMs",
        f"{rate * cost.switch_us / 1e6 / given.utilisation:,.0f}",
        "arithmetic",
    )
    yield (
        f"cells of {given.cell_rate:,.0f}/s, {given.cells_spare} spare",
        f"{cells:,}",
        "arithmetic; size assumed",
    )
    yield (
        "HSM commands",
        f"{rate * COMMANDS:,.0f}/s",
        "arithmetic; 7 a purchase counted",
    )
    yield (
        "network, both hops, both ways",
        f"{rate * BYTES_ON_THE_WIRE * 8 / 1e9:,.1f} Gbit/s",
        "arithmetic; 2 kB a purchase counted",
    )
    daily_tib = rate / given.peak_to_mean * SECONDS_A_DAY / 2**30
    yield (
        "store, a day",
        f"{daily_tib * cost.store_kib:,.1f} TiB",
        f"arithmetic; peak {given.peak_to_mean:g} times the mean assumed",
    )
    yield (
        "log, a day, uncompressed",
        f"{daily_tib * cost.log_kib:,.1f} TiB",
        "arithmetic",
    )
