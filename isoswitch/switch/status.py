"""How a switch stands: whether it is ready, why not, and its figures.

Ready means that it can take money: units of work become durable, the crypto process
answers, the clock is trusted, every listener listens, and the endpoints that the
settings demand are signed on.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from isoswitch.routing.health import FULL_SCORE, GOOD, MAY_BE_ASKED, BreakerState
from isoswitch.switch.health import Condition
from isoswitch.switch.server import Switch


class EndpointStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How the link to an endpoint stands."""

    name: str
    is_up: bool
    waiting: int
    breaker: str = BreakerState.CLOSED
    score: int = FULL_SCORE

    @property
    def is_spared(self) -> bool:
        """Whether its breaker keeps requests from it."""
        return self.breaker not in MAY_BE_ASKED


class ListenerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How a listener stands."""

    name: str
    address: str
    is_open: bool
    connections: int


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """How a switch stands, for people and for machines.

    ``problems`` are sentences: what keeps it from taking money. ``warnings`` are what
    an operator looks after while money goes on.
    """

    node: str
    boot: int
    problems: list[str]
    warnings: list[str]
    in_flight: int
    saf_waiting: int
    endpoints: list[EndpointStatus]
    listeners: list[ListenerStatus]

    @property
    def is_ready(self) -> bool:
        """Whether money can be taken now."""
        return not self.problems


def read_status(switch: Switch) -> Status:
    """Give how a switch stands now."""
    services = switch.services
    seen = services.breakers.states() if services else {}
    return Status(
        node=switch.settings.node,
        boot=services.numbers.boot if services else 0,
        problems=list(_problems(switch)),
        warnings=list(_warnings(switch)),
        in_flight=len(services.jobs) if services else 0,
        saf_waiting=switch.saf.waiting_count if switch.saf else 0,
        endpoints=[
            EndpointStatus(
                name=name,
                is_up=link.is_up,
                waiting=link.waiting_count,
                breaker=seen.get(name, GOOD).breaker,
                score=seen.get(name, GOOD).score,
            )
            for name, link in switch.links.items()
        ],
        listeners=[
            ListenerStatus(
                name=name,
                address=f"{listener.settings.host}:{listener.port}",
                is_open=listener.is_open,
                connections=listener.connection_count,
            )
            for name, listener in switch.listeners.items()
        ],
    )


def _problems(switch: Switch) -> Iterator[str]:
    if switch.is_draining:
        yield "the switch is stopping: it takes nothing new"
    elif not switch.is_started:
        yield "the switch is starting: it recovers what an earlier run left"
    if switch.is_fenced and not switch.is_draining:
        yield "its lease is not renewed: other nodes may have taken over"
    yield from map(_sentence, switch.health.conditions)
    if switch.is_started:
        for name, listener in switch.listeners.items():
            if not listener.is_open:
                yield f"listener {name} does not listen"
    down = [name for name, link in switch.links.items() if not link.is_up]
    demand = switch.settings.ready_endpoints
    if demand == "all" and down:
        yield f"not signed on: {', '.join(down)}"
    elif demand == "any" and len(down) == len(switch.links):
        yield "no endpoint is signed on"


def _warnings(switch: Switch) -> Iterator[str]:
    down = [name for name, link in switch.links.items() if not link.is_up]
    if down and switch.is_started:
        yield f"not signed on: {', '.join(down)}"
    if switch.services:
        seen = switch.services.breakers.states()
        yield from (
            f"endpoint {name} is not asked: its breaker is {state.breaker}"
            for name, state in seen.items()
            if state.breaker not in MAY_BE_ASKED
        )
    waiting = switch.saf.waiting_count if switch.saf else 0
    if waiting:
        yield f"{waiting} messages wait in store and forward"


def _sentence(condition: Condition) -> str:
    return f"{condition.part}: {condition.reason} (since {condition.since})"
