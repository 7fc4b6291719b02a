"""The ledger against transactions and books: what differs is found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.sealing import store_outcome
from isoswitch.codecs.canonical.transaction import Outcome
from isoswitch.ledger.entries import Entry, transfer
from isoswitch.ledger.holds import Hold, HoldState
from isoswitch.simulators.bookings import Booking, BookingKind, Bookings
from isoswitch.simulators.ledger_audit import LedgerView, audit_ledger
from isoswitch.store.port import StoredTransaction
from tests.simulators.test_auditor import ROW

STAY = replace(ROW, id="1-2", kind=Kind.PREAUTHORISATION.value, rrn="000100000002")
BILL = replace(
    ROW,
    id="1-3",
    kind=Kind.COMPLETION.value,
    rrn="000100000003",
    original_id="1-2",
    amount_minor=1000,
)
BACK = replace(
    ROW, id="1-4", kind=Kind.REFUND.value, rrn="000100000004", amount_minor=400
)
HELD = Hold(
    id="1-2",
    debit="issuer/north",
    credit="merchant/M",
    currency="978",
    held_minor=1250,
)
TAKEN = replace(HELD, captured_minor=1000, parted_minor=1000, state=HoldState.CAPTURED)
PART = replace(TAKEN, id="1-3", held_minor=1000, parted_minor=0)
GIVEN = replace(PART, returned_minor=400)
REFUND = Hold(
    id="1-4",
    of="1-3",
    debit="merchant/M",
    credit="issuer/north",
    currency="978",
    held_minor=400,
    captured_minor=400,
    state=HoldState.CAPTURED,
)


def entry(entry_id: str, minor: int) -> Entry:
    """Let an issuer owe us something."""
    return transfer(
        entry_id,
        debit="issuer/north",
        credit="merchant/M",
        amount=Money(minor, "978"),
        transaction_id=entry_id,
        business_date="2026-01-02",
    )


def booked(
    rrn: str, *, amount_minor: int = 0, held_minor: int = 0, of: str = ""
) -> Booking:
    """Book an approval at the issuer."""
    return Booking(
        kind=BookingKind.APPROVED,
        acquirer_id="10001",
        rrn=rrn,
        at="2026-01-02T03:04:05.000000Z",
        amount_minor=amount_minor,
        held_minor=held_minor,
        of=of,
        currency="978",
    )


def differences(
    rows: Iterable[StoredTransaction],
    holds: Iterable[Hold],
    *,
    entries: Iterable[Entry] = (),
    bookings: Iterable[Booking] = (),
    owed: bool = False,
) -> list[str]:
    """Audit and give what differs."""
    books = Bookings()
    for each in bookings:
        books.add(each)
    found = audit_ledger(
        LedgerView(holds={each.id: each for each in holds}, entries=tuple(entries)),
        rows=list(rows),
        bookings={"north": books},
        owed_to={"north"} if owed else set(),
        owed={"1-2"} if owed else set(),
        told_under={},
    )
    return [f"{each.subject}: {each.what}" for each in found]


SET_ASIDE = booked(STAY.rrn, held_minor=1250)
COMPLETED = booked(BILL.rrn, amount_minor=1000, held_minor=-1250, of=STAY.rrn)
REFUNDED = booked(BACK.rrn, amount_minor=-400, of=BILL.rrn)


def test_a_stay_that_is_held_paid_and_partly_refunded_agrees() -> None:
    assert differences([STAY], [HELD], bookings=[SET_ASIDE]) == []
    paid = [entry("1-3/capture", 1000)]
    books = [SET_ASIDE, COMPLETED]
    assert differences([STAY, BILL], [TAKEN, PART], entries=paid, bookings=books) == []
    rows, holds = [STAY, BILL, BACK], [TAKEN, GIVEN, REFUND]
    paid.append(entry("1-4/capture", -400))
    books.append(REFUNDED)
    assert differences(rows, holds, entries=paid, bookings=books) == []


LATE = replace(REFUND, debit="recalls/house")
FAILED = replace(
    BACK, outcome=store_outcome(Outcome.declined(ResponseCode.ANSWER_TOO_LATE))
)


@pytest.mark.parametrize(
    ("paid", "late", "expected"),
    [
        pytest.param(GIVEN, LATE, [], id="the payer keeps it"),
        pytest.param(
            PART,
            replace(LATE, returned_minor=400),
            [],
            id="the payer has sent it back",
        ),
        pytest.param(
            PART, LATE, ["1-3: the ledger took another amount"], id="not counted"
        ),
    ],
)
def test_a_refund_that_was_settled_too_late_counts_as_long_as_it_is_kept(
    paid: Hold, late: Hold, expected: list[str]
) -> None:
    rows = [STAY, BILL, FAILED]
    assert differences(rows, [TAKEN, paid, late], owed=True) == expected


@pytest.mark.parametrize(
    ("hold", "bookings", "what"),
    [
        (HELD, [], "1-2: another amount is set aside"),
        (TAKEN, [SET_ASIDE], "1-2: another amount is set aside"),
        (replace(TAKEN, parted_minor=0), [], "1-2: the ledger took another amount"),
        (TAKEN, [], "1-2: captures have other holds of their own"),
    ],
    ids=["not at the issuer", "only at the issuer", "taken for nothing", "for nobody"],
)
def test_a_difference_is_found(hold: Hold, bookings: list[Booking], what: str) -> None:
    assert what in differences([STAY], [hold], bookings=bookings)


def test_a_capture_without_its_transaction_is_found() -> None:
    declined = replace(
        BILL,
        outcome=store_outcome(Outcome.declined(ResponseCode.DO_NOT_HONOUR)),
    )
    assert differences([STAY, declined], [TAKEN, PART], bookings=[]) == [
        "1-3: the ledger took another amount"
    ]


def test_a_sum_that_the_issuer_does_not_have_is_found_unless_it_is_under_way() -> None:
    paid = [entry("1-3/capture", 1000)]
    books = [SET_ASIDE, booked(BILL.rrn, held_minor=-1250, of=STAY.rrn)]
    rows = [STAY, BILL]
    holds = [TAKEN, PART]
    found = differences(rows, holds, entries=paid, bookings=books)
    assert found == ["north: ledger and issuer differ in the sum"]
    assert not differences(rows, holds, entries=paid, bookings=books, owed=True)
