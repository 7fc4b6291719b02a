"""UnionPay terminals and hosts: what names a transaction there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from isoswitch.codecs.canonical.codes import (
    EntryMode,
    Function,
    Kind,
    PinEntry,
    ResponseCode,
    ReversalReason,
)
from isoswitch.codecs.canonical.errors import DecodeError, EncodeError
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.secrets import Pan, PinBlock
from isoswitch.codecs.canonical.transaction import (
    OriginalData,
    Outcome,
    Transaction,
)
from isoswitch.codecs.dialects.dialect import LegNumbers
from isoswitch.codecs.dialects.registry import get_dialect
from tests.codecs.dialects.strategies import NOW

POS = get_dialect("cup-pos")
HOST = get_dialect("cups-interchange")
LEG = LegNumbers(stan="000403", rrn="", transmitted_at=NOW, acquirer_id="03062900")
PURCHASE = Transaction(
    kind=Kind.PURCHASE,
    function=Function.REQUEST,
    stan="000403",
    pan=Pan("6224242900000113"),
    amount=Money(1, "156"),
    entry_mode=EntryMode.CONTACTLESS_CHIP,
    pin_entry=PinEntry.CAPABLE,
    terminal_id="10000019",
    merchant_id="850100082410002",
    pin_block=PinBlock(bytes(8)),
)

# The table of transactions: MTI, DE 3, DE 25, DE 60.1, and what they are.
ROWS = [
    ("0200", "310000", "00", "01", Kind.BALANCE_INQUIRY),
    ("0200", "000000", "00", "22", Kind.PURCHASE),
    ("0400", "000000", "00", "22", Kind.REVERSAL),
    ("0200", "200000", "00", "23", Kind.VOID),
    ("0220", "200000", "00", "25", Kind.REFUND),
    ("0100", "030000", "06", "10", Kind.PREAUTHORISATION),
    ("0100", "200000", "06", "11", Kind.VOID),
    ("0200", "000000", "06", "20", Kind.COMPLETION),
    ("0200", "200000", "06", "21", Kind.VOID),
    ("0220", "000000", "06", "24", Kind.COMPLETION),
    ("0220", "000000", "00", "30", Kind.PURCHASE),
]
CARD = {2: "6224242900000113", 4: "000000000001", 11: "000403", 49: "156"}


@pytest.mark.parametrize(("mti", "code", "condition", "pos_type", "kind"), ROWS)
def test_a_terminal_names_a_transaction_by_four_fields(
    mti: str, code: str, condition: str, pos_type: str, kind: Kind
) -> None:
    fields = {**CARD, 3: code, 25: condition, 60: f"{pos_type}000024000600"}
    message = POS.codec.build(mti, fields)
    txn = POS.to_transaction(message, reference=NOW, currency="156")
    assert txn.kind is kind


@pytest.mark.parametrize("pos_type", ["32", "34"])
def test_an_adjustment_is_never_taken_for_a_purchase(pos_type: str) -> None:
    fields = {**CARD, 3: "000000", 25: "00", 60: f"{pos_type}000024000600"}
    message = POS.codec.build("0220", fields)
    with pytest.raises(DecodeError) as caught:
        POS.to_transaction(message, reference=NOW, currency="156")
    assert caught.value.field == "3"


@pytest.mark.parametrize(
    ("mti", "code", "kind"),
    [
        ("0800", "001", Kind.SIGN_ON),
        ("0800", "003", Kind.SIGN_ON),
        ("0800", "004", Kind.SIGN_ON),
        ("0820", "002", Kind.SIGN_OFF),
        ("0820", "301", Kind.ECHO),
    ],
)
def test_a_terminal_signs_in_by_de_60(mti: str, code: str, kind: Kind) -> None:
    message = POS.codec.build(mti, {11: "000074", 60: f"00000000{code}"})
    txn = POS.to_transaction(message, reference=NOW, currency="156")
    assert (txn.kind, txn.network_code) == (kind, code)


def test_a_parameter_download_is_not_served() -> None:
    message = POS.codec.build("0800", {11: "000074", 60: "00000000360"})
    with pytest.raises(DecodeError) as caught:
        POS.to_transaction(message, reference=NOW, currency="156")
    assert caught.value.field == "60"


@pytest.mark.parametrize(
    ("kind", "mti", "code", "condition", "pos_type"),
    [
        (Kind.PURCHASE, "0200", "200000", "00", "23"),
        (Kind.PREAUTHORISATION, "0100", "200000", "06", "11"),
        (Kind.COMPLETION, "0200", "200000", "06", "21"),
    ],
)
def test_a_void_names_what_it_undoes_in_de_61(
    kind: Kind, mti: str, code: str, condition: str, pos_type: str
) -> None:
    original = OriginalData(mti=f"0{mti[1]}00", stan="000079", kind=kind)
    void = replace(PURCHASE, kind=Kind.VOID, original=original)
    message = POS.to_request(void, LEG, mac=False)
    assert (message.mti, message[3], message[25]) == (mti, code, condition)
    assert str(message[60])[:2] == pos_type
    assert message[61] == "000000000079"
    read = POS.to_transaction(
        POS.codec.decode(message.raw), reference=NOW, currency="156"
    )
    assert (read.kind, read.original) == (Kind.VOID, original)


@pytest.mark.parametrize(
    ("code", "reason"),
    [("98", ReversalReason.TIMEOUT), ("A0", ReversalReason.MALFUNCTION)],
)
def test_a_terminal_reverses_by_its_own_trace_number(
    code: str, reason: ReversalReason
) -> None:
    fields = {**CARD, 3: "030000", 25: "06", 39: code, 60: "1000002400060"}
    txn = POS.to_transaction(
        POS.codec.build("0400", fields), reference=NOW, currency="156"
    )
    assert txn.reversal_reason is reason
    assert txn.original == OriginalData(
        mti="0100", stan="000403", kind=Kind.PREAUTHORISATION
    )


def test_a_pin_says_how_it_is_encrypted() -> None:
    with_pin = POS.to_request(PURCHASE, LEG, mac=True)
    assert (with_pin[22], with_pin[26], with_pin[53]) == (
        "071",
        "12",
        "2600000000000000",
    )
    assert with_pin[64] == bytes(8)
    without = POS.to_request(replace(PURCHASE, pin_block=None), LEG, mac=True)
    assert without[22] == "072"
    assert 26 not in without
    assert 53 not in without


def test_a_terminal_sends_no_place_and_no_time() -> None:
    txn = replace(PURCHASE, mcc="5999", merchant_name="Shop", local_at=NOW)
    message = POS.to_request(txn, LEG, mac=False)
    assert not {7, 12, 13, 18, 32, 43} & set(message.fields)


@pytest.mark.parametrize(
    ("told", "takes_part"),
    [("22000024000501", True), ("22000024000500", False), ("2200002400050", False)],
)
def test_a_terminal_says_whether_it_takes_a_part(told: str, takes_part: bool) -> None:
    message = POS.to_request(PURCHASE, LEG, mac=False, extra={60: told})
    txn = POS.to_transaction(message, reference=NOW, currency="156")
    assert txn.takes_part is takes_part


def test_an_answer_keeps_the_batch_of_its_request() -> None:
    request = POS.to_request(PURCHASE, LEG, mac=False, extra={60: "2200002400060"})
    outcome = Outcome.declined(ResponseCode.CRYPTOGRAPHIC_ERROR)
    response = POS.to_response(request, outcome, extra={12: "101112", 13: "0101"})
    assert response[39] == "A0"
    assert response[60] == "2200002400060"
    assert POS.to_outcome(response, PURCHASE).code is ResponseCode.CRYPTOGRAPHIC_ERROR


def test_what_a_terminal_cannot_ask_is_refused() -> None:
    cash = replace(PURCHASE, kind=Kind.CASH_WITHDRAWAL)
    with pytest.raises(EncodeError, match="cup-pos has no cash_withdrawal"):
        POS.to_request(cash, LEG, mac=False)
    with pytest.raises(EncodeError, match="cup-pos has no key_change"):
        POS.network_request(Kind.KEY_CHANGE, stan="000001", transmitted_at=NOW)


@pytest.mark.parametrize(
    ("mti", "code", "condition", "kind", "acted"),
    [
        ("0200", "200000", "00", Kind.VOID, None),
        ("0220", "200000", "00", Kind.REFUND, None),
        ("0100", "200000", "06", Kind.VOID, None),
        ("0220", "000000", "06", Kind.COMPLETION, None),
        ("0420", "200000", "00", Kind.REVERSAL, Kind.VOID),
        ("0420", "000000", "06", Kind.REVERSAL, Kind.COMPLETION),
        ("0420", "030000", "06", Kind.REVERSAL, Kind.PREAUTHORISATION),
    ],
)
def test_between_hosts_the_function_tells_a_void_from_a_refund(
    mti: str, code: str, condition: str, kind: Kind, acted: Kind | None
) -> None:
    message = HOST.codec.build(mti, {**CARD, 3: code, 25: condition})
    txn = HOST.to_transaction(message, reference=NOW, currency="156")
    assert txn.kind is kind
    assert (txn.original and txn.original.kind) == acted


def test_a_host_signs_on_by_advice() -> None:
    message = HOST.network_request(Kind.SIGN_ON, stan="000001", transmitted_at=NOW)
    assert (message.mti, message[70]) == ("0820", "001")
