"""The BIN rows that stand in the configuration file itself."""

from __future__ import annotations

from isoswitch.config.model import Network
from isoswitch.routing.bins import BinRow


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
