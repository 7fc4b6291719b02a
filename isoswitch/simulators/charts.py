"""Pages of tables and drawings for reports: one HTML file that asks nobody for more.

Drawings are inline SVG; there is no script, and no address of anything outside. A chart
stands in a box of 720 by 260, its plot inside the margins::

    title
       |
     y |      lines, and their names at the top right
       |________________
              x
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 720, 260
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 40, 40
TICKS = 5
BAR_HEIGHT, BAR_LABEL = 22, 330
COLOURS = 5

Point = tuple[float, float]
Tick = tuple[float, str]

_STYLE = """
:root { --ink: #1d2433; --paper: #fbfbfa; --line: #d7dae0; --soft: #667085;
  --c0: #1f6feb; --c1: #d9730d; --c2: #1a7f37; --c3: #8250df; --c4: #cf222e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ec; --paper: #14171d;
  --line: #343a46; --soft: #98a2b3; --c0: #58a6ff; --c1: #f0883e; --c2: #3fb950;
  --c3: #bc8cff; --c4: #ff7b72; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); margin: 2rem auto;
  background: var(--paper); max-width: 60rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; } h2 { font-size: 1.1rem; margin-top: 2rem; }
p.note { color: var(--soft); margin-top: .2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%; }
th, td { padding: .25rem .8rem .25rem 0; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
table { margin-bottom: 1.2rem; }
th { color: var(--soft); font-weight: normal; }
th:first-child, td:first-child { text-align: left; white-space: normal; }
.good { color: var(--c2); } .bad { color: var(--c4); }
svg { max-width: 100%; height: auto; display: block; margin: .5rem 0 1.2rem; }
svg text { font: 12px system-ui, sans-serif; fill: var(--soft); }
svg text.title { font-size: 14px; fill: var(--ink); }
svg .grid { stroke: var(--line); stroke-width: 1; }
svg .goal { stroke: var(--ink); stroke-width: 1.5; stroke-dasharray: 4 3; }
"""


@dataclass(frozen=True, slots=True)
class Series:
    """A line of a chart and its name."""

    name: str
    points: Sequence[Point]


@dataclass(frozen=True, slots=True)
class Bar:
    """One value of a bar chart, and the goal it is held against."""

    label: str
    value: float
    goal: float | None = None
    is_good: bool = True


def line_chart(
    title: str,
    series: Sequence[Series],
    *,
    x: str,
    y: str,
    x_ticks: Sequence[Tick] = (),
) -> str:
    """Draw lines over one another; axes begin at zero, ``x_ticks`` name places of x."""
    points = [point for each in series for point in each.points]
    x_max = (
        max([at for at, _ in points] + [at for at, _ in x_ticks], default=1.0) or 1.0
    )
    y_ticks = ticks_to(max((value for _, value in points), default=1.0))
    y_max = y_ticks[-1]
    plot_width, plot_height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def place(point: Point) -> Point:
        right, up = point[0] / x_max * plot_width, point[1] / y_max * plot_height
        return LEFT + right, HEIGHT - BOTTOM - up

    parts = [_text(LEFT, 18, title, kind="title")]
    for value in y_ticks:
        _, height = place((0.0, value))
        parts += [
            _rule(LEFT, height, WIDTH - RIGHT, height),
            _text(LEFT - 8, height + 4, f"{value:g}", anchor="end"),
        ]
    for at, label in x_ticks or [(each, f"{each:g}") for each in ticks_to(x_max)]:
        if at <= x_max:
            side, _ = place((at, 0.0))
            parts.append(_text(side, HEIGHT - BOTTOM + 18, label, anchor="middle"))
    parts.append(_text(WIDTH - RIGHT, HEIGHT - 6, x, anchor="end"))
    parts.append(_text(8, TOP - 8, y))
    for number, each in enumerate(series):
        colour = f"var(--c{number % COLOURS})"
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in map(place, each.points))
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" '
            'stroke-width="1.8" stroke-linejoin="round"/>'
        )
        # The names stand beside each other, the last at the right edge.
        side = WIDTH - RIGHT - 150 * (len(series) - 1 - number)
        name = _text(side, TOP - 8, each.name, anchor="end", colour=colour)
        parts.append(name)
    return _svg(HEIGHT, title, parts)


def bar_chart(title: str, bars: Sequence[Bar]) -> str:
    """Draw values as bars of a common scale, with a mark where each goal is."""
    largest = max(
        [each.value for each in bars] + [each.goal or 0.0 for each in bars], default=1.0
    )
    scale = (WIDTH - BAR_LABEL - 70) / (largest or 1.0)
    parts = [_text(0, 18, title, kind="title")]
    for number, bar in enumerate(bars):
        top = 30 + number * BAR_HEIGHT
        colour = "var(--c0)" if bar.is_good else "var(--c4)"
        width = max(bar.value * scale, 1.0)
        parts.append(
            f'<rect x="{BAR_LABEL}" y="{top + 3}" width="{width:.1f}" '
            f'height="{BAR_HEIGHT - 8}" fill="{colour}" rx="2"/>'
        )
        parts += [
            _text(BAR_LABEL - 8, top + 14, bar.label, anchor="end"),
            _text(BAR_LABEL + width + 6, top + 14, f"{bar.value:g}"),
        ]
        if bar.goal is not None:
            side = BAR_LABEL + bar.goal * scale
            parts.append(_rule(side, top, side, top + BAR_HEIGHT - 2, kind="goal"))
    return _svg(40 + len(bars) * BAR_HEIGHT, title, parts)


def spectrum_chart(title: str, spectra: Sequence[Series]) -> str:
    """Draw latencies over shares, the last per cents as wide as the first ninety.

    The points of a series are shares and milliseconds, as a histogram's spectrum.
    """
    ticks = [(_nines(share), f"{100 * share:g} %") for share in _SHARES]
    placed = [
        Series(each.name, [(_nines(share), ms) for share, ms in each.points])
        for each in spectra
    ]
    return line_chart(title, placed, x="share answered", y="ms", x_ticks=ticks)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay out rows of text; the words met and missed get their colours."""
    kinds = {"met": ' class="good"', "missed": ' class="bad"'}
    head = "".join(f"<th>{escape(each)}</th>" for each in columns)
    body = "\n".join(
        "<tr>"
        + "".join(f"<td{kinds.get(cell, '')}>{escape(cell)}</td>" for cell in row)
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>"


def page(title: str, note: str, sections: Sequence[tuple[str, str]]) -> str:
    """Put sections, each a heading and its HTML, into a page of its own."""
    body = "\n".join(f"<h2>{escape(head)}</h2>\n{html}" for head, html in sections)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f'<h1>{escape(title)}</h1>\n<p class="note">{escape(note)}</p>\n'
        f"{body}\n</body>\n</html>\n"
    )


def ticks_to(largest: float) -> list[float]:
    """Give round numbers from zero to the first that is not below the largest.

    Examples
    --------
    >>> ticks_to(87.0)
    [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]
    >>> ticks_to(0.0)
    [0.0, 1.0]
    """
    if largest <= 0:
        return [0.0, 1.0]
    rough = largest / TICKS
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * each for each in (1, 2, 5, 10) if unit * each >= rough)
    count = math.ceil(largest / step - 1e-9)
    return [round(number * step, 12) for number in range(count + 1)]


_SHARES = (0.0, 0.5, 0.9, 0.99, 0.999, 0.9999)


def _nines(share: float) -> float:
    """Give how many nines a share has; all of a run counts as five."""
    return min(-math.log10(max(1.0 - share, 1e-5)), 5.0)


def _svg(height: int, title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(title)}">\n' + "\n".join(parts) + "\n</svg>"
    )


def _text(
    x: float,
    y: float,
    words: str,
    *,
    anchor: str = "",
    kind: str = "",
    colour: str = "",
) -> str:
    attributes = "".join(
        f' {name}="{value}"'
        for name, value in (
            ("text-anchor", anchor),
            ("class", kind),
            ("style", f"fill: {colour}" if colour else ""),
        )
        if value
    )
    return f'<text x="{x:.1f}" y="{y:.1f}"{attributes}>{escape(words)}</text>'


def _rule(x1: float, y1: float, x2: float, y2: float, *, kind: str = "grid") -> str:
    return (
        f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" '
        f'x2="{x2:.1f}" y2="{y2:.1f}"/>'
    )
