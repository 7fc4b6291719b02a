"""UnionPay terminals (cup-pos) and hosts (cups-interchange) over the 1987 tables.

Terminals name a transaction by MTI, DE 3, DE 25 and the first two digits of DE 60:

    purchase                 0200 00 00 22      its void             0200 20 00 23
    pre-authorisation        0100 03 06 10      its void             0100 20 06 11
    completion, request      0200 00 06 20      its void             0200 20 06 21
    completion, advice       0220 00 06 24      refund               0220 20 00 25
    balance inquiry          0200 31 00 01      offline purchase     0220 00 00 30

Tips and settlement adjustments (32, 34) change an earlier purchase; read as purchases
they would be charged twice, so they are not served. Network management stands in DE 60
too. A void or refund names its original in DE 61; a reversal repeats the trace number.

Hosts have no DE 60.1: there the function digit of the MTI tells a void from a refund.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from isoswitch.codecs.canonical.codes import Function, Kind, ReversalReason
from isoswitch.codecs.canonical.transaction import OriginalData
from isoswitch.codecs.dialects.codes import CODES_UNIONPAY, MEANINGS_UNIONPAY
from isoswitch.codecs.dialects.edition import Fields, RequestRow, Values
from isoswitch.codecs.dialects.edition1987 import (
    CLASSES,
    EDITION_1987,
    MESSAGE_CLASSES,
    REQUESTS,
)
from isoswitch.codecs.dialects.entry_mode import (
    CODES_UNIONPAY as ENTRY_CODES_UNIONPAY,
)


def _pos(
    message_class: str,
    transaction_type: str,
    condition: str,
    pos_type: str,
    function: Function | None = None,
) -> RequestRow:
    # Batch 000000, no management code, a chip reader, no condition: a terminal that
    # knows better gives its own DE 60.
    constants = {25: condition, 60: f"{pos_type}00000000050"}
    return RequestRow(message_class, transaction_type, constants, function=function)


def _management(function: Function, code: str, message_class: str = "8") -> RequestRow:
    return RequestRow(
        message_class, constants={60: f"00000000{code}"}, function=function
    )


POS_REQUESTS: Mapping[Kind, RequestRow] = {
    Kind.PURCHASE: _pos("2", "00", "00", "22"),
    Kind.PREAUTHORISATION: _pos("1", "03", "06", "10"),
    Kind.COMPLETION: _pos("2", "00", "06", "20"),
    Kind.VOID: _pos("2", "20", "00", "23"),
    Kind.REFUND: _pos("2", "20", "00", "25", Function.ADVICE),
    Kind.BALANCE_INQUIRY: _pos("2", "31", "00", "01"),
    Kind.PAYMENT_CODE: _pos("1", "90", "00", "01"),
    Kind.CODE_STATUS: _pos("1", "32", "00", "01"),
    Kind.REVERSAL: RequestRow("4", function=Function.REQUEST),
    Kind.BATCH_UPLOAD: _management(Function.ADVICE, "201", "3"),
    Kind.RECONCILIATION: _management(Function.REQUEST, "201", "5"),
    Kind.SIGN_ON: _management(Function.REQUEST, "003"),
    Kind.SIGN_OFF: _management(Function.ADVICE, "002"),
    Kind.ECHO: _management(Function.ADVICE, "301"),
}

POS_VOIDS: Mapping[Kind, RequestRow] = {
    Kind.PREAUTHORISATION: _pos("1", "20", "06", "11"),
    Kind.COMPLETION: _pos("2", "20", "06", "21"),
}

# By MTI class, transaction type, DE 25 and DE 60.1.
POS_KINDS: Mapping[str, Kind] = {
    **CLASSES,
    "2000022": Kind.PURCHASE,
    "2000030": Kind.PURCHASE,
    "1030610": Kind.PREAUTHORISATION,
    "2000620": Kind.COMPLETION,
    "2000624": Kind.COMPLETION,
    "2200023": Kind.VOID,
    "1200611": Kind.VOID,
    "2200621": Kind.VOID,
    "2200025": Kind.REFUND,
    "2310001": Kind.BALANCE_INQUIRY,
    "1900001": Kind.PAYMENT_CODE,
    "1320001": Kind.CODE_STATUS,
}

# What a void undoes, and what the reversal of a void undid.
POS_ACTED_KINDS: Mapping[str, Kind] = {
    "2200023": Kind.PURCHASE,
    "1200611": Kind.PREAUTHORISATION,
    "2200621": Kind.COMPLETION,
}

POS_NETWORK_KINDS: Mapping[str, Kind] = {
    "001": Kind.SIGN_ON,
    "002": Kind.SIGN_OFF,
    "003": Kind.SIGN_ON,
    "004": Kind.SIGN_ON,
    "301": Kind.ECHO,
}

POS_REASONS: Mapping[str, ReversalReason] = {
    "17": ReversalReason.CUSTOMER_CANCELLATION,
    "96": ReversalReason.MALFUNCTION,
    "98": ReversalReason.TIMEOUT,
    "A0": ReversalReason.MALFUNCTION,
    "A7": ReversalReason.MALFUNCTION,
}

POS_REASON_CODES: Mapping[ReversalReason, str] = {
    ReversalReason.CUSTOMER_CANCELLATION: "17",
    ReversalReason.MALFUNCTION: "96",
    ReversalReason.TIMEOUT: "98",
}

# Fields that a terminal does not send: the host knows the place and keeps the time.
_NOT_FROM_TERMINALS = (7, 12, 13, 18, 32, 43)

# DE 26: a PIN has up to 12 digits. DE 53: format with PAN, double length key.
_PIN_LENGTH_MAX = "12"
_PIN_WITH_PAN = "2600000000000000"
# In DE 60, after type 2, batch 6, code 3, reading capability 1, chip condition 1.
_PARTIAL_AT = 13


def read_pos_condition(values: Values, mti: str) -> str:
    """Give DE 25 and the transaction type of DE 60."""
    del mti
    condition: str = values.get(25, "") + values.get(60, "")[:2]
    return condition


def read_pos_network_code(values: Values) -> str:
    """Give the management code of DE 60, after type and batch number."""
    code: str = values.get(60, "")[8:11]
    return code


def read_pos_original(
    text: str, *, kind: Kind, rrn: str, reference: datetime
) -> OriginalData:
    """Read DE 61: batch number, trace number and date of the original."""
    del reference  # the date has no time, and no transaction is named by it alone
    message_class = POS_REQUESTS[kind].message_class
    return OriginalData(mti=f"0{message_class}00", stan=text[6:12], rrn=rrn, kind=kind)


def write_pos_original(data: OriginalData, local_at: datetime | None) -> str:
    """Write DE 61 without a batch number, which is not the transaction's."""
    del local_at
    return f"000000{data.stan}"


