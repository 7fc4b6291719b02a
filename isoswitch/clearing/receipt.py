"""A transfer of somebody else to one of our customers: a state machine without a clock.

    CREDITED ──we give it back──▶ RETURNING ──taken──▶ RETURNED
     │                               ╰──refused──▶ RETURN_REFUSED
     ╰──not settled by the house──▶ CANCELLED
    REFUSED

What is received is checked and booked, or refused, in one step, and the answer to it
never changes. Money is credited once and given back once. The house has the last word:
an answer that came to it too late did not settle anything, so the credit is undone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from isoswitch.clearing.transfer import EventRefused
from isoswitch.codecs.canonical.money import Money


class ReceiptState(StrEnum):
    """Where a received transfer stands."""

    CREDITED = "credited"
    REFUSED = "refused"
    RETURNING = "returning"
    RETURNED = "returned"
    RETURN_REFUSED = "return_refused"
    CANCELLED = "cancelled"


class ReceiptEvent(StrEnum):
    """What happens to a received transfer."""

    SETTLED = "settled"
    NOT_SETTLED = "not_settled"
    GIVE_BACK = "give_back"
    RETURN_TAKEN = "return_taken"
    RETURN_REFUSED = "return_refused"


class ReceiptEffect(StrEnum):
    """What a change of state does besides."""

    DEBIT = "debit"
    ALARM = "alarm"


Change = tuple[ReceiptState, tuple[ReceiptEffect, ...]]
_S, _E, _F = ReceiptState, ReceiptEvent, ReceiptEffect
_CONTRADICTION: tuple[ReceiptEffect, ...] = (_F.ALARM,)

CHANGES: Mapping[tuple[ReceiptState, ReceiptEvent], Change] = {
    (_S.CREDITED, _E.SETTLED): (_S.CREDITED, ()),
    (_S.CREDITED, _E.NOT_SETTLED): (_S.CANCELLED, (_F.DEBIT,)),
    (_S.CREDITED, _E.GIVE_BACK): (_S.RETURNING, (_F.DEBIT,)),
    (_S.RETURNING, _E.SETTLED): (_S.RETURNING, ()),
    # The customer has lost it already, and the house has nothing to move.
    (_S.RETURNING, _E.NOT_SETTLED): (_S.CANCELLED, ()),
    (_S.RETURNING, _E.GIVE_BACK): (_S.RETURNING, ()),
    (_S.RETURNING, _E.RETURN_TAKEN): (_S.RETURNED, ()),
    (_S.RETURNING, _E.RETURN_REFUSED): (_S.RETURN_REFUSED, (_F.ALARM,)),
    (_S.RETURNED, _E.SETTLED): (_S.RETURNED, ()),
    (_S.RETURNED, _E.NOT_SETTLED): (_S.RETURNED, _CONTRADICTION),
    (_S.RETURNED, _E.GIVE_BACK): (_S.RETURNED, ()),
    (_S.RETURNED, _E.RETURN_TAKEN): (_S.RETURNED, ()),
    (_S.RETURN_REFUSED, _E.SETTLED): (_S.RETURN_REFUSED, ()),
    (_S.RETURN_REFUSED, _E.RETURN_REFUSED): (_S.RETURN_REFUSED, ()),
    (_S.CANCELLED, _E.NOT_SETTLED): (_S.CANCELLED, ()),
    (_S.CANCELLED, _E.SETTLED): (_S.CANCELLED, _CONTRADICTION),
    (_S.REFUSED, _E.NOT_SETTLED): (_S.REFUSED, ()),
    (_S.REFUSED, _E.SETTLED): (_S.REFUSED, _CONTRADICTION),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """One transfer that somebody sent us.

    ``id`` names it among all: the house, and its UETR or else ``their_id``. ``digest``
    is of what it says, so that the same id with other content is told from a repeat.
    ``account`` is the ledger's account of the customer, empty where it is refused.
    ``transaction_id`` is our own name for it. ``return_reason`` says why we give it
    back; ``next_at`` (UTC epoch seconds) is when that is told again, ``attempts`` how
    often it was.
    """

    id: str
    transaction_id: str
    endpoint: str
    message_id: str
    message_name: str
    uetr: str
    end_to_end_id: str
    their_id: str
    amount_minor: int
    currency: str
    debtor_agent: str
    creditor_agent: str
    account: str
    digest: str
    received_at: str
    state: ReceiptState
    reason: str = ""
    return_reason: str = ""
    attempts: int = 0
    next_at: float = 0.0

    @property
    def amount(self) -> Money:
        """What was sent."""
        return Money(self.amount_minor, self.currency)

    @property
    def is_final(self) -> bool:
        """Whether nothing is expected any more."""
        return self.state is not ReceiptState.RETURNING


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What is known of a transfer before it is taken; times are UTC epoch seconds.

    ``account`` is the number of the creditor's account, ``expires_at`` when the answer
    has to be back.
    """

    amount: Money
    creditor_agent: str
    account: str
    expires_at: float


def find_refusal(
    offer: Offer,
    *,
    member: str,
    accounts: Mapping[str, str],
    blocked: Collection[str],
    currency: str,
    now: float,
) -> str:
    """Give the reason why an offered transfer is refused; empty where it is taken.

    ``accounts`` are those of our customers, of which some are ``blocked``.

    Examples
    --------
    >>> offer = Offer(amount=Money(1250, "978"), creditor_agent="BANKDEFF",
    ...     account="7", expires_at=9.0)
    >>> find_refusal(offer, member="BANKDEFF", accounts={"7": "customer/7"},
    ...     blocked=(), currency="978", now=5)
    ''
    >>> find_refusal(offer, member="BANKDEFF", accounts={},
    ...     blocked=(), currency="978", now=5)
    'AC03'
    """
    checks = (
        (offer.creditor_agent != member, "RC04"),
        (offer.account not in accounts, "AC03"),
        (offer.account in blocked, "AC06"),
        (offer.amount.currency != currency, "AM03"),
        (offer.amount.minor <= 0, "AM01"),
        # Too late to be heard in time: the sender is told no whatever we say.
        (now >= offer.expires_at, "AB05"),
    )
    return next((reason for fails, reason in checks if fails), "")


def advance_receipt(
    receipt: Receipt, event: ReceiptEvent
) -> tuple[Receipt, tuple[ReceiptEffect, ...]]:
    """Give a received transfer after an event, and what follows from it.

    Raises
    ------
    EventRefused
        The event cannot happen in this state.
    """
    change = CHANGES.get((receipt.state, event))
    if change is None:
        msg = f"receipt {receipt.id} is {receipt.state} and cannot be {event}"
        raise EventRefused(msg)
    state, effects = change
    return replace(receipt, state=state), effects
