"""Asking for money back and being answered: camt.056 and camt.029."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Final

from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.iso20022.mapping import Row, Shape, of
from isoswitch.codecs.iso20022.values import (
    AGENT,
    AMOUNT,
    COUNT,
    DAY,
    DECIMAL,
    INSTANT,
    NAME,
    ORIGINAL_MESSAGE,
    REASON,
    TEXT,
    UETR,
    Agent,
    OriginalMessage,
    Reason,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """The name of an investigation and who opened it."""

    case_id: str
    creator: Agent | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """One transfer that its sender wants back."""

    cancellation_id: str = ""
    case: Case | None = None
    original: OriginalMessage | None = None
    instruction_id: str = ""
    end_to_end_id: str = ""
    transaction_id: str = ""
    uetr: str = ""
    clearing_reference: str = ""
    amount: Money | None = None
    settlement_date: date | None = None
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CancellationRequest:
    """camt.056: please give these transfers back."""

    message_id: str
    assigner: Agent | None = None
    assignee: Agent | None = None
    created_at: datetime
    case: Case | None = None
    count: int | None = None
    control_sum: Decimal | None = None
    recalls: tuple[Recall, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RecallStatus:
    """The answer about one transfer."""

    status_id: str = ""
    case: Case | None = None
    original: OriginalMessage | None = None
    instruction_id: str = ""
    end_to_end_id: str = ""
    transaction_id: str = ""
    clearing_reference: str = ""
    uetr: str = ""
    status: str = ""
    reasons: tuple[Reason, ...] = ()
    amount: Money | None = None
    settlement_date: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """camt.029: how an investigation ended, such as IPAY, CNCL or RJCR.

    A promise moves no money: that does the pacs.004 that follows.
    """

    message_id: str
    assigner: Agent | None = None
    assignee: Agent | None = None
    created_at: datetime
    case: Case | None = None
    confirmation: str = ""
    statuses: tuple[RecallStatus, ...] = ()


_ASSIGNMENT: Final = (
    Row("message_id", "Assgnmt/Id", NAME),
    Row("assigner", "Assgnmt/Assgnr/Agt", AGENT),
    Row("assignee", "Assgnmt/Assgne/Agt", AGENT),
    Row("created_at", "Assgnmt/CreDtTm", INSTANT),
)
_CASE: Final = of(
    Shape(
        Case,
        (
            Row("case_id", "Id", NAME),
            Row("creator", "Cretr/Agt", AGENT),
        ),
    )
)
_IDS: Final = (
    Row("original", "OrgnlGrpInf", ORIGINAL_MESSAGE),
    Row("instruction_id", "OrgnlInstrId", NAME),
    Row("end_to_end_id", "OrgnlEndToEndId", NAME),
    Row("transaction_id", "OrgnlTxId", NAME),
)
_RECALL: Final = Shape(
    Recall,
    (
        Row("cancellation_id", "CxlId", NAME),
        Row("case", "Case", _CASE),
        *_IDS,
        Row("uetr", "OrgnlUETR", UETR),
        Row("clearing_reference", "OrgnlClrSysRef", NAME),
        Row("amount", "OrgnlIntrBkSttlmAmt", AMOUNT),
        Row("settlement_date", "OrgnlIntrBkSttlmDt", DAY),
        Row("reasons", "CxlRsnInf", REASON, many=True),
    ),
)
CANCELLATION_REQUEST: Final = Shape(
    CancellationRequest,
    (
        *_ASSIGNMENT,
        Row("case", "Case", _CASE),
        Row("count", "CtrlData/NbOfTxs", COUNT),
        Row("control_sum", "CtrlData/CtrlSum", DECIMAL),
        Row("recalls", "Undrlyg/TxInf", of(_RECALL), many=True),
    ),
)
_RECALL_STATUS: Final = Shape(
    RecallStatus,
    (
        Row("status_id", "CxlStsId", NAME),
        Row("case", "RslvdCase", _CASE),
        *_IDS,
        Row("clearing_reference", "OrgnlClrSysRef", NAME),
        Row("uetr", "OrgnlUETR", UETR),
        Row("status", "TxCxlSts", TEXT),
        Row("reasons", "CxlStsRsnInf", REASON, many=True),
        Row("amount", "OrgnlIntrBkSttlmAmt", AMOUNT),
        Row("settlement_date", "OrgnlIntrBkSttlmDt", DAY),
    ),
)
RESOLUTION: Final = Shape(
    Resolution,
    (
        *_ASSIGNMENT,
        Row("case", "RslvdCase|Case", _CASE),
        Row("confirmation", "Sts/Conf", TEXT),
        Row("statuses", "CxlDtls/TxInfAndSts", of(_RECALL_STATUS), many=True),
    ),
)
