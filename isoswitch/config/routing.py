"""The routing table of a network: its BINs, in the file and in a BIN file, and rules.

A row of ``[bins]`` takes the place of the row of the BIN file with the same digits, so
that one BIN can be moved without touching a file that somebody else delivers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path

from isoswitch.codecs.canonical.errors import ConfigError
from isoswitch.codecs.canonical.money import parse_money
from isoswitch.config.bins import bin_rows, code_rows
from isoswitch.config.load import LoadedNetwork
from isoswitch.config.model import Network, RoutingRule
from isoswitch.config.source import ConfigProblems, Location, Place, Problem, Source
from isoswitch.routing.binfile import read_bin_rows
from isoswitch.routing.bins import BinProblem, BinRow, BinsRefused, override
from isoswitch.routing.rules import CostRow, Order, Rule
from isoswitch.routing.table import RoutingTable

PROBLEMS_MAX = 50
# A card number that got into the file by mistake is not shown.
_LONG_NUMBERS = re.compile(r"\d{12,}", re.ASCII)


def load_routing(loaded: LoadedNetwork) -> RoutingTable:
    """Give the routing table of a network, its BIN file read and checked as a whole.

    Raises
    ------
    ConfigError
        The BIN file cannot be read, or rows do not hold; says everything with lines.
    """
    network = loaded.network
    name = network.routing.bins_file
    path = loaded.path if name is None else loaded.file(name)
    lines = [] if name is None else _read_lines(path)
    try:
        rows = [] if name is None else read_bin_rows(lines)
        wrong = list(_strangers(rows, network))
        if wrong:
            raise BinsRefused(wrong)
        return RoutingTable(
            override(rows, by=bin_rows(network)),
            rules=[_rule(rule) for rule in network.routing.rules],
            costs=_costs(network),
            codes=code_rows(network),
            score_min=network.routing.health.score_min,
        )
    except BinsRefused as fault:
        raise _explain(path, lines, fault.problems) from None


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines() or [""]
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8 text"
        msg = f"cannot read the BIN file {path}: {reason}; see [routing] bins_file"
        raise ConfigError(msg) from None


def _strangers(rows: Iterable[BinRow], network: Network) -> Iterator[BinProblem]:
    for row in rows:
        for endpoint in row.endpoints:
            if endpoint not in network.endpoints:
                near = get_close_matches(endpoint, network.endpoints, n=1)
                yield BinProblem(
                    line=row.line,
                    digits=row.digits,
                    what=f"there is no endpoint {endpoint!r}",
                    fix=f"did you mean {near[0]!r}?"
                    if near
                    else f"name one of {', '.join(sorted(network.endpoints))}",
                )
        if row.stand_in and row.stand_in not in network.stand_in:
            yield BinProblem(
                line=row.line,
                digits=row.digits,
                what=f"there is no stand-in profile {row.stand_in!r}",
                fix=f"add [stand_in.{row.stand_in}], or leave it empty",
            )
        if row.alternate == row.primary:
            yield BinProblem(
                line=row.line,
                digits=row.digits,
                what=f"{row.primary} is primary and alternate",
                fix="leave the alternate empty, or name another endpoint",
            )


def _explain(
    path: Path, lines: Sequence[str], problems: Sequence[BinProblem]
) -> ConfigProblems:
    """Show what is wrong with rows, where they stand, at most fifty at once."""
    places: dict[Location, Place] = {
        (problem.line,): Place(line=max(problem.line, 1), column=1, width=1)
        for problem in problems
    }
    source = Source(
        path=path,
        lines=tuple(_LONG_NUMBERS.sub("****", line) for line in lines),
        values={},
        places=places,
    )
    told = [
        Problem(location=(each.line,), what=each.what, fix=each.fix)
        for each in problems[:PROBLEMS_MAX]
    ]
    if len(problems) > PROBLEMS_MAX:
        rest = len(problems) - PROBLEMS_MAX
        told.append(Problem(location=(), what=f"and {rest} problems more"))
    return ConfigProblems(source, told)


def _rule(rule: RoutingRule) -> Rule:
    start, end = _minutes(rule.between) if rule.between else (-1, -1)
    return Rule(
        name=rule.name,
        kinds=frozenset(rule.kinds),
        currencies=frozenset(rule.currencies),
        amount_min=_minor(rule, rule.amount_min),
        amount_max=_minor(rule, rule.amount_max),
        mccs=tuple((mcc[:4], mcc[-4:]) for mcc in rule.mccs),
        merchants=frozenset(rule.merchants),
        countries=frozenset(rule.countries),
        card_countries=frozenset(rule.card_countries),
        groups=frozenset(rule.groups),
        entry_modes=frozenset(rule.entry_modes),
        from_minute=start,
        until_minute=end,
        candidates=tuple(rule.candidates),
        order=Order(rule.order),
        weights=rule.weights,
    )


def _minor(rule: RoutingRule, amount: str | None) -> int | None:
    if amount is None:
        return None
    return parse_money(amount, rule.currencies[0]).minor


def _minutes(between: str) -> tuple[int, int]:
    start, _, end = between.partition("-")
    return to_minute(start), to_minute(end)


def to_minute(time: str) -> int:
    """Give the minute of the day of a time such as ``22:00``."""
    hours, _, minutes = time.partition(":")
    return int(hours) * 60 + int(minutes)


def _costs(network: Network) -> dict[str, dict[str, CostRow]]:
    costs: dict[str, dict[str, CostRow]] = {}
    for cost in network.routing.costs:
        row = CostRow(fixed_minor=cost.fixed_minor, rate=Decimal(cost.rate))
        costs.setdefault(cost.endpoint, {})[cost.currency] = row
    return costs
