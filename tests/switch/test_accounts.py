"""What undoes a transaction, reckoned from a hold that others change too."""

from __future__ import annotations

import pytest

from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.codecs.canonical.sealing import store_outcome
from isoswitch.codecs.canonical.transaction import Outcome
from isoswitch.ledger.holds import HoldMoved, HoldUnknown, Release, Resize
from isoswitch.store.port import StoredTransaction, TransactionState
from isoswitch.switch.accounts import Undoing, undo
from tests.ledger.test_holds import DATE, Ledger, capture, place


def _row(kind: Kind) -> StoredTransaction:
    return StoredTransaction(
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


def _undo(ledger: Ledger, kind: Kind, *, by: str, leave_minor: int) -> Undoing:
    row, hold = _row(kind), ledger.holds["1"]
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


def test_what_was_taken_meanwhile_is_not_undone_with_the_rest() -> None:
    ledger = Ledger(place())
    undoing = _undo(ledger, Kind.PREAUTHORISATION, by="2", leave_minor=0)
    ledger.apply(capture(400, by="3", is_final=False))
    (late,) = undoing.changes
    with pytest.raises(HoldMoved):
        ledger.apply(late)
    assert _undo(ledger, Kind.PREAUTHORISATION, by="2", leave_minor=0).after_minor == (
        400
    )


def test_a_hold_that_was_renewed_meanwhile_does_not_expire() -> None:
    ledger = Ledger(place())
    late = Release(id="1", is_expired=True, from_minor=ledger.holds["1"].held_minor)
    ledger.apply(Resize(id="1", by_minor=500, expires_at="later"))
    with pytest.raises(HoldMoved):
        ledger.apply(late)


def test_money_that_the_ledger_does_not_know_is_not_said_to_be_undone() -> None:
    with pytest.raises(HoldUnknown):
        undo(_row(Kind.COMPLETION), None, by="2", business_date=DATE)
