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


# Minor units of ISO 4217's list one; the others have two.
OTHER_EXPONENTS = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}


def test_every_currency_has_the_decimals_of_its_list() -> None:
    exponents = dict(CURRENCIES.values())
    assert len(exponents) == len(CURRENCIES)
    assert all(len(each) == 3 and each.isdecimal() for each in CURRENCIES)
    told = {
        letters: exponent
        for exponent, names in OTHER_EXPONENTS.items()
        for letters in names.split()
    }
    assert told == {each: found for each, found in exponents.items() if found != 2}


@pytest.mark.parametrize(
    ("currency", "letters"),
    [("800", "UGX"), ("434", "LYD"), ("990", "CLF"), ("404", "KES"), ("924", "ZWG")],
)
def test_a_number_means_the_currency_of_its_list(currency: str, letters: str) -> None:
    assert CURRENCIES[currency][0] == letters


def test_nobody_guesses_the_decimals_of_an_unlisted_currency() -> None:
    assert str(Money(1250, "999")) == "1250 minor units of 999"
    with pytest.raises(ValueError, match="no currency of ISO 4217"):
        parse_money("12.50", "999")
