"""Routing rules: the first that fits says who is asked, and in what order.

A rule is a row of conditions; what it does not name, it does not ask. Its candidates
take the place of those of the BIN row; without any, it orders those.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from enum import StrEnum
from hashlib import blake2b
from itertools import accumulate

from isoswitch.codecs.canonical.codes import EntryMode, Kind
from isoswitch.routing.bins import BinRow
from isoswitch.routing.facts import Facts


class Order(StrEnum):
    """How the candidates of a route are put in order."""

    LISTED = "listed"
    WEIGHTS = "weights"
    COST = "cost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """When it holds, who is asked, and in what order.

    Empty sets ask nothing. ``mccs`` are ranges, both ends included. ``amount_min`` and
    ``amount_max`` are minor units of the one currency in ``currencies``.
    ``from_minute`` up to but not including ``until_minute`` may lie across midnight
    (UTC); -1 asks for no time. ``weights`` are shares of traffic by endpoint.
    """

    name: str
    kinds: frozenset[Kind] = frozenset()
    currencies: frozenset[str] = frozenset()
    amount_min: int | None = None
    amount_max: int | None = None
    mccs: tuple[tuple[str, str], ...] = ()
    merchants: frozenset[str] = frozenset()
    countries: frozenset[str] = frozenset()
    card_countries: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    entry_modes: frozenset[EntryMode] = frozenset()
    from_minute: int = -1
    until_minute: int = -1
    candidates: tuple[str, ...] = ()
    order: Order = Order.LISTED
    weights: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One question that rules ask: whether this one does, and whether it holds."""

    name: str
    is_asked: Callable[[Rule], bool]
    holds: Callable[[Rule, Facts, BinRow], bool]


def _holds_minute(rule: Rule, facts: Facts, row: BinRow) -> bool:
    del row
    start, end = rule.from_minute, rule.until_minute
    if start <= end:
        return start <= facts.minute < end
    return facts.minute >= start or facts.minute < end


CONDITIONS: tuple[Condition, ...] = (
    Condition(
        name="kind",
        is_asked=lambda rule: bool(rule.kinds),
        holds=lambda rule, facts, row: facts.kind in rule.kinds,
    ),
    Condition(
        name="currency",
        is_asked=lambda rule: bool(rule.currencies),
        holds=lambda rule, facts, row: facts.currency in rule.currencies,
    ),
    Condition(
        name="least amount",
        is_asked=lambda rule: rule.amount_min is not None,
        holds=lambda rule, facts, row: facts.amount_minor >= (rule.amount_min or 0),
    ),
    Condition(
        name="largest amount",
        is_asked=lambda rule: rule.amount_max is not None,
        holds=lambda rule, facts, row: facts.amount_minor <= (rule.amount_max or 0),
    ),
    Condition(
        name="MCC",
        is_asked=lambda rule: bool(rule.mccs),
        holds=lambda rule, facts, row: any(
            low <= facts.mcc <= high for low, high in rule.mccs
        ),
    ),
    Condition(
        name="merchant",
        is_asked=lambda rule: bool(rule.merchants),
        holds=lambda rule, facts, row: facts.merchant_id in rule.merchants,
    ),
    Condition(
        name="country",
        is_asked=lambda rule: bool(rule.countries),
        holds=lambda rule, facts, row: facts.country in rule.countries,
    ),
    Condition(
        name="country of the card",
        is_asked=lambda rule: bool(rule.card_countries),
        holds=lambda rule, facts, row: row.country in rule.card_countries,
    ),
    Condition(
        name="group of the card",
        is_asked=lambda rule: bool(rule.groups),
        holds=lambda rule, facts, row: row.group in rule.groups,
    ),
    Condition(
        name="entry mode",
        is_asked=lambda rule: bool(rule.entry_modes),
        holds=lambda rule, facts, row: facts.entry_mode in rule.entry_modes,
    ),
    Condition(
        name="time of day",
        is_asked=lambda rule: rule.from_minute >= 0,
        holds=_holds_minute,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CostRow:
    """What an endpoint charges in one currency: a fixed amount and a share."""

    fixed_minor: int
    rate: Decimal

    def cost_minor(self, amount_minor: int) -> int:
        """Give what a transaction costs; halves go to the even neighbour.

        Examples
        --------
        >>> CostRow(fixed_minor=5, rate=Decimal("0.0125")).cost_minor(1000)
        17
        """
        share = (amount_minor * self.rate).quantize(
            Decimal(1), rounding=ROUND_HALF_EVEN
        )
        return self.fixed_minor + int(share)


def conditions_of(rule: Rule) -> tuple[Condition, ...]:
    """Give the questions that a rule asks."""
    return tuple(each for each in CONDITIONS if each.is_asked(rule))


def find_unmet(rule: Rule, facts: Facts, row: BinRow) -> str:
    """Name the first condition that does not hold; empty when all do."""
    for condition in conditions_of(rule):
        if not condition.holds(rule, facts, row):
            return condition.name
    return ""


def draw(transaction_id: str, weights: Mapping[str, int]) -> tuple[str, ...]:
    """Put endpoints in an order drawn by weight, the same for the same transaction.

    Examples
    --------
    >>> draw("1-7", {"north": 70, "south": 30}), draw("1-9", {"north": 70, "south": 30})
    (('south', 'north'), ('north', 'south'))
    """
    left = {name: weight for name, weight in weights.items() if weight > 0}
    drawn: list[str] = []
    while left:
        seed = f"{transaction_id}:{len(drawn)}".encode()
        digest = blake2b(seed, digest_size=8).digest()
        bounds = list(accumulate(left.values()))
        point = int.from_bytes(digest) % bounds[-1]
        name = list(left)[bisect_right(bounds, point)]
        drawn.append(name)
        del left[name]
    return tuple(drawn)
