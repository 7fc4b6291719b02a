"""How an endpoint does: a window of its successes, and a breaker that spares it.

Pure: every function takes the time and gives a new value.

    CLOSED --failures_max failures in a row--> OPEN --open_s later--> HALF_OPEN
    HALF_OPEN --a probe is sent--> PROBING --success--> CLOSED
                                   PROBING --failure--> OPEN
                                   PROBING --silence for open_s--> HALF_OPEN
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

FULL_SCORE = 1000
BUCKETS = 6


class BreakerState(StrEnum):
    """Whether an endpoint is spared; see the drawing above."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    PROBING = "probing"


MAY_BE_ASKED = frozenset({BreakerState.CLOSED, BreakerState.HALF_OPEN})


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthPolicy:
    """When an endpoint is spared or asked last.

    After ``failures_max`` failures in a row nobody asks it for ``open_s``; 0 never
    spares it. Below ``score_min`` of 1000 it is asked after the others, once
    ``window_s`` holds at least ``samples_min`` outcomes; 0 never does that.
    """

    failures_max: int = 0
    open_s: float = 30.0
    score_min: int = 0
    window_s: float = 60.0
    samples_min: int = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """Failures in a row, and since when the endpoint is spared or probed."""

    failures: int = 0
    opened_at: float | None = None
    probed_at: float | None = None

    def state(self, now: float, policy: HealthPolicy) -> BreakerState:
        """Give the state at a time."""
        if self.opened_at is None:
            return BreakerState.CLOSED
        if now < self.opened_at + policy.open_s:
            return BreakerState.OPEN
        if self.probed_at is not None and now < self.probed_at + policy.open_s:
            return BreakerState.PROBING
        return BreakerState.HALF_OPEN

    def asked(self, now: float, policy: HealthPolicy) -> Breaker:
        """Note that a request goes out: half open, it is the one probe."""
        if self.state(now, policy) is BreakerState.HALF_OPEN:
            return replace(self, probed_at=now)
        return self

    def succeeded(self, now: float, policy: HealthPolicy) -> Breaker:
        """Note an answer; one to a request from before the breaker opened is old."""
        if self.state(now, policy) is BreakerState.OPEN:
            return self
        return Breaker()

    def failed(self, now: float, policy: HealthPolicy) -> Breaker:
        """Note a silence or a refusal to work."""
        match self.state(now, policy):
            case BreakerState.CLOSED:
                failures = self.failures + 1
                is_full = 0 < policy.failures_max <= failures
                return Breaker(failures=failures, opened_at=now if is_full else None)
            case BreakerState.OPEN:
                return self
            case BreakerState.HALF_OPEN | BreakerState.PROBING:
                return Breaker(failures=self.failures + 1, opened_at=now)


@dataclass(frozen=True, slots=True)
class Window:
    """Successes and failures of late, in buckets of time, oldest first."""

    buckets: tuple[tuple[int, int, int], ...] = ()

    def add(self, now: float, policy: HealthPolicy, *, is_success: bool) -> Window:
        """Count one outcome."""
        number = int(now * BUCKETS / policy.window_s)
        successes, failures = int(is_success), int(not is_success)
        kept = self.buckets
        if kept and kept[-1][0] == number:
            successes += kept[-1][1]
            failures += kept[-1][2]
            kept = kept[:-1]
        kept = tuple(each for each in kept if each[0] > number - BUCKETS)
        return Window((*kept, (number, successes, failures)))

    def score(self, now: float, policy: HealthPolicy) -> int:
        """Give the successes of a thousand; full while there is too little to tell."""
        oldest = int(now * BUCKETS / policy.window_s) - BUCKETS
        recent = [each for each in self.buckets if each[0] > oldest]
        successes = sum(each[1] for each in recent)
        count = successes + sum(each[2] for each in recent)
        if count < policy.samples_min:
            return FULL_SCORE
        return successes * FULL_SCORE // count


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointState:
    """What a decision knows of an endpoint."""

    is_up: bool = True
    breaker: BreakerState = BreakerState.CLOSED
    score: int = FULL_SCORE

    def to_data(self) -> dict[str, Any]:
        """Give what is written down: only what is not as it should be."""
        data: dict[str, Any] = {}
        if not self.is_up:
            data["up"] = False
        if self.breaker is not BreakerState.CLOSED:
            data["breaker"] = self.breaker
        if self.score != FULL_SCORE:
            data["score"] = self.score
        return data


GOOD = EndpointState()


def to_endpoint_state(data: Mapping[str, Any]) -> EndpointState:
    """Read a state that was written down."""
    return EndpointState(
        is_up=data.get("up", True),
        breaker=BreakerState(data.get("breaker", BreakerState.CLOSED)),
        score=data.get("score", FULL_SCORE),
    )
