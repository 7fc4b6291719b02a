"""Drawings and pages: what they show, and that they ask nobody for more."""

from __future__ import annotations

import re

from lxml import etree

from isoswitch.simulators.charts import (
    Bar,
    Series,
    bar_chart,
    line_chart,
    page,
    spectrum_chart,
    table,
    ticks_to,
)

HOSTILE = '<script>alert("x")</script> & more'


def drawing(svg: str) -> etree._Element:
    """Parse a drawing; raises when it is no XML."""
    return etree.fromstring(svg)


def words(svg: str) -> list[str]:
    """Give every text of a drawing."""
    return [each.text or "" for each in drawing(svg).iter("text")]


def test_a_line_stands_where_its_points_are() -> None:
    svg = line_chart("t", [Series("a", [(0, 0), (5, 50), (10, 100)])], x="s", y="ms")
    (line,) = drawing(svg).iter("polyline")
    places = [tuple(map(float, each.split(","))) for each in line.get("points").split()]
    (x0, y0), (x1, y1), (x2, y2) = places
    assert (x1, y1) == ((x0 + x2) / 2, (y0 + y2) / 2)
    assert (x0, y0) == (64.0, 220.0)
    assert (x2, y2) == (704.0, 40.0)


def test_nothing_measured_is_an_empty_chart() -> None:
    assert "no requests" in words(line_chart("no requests", [], x="s", y="ms"))
    assert drawing(bar_chart("none", [])) is not None


def test_a_spectrum_gives_the_last_per_cents_their_room() -> None:
    svg = spectrum_chart("t", [Series("a", [(0.5, 1), (0.9, 2), (0.99, 5), (1.0, 9)])])
    (line,) = drawing(svg).iter("polyline")
    x = [float(each.split(",")[0]) - 64 for each in line.get("points").split()]
    # Each nine more is as wide as the one before.
    assert x[2] - x[1] == x[1] == x[3] / 5
    assert {"0 %", "50 %", "90 %", "99 %", "99.9 %", "99.99 %"} <= set(words(svg))


def test_a_bar_is_as_long_as_its_value_and_shows_its_goal() -> None:
    svg = bar_chart("t", [Bar("ours", 4.0, goal=2.0), Bar("theirs", 1.0)])
    ours, theirs = (float(each.get("width")) for each in drawing(svg).iter("rect"))
    assert ours == 4 * theirs
    (goal,) = (each for each in drawing(svg).iter("line"))
    assert float(goal.get("x1")) - 330 == ours / 2


def test_a_page_is_one_file_without_script_or_address() -> None:
    charts = line_chart(HOSTILE, [Series(HOSTILE, [(1, 1)])], x=HOSTILE, y=HOSTILE)
    html = page(
        HOSTILE,
        HOSTILE,
        [(HOSTILE, charts + bar_chart(HOSTILE, [Bar(HOSTILE, 1.0)]))],
    )
    html += table([HOSTILE], [[HOSTILE]])
    assert "<script" not in html
    assert not re.search(r"https?:|src=|url\(|@import", html)


def test_met_and_missed_have_their_colours() -> None:
    html = table(["row", ""], [["a", "met"], ["b", "missed"]])
    assert '<td class="good">met</td>' in html
    assert '<td class="bad">missed</td>' in html


def test_ticks_are_round_and_enclose_everything() -> None:
    for largest in (0.003, 0.7, 1.0, 3.3, 99.0, 100.0, 101.0, 12_345.0):
        ticks = ticks_to(largest)
        assert ticks[0] == 0.0
        assert ticks[-2] < largest <= ticks[-1]
        assert 2 <= len(ticks) <= 7
