"""What undoes a transaction, reckoned from a hold that others change too."""

from __future__ import annotations

import pytest

from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.codecs.canonical.sealing import store_outcome
from isoswitch.codecs.canonical.transaction import Outcome
from isoswitch.ledger.holds import HoldMoved
from isoswitch.store.port import StoredTransaction, TransactionState
from isoswitch.switch.accounts import Undoing, undo
from tests.ledger.test_holds import DATE, Ledger, capture, place


def _undo(ledger: Ledger, kind: Kind, *, by: str, leave_minor: int) -> Undoing:
    row = StoredTransaction(
        id="1",
        dedup_key="k",
        fingerprint="",
        kind=kind,
        state=TransactionState.CLOSED,
        node="sw1",
        business_date=DATE,
        opened_at="",
        terminal_id="TERM0001",
        merchant_id="M1",
        stan="000001",
        rrn="000100000001",
        amount_minor=1000,
        currency="978",
        outcome=store_outcome(Outcome(code=ResponseCode.APPROVED)),
    )
    hold = ledger.holds["1"]
    return undo(row, hold, by=by, business_date=DATE, leave_minor=leave_minor)


@pytest.mark.parametrize("kind", [Kind.PURCHASE, Kind.PREAUTHORISATION])
def test_of_two_partial_reversals_at_once_the_second_reckons_again(kind: Kind) -> None:
    """Each leaves another amount; both together would have left less than either."""
    is_taken = kind is Kind.PURCHASE
    ledger = Ledger(place(), *([capture(1000)] if is_taken else []))
    first = _undo(ledger, kind, by="2", leave_minor=600)
    second = _undo(ledger, kind, by="3", leave_minor=500)
    ledger.apply(*first.changes)
    (late,) = second.changes
    with pytest.raises(HoldMoved):
        ledger.apply(late)
    hold = ledger.holds["1"]
    stands = hold.own_minor - hold.returned_minor if is_taken else hold.held_minor
    assert stands == first.after_minor == 600
