"""Amounts with the decimals of their currency."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoswitch.codecs.canonical.errors import DecodeError, EncodeError
from isoswitch.codecs.canonical.money import CURRENCIES, Money
from isoswitch.codecs.dialects.amounts import (
    find_amount,
    find_amount_2003,
    numeric_currency,
    read_amount_2003,
    write_additional,
    write_additional_2003,
    write_amount_2003,
)

AMOUNTS = st.builds(
    Money,
    minor=st.integers(-(10**12) + 1, 10**12 - 1),
    currency=st.sampled_from(sorted(CURRENCIES)),
)


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("9782000000001250", Money(1250, "978")),
        ("9783000000012500", Money(1250, "978")),
        ("9780000000000012", Money(1200, "978")),
        ("3922000000125000", Money(1250, "392")),
        ("0482000000000125", Money(1250, "048")),
        ("9520000000005000", Money(5000, "952")),
        ("4343000000005001", Money(5001, "434")),
    ],
)
def test_an_amount_keeps_its_value_in_other_decimals(text: str, amount: Money) -> None:
    assert read_amount_2003(text) == amount


def test_a_fraction_of_the_minor_unit_is_refused() -> None:
    with pytest.raises(DecodeError) as caught:
        read_amount_2003("3922000000001250")
    assert caught.value.field == "4"


def test_nobody_guesses_the_decimals_of_a_currency() -> None:
    with pytest.raises(DecodeError) as read:
        read_amount_2003("9992000000001250")
    with pytest.raises(EncodeError) as written:
        write_amount_2003(Money(1250, "999"))
    assert (read.value.field, written.value.field) == ("4", "4")
    with pytest.raises(DecodeError) as found:
        find_amount_2003("00409992C000000001250", "40")
    with pytest.raises(EncodeError) as told:
        write_additional_2003("00", "40", Money(1250, "999"))
    assert (found.value.field, told.value.field) == ("54", "54")


@given(AMOUNTS.filter(lambda amount: amount.minor >= 0))
def test_an_amount_of_2003_round_trips(amount: Money) -> None:
    text = write_amount_2003(amount)
    assert len(text) == 16
    assert read_amount_2003(text) == amount


@given(AMOUNTS, AMOUNTS)
def test_an_additional_amount_is_found_by_its_type(first: Money, second: Money) -> None:
    old = write_additional("00", "01", first) + write_additional("10", "02", second)
    new = write_additional_2003("00", "01", first) + write_additional_2003(
        "10", "02", second
    )
    assert (len(old), len(new)) == (40, 42)
    for find, text in ((find_amount, old), (find_amount_2003, new)):
        assert find(text, "01") == first
        assert find(text, "02", "01") == second
        assert find(text, "40") is None


@pytest.mark.parametrize(
    ("item", "amount"),
    [
        ("00029783C000000012500", Money(1250, "978")),
        ("00029780D000000000012", Money(-1200, "978")),
        ("00023922D000000125000", Money(-1250, "392")),
    ],
)
def test_an_additional_amount_keeps_its_value_in_other_decimals(
    item: str, amount: Money
) -> None:
    assert find_amount_2003(item, "02") == amount


def test_a_fraction_of_the_minor_unit_is_no_additional_amount() -> None:
    with pytest.raises(DecodeError) as caught:
        find_amount_2003("00029783C000000012501", "02")
    assert caught.value.field == "54"


@pytest.mark.parametrize("write", [write_additional, write_additional_2003])
@pytest.mark.parametrize("minor", [10**12, -(10**12)])
def test_an_additional_amount_is_never_cut(
    write: Callable[[str, str, Money], str], minor: int
) -> None:
    with pytest.raises(EncodeError, match="longer than 12 digits"):
        write("00", "02", Money(minor, "360"))


# The public EBT sample with a surplus zero, and other malformed items.
@pytest.mark.parametrize(
    "text",
    [
        "",
        "00",
        "0202017840D000000015000"[:19],
        "0002978X000000005000",
        "0002EURC" + "0" * 12,
        "0002978C00000000500\N{SUPERSCRIPT TWO}",
        "000297\N{SUPERSCRIPT TWO}C000000005000",
    ],
)
def test_a_malformed_additional_amount_is_passed_over(text: str) -> None:
    assert find_amount(text, "02", "01") is None


def test_letters_of_no_currency_are_refused() -> None:
    with pytest.raises(DecodeError) as caught:
        numeric_currency("XXQ")
    assert caught.value.field == "49"
