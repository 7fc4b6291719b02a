"""One business day is open; a cut day fills up no more, a closed one never changes."""

from __future__ import annotations

import pytest

from isoswitch.store.days import (
    BusinessDay,
    DayClosed,
    DayMove,
    DayRefused,
    DayState,
    check_books,
    check_enters,
    move_day,
    open_date,
)

AT = "2026-01-31T12:00:00.000000Z"


def move(date: str, to: DayState, *, next_date: str = "") -> DayMove:
    return DayMove(date=date, to=to, at=AT, next_date=next_date)


def after(
    *moves: DayMove, days: dict[str, BusinessDay] | None = None, has_open: bool = False
) -> dict[str, BusinessDay]:
    days = days or {}
    for each in moves:
        days = move_day(days, each, has_open=lambda _: has_open)
    return days


OPEN = move("2026-01-31", DayState.OPEN)
CUT = move("2026-01-31", DayState.CUT, next_date="2026-02-01")
CLOSE = move("2026-01-31", DayState.CLOSED)


def test_a_cut_opens_the_next_day_in_the_same_step() -> None:
    days = after(OPEN, CUT)
    assert open_date(days) == "2026-02-01"
    assert days["2026-01-31"].state is DayState.CUT


def test_a_transaction_enters_on_the_open_day_only() -> None:
    days = after(OPEN, CUT)
    check_enters(days, "2026-02-01")
    for date in ("2026-01-31", "2026-02-02"):
        with pytest.raises(DayClosed) as refusal:
            check_enters(days, date)
        assert refusal.value.open_date == "2026-02-01"


def test_before_the_first_day_nothing_is_refused() -> None:
    check_enters({}, "2026-01-31")


def test_a_cut_day_still_books_what_entered_before_and_a_closed_one_nothing() -> None:
    days = after(OPEN, CUT)
    check_books(days, "2026-01-31")
    with pytest.raises(DayClosed):
        check_books(after(CLOSE, days=days), "2026-01-31")


@pytest.mark.parametrize(
    ("moves", "refused"),
    [
        ((OPEN,), OPEN),
        ((OPEN, CUT), CUT),
        ((OPEN, CUT, CLOSE), CUT),
        ((OPEN, CUT, CLOSE), CLOSE),
        ((OPEN,), CLOSE),
        ((), CUT),
        ((), CLOSE),
        ((OPEN, CUT, CLOSE), OPEN),
        ((OPEN,), move("2026-01-31", DayState.CUT, next_date="2026-01-30")),
        ((OPEN,), move("2026-01-31", DayState.CUT, next_date="2026-01-31")),
    ],
)
def test_a_day_goes_one_way(moves: tuple[DayMove, ...], refused: DayMove) -> None:
    days = after(*moves)
    with pytest.raises(DayRefused):
        move_day(days, refused, has_open=lambda _: False)


def test_a_day_with_an_undecided_transaction_is_not_closed() -> None:
    days = after(OPEN, CUT)
    with pytest.raises(DayRefused):
        move_day(days, CLOSE, has_open=lambda date: date == "2026-01-31")
