"""What merchants and wallets are told of codes, payments and refunds, as JSON objects.

A callback and the answer to a query tell the same of the same transaction.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from isoswitch.codecs.canonical.sealing import load_outcome
from isoswitch.ledger.holds import Hold
from isoswitch.store.port import StoredTransaction
from isoswitch.store.rows import (
    CodePayment,
    CodeState,
    PaymentCode,
    StoredWish,
    WishState,
)
from isoswitch.switch.ports import iso_time


def describe_code(code: PaymentCode, *, now: float) -> dict[str, Any]:
    """Give what is told of a code."""
    has_ended = bool(code.expires_at) and now >= code.expires_at
    state = "expired" if has_ended and code.state is CodeState.OPEN else code.state
    return {
        "object": "code",
        "id": code.id,
        "state": str(state),
        "text": code.text,
        "is_static": not code.amount_minor,
        "amount_minor": code.amount_minor or None,
        "currency": code.currency,
        "merchant_id": code.merchant_id,
        "reference": code.reference,
        "created_at": code.created_at,
        "expires_at": (
            iso_time(datetime.fromtimestamp(code.expires_at, UTC))
            if code.expires_at
            else None
        ),
        "payment_id": code.payment_id or None,
    }


def describe_payment(
    row: StoredTransaction, payment: CodePayment, *, hold: Hold | None = None
) -> dict[str, Any]:
    """Give what is told of the payment of a code; nothing of the payer's account."""
    return {
        "object": "payment",
        **_story(row),
        "code_id": payment.code_id,
        "reference": payment.reference,
        "refunded_minor": min(hold.returned_minor, hold.captured_minor) if hold else 0,
    }


def describe_refund(row: StoredTransaction) -> dict[str, Any]:
    """Give what is told of a refund."""
    return {"object": "refund", **_story(row), "payment_id": row.original_id}


def describe_wish(
    wish: StoredWish, row: StoredTransaction | None, *, returned_minor: int = 0
) -> dict[str, Any]:
    """Give what is told of a payment or refund that a merchant's server wanted."""
    outcome = load_outcome(row.outcome) if row and row.outcome else None
    state, reason = str(wish.state), ""
    if wish.state in {WishState.PENDING, WishState.CANCELLING}:
        state = "pending"
    elif wish.state is WishState.ENDED:
        is_approved = outcome is not None and outcome.is_approved
        state = "succeeded" if is_approved else "failed"
        reason = "" if is_approved else _NEVER_SENT
        if is_approved and row is not None and row.reversed:
            state = "returned"
    if outcome is not None and not outcome.is_approved:
        reason = outcome.reason
    told = {
        "object": "refund" if wish.original_id else "payment",
        "id": wish.id,
        "state": state,
        "reason": reason,
        "amount_minor": wish.amount_minor,
        "currency": wish.currency,
        "merchant_id": wish.merchant_id,
        "opened_at": wish.created_at,
    }
    if wish.original_id:
        return {**told, "payment_id": wish.original_id}
    return {
        **told,
        "code_id": None,
        "reference": wish.reference,
        # What was undone as a whole was not given back.
        "refunded_minor": 0 if state == "cancelled" else returned_minor,
    }


_NEVER_SENT = "the switch ended before it was sent; no money has moved"


def _story(row: StoredTransaction) -> dict[str, Any]:
    outcome = load_outcome(row.outcome) if row.outcome else None
    state = "pending"
    if outcome is not None:
        state = "succeeded" if outcome.is_approved else "failed"
    if row.reversed:
        state = "returned"
    return {
        "id": row.id,
        "state": state,
        "reason": outcome.reason if outcome and not outcome.is_approved else "",
        "amount_minor": row.amount_minor,
        "currency": row.currency,
        "merchant_id": row.merchant_id,
        "opened_at": row.opened_at,
    }
