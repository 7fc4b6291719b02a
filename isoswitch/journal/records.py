"""The journal's records: what became true, in the order it became true."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from isoswitch.codecs.canonical.values import quick


class RecordKind(StrEnum):
    """What a record says; the state of a transaction is its last one."""

    BOOT = "boot"
    OPENED = "opened"
    SENDING = "sending"
    ANSWERED = "answered"
    TIMED_OUT = "timed_out"
    NOT_WRITTEN = "not_written"
    CLOSED = "closed"
    REFUSED = "refused"
    REPEATED = "repeated"
    LATE = "late"
    UNMATCHED = "unmatched"
    REVERSAL_OWED = "reversal_owed"
    ADVICE_OWED = "advice_owed"
    EXPIRED = "expired"
    VOIDED = "voided"
    STOOD_IN = "stood_in"
    FORWARDED = "forwarded"
    DELIVERED = "delivered"
    QUARANTINED = "quarantined"
    EXCEPTION = "exception"
    LINK = "link"
    CONDITION = "condition"
    OPERATOR = "operator"
    CHECKPOINT = "checkpoint"
    BUSINESS_DAY = "business_day"
    SETTLEMENT = "settlement"
    CODE = "code"
    RECEIVED = "received"
    REPORTED = "reported"


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One fact about one transaction (or about the node, with an empty id).

    ``at`` is UTC in ISO 8601 with microseconds and ``Z``. ``body`` is JSON-able and
    masked: it holds what ``isoswitch show`` prints and nothing that is secret.
    """

    kind: RecordKind
    transaction_id: str
    at: str
    body: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainedRecord:
    """A record in its place in the chain; ``hash`` covers all before it."""

    seq: int
    record: Record
    hash: bytes
