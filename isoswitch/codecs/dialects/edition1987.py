"""ISO 8583:1987: which fields and codes say what.

The edition has no code for a pre-authorisation: DE 25 ``06`` marks one, and with the
original data elements it adds to an earlier one.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from isoswitch.codecs.canonical.codes import Function, Kind, ReversalReason
from isoswitch.codecs.canonical.errors import DecodeError
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.transaction import OriginalData
from isoswitch.codecs.dialects import original
from isoswitch.codecs.dialects.amounts import (
    find_amount,
    numeric_currency,
    write_additional,
)
from isoswitch.codecs.dialects.codes import CODES_1987, MEANINGS_1987
from isoswitch.codecs.dialects.dates import format_day, format_time, parse_local
from isoswitch.codecs.dialects.edition import (
    Amounts,
    Edition,
    Fields,
    FieldValue,
    RequestRow,
    Values,
)
from isoswitch.codecs.dialects.entry_mode import (
    CODES_1987 as ENTRY_CODES_1987,
)
from isoswitch.codecs.dialects.entry_mode import (
    ENTRIES_1987,
    UNKNOWN,
    Entry,
)

VERSION = "0"
MESSAGE_CLASSES = "123456789"

_NORMAL: Mapping[int, FieldValue] = {25: "00"}
_RESERVES: Mapping[int, FieldValue] = {25: "06"}

REQUESTS: Mapping[Kind, RequestRow] = {
    Kind.PURCHASE: RequestRow("2", "00", _NORMAL),
    Kind.CASH_WITHDRAWAL: RequestRow("2", "01", _NORMAL),
    Kind.PURCHASE_WITH_CASHBACK: RequestRow("2", "09", _NORMAL),
    Kind.PREAUTHORISATION: RequestRow("1", "00", _RESERVES),
    Kind.INCREMENTAL: RequestRow("1", "00", _RESERVES),
    Kind.COMPLETION: RequestRow("2", "00", _RESERVES),
    Kind.VOID: RequestRow("2", "02", _NORMAL),
    Kind.REFUND: RequestRow("2", "20", _NORMAL),
    Kind.BALANCE_INQUIRY: RequestRow("2", "31", _NORMAL),
    Kind.MINI_STATEMENT: RequestRow("2", "34", _NORMAL),
    Kind.ACCOUNT_VERIFICATION: RequestRow("1", "33", _NORMAL),
    Kind.PAYMENT_CODE: RequestRow("1", "90", _NORMAL),
    Kind.CODE_STATUS: RequestRow("1", "32", _NORMAL),
    Kind.REVERSAL: RequestRow("4"),
    # File update code 2: change a record.
    Kind.FILE_UPDATE: RequestRow("3", constants={91: "2"}, function=Function.REQUEST),
    Kind.BATCH_UPLOAD: RequestRow("3", "00", _NORMAL),
    Kind.RECONCILIATION: RequestRow("5"),
    Kind.SIGN_ON: RequestRow("8", constants={70: "001"}),
    Kind.SIGN_OFF: RequestRow("8", constants={70: "002"}),
    Kind.KEY_CHANGE: RequestRow("8", constants={70: "101"}),
    Kind.CUTOVER: RequestRow("8", constants={70: "201"}),
    Kind.ECHO: RequestRow("8", constants={70: "301"}),
}

VOIDS: Mapping[Kind, RequestRow] = {
    Kind.PREAUTHORISATION: RequestRow("1", "02", _NORMAL),
}

# Transaction types (DE 3, positions 1 and 2) that one kind answers for, in either of
# the classes that ask for money.
TYPES: Mapping[str, Kind] = {
    "01": Kind.CASH_WITHDRAWAL,
    "02": Kind.VOID,
    "09": Kind.PURCHASE_WITH_CASHBACK,
    "17": Kind.CASH_WITHDRAWAL,
    "20": Kind.REFUND,
    "30": Kind.BALANCE_INQUIRY,
    "32": Kind.CODE_STATUS,
    "31": Kind.BALANCE_INQUIRY,
    "33": Kind.ACCOUNT_VERIFICATION,
    "34": Kind.MINI_STATEMENT,
    "38": Kind.ACCOUNT_VERIFICATION,
    "90": Kind.PAYMENT_CODE,
}

# Types that buy: quasi-cash, cash equivalents and bill payments are purchases too.
PURCHASE_TYPES = ("00", "11", "18", "50")

# Classes and functions whose transaction type does not matter.
CLASSES: Mapping[str, Kind] = {
    "30": Kind.FILE_UPDATE,
    "32": Kind.BATCH_UPLOAD,
    **{f"4{function}": Kind.REVERSAL for function in "024"},
    **{f"5{function}": Kind.RECONCILIATION for function in "024"},
}

KINDS: Mapping[str, Kind] = {
    **CLASSES,
    **{f"1{code}": kind for code, kind in TYPES.items()},
    **{f"2{code}": kind for code, kind in TYPES.items()},
    **{f"1{code}": Kind.PREAUTHORISATION for code in PURCHASE_TYPES},
    **{f"2{code}": Kind.PURCHASE for code in PURCHASE_TYPES},
    "10006+": Kind.INCREMENTAL,
    "20006": Kind.COMPLETION,
    "20006+": Kind.COMPLETION,
}

NETWORK_KINDS: Mapping[str, Kind] = {
    "001": Kind.SIGN_ON,
    "002": Kind.SIGN_OFF,
    "061": Kind.SIGN_ON,
    "062": Kind.SIGN_OFF,
    "063": Kind.SIGN_ON,
    "064": Kind.SIGN_OFF,
    "065": Kind.SIGN_ON,
    "071": Kind.SIGN_ON,
    "072": Kind.SIGN_OFF,
    "081": Kind.SIGN_ON,
    "082": Kind.SIGN_OFF,
    "101": Kind.KEY_CHANGE,
    "160": Kind.KEY_CHANGE,
    "161": Kind.KEY_CHANGE,
    "162": Kind.KEY_CHANGE,
    "163": Kind.KEY_CHANGE,
    "164": Kind.KEY_CHANGE,
    "165": Kind.KEY_CHANGE,
    "201": Kind.CUTOVER,
    "202": Kind.CUTOVER,
    "270": Kind.ECHO,
    "301": Kind.ECHO,
    "302": Kind.CUTOVER,
}

REASONS: Mapping[str, ReversalReason] = {
    "17": ReversalReason.CUSTOMER_CANCELLATION,
    "22": ReversalReason.MALFUNCTION,
    "32": ReversalReason.PARTIAL_COMPLETION,
    "68": ReversalReason.TIMEOUT,
    "82": ReversalReason.TIMEOUT,
    "96": ReversalReason.MALFUNCTION,
}

REASON_CODES: Mapping[ReversalReason, str] = {
    ReversalReason.CUSTOMER_CANCELLATION: "17",
    ReversalReason.MALFUNCTION: "22",
    ReversalReason.PARTIAL_COMPLETION: "32",
    ReversalReason.TIMEOUT: "68",
}


def read_condition(values: Values, mti: str) -> str:
    """Give DE 25, and ``+`` where the message names an original."""
    del mti
    condition: str = values.get(25, "")
    return condition + "+" if 90 in values else condition


def read_network_code(values: Values) -> str:
    """Give DE 70."""
    code: str = values.get(70, "")
    return code


def read_entry(code: FieldValue) -> Entry:
    """Read DE 22; networks that carry four digits fill the last."""
    return ENTRIES_1987.get(str(code)[:3], UNKNOWN)


def read_amount(values: Values, currency: str) -> Money | None:
    """Read DE 4 in the currency of DE 49, or in the default one."""
    digits = values.get(4)
    if not digits:
        return None
    return Money(int(digits), numeric_currency(values.get(49) or currency))


def write_amount(fields: Fields, amount: Money) -> None:
    """Write DE 4 and its currency."""
    fields[4] = f"{amount.minor:012}"
    fields[49] = amount.currency


def write_original_amount(fields: Fields, request: Values) -> None:
    """Leave out the amount asked for: this edition has no field for it."""


def read_remaining(values: Values, amount: Money | None) -> Amounts:
    """Read DE 95, the amount that stands; zeros are a full reversal."""
    digits = str(values.get(95, ""))[:12]
    if not digits or amount is None:
        return amount, None
    if not digits.isdecimal():
        raise DecodeError("no amount", field="95")
    return amount, Money(int(digits), amount.currency) if int(digits) else None


def write_remaining(fields: Fields, remaining: Money) -> None:
    """Write DE 95: the amount that stands, no other amount and no fees."""
    fields[95] = f"{remaining.minor:012}{0:012}C00000000C00000000"


def read_local(values: Values, reference: datetime) -> datetime | None:
    """Read DE 13 and 12; one without the other is no instant."""
    day, time = values.get(13), values.get(12)
    if not (day and time):
        return None
    return parse_local(day, time, reference=reference)


def write_local(fields: Fields, local: datetime) -> None:
    """Write DE 12 and 13."""
    fields[12] = format_time(local)
    fields[13] = format_day(local)


def write_original(data: OriginalData, local_at: datetime | None) -> str:
    """Write DE 90, which names the original by its DE 7."""
    del local_at
    return original.write_1987(data, version=VERSION)


EDITION_1987 = Edition(
    version=VERSION,
    requests=REQUESTS,
    voids=VOIDS,
    kinds=KINDS,
    read_condition=read_condition,
    network_field=70,
    read_network_code=read_network_code,
    network_kinds=NETWORK_KINDS,
    answer_codes=dict.fromkeys(MESSAGE_CLASSES, CODES_1987),
    meanings=dict.fromkeys(
        (
            f"{message_class}{function}"
            for message_class in MESSAGE_CLASSES
            for function in "13"
        ),
        MEANINGS_1987,
    ),
    reason_field=39,
    reasons=REASONS,
    reason_codes=REASON_CODES,
    entry_codes=ENTRY_CODES_1987,
    read_entry=read_entry,
    read_amount=read_amount,
    write_amount=write_amount,
    write_original_amount=write_original_amount,
    read_remaining=read_remaining,
    write_remaining=write_remaining,
    read_local=read_local,
    write_local=write_local,
    find_additional=find_amount,
    write_additional=write_additional,
    original_field=90,
    read_original=original.read_1987,
    write_original=write_original,
    echo_fields=frozenset(
        {2, 3, 4, 7, 11, 12, 13, 15, 23, 24, 25, 32, 33, 37, 41, 42, 49, 70, 90}
    ),
    mcc_fields=(18,),
)
