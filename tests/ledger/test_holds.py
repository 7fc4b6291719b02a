"""A hold is resolved once, and what moves is never more than was held or captured."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoswitch.codecs.canonical.money import Money
from isoswitch.ledger.entries import Entry, LedgerRefused, balances
from isoswitch.ledger.holds import (
    AmountExceeded,
    Capture,
    Change,
    EntryConflict,
    Hold,
    HoldResolved,
    HoldState,
    HoldUnknown,
    Place,
    Redirect,
    Release,
    Resize,
    Return,
    apply,
)

DATE = "2026-01-31"
ISSUER, MERCHANT = "issuer/north", "merchant/M1"


class Ledger:
    """A book in memory that follows every change."""

    def __init__(self, *changes: Change) -> None:
        self.holds: dict[str, Hold] = {}
        self.entries: dict[str, Entry] = {}
        for change in changes:
            self.apply(change)

    def find_hold(self, hold_id: str) -> Hold | None:
        return self.holds.get(hold_id)

    def find_entry(self, entry_id: str) -> Entry | None:
        return self.entries.get(entry_id)

    def apply(self, change: Change) -> None:
        effect = apply(change, self)
        self.holds |= {hold.id: hold for hold in effect.holds}
        if effect.entry is not None:
            assert effect.entry.id not in self.entries, "an entry is written once"
            self.entries[effect.entry.id] = effect.entry

    def merchant_minor(self) -> int:
        """What the merchant is owed."""
        return -balances(self.entries.values()).get((MERCHANT, "978"), 0)


def place(hold_id: str = "1", minor: int = 1000, *, of: str = "") -> Place:
    debit, credit = (MERCHANT, ISSUER) if of else (ISSUER, MERCHANT)
    return Place(
        id=hold_id, debit=debit, credit=credit, amount=Money(minor, "978"), of=of
    )


def capture(
    minor: int, *, by: str = "1", of: str = "1", is_final: bool = True, over: int = 0
) -> Capture:
    return Capture(
        id=of,
        by=by,
        minor=minor,
        business_date=DATE,
        is_final=is_final,
        over_percent=over,
    )


def give_back(minor: int, *, by: str = "8", of: str = "1") -> Return:
    return Return(id=of, by=by, business_date=DATE, minor=minor)


def test_a_captured_hold_is_owed_to_the_merchant() -> None:
    ledger = Ledger(place(), capture(1000))
    assert ledger.merchant_minor() == 1000
    assert ledger.holds["1"].state is HoldState.CAPTURED


def test_a_final_capture_of_less_releases_the_rest() -> None:
    ledger = Ledger(place(), capture(400))
    assert ledger.merchant_minor() == 400
    assert ledger.holds["1"].remaining_minor == 0


def test_several_captures_share_a_hold_up_to_its_amount() -> None:
    ledger = Ledger(
        place(),
        capture(400, by="2", is_final=False),
        capture(600, by="3", is_final=False),
    )
    assert ledger.holds["1"].state is HoldState.CAPTURED
    assert ledger.merchant_minor() == 1000


@pytest.mark.parametrize(
    ("over", "minor", "is_allowed"),
    [(0, 1001, False), (15, 1150, True), (15, 1151, False), (0, 0, False)],
)
def test_a_capture_exceeds_the_hold_within_its_tolerance_only(
    over: int, minor: int, *, is_allowed: bool
) -> None:
    ledger = Ledger(place())
    if is_allowed:
        ledger.apply(capture(minor, over=over))
        assert ledger.merchant_minor() == minor
    else:
        with pytest.raises(AmountExceeded):
            ledger.apply(capture(minor, over=over))


def test_an_incremental_authorisation_holds_more() -> None:
    ledger = Ledger(place(), Resize(id="1", by_minor=500), capture(1500))
    assert ledger.merchant_minor() == 1500


def test_a_hold_does_not_shrink_below_what_was_captured() -> None:
    ledger = Ledger(place(), capture(400, is_final=False))
    with pytest.raises(AmountExceeded):
        ledger.apply(Resize(id="1", by_minor=-601))


@pytest.mark.parametrize("end", [capture(1000), Release(id="1")])
@pytest.mark.parametrize(
    "again",
    [
        capture(1000, by="7"),
        Release(id="1"),
        Release(id="1", is_expired=True),
        Resize(id="1", by_minor=1),
        Redirect(id="1", account=ISSUER, instead="issuer/south"),
    ],
    ids=lambda change: type(change).__name__,
)
def test_a_hold_is_resolved_once(end: Change, again: Change) -> None:
    ledger = Ledger(place(), end)
    before = ledger.merchant_minor()
    with pytest.raises(HoldResolved):
        ledger.apply(again)
    assert ledger.merchant_minor() == before


def test_an_expired_hold_says_so_unless_a_part_was_captured() -> None:
    assert (
        Ledger(place(), Release(id="1", is_expired=True)).holds["1"].state
        is HoldState.EXPIRED
    )
    partly = Ledger(
        place(), capture(1, is_final=False), Release(id="1", is_expired=True)
    )
    assert partly.holds["1"].state is HoldState.CAPTURED


def test_another_issuer_may_owe_what_is_held() -> None:
    ledger = Ledger(
        place(),
        Redirect(id="1", account=ISSUER, instead="issuer/south"),
        capture(1000),
    )
    assert balances(ledger.entries.values())["issuer/south", "978"] == 1000


def test_a_captured_part_keeps_its_issuer() -> None:
    ledger = Ledger(place(), capture(1, is_final=False))
    with pytest.raises(HoldResolved):
        ledger.apply(Redirect(id="1", account=ISSUER, instead="issuer/south"))


def test_refunds_never_give_back_more_than_was_captured() -> None:
    ledger = Ledger(place(), capture(1000), place("2", 700, of="1"))
    with pytest.raises(AmountExceeded):
        ledger.apply(place("3", 301, of="1"))
    ledger.apply(capture(700, by="2", of="2"))
    ledger.apply(place("3", 300, of="1"))
    ledger.apply(capture(300, by="3", of="3"))
    assert ledger.merchant_minor() == 0
    with pytest.raises(AmountExceeded):
        ledger.apply(place("4", 1, of="1"))


def test_a_declined_refund_leaves_its_amount_to_the_next() -> None:
    ledger = Ledger(place(), capture(1000), place("2", 1000, of="1"), Release(id="2"))
    ledger.apply(place("3", 1000, of="1"))


def test_a_refund_in_another_currency_is_none_of_the_original() -> None:
    ledger = Ledger(place(), capture(1000))
    other = Place(id="2", debit=MERCHANT, credit=ISSUER, amount=Money(1, "840"), of="1")
    with pytest.raises(AmountExceeded):
        ledger.apply(other)


def test_a_refund_of_a_refund_is_refused() -> None:
    refunded = (place("2", 1000, of="1"), capture(1000, by="2", of="2"))
    ledger = Ledger(place(), capture(1000), *refunded)
    with pytest.raises(AmountExceeded):
        ledger.apply(place("3", 1000, of="2"))


def test_a_refund_that_is_undone_may_be_made_again() -> None:
    ledger = Ledger(
        place(),
        capture(1000),
        place("2", 1000, of="1"),
        capture(1000, by="2", of="2"),
        give_back(1000, of="2"),
    )
    assert ledger.merchant_minor() == 1000
    ledger.apply(place("3", 1000, of="1"))


def test_a_refund_keeps_its_amount() -> None:
    ledger = Ledger(place(), capture(1000), place("2", 500, of="1"))
    with pytest.raises(AmountExceeded):
        ledger.apply(Resize(id="2", by_minor=100))


def test_what_came_back_by_itself_is_written_down_whatever_was_refunded() -> None:
    came_back = replace(give_back(1000, by="7"), has_happened=True)
    ledger = Ledger(
        place(),
        capture(1000),
        place("2", 300, of="1"),
        capture(300, by="2", of="2"),
        came_back,
        came_back,
    )
    assert ledger.merchant_minor() == -300
    assert ledger.holds["1"].returnable_minor == -300
    with pytest.raises(AmountExceeded):
        ledger.apply(place("3", 1, of="1"))
    with pytest.raises(AmountExceeded):
        ledger.apply(replace(give_back(1001, by="8"), has_happened=True))


def test_a_part_is_given_back_and_never_more_than_all() -> None:
    ledger = Ledger(place(), capture(1000), give_back(400))
    assert ledger.merchant_minor() == 600
    with pytest.raises(AmountExceeded):
        ledger.apply(give_back(601, by="7"))
    ledger.apply(give_back(600, by="7"))
    ledger.apply(give_back(600, by="7"))
    assert ledger.merchant_minor() == 0


@pytest.mark.parametrize("change", [place(), capture(1000), give_back(400)])
def test_the_same_change_again_does_nothing(change: Change) -> None:
    before = [] if isinstance(change, Place) else [place(), capture(1000)]
    ledger = Ledger(*before, change)
    holds, entries = dict(ledger.holds), dict(ledger.entries)
    ledger.apply(change)
    assert (ledger.holds, ledger.entries) == (holds, entries)


@pytest.mark.parametrize("change", [place(minor=999), capture(999), give_back(399)])
def test_the_same_id_with_other_content_is_refused(change: Change) -> None:
    ledger = Ledger(place(), capture(1000), give_back(400))
    with pytest.raises(EntryConflict):
        ledger.apply(change)


@pytest.mark.parametrize(
    "change",
    [capture(1), Release(id="1"), give_back(1), place("2", of="1")],
    ids=lambda change: type(change).__name__,
)
def test_nothing_happens_to_a_hold_that_nobody_placed(change: Change) -> None:
    with pytest.raises(HoldUnknown):
        Ledger(change)


def test_a_hold_over_nothing_is_no_hold() -> None:
    with pytest.raises(AmountExceeded):
        Ledger(place(minor=0))


def test_of_each_capture_no_more_is_given_back_than_that_one_took() -> None:
    both = (capture(300, by="a", is_final=False), capture(700, by="b"))
    ledger = Ledger(place(), *both, place("2", 300, of="a"))
    for too_much in (place("3", 1, of="a"), give_back(1, of="a")):
        with pytest.raises(AmountExceeded):
            ledger.apply(too_much)
    ledger.apply(capture(300, by="2", of="2"))
    for too_much in (place("3", 1, of="a"), give_back(1, of="a")):
        with pytest.raises(AmountExceeded):
            ledger.apply(too_much)
    ledger.apply(give_back(700, of="b"))
    assert ledger.merchant_minor() == 0


def test_what_others_captured_is_not_given_back_of_the_hold_itself() -> None:
    ledger = Ledger(place(), capture(300, by="a", is_final=False))
    told = replace(give_back(1), has_happened=True)
    for change in (place("2", 1, of="1"), give_back(1), told):
        with pytest.raises(AmountExceeded):
            ledger.apply(change)


def test_a_refund_of_a_capture_that_is_undone_may_be_made_again() -> None:
    ledger = Ledger(place(), capture(300, by="a", is_final=False))
    ledger.apply(place("2", 300, of="a"))
    ledger.apply(capture(300, by="2", of="2"))
    ledger.apply(give_back(300, of="2"))
    ledger.apply(capture(300, by="a", is_final=False))
    ledger.apply(place("3", 300, of="a"))


def test_a_capture_gets_no_hold_that_another_placed() -> None:
    ledger = Ledger(place(), place("2"))
    with pytest.raises(EntryConflict):
        ledger.apply(capture(300, by="2"))


ids = st.sampled_from(["1", "2", "a", "b"])
minors = st.integers(min_value=-5, max_value=60)
changes = st.one_of(
    st.builds(place, ids, minors, of=st.sampled_from(["", "1", "2", "a"])),
    st.builds(
        capture,
        minors,
        by=st.sampled_from("12abcd"),
        of=ids,
        is_final=st.booleans(),
        over=st.sampled_from([0, 10]),
    ),
    st.builds(Release, id=ids, is_expired=st.booleans()),
    st.builds(Resize, id=ids, by_minor=minors),
    st.builds(
        Return,
        id=ids,
        by=st.sampled_from("abcdef"),
        business_date=st.just(DATE),
        minor=minors,
    ),
)


@given(st.lists(changes, max_size=30))
def test_whatever_is_asked_the_books_hold(story: list[Change]) -> None:
    ledger = Ledger()
    for change in story:
        before = dict(ledger.holds), dict(ledger.entries)
        try:
            ledger.apply(change)
        except LedgerRefused:
            assert (ledger.holds, ledger.entries) == before
        for hold in ledger.holds.values():
            assert hold.returned_minor >= 0
            assert hold.returning_minor >= 0
            assert hold.returnable_minor >= 0
            assert hold.captured_minor <= hold.held_minor * 110 // 100
            refunds = [each for each in ledger.holds.values() if each.of == hold.id]
            assert hold.returning_minor == sum(each.remaining_minor for each in refunds)
    kept = [
        hold.own_minor - hold.returned_minor
        for hold in ledger.holds.values()
        if not hold.of
    ]
    assert min(kept, default=0) >= 0
    assert ledger.merchant_minor() == sum(kept)
    assert sum(balances(ledger.entries.values()).values()) == 0
