"""ISO 8583:1993: which fields and codes say what.

The function code (DE 24) refines the MTI, and DE 39 is an action code of three
digits whose first one tells the class of what it accepts.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from isoswitch.codecs.canonical.codes import (
    Function,
    Kind,
    ResponseCode,
    ReversalReason,
)
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.transaction import OriginalData
from isoswitch.codecs.dialects import edition1987, original
from isoswitch.codecs.dialects.amounts import find_amount, write_additional
from isoswitch.codecs.dialects.codes import (
    CODES_1993,
    MEANINGS_1993,
    Meanings,
    meanings_for,
)
from isoswitch.codecs.dialects.dates import format_with_year, parse_local_with_year
from isoswitch.codecs.dialects.edition import (
    Amounts,
    Edition,
    Fields,
    FieldValue,
    RequestRow,
    Values,
)
from isoswitch.codecs.dialects.entry_mode import (
    CODES_1993 as ENTRY_CODES_1993,
)
from isoswitch.codecs.dialects.entry_mode import Entry, read_1993

VERSION = "1"
PARTIAL_REVERSAL = "401"

REQUESTS: Mapping[Kind, RequestRow] = {
    Kind.PURCHASE: RequestRow("2", "00", {24: "200"}),
    Kind.CASH_WITHDRAWAL: RequestRow("2", "01", {24: "200"}),
    Kind.PURCHASE_WITH_CASHBACK: RequestRow("2", "09", {24: "200"}),
    Kind.PREAUTHORISATION: RequestRow("1", "00", {24: "101"}),
    Kind.INCREMENTAL: RequestRow("1", "00", {24: "107"}),
    Kind.COMPLETION: RequestRow("2", "00", {24: "202"}),
    Kind.VOID: RequestRow("2", "02", {24: "200"}),
    Kind.REFUND: RequestRow("2", "20", {24: "200"}),
    Kind.BALANCE_INQUIRY: RequestRow("1", "31", {24: "108"}),
    Kind.MINI_STATEMENT: RequestRow("1", "34", {24: "108"}),
    Kind.ACCOUNT_VERIFICATION: RequestRow("1", "33", {24: "108"}),
    Kind.PAYMENT_CODE: RequestRow("1", "90", {24: "108"}),
    Kind.CODE_STATUS: RequestRow("1", "32", {24: "108"}),
    Kind.REVERSAL: RequestRow("4", constants={24: "400"}),
    Kind.FILE_UPDATE: RequestRow("3", constants={24: "302"}, function=Function.REQUEST),
    Kind.BATCH_UPLOAD: RequestRow("3", "00", {24: "301"}),
    Kind.RECONCILIATION: RequestRow("5", constants={24: "500"}),
    Kind.SIGN_ON: RequestRow("8", constants={24: "801"}, origin="4"),
    Kind.SIGN_OFF: RequestRow("8", constants={24: "802"}, origin="4"),
    Kind.KEY_CHANGE: RequestRow("8", constants={24: "811"}, origin="4"),
    Kind.CUTOVER: RequestRow("8", constants={24: "821"}, origin="4"),
    Kind.ECHO: RequestRow("8", constants={24: "831"}, origin="4"),
}

VOIDS: Mapping[Kind, RequestRow] = {
    Kind.PREAUTHORISATION: RequestRow("1", "02", {24: "100"}),
}

KINDS: Mapping[str, Kind] = {
    **edition1987.CLASSES,
    **{f"1{code}": kind for code, kind in edition1987.TYPES.items()},
    **{f"2{code}": kind for code, kind in edition1987.TYPES.items()},
    **{f"1{code}": Kind.PREAUTHORISATION for code in edition1987.PURCHASE_TYPES},
    **{f"2{code}": Kind.PURCHASE for code in edition1987.PURCHASE_TYPES},
    # Supplementary authorisations and previously approved ones (DE 24).
    "100106": Kind.INCREMENTAL,
    "100107": Kind.INCREMENTAL,
    "200201": Kind.COMPLETION,
    "200202": Kind.COMPLETION,
}

NETWORK_KINDS: Mapping[str, Kind] = {
    "801": Kind.SIGN_ON,
    "802": Kind.SIGN_OFF,
    "811": Kind.KEY_CHANGE,
    "821": Kind.CUTOVER,
    "831": Kind.ECHO,
}

REASONS: Mapping[str, ReversalReason] = {
    "4000": ReversalReason.CUSTOMER_CANCELLATION,
    "4002": ReversalReason.MALFUNCTION,
    "4004": ReversalReason.PARTIAL_COMPLETION,
    "4006": ReversalReason.TIMEOUT,
    "4007": ReversalReason.MALFUNCTION,
    "4017": ReversalReason.MALFUNCTION,
    "4021": ReversalReason.TIMEOUT,
}

REASON_CODES: Mapping[ReversalReason, str] = {
    ReversalReason.CUSTOMER_CANCELLATION: "4000",
    ReversalReason.MALFUNCTION: "4002",
    ReversalReason.PARTIAL_COMPLETION: "4004",
    ReversalReason.TIMEOUT: "4021",
}

# The action code that accepts a message of each class.
ACCEPTANCES: Mapping[str, str] = {
    **dict.fromkeys("129", "000"),
    **{message_class: f"{message_class}00" for message_class in "345678"},
}


def read_condition(values: Values, mti: str) -> str:
    """Give the function code."""
    del mti
    code: str = values.get(24, "")
    return code


def read_network_code(values: Values) -> str:
    """Give the function code."""
    code: str = values.get(24, "")
    return code


def read_entry(code: FieldValue) -> Entry:
    """Read the point-of-service data code."""
    return read_1993(str(code))


def write_original_amount(fields: Fields, request: Values) -> None:
    """Write DE 30, the amounts asked for: transaction and reconciliation."""
    fields[30] = f"{request.get(4, '')!s:0>12}{request.get(5, '')!s:0>12}"


def read_remaining(values: Values, amount: Money | None) -> Amounts:
    """Read a partial reversal: DE 30 is what was asked for, DE 4 what stands."""
    asked = values.get(30, "")[:12]
    if read_network_code(values) != PARTIAL_REVERSAL or not asked or amount is None:
        return amount, None
    return Money(int(asked), amount.currency), amount


def write_remaining(fields: Fields, remaining: Money) -> None:
    """Move what was asked for to DE 30, and write what stands."""
    write_original_amount(fields, fields)
    edition1987.write_amount(fields, remaining)
    fields[24] = PARTIAL_REVERSAL


def read_local(values: Values, reference: datetime) -> datetime | None:
    """Read DE 12."""
    text = values.get(12)
    return parse_local_with_year(text, reference=reference) if text else None


def write_local(fields: Fields, local: datetime) -> None:
    """Write DE 12."""
    fields[12] = format_with_year(local)


def write_original(data: OriginalData, local_at: datetime | None) -> str:
    """Write DE 56, which names the original by its local time."""
    return original.write_1993(data, version=VERSION, local_at=local_at)


def meanings_by_answer(meanings: Meanings) -> Mapping[str, Meanings]:
    """Give the codes that an answer of each MTI class and function may carry."""
    return {
        message_class + function: meanings_for(meanings, message_class, function)
        for message_class in edition1987.MESSAGE_CLASSES
        for function in "13"
    }


EDITION_1993 = Edition(
    version=VERSION,
    requests=REQUESTS,
    voids=VOIDS,
    kinds=KINDS,
    read_condition=read_condition,
    network_field=24,
    read_network_code=read_network_code,
    network_kinds=NETWORK_KINDS,
    answer_codes={
        message_class: {**CODES_1993, ResponseCode.APPROVED: acceptance}
        for message_class, acceptance in ACCEPTANCES.items()
    },
    meanings=meanings_by_answer(MEANINGS_1993),
    reason_field=25,
    reasons=REASONS,
    reason_codes=REASON_CODES,
    entry_codes=ENTRY_CODES_1993,
    read_entry=read_entry,
    read_amount=edition1987.read_amount,
    write_amount=edition1987.write_amount,
    write_original_amount=write_original_amount,
    read_remaining=read_remaining,
    write_remaining=write_remaining,
    read_local=read_local,
    write_local=write_local,
    find_additional=find_amount,
    write_additional=write_additional,
    original_field=56,
    read_original=original.read_1993,
    write_original=write_original,
    echo_fields=frozenset(
        {2, 3, 4, 5, 7, 11, 12, 15, 23, 24, 28, 32, 33, 37, 41, 42, 49, 56, 93, 94}
    ),
    mcc_fields=(26, 18),
)
