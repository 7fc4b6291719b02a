"""ISO 8583:2003: the 1993 tables with longer amounts, numbers, dates and codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.transaction import OriginalData
from isoswitch.codecs.dialects import original
from isoswitch.codecs.dialects.amounts import (
    find_amount_2003,
    read_amount_2003,
    write_additional_2003,
    write_amount_2003,
)
from isoswitch.codecs.dialects.codes import (
    CODES_2003,
    MEANINGS_2003,
    widen_action_code,
)
from isoswitch.codecs.dialects.dates import (
    format_with_century,
    parse_local_with_century,
)
from isoswitch.codecs.dialects.edition import (
    Amounts,
    Fields,
    FieldValue,
    RequestRow,
    Values,
)
from isoswitch.codecs.dialects.edition1993 import (
    ACCEPTANCES,
    EDITION_1993,
    PARTIAL_REVERSAL,
    REQUESTS,
    meanings_by_answer,
)
from isoswitch.codecs.dialects.entry_mode import (
    CODES_2003 as ENTRY_CODES_2003,
)
from isoswitch.codecs.dialects.entry_mode import Entry, read_2003

VERSION = "2"

REQUESTS_2003: Mapping[Kind, RequestRow] = {
    **REQUESTS,
    Kind.ACCOUNT_VERIFICATION: RequestRow("1", "33", {24: "113"}),
}


def read_entry(code: FieldValue) -> Entry:
    """Read the point-of-service data code."""
    return read_2003(code if isinstance(code, bytes) else code.encode())


def read_amount(values: Values, currency: str) -> Money | None:
    """Read DE 4, which names its own currency."""
    del currency
    text = values.get(4)
    return read_amount_2003(text) if text else None


def write_amount(fields: Fields, amount: Money) -> None:
    """Write DE 4."""
    fields[4] = write_amount_2003(amount)


def write_original_amount(fields: Fields, request: Values) -> None:
    """Write DE 30, the amounts asked for: transaction and reconciliation."""
    fields[30] = f"{request.get(4, '')!s:0>16}{request.get(5, '')!s:0>16}"


def read_remaining(values: Values, amount: Money | None) -> Amounts:
    """Read a partial reversal: DE 30 is what was asked for, DE 4 what stands."""
    asked = values.get(30, "")[:16]
    if values.get(24) != PARTIAL_REVERSAL or not asked:
        return amount, None
    return read_amount_2003(asked), amount


def write_remaining(fields: Fields, remaining: Money) -> None:
    """Move what was asked for to DE 30, and write what stands."""
    write_original_amount(fields, fields)
    write_amount(fields, remaining)
    fields[24] = PARTIAL_REVERSAL


def read_local(values: Values, reference: datetime) -> datetime | None:
    """Read DE 12, a whole date."""
    del reference
    text = values.get(12)
    return parse_local_with_century(text) if text else None


def write_local(fields: Fields, local: datetime) -> None:
    """Write DE 12."""
    fields[12] = format_with_century(local)


def write_original(data: OriginalData, local_at: datetime | None) -> str:
    """Write DE 56, which names the original by its local time."""
    return original.write_2003(data, version=VERSION, local_at=local_at)


EDITION_2003 = replace(
    EDITION_1993,
    version=VERSION,
    requests=REQUESTS_2003,
    answer_codes={
        message_class: {
            **CODES_2003,
            ResponseCode.APPROVED: widen_action_code(acceptance),
        }
        for message_class, acceptance in ACCEPTANCES.items()
    },
    meanings=meanings_by_answer(MEANINGS_2003),
    entry_codes=ENTRY_CODES_2003,
    read_entry=read_entry,
    read_amount=read_amount,
    write_amount=write_amount,
    write_original_amount=write_original_amount,
    read_remaining=read_remaining,
    write_remaining=write_remaining,
    read_local=read_local,
    write_local=write_local,
    find_additional=find_amount_2003,
    write_additional=write_additional_2003,
    read_original=original.read_2003,
    write_original=write_original,
    # DE 49 is verification data in this edition: an answer must not return it.
    echo_fields=EDITION_1993.echo_fields - {49},
    mcc_fields=(26,),
    stan_digits=12,
    has_merchant_name=False,
)
