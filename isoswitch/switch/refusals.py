"""Why a wish of a merchant or wallet is refused, in a word and in a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Refusal(StrEnum):
    """Why a wish is refused before any money is asked for."""

    UNREADABLE_CODE = "unreadable_code"
    UNKNOWN_CODE = "unknown_code"
    CODE_ALTERED = "code_altered"
    CODE_EXPIRED = "code_expired"
    CODE_PAID = "code_paid"
    CODE_IN_USE = "code_in_use"
    AMOUNT_REQUIRED = "amount_required"
    AMOUNT_DIFFERS = "amount_differs"
    NOT_OFFERED = "not_offered"
    UNKNOWN_PAYMENT = "unknown_payment"
    NOT_REFUNDABLE = "not_refundable"
    REFUND_EXCEEDS = "refund_exceeds"
    NO_PAYERS_CODE = "no_payers_code"
    NOT_CANCELLABLE = "not_cancellable"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A wish that was not fulfilled; ``words`` tell the client what holds instead."""

    reason: Refusal
    words: str


NOT_OFFERED = Refused(
    reason=Refusal.NOT_OFFERED, words="this merchant takes no payment codes"
)
UNKNOWN_CURRENCY = Refused(
    reason=Refusal.NOT_OFFERED, words="this switch does not know the currency"
)
UNKNOWN_CODE = Refused(
    reason=Refusal.UNKNOWN_CODE, words="this switch made no such code"
)
ALTERED = Refused(
    reason=Refusal.CODE_ALTERED, words="the code is not as it was made; scan it again"
)
EXPIRED = Refused(reason=Refusal.CODE_EXPIRED, words="the code has expired")
PAID = Refused(reason=Refusal.CODE_PAID, words="the code is paid already")
IN_USE = Refused(reason=Refusal.CODE_IN_USE, words="somebody is paying this code now")
AMOUNT_REQUIRED = Refused(
    reason=Refusal.AMOUNT_REQUIRED, words="the payer of this code names the amount"
)
AMOUNT_DIFFERS = Refused(
    reason=Refusal.AMOUNT_DIFFERS,
    words="the amount is not the one that the merchant asked for",
)
UNKNOWN_PAYMENT = Refused(
    reason=Refusal.UNKNOWN_PAYMENT, words="this merchant has no such payment"
)
NOT_REFUNDABLE = Refused(
    reason=Refusal.NOT_REFUNDABLE, words="no money has moved that could be given back"
)
REFUND_EXCEEDS = Refused(
    reason=Refusal.REFUND_EXCEEDS, words="more than is left of the payment"
)
NOT_SERVED = Refused(
    reason=Refusal.NOT_OFFERED,
    words="this client has no terminal under which it takes payments",
)
NO_PAYERS_CODE = Refused(
    reason=Refusal.NO_PAYERS_CODE, words="this is no code that a payer shows"
)
NOT_CANCELLABLE = Refused(
    reason=Refusal.NOT_CANCELLABLE,
    words="no money has moved, or part of it was given back",
)
UNAVAILABLE = Refused(
    reason=Refusal.UNAVAILABLE, words="this switch takes no new money now; try again"
)
