"""Twice the load that the switch sustains: what it still does, and how it refuses.

The peak is what the closed loop reaches. Then requests come at twice that rate,
whatever the answers do; approvals a second are the goodput, and every other answer must
be a refusal (91 or 96) in time. Refusals are written down and authenticated like any
answer, so they cost something too.
"""

from __future__ import annotations

import statistics

from bench.cpu import memory_kib
from bench.purchase import Stacks
from bench.rows import Row, row


def run(quick: bool, running: Stacks) -> list[Row]:
    """Measure and give the rows of the table."""
    rounds, seconds, overload_s = (1, 1.5, 3.0) if quick else (3, 6.0, 60.0)
    real, pay = running.real, running.payer.pay
    results = [pay(real, seconds=seconds) for _ in range(rounds)]
    peak = statistics.median(each.count / each.seconds for each in results)
    (switch_pid,) = real.pids["switch"]
    before_mib = memory_kib(switch_pid) // 1024
    flood = pay(real, seconds=overload_s, rate=2 * peak, is_too_much=True)
    after_mib = memory_kib(switch_pid) // 1024
    goodput = flood.count / flood.seconds
    refused = flood.refused / flood.seconds
    return [
        row("overload: peak before it", per_second=round(peak)),
        row(
            f"overload: approved at {2 * peak:.0f}/s",
            per_second=round(goodput),
            p50_ms=flood.p50_ms,
            p99_ms=flood.p99_ms,
            baseline="overload: peak before it",
            ratio=round(goodput / peak, 2),
            goal=">= 0.9x",
            course=flood.approved_each_s,
        ),
        row(
            "overload: refused, the slowest as p99",
            per_second=round(refused),
            p50_ms=flood.refused_p99_ms,
            p99_ms=flood.refused_max_ms,
            goal="< 1000 ms",
        ),
        row(
            "overload: never answered, a share",
            ratio=round(flood.unanswered / (2 * peak * overload_s), 4),
            goal="<= 0x",
        ),
        row(
            f"overload: memory {before_mib} -> {after_mib} MiB",
            ratio=round(after_mib / before_mib, 2),
        ),
    ]
