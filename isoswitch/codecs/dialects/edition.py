"""What one edition of the standard, or a network's reading of it, tells a dialect.

An ``Edition`` is tables, and small functions where a field changed its shape from one
edition to the next. ``Dialect`` is the one reader and writer that is driven by them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from isoswitch.codecs.canonical.codes import (
    Function,
    Kind,
    ResponseCode,
    ReversalReason,
)
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.transaction import OriginalData
from isoswitch.codecs.dialects.codes import Meanings
from isoswitch.codecs.dialects.entry_mode import Entry, EntryKey

FieldValue = str | bytes
# The fields of a message as its codec gives them: text as str, binary as bytes.
Values = Mapping[int, Any]
Fields = dict[int, FieldValue]
# What a reversal is over, and what it leaves standing of that.
Amounts = tuple[Money | None, Money | None]

NO_CONSTANTS: Mapping[int, FieldValue] = MappingProxyType({})


class RequestRow(NamedTuple):
    """How a kind is asked for: MTI class and origin, DE 3 type, fixed fields.

    ``function`` is the only one that a network has for the kind, where it has one.
    """

    message_class: str
    transaction_type: str = ""
    constants: Mapping[int, FieldValue] = NO_CONSTANTS
    origin: str = "0"
    function: Function | None = None


class OriginalReader(Protocol):
    """Reads the original data elements of a reversal."""

    def __call__(
        self, text: str, *, kind: Kind, rrn: str, reference: datetime
    ) -> OriginalData:
        """Give the original that these elements name."""


def takes_no_part(values: Values) -> bool:
    """Say that no field tells whether a terminal can go on with a part."""
    del values
    return False


def finish_nothing(fields: Fields) -> None:
    """Leave a request as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edition:
    """The tables of an edition.

    Parameters
    ----------
    version
        The first digit of the MTI.
    requests
        How each kind is asked for.
    voids
        How a void is asked for, by the kind it undoes, where that makes a difference.
    kinds
        What a request does: by MTI class, transaction type and condition, then by
        MTI class and transaction type, then by MTI class and function.
    read_condition
        The part of the key of ``kinds`` that other fields than MTI and DE 3 decide.
    acted_kinds
        What the original of a reversal or void did, by its own MTI class, transaction
        type and condition, where MTI and DE 3 of the original do not tell.
    network_field, read_network_code, network_kinds
        The field that says what a network management message wants, and its codes.
    answer_codes
        DE 39 of an answer: by MTI class, then by canonical code.
    meanings
        What DE 39 of an answer means: by MTI class and function.
    reason_field, reasons, reason_codes
        The field and the codes that tell why a transaction is reversed. In a
        completion the code of a partial one says that more follow.
    read_remaining, write_remaining
        The amounts of a partial reversal: what was asked for, and what stands of it.
    entry_codes, read_entry
        DE 22, written by table and read by function.
    original_field, original_has_mti, read_original, write_original
        DE 90, DE 56 or a network's own; whether it begins with the original's MTI.
    echo_fields
        What an answer repeats from its request.
    finish_request
        The last word on the fields of a request.
    statement_field
        Where an answer carries the lines of a mini statement.
    takes_part
        Whether a request says that its terminal can go on with a part of the amount.
    chip_in_dataset
        DE 55 wraps its data in a dataset: identifier 01 and two bytes of length.
    """

    version: str
    requests: Mapping[Kind, RequestRow]
    voids: Mapping[Kind, RequestRow]
    kinds: Mapping[str, Kind]
    read_condition: Callable[[Values, str], str]
    network_field: int
    read_network_code: Callable[[Values], str]
    network_kinds: Mapping[str, Kind]
    answer_codes: Mapping[str, Mapping[ResponseCode, str]]
    meanings: Mapping[str, Meanings]
    reason_field: int
    reasons: Mapping[str, ReversalReason]
    reason_codes: Mapping[ReversalReason, str]
    entry_codes: Mapping[EntryKey, FieldValue]
    read_entry: Callable[[FieldValue], Entry]
    read_amount: Callable[[Values, str], Money | None]
    write_amount: Callable[[Fields, Money], None]
    write_original_amount: Callable[[Fields, Values], None]
    read_remaining: Callable[[Values, Money | None], Amounts]
    write_remaining: Callable[[Fields, Money], None]
    read_local: Callable[[Values, datetime], datetime | None]
    write_local: Callable[[Fields, datetime], None]
    find_additional: Callable[..., Money | None]
    write_additional: Callable[[str, str, Money], str]
    original_field: int
    read_original: OriginalReader
    write_original: Callable[[OriginalData, datetime | None], str]
    echo_fields: frozenset[int]
    mcc_fields: tuple[int, ...]
    stan_digits: int = 6
    has_merchant_name: bool = True
    acted_kinds: Mapping[str, Kind] = field(default_factory=dict)
    original_has_mti: bool = True
    finish_request: Callable[[Fields], None] = finish_nothing
    chip_in_dataset: bool = False
    statement_field: int = 48
    takes_part: Callable[[Values], bool] = takes_no_part
    money_classes: str = "12"
