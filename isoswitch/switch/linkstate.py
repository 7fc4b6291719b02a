"""How a link stands: its states, what halts it, and what is counted of it.

    DOWN        no connection
    CONNECTED   connected; nobody has signed on yet, or we have signed off
    SIGNED_ON   carries money
    SUSPENDED   connected, but an operator or the partner wants no money sent

Connections come and go, halts are set and lifted; the state follows from both.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum


class LinkState(StrEnum):
    """How far a link has come; only a signed-on one carries money."""

    DOWN = "down"
    CONNECTED = "connected"
    SIGNED_ON = "signed_on"
    SUSPENDED = "suspended"


class Halt(StrEnum):
    """Why a link carries no money although it is connected."""

    OPERATOR = "operator"
    PARTNER = "partner"
    SIGNED_OFF = "signed_off"


SUSPENSIONS = frozenset({Halt.OPERATOR, Halt.PARTNER})
"""The halts that leave the partner's sign-on as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How many connections a link has, and how many of them are signed on."""

    open_count: int
    signed_on_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkChange:
    """A link that went from one state to another, when and why."""

    endpoint: str
    before: LinkState
    after: LinkState
    reason: str
    at: str


@dataclass(slots=True, kw_only=True)
class LinkCounts:
    """What an endpoint sent that it should not have sent."""

    strays: int = 0
    undecodable: int = 0
    unexpected: int = 0
    refused_peers: int = 0
    mac_failures: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkStatus:
    """A link as an operator sees it; times are UTC, empty when there is none yet."""

    endpoint: str
    role: str
    state: LinkState
    since: str
    reason: str
    halted_by: list[str] = field(default_factory=list)
    connections: int
    signed_on: int
    in_flight: int
    last_echo_at: str
    echo_ms: float
    strays: int
    undecodable: int
    unexpected: int
    refused_peers: int
    mac_failures: int


def derive_state(standing: Standing, halts: Collection[Halt]) -> LinkState:
    """Give the state that follows from connections and halts.

    Examples
    --------
    >>> derive_state(Standing(open_count=1, signed_on_count=1), {Halt.PARTNER})
    <LinkState.SUSPENDED: 'suspended'>
    """
    if not standing.open_count:
        return LinkState.DOWN
    if not SUSPENSIONS.isdisjoint(halts):
        return LinkState.SUSPENDED
    if standing.signed_on_count and Halt.SIGNED_OFF not in halts:
        return LinkState.SIGNED_ON
    return LinkState.CONNECTED
