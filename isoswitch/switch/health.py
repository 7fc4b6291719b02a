"""What is wrong now, told once when it begins and once when it is over.

While a condition lasts, what it makes impossible is simply not done: a transaction
that cannot be recorded is not answered, a PIN that cannot be translated is declined.
Nothing is switched off, so nothing has to be switched on again; the watch
(``watch.py``) finds out when the condition is over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import structlog
import trio

from isoswitch.codecs.canonical.errors import (
    HsmUnavailable,
    IsoswitchError,
    StoreUnavailable,
)
from isoswitch.switch.clockwatch import ClockWatch
from isoswitch.switch.ports import Clock, iso_time

CHANGES_MAX = 100

log = structlog.get_logger()


class Part(StrEnum):
    """What a condition is about."""

    STORE = "store"
    CRYPTO = "crypto"
    CLOCK = "clock"


PARTS: Mapping[type[IsoswitchError], Part] = {
    StoreUnavailable: Part.STORE,
    HsmUnavailable: Part.CRYPTO,
}
"""The faults that are conditions: they last, and happen to everybody meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Something that is wrong: since when, and how it showed last."""

    part: Part
    reason: str
    since: str
    began_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A condition that began or ended, to be written down when that is possible."""

    at: str
    body: Mapping[str, Any]


class Health:
    """The conditions of a switch, and what is not yet written down of them."""

    def __init__(self, clock: Clock, *, clock_jump_s: float) -> None:
        self._clock = clock
        self._watch = ClockWatch(jump_s=clock_jump_s)
        self._conditions: dict[Part, Condition] = {}
        self.unwritten: deque[Change] = deque(maxlen=CHANGES_MAX)

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """What is wrong now."""
        return tuple(self._conditions.values())

    def has(self, part: Part) -> bool:
        """Whether something is wrong with a part."""
        return part in self._conditions

    def report(self, part: Part, reason: str) -> None:
        """Take note that something is wrong; only the first time is told."""
        known = self._conditions.get(part)
        if known is not None:
            self._conditions[part] = replace(known, reason=reason)
            return
        since = iso_time(self._clock.now())
        self._conditions[part] = Condition(
            part=part, reason=reason, since=since, began_at=trio.current_time()
        )
        body = {"part": part, "state": "began", "reason": reason}
        self.unwritten.append(Change(at=since, body=body))
        log.error("condition_began", part=part, reason=reason)

    def clear(self, part: Part) -> None:
        """Take note that a part is well again."""
        known = self._conditions.pop(part, None)
        if known is None:
            return
        lasted_s = round(trio.current_time() - known.began_at, 1)
        body = {"part": part, "state": "over", "lasted_s": lasted_s}
        self.unwritten.append(Change(at=iso_time(self._clock.now()), body=body))
        log.warning("condition_over", part=part, lasted_s=lasted_s)

    def notice(self, event: str, error: IsoswitchError, **facts: Any) -> None:
        """Tell of a fault: a condition once while it lasts, any other each time."""
        part = next((PARTS[kind] for kind in PARTS if isinstance(error, kind)), None)
        if part is None:
            log.error(event, reason=str(error), **facts)
            return
        self.report(part, str(error))
        log.debug(event, reason=str(error), **facts)

    def trusts_clock(self) -> bool:
        """Look at the clock; False while a jump is neither undone nor confirmed."""
        moved_s = self._watch.look(self._clock.now().timestamp(), trio.current_time())
        if moved_s:
            self.report(
                Part.CLOCK,
                f"the wall clock jumped by {moved_s:+.0f} s; set it right, or confirm "
                "the new time with `isoswitch clock confirm`",
            )
        elif self.has(Part.CLOCK):
            self.clear(Part.CLOCK)
        return not moved_s

    def retune(self, *, clock_jump_s: float) -> None:
        """Doubt the clock from another size of jump on."""
        self._watch.jump_s = clock_jump_s

    def confirm_clock(self) -> None:
        """Trust the clock as it stands, on an operator's word."""
        # It may have been set since the last look.
        self.trusts_clock()
        self._watch.confirm()
        self.trusts_clock()
