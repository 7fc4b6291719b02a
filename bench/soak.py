"""Half load for a long time, in which nothing may grow.

    python -m bench soak --minutes 60

Looks at memory, files and threads of the switch and of the crypto process, at store
and forward, at transactions that stay open, and at the latency of each moment. What
grows is told by the slope of all samples, so that one bad moment is none.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence

import msgspec
from rich.console import Console
from rich.table import Table

from bench.cpu import file_count, memory_kib, thread_count
from bench.growth import Limit, growth
from bench.load import Result
from bench.purchase import FOLDER, Stacks, stacks
from isoswitch.store.reader import open_reader

SAMPLES = 60
WARM_UP_SHARE = 0.25
"""Caches fill at first; only what comes after this share of the time is judged."""

_COUNTED = Limit(floor=0.9)
LIMITS: Mapping[str, Limit] = {
    "switch memory, KiB": Limit(share=0.05, floor=4096),
    "crypto memory, KiB": Limit(share=0.05, floor=2048),
    "switch files": _COUNTED,
    "crypto files": _COUNTED,
    "switch threads": _COUNTED,
    "crypto threads": _COUNTED,
    "store and forward": _COUNTED,
    # What is in flight at half load comes and goes.
    "open transactions": Limit(share=1.0, floor=20),
    "p99, ms": Limit(share=1.0, floor=20),
}
Samples = Mapping[str, Sequence[float]]


def main(minutes: float) -> int:
    """Soak for so long, print what was seen, and give the exit code."""
    seconds = minutes * 60
    with stacks() as running:
        peak = statistics.median(
            result.count / result.seconds
            for result in (running.payer.pay(running.real, seconds=3.0) for _ in "abc")
        )
        rate = peak / 2
        with running.payer.paying(running.real, seconds=seconds, rate=rate) as process:
            samples = _watch(running, seconds)
            said, _ = process.communicate()
    result = msgspec.json.decode(said, type=Result)
    samples["p99, ms"] = _thinned(result.p99_each_s, len(samples["switch files"]))
    verdicts = list(_judge(samples))
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / "soak.json"
    path.write_text(
        json.dumps({"rate": rate, "minutes": minutes, "samples": samples}, indent=1)
    )
    _tell(samples, verdicts, result, rate=rate)
    unwell = result.wrong or result.unanswered or result.refused
    return int(bool(unwell) or not all(met for _, _, _, met in verdicts))


def _watch(running: Stacks, seconds: float) -> dict[str, list[float]]:
    """Sample until the load ends."""
    store = running.loaded.file(running.loaded.network.store.path)
    (switch,), crypto = running.real.pids["switch"], running.real.pids["crypto"]
    pause_s = max(seconds / SAMPLES, 0.5)
    ends_at = time.monotonic() + seconds
    samples: dict[str, list[float]] = {name: [] for name in LIMITS}
    while time.monotonic() < ends_at:
        time.sleep(pause_s)
        with open_reader(store) as reader:
            waiting, left = len(reader.saf()), len(reader.open_transactions())
        for name, value in (
            ("switch memory, KiB", memory_kib(switch)),
            ("crypto memory, KiB", sum(map(memory_kib, crypto))),
            ("switch files", file_count(switch)),
            ("crypto files", sum(map(file_count, crypto))),
            ("switch threads", thread_count(switch)),
            ("crypto threads", sum(map(thread_count, crypto))),
            ("store and forward", waiting),
            ("open transactions", left),
        ):
            samples[name].append(value)
    return samples


def _thinned(each_s: Sequence[float], count: int) -> list[float]:
    """Give the middle of so many stretches of the run."""
    width = max(len(each_s) // max(count, 1), 1)
    return [
        statistics.median(each_s[start : start + width])
        for start in range(0, len(each_s) - width + 1, width)
    ]


def _judge(samples: Samples) -> Iterator[tuple[str, float, float, bool]]:
    """Give for each thing its growth, the limit, and whether it stayed below."""
    for name, limit in LIMITS.items():
        judged = samples[name][round(WARM_UP_SHARE * len(samples[name])) :]
        grew, allowed = growth(judged), limit.of(judged)
        yield name, grew, allowed, grew <= allowed


def _tell(
    samples: Samples,
    verdicts: Sequence[tuple[str, float, float, bool]],
    result: Result,
    *,
    rate: float,
) -> None:
    table = Table("", "first", "last", "growth", "allowed", "", box=None)
    for name, grew, allowed, met in verdicts:
        first, last = samples[name][0], samples[name][-1]
        row = (f"{first:,.1f}", f"{last:,.1f}", f"{grew:,.1f}", f"{allowed:,.1f}")
        table.add_row(name, *row, "steady" if met else "[red]grows[/]")
    console = Console()
    console.print(table)
    console.print(
        f"{result.count:,} purchases at {rate:.0f}/s, {result.wrong} wrong, "
        f"{result.refused} refused, {result.unanswered} unanswered; "
        f"p50 {result.p50_ms} ms, p99 {result.p99_ms} ms"
    )
