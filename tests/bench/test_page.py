"""The page and the tables made of measured rows."""

from __future__ import annotations

import re

import pytest

from bench.page import as_markdown, as_page
from bench.rows import Row, row, share_of_goal, verdict

RESULTS = {
    "machine": {"CPUs": 2, "Python": "3.11"},
    "rows": [
        row(
            "codec: decode",
            part="codec",
            cpu_us=1.25,
            ratio=5.0,
            goal=">= 4.5x",
            baseline="other",
        ),
        row(
            "purchase: open",
            part="purchase",
            p99_ms=80.0,
            goal="< 50 ms",
            spectrum=[[0.5, 1], [1, 9]],
        ),
        row("overload: approved", part="overload", per_second=1900, course=[3, 4, 5]),
        row("idle: 10,000 plain", part="idle", kib=4.4, goal="<= 10 KiB"),
    ],
}


def test_a_page_shows_every_part_and_asks_nobody_for_more() -> None:
    html = as_page(RESULTS)
    for part in ("codec", "purchase", "overload", "idle"):
        assert f"<h2>{part}</h2>" in html
    assert html.count("<svg") == 3
    assert html.count('class="good">met<') == 2
    assert html.count('class="bad">missed<') == 1
    assert not re.search(r"<script|https?:|src=", html)


def test_markdown_has_a_table_for_each_part() -> None:
    text = as_markdown(RESULTS)
    assert "| decode | 1.25 |  |  |  |  | 5 | >= 4.5x | met |" in text
    assert text.count("|---") == 4 * 9
    assert text.endswith("Machine: CPUs 2, Python 3.11.")


@pytest.mark.parametrize(
    ("found", "share"),
    [
        (row("a", ratio=9.0, goal=">= 4.5x"), 2.0),
        (row("a", ratio=9.0, goal="<= 4.5x"), 0.5),
        (row("a", per_second=3000, goal=">= 4000/s"), 0.75),
        (row("a", p99_ms=25.0, goal="< 50 ms"), 2.0),
        (row("a", kib=20.0, goal="<= 10 KiB"), 0.5),
        (row("a", goal="<= 10 KiB"), None),
        (row("a", ratio=2.0), None),
    ],
)
def test_a_goal_just_met_is_one(found: Row, share: float | None) -> None:
    assert share_of_goal(found) == share
    assert (verdict(found) == "") is (share is None)
