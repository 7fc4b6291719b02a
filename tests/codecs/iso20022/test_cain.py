"""ISO 8583 to cain and back gives the same transaction, and the schemas agree."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from lxml import etree

from isoswitch.codecs.canonical.codes import Function, Kind, ResponseCode
from isoswitch.codecs.canonical.errors import DocumentError, EncodeError
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.secrets import Secret
from isoswitch.codecs.canonical.transaction import OriginalData, Outcome, Transaction
from isoswitch.codecs.dialects.dialect import LegNumbers
from isoswitch.codecs.dialects.registry import get_dialect
from isoswitch.codecs.iso20022.cain import CainDialect
from isoswitch.codecs.iso20022.cain_tables import KINDS, MESSAGES, ROWS
from isoswitch.codecs.iso20022.document import Part
from isoswitch.codecs.iso20022.leaves import CardMessage, to_card_message
from isoswitch.codecs.iso20022.repair import repair_schema
from isoswitch.codecs.iso20022.schemas import Mode, Schemas
from tests.codecs.dialects.strategies import NOW, legs, transactions
from tests.codecs.dialects.test_dialect import LEG, PURCHASE
from tests.iso20022 import FOLDER, published_into, samples

CAIN = CainDialect(Schemas(), Mode.PROFILE)
SERVED = [*ROWS, Kind.REVERSAL]
DIALECTS = ("iso87-bcd", "iso2003")


@cache
def _judges() -> Schemas:
    ids = [each for row in MESSAGES.values() for each in (row[0], row[2])]
    directory = Path(tempfile.mkdtemp(prefix="isoswitch-schemas-"))
    return Schemas(published_into(directory, *ids, repair=repair_schema))


def over_the_wire(message: CardMessage) -> CardMessage:
    """Read a message again, held to our profile and to the published schema."""
    if (FOLDER / "xsd-from-pypi").exists():
        CainDialect(_judges(), Mode.BOTH).decode(message.raw)
    again = CAIN.decode(message.raw)
    assert again == message
    return again


def leg_of(txn: Transaction) -> LegNumbers:
    """Give leg numbers that keep the transaction's own."""
    assert txn.transmitted_at is not None
    return LegNumbers(
        stan=txn.stan,
        rrn=txn.rrn,
        transmitted_at=txn.transmitted_at,
        acquirer_id=txn.acquirer_id,
        repeat=txn.is_repeat,
    )


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("kind", SERVED)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_a_transaction_survives_the_other_standard(
    name: str, kind: Kind, data: st.DataObject
) -> None:
    dialect = get_dialect(name)
    assume(kind in dialect.edition.requests)
    leg = data.draw(legs())
    txn = data.draw(transactions(dialect, kind, leg))
    expiry = data.draw(st.sampled_from(["", "3112", "2901"]))
    txn = replace(txn, expiry=expiry, remaining=part_of(txn))
    first = dialect.codec.decode(dialect.to_request(txn, leg, mac=False).raw)
    read = dialect.to_transaction(first, reference=NOW, currency="978")
    there = CAIN.to_request(read, leg_of(read), mac=data.draw(st.booleans()))
    back = CAIN.to_transaction(over_the_wire(there))
    assert back == read
    again = dialect.codec.decode(dialect.to_request(back, leg, mac=False).raw)
    assert dialect.to_transaction(again, reference=NOW, currency="978") == read


def part_of(txn: Transaction) -> Money | None:
    """Give what a partial reversal leaves standing: less than was asked for."""
    if txn.remaining is None or txn.amount is None or txn.amount.minor < 2:
        return None
    return Money(1 + txn.remaining.minor % (txn.amount.minor - 1), txn.amount.currency)


OUTCOMES = st.builds(
    Outcome,
    code=st.sampled_from(
        [each for each in ResponseCode if each is not ResponseCode.PARTIALLY_APPROVED]
    ),
    approval_code=st.text("0123456789AB", max_size=6),
    balance=st.none() | st.builds(Money, st.integers(-(10**9), 10**9), st.just("978")),
    emv=st.none() | st.binary(min_size=1, max_size=40).map(Secret),
)


