"""The header of a message, and what systems tell each other: head.001 and admi."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from isoswitch.codecs.iso20022.mapping import Row, Shape, of
from isoswitch.codecs.iso20022.values import (
    AGENT,
    EVENT_CODE,
    FLAG,
    INSTANT,
    TEXT,
    Agent,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BusinessHeader:
    """head.001: from whom to whom a message goes, under which name."""

    sender: Agent | None = None
    receiver: Agent | None = None
    message_id: str
    message_name: str
    service: str = ""
    created_at: datetime
    is_possible_duplicate: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """admi.002: a message could not be read; ``location`` names an element of it."""

    reference: str
    reason: str
    rejected_at: datetime | None = None
    location: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemEvent:
    """admi.004: something happened that everybody must know, such as a cutover."""

    code: str
    parameters: tuple[str, ...] = ()
    description: str = ""
    happened_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What was done about one message."""

    reference: str
    message_name: str = ""
    status: str
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptAcknowledgement:
    """admi.007: these messages arrived."""

    message_id: str
    created_at: datetime | None = None
    receipts: tuple[Receipt, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventAcknowledgement:
    """admi.011: the event was noticed."""

    message_id: str
    reference: str = ""
    code: str = ""
    parameters: tuple[str, ...] = ()
    description: str = ""
    happened_at: datetime | None = None


BUSINESS_HEADER: Final = Shape(
    BusinessHeader,
    (
        Row("sender", "Fr/FIId", AGENT),
        Row("receiver", "To/FIId", AGENT),
        Row("message_id", "BizMsgIdr", TEXT),
        Row("message_name", "MsgDefIdr", TEXT),
        Row("service", "BizSvc", TEXT),
        Row("created_at", "CreDt", INSTANT),
        Row("is_possible_duplicate", "PssblDplct", FLAG),
    ),
)
REJECTION: Final = Shape(
    Rejection,
    (
        Row("reference", "RltdRef/Ref", TEXT),
        Row("reason", "Rsn/RjctgPtyRsn", TEXT),
        Row("rejected_at", "Rsn/RjctnDtTm", INSTANT),
        Row("location", "Rsn/ErrLctn", TEXT),
        Row("description", "Rsn/RsnDesc", TEXT),
    ),
)
SYSTEM_EVENT: Final = Shape(
    SystemEvent,
    (
        Row("code", "EvtInf/EvtCd", EVENT_CODE),
        Row("parameters", "EvtInf/EvtParam", TEXT, many=True),
        Row("description", "EvtInf/EvtDesc", TEXT),
        Row("happened_at", "EvtInf/EvtTm", INSTANT),
    ),
)
_RECEIPT: Final = Shape(
    Receipt,
    (
        Row("reference", "RltdRef/Ref", TEXT),
        Row("message_name", "RltdRef/MsgNm", TEXT),
        Row("status", "ReqHdlg/StsCd", TEXT),
        Row("description", "ReqHdlg/Desc", TEXT),
    ),
)
RECEIPT_ACKNOWLEDGEMENT: Final = Shape(
    ReceiptAcknowledgement,
    (
        Row("message_id", "MsgId/MsgId", TEXT),
        Row("created_at", "MsgId/CreDtTm", INSTANT),
        Row("receipts", "Rpt", of(_RECEIPT), many=True),
    ),
)
EVENT_ACKNOWLEDGEMENT: Final = Shape(
    EventAcknowledgement,
    (
        Row("message_id", "MsgId", TEXT),
        Row("reference", "OrgtrRef", TEXT),
        Row("code", "AckDtls/EvtCd", TEXT),
        Row("parameters", "AckDtls/EvtParam", TEXT, many=True),
        Row("description", "AckDtls/EvtDesc", TEXT),
        Row("happened_at", "AckDtls/EvtTm", INSTANT),
    ),
)
