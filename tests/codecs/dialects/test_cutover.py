"""The settlement day that a cutover message names (DE 15)."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from isoswitch.codecs.canonical.errors import DecodeError
from isoswitch.codecs.dialects.cutover import read_cutover_date, write_cutover_date
from isoswitch.codecs.dialects.registry import get_dialect

NEW_YEARS_EVE = datetime(2026, 12, 31, 23, tzinfo=UTC)
NEW_YEAR = date(2027, 1, 1)


@pytest.mark.parametrize(
    ("dialect", "mti", "text"),
    [
        ("iso87-ascii", "0800", "0101"),
        ("iso93-bcd", "1804", "270101"),
        ("iso2003", "2804", "20270101"),
    ],
)
def test_a_day_is_written_as_its_edition_has_it_and_read_back(
    dialect: str, mti: str, text: str
) -> None:
    chosen = get_dialect(dialect)
    fields = write_cutover_date(chosen, NEW_YEAR)
    assert fields == {15: text}
    message = chosen.codec.build(mti, fields)
    assert read_cutover_date(message, reference=NEW_YEARS_EVE) == NEW_YEAR


def test_a_message_may_name_no_day() -> None:
    message = get_dialect("iso87-ascii").codec.build("0800", {11: "000001"})
    assert read_cutover_date(message, reference=NEW_YEARS_EVE) is None


@pytest.mark.parametrize(
    ("dialect", "text"), [("iso87-ascii", "0230"), ("iso93-bcd", "270230")]
)
def test_a_day_that_does_not_exist_is_a_decode_error(dialect: str, text: str) -> None:
    message = get_dialect(dialect).codec.build("0800", {11: "000001", 15: text})
    with pytest.raises(DecodeError, match="field 15"):
        read_cutover_date(message, reference=NEW_YEARS_EVE)
