"""What must hold for the links of a configuration to make sense."""

from __future__ import annotations

from collections.abc import Iterator

from isoswitch.codecs import headers
from isoswitch.codecs.canonical.errors import DecodeError
from isoswitch.codecs.dialects.registry import CARD_LINKS, CARD_TERMINALS
from isoswitch.config.model import Endpoint, Network
from isoswitch.config.source import Problem

ONE_SHOT_HAS_NO = frozenset({"connections", "sign_on", "echo_idle_s", "fail_fast"})
CARD_LINKS_HAVE_NO = frozenset({"reconciles", "key_exchange", "cuts_day", "header"})


def links_make_sense(network: Network) -> Iterator[Problem]:
    """Give what contradicts itself in the way an endpoint is connected to."""
    for name, endpoint in network.endpoints.items():
        yield from _roles(name, endpoint)
        yield from _one_shots(name, endpoint)
        yield from _card_links(name, endpoint)
        if endpoint.owner and endpoint.leased:
            yield Problem(
                location=("endpoints", name, "leased"),
                what=f"{name} belongs to {endpoint.owner}, and to who has the lease",
                fix="remove owner, or leased",
            )


def terminals_say_what_they_can(network: Network) -> Iterator[Problem]:
    """Give what terminals of card messages would need a message for, and have none."""
    cards = {
        name: listener.dialect
        for name, listener in network.listeners.items()
        if listener.dialect in CARD_TERMINALS
    }
    for name, dialect in cards.items():
        if network.listeners[name].header:
            yield Problem(
                location=("listeners", name, "header"),
                what=f"{dialect} has no header before its messages",
                fix="remove header",
            )
    for name, terminal in network.terminals.items():
        if terminal.listener in cards and terminal.tmk is not None:
            yield Problem(
                location=("terminals", name, "tmk"),
                what=f"{cards[terminal.listener]} has no messages that bring keys",
                fix="remove tmk: its keys are changed by hand",
            )


def headers_are_whole(network: Network) -> Iterator[Problem]:
    """Give the endpoints whose own requests would have no header, or a wrong one."""
    for name, endpoint in network.endpoints.items():
        at = ("endpoints", name, "header_value" if endpoint.header_value else "header")
        if bool(endpoint.header) is not bool(endpoint.header_value):
            yield Problem(
                location=at,
                what="header is the layout, header_value its bytes: one is missing",
                fix='add both, such as header = "tpdu", header_value = "6000010002"',
            )
        elif endpoint.header_value and not _is_whole(endpoint):
            yield Problem(
                location=at,
                what=f"header_value is no header of the layout {endpoint.header}",
                fix="see isoswitch/codecs/headers.py for its bytes",
            )


def _roles(name: str, endpoint: Endpoint) -> Iterator[Problem]:
    is_server = endpoint.role == "server"
    if is_server and not endpoint.peers:
        yield Problem(
            location=("endpoints", name, "role"),
            what=f"{name} connects to us, and no address is its own",
            fix='add peers = ["192.0.2.7"], its addresses or networks',
        )
    if endpoint.peers and not is_server:
        yield Problem(
            location=("endpoints", name, "peers"),
            what=f"we connect to {name}, so nobody is let in",
            fix='remove peers, or set role = "server"',
        )


def _one_shots(name: str, endpoint: Endpoint) -> Iterator[Problem]:
    if not endpoint.one_shot:
        return
    if endpoint.role == "server":
        yield Problem(
            location=("endpoints", name, "one_shot"),
            what="one_shot connects for each request, and a server never connects",
            fix="remove one_shot, or role",
        )
    for key in sorted(endpoint.model_fields_set & ONE_SHOT_HAS_NO):
        yield Problem(
            location=("endpoints", name, key),
            what=f"a one_shot connection has no {key}",
            fix=f"remove {key}, or one_shot",
        )


def _card_links(name: str, endpoint: Endpoint) -> Iterator[Problem]:
    """Card messages of ISO 20022 know no sign-on, no echo, no totals, no new keys."""
    if endpoint.dialect not in CARD_LINKS:
        return
    if not endpoint.one_shot:
        yield Problem(
            location=("endpoints", name, "dialect"),
            what=f"{endpoint.dialect} has no messages that keep a link signed on",
            fix="add one_shot = true",
        )
    for key in sorted(endpoint.model_fields_set & CARD_LINKS_HAVE_NO):
        yield Problem(
            location=("endpoints", name, key),
            what=f"{endpoint.dialect} has no messages for {key}",
            fix=f"remove {key}",
        )


def _is_whole(endpoint: Endpoint) -> bool:
    value = bytes.fromhex(endpoint.header_value or "")
    payload = headers.join(endpoint.header, value, b"")
    try:
        return headers.split(endpoint.header, payload) == (payload, b"")
    except (DecodeError, LookupError):
        return False