def finish_pos_request(fields: Fields) -> None:
    """Leave out what a terminal does not say, and say how a PIN is encrypted."""
    for de in _NOT_FROM_TERMINALS:
        fields.pop(de, None)
    if 52 in fields:
        fields[26] = _PIN_LENGTH_MAX
        fields[53] = _PIN_WITH_PAN


def takes_part(values: Values) -> bool:
    """Tell from DE 60, position 14, whether the terminal takes partial approvals."""
    told: str = values.get(60, "")[_PARTIAL_AT : _PARTIAL_AT + 1]
    return told == "1"


CUP_POS = replace(
    EDITION_1987,
    takes_part=takes_part,
    requests=POS_REQUESTS,
    voids=POS_VOIDS,
    kinds=POS_KINDS,
    acted_kinds=POS_ACTED_KINDS,
    read_condition=read_pos_condition,
    network_field=60,
    read_network_code=read_pos_network_code,
    network_kinds=POS_NETWORK_KINDS,
    answer_codes=dict.fromkeys(MESSAGE_CLASSES, CODES_UNIONPAY),
    meanings=dict.fromkeys(EDITION_1987.meanings, MEANINGS_UNIONPAY),
    reasons=POS_REASONS,
    reason_codes=POS_REASON_CODES,
    entry_codes=ENTRY_CODES_UNIONPAY,
    original_field=61,
    original_has_mti=False,
    read_original=read_pos_original,
    write_original=write_pos_original,
    echo_fields=frozenset({2, 3, 4, 11, 23, 25, 32, 37, 41, 42, 49, 60}),
    finish_request=finish_pos_request,
)

