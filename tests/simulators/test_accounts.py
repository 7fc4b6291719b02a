"""An issuer's decisions."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest

from isoswitch.codecs.canonical.codes import Function, Kind, ResponseCode
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.secrets import Pan
from isoswitch.codecs.canonical.transaction import (
    OriginalData,
    Outcome,
    Transaction,
)
from isoswitch.simulators.accounts import Accounts
from isoswitch.simulators.bookings import BookingKey, BookingKind, Bookings
from isoswitch.simulators.cards import CARDS, get_card
from isoswitch.simulators.rules import NORMAL, Reaction

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
KEY = BookingKey("10001", "000100000001")
PURCHASE = Transaction(
    kind=Kind.PURCHASE,
    function=Function.REQUEST,
    stan="000001",
    rrn=KEY.rrn,
    acquirer_id=KEY.acquirer_id,
    pan=get_card("visa-ok").pan,
    amount=Money(1250, "978"),
    terminal_id="TERM0001",
)
REVERSAL = replace(PURCHASE, kind=Kind.REVERSAL, function=Function.ADVICE)
START = get_card("visa-ok").balance_minor


def make_accounts(log_path: Path | None = None) -> Accounts:
    return Accounts(CARDS.values(), Bookings(log_path), random=Random(1))


def authorise(
    accounts: Accounts,
    txn: Transaction = PURCHASE,
    *,
    pin_matches: bool | None = True,
    reaction: Reaction = NORMAL,
) -> Outcome:
    return accounts.authorise(txn, reaction, pin_matches=pin_matches, now=NOW)


def with_rrn(txn: Transaction, number: int) -> Transaction:
    return replace(txn, rrn=f"{number:012d}")


def test_an_approval_takes_money_and_gives_an_approval_code() -> None:
    accounts = make_accounts()
    outcome = authorise(accounts)
    assert outcome.is_approved
    assert len(outcome.approval_code) == 6
    assert accounts.get_account("visa-ok").balance_minor == START - 1250
    assert accounts.bookings.approved_minor(KEY) == 1250


@pytest.mark.parametrize(
    ("card", "code"),
    [
        ("visa-insufficient", ResponseCode.INSUFFICIENT_FUNDS),
        ("visa-expired", ResponseCode.EXPIRED_CARD),
        ("visa-lost", ResponseCode.LOST_CARD),
        ("visa-stolen", ResponseCode.STOLEN_CARD),
        ("visa-declined", ResponseCode.DO_NOT_HONOUR),
    ],
)
def test_a_card_is_declined_as_its_name_says(card: str, code: ResponseCode) -> None:
    accounts = make_accounts()
    outcome = authorise(accounts, replace(PURCHASE, pan=get_card(card).pan))
    assert outcome.code is code
    assert accounts.bookings.approved_minor(KEY) == 0


def test_an_unknown_card_is_declined() -> None:
    txn = replace(PURCHASE, pan=Pan("4000000000000127"))
    assert authorise(make_accounts(), txn).code is ResponseCode.INVALID_CARD_NUMBER


def test_a_kind_the_issuer_does_not_know_is_declined() -> None:
    txn = replace(PURCHASE, kind=Kind.BATCH_UPLOAD)
    assert authorise(make_accounts(), txn).code is ResponseCode.INVALID_TRANSACTION


def test_a_repeat_gets_the_first_answer_and_is_booked_once() -> None:
    accounts = make_accounts()
    first = authorise(accounts)
    assert authorise(accounts, replace(PURCHASE, is_repeat=True)) == first
    assert len(accounts.bookings.entries) == 1


def test_the_same_key_with_another_amount_is_a_duplicate() -> None:
    accounts = make_accounts()
    authorise(accounts)
    outcome = authorise(accounts, replace(PURCHASE, amount=Money(1251, "978")))
    assert outcome.code is ResponseCode.DUPLICATE_TRANSACTION
    assert accounts.bookings.approved_minor(KEY) == 1250


def test_a_reversal_gives_the_money_back_once() -> None:
    accounts = make_accounts()
    authorise(accounts)
    for _ in range(2):
        assert accounts.reverse(REVERSAL, now=NOW).is_approved
    assert accounts.get_account("visa-ok").balance_minor == START
    kinds = [booking.kind for booking in accounts.bookings.entries]
    assert kinds == [BookingKind.APPROVED, BookingKind.REVERSED]


def test_a_reversal_before_its_original_refuses_the_original() -> None:
    accounts = make_accounts()
    accounts.reverse(REVERSAL, now=NOW)
    assert authorise(accounts).code is ResponseCode.DUPLICATE_TRANSACTION
    assert accounts.get_account("visa-ok").balance_minor == START
    kinds = [booking.kind for booking in accounts.bookings.entries]
    assert kinds == [BookingKind.TOMBSTONE, BookingKind.DECLINED]


def test_a_repeat_after_the_reversal_gets_the_first_answer_and_no_money() -> None:
    accounts = make_accounts()
    first = authorise(accounts)
    accounts.reverse(REVERSAL, now=NOW)
    assert authorise(accounts) == first
    assert accounts.bookings.approved_minor(KEY) == 0


def test_three_wrong_pins_block_the_card() -> None:
    accounts = make_accounts()
    codes = [
        authorise(accounts, with_rrn(PURCHASE, number), pin_matches=False).code
        for number in range(4)
    ]
    assert codes == 3 * [ResponseCode.WRONG_PIN] + [ResponseCode.PIN_TRIES_EXCEEDED]
    right = authorise(accounts, with_rrn(PURCHASE, 9))
    assert right.code is ResponseCode.PIN_TRIES_EXCEEDED


def test_a_repeated_wrong_pin_costs_one_try() -> None:
    accounts = make_accounts()
    for _ in range(5):
        authorise(accounts, pin_matches=False)
    assert accounts.get_account("visa-ok").pin_tries_left == 2


def test_a_right_pin_gives_the_tries_back() -> None:
    accounts = make_accounts()
    for number, matches in enumerate([False, False, True, False]):
        authorise(accounts, with_rrn(PURCHASE, number), pin_matches=matches)
    assert accounts.get_account("visa-ok").pin_tries_left == 2


def test_half_the_amount_can_be_approved() -> None:
    accounts = make_accounts()
    outcome = authorise(accounts, reaction=Reaction(approved_percent=50))
    assert outcome.code is ResponseCode.PARTIALLY_APPROVED
    assert outcome.amount == Money(625, "978")
    assert accounts.bookings.approved_minor(KEY) == 625


def test_a_balance_inquiry_takes_no_money() -> None:
    accounts = make_accounts()
    txn = replace(PURCHASE, kind=Kind.BALANCE_INQUIRY, amount=None)
    assert authorise(accounts, txn).balance == Money(START, "978")
    assert accounts.bookings.approved_minor(KEY) == 0


def test_a_refund_gives_money() -> None:
    accounts = make_accounts()
    assert authorise(accounts, replace(PURCHASE, kind=Kind.REFUND)).is_approved
    assert accounts.get_account("visa-ok").balance_minor == START + 1250


def test_accounts_are_rebuilt_from_the_log(tmp_path: Path) -> None:
    path = tmp_path / "north.jsonl"
    before = make_accounts(path)
    authorise(before, pin_matches=False)
    authorise(before, with_rrn(PURCHASE, 2), pin_matches=None)
    authorise(before, with_rrn(PURCHASE, 3), pin_matches=None)
    before.reverse(with_rrn(REVERSAL, 3), now=NOW)

    after = make_accounts(path).get_account("visa-ok")
    assert after.balance_minor == START - 1250
    assert after.pin_tries_left == 2


def test_the_log_holds_no_card_number(tmp_path: Path) -> None:
    path = tmp_path / "north.jsonl"
    authorise(make_accounts(path))
    assert PURCHASE.pan is not None
    assert PURCHASE.pan.reveal().encode() not in path.read_bytes()


# What acts on an earlier transaction --------------------------------------------------

STAY = replace(PURCHASE, kind=Kind.PREAUTHORISATION)


def acting(kind: Kind, number: int, minor: int, of: Transaction = STAY) -> Transaction:
    """Ask for something that acts on another transaction."""
    original = OriginalData(kind=of.kind, mti="0100", stan=of.stan)
    txn = replace(of, kind=kind, amount=Money(minor, "978"), original=original)
    return with_rrn(replace(txn, stan=f"{number:06d}"), number)


def test_what_is_set_aside_is_completed_in_parts_and_then_given_free() -> None:
    accounts = make_accounts()
    authorise(accounts, STAY)
    assert accounts.bookings.held_minor(KEY) == 1250
    first = replace(acting(Kind.COMPLETION, 2, 500), is_final=False)
    authorise(accounts, first)
    assert accounts.bookings.held_minor(KEY) == 750
    authorise(accounts, acting(Kind.COMPLETION, 3, 300))
    assert accounts.bookings.held_minor(KEY) == 0
    assert accounts.get_account("visa-ok").balance_minor == START - 800


def test_an_increment_is_held_with_its_original_and_given_free_alone() -> None:
    accounts = make_accounts()
    authorise(accounts, STAY)
    authorise(accounts, acting(Kind.INCREMENTAL, 2, 100))
    assert accounts.bookings.held_minor(KEY) == 1350
    undo = replace(acting(Kind.INCREMENTAL, 2, 100), kind=Kind.REVERSAL)
    for _ in range(2):
        accounts.reverse(undo, now=NOW)
    assert accounts.bookings.held_minor(KEY) == 1250


def test_a_reversal_leaves_what_it_says_of_a_hold_and_what_was_completed() -> None:
    accounts = make_accounts()
    authorise(accounts, STAY)
    authorise(accounts, replace(acting(Kind.COMPLETION, 2, 500), is_final=False))
    undo = replace(REVERSAL, remaining=Money(900, "978"))
    accounts.reverse(undo, now=NOW)
    assert accounts.bookings.held_minor(KEY) == 400
    accounts.reverse(REVERSAL, now=NOW)
    assert accounts.bookings.held_minor(KEY) == 0
    assert accounts.get_account("visa-ok").balance_minor == START - 500


def test_a_partial_reversal_leaves_the_replacement_amount() -> None:
    accounts = make_accounts()
    authorise(accounts)
    part = replace(REVERSAL, remaining=Money(1000, "978"))
    for _ in range(2):
        accounts.reverse(part, now=NOW)
    assert accounts.bookings.approved_minor(KEY) == 1000
    accounts.reverse(REVERSAL, now=NOW)
    assert accounts.bookings.approved_minor(KEY) == 0


def test_refunds_never_exceed_what_was_taken() -> None:
    accounts = make_accounts()
    authorise(accounts)
    codes = [
        authorise(accounts, acting(Kind.REFUND, number, 700, PURCHASE)).code
        for number in (2, 3)
    ]
    assert codes == [ResponseCode.APPROVED, ResponseCode.INVALID_AMOUNT]


def test_a_void_takes_back_and_its_reversal_restores() -> None:
    accounts = make_accounts()
    authorise(accounts)
    void = acting(Kind.VOID, 2, 1250, PURCHASE)
    authorise(accounts, void)
    assert accounts.bookings.approved_minor(KEY) == 0
    for _ in range(2):
        accounts.reverse(replace(void, kind=Kind.REVERSAL), now=NOW)
    assert accounts.bookings.approved_minor(KEY) == 1250


def test_a_void_of_what_was_reversed_meanwhile_is_not_restored() -> None:
    accounts = make_accounts()
    authorise(accounts)
    void = acting(Kind.VOID, 2, 1250, PURCHASE)
    authorise(accounts, void)
    accounts.reverse(REVERSAL, now=NOW)
    accounts.reverse(replace(void, kind=Kind.REVERSAL), now=NOW)
    assert accounts.bookings.approved_minor(KEY) == 0


@pytest.mark.parametrize("kind", [Kind.COMPLETION, Kind.VOID, Kind.INCREMENTAL])
def test_what_acts_on_nothing_is_declined(kind: Kind) -> None:
    accounts = make_accounts()
    assert authorise(accounts, acting(kind, 2, 100)).code is (
        ResponseCode.ORIGINAL_NOT_FOUND
    )


def test_a_statement_tells_what_moved_newest_first() -> None:
    accounts = make_accounts()
    authorise(accounts)
    accounts.reverse(REVERSAL, now=NOW)
    asked = with_rrn(replace(PURCHASE, kind=Kind.MINI_STATEMENT, amount=None), 9)
    lines = authorise(accounts, asked).statement
    assert [line.amount.minor for line in lines] == [1250, -1250]
