"""What must hold between the tables of a configuration.

Each check looks at the whole network and gives the problems it sees; all are run, so
that one reading of the output mends the file.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from decimal import Decimal
from difflib import get_close_matches
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from isoswitch.codecs.canonical.money import parse_money
from isoswitch.codecs.dialects.registry import (
    CARD_LINKS,
    CARD_TERMINALS,
    EDITIONS,
)
from isoswitch.codecs.emv.cryptogram import ISSUER_DATA
from isoswitch.codecs.framing import FRAMINGS
from isoswitch.codecs.headers import HEADERS
from isoswitch.config.bins import bin_rows, code_rows
from isoswitch.config.linkchecks import (
    headers_are_whole,
    links_make_sense,
    terminals_say_what_they_can,
)
from isoswitch.config.model import Endpoint, Listener, Network, RoutingRule
from isoswitch.config.portalchecks import (
    accounts_have_owners,
    clients_can_sign,
    houses_are_no_endpoints,
    links_over_https_have_tls,
    payees_can_be_paid,
    servers_are_terminals,
    signed_links_have_their_keys,
)
from isoswitch.config.source import Location, Problem
from isoswitch.routing.bins import BinsRefused, BinTable
from isoswitch.simulators.cards import CARDS
from isoswitch.simulators.rules import Rule
from isoswitch.switch.standin import MAY_STAND_IN

Check = Callable[[Network], Iterator[Problem]]


def check_network(network: Network) -> list[Problem]:
    """Give every problem between the tables of a network."""
    return [problem for check in CHECKS for problem in check(network)]


def _there_are_bins(network: Network) -> Iterator[Problem]:
    if not network.bins and network.routing.bins_file is None:
        yield Problem(
            location=("bins",),
            what="no BIN leads anywhere: there are no [bins] and no BIN file",
            fix='add [bins], or [routing] bins_file = "bins.csv"',
        )


def _bins_make_a_table(network: Network) -> Iterator[Problem]:
    try:
        BinTable(bin_rows(network))
    except BinsRefused as fault:
        for problem in fault.problems:
            yield Problem(
                location=("bins", problem.digits), what=problem.what, fix=problem.fix
            )


def _wallets_make_a_table(network: Network) -> Iterator[Problem]:
    for digits, route in network.wallets.items():
        at = ("wallets", digits)
        yield from _known(route.primary, network.endpoints, "endpoint", at, "primary")
        endpoint = network.endpoints.get(route.primary)
        if endpoint is not None and endpoint.stand_in is not None:
            yield Problem(
                location=("endpoints", route.primary, "stand_in"),
                what="nobody stands in for codes: only the wallet knows whose they are",
                fix="name the profile in the BIN rows of its cards, if it has any",
            )
    try:
        code_rows(network)
    except ValueError as fault:
        yield Problem(
            location=("wallets",), what=str(fault), fix="give each prefix one wallet"
        )


def _payers_confirm_in_time(network: Network) -> Iterator[Problem]:
    timers = network.timers
    most_s = timers.terminal_s - timers.margin_s
    for name, endpoint in network.endpoints.items():
        if endpoint.confirm_s is not None and endpoint.confirm_s > most_s:
            yield Problem(
                location=("endpoints", name, "confirm_s"),
                what=f"payers may take {endpoint.confirm_s:g} s, but terminals give up "
                f"after {timers.terminal_s:g} s (margin {timers.margin_s:g} s)",
                fix=f"confirm_s = {most_s:g} or less, or raise timers.terminal_s",
            )


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


def _rules_lead_to_endpoints(network: Network) -> Iterator[Problem]:
    named: set[str] = set()
    for place, rule in enumerate(network.routing.rules):
        at: Location = ("routing", "rules", place)
        for name in rule.candidates:
            yield from _known(name, network.endpoints, "endpoint", at, "candidates")
        for name in rule.weights:
            yield from _known(name, network.endpoints, "endpoint", at, "weights")
        for name in rule.merchants:
            yield from _known(name, network.merchants, "merchant", at, "merchants")
        if rule.name in named:
            yield Problem(
                location=(*at, "name"),
                what=f"two rules are called {rule.name}",
                fix="give one of them another name: records name the rule",
            )
        named.add(rule.name)
    priced: set[tuple[str, str]] = set()
    for place, cost in enumerate(network.routing.costs):
        at = ("routing", "costs", place)
        yield from _known(cost.endpoint, network.endpoints, "endpoint", at, "endpoint")
        if (cost.endpoint, cost.currency) in priced:
            yield Problem(
                location=at,
                what=f"{cost.endpoint} has two prices in currency {cost.currency}",
                fix="remove one of them",
            )
        priced.add((cost.endpoint, cost.currency))


def _rules_make_sense(network: Network) -> Iterator[Problem]:
    all_taking = ""
    for place, rule in enumerate(network.routing.rules):
        at: Location = ("routing", "rules", place)
        asks = rule.model_fields_set - {"name", "candidates", "order", "weights"}
        has_amounts = not {"amount_min", "amount_max"}.isdisjoint(asks)
        if has_amounts and len(rule.currencies) != 1:
            yield Problem(
                location=at,
                what=f"rule {rule.name} asks for an amount and not for one currency",
                fix='add currencies = ["978"], or whichever one it is in',
            )
        elif has_amounts:
            yield from _amounts_fit(rule, at)
        yield from _something_fits(rule, at)
        if (rule.order == "weights") != any(rule.weights.values()):
            yield Problem(
                location=at,
                what=f'rule {rule.name} needs both weights and order = "weights"',
                fix='order = "weights", weights = { north = 70, south = 30 }',
            )
        if all_taking:
            yield Problem(
                location=at,
                what=f"rule {rule.name} never applies: {all_taking} takes everything",
                fix=f"move it before {all_taking}",
            )
        elif not asks:
            all_taking = rule.name


def _something_fits(rule: RoutingRule, at: Location) -> Iterator[Problem]:
    """Give the conditions of a rule that nothing can meet, and weights of nobody."""
    low, high = (Decimal(each or "0") for each in (rule.amount_min, rule.amount_max))
    empty = {
        "amount_min": rule.amount_max is not None and low > high,
        "mccs": any(each[:4] > each[-4:] for each in rule.mccs),
        "between": rule.between is not None and rule.between[:5] == rule.between[6:],
    }
    for key, is_empty in empty.items():
        if is_empty:
            yield Problem(
                location=(*at, key),
                what=f"rule {rule.name} never applies: its {key} leaves nothing",
                fix="begin the range before its end",
            )
    strangers = sorted(rule.weights.keys() - set(rule.candidates))
    if rule.candidates and strangers:
        yield Problem(
            location=(*at, "weights"),
            what=f"rule {rule.name} weighs {strangers[0]}, which is no candidate",
            fix=f"add {strangers[0]} to candidates, or leave out its weight",
        )


def _amounts_fit(rule: RoutingRule, at: Location) -> Iterator[Problem]:
    for key, amount in (
        ("amount_min", rule.amount_min),
        ("amount_max", rule.amount_max),
    ):
        try:
            parse_money(amount or "0", rule.currencies[0])
        except ValueError as exc:
            yield Problem(
                location=(*at, key),
                what=f"rule {rule.name}: {key} is {exc}",
                fix="write no more decimals than its currency has",
            )


def _stand_in_is_bounded(network: Network) -> Iterator[Problem]:
    named: list[tuple[str | None, Location]] = [
        *((row.stand_in, ("bins", name)) for name, row in network.bins.items()),
        *(
            (row.stand_in, ("endpoints", name))
            for name, row in network.endpoints.items()
        ),
    ]
    for name, at in named:
        if name is not None:
            yield from _known(
                name, network.stand_in, "stand-in profile", at, "stand_in"
            )
    for name, profile in network.stand_in.items():
        at = ("stand_in", name)
        for kind in profile.kinds:
            if kind not in MAY_STAND_IN:
                yield Problem(
                    location=(*at, "kinds"),
                    what=f"nobody stands in for {kind}",
                    fix=f"name only {', '.join(sorted(MAY_STAND_IN))}",
                )
        if profile.cryptogram_version not in ISSUER_DATA:
            yield Problem(
                location=(*at, "cryptogram_version"),
                what=f"there is no cryptogram version {profile.cryptogram_version!r}",
                fix=f"one of {', '.join(ISSUER_DATA)}",
            )
        for key in ("floor", "card_max", "total_max"):
            try:
                parse_money(getattr(profile, key), profile.currency)
            except ValueError as exc:
                yield Problem(
                    location=(*at, key),
                    what=f"{key} of stand-in profile {name} is {exc}",
                    fix="write no more decimals than its currency has",
                )


def _codes_that_decide_nothing_are_declines(network: Network) -> Iterator[Problem]:
    for name, endpoint in network.endpoints.items():
        for code in endpoint.not_processed or ():
            if code.is_approval:
                yield Problem(
                    location=("endpoints", name, "not_processed"),
                    what=f"{code} approves: {name} has decided, nobody else may",
                    fix='name declines only, such as "issuer_unavailable"',
                )


def _the_day_ends_in_a_time_zone(network: Network) -> Iterator[Problem]:
    try:
        ZoneInfo(network.day.zone)
    except (ZoneInfoNotFoundError, ValueError):
        yield Problem(
            location=("day", "zone"),
            what="no time zone of this name is known on this machine",
            fix='name one as "Europe/Berlin", or "UTC"',
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
            cards = CARD_LINKS if table == "endpoints" else CARD_TERMINALS
            known = [*EDITIONS, *cards]
            yield from _known(row.dialect, known, "dialect", at, "dialect")
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
    if network.portal is not None:
        taken[network.portal.host, network.portal.port] = "portal"
    servers = {
        name: row for name, row in network.endpoints.items() if row.role == "server"
    }
    tables: Mapping[str, Mapping[str, Listener | Endpoint]] = {
        "listeners": network.listeners,
        "endpoints": servers,
    }
    for table, rows in tables.items():
        for name, row in rows.items():
            place = name if table == "listeners" else f"endpoint {name}"
            other = taken.setdefault((row.host, row.port), place)
            if other != place:
                yield Problem(
                    location=(table, name, "port"),
                    what=f"{other} and {place} share port {row.port}",
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
    for name, house in simulators.houses.items():
        at = ("simulators", "houses")
        yield from _known(name, network.houses, "clearing house", at, name)
        yield from _rules_hold(house.rules, (*at, name, "rules"))
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


def _payment_hsms_do_what_the_network_needs(network: Network) -> Iterator[Problem]:
    hsms, simulators = network.hsm.payshield, network.simulators
    if hsms is None:
        if simulators is not None and simulators.payment_hsm:
            yield Problem(
                location=("simulators", "payment_hsm"),
                what="the network uses no payment HSM that could be simulated",
                fix="add [hsm.payshield], or remove payment_hsm",
            )
        return
    wanting = [
        ("endpoints", name, "key_exchange")
        for name, endpoint in network.endpoints.items()
        if endpoint.key_exchange is not None
    ] + [
        ("terminals", name, "tmk")
        for name, terminal in network.terminals.items()
        if terminal.tmk is not None
    ]
    for location in wanting:
        yield Problem(
            location=location,
            what="payment HSMs change no keys by message",
            fix="remove it; docs/payment-hsms.md tells what they do",
        )


CHECKS: tuple[Check, ...] = (
    _there_are_bins,
    _bins_make_a_table,
    _wallets_make_a_table,
    _payers_confirm_in_time,
    _the_day_ends_in_a_time_zone,
    _routes_lead_to_endpoints,
    _rules_lead_to_endpoints,
    _rules_make_sense,
    _stand_in_is_bounded,
    _codes_that_decide_nothing_are_declines,
    _terminals_have_merchants_and_listeners,
    _terminals_that_get_keys_use_them,
    _wire_formats_exist,
    _timers_nest,
    links_make_sense,
    terminals_say_what_they_can,
    headers_are_whole,
    _ports_differ,
    _repeats_start_before_they_cap,
    _simulators_fit_the_network,
    _payment_hsms_do_what_the_network_needs,
    payees_can_be_paid,
    accounts_have_owners,
    houses_are_no_endpoints,
    signed_links_have_their_keys,
    links_over_https_have_tls,
    clients_can_sign,
    servers_are_terminals,
)
