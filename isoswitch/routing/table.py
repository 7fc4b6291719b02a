"""Decides the route of a transaction, and says why; pure.

Row of the card, first rule that fits, its candidates in order; then those that are
down or spared are left out, and those that do badly go last.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from isoswitch.routing.bins import BinRow, BinTable
from isoswitch.routing.facts import Facts
from isoswitch.routing.health import GOOD, MAY_BE_ASKED, BreakerState, EndpointState
from isoswitch.routing.route import Route, Step, StepKind
from isoswitch.routing.rules import CostRow, Order, Rule, conditions_of, draw

# By endpoint, then by currency.
Costs = Mapping[str, Mapping[str, CostRow]]
BY_ROW = Rule(name="")


class RoutingTable:
    """The BIN rows, wallets, rules and costs of a network.

    ``codes`` are the rows of payment codes, by the two digits that they begin with.
    ``score_min`` is the score under which an endpoint is asked after the others.

    Raises
    ------
    BinsRefused
        The rows make no table.

    Examples
    --------
    >>> from isoswitch.routing.bins import Span
    >>> table = RoutingTable([
    ...     BinRow(digits="411111", primary="alpha"),
    ...     BinRow(digits="41111111", primary="beta", alternate="alpha"),
    ... ])
    >>> facts = Facts(transaction_id="1-1", card=Span.of_digits("41111111111"))
    >>> route = table.find_route(facts, {})
    >>> route.endpoints, route.reason
    (('beta', 'alpha'), 'BIN 41111111: beta, then alpha')
    """

    def __init__(
        self,
        rows: Iterable[BinRow],
        *,
        rules: Sequence[Rule] = (),
        costs: Costs | None = None,
        score_min: int = 0,
        codes: Mapping[str, BinRow] | None = None,
    ) -> None:
        self.bins = BinTable(rows)
        self.rules = tuple(rules)
        self._asked = tuple((rule, conditions_of(rule)) for rule in rules)
        self.costs = costs or {}
        self.codes = codes or {}
        self._score_min = score_min

    def find_route(self, facts: Facts, states: Mapping[str, EndpointState]) -> Route:
        """Decide who is asked; an endpoint without a state is taken to be well."""
        by_code = self.codes.get(facts.code)
        row = by_code if facts.code else self.bins.find(facts.card)
        return self.route_of_row(row, facts, states)

    def route_of_row(
        self, row: BinRow | None, facts: Facts, states: Mapping[str, EndpointState]
    ) -> Route:
        """Decide who is asked about a card of a row; no row, nobody."""
        if row is None:
            lacks = StepKind.NO_WALLET if facts.code else StepKind.NO_ROW
            steps = (Step(lacks, ""),)
            return Route(endpoints=(), row="", steps=steps, facts=facts, states=states)
        # Only a code's own wallet knows whose it is: no rule sends it elsewhere.
        has = StepKind.WALLET if facts.code else StepKind.ROW
        steps_taken = [Step(has, row.label)]
        rule = BY_ROW if facts.code else self._find_rule(facts, row)
        if rule is not BY_ROW:
            steps_taken.append(Step(StepKind.RULE, rule.name))
        candidates = rule.candidates or row.endpoints
        steps_taken.append(Step(StepKind.LISTED, ", ".join(candidates)))
        ordered = self._order(rule, candidates, facts, steps_taken)
        endpoints = self._available(ordered, states, steps_taken)
        return Route(
            endpoints=tuple(endpoints),
            candidates=tuple(ordered),
            row=row.label,
            stand_in=row.stand_in,
            steps=tuple(steps_taken),
            facts=facts,
            states=states,
        )

    def _find_rule(self, facts: Facts, row: BinRow) -> Rule:
        for rule, conditions in self._asked:
            for condition in conditions:
                if not condition.holds(rule, facts, row):
                    break
            else:
                return rule
        return BY_ROW

    def _order(
        self, rule: Rule, candidates: Sequence[str], facts: Facts, steps: list[Step]
    ) -> Sequence[str]:
        match rule.order:
            case Order.LISTED:
                return candidates
            case Order.WEIGHTS:
                shares = {name: rule.weights.get(name, 0) for name in candidates}
                drawn = draw(facts.transaction_id, shares)
                steps.append(Step(StepKind.DRAWN, ", ".join(drawn)))
                # A share of nothing is a place at the end.
                return (*drawn, *(name for name in candidates if not shares[name]))
            case Order.COST:
                return self._cheapest_first(candidates, facts, steps)

    def _cheapest_first(
        self, candidates: Sequence[str], facts: Facts, steps: list[Step]
    ) -> Sequence[str]:
        prices: dict[str, int] = {}
        for name in candidates:
            row = self.costs.get(name, {}).get(facts.currency)
            if row is None:
                steps.append(Step(StepKind.NO_PRICE, name))
            else:
                prices[name] = row.cost_minor(facts.amount_minor)
                steps.append(Step(StepKind.PRICED, name, str(prices[name])))
        unpriced = [name for name in candidates if name not in prices]
        return sorted(prices, key=prices.__getitem__) + unpriced

    def _available(
        self,
        ordered: Sequence[str],
        states: Mapping[str, EndpointState],
        steps: list[Step],
    ) -> list[str]:
        """Leave out who cannot be asked, and put last who does badly."""
        well: list[str] = []
        unwell: list[str] = []
        for name in ordered:
            state = states.get(name, GOOD)
            if not state.is_up:
                steps.append(Step(StepKind.DOWN, name))
                continue
            if state.breaker not in MAY_BE_ASKED:
                steps.append(Step(StepKind.SPARED, name, state.breaker))
                continue
            if state.breaker is BreakerState.HALF_OPEN:
                steps.append(Step(StepKind.PROBE, name))
            if state.score < self._score_min:
                steps.append(Step(StepKind.UNHEALTHY, name, str(state.score)))
                unwell.append(name)
            else:
                well.append(name)
        return well + unwell
