"""The accounts behind the test cards of a simulated issuer, and its decisions.

All money decisions of an issuer stand here, as functions of the request, the books and
the accounts: nothing in this module knows messages, streams or timers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from random import Random

import msgspec

from isoswitch.codecs.canonical.codes import Function, Kind, ResponseCode
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.transaction import (
    Outcome,
    StatementLine,
    Transaction,
)
from isoswitch.codecs.dialects.statement import LINES_MAX
from isoswitch.simulators.bookings import Booking, BookingKey, BookingKind, Bookings
from isoswitch.simulators.cards import TestCard
from isoswitch.simulators.rules import Reaction
from isoswitch.switch.ports import iso_time

# What a kind takes from the account: its amount, nothing, or the amount the other way.
DEBITS: Mapping[Kind, int] = {
    Kind.PURCHASE: 1,
    Kind.CASH_WITHDRAWAL: 1,
    Kind.PURCHASE_WITH_CASHBACK: 1,
    Kind.COMPLETION: 1,
    Kind.REFUND: -1,
}
# What sets money aside.
HOLDS = frozenset({Kind.PREAUTHORISATION, Kind.INCREMENTAL})
SERVED = frozenset(
    {
        *DEBITS,
        *HOLDS,
        Kind.VOID,
        Kind.BALANCE_INQUIRY,
        Kind.MINI_STATEMENT,
        Kind.ACCOUNT_VERIFICATION,
    }
)
# What cannot be without the transaction that it acts on.
NEEDS_ORIGINAL = frozenset({Kind.INCREMENTAL, Kind.COMPLETION, Kind.VOID})


class Account:
    """What an issuer knows of one card: money left and PIN tries left."""

    __slots__ = ("balance_minor", "card", "pin_tries_left")

    def __init__(self, card: TestCard) -> None:
        self.card = card
        self.balance_minor = card.balance_minor
        self.pin_tries_left = card.pin_tries_max

    def apply(self, booking: Booking) -> None:
        """Follow a booking: money given out or back, PIN tries."""
        moved_minor = booking.amount_minor + booking.held_minor
        if booking.kind is BookingKind.APPROVED:
            self.balance_minor -= moved_minor
        elif booking.kind is BookingKind.REVERSED:
            self.balance_minor += moved_minor
        if booking.pin_tries_left is not None:
            self.pin_tries_left = booking.pin_tries_left


class Accounts:
    """The accounts of one issuer; every change is a booking first."""

    def __init__(
        self, cards: Iterable[TestCard], bookings: Bookings, *, random: Random
    ) -> None:
        self.bookings = bookings
        self._random = random
        self._by_pan = {card.pan.reveal(): Account(card) for card in cards}
        self._by_card = {each.card.name: each for each in self._by_pan.values()}
        for booking in bookings.entries:
            self._follow(booking)

    def get_account(self, card: str) -> Account:
        """Give the account of a card, by the card's name."""
        return self._by_card[card]

    def find_account(self, transaction: Transaction) -> Account | None:
        """Find the account of the transaction's card."""
        pan = transaction.pan
        return self._by_pan.get(pan.reveal()) if pan else None

    def authorise(
        self,
        transaction: Transaction,
        reaction: Reaction,
        *,
        pin_matches: bool | None,
        now: datetime,
        business_date: str = "",
    ) -> Outcome:
        """Decide a request and book the decision; a repeat gets its first decision.

        ``pin_matches`` is None where the request carried no PIN.
        """
        first = self.bookings.find_decision(booking_key(transaction))
        if first is not None and first.content != _content(transaction):
            return Outcome.declined(ResponseCode.DUPLICATE_TRANSACTION)
        if first is None:
            first = self._decide(
                transaction, reaction, pin_matches=pin_matches, now=now
            )
            self._book(msgspec.structs.replace(first, business_date=business_date))
        return self._outcome(first, transaction)

    def reverse(
        self, transaction: Transaction, *, now: datetime, business_date: str = ""
    ) -> Outcome:
        """Undo an approval, or the part of it that is not to stand.

        Without an approval it leaves a tombstone; a repeat changes nothing.
        """
        key = booking_key(transaction)
        decision = self.bookings.find_decision(key)
        taken, held = self._to_give_back(decision, transaction) if decision else (0, 0)
        if taken or held or self.bookings.find_reversal(key) is None:
            self._book(
                Booking(
                    kind=BookingKind.REVERSED if decision else BookingKind.TOMBSTONE,
                    acquirer_id=key.acquirer_id,
                    rrn=key.rrn,
                    at=iso_time(now),
                    stan=transaction.stan,
                    terminal_id=transaction.terminal_id,
                    card=decision.card if decision else "",
                    transaction=decision.transaction if decision else "",
                    amount_minor=taken,
                    held_minor=held,
                    of=decision.of if decision else "",
                    currency=decision.currency if decision else "",
                    business_date=business_date,
                )
            )
        return Outcome(code=ResponseCode.APPROVED)

    def _to_give_back(
        self, decision: Booking, reversal: Transaction
    ) -> tuple[int, int]:
        """Give what a reversal gives back of what was taken, and of what is held."""
        books, key = self.bookings, decision.key
        leave_minor = reversal.remaining.minor if reversal.remaining else 0
        if decision.kind is not BookingKind.APPROVED:
            return 0, 0
        if decision.transaction == Kind.VOID:
            # What it undid comes back, unless that was reversed as well.
            was_reversed = books.find_reversal(decision.taken_key) is not None
            was_restored = books.find_reversal(key) is not None
            if was_reversed or was_restored:
                return 0, 0
            return decision.amount_minor, decision.held_minor
        if decision.transaction == Kind.PREAUTHORISATION:
            completed_minor = sum(
                each.amount_minor for each in books.acting_on(key, Kind.COMPLETION)
            )
            still_minor = books.held_minor(key)
            return 0, still_minor - min(
                still_minor, max(0, leave_minor - completed_minor)
            )
        if decision.transaction == Kind.INCREMENTAL:
            if books.find_reversal(key) is not None:
                return 0, 0
            wanted_minor = decision.held_minor - leave_minor
            return 0, max(0, min(wanted_minor, books.held_minor(decision.held_key)))
        taken_minor = books.approved_minor(key)
        sign = -1 if decision.amount_minor < 0 else 1
        return sign * max(0, abs(taken_minor) - leave_minor), 0

    def _decide(
        self,
        transaction: Transaction,
        reaction: Reaction,
        *,
        pin_matches: bool | None,
        now: datetime,
    ) -> Booking:
        """Make the booking of a request that was not seen before."""
        account = self.find_account(transaction)
        code = self._code(transaction, reaction, account, pin_matches, now)
        approved = code.is_approval
        amount_minor = transaction.amount.minor if transaction.amount else 0
        if code is ResponseCode.PARTIALLY_APPROVED:
            amount_minor = amount_minor * (reaction.approved_percent or 0) // 100
        original = self.find_original(transaction)
        taken, held = 0, 0
        if approved:
            taken, held = self._effect(transaction, amount_minor, original)
        return Booking(
            kind=BookingKind.APPROVED if approved else BookingKind.DECLINED,
            acquirer_id=transaction.acquirer_id,
            rrn=transaction.rrn,
            at=iso_time(now),
            stan=transaction.stan,
            terminal_id=transaction.terminal_id,
            card=account.card.name if account else "",
            transaction=transaction.kind.value,
            amount_minor=taken,
            held_minor=held,
            of=original.rrn if original else "",
            currency=transaction.amount.currency if transaction.amount else "",
            code=code,
            approval_code=self._approval_code(transaction) if approved else "",
            content=_content(transaction),
            pin_tries_left=_pin_tries_left(account, code, pin_matches),
        )

    def _approval_code(self, transaction: Transaction) -> str:
        """Give the mark of an approval: of one given in our place, the one it got."""
        is_told = transaction.function is Function.ADVICE and not transaction.original
        if is_told and transaction.approval_code:
            return transaction.approval_code
        return f"{self._random.randrange(10**6):06d}"

    def find_original(self, transaction: Transaction) -> Booking | None:
        """Find what a transaction acts on, by the numbers and the code it gives."""
        account = self.find_account(transaction)
        if transaction.original is None or account is None:
            return None
        return self.bookings.find_original(
            acquirer_id=transaction.acquirer_id,
            stan=transaction.original.stan,
            card=account.card.name,
            approval_code=transaction.approval_code,
        )

    def _effect(
        self, transaction: Transaction, amount_minor: int, original: Booking | None
    ) -> tuple[int, int]:
        """Give what an approval takes, and what it sets aside."""
        if transaction.kind in HOLDS:
            return 0, amount_minor
        if transaction.kind is Kind.VOID and original is not None:
            held = self.bookings.held_minor(original.key)
            return -self.bookings.approved_minor(original.key), -held
        taken = DEBITS.get(transaction.kind, 0) * amount_minor
        if transaction.kind is Kind.COMPLETION and original is not None:
            held = self.bookings.held_minor(original.key)
            return taken, -(held if transaction.is_final else min(held, amount_minor))
        return taken, 0

    def _code(
        self,
        transaction: Transaction,
        reaction: Reaction,
        account: Account | None,
        pin_matches: bool | None,
        now: datetime,
    ) -> ResponseCode:
        """Decide: the first reason to decline, or an approval."""
        if self.bookings.find_reversal(booking_key(transaction)):
            return ResponseCode.DUPLICATE_TRANSACTION
        if transaction.function is Function.ADVICE:
            # It tells what was done already: that is booked, and not decided.
            return ResponseCode.APPROVED
        if reaction.code is not None:
            return reaction.code
        if transaction.kind not in SERVED:
            return ResponseCode.INVALID_TRANSACTION
        if account is None:
            return ResponseCode.INVALID_CARD_NUMBER
        approval = (
            ResponseCode.APPROVED
            if reaction.approved_percent is None
            else ResponseCode.PARTIALLY_APPROVED
        )
        return (
            _card_refusal(account, now)
            or _pin_refusal(account, pin_matches)
            or self._original_refusal(transaction)
            or _funds_refusal(account, transaction)
            or approval
        )

    def _original_refusal(self, transaction: Transaction) -> ResponseCode | None:
        """Refuse what acts on nothing, or gives more back than was taken."""
        books, original = self.bookings, self.find_original(transaction)
        if original is None:
            is_lost = transaction.original is not None or (
                transaction.kind in NEEDS_ORIGINAL
            )
            return ResponseCode.ORIGINAL_NOT_FOUND if is_lost else None
        if transaction.kind is Kind.REFUND and transaction.amount is not None:
            given = sum(
                books.approved_minor(each.key)
                for each in books.acting_on(original.key, Kind.REFUND)
            )
            left_minor = books.approved_minor(original.key) + given
            if transaction.amount.minor > left_minor:
                return ResponseCode.INVALID_AMOUNT
        is_gone = books.find_reversal(original.key) is not None
        if transaction.kind in HOLDS and is_gone:
            return ResponseCode.ORIGINAL_NOT_FOUND
        return None

    def _outcome(self, booking: Booking, transaction: Transaction) -> Outcome:
        """Tell what a booking decided, for its first request and for every repeat."""
        partly = booking.code is ResponseCode.PARTIALLY_APPROVED
        part_minor = abs(booking.amount_minor or booking.held_minor)
        return Outcome(
            code=booking.code,
            approval_code=booking.approval_code,
            amount=Money(part_minor, booking.currency) if partly else None,
            balance=self._balance(booking, transaction),
            statement=self._statement(booking, transaction),
        )

    def _balance(self, booking: Booking, transaction: Transaction) -> Money | None:
        if not booking.code.is_approval or transaction.kind is not Kind.BALANCE_INQUIRY:
            return None
        account = self._by_card[booking.card]
        return Money(account.balance_minor, account.card.currency)

    def _statement(
        self, booking: Booking, transaction: Transaction
    ) -> tuple[StatementLine, ...]:
        """Give what was last taken from the card or given back, the newest first."""
        if not booking.code.is_approval or transaction.kind is not Kind.MINI_STATEMENT:
            return ()
        signs = {BookingKind.APPROVED: -1, BookingKind.REVERSED: 1}
        return tuple(
            StatementLine(
                booked_on=datetime.fromisoformat(each.at).date(),
                amount=Money(signs[each.kind] * each.amount_minor, each.currency),
            )
            for each in reversed(self.bookings.entries)
            if each.card == booking.card and each.amount_minor
        )[:LINES_MAX]

    def _book(self, booking: Booking) -> None:
        self.bookings.add(booking)
        self._follow(booking)

    def _follow(self, booking: Booking) -> None:
        account = self._by_card.get(booking.card)
        if account is not None:
            account.apply(booking)