@pytest.mark.parametrize("kind", [each for each in SERVED if each is not Kind.REVERSAL])
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_an_outcome_survives(kind: Kind, data: st.DataObject) -> None:
    txn = replace(PURCHASE, kind=kind, function=Function.REQUEST)
    outcome = data.draw(OUTCOMES)
    request = CAIN.to_request(txn, LEG)
    response = CAIN.to_response(request, outcome, created_at=NOW)
    read = CAIN.to_outcome(over_the_wire(response), txn)
    assert replace(read, reason="") == outcome
    assert CAIN.to_code(response) is outcome.code
    assert response.leaves["TxId/SysTracAudtNb"] == LEG.stan


@pytest.mark.parametrize("kind", SERVED)
def test_what_a_terminal_can_do_and_what_an_advice_tells_survives(kind: Kind) -> None:
    for txn in (
        replace(PURCHASE, kind=kind, takes_part=True),
        replace(PURCHASE, kind=kind, function=Function.ADVICE, is_declined=True),
    ):
        read = CAIN.to_transaction(over_the_wire(CAIN.to_request(txn, leg_of(txn))))
        assert replace(read, original=None) == txn


def test_a_reversal_is_answered() -> None:
    reversal = replace(PURCHASE, kind=Kind.REVERSAL, function=Function.ADVICE)
    request = CAIN.to_request(reversal, replace(LEG, repeat=True))
    assert request.leaves["Hdr/ReTrnsmssnCntr"] == "1"
    answer = CAIN.to_response(
        request, Outcome(code=ResponseCode.APPROVED), created_at=NOW, mac=True
    )
    assert answer.message_id == "cain.006.001.04"
    assert CAIN.to_outcome(over_the_wire(answer), reversal).is_approved
    read = CAIN.to_transaction(over_the_wire(request))
    assert read.original is not None
    assert (read.original.stan, read.original.rrn) == (LEG.stan, LEG.rrn)


@pytest.mark.parametrize(
    "amount", [Money(1000, "978"), Money(1, "840"), Money(0, "978"), None]
)
def test_a_partial_approval_is_a_part_of_what_was_asked(amount: Money | None) -> None:
    outcome = Outcome(code=ResponseCode.PARTIALLY_APPROVED, amount=amount)
    request = CAIN.to_request(PURCHASE, LEG)
    response = CAIN.to_response(request, outcome, created_at=NOW)
    if amount == Money(1000, "978"):
        assert CAIN.to_outcome(response, PURCHASE).amount == amount
    elif amount is None:
        # What comes back unchanged is the amount that was asked for.
        assert CAIN.to_outcome(response, PURCHASE).amount == PURCHASE.amount
    else:
        with pytest.raises(DocumentError, match="no part of the requested"):
            CAIN.to_outcome(response, PURCHASE)


@pytest.mark.parametrize(("digits", "currency"), [("50.00", "999"), ("?", "978")])
def test_an_approval_does_not_fail_on_its_balance(digits: str, currency: str) -> None:
    outcome = Outcome(code=ResponseCode.APPROVED, balance=Money(5000, "978"))
    request = CAIN.to_request(PURCHASE, LEG)
    answer = CAIN.to_response(request, outcome, created_at=NOW)
    told = {"AcctBal/Bal/Amt": digits, "AcctBal/Bal/Ccy": currency}
    assert told.keys() < answer.leaves.keys()
    read = CAIN.to_outcome(replace(answer, leaves={**answer.leaves, **told}), PURCHASE)
    assert (read.is_approved, read.balance) == (True, None)


