"""What terminals and payers believe about what they started, for the auditor."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from isoswitch.codecs.canonical.codes import Kind
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.transaction import Outcome
from isoswitch.switch.refusals import Refusal


class BeliefState(StrEnum):
    """Where a transaction stands in the eyes of its terminal."""

    OPEN = "open"
    NOT_SENT = "not_sent"
    APPROVED = "approved"
    DECLINED = "declined"
    REVERSING = "reversing"
    REVERSED = "reversed"


UNFINISHED = frozenset({BeliefState.OPEN, BeliefState.REVERSING})


@dataclass(slots=True, kw_only=True)
class Belief:
    """One transaction as its terminal sees it; only that terminal changes it.

    ``amount`` is what was asked for, ``approved_minor`` what the customer was told,
    ``remaining_minor`` what a partial reversal left of it. ``original`` is the belief
    that this one acts on.
    ``sends`` counts the request and its repeats, ``reversal_sends`` the reversals.
    """

    terminal_id: str
    kind: Kind
    stan: str
    local_at: datetime
    card: str
    amount: Money | None
    original: Belief | None = None
    remaining_minor: int | None = None
    state: BeliefState = BeliefState.OPEN
    outcome: Outcome | None = None
    rrn: str = ""
    sends: int = 0
    reversal_sends: int = 0

    @property
    def approved_minor(self) -> int:
        """The amount that the customer believes to have paid."""
        if self.state is not BeliefState.APPROVED or self.outcome is None:
            return 0
        if self.remaining_minor is not None:
            return self.remaining_minor
        approved = self.outcome.amount or self.amount
        return approved.minor if approved else 0

    def __str__(self) -> str:
        return f"terminal {self.terminal_id} STAN {self.stan} ({self.state.value})"


@dataclass(slots=True, kw_only=True)
class Receipt:
    """What somebody was told of one wish.

    ``transaction_id`` is empty when nothing was opened or nobody answered; ``is_paid``
    None says that the outcome was not told. ``refused`` is why nothing was opened.
    """

    kind: Kind
    amount_minor: int
    code_id: str = ""
    transaction_id: str = ""
    is_paid: bool | None = None
    refused: Refusal | None = None
