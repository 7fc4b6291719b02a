"""Transactions, outcomes and errors never show card data."""

from __future__ import annotations

import pytest

from isoswitch.codecs.canonical.codes import Function, Kind, ResponseCode
from isoswitch.codecs.canonical.errors import DecodeError, EncodeError
from isoswitch.codecs.canonical.secrets import Pan, PinBlock, Secret, Track2
from isoswitch.codecs.canonical.transaction import Outcome, Transaction


def test_a_transaction_prints_without_card_data() -> None:
    txn = Transaction(
        kind=Kind.PURCHASE,
        function=Function.REQUEST,
        stan="000001",
        pan=Pan("4761739001010010"),
        track2=Track2("4761739001010010=3112"),
        pin_block=PinBlock(b"PINBLOCK"),
        emv=Secret(b"\x5a\x08\x47\x61"),
    )
    for text in (repr(txn), str(txn), f"{txn}"):
        assert "4761739001010010" not in text
        assert "PINBLOCK" not in text
        assert "476173******0010" in text


@pytest.mark.parametrize("code", ResponseCode)
def test_only_two_codes_move_money(code: ResponseCode) -> None:
    approvals = {ResponseCode.APPROVED, ResponseCode.PARTIALLY_APPROVED}
    assert code.is_approval == (code in approvals)
    assert Outcome(code=code).is_approved == code.is_approval


def test_a_decline_is_no_approval() -> None:
    outcome = Outcome.declined(ResponseCode.WRONG_PIN, "wrong PIN")
    assert (outcome.is_approved, outcome.reason) == (False, "wrong PIN")
    with pytest.raises(AssertionError, match="declining code"):
        Outcome.declined(ResponseCode.APPROVED)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (DecodeError("too short", offset=3), "offset 3: too short"),
        (DecodeError("bad", field="55.9F26", offset=9), "field 55.9F26, offset 9: bad"),
        (EncodeError("too long"), "too long"),
        (EncodeError("too long", field="4"), "field 4: too long"),
    ],
)
def test_an_error_says_where(error: Exception, text: str) -> None:
    assert str(error) == text
