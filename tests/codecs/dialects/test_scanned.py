"""Scanned codes in the messages of every layout that carries them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from isoswitch.codecs.canonical.codes import EntryMode, Function, Kind, ResponseCode
from isoswitch.codecs.canonical.errors import DecodeError, EncodeError
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.secrets import Pan, ScannedCode
from isoswitch.codecs.canonical.transaction import Outcome, Transaction
from isoswitch.codecs.dialects.dialect import LegNumbers
from isoswitch.codecs.dialects.registry import EDITIONS, get_dialect
from isoswitch.codecs.dialects.scanned import CODE_FIELDS
from isoswitch.codecs.iso8583.message import Message

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
TEXT = "00020101021226" + "5" * 150
CODE = ScannedCode("289431869362714645")
SCANNED = Transaction(
    kind=Kind.PURCHASE,
    function=Function.REQUEST,
    stan="000001",
    code=CODE,
    amount=Money(1250, "978"),
    transmitted_at=NOW,
    local_at=NOW.replace(tzinfo=None),
    entry_mode=EntryMode.QR,
    terminal_id="TERM0001",
)
NUMBERS = LegNumbers(stan="000001", rrn="", transmitted_at=NOW, acquirer_id="")


def encode(dialect: str, txn: Transaction) -> Message:
    built = get_dialect(dialect).to_request(txn, NUMBERS, mac=True)
    return get_dialect(dialect).codec.decode(built.raw)


def decode(dialect: str, message: Message) -> Transaction:
    return get_dialect(dialect).to_transaction(message, reference=NOW, currency="978")


@pytest.mark.parametrize("dialect", CODE_FIELDS)
def test_a_code_arrives_and_is_shown_nowhere(dialect: str) -> None:
    message = encode(dialect, SCANNED)
    assert decode(dialect, message).code == CODE
    assert CODE.reveal() not in str(message.masked())
    assert CODE.reveal() not in repr(decode(dialect, message))


def test_bytes_that_are_no_text_are_no_code() -> None:
    message = encode("cup-pos", SCANNED)
    raw = message.raw.replace(CODE.reveal().encode(), b"\xff" * 18)
    assert raw != message.raw
    with pytest.raises(DecodeError, match="not a scanned code") as refused:
        decode("cup-pos", get_dialect("cup-pos").codec.decode(raw))
    assert refused.value.field == "62"


@pytest.mark.parametrize("dialect", CODE_FIELDS)
def test_what_has_a_card_number_or_undoes_carries_no_code(dialect: str) -> None:
    card = replace(SCANNED, pan=Pan("4761739001010010"))
    assert CODE_FIELDS[dialect] not in encode(dialect, card)
    undone = replace(SCANNED, kind=Kind.REVERSAL, function=Function.ADVICE)
    assert CODE_FIELDS[dialect] not in encode(dialect, undone)


@pytest.mark.parametrize("dialect", sorted(EDITIONS.keys() - CODE_FIELDS.keys()))
def test_other_layouts_refuse_to_lose_it(dialect: str) -> None:
    with pytest.raises(EncodeError, match="carries no scanned code"):
        encode(dialect, SCANNED)


@pytest.mark.parametrize("dialect", CODE_FIELDS)
@pytest.mark.parametrize("valid_s", [0, 90])
def test_a_code_is_asked_for_and_the_answer_brings_it(
    dialect: str, valid_s: int
) -> None:
    named = get_dialect(dialect)
    if Kind.PAYMENT_CODE not in named.edition.kinds.values():
        pytest.skip(f"{dialect} is spoken by no terminal")
    wanted = replace(SCANNED, kind=Kind.PAYMENT_CODE, code=None, valid_s=valid_s)
    message = encode(dialect, wanted)
    asked = decode(dialect, message)
    assert (asked.kind, asked.valid_s, asked.code) == (wanted.kind, valid_s, None)
    made = Outcome(code=ResponseCode.APPROVED, code_text=TEXT)
    answer = named.codec.decode(named.to_response(message, made).raw)
    assert named.to_outcome(answer, asked).code_text == TEXT
    declined = Outcome.declined(ResponseCode.INVALID_MERCHANT)
    assert named.to_outcome(named.to_response(message, declined), asked).code_text == ""


@pytest.mark.parametrize("text", ["soon", "-1", "123456789", "1.5"])
def test_a_time_that_is_no_number_is_refused(text: str) -> None:
    wanted = replace(SCANNED, kind=Kind.PAYMENT_CODE, code=None, valid_s=1)
    message = encode("iso87-ascii", wanted).replace({62: text})
    with pytest.raises(DecodeError, match="not a number of seconds"):
        decode("iso87-ascii", message)
