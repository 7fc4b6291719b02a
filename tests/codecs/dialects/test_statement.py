"""Mini statements: lines there and back, and what is no line."""

from __future__ import annotations

from datetime import date

import pytest

from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.transaction import StatementLine
from isoswitch.codecs.dialects.statement import read_statement, write_statement

LINE = StatementLine(booked_on=date(2026, 12, 31), amount=Money(5000, "392"))
WIRE = "261231C392000000005000"


def test_a_line_has_date_sign_currency_and_amount() -> None:
    assert write_statement([LINE]) == WIRE
    assert read_statement(WIRE) == (LINE,)


@pytest.mark.parametrize(
    "text",
    [WIRE[:-1], WIRE.replace("C", "X"), "2612AA" + WIRE[6:], "261332" + WIRE[6:]],
    ids=["cut", "no sign", "no digits", "no date"],
)
def test_what_is_no_line_is_passed_over(text: str) -> None:
    assert read_statement(text) == ()
    assert read_statement(WIRE + text) == (LINE,)
