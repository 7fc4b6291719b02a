"""Entries: postings that sum to zero in every currency.

A debit is positive, a credit negative. An entry is written once under an id of its own;
nothing is ever changed, a mistake is answered by an entry the other way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from isoswitch.codecs.canonical.errors import IsoswitchError
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.values import quick


class LedgerRefused(IsoswitchError):
    """A change that the ledger's rules forbid; nothing of its unit was stored."""


class Unbalanced(LedgerRefused):
    """The postings of an entry do not sum to zero."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """One debit (positive) or credit (negative) of an account, in minor units."""

    account: str
    currency: str
    minor: int


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A set of postings that balances.

    ``transaction_id`` is the transaction that caused it, ``business_date`` the day to
    which it belongs, which is not always that of the transaction it undoes.

    Raises
    ------
    Unbalanced
        The postings of a currency do not sum to zero.
    """

    id: str
    transaction_id: str
    business_date: str
    postings: tuple[Posting, ...]

    def __post_init__(self) -> None:
        sums: Counter[str] = Counter()
        for posting in self.postings:
            sums[posting.currency] += posting.minor
        if any(sums.values()):
            msg = f"entry {self.id} does not balance in {', '.join(+sums | -sums)}"
            raise Unbalanced(msg)


def transfer(
    entry_id: str,
    *,
    debit: str,
    credit: str,
    amount: Money,
    transaction_id: str,
    business_date: str,
) -> Entry:
    """Make the entry that debits one account and credits another.

    Examples
    --------
    >>> entry = transfer("1-7/capture", debit="issuer/north", credit="merchant/M1",
    ...     amount=Money(1250, "978"), transaction_id="1-7",
    ...     business_date="2026-01-02")
    >>> [(posting.account, posting.minor) for posting in entry.postings]
    [('issuer/north', 1250), ('merchant/M1', -1250)]
    """
    return Entry(
        id=entry_id,
        transaction_id=transaction_id,
        business_date=business_date,
        postings=(
            Posting(account=debit, currency=amount.currency, minor=amount.minor),
            Posting(account=credit, currency=amount.currency, minor=-amount.minor),
        ),
    )


def balances(entries: Iterable[Entry]) -> dict[tuple[str, str], int]:
    """Sum entries by account and currency, in minor units; debits are positive."""
    sums: Counter[tuple[str, str]] = Counter()
    for entry in entries:
        for posting in entry.postings:
            sums[posting.account, posting.currency] += posting.minor
    return dict(sums)
