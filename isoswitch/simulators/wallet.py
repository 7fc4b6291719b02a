"""A simulated wallet: it gives its shoppers payment codes, and honours each once.

To the switch it is an issuer like the others. A shopper shows a code, and a merchant's
request with that code is decided by the shopper's account. Of some codes the shopper
is asked first: until then every question is answered "request in progress" (DE 39 09,
923 from 1993 on), and money moves in the moment in which the shopper confirms, unless
the payment was reversed before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any

from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.codecs.canonical.secrets import Pan, Pin, ScannedCode
from isoswitch.codecs.canonical.transaction import Outcome, Transaction
from isoswitch.simulators.accounts import Account, Accounts, booking_key
from isoswitch.simulators.bookings import Booking, BookingKey
from isoswitch.simulators.cards import TestCard
from isoswitch.simulators.issuer import Issuer
from isoswitch.simulators.rules import Reaction

CODE_DIGITS = 18
IN_PROGRESS = Outcome.declined(ResponseCode.REQUEST_IN_PROGRESS)


@dataclass(slots=True, kw_only=True)
class ShownCode:
    """A code on a shopper's screen.

    ``spent_by`` names the payment that it was used for.
    """

    shopper: str
    confirms: bool
    spent_by: BookingKey | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A payment that its shopper has not confirmed: how it will be decided."""

    decide: Callable[[Reaction], Outcome]


class WalletAccounts(Accounts):
    """The accounts of a wallet's shoppers, found by the codes that they show.

    ``spent_again`` counts the requests with a code that had paid for something else.
    """

    def __init__(self, cards: Iterable[TestCard], *args: Any, **kwargs: Any) -> None:
        super().__init__(cards, *args, **kwargs)
        self.shown: dict[ScannedCode, ShownCode] = {}
        self.waiting: dict[BookingKey, Waiting] = {}
        self.spent_again = 0

    def find_account(self, transaction: Transaction) -> Account | None:
        """Find the shopper of a code; what names a payment goes to who paid it."""
        if transaction.code is not None:
            shown = self.shown.get(transaction.code)
            return self.get_account(shown.shopper) if shown else None
        paid = self.find_original(transaction)
        return self.get_account(paid.card) if paid and paid.card else None

    def find_original(self, transaction: Transaction) -> Booking | None:
        """Find the payment that another transaction names by its numbers."""
        if transaction.original is None:
            return None
        return self.bookings.find_original(
            acquirer_id=transaction.acquirer_id,
            stan=transaction.original.stan,
            card="",
            approval_code=transaction.approval_code,
        )

    def authorise(
        self,
        transaction: Transaction,
        reaction: Reaction,
        *,
        pin_matches: bool | None,
        now: datetime,
        business_date: str = "",
    ) -> Outcome:
        """Decide a payment, or leave it to its shopper; repeats change nothing."""
        key = booking_key(transaction)
        shown = self.shown.get(transaction.code) if transaction.code else None

        def decide(how: Reaction) -> Outcome:
            return super(WalletAccounts, self).authorise(
                transaction,
                how,
                pin_matches=pin_matches,
                now=now,
                business_date=business_date,
            )

        if shown is None or transaction.kind is not Kind.PURCHASE:
            return decide(reaction)
        if shown.spent_by not in (None, key):
            self.spent_again += 1
            return decide(Reaction(code=ResponseCode.DUPLICATE_TRANSACTION))
        shown.spent_by = key
        is_open = self.bookings.find_decision(key) is None
        if shown.confirms and is_open and not self.bookings.find_reversal(key):
            self.waiting.setdefault(key, Waiting(decide))
            return IN_PROGRESS
        return decide(reaction)


class Wallet(Issuer):
    """A wallet with its shoppers' codes; see the module."""

    accounts: WalletAccounts

    def make_accounts(
        self, cards: Iterable[TestCard], random: Random
    ) -> WalletAccounts:
        """Open an account for each shopper."""
        return WalletAccounts(cards, self.bookings, random=random)

    def show_code(
        self, shopper: str, *, prefix: str = "28", confirms: bool = False
    ) -> ScannedCode:
        """Show a new code on a shopper's screen; does it wait for a confirmation."""
        rest = self._random.randrange(10 ** (CODE_DIGITS - len(prefix)))
        code = ScannedCode(f"{prefix}{rest:0{CODE_DIGITS - len(prefix)}}")
        self.accounts.shown[code] = ShownCode(shopper=shopper, confirms=confirms)
        return code

    def confirm(self) -> list[ResponseCode]:
        """Let every shopper who is asked confirm now; tells what came of each."""
        return self._answer_shoppers(Reaction())

    def refuse(self) -> list[ResponseCode]:
        """Let every shopper who is asked say no."""
        return self._answer_shoppers(Reaction(code=ResponseCode.DO_NOT_HONOUR))

    def _answer_shoppers(self, reaction: Reaction) -> list[ResponseCode]:
        waiting = self.accounts.waiting
        codes = [each.decide(reaction).code for each in waiting.values()]
        waiting.clear()
        return codes


def draw_shopper(name: str, issuer: str, random: Random) -> TestCard:
    """Open an account for a shopper; its number is drawn for each run."""
    return TestCard(
        name=name,
        pan=Pan(f"99{random.randrange(10**14):014}"),
        pin=Pin("0000"),
        issuer=issuer,
        outcome="approved",
    )
