"""Other configurations for nodes at work: good ones, and such as must change nothing.

An operator changes the files of a node and has its process read them. After that the
process is under all of the new ones, or under all of the old ones; and what was being
decided when they changed is decided before the links and doors it uses end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import trio

from isoswitch.codecs.canonical.errors import ConfigError, IsoswitchError
from isoswitch.routing.table import RoutingTable
from isoswitch.simulators.cards import NORTH, SOUTH
from isoswitch.simulators.node import Node
from isoswitch.switch.differences import Configuration
from isoswitch.switch.reload import Leftovers, Reloader
from isoswitch.switch.server import Switch
from isoswitch.switch.settings import AdmissionSettings, SwitchSettings, TlsFiles

LOOK_S = 0.05
GOOD_CHANCE = 0.6

Draft = Callable[[SwitchSettings, Random], SwitchSettings]


def _timers(settings: SwitchSettings, random: Random) -> SwitchSettings:
    return replace(
        _endpoints(
            settings,
            # Between those of issuers and of transactions.
            request_timeout_s=random.uniform(2.0, 8.0),
            echo_idle_s=random.uniform(5.0, 60.0),
            saf_retry_s=random.uniform(0.5, 4.0),
        ),
        transaction_timeout_s=random.uniform(9.0, 12.0),
    )


def _limits(settings: SwitchSettings, random: Random) -> SwitchSettings:
    admission = AdmissionSettings(
        terminal_per_s=1000.0,
        terminal_burst=1000,
        merchant_in_flight_max=random.randint(4, 500),
        in_flight_max=random.randint(4, 1000),
    )
    return replace(
        _endpoints(settings, in_flight_max=random.randint(2, 2000)), admission=admission
    )


def _connections(settings: SwitchSettings, random: Random) -> SwitchSettings:
    return _endpoints(settings, connections=random.randint(1, 3))


def _doors(settings: SwitchSettings, random: Random) -> SwitchSettings:
    in_flight_max = random.randint(4, 64)
    listeners = (
        replace(row, in_flight_max=in_flight_max) for row in settings.listeners
    )
    return replace(settings, listeners=tuple(listeners))


def _endpoints(settings: SwitchSettings, **changes: Any) -> SwitchSettings:
    endpoints = {
        name: replace(each, **changes) for name, each in settings.endpoints.items()
    }
    return replace(settings, endpoints=endpoints)


GOOD: Mapping[str, Draft] = {
    "timers": _timers,
    "limits": _limits,
    "connections": _connections,
    "doors": _doors,
}


def _another_key(settings: SwitchSettings) -> SwitchSettings:
    return replace(settings, seal_key="store/another")


def _missing_files(settings: SwitchSettings) -> SwitchSettings:
    nowhere = Path("/nowhere/at.pem")
    tls = TlsFiles(certificate=nowhere, key=nowhere, ca=nowhere)
    door = replace(settings.listeners[0], name="tls", tls=tls)
    return replace(settings, listeners=(*settings.listeners, door))


BAD: Mapping[str, Callable[[SwitchSettings], SwitchSettings]] = {
    "what only a restart changes": _another_key,
    "a part that cannot start": _missing_files,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What an operator writes into the files of a node: ``parts`` are what is new."""

    parts: tuple[str, ...]
    draft: Configuration
    is_good: bool

    def __str__(self) -> str:
        return ", ".join(self.parts)


def draw_order(before: Configuration, random: Random) -> Order:
    """Draw a change of a configuration, which is good or may not be taken at all."""
    names = sorted(random.sample(sorted(GOOD), random.randint(1, 2)))
    settings = before.settings
    for name in names:
        settings = GOOD[name](settings, random)
    draft = replace(before, settings=settings, routing=_routing(before, random))
    if random.random() < GOOD_CHANCE:
        return Order(parts=("routes", *names), draft=draft, is_good=True)
    name = random.choice(sorted(BAD))
    draft = replace(draft, settings=BAD[name](settings))
    return Order(parts=(name,), draft=draft, is_good=False)


async def carry_out(node: Node, order: Order, tell: Callable[[str], None]) -> str:
    """Have a node read other files; tell what must not come of it, and give what did.

    Good files stay, and are read at the next start if they cannot be now; bad ones are
    put back. A node that does not run reads nothing.
    """
    before, ending = node.configuration, ""

    async def read(switch: Switch, reloader: Reloader) -> None:
        nonlocal ending
        was, node.configuration = reloader.current, order.draft
        try:
            changes = await reloader.reload(operator="somebody")
        except IsoswitchError as fault:
            _check_under(switch, was, f"after {order} was refused", tell)
            if isinstance(fault, ConfigError):
                ending = "refused for"
                if order.is_good:
                    tell(f"{node.name} refuses {order}: {fault}")
            return
        finally:
            if not order.is_good:
                node.configuration = before
        if not order.is_good:
            tell(f"{node.name} took {order}: {changes}")
        _check_under(switch, order.draft if changes else was, f"under {order}", tell)
        ending = "of" if changes else ""
        if reloader.leftovers is not None:
            await _see_out(reloader, reloader.leftovers, tell)

    if order.is_good:
        node.configuration = order.draft
    await node.have(read)
    return ending


def _check_under(
    switch: Switch, wanted: Configuration, when: str, tell: Callable[[str], None]
) -> None:
    """Tell of each part of a node that is not under a configuration."""
    services = switch.services
    assert services is not None, "its process runs"
    links = {name: link.settings for name, link in services.links.items()}
    doors = tuple(each.settings for each in switch.listeners.values())
    parts = {
        "settings": services.settings == wanted.settings,
        "routes": services.routing is wanted.routing,
        "links": links == wanted.settings.endpoints,
        "listeners": doors == wanted.settings.listeners,
    }
    for part, is_right in parts.items():
        if not is_right:
            tell(f"{when} {switch.settings.node} has other {part}")


async def _see_out(
    reloader: Reloader, left: Leftovers, tell: Callable[[str], None]
) -> None:
    """See what was in flight end before the parts it began with do."""
    shift = left.shift
    patience_s = shift.services.settings.transaction_s_max
    ends_at = trio.current_time() + patience_s
    while reloader.leftovers is left and shift.deciding_count:  # noqa: ASYNC110
        await trio.sleep(LOOK_S)
    if shift.deciding_count and trio.current_time() < ends_at:
        tell(f"a reload ended what {shift.deciding_count} transactions use")
    while reloader.leftovers is left:  # noqa: ASYNC110 (seldom, short)
        await trio.sleep(LOOK_S)


def _routing(before: Configuration, random: Random) -> RoutingTable:
    """Give routes of which some have another alternate than before, or none."""
    other = {NORTH: SOUTH, SOUTH: NORTH}
    rows = [
        replace(row, alternate=random.choice(["", other[row.primary]]))
        for row in before.routing.bins.rows().values()
    ]
    return RoutingTable(rows, codes=before.routing.codes)
