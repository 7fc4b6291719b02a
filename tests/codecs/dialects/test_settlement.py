"""Totals and business days in messages, in each layout."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoswitch.codecs.canonical.codes import Function, Kind
from isoswitch.codecs.canonical.errors import DecodeError
from isoswitch.codecs.canonical.totals import Totals
from isoswitch.codecs.canonical.transaction import Transaction
from isoswitch.codecs.dialects.dialect import LegNumbers
from isoswitch.codecs.dialects.edition import FieldValue
from isoswitch.codecs.dialects.registry import EDITIONS, get_dialect
from isoswitch.codecs.dialects.settlement import (
    Settlement,
    day_fields,
    do_agree,
    read_day,
    read_settlement,
    totals_fields,
)
from isoswitch.codecs.iso8583.message import Message

NOW = datetime(2026, 12, 31, 23, 59, tzinfo=UTC)
TOTALS = Totals(
    debits=3,
    debits_minor=4500,
    debit_reversals=1,
    debit_reversals_minor=1500,
    credits=2,
    credits_minor=700,
    credit_reversals=1,
    credit_reversals_minor=200,
)
ISO_NAMES = ["iso87-ascii", "iso87-bcd", "iso93-ascii", "iso93-bcd", "iso2003"]


def settlement(
    name: str, extra: dict[int, FieldValue], *, function: Function = Function.REQUEST
) -> Message:
    txn = Transaction(
        kind=Kind.RECONCILIATION,
        function=function,
        stan="000007",
        local_at=NOW.replace(tzinfo=None),
    )
    leg = LegNumbers(stan="000007", rrn="", transmitted_at=NOW, acquirer_id="")
    return get_dialect(name).to_request(txn, leg, mac=False, extra=extra)


def read(name: str, extra: dict[int, FieldValue]) -> Settlement:
    dialect = get_dialect(name)
    message = dialect.codec.decode(settlement(name, extra).raw)
    return read_settlement(dialect, message)


@pytest.mark.parametrize("name", ISO_NAMES[:4])
def test_totals_come_back_as_they_were_told(name: str) -> None:
    told = totals_fields(get_dialect(name), TOTALS, "978")
    assert read(name, told) == Settlement(
        totals=TOTALS, currency="978", is_after_upload=False
    )


def test_iso_2003_has_no_totals() -> None:
    told = totals_fields(get_dialect("iso2003"), TOTALS, "978")
    assert told == {}
    assert read("iso2003", told) == Settlement(
        totals=None, currency="", is_after_upload=False
    )


@given(st.builds(Totals, **{f.name: st.integers(0, 10**9) for f in fields(Totals)}))
def test_any_totals_fit_their_fields(totals: Totals) -> None:
    told = totals_fields(get_dialect("iso87-ascii"), totals)
    assert read("iso87-ascii", told).totals == totals


@pytest.mark.parametrize(
    ("totals", "net"),
    [
        (Totals(debits=1, debits_minor=5), "D0000000000000005"),
        (Totals(credits=1, credits_minor=5), "C0000000000000005"),
        (Totals(), "D0000000000000000"),
    ],
)
def test_the_net_sum_says_who_got_it(totals: Totals, net: str) -> None:
    assert totals_fields(get_dialect("iso87-ascii"), totals)[97] == net


def test_a_settlement_without_totals_has_none() -> None:
    assert read("iso87-ascii", {}).totals is None
    assert read("cup-pos", {}).totals is None


@pytest.mark.parametrize("missing", [74, 77, 86, 89])
def test_half_of_the_totals_are_refused(missing: int) -> None:
    told = totals_fields(get_dialect("iso87-ascii"), TOTALS)
    del told[missing]
    with pytest.raises(DecodeError) as refusal:
        read("iso87-ascii", told)
    assert refusal.value.field == str(missing)


@pytest.mark.parametrize(
    ("name", "extra"),
    [
        ("iso87-ascii", {3: "960000"}),
        ("cup-pos", {60: "00000001202"}),
        ("cup-pos", {60: "00000001207"}),
    ],
)
def test_a_batch_is_settled_again_after_its_upload(
    name: str, extra: dict[int, FieldValue]
) -> None:
    assert read(name, extra).is_after_upload


def test_a_unionpay_terminal_tells_what_stands_in_48() -> None:
    told = totals_fields(get_dialect("cup-pos"), TOTALS)
    assert told == {
        48: "000000003000" + "002" + "000000000500" + "001" + "0" + "0" * 31
    }
    settled = read("cup-pos", told)
    assert settled.totals == Totals(
        debits=2, debits_minor=3000, credits=1, credits_minor=500
    )
    assert not settled.is_after_upload


@pytest.mark.parametrize(
    ("totals", "told"),
    [
        # A sale of the batch before was undone in this one.
        (
            Totals(debit_reversals=1, debit_reversals_minor=1250),
            Totals(credits=1, credits_minor=1250),
        ),
        (
            Totals(
                debits=1, debits_minor=3000, debit_reversals=2, debit_reversals_minor=20
            ),
            Totals(debits_minor=2980, credits=1),
        ),
        (
            Totals(
                debits=2, debits_minor=9, credit_reversals=1, credit_reversals_minor=7
            ),
            Totals(debits=3, debits_minor=16),
        ),
    ],
    ids=["debits", "count", "credits"],
)
def test_what_is_below_zero_stands_on_the_other_side_for_a_unionpay_terminal(
    totals: Totals, told: Totals
) -> None:
    dialect = get_dialect("cup-pos")
    assert read("cup-pos", totals_fields(dialect, totals)).totals == told
    assert told.net_minor == totals.net_minor
    assert do_agree(dialect, told, totals)
    assert not do_agree(dialect, replace(told, credits=9), totals)
    assert not do_agree(get_dialect("iso87-ascii"), told, totals)


def test_more_than_its_digits_hold_is_told_to_a_unionpay_terminal_and_differs() -> None:
    dialect = get_dialect("cup-pos")
    ours = Totals(debits=1000, debits_minor=10**12, credits=1, credits_minor=1)
    told = read("cup-pos", totals_fields(dialect, ours)).totals
    assert told == replace(ours, debits=999, debits_minor=10**12 - 1)
    assert not do_agree(dialect, told, ours)


@given(st.builds(Totals, **{f.name: st.integers(0, 10**13) for f in fields(Totals)}))
def test_any_totals_can_be_told_to_a_unionpay_terminal(totals: Totals) -> None:
    assert read("cup-pos", totals_fields(get_dialect("cup-pos"), totals)).totals


def test_domestic_and_foreign_cards_of_a_unionpay_terminal_are_summed() -> None:
    part = "000000003000" + "002" + "000000000500" + "001" + "0"
    assert read("cup-pos", {48: part + part}).totals == Totals(
        debits=4, debits_minor=6000, credits=2, credits_minor=1000
    )


def test_unionpay_totals_of_another_length_are_refused() -> None:
    with pytest.raises(DecodeError) as refusal:
        read("cup-pos", {48: "0" * 60})
    assert refusal.value.field == "48"


@pytest.mark.parametrize("name", ISO_NAMES)
@pytest.mark.parametrize("date", ["2026-12-31", "2027-01-01", "2026-07-02"])
def test_a_business_day_comes_back(name: str, date: str) -> None:
    dialect = get_dialect(name)
    message = settlement(name, dict(day_fields(dialect, date)))
    assert read_day(message, reference=NOW) == date


@pytest.mark.parametrize("name", EDITIONS)
def test_every_dialect_can_name_a_day(name: str) -> None:
    [(field, text)] = day_fields(get_dialect(name), "2026-12-31").items()
    assert field == 15
    assert "20261231".endswith(str(text))
    assert str(text).endswith("1231")


def test_a_message_without_a_day_names_none() -> None:
    assert read_day(settlement("iso87-ascii", {}), reference=NOW) == ""


@pytest.mark.parametrize(
    ("name", "text"), [("iso87-ascii", "1332"), ("iso93-ascii", "261332")]
)
def test_what_is_no_day_is_refused(name: str, text: str) -> None:
    with pytest.raises(DecodeError) as refusal:
        read_day(settlement(name, {15: text}), reference=NOW)
    assert refusal.value.field == "15"
