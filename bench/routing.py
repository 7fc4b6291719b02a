"""What a big BIN file costs: reading and checking it, and finding the route of a card.

The look-up is compared with the same one in a table of 100 rows: the size of a table
should not show.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from random import Random

from bench.rows import Row, row
from isoswitch.codecs.canonical.secrets import Pan
from isoswitch.routing.binfile import read_bin_rows
from isoswitch.routing.bins import Span
from isoswitch.routing.facts import Facts
from isoswitch.routing.health import EndpointState
from isoswitch.routing.rules import Order, Rule
from isoswitch.routing.table import RoutingTable

ROWS = 60_000
SMALL = 100
CARDS = 1_000
IN_VAIN = [
    Rule(name=f"rule-{n}", merchants=frozenset({f"MERCHANT{n}"}), candidates=("north",))
    for n in range(19)
]
HALVES = Rule(name="halves", order=Order.WEIGHTS, weights={"north": 70, "south": 30})
STATES = {"north": EndpointState(), "south": EndpointState()}


def run(quick: bool) -> list[Row]:
    """Measure and give one row for reading the file and two for decisions."""
    rounds = 5 if quick else 15
    big, small = make_file(ROWS), make_file(SMALL)
    rows = read_bin_rows(big)
    read_us = _cost_us(
        lambda: RoutingTable(read_bin_rows(big)), 1, 1 if quick else rounds
    )
    by_bin = _decide_us(RoutingTable(rows), _facts(big), rounds)
    by_small = _decide_us(RoutingTable(read_bin_rows(small)), _facts(small), rounds)
    with_rules = RoutingTable(rows, rules=[*IN_VAIN, HALVES])
    by_rule = _decide_us(with_rules, _facts(big), rounds)
    against = f"{SMALL} rows, {statistics.median(by_small):.2f} us"
    ratio = statistics.median(by_small) / statistics.median(by_bin)
    return [
        _row(f"read and check {ROWS:,} BINs", read_us),
        _row(f"decide among {ROWS:,} BINs", by_bin, against, round(ratio, 2)),
        _row("decide, 19 rules in vain, weights", by_rule),
    ]


def make_file(count: int) -> list[str]:
    """Make a BIN file: prefixes of 6 to 11 digits, with every tenth a range."""
    random = Random(count)
    lines = ["bin,primary,alternate,name,country,group"]
    for place in range(count):
        # Below a prefix of its own for each row, so that nothing overlaps.
        digits = f"{400_000 + place}"
        tail = f"{random.randrange(10**5):05d}"[: random.randrange(6)]
        low = digits + tail
        name = f"row-{place}" if len(low) > 8 else ""
        if place % 10 == 0 and len(low) <= 8:
            low = f"{low}0..{low}4"
            name = f"row-{place}"
        lines.append(f"{low},north,south,{name},276,debit")
    return lines


def _facts(lines: Sequence[str]) -> list[Facts]:
    random = Random(1)
    return [
        Facts(
            transaction_id=f"1-{place}",
            card=Span.of_card(
                Pan(line.partition(",")[0].partition(".")[0].ljust(16, "0"))
            ),
            amount_minor=1250,
            currency="978",
            mcc="5411",
            merchant_id="GROCER000000001",
        )
        for place, line in enumerate(random.choices(lines[1:], k=CARDS))
    ]


def _decide_us(table: RoutingTable, facts: list[Facts], rounds: int) -> list[float]:
    def decide() -> None:
        for each in facts:
            table.find_route(each, STATES)

    return _cost_us(decide, len(facts), rounds)


def _cost_us(call: Callable[[], object], count: int, rounds: int) -> list[float]:
    costs = []
    for _ in range(rounds + 1):
        start = time.thread_time_ns()
        call()
        costs.append((time.thread_time_ns() - start) / count / 1000)
    # The first round warms up.
    return costs[1:]


def _row(
    name: str, costs: list[float], against: str = "", ratio: float | None = None
) -> Row:
    cpu_us = statistics.median(costs)
    return row(
        f"routing: {name}",
        cpu_us=round(cpu_us, 3),
        per_second=round(1e6 / cpu_us, 1),
        baseline=against,
        ratio=ratio,
    )
