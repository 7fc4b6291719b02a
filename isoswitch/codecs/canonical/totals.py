"""Totals: what was taken and given back, as one side counts it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import NamedTuple


class Standing(NamedTuple):
    """What is left of one side after its reversals, in minor units."""

    transactions: int
    minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Counts and sums of one currency (DE 74 to 77, 86 to 89), in minor units.

    Debits are what cardholders pay, credits what they get back; a reversal undoes a
    part or the whole of either.

    Examples
    --------
    >>> paid = Totals(debits=2, debits_minor=3000)
    >>> undone = Totals(debit_reversals=1, debit_reversals_minor=1000)
    >>> (paid + undone).net_minor
    2000
    """

    debits: int = 0
    debits_minor: int = 0
    debit_reversals: int = 0
    debit_reversals_minor: int = 0
    credits: int = 0
    credits_minor: int = 0
    credit_reversals: int = 0
    credit_reversals_minor: int = 0

    @property
    def net_minor(self) -> int:
        """What cardholders paid in sum (DE 97); negative when they got more back."""
        return (
            self.debits_minor
            - self.debit_reversals_minor
            - self.credits_minor
            + self.credit_reversals_minor
        )

    @property
    def standing(self) -> tuple[Standing, Standing]:
        """What is left of the debits and of the credits.

        Two sides agree when these do: a transaction that one side undid before the
        other heard of it is counted by only one of them.
        """
        return (
            Standing(
                self.debits - self.debit_reversals,
                self.debits_minor - self.debit_reversals_minor,
            ),
            Standing(
                self.credits - self.credit_reversals,
                self.credits_minor - self.credit_reversals_minor,
            ),
        )

    def __add__(self, other: Totals) -> Totals:
        return Totals(
            **{
                each.name: getattr(self, each.name) + getattr(other, each.name)
                for each in fields(Totals)
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TotalsLine:
    """The totals of one terminal with one endpoint in one currency."""

    endpoint: str
    terminal_id: str
    currency: str
    totals: Totals


def sum_lines(lines: Iterable[TotalsLine], *, by: str) -> dict[tuple[str, str], Totals]:
    """Sum lines by ``"endpoint"`` or ``"terminal_id"``, and by currency.

    Examples
    --------
    >>> line = TotalsLine(endpoint="north", terminal_id="T1", currency="978",
    ...     totals=Totals(debits=1, debits_minor=5))
    >>> sum_lines([line, line], by="endpoint")["north", "978"].debits_minor
    10
    """
    sums: dict[tuple[str, str], Totals] = {}
    for line in lines:
        key = getattr(line, by), line.currency
        sums[key] = sums.get(key, Totals()) + line.totals
    return sums
