"""What must hold between the tables of a configuration.

Each check looks at the whole network and gives the problems it sees; all are run, so
that one reading of the output mends the file.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import msgspec

from isoswitch.codecs.dialects.registry import EDITIONS
from isoswitch.codecs.framing import FRAMINGS
from isoswitch.codecs.headers import HEADERS
from isoswitch.config.model import Endpoint, Listener, Network
from isoswitch.config.source import Location, Problem
from isoswitch.simulators.cards import CARDS
from isoswitch.simulators.rules import Rule

Check = Callable[[Network], Iterator[Problem]]


def check_network(network: Network) -> list[Problem]:
    """Give every problem between the tables of a network."""
    return [problem for check in CHECKS for problem in check(network)]


def _routes_lead_to_endpoints(network: Network) -> Iterator[Problem]:
    for prefix, route in network.bins.items():
        at = ("bins", prefix)
        yield from _known(route.primary, network.endpoints, "endpoint", at, "primary")
        if route.alternate is None:
            continue
        yield from _known(
            route.alternate, network.endpoints, "endpoint", at, "alternate"
        )
        if route.alternate == route.primary:
            yield Problem(
                location=(*at, "alternate"),
                what=f"BIN {prefix} names {route.primary} as primary and as alternate",
                fix="remove alternate, or name another endpoint",
            )


def _terminals_have_merchants_and_listeners(network: Network) -> Iterator[Problem]:
    for name, terminal in network.terminals.items():
        at = ("terminals", name)
        yield from _known(
            terminal.merchant, network.merchants, "merchant", at, "merchant"
        )
        yield from _known(
            terminal.listener, network.listeners, "listener", at, "listener"
        )
        listener = network.listeners.get(terminal.listener)
        if listener is not None and listener.tls and not terminal.tls:
            yield Problem(
                location=at,
                what=f"terminal {name} connects to {terminal.listener}, which takes "
                "TLS only, and has no certificate",
                fix="add tls = { certificate = ..., key = ..., ca = ... }",
            )


def _terminals_that_get_keys_use_them(network: Network) -> Iterator[Problem]:
    for name, terminal in network.terminals.items():
        if terminal.tmk is not None and terminal.tak is None:
            yield Problem(
                location=("terminals", name, "tmk"),
                what=f"terminal {name} gets working keys and has no MAC key",
                fix="name its tak: the first MAC confirms that it has the keys",
            )


def _wire_formats_exist(network: Network) -> Iterator[Problem]:
    tables: Mapping[str, Mapping[str, Listener | Endpoint]] = {
        "listeners": network.listeners,
        "endpoints": network.endpoints,
    }
    for table, rows in tables.items():
        for name, row in rows.items():
            at = (table, name)
            yield from _known(row.dialect, EDITIONS, "dialect", at, "dialect")
            yield from _known(row.framing, FRAMINGS, "framing", at, "framing")
            if row.header:
                yield from _known(row.header, HEADERS, "header", at, "header")


def _timers_nest(network: Network) -> Iterator[Problem]:
    timers = network.timers
    if timers.terminal_s < timers.switch_s + timers.margin_s:
        yield Problem(
            location=("timers", "terminal_s"),
            what=f"terminals give up after {timers.terminal_s:g} s, but the switch may "
            f"answer until {timers.switch_s:g} s (margin {timers.margin_s:g} s)",
            fix=f"terminal_s = {timers.switch_s + timers.margin_s:g} or more",
        )
    for name, endpoint in network.endpoints.items():
        own = endpoint.request_timeout_s
        wait_s = timers.issuer_s if own is None else own
        if timers.switch_s < wait_s + timers.margin_s:
            yield Problem(
                location=("timers", "issuer_s")
                if own is None
                else ("endpoints", name, "request_timeout_s"),
                what=f"the switch waits {wait_s:g} s for {name}, but has only "
                f"{timers.switch_s:g} s in all (margin {timers.margin_s:g} s)",
                fix=f"{timers.switch_s - timers.margin_s:g} or less, or raise "
                "timers.switch_s",
            )


def _ports_differ(network: Network) -> Iterator[Problem]:
    taken: dict[tuple[str, int], str] = {}
    for name, listener in network.listeners.items():
        address = (listener.host, listener.port)
        other = taken.setdefault(address, name)
        if other != name:
            yield Problem(
                location=("listeners", name, "port"),
                what=f"listeners {other} and {name} share port {listener.port}",
                fix="give one of them another port",
            )


def _repeats_start_before_they_cap(network: Network) -> Iterator[Problem]:
    for name, endpoint in network.endpoints.items():
        for least, most in (
            ("reconnect_min_s", "reconnect_max_s"),
            ("saf_retry_s", "saf_retry_max_s"),
        ):
            low, high = getattr(endpoint, least), getattr(endpoint, most)
            if low is not None and high is not None and low > high:
                yield Problem(
                    location=("endpoints", name, least),
                    what=f"{least} is above {most}",
                    fix=f"{least} = {high:g} or less",
                )


def _simulators_fit_the_network(network: Network) -> Iterator[Problem]:
    simulators = network.simulators
    if simulators is None:
        return
    at: Location = ("simulators", "issuers")
    for name, issuer in simulators.issuers.items():
        yield from _known(name, network.endpoints, "endpoint", at, name)
        yield from _rules_hold(issuer.rules, (*at, name, "rules"))
    trickle = simulators.trickle
    if trickle is None:
        return
    at = ("simulators", "trickle")
    for terminal in trickle.terminals:
        yield from _known(terminal, network.terminals, "terminal", at, "terminals")
    for card in trickle.cards:
        yield from _known(card, CARDS, "card", at, "cards")


def _rules_hold(rules: Sequence[Mapping[str, Any]], at: Location) -> Iterator[Problem]:
    for place, rule in enumerate(rules):
        try:
            msgspec.convert(rule, Rule)
        except ValueError as exc:
            yield Problem(
                location=(*at, place),
                what=f"not a rule: {exc}",
                fix="see the example in isoswitch/simulators/rules.py",
            )


def _known(
    name: str, names: Collection[str], what: str, table: Location, key: str
) -> Iterator[Problem]:
    """Give a problem when a name that one table uses is not in another."""
    if name in names:
        return
    near = get_close_matches(name, names, n=1)
    yield Problem(
        location=(*table, key),
        what=f"there is no {what} {name!r}",
        fix=f"did you mean {near[0]!r}?"
        if near
        else f"name one of {', '.join(sorted(names))}",
    )


CHECKS: tuple[Check, ...] = (
    _routes_lead_to_endpoints,
    _terminals_have_merchants_and_listeners,
    _terminals_that_get_keys_use_them,
    _wire_formats_exist,
    _timers_nest,
    _ports_differ,
    _repeats_start_before_they_cap,
    _simulators_fit_the_network,
)
