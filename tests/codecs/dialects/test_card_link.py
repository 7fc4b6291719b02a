"""cain as links see it: a view with numbers, and bytes to authenticate."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.codecs.canonical.errors import DecodeError, EncodeError
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.secrets import PinBlock
from isoswitch.codecs.canonical.transaction import Outcome
from isoswitch.codecs.dialects.card_link import CardLink
from isoswitch.codecs.dialects.dialect import Dialect
from isoswitch.codecs.dialects.registry import get_dialect
from isoswitch.codecs.iso8583.message import Message
from tests.codecs.dialects.strategies import NOW
from tests.codecs.dialects.test_dialect import LEG, PURCHASE

CAIN = get_dialect("cain")
PIN_BLOCK = bytes.fromhex("0123456789ABCDEF")
TXN = replace(PURCHASE, pin_block=PinBlock(PIN_BLOCK))


def request(mac: bytes = b"\x11" * 8) -> Message:
    return CAIN.to_request(TXN, LEG, mac=True).replace({64: mac})


def test_the_view_has_what_links_look_at() -> None:
    message = request()
    assert isinstance(CAIN, CardLink)
    assert message.mti == "0200"
    assert (message[11], str(message[37]).strip()) == (LEG.stan, LEG.rrn)
    assert TXN.pan is not None
    assert message[2] == TXN.pan.reveal()
    assert (message[52], message[64]) == (PIN_BLOCK, b"\x11" * 8)
    assert message[4] == f"{TXN.amount.minor:012d}"
    assert CAIN.codec.decode(message.raw).values() == message.values()


def test_a_mac_covers_everything_before_its_digits() -> None:
    message = request()
    start, end = message.offset(64), message.end(64)
    assert message.raw[start:end] == b"11" * 8
    assert message.raw[:start].endswith(b"<MAC>")
    assert message.raw[end:].startswith(b"</MAC></SctyTrlr></FinInitn></Document>")
    assert message.raw[message.offset(52) : message.end(52)] == b"0123456789ABCDEF"
    other = message.replace({64: b"\x22" * 8, 52: b"\x33" * 8})
    assert (other[64], other[52]) == (b"\x22" * 8, b"\x33" * 8)
    assert len(other.raw) == len(message.raw)


def test_what_is_shown_is_masked() -> None:
    message = request()
    shown = repr(message.masked()) + message.describe() + repr(message)
    assert TXN.pan is not None
    assert TXN.pan.reveal() not in shown
    assert PIN_BLOCK.hex().upper() not in shown.upper()


def test_an_answer_matches_and_echoes_its_request() -> None:
    asked = request()
    outcome = Outcome(code=ResponseCode.APPROVED, approval_code="A1B2C3")
    answer = CAIN.to_response(asked, outcome, mac=True)
    read = CAIN.codec.decode(answer.raw)
    assert read.mti == "0210"
    for de in (2, 3, 4, 11, 37, 41):
        assert read[de] == asked[de]
    assert CAIN.to_outcome(read, TXN) == outcome
    assert CAIN.to_code(read) is ResponseCode.APPROVED


@pytest.mark.parametrize(
    ("planted", "reason"),
    [
        (b"<X/>", "misplaced"),
        (b"<X>1</X>", "misplaced"),
        (b"<!-- x -->", "misplaced"),
        (b"<X><MAC>2222222222222222</MAC></X>", "two places"),
    ],
)
def test_nothing_follows_a_mac_and_it_stands_in_one_place(
    planted: bytes, reason: str
) -> None:
    raw = request().raw.replace(b"</SctyTrlr>", b"</SctyTrlr>" + planted)
    with pytest.raises(DecodeError, match=reason):
        CAIN.codec.decode(raw)


def test_a_mac_before_the_message_is_covered_like_all_that_stands_there() -> None:
    message = request()
    start = message.raw.index(b"<FinInitn>")
    planted = b"<!-- <MAC>2222222222222222</MAC> -->"
    read = CAIN.codec.decode(message.raw[:start] + planted + message.raw[start:])
    assert read[64] == b"\x11" * 8
    assert read.offset(64) == message.offset(64) + len(planted)


@given(cut=st.integers(0, 3000))
def test_what_is_cut_short_is_refused_without_a_value(cut: int) -> None:
    raw = request().raw
    cut = min(cut, len(raw) - 1)
    with pytest.raises(DecodeError) as caught:
        CAIN.codec.decode(raw[:cut])
    assert TXN.pan is not None
    assert TXN.pan.reveal() not in str(caught.value)


@given(raw=st.binary(max_size=200))
def test_anything_else_is_refused(raw: bytes) -> None:
    with pytest.raises(DecodeError):
        CAIN.codec.decode(raw)


@pytest.mark.parametrize("changes", [{55: b"secret"}, {63: "secret"}])
def test_what_cannot_be_changed_says_so_without_its_value(
    changes: dict[int, str | bytes],
) -> None:
    with pytest.raises(EncodeError) as caught:
        request().replace(changes)
    assert "secret" not in str(caught.value)


def test_texts_can_be_changed_and_taken_out() -> None:
    changed = request().replace({41: "ELSEWHER", 4: "000000000007", 42: None})
    assert (changed[41], changed[4], 42 in changed) == (
        "ELSEWHER",
        "000000000007",
        False,
    )
    again = CAIN.to_transaction(changed, reference=NOW, currency="978")
    assert again.amount is not None
    assert (again.terminal_id, again.amount.minor) == ("ELSEWHER", 7)


def test_a_trace_number_can_be_changed_wherever_it_stands() -> None:
    for dialect in (CAIN, get_dialect("caaa")):
        changed = dialect.to_request(TXN, LEG, mac=True).replace({11: "000777"})
        assert changed[11] == "000777"
        read = dialect.to_transaction(changed, reference=NOW, currency="978")
        assert read.stan == "000777"
        assert b"<XchgId>777<" in changed.raw


def test_there_is_no_sign_on() -> None:
    with pytest.raises(EncodeError):
        CAIN.network_request(Kind.SIGN_ON, stan="000001", transmitted_at=NOW)


def test_a_card_number_that_is_too_long_for_a_link_is_no_message() -> None:
    raw = request().raw
    assert TXN.pan is not None
    longer = raw.replace(TXN.pan.reveal().encode(), b"4" * 28)
    with pytest.raises(DecodeError) as caught:
        CAIN.codec.decode(longer)
    assert "4444" not in str(caught.value)


CAAA = get_dialect("caaa")


def test_terminals_messages_have_the_same_view() -> None:
    asked = CAAA.to_request(TXN, LEG, mac=True).replace({64: b"\x11" * 8})
    assert asked.mti == "0200"
    assert (asked[3], asked[11], asked[52]) == ("000000", LEG.stan, PIN_BLOCK)
    assert asked.get(37) is None
    outcome = Outcome(
        code=ResponseCode.APPROVED, approval_code="A1B2C3", balance=Money(-5000, "978")
    )
    answer = CAAA.to_response(asked, outcome, extra={37: "000100000002"}, mac=True)
    read = CAAA.codec.decode(answer.raw)
    assert (read.mti, read[11], read[37]) == ("0210", LEG.stan, "000100000002")
    assert (read[38], read[39], read[54]) == ("A1B2C3", "00", "0002978D000000005000")
    assert dict(read.values()) == {de: read[de] for de in read}
    assert len(read) == len(read.fields)


def test_a_balance_that_no_field_can_tell_is_not_seen() -> None:
    asked = CAAA.to_request(TXN, LEG, mac=True).replace({64: b"\x11" * 8})
    outcome = Outcome(code=ResponseCode.APPROVED, balance=Money(10**12, "978"))
    read = CAAA.codec.decode(CAAA.to_response(asked, outcome, mac=True).raw)
    assert (54 in read, read[39]) == (False, "00")


def test_an_answer_of_an_issuer_keeps_the_reference_that_it_was_asked_with() -> None:
    asked = request()
    outcome = Outcome(code=ResponseCode.APPROVED)
    answer = CAIN.to_response(asked, outcome, extra={37: "000100000002"})
    assert answer[37] == asked[37]
    bare = asked.replace({37: None})
    answer = CAIN.to_response(bare, outcome, extra={37: "000100000002"})
    assert answer[37] == "000100000002"


@pytest.mark.parametrize(
    ("said", "other", "number"),
    [
        (b"<Id>TERM0001<", b"<Id>A-longer-name<", 41),
        (b"<MrchntCtgyCd>5999<", b"<MrchntCtgyCd>0000<", 18),
        (b"<MrchntCtgyCd>5999<", b"<MrchntCtgyCd>abcd<", 18),
        (b"<TtlAmt>12.50<", b"<TtlAmt>12.505<", 4),
        (b"<Ccy>EUR<", b"<Ccy>XXQ<", 49),
        (b"<TxTp>CRDP<", b"<TxTp>QUCH<", 3),
        (b">AQEBAQEBAQE=<", b">AQEBAQEBAQEB<", 64),
    ],
)
def test_what_does_not_fit_is_not_seen(said: bytes, other: bytes, number: int) -> None:
    message = CAAA.to_request(TXN, LEG, mac=True).replace({64: b"\x01" * 8})
    assert said in message.raw
    assert number in message
    read = CAAA.codec.decode(message.raw.replace(said, other))
    assert number not in read
    assert read.mti == "0200"


def test_more_than_an_amount_can_be_is_no_message() -> None:
    raw = CAAA.to_request(TXN, LEG, mac=False).raw
    with pytest.raises(DecodeError, match="more than a link can carry"):
        CAAA.codec.decode(raw.replace(b">12.50<", b">99999999999.00<"))


@pytest.mark.parametrize(
    ("dialect", "said", "other"),
    [
        (CAIN, b"<CreDtTm>2026-12", b"<CreDtTm>99999-12"),
        (CAIN, b"<CreDtTm>2026", b"<CreDtTm>0000"),
        (CAIN, b"<MsgFctn>REQU", b"<MsgFctn>AMND"),
        (CAAA, b"<MsgFctn>FAUQ", b"<MsgFctn>DGNQ"),
        (CAAA, b"T23:59:58Z</CreDtTm>", b"T24:00:01Z</CreDtTm>"),
    ],
)
def test_what_is_no_payment_is_refused(
    dialect: Dialect, said: bytes, other: bytes
) -> None:
    raw = dialect.to_request(TXN, LEG, mac=False).raw
    assert said in raw
    with pytest.raises(DecodeError):
        dialect.codec.decode(raw.replace(said, other))


def test_an_amount_can_be_taken_out_and_none_is_not_changed() -> None:
    without = request().replace({4: None})
    assert 4 not in without
    balance = replace(TXN, kind=Kind.BALANCE_INQUIRY, amount=None)
    asked = CAIN.to_request(balance, LEG, mac=False)
    assert asked.replace({4: "000000000007"}).raw == asked.raw


def test_a_repeat_says_so_and_nothing_else_becomes_of_a_type() -> None:
    for dialect in (CAIN, CAAA):
        message = dialect.to_request(TXN, LEG, mac=True)
        assert message.replace({}, mti="0201").mti == "0201"
        assert b"<ReTrnsmssnCntr>1<" in message.replace({}, mti="0201").raw
        with pytest.raises(EncodeError, match="mti"):
            message.replace({}, mti="0400")


def test_a_pin_block_of_a_terminal_can_be_changed() -> None:
    message = CAAA.to_request(TXN, LEG, mac=True).replace({52: b"\x33" * 8})
    assert message[52] == b"\x33" * 8
    read = CAAA.to_transaction(
        CAAA.codec.decode(message.raw), reference=NOW, currency="978"
    )
    assert read.pin_block == PinBlock(b"\x33" * 8)
    with pytest.raises(DecodeError, match="missing, misplaced"):
        message.offset(2)
