"""Canonical to message and back, for each dialect and kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoswitch.codecs.canonical.codes import (
    EntryMode,
    Function,
    Kind,
    PinEntry,
    ResponseCode,
    ReversalReason,
)
from isoswitch.codecs.canonical.errors import ConfigError, DecodeError, EncodeError
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.secrets import Pan, PinBlock, Secret, Track2
from isoswitch.codecs.canonical.transaction import (
    OriginalData,
    Outcome,
    StatementLine,
    Transaction,
)
from isoswitch.codecs.dialects.dialect import Dialect, LegNumbers
from isoswitch.codecs.dialects.registry import EDITIONS, get_dialect
from isoswitch.codecs.iso8583.message import Message
from tests.codecs.dialects.strategies import (
    AMOUNTS,
    MONEY_KINDS,
    NETWORK_KINDS,
    NOW,
    digits,
    legs,
    texts,
    transactions,
)

ISO_NAMES = ["iso87-ascii", "iso87-bcd", "iso93-ascii", "iso93-bcd", "iso2003"]

DIALECTS = pytest.mark.parametrize("name", ISO_NAMES)

# Every kind of every dialect that carries a card or undoes what one did.
SERVED = [
    (name, kind)
    for name, edition in EDITIONS.items()
    for kind in (*MONEY_KINDS, Kind.REVERSAL)
    if kind in edition.requests
]

PURCHASE = Transaction(
    kind=Kind.PURCHASE,
    function=Function.REQUEST,
    stan="000017",
    rrn="636523000017",
    pan=Pan("4761739001010010"),
    expiry="3112",
    amount=Money(1250, "978"),
    transmitted_at=NOW,
    local_at=datetime.fromisoformat("2026-12-31T23:59:58"),
    entry_mode=EntryMode.CHIP,
    pin_entry=PinEntry.CAPABLE,
    mcc="5999",
    acquirer_id="476173",
    terminal_id="TERM0001",
    merchant_id="MERCHANT1",
    merchant_name="Corner shop",
)
LEG = LegNumbers(
    stan="000018", rrn="636523000018", transmitted_at=NOW, acquirer_id="499999"
)


def over_the_wire(dialect: Dialect, message: Message) -> Message:
    return dialect.codec.decode(message.raw)


def read(dialect: Dialect, message: Message) -> Transaction:
    return dialect.to_transaction(
        over_the_wire(dialect, message), reference=NOW, currency="978"
    )


def build(name: str, mti: str, fields: Mapping[int, str | bytes]) -> Message:
    return get_dialect(name).codec.build(mti, fields)


# Requests


@pytest.mark.parametrize(("name", "kind"), SERVED)
@settings(max_examples=12)
@given(data=st.data())
def test_a_transaction_survives_the_wire(
    name: str, kind: Kind, data: st.DataObject
) -> None:
    dialect = get_dialect(name)
    leg = data.draw(legs())
    txn = data.draw(transactions(dialect, kind, leg))
    message = dialect.to_request(txn, leg, mac=data.draw(st.booleans()))
    assert read(dialect, message) == txn


@DIALECTS
@pytest.mark.parametrize("kind", NETWORK_KINDS)
def test_a_network_request_survives_the_wire(name: str, kind: Kind) -> None:
    dialect = get_dialect(name)
    message = dialect.network_request(kind, stan="000001", transmitted_at=NOW)
    txn = read(dialect, message)
    assert (txn.kind, txn.stan, txn.transmitted_at) == (kind, "000001", NOW)
    assert txn.local_at == NOW.replace(tzinfo=None)
    assert txn.network_code == message[dialect.edition.network_field]
    assert dialect.network_kind(message) is kind


@DIALECTS
@pytest.mark.parametrize("kind", [Kind.BATCH_UPLOAD, Kind.RECONCILIATION])
def test_a_batch_message_keeps_its_kind(name: str, kind: Kind) -> None:
    dialect = get_dialect(name)
    txn = Transaction(kind=kind, function=Function.ADVICE, stan="000001")
    assert read(dialect, dialect.to_request(txn, LEG, mac=False)).kind is kind


@DIALECTS
def test_a_file_update_names_its_file(name: str) -> None:
    dialect = get_dialect(name)
    asked = Transaction(
        kind=Kind.FILE_UPDATE,
        function=Function.REQUEST,
        stan="000001",
        file_name="HOTCARDS",
    )
    message = dialect.to_request(asked, LEG, mac=False)
    txn = read(dialect, message)
    assert (txn.kind, txn.file_name) == (Kind.FILE_UPDATE, "HOTCARDS")
    assert message.mti[1:] == "300"


# MTIs per kind and function: 1987 and 1993.
MTIS = {
    (Kind.PURCHASE, Function.REQUEST, False): ("0200", "1200"),
    (Kind.PURCHASE, Function.REQUEST, True): ("0201", "1201"),
    (Kind.PURCHASE, Function.ADVICE, False): ("0220", "1220"),
    (Kind.PURCHASE, Function.NOTIFICATION, False): ("0240", "1240"),
    (Kind.PREAUTHORISATION, Function.REQUEST, False): ("0100", "1100"),
    (Kind.COMPLETION, Function.ADVICE, True): ("0221", "1221"),
    (Kind.REVERSAL, Function.REQUEST, False): ("0400", "1400"),
    (Kind.REVERSAL, Function.ADVICE, False): ("0420", "1420"),
    (Kind.REVERSAL, Function.ADVICE, True): ("0421", "1421"),
    (Kind.RECONCILIATION, Function.REQUEST, False): ("0500", "1500"),
    (Kind.ECHO, Function.REQUEST, False): ("0800", "1804"),
    (Kind.ECHO, Function.REQUEST, True): ("0801", "1805"),
}


@pytest.mark.parametrize(("asked", "mtis"), MTIS.items())
def test_kind_function_and_repeat_make_the_mti(
    asked: tuple[Kind, Function, bool], mtis: tuple[str, str]
) -> None:
    kind, function, repeat = asked
    txn = replace(PURCHASE, kind=kind, function=function)
    leg = replace(LEG, repeat=repeat)
    for name, mti in zip(("iso87-ascii", "iso93-bcd"), mtis, strict=True):
        assert get_dialect(name).to_request(txn, leg, mac=False).mti == mti


def test_a_purchase_of_1987_is_translated_to_1993() -> None:
    terminal, issuer = get_dialect("iso87-bcd"), get_dialect("iso93-bcd")
    request = terminal.to_request(PURCHASE, LEG, mac=True)
    message = issuer.to_request(read(terminal, request), LEG, mac=True)
    assert message.mti == "1200"
    assert message[3] == "000000"
    assert message[4] == "000000001250"
    assert message[12] == "261231235958"
    assert message[22] == "51010150000C"
    assert message[24] == "200"
    assert message[26] == "5999"
    assert message[41] == "TERM0001"
    assert message[42] == "MERCHANT1      "
    assert message[43] == "Corner shop"
    assert issuer.mac_field(message) == 64
    assert message[64] == bytes(8)


# Numbers of the leg, not of the transaction, go out.
@DIALECTS
def test_a_request_carries_the_numbers_of_its_leg(name: str) -> None:
    dialect = get_dialect(name)
    message = dialect.to_request(PURCHASE, LEG, mac=False)
    assert str(message[11]).endswith("000018")
    assert message[37] == "636523000018"
    assert message[32] == "499999"
    assert dialect.mac_field(message) is None


def test_extra_fields_win_over_ours() -> None:
    dialect = get_dialect("iso87-ascii")
    message = dialect.to_request(PURCHASE, LEG, mac=False, extra={19: "276", 25: "08"})
    assert (message[19], message[25]) == ("276", "08")


def test_a_name_that_the_layout_cannot_hold_is_cut_and_replaced() -> None:
    dialect = get_dialect("iso87-ascii")
    txn = replace(PURCHASE, merchant_name="Café " + "x" * 60)
    message = dialect.to_request(txn, LEG, mac=False)
    assert message[43] == "Caf? " + "x" * 35


def test_track_and_pin_data_stay_out_of_a_reversal() -> None:
    dialect = get_dialect("iso87-ascii")
    txn = replace(
        PURCHASE,
        kind=Kind.REVERSAL,
        function=Function.ADVICE,
        track2=Track2("4761739001010010=31122011212120531127"),
        pin_block=PinBlock(bytes(8)),
        original=OriginalData(mti="0200", stan="000017"),
    )
    message = dialect.to_request(txn, LEG, mac=False)
    assert 35 not in message
    assert 52 not in message


# The MAC stands in the last field: 128 as soon as any field needs the second bitmap.
def test_the_mac_moves_behind_the_original_data() -> None:
    dialect = get_dialect("iso87-bcd")
    original = OriginalData(mti="0200", stan="000017", transmitted_at=NOW)
    txn = replace(PURCHASE, kind=Kind.REVERSAL, original=original)
    message = dialect.to_request(txn, LEG, mac=True)
    assert dialect.mac_field(message) == 128
    assert 64 not in message
    assert message[90] == "0200" + "000017" + "1231235958" + "0" * 22


def test_a_void_follows_what_it_undoes() -> None:
    dialect = get_dialect("iso87-ascii")
    original = OriginalData(mti="0100", stan="000017", kind=Kind.PREAUTHORISATION)
    void = replace(PURCHASE, kind=Kind.VOID, original=original)
    assert dialect.to_request(void, LEG, mac=False).mti == "0100"
    sale = replace(void, original=replace(original, kind=Kind.PURCHASE))
    assert dialect.to_request(sale, LEG, mac=False).mti == "0200"
    assert read(dialect, dialect.to_request(void, LEG, mac=False)).kind is Kind.VOID


# Reversals


def test_an_original_of_the_other_edition_gets_our_version() -> None:
    original = OriginalData(
        mti="0200", stan="000017", transmitted_at=NOW, acquirer_id="476173"
    )
    txn = replace(
        PURCHASE,
        kind=Kind.REVERSAL,
        function=Function.ADVICE,
        original=original,
        reversal_reason=ReversalReason.TIMEOUT,
    )
    message = get_dialect("iso93-bcd").to_request(txn, LEG, mac=False)
    # DE 56 names the original by its local time, which the reversal carries on.
    assert message[56] == "1200" + "000017" + "261231235958" + "06476173"
    assert message[24] == "400"
    assert message[25] == "4021"


def test_an_original_without_times_is_written_with_zeros() -> None:
    txn = replace(
        PURCHASE,
        kind=Kind.REVERSAL,
        local_at=None,
        original=OriginalData(mti="0200", stan="000017"),
    )
    for name, field, value in (
        ("iso87-ascii", 90, "0200000017" + "0" * 32),
        ("iso93-ascii", 56, "1200000017" + "0" * 12 + "00"),
        ("iso2003", 56, "2200000000000017" + "0" * 14),
    ):
        dialect = get_dialect(name)
        message = dialect.to_request(txn, LEG, mac=False)
        assert message[field] == value
        original = read(dialect, message).original
        assert original is not None
        assert original.transmitted_at is None
        assert original.local_at is None


@pytest.mark.parametrize("mti", ["0400", "0401", "0420", "0421"])
def test_a_reversal_without_original_data_means_its_own_trace_number(mti: str) -> None:
    dialect = get_dialect("iso87-bcd")
    message = build(
        "iso87-bcd",
        mti,
        {3: "000000", 4: "000000001250", 11: "000403", 37: "636523000403"},
    )
    txn = read(dialect, message)
    assert txn.kind is Kind.REVERSAL
    assert txn.is_repeat == (mti[3] == "1")
    assert txn.original == OriginalData(
        mti="0200", stan="000403", rrn="636523000403", kind=Kind.PURCHASE
    )


# Dirt met in the field: dates that are none, an MTI of no edition.
def test_a_malformed_original_still_names_its_trace_number() -> None:
    message = build(
        "iso87-ascii",
        "0401",
        {3: "180000", 11: "200331", 90: "313202000033160908064519000000002000000000"},
    )
    txn = read(get_dialect("iso87-ascii"), message)
    assert txn.original == OriginalData(
        mti="3132", stan="020000", acquirer_id="45190000000", kind=Kind.PURCHASE
    )


@pytest.mark.parametrize(
    ("name", "code", "reason"),
    [
        ("iso87-ascii", "17", ReversalReason.CUSTOMER_CANCELLATION),
        ("iso87-ascii", "82", ReversalReason.TIMEOUT),
        ("iso87-ascii", "00", ReversalReason.UNSPECIFIED),
        ("iso93-ascii", "4006", ReversalReason.TIMEOUT),
        ("iso93-ascii", "4017", ReversalReason.MALFUNCTION),
    ],
)
def test_a_reversal_tells_its_reason(
    name: str, code: str, reason: ReversalReason
) -> None:
    dialect = get_dialect(name)
    fields = {3: "000000", 11: "000001", dialect.edition.reason_field: code}
    message = build(name, f"{dialect.edition.version}420", fields)
    assert read(dialect, message).reversal_reason is reason


# Cards


TRACK = "4761739001010010=31122011212120531127"


@DIALECTS
def test_track_2_gives_what_other_fields_do_not(name: str) -> None:
    dialect = get_dialect(name)
    txn = replace(PURCHASE, pan=None, expiry="", track2=Track2(TRACK))
    read_back = read(dialect, dialect.to_request(txn, LEG, mac=False))
    assert read_back.pan == Pan("4761739001010010")
    assert read_back.expiry == "3112"
    assert read_back.track2 == Track2(TRACK)


@pytest.mark.parametrize(
    ("track", "expiry"),
    [
        (f";{TRACK[:35]}?", "3112"),
        (TRACK.replace("=", "D"), "3112"),
        ("4761739001010010==2011212", ""),
        ("4761739001010010", ""),
    ],
    ids=["sentinels", "letter D", "no expiry", "number only"],
)
def test_a_track_is_read_as_it_comes(track: str, expiry: str) -> None:
    fields = {3: "000000", 4: "000000000100", 11: "000001", 35: track}
    txn = read(get_dialect("iso87-ascii"), build("iso87-ascii", "0200", fields))
    assert txn.pan == Pan("4761739001010010")
    assert txn.expiry == expiry


@pytest.mark.parametrize(
    ("code", "currency"), [("978", "978"), ("EUR", "978"), ("JPY", "392")]
)
def test_the_currency_may_be_written_in_letters(code: str, currency: str) -> None:
    fields = {2: "4111111111111111", 3: "000000", 4: "000000000100", 11: "1" * 6}
    message = build("iso87-ascii", "0200", {**fields, 49: code})
    txn = read(get_dialect("iso87-ascii"), message)
    assert txn.amount == Money(100, currency)


def test_an_amount_without_currency_is_in_the_default_one() -> None:
    fields = {2: "4111111111111111", 3: "000000", 4: "000000000100", 11: "1" * 6}
    dialect = get_dialect("iso87-ascii")
    txn = dialect.to_transaction(
        build("iso87-ascii", "0200", fields), reference=NOW, currency="156"
    )
    assert txn.amount == Money(100, "156")


def test_chip_data_of_a_text_layout_is_hexadecimal() -> None:
    dialect = get_dialect("iso87-ascii")
    txn = replace(PURCHASE, emv=Secret(bytes.fromhex("9F2701809F3602005A")))
    message = dialect.to_request(txn, LEG, mac=False)
    assert message[55] == "9F2701809F3602005A"
    fields = {2: "4111111111111111", 3: "000000", 4: "000000000100", 11: "1" * 6}
    private = build("iso87-ascii", "0200", {**fields, 55: "LOYALTY=OFF"})
    assert read(dialect, private).emv is None


# Bad requests: MTI, fields, and the field that the error names.
GOOD = {
    2: "4111111111111111",
    3: "000000",
    4: "000000000100",
    7: "1231235958",
    11: "000001",
    12: "235958",
    13: "1231",
    49: "978",
}
BAD_REQUESTS = {
    "an answer": ("0210", GOOD, "mti"),
    "another edition": ("1200", GOOD, "mti"),
    "file advice of an issuer": ("0342", GOOD, "mti"),
    "administrative": ("0600", GOOD, "mti"),
    "no processing code": ("0200", {**GOOD, 3: None}, "3"),
    "unknown transaction type": ("0200", {**GOOD, 3: "950000"}, "3"),
    "no trace number": ("0200", {**GOOD, 11: None}, "11"),
    "no amount": ("0200", {**GOOD, 4: None}, "4"),
    "no card": ("0200", {**GOOD, 2: None}, "2"),
    "short card number": ("0200", {**GOOD, 2: "411111"}, "2"),
    "short number on the track": ("0200", {**GOOD, 2: None, 35: "4111=3112"}, "35"),
    "senseless transmission date": ("0200", {**GOOD, 7: "1331235958"}, "7"),
    "senseless local time": ("0200", {**GOOD, 12: "245958"}, "12"),
    "unknown currency": ("0200", {**GOOD, 49: "XXQ"}, "49"),
    "unknown network code": ("0800", {11: "000001", 70: "999"}, "70"),
    "no network code": ("0800", {11: "000001"}, "70"),
}


@pytest.mark.parametrize(
    ("mti", "fields", "field"), BAD_REQUESTS.values(), ids=BAD_REQUESTS
)
def test_a_senseless_request_names_the_field(
    mti: str, fields: Mapping[int, str | None], field: str
) -> None:
    present = {de: value for de, value in fields.items() if value is not None}
    message = build("iso87-ascii", mti, present)
    with pytest.raises(DecodeError) as caught:
        read(get_dialect("iso87-ascii"), message)
    assert caught.value.field == field
    for value in present.values():
        assert value not in str(caught.value)


def test_the_error_of_a_senseless_field_tells_its_offset() -> None:
    message = build("iso87-ascii", "0200", {**GOOD, 7: "1331235958"})
    with pytest.raises(DecodeError) as caught:
        read(get_dialect("iso87-ascii"), message)
    assert caught.value.offset == message.offset(7)


def test_a_qr_payment_needs_no_card_number() -> None:
    fields = {de: value for de, value in GOOD.items() if de != 2}
    message = build("iso87-ascii", "0200", {**fields, 22: "032"})
    assert read(get_dialect("iso87-ascii"), message).pan is None


def test_an_empty_field_is_an_absent_one() -> None:
    fields = {2: "", 3: "180000", 4: "000000030000", 11: "100331"}
    txn = read(get_dialect("iso87-ascii"), build("iso87-ascii", "0420", fields))
    assert txn.pan is None


# Partial reversals and completions: the amount that stands, and what says that more
# follows.

PARTIAL = replace(
    PURCHASE,
    kind=Kind.REVERSAL,
    function=Function.ADVICE,
    remaining=Money(400, "978"),
    original=OriginalData(mti="0200", stan="000017"),
)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("iso87-ascii", {4: "000000001250", 95: "000000000400000000000000"}),
        ("iso93-bcd", {4: "000000000400", 24: "401", 30: "000000001250000000000000"}),
        ("iso2003", {4: "9782000000000400", 24: "401", 30: "9782000000001250"}),
    ],
)
def test_a_partial_reversal_tells_what_stands(
    name: str, fields: Mapping[int, str]
) -> None:
    dialect = get_dialect(name)
    message = dialect.to_request(PARTIAL, LEG, mac=False)
    for de, value in fields.items():
        assert str(message[de]).startswith(value)
    txn = read(dialect, message)
    assert (txn.amount, txn.remaining) == (PURCHASE.amount, PARTIAL.remaining)


@DIALECTS
def test_a_reversal_that_leaves_nothing_is_a_full_one(name: str) -> None:
    dialect = get_dialect(name)
    full = dialect.to_request(replace(PARTIAL, remaining=None), LEG, mac=False)
    nothing = full.replace({95: "0" * 24 + "C00000000" * 2})
    for message in (full, nothing):
        txn = read(dialect, message)
        assert (txn.amount, txn.remaining) == (PURCHASE.amount, None)


@pytest.mark.parametrize("name", ["iso93-bcd", "iso2003"])
def test_a_partial_reversal_without_the_amount_asked_for_is_a_full_one(
    name: str,
) -> None:
    dialect = get_dialect(name)
    message = dialect.to_request(PARTIAL, LEG, mac=False)
    txn = read(dialect, message.replace({30: None}))
    assert txn.remaining is None


def test_replacement_amounts_that_are_none_are_refused() -> None:
    dialect = get_dialect("iso87-ascii")
    message = dialect.to_request(PARTIAL, LEG, mac=False)
    with pytest.raises(DecodeError) as caught:
        read(dialect, message.replace({95: "X" * 42}))
    assert caught.value.field == "95"


def test_a_terminal_that_knows_no_partial_completions_cannot_send_one() -> None:
    txn = replace(PURCHASE, kind=Kind.COMPLETION, is_final=False)
    assert get_dialect("iso87-bcd").to_request(txn, LEG, mac=False)[39] == "32"
    assert get_dialect("iso93-bcd").to_request(txn, LEG, mac=False)[25] == "4004"
    with pytest.raises(EncodeError, match="no partial completion"):
        get_dialect("cup-pos").to_request(txn, LEG, mac=False)


@pytest.mark.parametrize(
    ("name", "mti", "code", "is_declined"),
    [
        ("iso87-ascii", "0220", "00", False),
        ("iso87-ascii", "0220", "Y1", False),
        ("iso87-ascii", "0220", "32", False),
        ("iso87-ascii", "0220", "Z1", True),
        ("iso87-ascii", "0220", "51", True),
        ("iso87-ascii", "0200", "51", False),
        ("iso93-ascii", "1220", "000", False),
        ("iso93-ascii", "1220", "116", True),
    ],
)
def test_an_advice_may_tell_of_a_decline(
    name: str, mti: str, code: str, is_declined: bool
) -> None:
    dialect = get_dialect(name)
    advice = dialect.to_request(PURCHASE, LEG, mac=False).replace({39: code}, mti=mti)
    assert read(dialect, advice).is_declined is is_declined


# Answers


def answers_of(
    name: str, outcome: Outcome, txn: Transaction = PURCHASE
) -> tuple[Message, Outcome]:
    dialect = get_dialect(name)
    request = over_the_wire(dialect, dialect.to_request(txn, LEG, mac=False))
    response = dialect.to_response(request, outcome)
    return response, dialect.to_outcome(over_the_wire(dialect, response), txn)


@DIALECTS
@pytest.mark.parametrize("kind", [*MONEY_KINDS, Kind.REVERSAL, *NETWORK_KINDS])
def test_every_response_code_survives_the_wire_for_every_kind(
    name: str, kind: Kind
) -> None:
    txn = replace(PURCHASE, kind=kind)
    for code in ResponseCode:
        # A part of an amount has an amount.
        part = txn.amount if code is ResponseCode.PARTIALLY_APPROVED else None
        _, outcome = answers_of(name, Outcome(code=code, amount=part), txn)
        assert outcome.code is code
        assert bool(outcome.reason) is not code.is_approval


@DIALECTS
@settings(max_examples=30)
@given(data=st.data())
def test_an_outcome_survives_the_wire(name: str, data: st.DataObject) -> None:
    balances = AMOUNTS | AMOUNTS.map(lambda m: Money(-m.minor, m.currency))
    sent = Outcome(
        code=ResponseCode.APPROVED,
        approval_code=data.draw(texts(6)),
        balance=data.draw(st.none() | balances),
        emv=data.draw(st.none() | st.binary(min_size=1, max_size=40).map(Secret)),
    )
    _, outcome = answers_of(name, sent)
    assert outcome == sent


LINES = tuple(
    StatementLine(booked_on=date(2026, 6, day), amount=Money(-day * 100, "978"))
    for day in range(20, 10, -1)
)


@pytest.mark.parametrize(
    "name", [name for name, kind in SERVED if kind is Kind.MINI_STATEMENT]
)
def test_a_mini_statement_brings_ten_lines_home(name: str) -> None:
    inquiry = replace(PURCHASE, kind=Kind.MINI_STATEMENT, amount=None)
    sent = Outcome(code=ResponseCode.APPROVED, statement=(*LINES, LINES[0]))
    _, outcome = answers_of(name, sent, inquiry)
    assert outcome.statement == LINES


@DIALECTS
def test_a_partial_approval_carries_its_amount(name: str) -> None:
    sent = Outcome(code=ResponseCode.PARTIALLY_APPROVED, amount=Money(1000, "978"))
    response, outcome = answers_of(name, sent)
    assert outcome == sent
    if not name.startswith("iso87"):
        half = len(str(response[30])) // 2
        request = get_dialect(name).to_request(PURCHASE, LEG, mac=False)
        assert str(response[30])[:half] == request[4]


@DIALECTS
def test_nothing_is_no_part_of_what_was_asked_for(name: str) -> None:
    with pytest.raises(DecodeError, match="no part of the requested amount"):
        answers_of(
            name,
            Outcome(code=ResponseCode.PARTIALLY_APPROVED, amount=Money(0, "978")),
        )


ECHOED = {
    "iso87-ascii": {2, 3, 4, 7, 11, 12, 13, 25, 32, 37, 41, 42, 49},
    "iso87-bcd": {2, 3, 4, 7, 11, 12, 13, 25, 32, 37, 41, 42, 49},
    "iso93-ascii": {2, 3, 4, 7, 11, 12, 24, 32, 37, 41, 42, 49},
    "iso93-bcd": {2, 3, 4, 7, 11, 12, 24, 32, 37, 41, 42, 49},
    "iso2003": {2, 3, 4, 7, 11, 12, 24, 32, 37, 41, 42},
}


@DIALECTS
def test_an_answer_echoes_what_names_the_transaction_and_nothing_secret(
    name: str,
) -> None:
    dialect = get_dialect(name)
    txn = replace(
        PURCHASE, track2=Track2(TRACK), pin_block=PinBlock(bytes(8)), emv=Secret(b"ab")
    )
    request = over_the_wire(dialect, dialect.to_request(txn, LEG, mac=True))
    response = dialect.to_response(request, Outcome(code=ResponseCode.APPROVED))
    assert set(response.fields) == ECHOED[name] | {39}
    assert response.mti == request.mti[:2] + "10"
    for de in ECHOED[name]:
        assert response[de] == request[de]


@DIALECTS
@given(repeat=st.booleans(), number=digits(12))
def test_an_answer_may_carry_fields_of_this_host(
    name: str, repeat: bool, number: str
) -> None:
    dialect = get_dialect(name)
    request = dialect.to_request(PURCHASE, replace(LEG, repeat=repeat), mac=False)
    outcome = Outcome.declined(ResponseCode.INSUFFICIENT_FUNDS)
    response = dialect.to_response(request, outcome, extra={37: number}, mac=True)
    assert response[37] == number
    assert response.mti[3] == "0"
    assert response[64] == bytes(8)
    assert dialect.mac_field(response) == 64


# DE 39 of an approval in each class, by edition.
@pytest.mark.parametrize(
    ("kind", "codes"),
    [
        (Kind.PURCHASE, ("00", "000", "0000")),
        (Kind.PREAUTHORISATION, ("00", "000", "0000")),
        (Kind.REVERSAL, ("00", "400", "4000")),
        (Kind.RECONCILIATION, ("00", "500", "5000")),
        (Kind.ECHO, ("00", "800", "8000")),
    ],
)
def test_each_class_is_accepted_in_its_own_words(
    kind: Kind, codes: tuple[str, str, str]
) -> None:
    for name, code in zip(("iso87-bcd", "iso93-bcd", "iso2003"), codes, strict=True):
        response, _ = answers_of(
            name, Outcome(code=ResponseCode.APPROVED), replace(PURCHASE, kind=kind)
        )
        assert response[39] == code


def test_a_notification_gets_no_answer() -> None:
    dialect = get_dialect("iso87-ascii")
    txn = replace(PURCHASE, function=Function.NOTIFICATION)
    request = dialect.to_request(txn, LEG, mac=False)
    with pytest.raises(EncodeError, match="no answer"):
        dialect.to_response(request, Outcome(code=ResponseCode.APPROVED))


def test_an_unlisted_response_code_declines() -> None:
    dialect = get_dialect("iso87-ascii")
    for code in ("ZZ", "  ", "7 "):
        answer = build("iso87-ascii", "0210", {11: "000018", 39: code})
        outcome = dialect.to_outcome(answer, PURCHASE)
        assert outcome.code is ResponseCode.DO_NOT_HONOUR
        assert outcome.reason == "unlisted response code"
        assert dialect.to_code(answer) is ResponseCode.DO_NOT_HONOUR


# A purchase answered by an acceptance of another class is not approved.
@pytest.mark.parametrize("code", ["300", "400", "500", "600", "700", "800", "900"])
def test_a_purchase_of_1993_is_approved_by_its_own_codes_only(code: str) -> None:
    answer = build("iso93-ascii", "1210", {11: "000018", 39: code})
    outcome = get_dialect("iso93-ascii").to_outcome(answer, PURCHASE)
    assert not outcome.is_approved


def test_a_code_is_read_without_its_transaction() -> None:
    dialect = get_dialect("iso93-ascii")
    accepted = build("iso93-ascii", "1430", {11: "000018", 39: "400"})
    assert dialect.to_code(accepted) is ResponseCode.APPROVED
    assert dialect.to_code(build("iso93-ascii", "1430", {11: "000018"})) is (
        ResponseCode.DO_NOT_HONOUR
    )


BAD_ANSWERS = {
    "a request": ("0200", {39: "00"}, "mti"),
    "another edition": ("1210", {39: "00"}, "mti"),
    "another class": ("0810", {39: "00"}, "mti"),
    "no response code": ("0210", {11: "000018"}, "39"),
    "partial without amount": ("0210", {39: "10"}, "4"),
    "partial of more": ("0210", {39: "10", 4: "000000001251", 49: "978"}, "4"),
    "partial elsewhere": ("0210", {39: "10", 4: "000000001000", 49: "840"}, "4"),
}


@pytest.mark.parametrize(
    ("mti", "fields", "field"), BAD_ANSWERS.values(), ids=BAD_ANSWERS
)
def test_a_senseless_answer_names_the_field(
    mti: str, fields: Mapping[int, str], field: str
) -> None:
    answer = build("iso87-ascii", mti, fields)
    with pytest.raises(DecodeError) as caught:
        get_dialect("iso87-ascii").to_outcome(answer, PURCHASE)
    assert caught.value.field == field


def test_the_ledger_balance_serves_where_no_available_one_is_given() -> None:
    answer = build("iso87-ascii", "0210", {39: "00", 54: "1001978C000000005000"})
    outcome = get_dialect("iso87-ascii").to_outcome(answer, PURCHASE)
    assert outcome.balance == Money(5000, "978")


@pytest.mark.parametrize(
    ("name", "balance"),
    [
        ("iso87-ascii", Money(10**12, "360")),
        ("iso2003", Money(10**12, "360")),
        ("iso2003", Money(1250, "999")),
    ],
)
def test_an_approval_leaves_out_a_balance_that_cannot_be_told(
    name: str, balance: Money
) -> None:
    sent = Outcome(code=ResponseCode.APPROVED, balance=balance)
    message, outcome = answers_of(name, sent)
    assert 54 not in message
    assert outcome == replace(sent, balance=None)


@pytest.mark.parametrize("item", ["00029783C000000012501", "00029992C000000012500"])
def test_an_approval_does_not_fail_on_a_balance(item: str) -> None:
    answer = build("iso2003", "2210", {39: "0000", 54: item})
    outcome = get_dialect("iso2003").to_outcome(answer, PURCHASE)
    assert (outcome.code, outcome.balance) == (ResponseCode.APPROVED, None)


@DIALECTS
def test_cash_that_cannot_be_told_is_not_asked_for(name: str) -> None:
    txn = replace(
        PURCHASE,
        kind=Kind.PURCHASE_WITH_CASHBACK,
        cashback=Money(10**12, "978"),
    )
    with pytest.raises(EncodeError, match="longer than 12 digits"):
        get_dialect(name).to_request(txn, LEG, mac=False)


def test_cash_in_more_decimals_than_there_are_is_refused() -> None:
    txn = replace(
        PURCHASE, kind=Kind.PURCHASE_WITH_CASHBACK, cashback=Money(5000, "978")
    )
    dialect = get_dialect("iso2003")
    cash = {54: "00409783D000000050001"}
    with pytest.raises(DecodeError) as caught:
        read(dialect, dialect.to_request(txn, LEG, mac=False, extra=cash))
    assert caught.value.field == "54"


# Registry


def test_an_unknown_dialect_is_named_with_those_that_exist() -> None:
    with pytest.raises(ConfigError, match=r"'iso88'.*iso87-ascii"):
        get_dialect("iso88")


def test_a_dialect_is_built_once() -> None:
    assert get_dialect("iso87-bcd") is get_dialect("iso87-bcd")


def test_a_transmission_time_needs_no_utc_reference() -> None:
    dialect = get_dialect("iso87-ascii")
    message = build("iso87-ascii", "0200", {**GOOD, 7: "0101000002"})
    txn = dialect.to_transaction(message, reference=NOW, currency="978")
    assert txn.transmitted_at == datetime(2027, 1, 1, 0, 0, 2, tzinfo=UTC)
