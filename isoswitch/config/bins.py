"""The rows of BINs and wallets that stand in the configuration file itself."""

from __future__ import annotations

from isoswitch.config.model import Network
from isoswitch.routing.bins import BinRow, code_prefixes


def bin_rows(network: Network) -> list[BinRow]:
    """Give the rows of ``[bins]``."""
    return [
        BinRow(
            digits=digits,
            primary=route.primary,
            alternate=route.alternate or "",
            name=route.name or "",
            country=route.country or "",
            group=route.group or "",
            stand_in=route.stand_in or "",
        )
        for digits, route in network.bins.items()
    ]


def code_rows(network: Network) -> dict[str, BinRow]:
    """Give the rows of ``[wallets]`` by every prefix that they cover.

    Raises
    ------
    ValueError
        Two of them cover the same prefix.
    """
    rows: dict[str, BinRow] = {}
    for digits, route in network.wallets.items():
        name = route.name or route.primary
        row = BinRow(digits=digits, primary=route.primary, name=name)
        for prefix in code_prefixes(digits):
            if rows.setdefault(prefix, row) is not row:
                msg = f"{digits} and {rows[prefix].digits} both cover {prefix}"
                raise ValueError(msg)
    return rows