def booking_key(transaction: Transaction) -> BookingKey:
    """Give what names a transaction at an issuer."""
    return BookingKey(transaction.acquirer_id, transaction.rrn)


def _content(transaction: Transaction) -> str:
    """Give what a repeat may not change, without the card number."""
    pan = transaction.pan.masked if transaction.pan else ""
    amount = transaction.amount or ""
    return f"{transaction.kind}|{pan}|{amount}|{transaction.terminal_id}"


def _card_refusal(account: Account, now: datetime) -> ResponseCode | None:
    expired = account.card.expiry < f"{now:%y%m}"
    return account.card.refusal or (ResponseCode.EXPIRED_CARD if expired else None)


def _pin_refusal(account: Account, pin_matches: bool | None) -> ResponseCode | None:
    if pin_matches is None:
        return None
    if account.pin_tries_left <= 0:
        return ResponseCode.PIN_TRIES_EXCEEDED
    return None if pin_matches else ResponseCode.WRONG_PIN


def _funds_refusal(account: Account, transaction: Transaction) -> ResponseCode | None:
    """Refuse what the account cannot pay; what has happened already is not asked."""
    is_asked = transaction.function is Function.REQUEST
    takes = transaction.kind in HOLDS or (
        DEBITS.get(transaction.kind, 0) > 0 and transaction.kind is not Kind.COMPLETION
    )
    amount_minor = transaction.amount.minor if transaction.amount else 0
    if takes and is_asked and amount_minor > account.balance_minor:
        return ResponseCode.INSUFFICIENT_FUNDS
    return None


def _pin_tries_left(
    account: Account | None, code: ResponseCode, pin_matches: bool | None
) -> int | None:
    """Give the PIN tries after a decision; None where it does not change them."""
    if account is None or pin_matches is None:
        return None
    if code is ResponseCode.WRONG_PIN and not pin_matches:
        return account.pin_tries_left - 1
    if pin_matches and code.is_approval:
        return account.card.pin_tries_max
    return None
