"""BIN routing: the longest prefix wins, and the decision says why.

Prefixes have six to eight digits (ISO/IEC 7812-1 issuer identification numbers), so a
look-up is at most three dictionary reads whatever the size of the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from isoswitch.codecs.canonical.secrets import Pan

PREFIX_DIGITS = (8, 7, 6)


@dataclass(frozen=True, slots=True, kw_only=True)
class BinRow:
    """The endpoints of one BIN; ``alternate`` is asked when ``primary`` is down."""

    prefix: str
    primary: str
    alternate: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The endpoints to ask, in order, and why these; empty when none is up."""

    endpoints: tuple[str, ...]
    prefix: str
    reason: str


class RoutingTable:
    """Finds the route of a card.

    Raises
    ------
    ValueError
        A prefix has not six to eight digits or stands in two rows.

    Examples
    --------
    >>> table = RoutingTable([
    ...     BinRow(prefix="411111", primary="alpha"),
    ...     BinRow(prefix="41111111", primary="beta", alternate="alpha"),
    ... ])
    >>> route = table.find_route(Pan("4111111111111111"), lambda name: True)
    >>> route.endpoints, route.reason
    (('beta', 'alpha'), 'BIN 41111111: beta, then alpha')
    """

    def __init__(self, rows: Iterable[BinRow]) -> None:
        self._rows: dict[str, BinRow] = {}
        for row in rows:
            if len(row.prefix) not in PREFIX_DIGITS or not row.prefix.isdecimal():
                msg = f"BIN {row.prefix!r} has not 6 to 8 digits"
                raise ValueError(msg)
            if row.prefix in self._rows:
                msg = f"BIN {row.prefix} stands in two rows"
                raise ValueError(msg)
            self._rows[row.prefix] = row

    def find_route(self, pan: Pan, is_up: Callable[[str], bool]) -> Route | None:
        """Choose the endpoints of a card; None when no row covers its BIN."""
        row = self._find_row(pan)
        if row is None:
            return None
        named = (row.primary, row.alternate) if row.alternate else (row.primary,)
        up = tuple(name for name in named if is_up(name))
        return Route(endpoints=up, prefix=row.prefix, reason=_explain(row, up))

    def _find_row(self, pan: Pan) -> BinRow | None:
        digits = pan.leading(PREFIX_DIGITS[0])
        for length in PREFIX_DIGITS:
            row = self._rows.get(digits[:length])
            if row is not None:
                return row
        return None


def _explain(row: BinRow, up: tuple[str, ...]) -> str:
    if not up:
        return f"BIN {row.prefix}: no endpoint is up"
    if row.alternate and row.primary not in up:
        return f"BIN {row.prefix}: {row.primary} is down, so {row.alternate}"
    return f"BIN {row.prefix}: {', then '.join(up)}"
