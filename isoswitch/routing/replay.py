"""Decides again what was decided once, with another table, from what was written down.

Of a card only the storable digits of its BIN were written down, and the name of its
row. Where that row lies in the old table narrows down where the card lies in the new
one. When what is left falls into several new rows that lead to different endpoints,
the decision is not exact, and every possible one is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from isoswitch.routing.bins import BinRow, Span
from isoswitch.routing.facts import Facts, to_facts
from isoswitch.routing.health import EndpointState, to_endpoint_state
from isoswitch.routing.route import StepKind
from isoswitch.routing.table import RoutingTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A decision as it was written down; ``known`` names the endpoints of its time.

    ``is_bound`` says that there was no choice: what acts on an earlier transaction goes
    where that one went.
    """

    facts: Facts
    row: str
    endpoints: tuple[str, ...]
    states: Mapping[str, EndpointState]
    known: frozenset[str]
    is_bound: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What was decided, and everything that the other table may decide.

    ``assumed`` names endpoints of the new decision that nothing was known of then:
    they are taken to be well.
    """

    transaction_id: str
    before: tuple[str, ...]
    possible: tuple[tuple[str, ...], ...]
    assumed: frozenset[str]

    @property
    def is_exact(self) -> bool:
        """Whether the new decision follows from what was written down."""
        return len(self.possible) == 1


def to_decision(transaction_id: str, data: Mapping[str, Any]) -> Decision:
    """Read a decision that `Route.to_data` wrote.

    Raises
    ------
    KeyError, ValueError
        This is no decision.
    """
    return Decision(
        facts=to_facts(transaction_id, data["facts"]),
        row=data["row"],
        endpoints=tuple(data["to"]),
        states={
            name: to_endpoint_state(state) for name, state in data["states"].items()
        },
        known=frozenset(data["endpoints"]),
        is_bound=data["steps"][0][0] == StepKind.ORIGINAL,
    )


def replay(decision: Decision, *, old: RoutingTable, new: RoutingTable) -> Replayed:
    """Decide again with the new table; ``old`` is the one of the day."""
    if decision.is_bound:
        return Replayed(
            transaction_id=decision.facts.transaction_id,
            before=decision.endpoints,
            possible=(decision.endpoints,),
            assumed=frozenset(),
        )
    rows: dict[str, BinRow | None] = {}
    if decision.facts.code:
        rows = {"": new.codes.get(decision.facts.code)}
    for span in _where_it_was(decision, old):
        for _, row in new.bins.segments(span):
            rows[row.label if row else ""] = row
    routes = [
        new.route_of_row(row, decision.facts, decision.states) for row in rows.values()
    ]
    possible = tuple(dict.fromkeys(route.endpoints for route in routes))
    return Replayed(
        transaction_id=decision.facts.transaction_id,
        before=decision.endpoints,
        possible=possible,
        assumed=frozenset(name for each in possible for name in each) - decision.known,
    )


def _where_it_was(decision: Decision, old: RoutingTable) -> list[Span]:
    """Give where the card may lie: in its BIN, and in its row of the old table."""
    if decision.facts.code:
        return []
    spans = [
        span
        for span, row in old.bins.segments(decision.facts.card)
        if (row.label if row else "") == decision.row
    ]
    # The row is no longer there by this name: only the BIN is known.
    return spans or [decision.facts.card]
