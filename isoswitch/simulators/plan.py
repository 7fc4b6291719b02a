"""What a seed stands for: which faults strike, how many nodes there are, who comes.

Every part of a story draws from a source of its own, named by the seed and the part. A
smaller plan leaves what stays in it as it was, so a failing story can be cut down.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

CUSTOMERS = 140
FAULT_CHANCE = 0.4
TWO_NODES_CHANCE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One story: ``faults`` that may strike, and the ``customers`` who come."""

    seed: int
    nodes: int
    faults: frozenset[str]
    customers: tuple[int, ...]

    def source(self, part: str) -> Random:
        """Give the chance of one part of the story."""
        return Random(f"{self.seed} {part}")  # noqa: S311 it guards nothing

    def __str__(self) -> str:
        faults = ", ".join(sorted(self.faults)) or "no faults"
        return (
            f"seed {self.seed}: {self.nodes} nodes, {len(self.customers)} customers; "
            f"{faults}"
        )


def draw_plan(seed: int, faults: Iterable[str]) -> Plan:
    """Draw a story: each fault with the same chance, on its own or with others.

    Examples
    --------
    >>> draw_plan(7, ["crash", "cut link"]) == draw_plan(7, ["crash", "cut link"])
    True
    """
    random = Random(f"{seed} plan")  # noqa: S311
    return Plan(
        seed=seed,
        nodes=2 if random.random() < TWO_NODES_CHANCE else 1,
        faults=frozenset(each for each in faults if random.random() < FAULT_CHANCE),
        customers=tuple(range(CUSTOMERS)),
    )
