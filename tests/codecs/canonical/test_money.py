"""Money is an integer of minor units with its currency."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoswitch.codecs.canonical.money import CURRENCIES, Money, parse_money


@given(st.integers(-(10**15), 10**15), st.integers(-(10**15), 10**15))
def test_adding_and_taking_away_gives_the_same_money(left: int, right: int) -> None:
    money = Money(left, "978") + Money(right, "978")
    assert money - Money(right, "978") == Money(left, "978")


@pytest.mark.parametrize("operation", ["__add__", "__sub__"])
def test_two_currencies_do_not_meet(operation: str) -> None:
    with pytest.raises(ValueError, match="978 and 840"):
        getattr(Money(1, "978"), operation)(Money(1, "840"))


@given(st.integers(0, 10**12), st.sampled_from(sorted(CURRENCIES)))
def test_the_written_form_reads_back(minor: int, currency: str) -> None:
    amount = Money(minor, currency)
    assert parse_money(str(amount).split()[0], currency) == amount


@pytest.mark.parametrize("text", ["", ".", "-1", "1,50", "1.234", "1e3", "٣", " 1"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an amount"):
        parse_money(text, "978")


def test_a_currency_without_decimals_takes_none() -> None:
    assert parse_money("1250", "392") == Money(1250, "392")
    with pytest.raises(ValueError, match="at most 0 decimals"):
        parse_money("12.5", "392")


def test_an_unlisted_currency_is_written_with_two_decimals() -> None:
    assert str(Money(1250, "999")) == "12.50 999"
