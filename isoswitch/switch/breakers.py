"""How the endpoints do: the windows and breakers of all of them, fed by their legs."""

from __future__ import annotations

from collections.abc import Mapping

import structlog
import trio

from isoswitch.codecs.canonical.errors import HsmError, IsoswitchError
from isoswitch.routing.health import (
    MAY_BE_ASKED,
    Breaker,
    EndpointState,
    HealthPolicy,
    Window,
)
from isoswitch.switch.links import Link

log = structlog.get_logger()


class Breakers:
    """What the switch has seen of its endpoints."""

    def __init__(self, links: Mapping[str, Link], policy: HealthPolicy) -> None:
        self._links = links
        self._policy = policy
        self._breakers = dict.fromkeys(links, Breaker())
        self._windows = dict.fromkeys(links, Window())

    def adopt(self, before: Breakers) -> None:
        """Go on from what was seen of the same endpoints under earlier settings."""
        is_same_window = self._policy.window_s == before._policy.window_s
        for name in self._links.keys() & before._links.keys():
            if self._policy.failures_max:
                self._breakers[name] = before._breakers[name]
            # Its buckets count in parts of the window that they were made for.
            if is_same_window:
                self._windows[name] = before._windows[name]

    def states(self) -> dict[str, EndpointState]:
        """Give what a route is decided from."""
        now = trio.current_time()
        return {
            name: EndpointState(
                is_up=link.is_up,
                breaker=self._breakers[name].state(now, self._policy),
                score=self._windows[name].score(now, self._policy),
            )
            for name, link in self._links.items()
        }

    def take_turn(self, endpoint: str) -> bool:
        """Whether an endpoint may be asked now; half open, this is its one probe."""
        now = trio.current_time()
        breaker = self._breakers[endpoint]
        if breaker.state(now, self._policy) not in MAY_BE_ASKED:
            return False
        self._breakers[endpoint] = breaker.asked(now, self._policy)
        return True

    def failed(self, endpoint: str, error: IsoswitchError) -> None:
        """Take in why a leg came to nothing; a fault of our own is not its failure."""
        if not isinstance(error, HsmError):
            self.answered(endpoint, is_success=False)

    def answered(self, endpoint: str, *, is_success: bool) -> None:
        """Take in how a leg ended; what the issuer declined is a success."""
        now = trio.current_time()
        breaker = self._breakers[endpoint]
        before = breaker.state(now, self._policy)
        step = breaker.succeeded if is_success else breaker.failed
        after = self._breakers[endpoint] = step(now, self._policy)
        self._windows[endpoint] = self._windows[endpoint].add(
            now, self._policy, is_success=is_success
        )
        if after.state(now, self._policy) is not before:
            log.warning(
                "breaker_moved",
                endpoint=endpoint,
                before=before,
                after=after.state(now, self._policy),
            )