def test_what_gets_no_answer_is_told() -> None:
    told = CAIN.to_request(replace(PURCHASE, function=Function.NOTIFICATION), LEG)
    answer = CAIN.to_response(
        CAIN.to_request(PURCHASE, LEG),
        Outcome(code=ResponseCode.APPROVED),
        created_at=NOW,
    )
    for message in (told, answer):
        with pytest.raises(EncodeError, match="gets no answer"):
            CAIN.to_response(
                message, Outcome(code=ResponseCode.APPROVED), created_at=NOW
            )
    with pytest.raises(DocumentError, match="not a request"):
        CAIN.to_transaction(answer)
    with pytest.raises(DocumentError, match="another class"):
        CAIN.to_outcome(answer, replace(PURCHASE, kind=Kind.BALANCE_INQUIRY))


@pytest.mark.parametrize("kind", sorted(set(Kind) - set(SERVED)))
def test_a_kind_that_cain_has_not_is_refused(kind: Kind) -> None:
    with pytest.raises(EncodeError, match=f"cain.04 has no {kind}"):
        CAIN.to_request(replace(PURCHASE, kind=kind), LEG)


def test_every_row_is_read_as_its_kind() -> None:
    assert {KINDS[row] for row in ROWS.values()} == set(ROWS)


def test_money_without_a_known_currency_is_refused() -> None:
    with pytest.raises(EncodeError, match="not a known currency"):
        CAIN.to_request(replace(PURCHASE, amount=Money(1, "000")), LEG)


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("TxAmts/Amt", "1.005", "more decimals"),
        ("TxId/TrnsmssnDtTm", "noon", "not a date and time"),
        ("TxId/LclDt", "2026-02-30", "not a date"),
        ("TxId/LclTm", "25:00:00", "not a time"),
        ("TxId/SysTracAudtNb", "", "missing"),
        ("Hdr/MsgFctn", "QUES", "not a request or advice"),
        ("TxChrtcs/TxTp", "9Z", "unknown transaction type"),
        ("Card/PAN", "123", "8 to 19 digits"),
        ("ICCRltdData", "9F2", "not hexadecimal"),
    ],
)
def test_a_leaf_that_holds_no_such_value_is_named(
    path: str, value: str, reason: str
) -> None:
    txn = replace(PURCHASE, emv=Secret(b"\x9f\x26\x00"))
    message = CAIN.to_request(txn, LEG)
    assert path in message.leaves
    wrong = replace(message, leaves={**message.leaves, path: value})
    with pytest.raises(DocumentError, match=reason) as refused:
        CAIN.to_transaction(wrong)
    assert refused.value.field == path


def test_chip_data_is_read_with_the_blanks_of_the_old_schema() -> None:
    message = CAIN.to_request(replace(PURCHASE, emv=Secret(b"\x9f\x26\x00")), LEG)
    blanks = message.raw.replace(b"9F2600<", b"9F2600  <")
    assert CAIN.to_transaction(CAIN.decode(blanks)).emv == Secret(b"\x9f\x26\x00")
    assert message.leaves["ICCRltdData"] == "9F2600"


def test_what_is_no_card_message_is_refused() -> None:
    space = "urn:iso:std:iso:20022:tech:xsd:"
    with pytest.raises(DocumentError, match="not a card message"):
        CAIN.decode(f'<Document xmlns="{space}pacs.008.001.08"/>'.encode())
    part = Part(
        message_id="cain.001.001.04",
        element=etree.Element(f"{{{space}cain.001.001.04}}Document"),
    )
    with pytest.raises(DocumentError, match="not one message"):
        to_card_message(part, b"")


def test_an_unlisted_code_declines() -> None:
    request = CAIN.to_request(PURCHASE, LEG)
    approved = Outcome(code=ResponseCode.APPROVED)
    answer = CAIN.to_response(
        request, approved, created_at=NOW, extra={"PrcgRslt/RspnCd": "Z9"}
    )
    assert CAIN.to_outcome(answer, PURCHASE).code is ResponseCode.DO_NOT_HONOUR
    assert CAIN.to_code(answer) is ResponseCode.DO_NOT_HONOUR


