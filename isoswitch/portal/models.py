"""What the API takes and gives, as its OpenAPI document has it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

# The characters that every clearing house takes (ISO 20022's Latin set), none in front.
_TEXT = r"^[A-Za-z0-9][A-Za-z0-9/?:().,'+ -]*$"
AMOUNT_MAX = 10_000_000_000
VALID_S_MAX = 30 * 24 * 3600


def _whole(value: object) -> object:
    """Give 5 for 5.0, which JSON does not tell apart."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


Amount = Annotated[
    int, Field(ge=1, le=AMOUNT_MAX, strict=True), BeforeValidator(_whole)
]
Seconds = Annotated[
    int, Field(ge=10, le=VALID_S_MAX, strict=True), BeforeValidator(_whole)
]
Currency = Annotated[str, StringConstraints(pattern=r"^[0-9]{3}$")]
Reference = Annotated[str, StringConstraints(pattern=_TEXT, max_length=35)]
Name = Annotated[str, StringConstraints(pattern=_TEXT, max_length=70)]
TerminalId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]{1,8}$")]
TransactionId = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,9}-[0-9]{1,12}$")]
Iban = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}$")]
Bic = Annotated[
    str, StringConstraints(pattern=r"^[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}([A-Z0-9]{3})?$")
]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NewCode(_Model):
    """A payment code to be made; without an amount its payer types it."""

    currency: Currency
    amount_minor: Amount | None = None
    valid_s: Seconds | None = None
    reference: Reference | None = None
    terminal_id: TerminalId | None = None


class Code(_Model):
    """A payment code; ``text`` is what its QR code says."""

    object: Literal["code"]
    id: str
    state: Literal["open", "paying", "paid", "expired"]
    text: str
    is_static: bool
    amount_minor: int | None
    currency: str
    merchant_id: str
    reference: str
    created_at: str
    expires_at: str | None
    payment_id: str | None


class NewScan(_Model):
    """A payment by the code that a payer shows: a wallet's digits, or a card's code."""

    payer_code: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/=]{1,1024}$")]
    amount_minor: Amount
    currency: Currency
    reference: Reference | None = None


class Payment(_Model):
    """A payment; ask again while it is pending.

    ``code_id`` is the merchant's code that it pays, null for one by a payer's code.
    """

    object: Literal["payment"]
    id: str
    state: Literal["pending", "succeeded", "failed", "returned", "cancelled"]
    reason: str
    amount_minor: int
    currency: str
    merchant_id: str
    opened_at: str
    code_id: str | None
    reference: str
    refunded_minor: int


class NewRefund(_Model):
    """A payment to be given back, all that is left of it where no amount is named."""

    payment_id: TransactionId
    amount_minor: Amount | None = None


class Refund(_Model):
    """Money given back; ask again while it is pending."""

    object: Literal["refund"]
    id: str
    state: Literal["pending", "succeeded", "failed", "returned"]
    reason: str
    amount_minor: int
    currency: str
    merchant_id: str
    opened_at: str
    payment_id: str


class Payer(_Model):
    """Who pays: the wallet's customer and the account that is debited."""

    name: Name
    account: Iban
    bank: Bic


class NewPayment(_Model):
    """A code that a customer of the wallet has scanned.

    The amount is needed for a static code. For another it may be named, and must be
    the one of the code then: a code is paid whole.
    """

    code: Annotated[str, StringConstraints(min_length=1, max_length=1024)]
    payer: Payer
    amount_minor: Amount | None = None
    currency: Currency | None = None


class ProblemError(_Model):
    """One value that is not as it should be."""

    at: str
    what: str


class Problem(_Model):
    """Why a request was refused (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[ProblemError] = []
