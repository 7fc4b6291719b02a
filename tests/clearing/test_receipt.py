"""Received transfers: which events follow which, and that money moves once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoswitch.clearing.receipt import (
    Offer,
    Receipt,
    ReceiptEffect,
    ReceiptEvent,
    ReceiptState,
    advance_receipt,
    find_refusal,
)
from isoswitch.clearing.transfer import EventRefused
from isoswitch.codecs.canonical.money import Money

S, E = ReceiptState, ReceiptEvent


def receipt(state: ReceiptState = S.CREDITED) -> Receipt:
    return Receipt(
        id="u",
        transaction_id="1-1",
        endpoint="house",
        message_id="M",
        message_name="pacs.008.001.08",
        uetr="u",
        end_to_end_id="E",
        their_id="T",
        amount_minor=1250,
        currency="978",
        debtor_agent="A",
        creditor_agent="B",
        account="customer/7",
        digest="d",
        received_at="2026-06-01T12:00:00.000000Z",
        state=state,
    )


@given(events=st.lists(st.sampled_from(list(E)), max_size=20))
def test_whatever_comes_in_whatever_order_the_customer_is_debited_once_at_most(
    events: list[ReceiptEvent],
) -> None:
    now, debits = receipt(), 0
    for event in events:
        try:
            now, effects = advance_receipt(now, event)
        except EventRefused:
            continue
        debits += effects.count(ReceiptEffect.DEBIT)
    assert debits == (now.state is not S.CREDITED)


@given(events=st.lists(st.sampled_from(list(E)), max_size=20))
def test_what_was_refused_is_never_credited_or_debited(
    events: list[ReceiptEvent],
) -> None:
    now = receipt(S.REFUSED)
    for event in events:
        try:
            now, effects = advance_receipt(now, event)
        except EventRefused:
            continue
        assert ReceiptEffect.DEBIT not in effects
    assert now.state is S.REFUSED


def test_what_was_cancelled_cannot_be_given_back() -> None:
    with pytest.raises(EventRefused):
        advance_receipt(receipt(S.CANCELLED), E.GIVE_BACK)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({}, ""),
        ({"creditor_agent": "OTHER"}, "RC04"),
        ({"account": "8"}, "AC03"),
        ({"account": "9"}, "AC06"),
        ({"amount": Money(1250, "840")}, "AM03"),
        ({"amount": Money(0, "978")}, "AM01"),
        ({"expires_at": 100.0}, "AB05"),
    ],
)
def test_a_transfer_is_refused_for_the_first_reason_there_is(
    changed: dict[str, object], reason: str
) -> None:
    fields: dict[str, object] = {
        "amount": Money(1250, "978"),
        "creditor_agent": "BANK",
        "account": "7",
        "expires_at": 100.5,
    }
    offer = Offer(**(fields | changed))  # type: ignore[arg-type]
    assert (
        find_refusal(
            offer,
            member="BANK",
            accounts={"7": "customer/7", "9": "customer/9"},
            blocked={"9"},
            currency="978",
            now=100.0,
        )
        == reason
    )
