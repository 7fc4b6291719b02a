"""How the links of the running switch stand, and what is ordered of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
from rich.markup import escape
from rich.table import Table

from isoswitch.commands.console import plain_table, print_json, stdout
from isoswitch.commands.operate import operator_name, order_all
from isoswitch.switch.control import OrderLink, ReadLinks
from isoswitch.switch.linkorders import LinkOrder
from isoswitch.switch.linkstate import LinkState, LinkStatus

STYLES = {
    LinkState.DOWN: "red",
    LinkState.CONNECTED: "yellow",
    LinkState.SIGNED_ON: "green",
    LinkState.SUSPENDED: "magenta",
}


def links(config: Path | None, *, as_json: bool) -> int:
    """Print how every link stands."""
    order = ReadLinks(operator=operator_name(""))
    told, code = order_all(config, order, list[LinkStatus])
    if as_json:
        for worker, found in told.items():
            for each in found:
                print_json({"worker": worker, **msgspec.to_builtins(each)})
        return code
    _print(told)
    return code


def order(config: Path | None, endpoint: str, act: str, *, operator: str) -> int:
    """Have the running switch do something with a link, and print how it stands."""
    wanted = OrderLink(
        endpoint=endpoint,
        act=msgspec.convert(act, LinkOrder),
        operator=operator_name(operator),
    )
    told, code = order_all(config, wanted, LinkStatus)
    _print({worker: [found] for worker, found in told.items()})
    return code


def _print(told: Mapping[str, Iterable[LinkStatus]]) -> None:
    for worker, found in told.items():
        if worker:
            stdout().print(f"worker {worker}:")
        stdout().print(link_table(found))


def link_table(found: Iterable[LinkStatus]) -> Table:
    """Make the table of links."""
    table = plain_table(
        "endpoint", "state", "since", "because", "up", "in flight", "last echo", "wrong"
    )
    for each in found:
        halted = f" by {', '.join(each.halted_by)}" if each.halted_by else ""
        echo = f"{_moment(each.last_echo_at)}, {each.echo_ms:g} ms"
        table.add_row(
            each.endpoint,
            f"[{STYLES[each.state]}]{each.state}[/]{halted}",
            _moment(each.since),
            escape(each.reason),
            f"{each.signed_on}/{each.connections}",
            str(each.in_flight),
            echo if each.last_echo_at else "",
            ", ".join(_wrong(each)),
        )
    return table


def _wrong(status: LinkStatus) -> Iterable[str]:
    """Name what came that should not have come, and how often."""
    counts = {
        "strays": status.strays,
        "undecodable": status.undecodable,
        "unexpected": status.unexpected,
        "wrong MACs": status.mac_failures,
        "strangers": status.refused_peers,
    }
    return (f"{count} {what}" for what, count in counts.items() if count)


def _moment(at: str) -> str:
    """Give month, day and time of day of a record's time, without fractions."""
    return at[5:19].replace("T", " ")
