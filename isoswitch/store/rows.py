"""What is kept by name: codes, payments, wishes, answers, callbacks, received
transfers, what clearing houses report, and which batches are settled.

Each is a row of its own table under an ``id`` and changes by compare-and-set, so that
of two who act on the same state one wins. All of them are plain: texts and numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from enum import StrEnum
from typing import Any, TypeVar

import msgspec

from isoswitch.clearing.receipt import Receipt
from isoswitch.clearing.reports import HouseItem, HouseWindow

# Rows that go at once.
FORGET_MAX = 500


class CodeState(StrEnum):
    """Where a payment code stands; one with a typed amount stays open."""

    OPEN = "open"
    PAYING = "paying"
    PAID = "paid"


class WishState(StrEnum):
    """Where the wish of a merchant's server stands.

    A payment that is to be undone is CANCELLING until it is, and CANCELLED then.
    """

    PENDING = "pending"
    CANCELLING = "cancelling"
    ENDED = "ended"
    CANCELLED = "cancelled"


class CallbackState(StrEnum):
    """Where a callback stands."""

    PENDING = "pending"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentCode:
    """A code that a merchant shows.

    ``text`` is what it says. ``amount_minor`` 0 lets the payer type the amount and pay
    as often as wanted. ``expires_at`` is UTC epoch seconds, 0 for never.
    ``payment_id`` is the transaction that pays or paid it.
    """

    id: str
    merchant_id: str
    terminal_id: str
    text: str
    amount_minor: int
    currency: str
    reference: str
    created_at: str
    expires_at: float
    state: CodeState = CodeState.OPEN
    payment_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodePayment:
    """Who paid a code, so that a refund finds the way back.

    ``id`` is that of the transaction; ``wallet`` is whose customer paid.
    """

    id: str
    code_id: str
    merchant_id: str
    wallet: str
    debtor: str
    debtor_account: str
    debtor_agent: str
    reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAnswer:
    """What a request under an idempotency key was answered.

    ``id`` names the client and its key, ``digest`` what was asked. ``resource`` is what
    the request made; ``status`` 0 says that the answer was lost before it was kept.
    ``created_at`` is UTC epoch seconds.
    """

    id: str
    digest: str
    resource: str
    status: int = 0
    body: str = ""
    created_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Callback:
    """A result that a merchant must hear; times are UTC epoch seconds.

    ``body`` is the JSON that goes out.
    """

    id: str
    merchant_id: str
    transaction_id: str
    body: str
    created_at: float
    next_at: float
    expires_at: float
    attempts: int = 0
    state: CallbackState = CallbackState.PENDING
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpentCode:
    """A payer's one-time code that has been sent to its issuer, by its keyed hash."""

    id: str
    transaction_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredWish:
    """A payment or refund that a merchant's server asked for.

    ``id`` is that of the transaction that it becomes. ``stan`` and ``local_at`` (UTC
    without zone) are those of its message; ``original_id`` is the payment that a refund
    gives back.
    """

    id: str
    client: str
    merchant_id: str
    terminal_id: str
    kind: str
    amount_minor: int
    currency: str
    reference: str
    created_at: str
    stan: str
    local_at: str
    original_id: str = ""
    state: WishState = WishState.PENDING


@dataclass(frozen=True, slots=True, kw_only=True)
class CardCounter:
    """The highest transaction counter of a chip that was stood in for.

    ``id`` is the keyed hash of the number on the card or device.
    """

    id: str
    atc: int
    transaction_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SettledBatch:
    """The last batch of a terminal that was settled in a currency, or in all of them.

    ``id`` is the terminal's, a slash, and the currency; no currency stands for all.
    """

    id: str
    number: int


Row = (
    SpentCode
    | PaymentCode
    | CodePayment
    | StoredAnswer
    | Callback
    | StoredWish
    | CardCounter
    | SettledBatch
    | Receipt
    | HouseItem
    | HouseWindow
)
R = TypeVar("R", bound=Row)

TABLES: Mapping[type[Any], str] = {
    SpentCode: "spent_codes",
    PaymentCode: "payment_codes",
    CodePayment: "code_payments",
    StoredAnswer: "stored_answers",
    Callback: "callbacks",
    StoredWish: "wishes",
    CardCounter: "card_counters",
    SettledBatch: "settled_batches",
    Receipt: "receipts",
    HouseItem: "house_items",
    HouseWindow: "house_windows",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RowMove:
    """A compare-and-set of a row: new where ``expect`` is None."""

    expect: Row | None
    row: Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Forget:
    """Rows that are of no more use: made before a time, and with nothing left to do.

    At most ``limit`` of them go in one unit, so that nobody waits long for it.
    """

    kind: type[StoredAnswer | Callback]
    before: float
    limit: int = FORGET_MAX


def is_forgotten(row: Row, forget: Forget) -> bool:
    """Whether a row is one of those that are of no more use."""
    if not isinstance(row, forget.kind) or row.created_at >= forget.before:
        return False
    return not (isinstance(row, Callback) and row.state is CallbackState.PENDING)


def forgotten_where(kind: type[Row], parameter: str) -> str:
    """Give the same as an SQL condition, with the time as its one parameter."""
    where = f"created_at < {parameter}"
    if kind is Callback:
        where += f" AND state <> '{CallbackState.PENDING}'"
    return where


def to_row(kind: type[R], values: tuple[Any, ...]) -> R:
    """Read a row in the order of its columns."""
    named = dict(zip(kind.__dataclass_fields__, values, strict=True))
    return msgspec.convert(named, kind)


def row_values(row: Row) -> tuple[Any, ...]:
    """Give the values of a row in the order of its columns."""
    return astuple(row)
