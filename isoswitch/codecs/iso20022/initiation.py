"""A customer asks its bank to pay, and is told what became of it: pain.001 and 002."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Final

from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.iso20022.mapping import Row, Shape, of
from isoswitch.codecs.iso20022.values import (
    ACCOUNT,
    AGENT,
    AMOUNT,
    COUNT,
    DAY,
    DECIMAL,
    INSTANT,
    PARTY,
    REASON,
    TEXT,
    Account,
    Agent,
    Party,
    Reason,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One payment that a customer wants made."""

    end_to_end_id: str
    instruction_id: str = ""
    uetr: str = ""
    amount: Money | None = None
    creditor_agent: Agent | None = None
    creditor: Party | None = None
    creditor_account: Account | None = None
    purpose: str = ""
    remittance: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderGroup:
    """Payments from one account on one day."""

    group_id: str
    method: str = "TRF"
    count: int | None = None
    control_sum: Decimal | None = None
    service_level: str = ""
    local_instrument: str = ""
    execute_on: date | None = None
    debtor: Party
    debtor_account: Account
    debtor_agent: Agent
    charge_bearer: str = ""
    orders: tuple[Order, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Initiation:
    """pain.001: please pay."""

    message_id: str
    created_at: datetime
    count: int
    control_sum: Decimal | None = None
    initiator: Party
    groups: tuple[OrderGroup, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderStatus:
    """What became of one payment."""

    status_id: str = ""
    instruction_id: str = ""
    end_to_end_id: str = ""
    uetr: str = ""
    status: str = ""
    reasons: tuple[Reason, ...] = ()
    accepted_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderGroupStatus:
    """What became of the payments of one account."""

    group_id: str
    status: str = ""
    reasons: tuple[Reason, ...] = ()
    orders: tuple[OrderStatus, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class InitiationStatus:
    """pain.002: what became of a pain.001."""

    message_id: str
    created_at: datetime
    original_message_id: str
    original_message_name: str
    status: str = ""
    reasons: tuple[Reason, ...] = ()
    groups: tuple[OrderGroupStatus, ...] = ()


_ORDER: Final = Shape(
    Order,
    (
        Row("instruction_id", "PmtId/InstrId", TEXT),
        Row("end_to_end_id", "PmtId/EndToEndId", TEXT),
        Row("uetr", "PmtId/UETR", TEXT),
        Row("amount", "Amt/InstdAmt", AMOUNT),
        Row("creditor_agent", "CdtrAgt", AGENT),
        Row("creditor", "Cdtr", PARTY),
        Row("creditor_account", "CdtrAcct", ACCOUNT),
        Row("purpose", "Purp/Cd", TEXT),
        Row("remittance", "RmtInf/Ustrd", TEXT, many=True),
    ),
)
_ORDER_GROUP: Final = Shape(
    OrderGroup,
    (
        Row("group_id", "PmtInfId", TEXT),
        Row("method", "PmtMtd", TEXT),
        Row("count", "NbOfTxs", COUNT),
        Row("control_sum", "CtrlSum", DECIMAL),
        Row("service_level", "PmtTpInf/SvcLvl/Cd", TEXT),
        Row("local_instrument", "PmtTpInf/LclInstrm/Cd", TEXT),
        Row("execute_on", "ReqdExctnDt/Dt|ReqdExctnDt", DAY),
        Row("debtor", "Dbtr", PARTY),
        Row("debtor_account", "DbtrAcct", ACCOUNT),
        Row("debtor_agent", "DbtrAgt", AGENT),
        Row("charge_bearer", "ChrgBr", TEXT),
        Row("orders", "CdtTrfTxInf", of(_ORDER), many=True),
    ),
)
INITIATION: Final = Shape(
    Initiation,
    (
        Row("message_id", "GrpHdr/MsgId", TEXT),
        Row("created_at", "GrpHdr/CreDtTm", INSTANT),
        Row("count", "GrpHdr/NbOfTxs", COUNT),
        Row("control_sum", "GrpHdr/CtrlSum", DECIMAL),
        Row("initiator", "GrpHdr/InitgPty", PARTY),
        Row("groups", "PmtInf", of(_ORDER_GROUP), many=True),
    ),
)
_ORDER_STATUS: Final = Shape(
    OrderStatus,
    (
        Row("status_id", "StsId", TEXT),
        Row("instruction_id", "OrgnlInstrId", TEXT),
        Row("end_to_end_id", "OrgnlEndToEndId", TEXT),
        Row("uetr", "OrgnlUETR", TEXT),
        Row("status", "TxSts", TEXT),
        Row("reasons", "StsRsnInf", REASON, many=True),
        Row("accepted_at", "AccptncDtTm", INSTANT),
    ),
)
_ORDER_GROUP_STATUS: Final = Shape(
    OrderGroupStatus,
    (
        Row("group_id", "OrgnlPmtInfId", TEXT),
        Row("status", "PmtInfSts", TEXT),
        Row("reasons", "StsRsnInf", REASON, many=True),
        Row("orders", "TxInfAndSts", of(_ORDER_STATUS), many=True),
    ),
)
INITIATION_STATUS: Final = Shape(
    InitiationStatus,
    (
        Row("message_id", "GrpHdr/MsgId", TEXT),
        Row("created_at", "GrpHdr/CreDtTm", INSTANT),
        Row("original_message_id", "OrgnlGrpInfAndSts/OrgnlMsgId", TEXT),
        Row("original_message_name", "OrgnlGrpInfAndSts/OrgnlMsgNmId", TEXT),
        Row("status", "OrgnlGrpInfAndSts/GrpSts", TEXT),
        Row("reasons", "OrgnlGrpInfAndSts/StsRsnInf", REASON, many=True),
        Row("groups", "OrgnlPmtInfAndSts", of(_ORDER_GROUP_STATUS), many=True),
    ),
)
