"""``isoswitch load``: pay at a rate, watch, and hold the result against thresholds."""

from __future__ import annotations

import gc
import re
import secrets
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from rich.live import Live
from rich.text import Text

from isoswitch.codecs.canonical.codes import Kind
from isoswitch.codecs.canonical.errors import ConfigError
from isoswitch.codecs.dialects.registry import CARD_TERMINALS, get_dialect
from isoswitch.codecs.iso20022.caaa_tables import ROWS
from isoswitch.commands.console import (
    FAILED,
    OK,
    USAGE,
    Failure,
    plain_table,
    print_json,
    stderr,
    stdout,
)
from isoswitch.commands.ends import (
    card_named,
    connect_socket,
    keyring_of,
    nobody_listens,
    terminal_profile,
)
from isoswitch.commands.pay import KINDS
from isoswitch.config.load import LoadedNetwork, load_network
from isoswitch.simulators.charts import Series, line_chart, page, spectrum_chart, table
from isoswitch.simulators.figures import (
    PERCENTILES,
    Figures,
    Threshold,
    measure,
    parse_threshold,
)
from isoswitch.simulators.keyed_macs import mac_maker
from isoswitch.simulators.load import Fate, Generator, Line, Manners, Tally
from isoswitch.simulators.requests import RequestBuilder
from isoswitch.simulators.schedule import Stage, due_times, make_stages
from isoswitch.simulators.stencils import Wanted, requests_of
from isoswitch.switch.numbers import STAN_MAX
from isoswitch.switch.ports import SystemClock
from isoswitch.switch.settings import AdmissionSettings

AMOUNTS_MINOR = (1_00, 99_99)
DRAWN_AMOUNTS = 20
"""Each terminal asks for so many amounts, again and again."""

