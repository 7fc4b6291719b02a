"""Dates without years land in the nearest year."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoswitch.codecs.dialects.dates import (
    format_day,
    format_time,
    format_transmission,
    format_with_century,
    format_with_year,
    parse_local,
    parse_local_with_century,
    parse_local_with_year,
    parse_transmission,
    resolve_year,
)

REFERENCES = st.datetimes(
    datetime.fromisoformat("2001-01-01"), datetime.fromisoformat("2098-12-31")
)
WITHIN_HALF_A_YEAR = st.timedeltas(timedelta(days=-181), timedelta(days=181))

YEARS_SEEN = [(2026, 12), (2027, 1), (2027, 7), (2028, 1)]


@pytest.mark.parametrize(
    ("text", "now", "expected"),
    [
        # new year, sent before
        ("1231235959", "2027-01-01T00:00:01", "2026-12-31T23:59:59"),
        # new year, sent after
        ("0101000001", "2026-12-31T23:59:59", "2027-01-01T00:00:01"),
        # leap day on the day
        ("0229120000", "2028-02-29T12:00:01", "2028-02-29T12:00:00"),
        # leap day, read in March
        ("0229235959", "2028-03-01T00:00:05", "2028-02-29T23:59:59"),
        # leap day ahead over new year
        ("0229120000", "2027-12-15T00:00:00", "2028-02-29T12:00:00"),
        # end of February, no leap year
        ("0228235959", "2027-03-01T00:00:05", "2027-02-28T23:59:59"),
        # half a year ahead
        ("0630120000", "2026-01-01T00:00:00", "2026-06-30T12:00:00"),
        # half a year behind
        ("0801120000", "2026-01-15T00:00:00", "2025-08-01T12:00:00"),
    ],
)
def test_a_month_and_day_mean_the_nearest_year(
    text: str, now: str, expected: str
) -> None:
    reference = datetime.fromisoformat(now).replace(tzinfo=UTC)
    parsed = parse_transmission(text, reference=reference)
    assert parsed == datetime.fromisoformat(expected).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "0229120000",
        "1301120000",
        "0001120000",
        "0431120000",
        "0101240000",
        "0101126000",
    ],
)
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  datetime words its own errors
        parse_transmission(text, reference=datetime(2026, 4, 1, tzinfo=UTC))


def test_a_leap_day_far_from_any_leap_year_is_refused() -> None:
    for month in range(1, 13):
        now = datetime(2026, month, 1, tzinfo=UTC)
        with pytest.raises(ValueError, match=r"no such date near|day is out of range"):
            parse_transmission("0229120000", reference=now)


@given(REFERENCES, WITHIN_HALF_A_YEAR)
def test_a_transmission_time_round_trips(now: datetime, distance: timedelta) -> None:
    reference = now.replace(tzinfo=UTC)
    sent = (reference + distance).replace(microsecond=0)
    assert parse_transmission(format_transmission(sent), reference=reference) == sent


@given(REFERENCES, WITHIN_HALF_A_YEAR)
def test_a_local_time_round_trips_in_every_form(
    now: datetime, distance: timedelta
) -> None:
    reference = now.replace(tzinfo=UTC)
    local = (now + distance).replace(microsecond=0)
    assert local == parse_local(
        format_day(local), format_time(local), reference=reference
    )
    assert local == parse_local_with_year(format_with_year(local), reference=reference)
    assert local == parse_local_with_century(format_with_century(local))


def test_the_same_text_means_another_year_when_it_is_read_in_another() -> None:
    seen = [datetime(year, month, 3, tzinfo=UTC) for year, month in YEARS_SEEN]
    read = [parse_local("1231", "235958", reference=at).year for at in seen]
    assert read == [2026, 2026, 2027, 2027]
    sent = [parse_transmission("1231235958", reference=at).year for at in seen]
    assert sent == read


def test_a_transmission_time_is_written_in_utc() -> None:
    shanghai = timezone(timedelta(hours=8))
    sent = datetime(2027, 1, 1, 7, 59, 59, tzinfo=shanghai)
    assert format_transmission(sent) == "1231235959"


@given(st.integers(2000, 2099), st.integers(-49, 49))
def test_two_digits_mean_the_nearest_year(year: int, distance: int) -> None:
    near = year + distance
    assert resolve_year(near % 100, reference=datetime(year, 6, 1, tzinfo=UTC)) == near
