"""The arithmetic of the capacity model."""

from __future__ import annotations

import pytest

from bench.capacity import Assumptions, Cost, as_markdown, cost_of
from bench.rows import row

COST = Cost(switch_us=500, crypto_us=250, store_kib=4.0, log_kib=1.0)


@pytest.mark.parametrize(
    ("what", "much"),
    [
        ("one switch process, one CPU always busy", "2,000/s"),
        ("the same at the utilisation planned for", "1,000/s"),
        ("CPUs for switch and SoftHSM", "150"),
        ("of them for the switch alone, with real HSMs", "100"),
        ("cells of 1,000/s, 1 spare", "101"),
        ("HSM commands", "700,000/s"),
        # 100,000/s over 3 is 2.88e9 a day; 4 KiB of each are 10.7 TiB.
        ("store, a day", "10.7 TiB"),
    ],
)
def test_what_a_rate_takes(what: str, much: str) -> None:
    text = as_markdown(COST, 100_000, Assumptions())
    assert f"| {what} | {much} |" in text


def test_costs_are_taken_from_the_rows_of_a_run() -> None:
    rows = [
        row("purchase: CPU of the switch process", cpu_us=500),
        row("purchase: CPU of the crypto process", cpu_us=250),
        row("purchase: KiB in the store", kib=4.0),
        row("purchase: KiB in the log", kib=1.0),
    ]
    assert cost_of({"rows": rows}) == COST
    with pytest.raises(KeyError):
        cost_of({"rows": rows[:-1]})