MIXABLE = ("purchase", "cash", "preauth", "balance", "statement")
TOLD_EVERY_S = 10
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|)")
_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
_MIX = re.compile(r"([a-z]+)(?:=(\d+))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What somebody typed, checked."""

    stages: tuple[Stage, ...]
    mix: tuple[tuple[Kind, int], ...]
    cards: tuple[str, ...]
    terminals: tuple[str, ...]
    thresholds: tuple[Threshold, ...]
    seed: int

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return sum(stage.seconds for stage in self.stages)

    def draw(self, random: Random) -> Callable[[], Wanted]:
        """Give what draws one request after the other."""
        kinds, weights = zip(*self.mix, strict=True)
        cards = [card_named(name) for name in self.cards]
        amounts = [random.randint(*AMOUNTS_MINOR) for _ in range(DRAWN_AMOUNTS)]

        def draw() -> Wanted:
            (kind,) = random.choices(kinds, weights)
            return Wanted(kind, random.choice(cards), random.choice(amounts))

        return draw


def make_plan(
    loaded: LoadedNetwork,
    *,
    rates: Sequence[float],
    duration: str,
    ramp: str,
    mix: str,
    cards: Sequence[str],
    terminals: Sequence[str],
    thresholds: Sequence[str],
    seed: int,
) -> Plan:
    """Check what was typed; raises Failure."""
    known = loaded.network.terminals
    for name in terminals:
        terminal_profile(loaded, name)
    kinds = parse_mix(mix)
    # A terminal with a master key has no working keys before it signs in.
    usable = [
        name
        for name in terminals or known
        if not known[name].tmk and _has_messages(loaded, name, kinds)
    ]
    if not usable:
        raise Failure(
            "every terminal must sign in first, which load does not do, or has no "
            "message for a kind of the mix",
            fix="name others with --terminal, or another --mix",
            exit_code=USAGE,
        )
    try:
        parsed = tuple(map(parse_threshold, thresholds))
    except ConfigError as error:
        raise Failure(str(error), exit_code=USAGE) from None
    for name in cards:
        card_named(name)
    stages = make_stages(
        rates, hold_s=parse_duration(duration), ramp_s=parse_duration(ramp)
    )
    return Plan(
        stages=stages,
        mix=kinds,
        cards=tuple(cards),
        terminals=tuple(usable),
        thresholds=parsed,
        seed=seed,
    )


def _has_messages(
    loaded: LoadedNetwork, terminal_id: str, mix: Sequence[tuple[Kind, int]]
) -> bool:
    """Whether a terminal's dialect has a message for every kind of a mix."""
    listener = loaded.network.terminals[terminal_id].listener
    if loaded.network.listeners[listener].dialect not in CARD_TERMINALS:
        return True
    return all(kind in ROWS for kind, _ in mix)


def parse_duration(text: str) -> float:
    """Read a duration in seconds.

    Raises
    ------
    Failure
        It is none.

    Examples
    --------
    >>> parse_duration("90"), parse_duration("1.5m"), parse_duration("2h")
    (90.0, 90.0, 7200.0)
    """
    found = _DURATION.fullmatch(text)
    if found is None:
        raise Failure(
            f"{text!r} is no duration", fix="such as 30s, 5m or 2h", exit_code=USAGE
        )
    return float(found[1]) * _SECONDS[found[2]]


def parse_mix(text: str) -> tuple[tuple[Kind, int], ...]:
    """Read a mix of kinds with their weights.

    Raises
    ------
    Failure
        A kind does not exist, or acts on an earlier transaction.

    Examples
    --------
    >>> [(kind.value, weight) for kind, weight in parse_mix("purchase=9,balance=1")]
    [('purchase', 9), ('balance_inquiry', 1)]
    """
    mix = []
    for part in text.split(","):
        found = _MIX.fullmatch(part.strip())
        if found is None or found[1] not in MIXABLE or found[2] == "0":
            raise Failure(
                f"{part.strip()!r} is no part of a mix",
                fix=f"such as purchase=80,balance=20, of {', '.join(MIXABLE)}",
                exit_code=USAGE,
            )
        mix.append((KINDS[found[1]][0], int(found[2] or 1)))
    return tuple(mix)


def load(
    config: Path | None, *, report: Path | None, as_json: bool, **typed: Any
) -> int:
    """Pay as typed, tell what came of it, and give the exit code."""
    loaded = load_network(config)
    plan = make_plan(loaded, **typed)
    _warn(loaded, plan)
    if report is not None:
        # A place that cannot be written is told before the run, and not after.
        report.touch()
    began = SystemClock().now()
    tally = _pay(loaded, plan)
    result = Run(plan=plan, tally=tally, began=began)
    if report is not None:
        report.write_text(result.html(), encoding="utf-8")
    if as_json:
        print_json(result.as_json())
    else:
        result.tell()
        if report is not None:
            stderr().print(Text(f"report: {report}", style="dim"))
    return OK if result.is_good else FAILED


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a run came to, for people, for programs and as a page."""

    plan: Plan
    tally: Tally
    began: datetime

    @property
    def figures(self) -> Figures:
        """The figures, with those that thresholds ask for."""
        return measure(self.tally, self.plan.thresholds)

    @property
    def is_good(self) -> bool:
        """Whether every threshold is met and no answer was wrong."""
        return not self.tally.wrong and all(met for _, _, met in self.verdicts())

    def verdicts(self) -> Iterator[tuple[Threshold, float, bool]]:
        """Give each threshold with what was measured, and whether it is met."""
        figures = self.figures
        for each in self.plan.thresholds:
            value = figures.get(each.figure)
            yield each, value, each.is_met(value)

    def tell(self) -> None:
        """Print the tables of a run."""
        console = stdout()
        for head, rows in self._tables():
            shown = plain_table(*head)
            for column in shown.columns[1:]:
                column.justify = "right"
            for row in rows:
                shown.add_row(*row)
            console.print(shown)
            console.print()
        for each, value, met in self.verdicts():
            mark, style = ("✓", "green") if met else ("✗", "bold red")
            console.print(Text(f"{mark} {each.text}: {each.show(value)}", style=style))
        if self.tally.wrong:
            console.print(Text(f"✗ {self.tally.wrong} wrong answers", style="bold red"))

    def as_json(self) -> dict[str, Any]:
        """Give everything as one JSON object."""
        figures = self.figures
        return {
            "began": self.began.isoformat(),
            "seconds": round(self.tally.ends_at - self.tally.begins_at, 3),
            "due": figures.due,
            "figures": {k: round(v, 3) for k, v in figures.values.items()},
            "codes": {code.value: n for code, n in self.tally.codes.items()},
            "thresholds": [
                {"threshold": each.text, "value": round(value, 3), "met": met}
                for each, value, met in self.verdicts()
            ],
            "met": self.is_good,
            "course": [
                {
                    "second": number,
                    **{fate.value: second.fates[fate] for fate in Fate},
                    "p50_ms": round(second.latencies.percentile_ms(0.5), 3),
                    "p99_ms": round(second.latencies.percentile_ms(0.99), 3),
                }
                for number, second in sorted(self.tally.seconds.items())
            ],
        }

    def html(self) -> str:
        """Give a page of its own with tables and charts."""
        course = sorted(self.tally.seconds.items())

        def over_time(name: str, share: float) -> Series:
            return Series(
                name, [(n, each.latencies.percentile_ms(share)) for n, each in course]
            )

        counts = [
            Series(fate.value, [(n, each.fates[fate]) for n, each in course])
            for fate in Fate
            if self.tally.fates[fate]
        ]
        spectrum = [Series("all", list(self.tally.all_latencies().spectrum()))]
        charts = [
            line_chart("Requests by what became of them", counts, x="s", y="a second"),
            line_chart(
                "Latency of what was due in each second",
                [over_time("p50", 0.5), over_time("p99", 0.99)],
                x="s",
                y="ms",
            ),
            spectrum_chart("Latency by share of requests", spectrum),
        ]
        verdicts = [
            [each.text, each.show(value), "met" if met else "missed"]
            for each, value, met in self.verdicts()
        ]
        figures, latencies, codes = (table(*each) for each in self._tables())
        note = (
            f"{self.began:%Y-%m-%d %H:%M:%S} UTC, {len(self.plan.terminals)} terminals,"
            f" seed {self.plan.seed}. Latencies count from the moment a request was "
            "due, sent or not."
        )
        sections = [
            ("Figures", figures + latencies),
            ("Course", "\n".join(charts)),
            ("Answers", codes),
        ]
        if verdicts:
            held = table(("threshold", "measured", ""), verdicts)
            sections.insert(0, ("Thresholds", held))
        return page("Load test", note, sections)

    def _tables(self) -> Iterator[tuple[tuple[str, ...], list[list[str]]]]:
        """Give the tables that people see: columns, then rows."""
        figures, tally = self.figures, self.tally
        seconds = tally.ends_at - tally.begins_at
        yield (
            ("", "requests", "share", "a second"),
            [
                ["due", f"{figures.due:,}", "", f"{figures.due / seconds:,.1f}"],
                *(
                    [
                        fate.value,
                        f"{count:,}",
                        f"{figures.get(fate.value):.2f} %",
                        f"{count / seconds:,.1f}",
                    ]
                    for fate, count in tally.fates.items()
                ),
            ],
        )
        names = (*(f"p{each:g}" for each in PERCENTILES), "mean", "max")
        yield (
            ("latency", *names),
            [["ms", *(f"{figures.get(name):,.2f}" for name in names)]],
        )
        yield (
            ("answer", "count"),
            [[code.value, f"{n:,}"] for code, n in tally.codes.most_common()],
        )


def _pay(loaded: LoadedNetwork, plan: Plan) -> Tally:
    """Pay as planned and tell the progress; Ctrl-C ends it early."""
    lines = [_line(loaded, plan, name) for name in plan.terminals]
    # What was loaded stays; the collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    began_at = time.perf_counter()
    tally = Tally(begins_at=began_at, ends_at=began_at + plan.seconds)
    patience_s = loaded.network.timers.terminal_s
    try:
        generator = Generator(lines, tally, patience_s=patience_s)
    except (ssl.SSLError, OSError):
        raise nobody_listens(loaded, plan.terminals[0]) from None
    due_at = (began_at + each for each in due_times(plan.stages))
    with Live(console=stderr(), auto_refresh=False, transient=True) as live:
        try:
            while (now := time.perf_counter()) < tally.ends_at:
                generator.pay_open(due_at, until=min(now + 1.0, tally.ends_at))
                _tell_progress(live, generator, plan)
        except KeyboardInterrupt:
            tally.ends_at = time.perf_counter()
    with suppress(KeyboardInterrupt):
        generator.drain()
    return tally


def _tell_progress(live: Live, generator: Generator, plan: Plan) -> None:
    tally = generator.tally
    elapsed = round(time.perf_counter() - tally.begins_at)
    # The last second still waits for its answers.
    second = tally.seconds.get(elapsed - 2)
    words = f"{elapsed:>4} of {plan.seconds:.0f} s  {generator.sent:,} sent"
    if second is not None:
        count = second.fates.total()
        words += (
            f"  {count}/s  {second.fates[Fate.APPROVED] / count:.1%} approved"
            f"  p99 {second.latencies.percentile_ms(0.99):,.1f} ms"
        )
    words += f"  {generator.waiting} waiting"
    if live.console.is_terminal:
        live.update(Text(words), refresh=True)
    elif elapsed % TOLD_EVERY_S == 0:
        live.console.print(words)


def _line(loaded: LoadedNetwork, plan: Plan, terminal_id: str) -> Line:
    """Make the connection of one terminal and what it will ask for."""
    profile, keyring = terminal_profile(loaded, terminal_id), keyring_of(loaded)
    first_stan = secrets.randbelow(STAN_MAX) + 1
    make_mac = mac_maker(keyring.get_key(profile.tak)) if profile.tak else None
    builder = RequestBuilder(
        profile, keyring=keyring, clock=SystemClock(), first_stan=first_stan
    )
    return Line(
        partial(connect_socket, loaded, terminal_id),
        Manners(
            dialect=get_dialect(profile.dialect),
            framing=profile.framing,
            header=profile.header,
            make_mac=make_mac,
        ),
        requests_of(
            builder,
            plan.draw(Random(f"{plan.seed} {terminal_id}")),  # noqa: S311
            make_mac=make_mac,
            first_stan=first_stan,
        ),
    )


def _warn(loaded: LoadedNetwork, plan: Plan) -> None:
    """Say beforehand when the switch is configured to refuse so much."""
    rate = max(stage.end_per_s for stage in plan.stages) / len(plan.terminals)
    admitted = loaded.network.admission.terminal_per_s
    if admitted is None:
        admitted = AdmissionSettings().terminal_per_s
    if rate > admitted:
        stderr().print(
            Text(
                f"each terminal will ask {rate:g} times a second and may ask "
                f"{admitted:g} times: [admission] terminal_per_s in {loaded.path.name}",
                style="yellow",
            )
        )