def test_a_void_of_a_preauthorisation_is_an_authorisation() -> None:
    original = OriginalData(kind=Kind.PREAUTHORISATION, mti="0100", stan="000016")
    void = replace(PURCHASE, kind=Kind.VOID, original=original)
    request = CAIN.to_request(void, leg_of(void))
    assert request.message_id == "cain.001.001.04"
    assert CAIN.to_transaction(over_the_wire(request)) == void


@pytest.mark.parametrize("acted", [Kind.PURCHASE, Kind.REFUND])
def test_a_void_of_anything_else_is_a_void(acted: Kind) -> None:
    original = OriginalData(kind=acted, mti="0200", stan="000016")
    void = replace(PURCHASE, kind=Kind.VOID, original=original)
    request = CAIN.to_request(void, leg_of(void))
    read = CAIN.to_transaction(over_the_wire(request))
    assert read.kind is Kind.VOID
    assert read.original is not None
    assert read.original.stan == "000016"


def test_an_original_of_a_kind_that_cain_has_not_has_no_type() -> None:
    original = OriginalData(kind=Kind.FILE_UPDATE, mti="0300", stan="000016")
    request = CAIN.to_request(
        replace(PURCHASE, kind=Kind.COMPLETION, original=original), LEG
    )
    assert "OrgnlDataElmts/TxTp" not in request.leaves
    read = CAIN.to_transaction(over_the_wire(request)).original
    assert read is not None
    assert read.stan == "000016"


def test_a_request_may_name_no_card_and_no_amount() -> None:
    for txn in (
        replace(PURCHASE, pan=None, expiry="", track2=None, card_sequence=""),
        replace(PURCHASE, kind=Kind.BALANCE_INQUIRY, amount=None),
    ):
        request = over_the_wire(CAIN.to_request(txn, leg_of(txn)))
        assert CAIN.to_transaction(request) == txn


def test_cash_in_another_currency_has_a_place() -> None:
    txn = replace(
        PURCHASE, kind=Kind.PURCHASE_WITH_CASHBACK, cashback=Money(100, "840")
    )
    assert CAIN.to_transaction(CAIN.to_request(txn, leg_of(txn))) == txn


def test_no_secret_is_shown() -> None:
    message = CAIN.to_request(PURCHASE, LEG)
    shown = dict(message.described())
    assert shown["Card/PAN"] == "476173******0010"
    assert "4761739001010010" not in repr(message)
    assert dict(message.described(unsafe=True))["Card/PAN"] == "4761739001010010"


def test_text_that_xml_cannot_carry_is_refused() -> None:
    with pytest.raises(EncodeError, match="Accptr/NmAndLctn: a character"):
        CAIN.to_request(replace(PURCHASE, merchant_name="a\x01b"), LEG)


@pytest.mark.skipif(not samples(), reason="no iso20022/samples beside the repository")
def test_the_samples_are_read() -> None:
    kinds = {}
    judge = CainDialect(_judges())
    for path in samples():
        name = Path(path).name
        if name.startswith("cain.") and "001.04" in name:
            message = judge.decode((FOLDER / path).read_bytes())
            if message.family in {"cain.001", "cain.003", "cain.005"}:
                kinds[name.partition("_")[2]] = CAIN.to_transaction(message).kind
    assert kinds == {
        "nfc_purchase_authorisation_request.xml": Kind.PREAUTHORISATION,
        "offline_approved_advice.xml": Kind.PREAUTHORISATION,
        "preauthorisation_estimated_amount.xml": Kind.PREAUTHORISATION,
        "completion_of_preauthorisation_capture_advice.xml": Kind.COMPLETION,
        "qr_purchase_financial_request.xml": Kind.PURCHASE,
        "refund_request.xml": Kind.REFUND,
        "timeout_reversal_advice.xml": Kind.REVERSAL,
        "timeout_reversal_advice_repeat.xml": Kind.REVERSAL,
    }
