"""An issuer's books and their log."""

from __future__ import annotations

from pathlib import Path

import pytest

from isoswitch.simulators.bookings import (
    Booking,
    BookingKey,
    BookingKind,
    Bookings,
    read_bookings,
)

KEY = BookingKey("10001", "000100000001")


def booking(kind: BookingKind, amount_minor: int = 0) -> Booking:
    return Booking(
        kind=kind,
        acquirer_id=KEY.acquirer_id,
        rrn=KEY.rrn,
        at="2026-01-02T03:04:05.000000Z",
        amount_minor=amount_minor,
    )


def test_a_reversal_leaves_nothing_of_an_approval() -> None:
    books = Bookings()
    books.add(booking(BookingKind.APPROVED, 1250))
    assert books.approved_minor(KEY) == 1250
    books.add(booking(BookingKind.REVERSED, 1250))
    assert books.approved_minor(KEY) == 0


def test_books_survive_in_their_log(tmp_path: Path) -> None:
    path = tmp_path / "north.jsonl"
    first = Bookings(path)
    first.add(booking(BookingKind.APPROVED, 1250))
    second = Bookings(path)
    assert second.entries == first.entries
    assert second.approved_minor(KEY) == 1250


@pytest.mark.parametrize("cut", [1, 10, 50])
def test_a_line_cut_by_a_kill_is_dropped_and_not_continued(
    tmp_path: Path, cut: int
) -> None:
    path = tmp_path / "north.jsonl"
    books = Bookings(path)
    books.add(booking(BookingKind.APPROVED, 1250))
    books.add(booking(BookingKind.REVERSED, 1250))
    books.close()
    path.write_bytes(path.read_bytes()[:-cut])

    again = Bookings(path)
    assert [each.kind for each in again.entries] == [BookingKind.APPROVED]
    again.add(booking(BookingKind.TOMBSTONE))
    again.close()
    kinds = [each.kind for each in read_bookings(path)]
    assert kinds == [BookingKind.APPROVED, BookingKind.TOMBSTONE]
