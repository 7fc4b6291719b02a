"""Terminals' messages of caaa carry transactions and their outcomes."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from isoswitch.codecs.canonical.codes import (
    EntryMode,
    Function,
    Kind,
    PinEntry,
    ResponseCode,
    ReversalReason,
)
from isoswitch.codecs.canonical.errors import DocumentError, EncodeError
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.secrets import PinBlock, Secret, Track2
from isoswitch.codecs.canonical.transaction import OriginalData, Outcome, Transaction
from isoswitch.codecs.dialects.registry import get_dialect
from isoswitch.codecs.iso20022.caaa import CaaaDialect
from isoswitch.codecs.iso20022.caaa_original import ACTING
from isoswitch.codecs.iso20022.caaa_tables import EXCHANGES, KINDS, REASON_CODES, ROWS
from isoswitch.codecs.iso20022.leaves import CardMessage, read_card_message
from isoswitch.codecs.iso20022.schemas import Mode, Schemas
from tests.codecs.dialects.strategies import NOW, legs, transactions
from tests.codecs.dialects.test_dialect import LEG, PURCHASE
from tests.codecs.iso20022.test_cain import leg_of
from tests.iso20022 import FOLDER, published_into, samples

CAAA = CaaaDialect(Schemas(), Mode.PROFILE)
LOCAL = NOW.replace(tzinfo=None)
ORIGINAL = OriginalData(mti="0200", stan="000016", rrn="636523000016", local_at=LOCAL)
FULL = replace(
    PURCHASE,
    track2=Track2("4761739001010010=31122010000012300000"),
    card_sequence="001",
    pin_block=PinBlock(bytes(range(8))),
    emv=Secret(bytes.fromhex("9F2608C2C12B098F3DA6E3")),
)


@cache
def _judge() -> CaaaDialect:
    ids = [part[0] for each in EXCHANGES.values() for part in each]
    directory = Path(tempfile.mkdtemp(prefix="isoswitch-schemas-"))
    return CaaaDialect(Schemas(published_into(directory, *ids)), Mode.BOTH)


def over_the_wire(message: CardMessage) -> CardMessage:
    """Read a message again, held to our profile and to the published schema."""
    if (FOLDER / "xsd").exists():
        _judge().decode(message.raw)
    again = CAAA.decode(message.raw)
    assert again == message
    return again


def back(txn: Transaction) -> Transaction:
    return CAAA.to_transaction(over_the_wire(CAAA.to_request(txn, leg_of(txn))))


@pytest.mark.parametrize("kind", ROWS)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_a_request_survives(kind: Kind, data: st.DataObject) -> None:
    draw = data.draw
    amount = Money(draw(st.integers(0, 10**12 - 1)), "978")
    txn = replace(
        FULL,
        kind=kind,
        function=draw(st.sampled_from([Function.REQUEST, Function.ADVICE])),
        amount=amount,
        cashback=Money(100, "978") if kind is Kind.PURCHASE_WITH_CASHBACK else None,
        local_at=draw(st.sampled_from([None, LOCAL])),
        entry_mode=draw(st.sampled_from(EntryMode)),
        pin_entry=draw(st.sampled_from(PinEntry)),
        mcc=draw(st.sampled_from(["", "5411"])),
        acquirer_id=draw(st.sampled_from(["", "476173"])),
        terminal_id=draw(st.sampled_from(["", "TERM0001"])),
        merchant_id=draw(st.sampled_from(["", "M1"])),
        merchant_name=draw(st.sampled_from(["", "Corner shop"])),
        rrn=draw(st.sampled_from(["", "636523000017"])),
        is_repeat=draw(st.booleans()),
        pin_block=draw(st.sampled_from([None, FULL.pin_block, PinBlock(bytes(16))])),
        emv=draw(st.sampled_from([None, FULL.emv])),
    )
    assert back(txn) == txn


def carriable(txn: Transaction) -> Transaction:
    """Leave what caaa has no place for: docs/iso20022.md names it."""
    told = txn.function is not Function.REQUEST and txn.kind is not Kind.REVERSAL
    original = txn.original
    names = original is not None and txn.kind in ACTING
    return replace(
        txn,
        function=Function.ADVICE if txn.kind is Kind.REVERSAL else txn.function,
        accounts="0000",
        remaining=None,
        mcc="" if txn.mcc == "0000" else txn.mcc,
        approval_code=txn.approval_code if told or names else "",
        reversal_reason=ReversalReason.UNSPECIFIED
        if txn.reversal_reason not in REASON_CODES
        else txn.reversal_reason,
        original=original
        and replace(
            original,
            mti=f"0{original.mti[1]}00",
            acquirer_id="",
            transmitted_at=None if original.local_at else original.transmitted_at,
        )
        if txn.kind is Kind.REVERSAL or names
        else None,
    )


@pytest.mark.parametrize("name", ["iso87-ascii", "iso87-bcd", "iso93-bcd", "iso2003"])
@pytest.mark.parametrize("kind", [*ROWS, Kind.REVERSAL])
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_a_message_of_iso_8583_survives(
    name: str, kind: Kind, data: st.DataObject
) -> None:
    dialect = get_dialect(name)
    assume(kind in dialect.edition.requests)
    leg = data.draw(legs())
    drawn = data.draw(transactions(dialect, kind, leg))
    txn = carriable(replace(drawn, expiry=data.draw(st.sampled_from(["", "3112"]))))

    def read_again(txn: Transaction) -> Transaction:
        message = dialect.codec.decode(dialect.to_request(txn, leg, mac=False).raw)
        return carriable(dialect.to_transaction(message, reference=NOW, currency="978"))

    read = read_again(txn)
    again = back(read)
    assert again == read
    assert read_again(again) == read
    # As a listener of terminals reads it, with room for a MAC.
    terminal = get_dialect("caaa")
    built = terminal.to_request(read, leg_of(read), mac=True)
    heard = terminal.codec.decode(built.raw)
    assert 64 in heard
    assert terminal.to_transaction(heard, reference=NOW, currency="978") == read


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("reason", ReversalReason)
def test_a_reversal_survives(kind: Kind, reason: ReversalReason) -> None:
    digit = "2" if ROWS[kind].captures else "1"
    original = replace(ORIGINAL, kind=kind, mti=f"0{digit}00")
    txn = replace(
        PURCHASE,
        kind=Kind.REVERSAL,
        function=Function.ADVICE,
        original=original,
        reversal_reason=reason,
    )
    assert back(txn) == txn


def test_a_cancellation_survives() -> None:
    for original in (ORIGINAL, replace(ORIGINAL, local_at=None, transmitted_at=NOW)):
        void = replace(FULL, kind=Kind.VOID, original=original, pin_block=None)
        assert back(void) == void
    bare = replace(ORIGINAL, local_at=None)
    named = back(replace(PURCHASE, kind=Kind.VOID, original=bare)).original
    assert named == replace(bare, transmitted_at=NOW)
    unnamed = back(replace(PURCHASE, kind=Kind.VOID)).original
    assert unnamed is not None
    assert unnamed.stan == PURCHASE.stan


def test_an_original_without_a_reference_number_is_named_by_its_trace_number() -> None:
    original = replace(ORIGINAL, rrn="")
    void = replace(PURCHASE, kind=Kind.VOID, original=original)
    assert back(void) == void


def test_a_request_may_name_no_card_no_expiry_and_no_amount() -> None:
    for txn in (
        replace(PURCHASE, expiry="", track2=None),
        replace(PURCHASE, pan=None, expiry="", track2=None, card_sequence=""),
        replace(PURCHASE, kind=Kind.BALANCE_INQUIRY, amount=None),
    ):
        assert back(txn) == txn


def test_an_answer_names_no_currency_that_nobody_asked_in() -> None:
    asked = replace(PURCHASE, kind=Kind.BALANCE_INQUIRY, amount=None)
    balance = Money(5000, "978")
    outcome = Outcome(code=ResponseCode.APPROVED, balance=balance)
    answer = CAAA.to_response(CAAA.to_request(asked, LEG), outcome, created_at=NOW)
    assert "AuthstnRspn/Tx/TxDtls/Ccy" not in answer.leaves
    assert CAAA.to_outcome(over_the_wire(answer), asked).balance == balance


def test_an_approval_leaves_out_a_balance_in_an_unknown_currency() -> None:
    outcome = Outcome(code=ResponseCode.APPROVED, balance=Money(5000, "999"))
    answer = CAAA.to_response(CAAA.to_request(PURCHASE, LEG), outcome, created_at=NOW)
    told = CAAA.to_outcome(over_the_wire(answer), PURCHASE)
    assert (told.code, told.balance) == (ResponseCode.APPROVED, None)


@pytest.mark.parametrize(
    ("amount", "reason"),
    [
        (None, "Tx/TxDtls/AuthrsdAmt: missing"),
        (Money(10**9, "978"), "Tx/TxDtls/AuthrsdAmt: no part of the requested"),
        (Money(0, "978"), "Tx/TxDtls/AuthrsdAmt: no part of the requested"),
    ],
)
def test_a_partial_approval_without_its_part_is_refused(
    amount: Money | None, reason: str
) -> None:
    outcome = Outcome(code=ResponseCode.PARTIALLY_APPROVED, amount=amount)
    request = CAAA.to_request(PURCHASE, LEG)
    response = CAAA.to_response(request, outcome, created_at=NOW)
    with pytest.raises(DocumentError, match=reason):
        CAAA.to_outcome(response, PURCHASE)


def test_a_time_that_is_none_is_refused_without_its_text() -> None:
    message = CAAA.to_request(FULL, LEG)
    path = "AuthstnReq/Tx/TxId/TxDtTm"
    told = {**message.leaves, path: "4111111111111111-01-01T00:00:00"}
    with pytest.raises(DocumentError, match=r"TxDtTm: not a date and time$"):
        CAAA.to_transaction(replace(message, leaves=told))


def test_an_advice_of_a_decline_stays_one() -> None:
    declined = replace(PURCHASE, function=Function.ADVICE, is_declined=True)
    assert back(declined) == declined
    for word, is_declined in (("0", True), ("1", False), ("true", False)):
        message = CAAA.to_request(declined, LEG)
        path = next(each for each in message.leaves if each.endswith("/TxSucss"))
        told = replace(message, leaves={**message.leaves, path: word})
        assert CAAA.to_transaction(told).is_declined is is_declined


def test_an_approval_code_goes_with_an_advice() -> None:
    advice = replace(PURCHASE, function=Function.ADVICE, approval_code="A1B2C3")
    assert back(advice) == advice


@pytest.mark.parametrize("code", ResponseCode)
def test_an_outcome_survives(code: ResponseCode) -> None:
    outcome = Outcome(
        code=code,
        approval_code="A1B2C3",
        amount=Money(1000, "978") if code is ResponseCode.PARTIALLY_APPROVED else None,
        balance=Money(-5000, "978"),
        emv=Secret(b"\x8a\x02\x30\x30"),
    )
    request = CAAA.to_request(PURCHASE, LEG)
    response = CAAA.to_response(request, outcome, created_at=NOW)
    read = CAAA.to_outcome(over_the_wire(response), PURCHASE)
    assert replace(read, reason="") == outcome


@pytest.mark.parametrize("code", [ResponseCode.APPROVED, ResponseCode.DO_NOT_HONOUR])
def test_advices_and_cancellations_are_answered(code: ResponseCode) -> None:
    for kind, function in (
        (Kind.REVERSAL, Function.ADVICE),
        (Kind.COMPLETION, Function.ADVICE),
        (Kind.VOID, Function.REQUEST),
    ):
        txn = replace(PURCHASE, kind=kind, function=function)
        request = CAAA.to_request(txn, LEG)
        response = CAAA.to_response(request, Outcome(code=code), created_at=NOW)
        assert CAAA.to_outcome(over_the_wire(response), txn).code is code


@pytest.mark.parametrize(
    ("word", "coded", "code"),
    [
        ("APPR", "00", ResponseCode.APPROVED),
        ("APPR", "51", ResponseCode.DO_NOT_HONOUR),
        ("DECL", "00", ResponseCode.DO_NOT_HONOUR),
        ("DECL", "51", ResponseCode.INSUFFICIENT_FUNDS),
        ("TECH", "??", ResponseCode.SYSTEM_MALFUNCTION),
        ("SUSP", "??", ResponseCode.DO_NOT_HONOUR),
        ("APPR", "??", ResponseCode.APPROVED),
    ],
)
def test_a_code_that_contradicts_its_word_declines(
    word: str, coded: str, code: ResponseCode
) -> None:
    request = CAAA.to_request(PURCHASE, LEG)
    answer = CAAA.to_response(
        request, Outcome(code=ResponseCode.APPROVED), created_at=NOW
    )
    at = "AuthstnRspn/TxRspn/AuthstnRslt/RspnToAuthstn/"
    leaves = {**answer.leaves, f"{at}Rspn": word, f"{at}RspnRsn": coded}
    assert CAAA.to_code(replace(answer, leaves=leaves)) is code


def test_what_caaa_has_not_is_refused() -> None:
    for txn, reason in (
        (replace(PURCHASE, kind=Kind.MINI_STATEMENT), "has no mini_statement"),
        (
            replace(PURCHASE, kind=Kind.REVERSAL, remaining=Money(1, "978")),
            "no partial reversal",
        ),
        (replace(PURCHASE, amount=Money(1, "000")), "not a known currency"),
        (replace(PURCHASE, cashback=Money(1, "840")), "cash in another currency"),
    ):
        with pytest.raises(EncodeError, match=reason):
            CAAA.to_request(txn, LEG)
    answer = CAAA.to_response(
        CAAA.to_request(PURCHASE, LEG),
        Outcome(code=ResponseCode.APPROVED),
        created_at=NOW,
    )
    with pytest.raises(EncodeError, match="gets no answer"):
        CAAA.to_response(answer, Outcome(code=ResponseCode.APPROVED), created_at=NOW)
    with pytest.raises(DocumentError, match="not a request"):
        CAAA.to_transaction(answer)
    with pytest.raises(DocumentError, match="another kind"):
        CAAA.to_outcome(answer, replace(PURCHASE, kind=Kind.VOID))


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("Tx/TxDtls/TtlAmt", "1.005", "more decimals"),
        ("Tx/TxTp", "XXXX", "unknown transaction type"),
        ("Tx/TxId/TxRef", "", "missing"),
        ("Tx/TxDtls/ICCRltdData", "???", "not base64"),
        ("Envt/Card/PlainCardData/PAN", "12", "8 to 19 digits"),
    ],
)
def test_a_leaf_that_holds_no_such_value_is_named(
    path: str, value: str, reason: str
) -> None:
    message = CAAA.to_request(FULL, LEG)
    whole = f"AuthstnReq/{path}"
    assert whole in message.leaves
    with pytest.raises(DocumentError, match=reason):
        CAAA.to_transaction(replace(message, leaves={**message.leaves, whole: value}))


@pytest.mark.parametrize("kind", sorted(ACTING - {Kind.VOID}))
def test_what_acts_on_another_names_it_by_all_that_is_known(kind: Kind) -> None:
    original = replace(ORIGINAL, kind=Kind.PREAUTHORISATION, mti="0100")
    txn = replace(
        PURCHASE,
        kind=kind,
        rrn="636523000016",
        approval_code="A1B2C3",
        original=original,
    )
    message = CAAA.to_request(txn, leg_of(txn))
    at = "AuthstnReq/Tx/OrgnlTx/"
    assert message.leaves[f"{at}RcptTxId"] == "636523000016"
    assert message.leaves[f"{at}TxRslt/AuthstnCd"] == "A1B2C3"
    assert CAAA.to_transaction(over_the_wire(message)) == txn


def called(message: CardMessage, function: str) -> CardMessage:
    """Put another function into the header."""
    return replace(message, leaves={**message.leaves, "Hdr/MsgFctn": function})


def changed(message: CardMessage, **texts: str | None) -> CardMessage:
    """Put other texts below ``Tx``, or take them out."""
    leaves = dict(message.leaves)
    body = [*leaves][-1].partition("/")[0]
    for name, text in texts.items():
        leaves.pop(f"{body}/Tx/{name}", None)
        if text is not None:
            leaves[f"{body}/Tx/{name}"] = text
    return replace(message, leaves=leaves)


@pytest.mark.parametrize(
    ("kind", "function", "captured", "read"),
    [
        (Kind.PURCHASE, "FAUQ", "true", Kind.PURCHASE),
        (Kind.PURCHASE, "FAUQ", "1", Kind.PURCHASE),
        (Kind.PURCHASE, "FAUQ", None, Kind.PURCHASE),
        (Kind.PURCHASE, "AUTQ", "false", Kind.PREAUTHORISATION),
        (Kind.PURCHASE, "AUTQ", None, Kind.PREAUTHORISATION),
        (Kind.PURCHASE, "FAUQ", "false", "TxCaptr: contradicts the function"),
        (Kind.PURCHASE, "AUTQ", "true", "TxCaptr: contradicts the function"),
        (Kind.PURCHASE, "FRVA", "true", "MsgFctn: not a function of this message"),
        (Kind.PREAUTHORISATION, "AUTQ", "false", Kind.PREAUTHORISATION),
        (Kind.BALANCE_INQUIRY, "AUTQ", "false", Kind.BALANCE_INQUIRY),
        (Kind.CASH_WITHDRAWAL, "AUTQ", "false", "TxCaptr: this type is captured"),
        (Kind.COMPLETION, "AUTQ", "0", "TxCaptr: this type is captured"),
    ],
)
def test_a_purchase_that_is_not_captured_sets_its_amount_aside(
    kind: Kind, function: str, captured: str | None, read: Kind | str
) -> None:
    message = CAAA.to_request(replace(PURCHASE, kind=kind), LEG)
    message = called(changed(message, TxCaptr=captured), function)
    if isinstance(read, Kind):
        assert CAAA.to_transaction(message).kind is read
        return
    with pytest.raises(DocumentError, match=read):
        CAAA.to_transaction(message)


@pytest.mark.parametrize(
    ("function", "told", "is_reversal"),
    [
        ("FRVA", "true", True),
        ("FRVA", None, True),
        ("RVRA", None, True),
        ("FCMV", "1", True),
        ("FCMV", "false", False),
        ("FCMV", None, False),
        ("FRVA", "false", None),
    ],
)
def test_a_reversal_is_one_by_its_function_or_its_word(
    function: str, told: str | None, *, is_reversal: bool | None
) -> None:
    undo = replace(PURCHASE, kind=Kind.REVERSAL, function=Function.ADVICE)
    message = CAAA.to_request(replace(undo, original=ORIGINAL), LEG)
    message = called(changed(message, Rvsl=told), function)
    if is_reversal is None:
        with pytest.raises(DocumentError, match="Rvsl: contradicts the function"):
            CAAA.to_transaction(message)
        return
    read = CAAA.to_transaction(message)
    assert (read.kind is Kind.REVERSAL) is is_reversal


def test_an_advice_of_a_purchase_that_has_an_original_completes_it() -> None:
    told = replace(
        PURCHASE,
        kind=Kind.COMPLETION,
        function=Function.ADVICE,
        original=replace(ORIGINAL, kind=Kind.PREAUTHORISATION, mti="0100"),
    )
    message = changed(CAAA.to_request(told, LEG), TxTp="CRDP", SvcAttr=None)
    assert CAAA.to_transaction(message).kind is Kind.COMPLETION


def test_a_reversal_that_names_no_original_has_its_numbers() -> None:
    for local_at in (LOCAL, None):
        txn = replace(
            PURCHASE,
            kind=Kind.REVERSAL,
            function=Function.ADVICE,
            local_at=local_at,
            original=ORIGINAL,
        )
        message = CAAA.to_request(txn, LEG)
        bare = {
            path: text for path, text in message.leaves.items() if "OrgnlTx" not in path
        }
        original = CAAA.to_transaction(replace(message, leaves=bare)).original
        assert original is not None
        assert original.stan == LEG.stan
        assert (original.local_at or original.transmitted_at) == (local_at or NOW)


def test_a_repeat_that_is_made_later_has_the_time_of_its_number() -> None:
    txn = replace(PURCHASE, local_at=None)
    message = CAAA.to_request(txn, leg_of(txn))
    later = {**message.leaves, "Hdr/CreDtTm": "2027-01-01T00:00:20Z"}
    assert CAAA.to_transaction(replace(message, leaves=later)) == txn


def test_an_amount_without_a_currency_is_one_of_the_network() -> None:
    message = CAAA.to_request(PURCHASE, LEG)
    bare = dict(message.leaves)
    del bare["AuthstnReq/Tx/TxDtls/Ccy"]
    message = replace(message, leaves=bare)
    assert CAAA.to_transaction(message).amount is None
    assert CAAA.to_transaction(message, currency="978").amount == PURCHASE.amount


def test_a_short_sequence_number_of_a_card_is_filled() -> None:
    message = CAAA.to_request(replace(PURCHASE, card_sequence="001"), LEG)
    path = "AuthstnReq/Envt/Card/PlainCardData/CardSeqNb"
    short = replace(message, leaves={**message.leaves, path: "01"})
    assert CAAA.to_transaction(short).card_sequence == "001"


def test_what_nobody_acts_on_may_be_there_unless_the_profile_judges() -> None:
    raw = CAAA.to_request(PURCHASE, leg_of(PURCHASE)).raw
    more = raw.replace(b"</InitgPty>", b"<Tp>OPOI</Tp></InitgPty>").replace(
        b"<CardDataNtryMd>", b"<CardPres>true</CardPres><CardDataNtryMd>"
    )
    lenient = CaaaDialect(Schemas())
    assert lenient.to_transaction(lenient.decode(more)) == PURCHASE
    with pytest.raises(DocumentError, match="wrong or missing element"):
        CAAA.decode(more)
    for wrong in (
        more.replace(b"<TxRef>", b"<TxRef>1</TxRef><TxRef>"),
        more.replace(b"<TxCaptr>true</TxCaptr>", b""),
        more.replace(b"<Tx>", b"<Tx/><Tx>"),
    ):
        with pytest.raises(DocumentError):
            lenient.decode(wrong)


@pytest.mark.parametrize(
    ("data", "reason", "exchange"),
    [
        (b"no XML", "PARS", None),
        (b"<Document/>", "PARS", None),
        (CAAA.to_request(PURCHASE, LEG).raw.replace(b"TxRef", b"XxRef"), "PARS", "18"),
        (CAAA.to_request(PURCHASE, LEG).raw.replace(b"1.13", b"1.99"), "VERS", "18"),
        (
            CAAA.to_request(PURCHASE, LEG).raw.replace(b"caaa.001", b"caaa.011"),
            "MSGT",
            "18",
        ),
        (
            CAAA.to_request(PURCHASE, LEG).raw.replace(b">18<", b">4761739001010010<"),
            "PARS",
            None,
        ),
        (
            CAAA.to_request(PURCHASE, LEG).raw.replace(b">18<", b">x<"),
            "PARS",
            None,
        ),
    ],
)
def test_what_could_not_be_read_is_told_without_a_value(
    data: bytes, reason: str, exchange: str | None
) -> None:
    fault = DocumentError("not this", path="Document/AccptrAuthstnReq", line=2)
    rejection = CAAA.rejection(data, fault, created_at=NOW)
    schemas = Schemas()
    if (FOLDER / "xsd").exists():
        directory = Path(tempfile.mkdtemp(prefix="isoswitch-schemas-"))
        schemas = Schemas(published_into(directory, "caaa.015.001.06"))
    mode = Mode.BOTH if (FOLDER / "xsd").exists() else Mode.PROFILE
    told = read_card_message(rejection, schemas, mode, lambda _: ())
    assert told.leaves["Rjct/RjctRsn"] == reason
    assert told.leaves["Rjct/AddtlInf"] == str(fault)
    assert told.leaves.get("Hdr/XchgId") == exchange


def test_every_row_is_read_as_its_kind() -> None:
    assert set(KINDS.values()) == set(ROWS)


def test_no_secret_is_shown() -> None:
    shown = dict(CAAA.to_request(FULL, LEG).described())
    assert "4761739001010010" not in str(shown)
    assert "AAECAwQFBgc=" not in str(shown)
    assert shown["AuthstnReq/Envt/Card/PlainCardData/PAN"] == "476173******0010"


@pytest.mark.skipif(not samples(), reason="no iso20022/samples beside the repository")
def test_the_samples_are_read() -> None:
    kinds = {}
    for path in samples():
        if Path(path).name.startswith(("caaa.001", "caaa.003", "caaa.005")):
            base = CaaaDialect(_judge()._schemas, Mode.BASE)
            message = base.decode((FOLDER / path).read_bytes())
            kinds[Path(path).stem.partition("_")[2]] = CAAA.to_transaction(message).kind
    assert kinds == {
        "contactless_purchase_with_capture": Kind.PURCHASE,
        "qr_reservation": Kind.PREAUTHORISATION,
        "reversal_with_capture_after_timeout": Kind.REVERSAL,
        "cancellation_request": Kind.VOID,
    }
