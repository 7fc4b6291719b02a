"""Dates and times of the wire, whose years are missing or cut, as full dates.

A month and day mean the year in which they lie nearest to a reference instant, so
that 31 December read on 1 January belongs to the year before.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache

# No date of a transaction lies farther from the moment it is read: half a year.
_REACH = timedelta(days=184)
MIDNIGHT = "000000"


def resolve_month_day(
    text: str, time: str, *, reference: datetime, zone: tzinfo | None
) -> datetime:
    """Place ``MMDD`` and ``hhmmss`` in the year nearest to the reference.

    Raises
    ------
    ValueError
        No such day or time in any year within half a year of the reference.

    Examples
    --------
    >>> new_year = datetime(2027, 1, 1, 0, 0, 5, tzinfo=UTC)
    >>> resolve_month_day("1231", "235958", reference=new_year, zone=None)
    datetime.datetime(2026, 12, 31, 23, 59, 58)
    """
    found = _seen_in(text, time, reference.year, reference.month, zone)
    if found is not None:
        return found
    month, day, clock = int(text[:2]), int(text[2:4]), _clock(time)
    beside = reference.replace(tzinfo=zone)
    nearest = min(
        (
            datetime(near, month, day, *clock, tzinfo=zone)
            for near in (beside.year - 1, beside.year, beside.year + 1)
            if (month, day) != (2, 29) or _is_leap(near)
        ),
        key=lambda candidate: abs(candidate - beside),
        default=datetime.max.replace(tzinfo=zone),
    )
    if abs(nearest - beside) > _REACH:
        msg = "no such date near the reference"
        raise ValueError(msg)
    return nearest


# What comes in the same second of a terminal's clock is often the same.
@lru_cache(maxsize=4096)
def _seen_in(
    text: str, time: str, year: int, month: int, zone: tzinfo | None
) -> datetime | None:
    """Place a date seen in some month; None where the day decides on its year.

    Only a distance of about six months leaves a doubt which year is nearer.
    """
    months_ahead = int(text[:2]) - month
    if abs(months_ahead) == 6:
        return None
    year += (months_ahead < -6) - (months_ahead > 6)
    return datetime(year, int(text[:2]), int(text[2:4]), *_clock(time), tzinfo=zone)


def _clock(text: str) -> tuple[int, int, int]:
    return int(text[:2]), int(text[2:4]), int(text[4:6])


def parse_transmission(text: str, *, reference: datetime) -> datetime:
    """Read DE 7, ``MMDDhhmmss`` in UTC.

    Raises
    ------
    ValueError
        Not a date and time.

    Examples
    --------
    >>> now = datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)
    >>> parse_transmission("0101000001", reference=now).isoformat()
    '2027-01-01T00:00:01+00:00'
    """
    return resolve_month_day(text[:4], text[4:], reference=reference, zone=UTC)


def parse_local(day: str, time: str, *, reference: datetime) -> datetime:
    """Read DE 13 ``MMDD`` and DE 12 ``hhmmss`` as a naive local time.

    Raises
    ------
    ValueError
        Not a date and time.

    Examples
    --------
    >>> parse_local("0229", "120000", reference=datetime(2028, 3, 1, tzinfo=UTC))
    datetime.datetime(2028, 2, 29, 12, 0)
    """
    return resolve_month_day(day, time, reference=reference, zone=None)


def parse_local_with_year(text: str, *, reference: datetime) -> datetime:
    """Read ``YYMMDDhhmmss``, its century the one nearest to the reference.

    Raises
    ------
    ValueError
        Not a date and time.

    Examples
    --------
    >>> now = datetime(2026, 7, 1, tzinfo=UTC)
    >>> parse_local_with_year("950123154952", reference=now)
    datetime.datetime(1995, 1, 23, 15, 49, 52)
    """
    year = resolve_year(int(text[:2]), reference=reference)
    return _parse_full(year, text[2:])


def parse_local_with_century(text: str) -> datetime:
    """Read ``CCYYMMDDhhmmss``.

    Raises
    ------
    ValueError
        Not a date and time.

    Examples
    --------
    >>> parse_local_with_century("20260723144609")
    datetime.datetime(2026, 7, 23, 14, 46, 9)
    """
    return _parse_full(int(text[:4]), text[4:])


def resolve_year(two_digits: int, *, reference: datetime) -> int:
    """Give the year with these last two digits nearest to the reference.

    Examples
    --------
    >>> resolve_year(1, reference=datetime(1999, 12, 31, tzinfo=UTC))
    2001
    """
    distance = (two_digits - reference.year + 50) % 100 - 50
    return reference.year + distance


def format_transmission(instant: datetime) -> str:
    """Write DE 7 of an aware instant.

    Examples
    --------
    >>> format_transmission(datetime(2026, 2, 28, 23, 5, 9, tzinfo=UTC))
    '0228230509'
    """
    utc = instant if instant.tzinfo is UTC else instant.astimezone(UTC)
    return f"{utc.month:02}{utc.day:02}{utc.hour:02}{utc.minute:02}{utc.second:02}"


def format_time(local: datetime) -> str:
    """Write ``hhmmss``.

    Examples
    --------
    >>> format_time(datetime(2026, 7, 23, 14, 46, 9))
    '144609'
    """
    return f"{local.hour:02}{local.minute:02}{local.second:02}"


def format_day(local: datetime) -> str:
    """Write ``MMDD``.

    Examples
    --------
    >>> format_day(datetime(2026, 7, 23))
    '0723'
    """
    return f"{local.month:02}{local.day:02}"


def format_with_year(local: datetime) -> str:
    """Write ``YYMMDDhhmmss``.

    Examples
    --------
    >>> format_with_year(datetime(2026, 7, 23, 14, 46, 9))
    '260723144609'
    """
    return format_with_century(local)[2:]


def format_with_century(local: datetime) -> str:
    """Write ``CCYYMMDDhhmmss``.

    Examples
    --------
    >>> format_with_century(datetime(2026, 7, 23, 14, 46, 9))
    '20260723144609'
    """
    return f"{local.year:04}{format_day(local)}{format_time(local)}"


def _parse_full(year: int, rest: str) -> datetime:
    return datetime(  # noqa: DTZ001  a terminal's local time names no zone
        year,
        int(rest[:2]),
        int(rest[2:4]),
        int(rest[4:6]),
        int(rest[6:8]),
        int(rest[8:10]),
    )


def _is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
