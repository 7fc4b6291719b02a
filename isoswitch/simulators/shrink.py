"""The smallest story that still fails: fewer nodes, fewer faults, fewer customers.

What is left out leaves the rest as it was (see ``plan.py``), so cutting is trying: a
part goes if the story without it still fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from isoswitch.simulators.plan import Plan

TRIES_MAX = 400


def shrink(
    plan: Plan, fails: Callable[[Plan], bool], *, tries_max: int = TRIES_MAX
) -> Plan:
    """Give the smallest plan found that fails as this one does.

    Parameters
    ----------
    plan
        A plan that fails.
    fails
        Tells the story of a plan and whether it fails.
    tries_max
        How many stories may be told.
    """
    tries = 0
    smallest = plan
    is_smaller = True
    while is_smaller:
        is_smaller = False
        for candidate in _smaller(smallest):
            if tries == tries_max:
                return smallest
            tries += 1
            if fails(candidate):
                smallest, is_smaller = candidate, True
                break
    return smallest


def _smaller(plan: Plan) -> Iterator[Plan]:
    """Give plans with something left out, those that leave out most first."""
    if plan.nodes > 1:
        yield replace(plan, nodes=1)
    for fault in sorted(plan.faults):
        yield replace(plan, faults=plan.faults - {fault})
    customers = plan.customers
    size = len(customers) // 2
    while size:
        for start in range(0, len(customers), size):
            rest = customers[:start] + customers[start + size :]
            yield replace(plan, customers=rest)
        size //= 2
