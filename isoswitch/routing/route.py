"""A route: the endpoints to ask, in order, and every step that led there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from isoswitch.codecs.canonical.values import quick
from isoswitch.routing.facts import Facts
from isoswitch.routing.health import EndpointState


class StepKind(StrEnum):
    """What a step of a decision did."""

    ROW = "row"
    NO_ROW = "no_row"
    WALLET = "wallet"
    NO_WALLET = "no_wallet"
    RULE = "rule"
    LISTED = "listed"
    DRAWN = "drawn"
    PRICED = "priced"
    NO_PRICE = "no_price"
    DOWN = "down"
    SPARED = "spared"
    PROBE = "probe"
    UNHEALTHY = "unhealthy"
    ORIGINAL = "original"


class Step(NamedTuple):
    """One step: what it did, to which endpoint, row or rule, and a figure for it."""

    kind: StepKind
    subject: str
    value: str = ""


WORDS: Mapping[StepKind, str] = {
    StepKind.ROW: "the card falls into BIN {subject}",
    StepKind.NO_ROW: "no BIN covers the card",
    StepKind.WALLET: "the code belongs to wallet {subject}",
    StepKind.NO_WALLET: "no wallet honours the code",
    StepKind.RULE: "rule {subject} is the first that fits",
    StepKind.LISTED: "candidates: {subject}",
    StepKind.DRAWN: "by weight, the draw for this transaction: {subject}",
    StepKind.PRICED: "{subject} costs {value} minor units",
    StepKind.NO_PRICE: "{subject} has no price in this currency: after the others",
    StepKind.DOWN: "{subject} is left out: it is down",
    StepKind.SPARED: "{subject} is left out: its breaker is {value}",
    StepKind.PROBE: "{subject} is half open: this request is its probe",
    StepKind.UNHEALTHY: "{subject} answers {value} of 1000: after the others",
    StepKind.ORIGINAL: "{subject} decided {value}, on which this acts",
}
_SHORT: Mapping[StepKind, str] = {
    StepKind.DOWN: "{subject} is down",
    StepKind.SPARED: "the breaker of {subject} is {value}",
    StepKind.PROBE: "{subject} is probed",
    StepKind.UNHEALTHY: "{subject} answers {value} of 1000",
}


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The endpoints to ask, in order, and why these; empty when none can be asked.

    ``candidates`` are those in their order before anybody was left out. ``row`` names
    the BIN row, empty when no row covers the card; ``stand_in`` names its profile.
    """

    endpoints: tuple[str, ...]
    candidates: tuple[str, ...] = ()
    row: str
    stand_in: str = ""
    steps: tuple[Step, ...]
    facts: Facts
    states: Mapping[str, EndpointState]

    @property
    def reason(self) -> str:
        """Say in one clause why these endpoints.

        It has the row and the rule, who was left out, and the order.
        """
        if self.steps and self.steps[0].kind is StepKind.ORIGINAL:
            return self.words()[0]
        if not self.row:
            return WORDS[StepKind.NO_WALLET if self.facts.code else StepKind.NO_ROW]
        rule = next((s.subject for s in self.steps if s.kind is StepKind.RULE), "")
        what = "wallet" if self.facts.code else "BIN"
        where = f"{what} {self.row}" + (f", rule {rule}" if rule else "")
        why = [
            _SHORT[step.kind].format(subject=step.subject, value=step.value)
            for step in self.steps
            if step.kind in _SHORT
        ]
        order = ", then ".join(self.endpoints)
        if not why:
            return f"{where}: {order}"
        so = f"so {order}" if order else "no endpoint can be asked"
        return f"{where}: {', '.join(why)}, {so}"

    def words(self) -> list[str]:
        """Tell every step in a sentence."""
        return [
            WORDS[step.kind].format(subject=step.subject, value=step.value)
            for step in self.steps
        ]

    def to_data(self) -> dict[str, Any]:
        """Give what is written down, enough to decide again."""
        states = {name: state.to_data() for name, state in self.states.items()}
        return {
            "facts": self.facts.to_data(),
            "row": self.row,
            "steps": [
                [step.kind, step.subject, step.value]
                if step.value
                else [step.kind, step.subject]
                for step in self.steps
            ],
            "to": list(self.endpoints),
            "endpoints": sorted(states),
            "states": {name: data for name, data in states.items() if data},
        }
