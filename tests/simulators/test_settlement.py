"""What an issuer's books come to on a day."""

from __future__ import annotations

import pytest

from isoswitch.codecs.canonical.codes import Kind
from isoswitch.codecs.canonical.totals import Totals
from isoswitch.simulators.bookings import Booking, BookingKind
from isoswitch.simulators.settlement import issuer_totals

DATE = "2026-06-01"


@pytest.mark.parametrize(
    ("kind", "transaction", "minor", "name"),
    [
        (BookingKind.APPROVED, Kind.PURCHASE, 1250, "debits"),
        (BookingKind.REVERSED, Kind.PURCHASE, 1250, "debit_reversals"),
        (BookingKind.APPROVED, Kind.VOID, -1250, "debit_reversals"),
        (BookingKind.REVERSED, Kind.VOID, -1250, "debits"),
        (BookingKind.APPROVED, Kind.REFUND, -1250, "credits"),
        (BookingKind.REVERSED, Kind.REFUND, -1250, "credit_reversals"),
        (BookingKind.APPROVED, Kind.VOID, 1250, "credit_reversals"),
    ],
)
def test_a_void_counts_as_the_reversal_of_what_it_undoes(
    kind: BookingKind, transaction: Kind, minor: int, name: str
) -> None:
    booking = Booking(
        kind=kind,
        acquirer_id="10001",
        rrn="000100000001",
        at=f"{DATE}T03:04:05.000000Z",
        transaction=transaction.value,
        amount_minor=minor,
        currency="978",
        business_date=DATE,
    )
    totals = issuer_totals([booking], DATE, "978")
    assert totals == Totals(**{name: 1, f"{name}_minor": 1250})
