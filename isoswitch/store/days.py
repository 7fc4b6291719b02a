"""Business days in the store: one is open, older ones are cut, then closed for ever.

    OPEN ──cut──▶ CUT ──close──▶ CLOSED
      ╰─ the next day opens in the same unit

A transaction enters on the open day only. One that entered before the cut may still end
on its day; a day is closed when none of its transactions is open any more. What comes
later belongs to the next day.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from isoswitch.codecs.canonical.errors import IsoswitchError


class DayState(StrEnum):
    """Where a business day stands."""

    OPEN = "open"
    CUT = "cut"
    CLOSED = "closed"


class DayClosed(IsoswitchError):
    """The unit belongs to a day that takes nothing more; ``open_date`` does."""

    def __init__(self, date: str, open_date: str) -> None:
        self.open_date = open_date
        super().__init__(f"business day {date} takes nothing more; {open_date} is open")


class DayRefused(IsoswitchError):
    """A day cannot go where it was asked to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BusinessDay:
    """A settlement day, ``YYYY-MM-DD``, and the UTC moments of its life."""

    date: str
    state: DayState
    opened_at: str
    cut_at: str = ""
    closed_at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DayMove:
    """A compare-and-set of a business day; a cut opens ``next_date``."""

    date: str
    to: DayState
    at: str
    next_date: str = ""


# By date; the youngest stands last.
Days = dict[str, BusinessDay]


def open_date(days: Days) -> str:
    """Give the date of the open day, which is the youngest; empty before the first."""
    youngest = next(reversed(days.values()), None)
    return youngest.date if youngest else ""


def check_enters(days: Days, date: str) -> None:
    """Raise DayClosed unless a transaction may enter on this day."""
    current = open_date(days)
    if current and date != current:
        raise DayClosed(date, current)


def check_books(days: Days, date: str) -> None:
    """Raise DayClosed when the day takes no entries any more."""
    day = days.get(date)
    if day is not None and day.state is DayState.CLOSED:
        raise DayClosed(date, open_date(days))


def move_day(
    days: Days, move: DayMove, *, has_open: Callable[[str], bool]
) -> dict[str, BusinessDay]:
    """Give the days after a move; ``has_open`` tells of open transactions of a day.

    Raises
    ------
    DayRefused
        The day is not where the move expects it, or is not done yet.
    """
    day = days.get(move.date)
    if move.to is DayState.OPEN:
        if days:
            msg = f"business day {move.date} cannot open beside {open_date(days)}"
            raise DayRefused(msg)
        return {move.date: _opened(move.date, move.at)}
    if move.to is DayState.CUT:
        if day is None or day.state is not DayState.OPEN or move.next_date <= day.date:
            msg = f"business day {move.date} is not open before {move.next_date}"
            raise DayRefused(msg)
        cut = replace(day, state=DayState.CUT, cut_at=move.at)
        opened = _opened(move.next_date, move.at)
        return {**days, cut.date: cut, opened.date: opened}
    if day is None or day.state is not DayState.CUT:
        msg = f"business day {move.date} is not cut, or is closed already"
        raise DayRefused(msg)
    if has_open(move.date):
        msg = f"business day {move.date} has transactions that are not decided yet"
        raise DayRefused(msg)
    closed = replace(day, state=DayState.CLOSED, closed_at=move.at)
    return {**days, closed.date: closed}


def _opened(date: str, at: str) -> BusinessDay:
    return BusinessDay(date=date, state=DayState.OPEN, opened_at=at)