INTERCHANGE_REQUESTS: Mapping[Kind, RequestRow] = {
    **{kind: row for kind, row in REQUESTS.items() if kind is not Kind.INCREMENTAL},
    Kind.PREAUTHORISATION: RequestRow("1", "03", {25: "06"}),
    Kind.VOID: RequestRow("2", "20", {25: "00"}, function=Function.REQUEST),
    Kind.REFUND: RequestRow("2", "20", {25: "00"}, function=Function.ADVICE),
    Kind.REVERSAL: RequestRow("4", function=Function.ADVICE),
    Kind.SIGN_ON: RequestRow("8", constants={70: "001"}, function=Function.ADVICE),
    Kind.SIGN_OFF: RequestRow("8", constants={70: "002"}, function=Function.ADVICE),
    Kind.CUTOVER: RequestRow("8", constants={70: "201"}, function=Function.ADVICE),
    Kind.ECHO: RequestRow("8", constants={70: "301"}, function=Function.ADVICE),
}

INTERCHANGE_VOIDS: Mapping[Kind, RequestRow] = {
    Kind.PREAUTHORISATION: RequestRow("1", "20", {25: "06"}, function=Function.REQUEST),
    Kind.COMPLETION: RequestRow("2", "20", {25: "06"}, function=Function.REQUEST),
}

# By MTI class, transaction type, DE 25 and the function digit.
INTERCHANGE_KINDS: Mapping[str, Kind] = {
    **CLASSES,
    "103": Kind.PREAUTHORISATION,
    "200": Kind.PURCHASE,
    "200060": Kind.COMPLETION,
    "200062": Kind.COMPLETION,
    "201": Kind.CASH_WITHDRAWAL,
    "120": Kind.VOID,
    "220000": Kind.VOID,
    "220060": Kind.VOID,
    "220002": Kind.REFUND,
    "209": Kind.PURCHASE_WITH_CASHBACK,
    "231": Kind.BALANCE_INQUIRY,
    "131": Kind.BALANCE_INQUIRY,
    "133": Kind.ACCOUNT_VERIFICATION,
    "234": Kind.MINI_STATEMENT,
}

# Voids by what they undo; a reversal is never of a refund, so it is of a void.
INTERCHANGE_ACTED_KINDS: Mapping[str, Kind] = {
    "220060": Kind.COMPLETION,
    "420002": Kind.VOID,
    "420062": Kind.VOID,
    "400062": Kind.COMPLETION,
}


def read_interchange_condition(values: Values, mti: str) -> str:
    """Give DE 25 and the function digit."""
    condition: str = values.get(25, "")
    return condition + mti[2]


CUPS = replace(
    EDITION_1987,
    requests=INTERCHANGE_REQUESTS,
    voids=INTERCHANGE_VOIDS,
    kinds=INTERCHANGE_KINDS,
    acted_kinds=INTERCHANGE_ACTED_KINDS,
    read_condition=read_interchange_condition,
    answer_codes=CUP_POS.answer_codes,
    meanings=CUP_POS.meanings,
    reasons=POS_REASONS,
    reason_codes=POS_REASON_CODES,
    entry_codes=ENTRY_CODES_UNIONPAY,
    echo_fields=EDITION_1987.echo_fields | {18, 60, 100},
)
