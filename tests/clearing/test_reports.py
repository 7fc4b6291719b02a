"""Both sides of a position: added up in any order, compared at the end of a window."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoswitch.clearing.receipt import ReceiptState
from isoswitch.clearing.reports import (
    Booking,
    HouseItem,
    ItemState,
    bookings_of_receipt,
    bookings_of_transfer,
    compare,
    count_ours,
    count_theirs,
    new_item,
    settle,
)
from isoswitch.clearing.transfer import Transfer, TransferState
from isoswitch.codecs.canonical.money import Money
from tests.clearing.test_receipt import receipt

OUT = Booking(uetr="u", is_credit=False, minor=1250)
IN = Booking(uetr="u", is_credit=True, minor=400)
T, R = TransferState, ReceiptState


def transfer(state: TransferState, returned: int = 0) -> Transfer:
    return Transfer(
        id="1-1",
        uetr="u",
        message_id="M",
        end_to_end_id="E",
        endpoint="house",
        amount=Money(1250, "978"),
        debtor_agent="US",
        creditor_agent="THEM",
        merchant_id="M1",
        created_at="",
        expires_at=0.0,
        state=state,
        returned_minor=returned,
    )


def item(booking: Booking = OUT) -> HouseItem:
    return new_item("house", booking, "978")


@pytest.mark.parametrize(
    ("before", "after", "member", "moved"),
    [
        (T.SENT, T.SETTLED, "US", [(False, 1250)]),
        (T.SENT, T.HELD, "US", [(False, 1250)]),
        (T.HELD, T.SETTLED, "US", []),
        (T.IN_DOUBT, T.RECALLING, "US", [(False, 1250)]),
        (T.SENT, T.REJECTED, "US", []),
        (T.SENT, T.SETTLED, "THEM", [(True, 1250)]),
        (T.SENT, T.SETTLED, "NOBODY", []),
    ],
)
def test_a_transfer_moves_our_position_when_the_house_has_moved_it(
    before: TransferState,
    after: TransferState,
    member: str,
    moved: list[tuple[bool, int]],
) -> None:
    found = bookings_of_transfer(transfer(before), transfer(after), member=member)
    assert [(each.is_credit, each.minor) for each in found] == moved


def test_what_comes_back_moves_the_other_way_in_its_parts() -> None:
    settled, part = transfer(T.SETTLED), transfer(T.RETURNED, 400)
    whole = transfer(T.RETURNED, 1250)
    first = bookings_of_transfer(settled, part, member="US")
    second = bookings_of_transfer(part, whole, member="US")
    assert [(each.is_credit, each.minor) for each in (*first, *second)] == [
        (True, 400),
        (True, 850),
    ]


@pytest.mark.parametrize(
    ("before", "after", "moved"),
    [
        (None, R.CREDITED, [(True, 1250)]),
        (None, R.REFUSED, []),
        (R.CREDITED, R.CANCELLED, [(True, -1250)]),
        (R.CREDITED, R.RETURNING, []),
        (R.RETURNING, R.RETURNED, [(False, 1250)]),
        (R.RETURNING, R.CANCELLED, [(True, -1250)]),
        (R.CREDITED, R.CREDITED, []),
    ],
)
def test_a_receipt_moves_our_position_when_it_is_booked(
    before: ReceiptState | None, after: ReceiptState, moved: list[tuple[bool, int]]
) -> None:
    known = None if before is None else receipt(before)
    found = bookings_of_receipt(known, receipt(after))
    assert [(each.is_credit, each.minor) for each in found] == moved


@given(
    parts=st.lists(st.integers(1, 500), min_size=1, max_size=4),
    random=st.randoms(use_true_random=False),
)
def test_both_sides_agree_in_whatever_order_and_however_often_they_come(
    parts: list[int], random: object
) -> None:
    ours = [("ours", minor, "") for minor in parts]
    theirs = [("theirs", minor, f"R{n}") for n, minor in enumerate(parts)]
    steps = [*ours, *theirs, *theirs]
    random.shuffle(steps)  # type: ignore[attr-defined]
    now = item()
    for side, minor, reference in steps:
        booking = replace(OUT, minor=minor)
        if side == "ours":
            now = count_ours(now, booking, now=1.0)
        else:
            now = count_theirs(now, booking, reference, now=1.0)
    assert now.ours_minor == now.theirs_minor == sum(parts)
    assert now.state is ItemState.OPEN
    assert settle(now).state is ItemState.SETTLED


def agreed(booking: Booking) -> HouseItem:
    ours = count_ours(item(booking), booking, now=0.0)
    return count_theirs(ours, booking, "R", now=0.0)


def test_a_window_that_both_sides_see_alike_has_no_break() -> None:
    found = compare([agreed(OUT), agreed(IN)], -850, now=100.0, under_way_s=10.0)
    assert (found.ours_minor, found.theirs_minor, found.breaks) == (-850, -850, ())


@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_what_one_side_alone_has_is_a_break(side: str) -> None:
    one = count_ours(item(), OUT, now=0.0)
    settled = 0
    if side == "theirs":
        one, settled = count_theirs(item(), OUT, "R", now=0.0), -1250
    found = compare([one], settled, now=100.0, under_way_s=10.0)
    (sentence,) = found.breaks
    assert sentence.startswith("u: we have")
    # It may still be under way a moment before.
    assert not compare([one], settled, now=5.0, under_way_s=10.0).breaks


def test_a_settlement_of_what_was_not_reported_is_a_break() -> None:
    found = compare([agreed(OUT)], -2000, now=100.0, under_way_s=10.0)
    assert found.breaks == ("it settles -2000 and has reported -1250",)


def test_what_we_learn_after_a_window_belongs_to_no_other() -> None:
    late = settle(count_theirs(item(), OUT, "R", now=0.0))
    late = count_ours(late, OUT, now=50.0)
    assert late.state is ItemState.SETTLED
    assert compare([late], 0, now=100.0, under_way_s=10.0).breaks == ()
