"""What the entries of a business day come to, whoever stores them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from isoswitch.codecs.canonical.totals import Totals, TotalsLine

ISSUER_ACCOUNTS = "issuer/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Taking:
    """Postings of one sort on the account of one endpoint, counted and summed.

    A debit that is no return took money, a credit that is none gave it; a return undoes
    the other one.
    """

    endpoint: str
    terminal_id: str
    currency: str
    is_return: bool
    is_debit: bool
    count: int
    minor: int

    @property
    def totals(self) -> Totals:
        """This sort's place in the totals."""
        name = _NAMES[self.is_return, self.is_debit]
        return Totals(**{name: self.count, f"{name}_minor": self.minor})


_NAMES = {
    (False, True): "debits",
    (True, False): "debit_reversals",
    (False, False): "credits",
    (True, True): "credit_reversals",
}


def gather_totals(takings: Iterable[Taking]) -> list[TotalsLine]:
    """Give the totals of each endpoint, terminal and currency, in that order."""
    sums: dict[tuple[str, str, str], Totals] = {}
    for each in takings:
        key = each.endpoint, each.terminal_id, each.currency
        sums[key] = sums.get(key, Totals()) + each.totals
    return [
        TotalsLine(
            endpoint=endpoint, terminal_id=terminal_id, currency=currency, totals=totals
        )
        for (endpoint, terminal_id, currency), totals in sorted(
            sums.items(), key=lambda item: item[0]
        )
    ]
