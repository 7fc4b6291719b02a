"""Which day the clock names."""

from __future__ import annotations

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest

from isoswitch.switch.businessday import date_at, next_date


@pytest.mark.parametrize(
    ("now", "cutover", "zone", "expected"),
    [
        ("2026-01-02T23:59:59", "00:00", "UTC", "2026-01-02"),
        ("2026-01-03T00:00:00", "00:00", "UTC", "2026-01-03"),
        ("2026-01-02T21:59:59", "23:00", "Europe/Berlin", "2026-01-02"),
        ("2026-01-02T22:00:00", "23:00", "Europe/Berlin", "2026-01-03"),
        ("2026-07-02T21:00:00", "23:00", "Europe/Berlin", "2026-07-03"),
        ("2026-12-31T15:00:00", "23:00", "Asia/Shanghai", "2027-01-01"),
        ("2026-01-02T04:59:59", "00:00", "America/New_York", "2026-01-01"),
    ],
)
def test_the_next_day_begins_at_the_cutover(
    now: str, cutover: str, zone: str, expected: str
) -> None:
    moment = datetime.fromisoformat(now).replace(tzinfo=UTC)
    assert (
        date_at(moment, cutover_at=time.fromisoformat(cutover), zone=ZoneInfo(zone))
        == expected
    )


def test_the_day_after_new_years_eve_is_new_year() -> None:
    assert next_date("2026-12-31") == "2027-01-01"
