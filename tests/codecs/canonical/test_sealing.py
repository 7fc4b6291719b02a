"""What is written down of a transaction gives back what a reversal needs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from isoswitch.codecs.canonical.codes import (
    EntryMode,
    Function,
    Kind,
    ResponseCode,
    ReversalReason,
)
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.sealing import (
    load_outcome,
    pack_leg,
    store_outcome,
    unpack_advice,
    unpack_reversal,
)
from isoswitch.codecs.canonical.secrets import Pan, PinBlock, Secret, Track2
from isoswitch.codecs.canonical.transaction import (
    OriginalData,
    Outcome,
    StatementLine,
    Transaction,
)

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
PURCHASE = Transaction(
    kind=Kind.PURCHASE,
    function=Function.REQUEST,
    stan="000001",
    rrn="322817000011",
    pan=Pan("4761739001010010"),
    track2=Track2("4761739001010010=31122011212120531127"),
    pin_block=PinBlock(b"PINBLOCK"),
    expiry="3112",
    amount=Money(1250, "978"),
    local_at=NOW.replace(tzinfo=None),
    entry_mode=EntryMode.CHIP,
    terminal_id="TERM0001",
)
BARE = Transaction(kind=Kind.REFUND, function=Function.ADVICE, stan="000002")


def reversal_of(txn: Transaction) -> Transaction:
    packed = pack_leg(
        txn,
        mti="0200",
        stan="000077",
        rrn="322817000011",
        transmitted_at=NOW,
        acquirer_id="100764",
    )
    assert b"PINBLOCK" not in packed
    assert b"31122011212120531127" not in packed
    return unpack_reversal(packed, reason=ReversalReason.TIMEOUT)


def test_a_mini_statement_is_kept_for_repeats() -> None:
    line = StatementLine(booked_on=NOW.date(), amount=Money(-1250, "978"))
    outcome = Outcome(code=ResponseCode.APPROVED, statement=(line, line))
    assert load_outcome(store_outcome(outcome)) == outcome


def test_a_reversal_names_its_leg_and_has_no_pin_or_track() -> None:
    undone = reversal_of(PURCHASE)
    assert (undone.kind, undone.reversal_reason) == (
        Kind.REVERSAL,
        ReversalReason.TIMEOUT,
    )
    assert undone.pan == PURCHASE.pan
    assert undone.amount == PURCHASE.amount
    assert undone.local_at == PURCHASE.local_at
    assert (undone.track2, undone.pin_block) == (None, None)
    assert undone.original is not None
    assert (undone.original.mti, undone.original.stan) == ("0200", "000077")
    assert undone.original.transmitted_at == NOW


def test_a_partial_reversal_is_over_its_own_amount_and_leaves_the_rest() -> None:
    packed = pack_leg(
        PURCHASE,
        mti="0200",
        stan="000077",
        rrn="322817000011",
        transmitted_at=NOW,
        acquirer_id="100764",
    )
    undone = unpack_reversal(
        packed,
        reason=ReversalReason.PARTIAL_COMPLETION,
        amount_minor=1000,
        remaining_minor=600,
    )
    assert (undone.amount, undone.remaining) == (Money(1000, "978"), Money(600, "978"))


def test_an_advice_tells_its_leg_without_pin_track_and_card_tags() -> None:
    chip = bytes.fromhex(
        "9F27014057134761739001010010D31122011212120531127F70055A034761739C0100"
    )
    told = replace(
        PURCHASE,
        kind=Kind.COMPLETION,
        approval_code="A1B2C3",
        cashback=Money(200, "978"),
        emv=Secret(chip),
        original=OriginalData(mti="0100", stan="000001", rrn="1", local_at=NOW),
    )
    packed = pack_leg(
        told,
        mti="0220",
        stan="000078",
        rrn="322817000012",
        transmitted_at=NOW,
        acquirer_id="100764",
        with_chip=True,
    )
    advice = unpack_advice(packed)
    assert advice.emv is not None
    assert advice.emv.reveal().hex() == "9f2701409c0100"
    assert advice == replace(
        told,
        function=Function.ADVICE,
        stan="000078",
        rrn="322817000012",
        transmitted_at=NOW,
        acquirer_id="100764",
        track2=None,
        pin_block=None,
        emv=advice.emv,
    )


TRACK = "4761739001010010D31122011212120531127F"
UNSEALED = {
    "a track of contactless stripe": f"9F2701409F6B13{TRACK}9C0100",
    "what follows a number in a track": "9F2701409F1F04313233349F200212349C0100",
    "a name": "5F2003412F429F2701409C0100",
    "a template that nobody can read": f"9F270140E1155714{TRACK}9C0100",
}


def chip_told(chip: str) -> Secret[bytes] | None:
    """Give what is sealed of chip data."""
    packed = pack_leg(
        replace(PURCHASE, emv=Secret(bytes.fromhex(chip))),
        mti="0220",
        stan="000078",
        rrn="322817000012",
        transmitted_at=NOW,
        acquirer_id="100764",
        with_chip=True,
    )
    return unpack_advice(packed).emv


@pytest.mark.parametrize("what", UNSEALED)
def test_what_is_never_shown_of_a_chip_is_not_sealed(what: str) -> None:
    told = chip_told(UNSEALED[what])
    assert told is not None
    assert told.reveal().hex() == "9f2701409c0100"


@pytest.mark.parametrize("chip", ["9F2701409F26081122", "9F", "9F2701"])
def test_chip_data_that_nobody_can_read_are_not_sealed(chip: str) -> None:
    assert chip_told(chip) is None


def test_what_a_leg_had_not_its_reversal_has_not() -> None:
    undone = reversal_of(BARE)
    assert (undone.pan, undone.local_at, undone.expiry) == (None, None, "")


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(code=ResponseCode.APPROVED, approval_code="A1B2C3"),
        Outcome.declined(ResponseCode.WRONG_PIN, "wrong PIN"),
        Outcome(
            code=ResponseCode.PARTIALLY_APPROVED,
            amount=Money(500, "978"),
            balance=Money(-1, "392"),
            emv=Secret(bytes.fromhex("8A023030")),
        ),
    ],
    ids=["approved", "declined", "partly"],
)
def test_a_stored_outcome_is_the_same_outcome(outcome: Outcome) -> None:
    assert load_outcome(store_outcome(outcome)) == outcome
