"""An entry balances in every currency, or it is not made."""

from __future__ import annotations

import pytest

from isoswitch.codecs.canonical.money import Money
from isoswitch.ledger.entries import Entry, Posting, Unbalanced, balances, transfer


def posting(account: str, minor: int, currency: str = "978") -> Posting:
    return Posting(account=account, currency=currency, minor=minor)


def entry(*postings: Posting) -> Entry:
    return Entry(
        id="1", transaction_id="1", business_date="2026-01-31", postings=postings
    )


@pytest.mark.parametrize(
    "postings",
    [
        (posting("a", 1),),
        (posting("a", 100), posting("b", -99)),
        # In sum nothing is left, but not in either currency.
        (posting("a", 100, "978"), posting("b", -100, "840")),
    ],
)
def test_what_does_not_balance_is_no_entry(postings: tuple[Posting, ...]) -> None:
    with pytest.raises(Unbalanced):
        entry(*postings)


def test_an_entry_may_have_many_postings_in_several_currencies() -> None:
    made = entry(
        posting("a", 100),
        posting("b", -60),
        posting("c", -40),
        posting("a", 7, "840"),
        posting("b", -7, "840"),
    )
    assert balances([made]) == {
        ("a", "978"): 100,
        ("b", "978"): -60,
        ("c", "978"): -40,
        ("a", "840"): 7,
        ("b", "840"): -7,
    }


def test_a_transfer_there_and_back_leaves_nothing() -> None:
    facts = {"transaction_id": "1", "business_date": "2026-01-31"}
    there = transfer("1", debit="a", credit="b", amount=Money(5, "978"), **facts)
    back = transfer("2", debit="b", credit="a", amount=Money(5, "978"), **facts)
    assert set(balances([there, back]).values()) == {0}
