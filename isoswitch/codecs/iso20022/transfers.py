"""Moving money between institutions: pacs.008, 009, 002, 004, 007, 028 and 029."""

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
    NAME,
    ORIGINAL_MESSAGE,
    PARTY,
    REASON,
    SIGN,
    TEXT,
    UETR,
    Account,
    Agent,
    OriginalMessage,
    Party,
    Reason,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """One payment of a customer, on its way between two institutions.

    ``uetr`` follows it from end to end; ``accepted_at`` starts the clock of an instant
    transfer.
    """

    end_to_end_id: str
    amount: Money
    charge_bearer: str = "SLEV"
    debtor: Party
    debtor_agent: Agent
    creditor_agent: Agent
    creditor: Party
    instruction_id: str = ""
    transaction_id: str = ""
    uetr: str = ""
    clearing_reference: str = ""
    service_level: str = ""
    local_instrument: str = ""
    category_purpose: str = ""
    settlement_date: date | None = None
    accepted_at: datetime | None = None
    instructed_amount: Money | None = None
    instructing_agent: Agent | None = None
    instructed_agent: Agent | None = None
    debtor_account: Account | None = None
    creditor_account: Account | None = None
    purpose: str = ""
    remittance: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerTransfer:
    """pacs.008: pay these customers."""

    message_id: str
    created_at: datetime
    count: int
    settlement_method: str = "CLRG"
    control_sum: Decimal | None = None
    total: Money | None = None
    settlement_date: date | None = None
    clearing_system: str = ""
    instructing_agent: Agent | None = None
    instructed_agent: Agent | None = None
    transfers: tuple[Transfer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BankTransfer:
    """One payment of an institution to another."""

    end_to_end_id: str
    amount: Money
    debtor: Agent
    creditor: Agent
    instruction_id: str = ""
    transaction_id: str = ""
    uetr: str = ""
    settlement_date: date | None = None
    instructing_agent: Agent | None = None
    instructed_agent: Agent | None = None
    debtor_account: Account | None = None
    debtor_agent: Agent | None = None
    creditor_agent: Agent | None = None
    creditor_account: Account | None = None
    remittance: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class InstitutionTransfer:
    """pacs.009: pay these institutions, such as their positions of a window."""

    message_id: str
    created_at: datetime
    count: int
    settlement_method: str = "CLRG"
    control_sum: Decimal | None = None
    total: Money | None = None
    settlement_date: date | None = None
    clearing_system: str = ""
    transfers: tuple[BankTransfer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupStatus:
    """What became of a whole message."""

    message_id: str
    message_name: str
    created_at: datetime | None = None
    status: str = ""
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferStatus:
    """What became of one transfer; ``status`` such as ACSC or RJCT."""

    status: str = ""
    status_id: str = ""
    original: OriginalMessage | None = None
    instruction_id: str = ""
    end_to_end_id: str = ""
    transaction_id: str = ""
    uetr: str = ""
    reasons: tuple[Reason, ...] = ()
    accepted_at: datetime | None = None
    settlement_date: date | None = None
    clearing_reference: str = ""
    instructing_agent: Agent | None = None
    instructed_agent: Agent | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusReport:
    """pacs.002: what became of a message and its transfers."""

    message_id: str
    created_at: datetime
    instructing_agent: Agent | None = None
    instructed_agent: Agent | None = None
    groups: tuple[GroupStatus, ...] = ()
    statuses: tuple[TransferStatus, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusQuestion:
    """Which transfer somebody asks about."""

    request_id: str = ""
    original: OriginalMessage | None = None
    instruction_id: str = ""
    end_to_end_id: str = ""
    transaction_id: str = ""
    uetr: str = ""
    accepted_at: datetime | None = None
    clearing_reference: str = ""
    instructing_agent: Agent | None = None
    instructed_agent: Agent | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusRequest:
    """pacs.028: what became of these transfers?"""

    message_id: str
    created_at: datetime
    instructing_agent: Agent | None = None
    instructed_agent: Agent | None = None
    originals: tuple[OriginalMessage, ...] = ()
    questions: tuple[StatusQuestion, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnedTransfer:
    """One transfer sent back by who received it."""

    returned_amount: Money
    return_id: str = ""
    original: OriginalMessage | None = None
    instruction_id: str = ""
    end_to_end_id: str = ""
    transaction_id: str = ""
    uetr: str = ""
    clearing_reference: str = ""
    original_amount: Money | None = None
    original_settlement_date: date | None = None
    settlement_date: date | None = None
    charge_bearer: str = ""
    instructing_agent: Agent | None = None
    instructed_agent: Agent | None = None
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentReturn:
    """pacs.004: money goes back to where it came from."""

    message_id: str
    created_at: datetime
    count: int
    settlement_method: str = "CLRG"
    control_sum: Decimal | None = None
    total: Money | None = None
    settlement_date: date | None = None
    clearing_system: str = ""
    instructing_agent: Agent | None = None
    instructed_agent: Agent | None = None
    original: OriginalMessage | None = None
    returns: tuple[ReturnedTransfer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReversedTransfer:
    """One transfer undone by who sent it."""

    reversed_amount: Money
    reversal_id: str = ""
    original: OriginalMessage | None = None
    instruction_id: str = ""
    end_to_end_id: str = ""
    transaction_id: str = ""
    uetr: str = ""
    clearing_reference: str = ""
    original_amount: Money | None = None
    settlement_date: date | None = None
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentReversal:
    """pacs.007: a collection is undone by who made it."""

    message_id: str
    created_at: datetime
    count: int
    control_sum: Decimal | None = None
    total: Money | None = None
    settlement_date: date | None = None
    settlement_method: str = ""
    clearing_system: str = ""
    instructing_agent: Agent | None = None
    instructed_agent: Agent | None = None
    original: OriginalMessage | None = None
    reversals: tuple[ReversedTransfer, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """One participant's part of a settlement: by BIC, or by the system's number."""

    movement_id: str
    amount: Money
    is_credit: bool
    bic: str = ""
    participant: str = ""
    account: Account | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """The movements of one settlement, whose sum is zero."""

    instruction_id: str
    cycle: str = ""
    count: int | None = None
    movements: tuple[Movement, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlementRequest:
    """pacs.029: settle these net positions, all or none."""

    message_id: str
    created_at: datetime
    count: int
    settlement_method: str = ""
    clearing_system: str = ""
    settlements: tuple[Settlement, ...]


_GROUP: Final = (
    Row("message_id", "GrpHdr/MsgId", NAME),
    Row("created_at", "GrpHdr/CreDtTm", INSTANT),
)
_GROUP_AGENTS: Final = (
    Row("instructing_agent", "GrpHdr/InstgAgt", AGENT),
    Row("instructed_agent", "GrpHdr/InstdAgt", AGENT),
)
_COUNTS: Final = (
    Row("count", "GrpHdr/NbOfTxs", COUNT),
    Row("control_sum", "GrpHdr/CtrlSum", DECIMAL),
)
_SETTLEMENT: Final = (
    Row("settlement_date", "GrpHdr/IntrBkSttlmDt", DAY),
    Row("settlement_method", "GrpHdr/SttlmInf/SttlmMtd", TEXT),
    Row("clearing_system", "GrpHdr/SttlmInf/ClrSys/Cd", TEXT),
)
_AGENTS: Final = (
    Row("instructing_agent", "InstgAgt", AGENT),
    Row("instructed_agent", "InstdAgt", AGENT),
)
_PAYMENT_ID: Final = (
    Row("instruction_id", "PmtId/InstrId", NAME),
    Row("end_to_end_id", "PmtId/EndToEndId", NAME),
    Row("transaction_id", "PmtId/TxId", NAME),
    Row("uetr", "PmtId/UETR", UETR),
)
ORIGINAL_IDS: Final = (
    Row("original", "OrgnlGrpInf", ORIGINAL_MESSAGE),
    Row("instruction_id", "OrgnlInstrId", NAME),
    Row("end_to_end_id", "OrgnlEndToEndId", NAME),
    Row("transaction_id", "OrgnlTxId", NAME),
    Row("uetr", "OrgnlUETR", UETR),
)

_TRANSFER: Final = Shape(
    Transfer,
    (
        *_PAYMENT_ID,
        Row("clearing_reference", "PmtId/ClrSysRef", NAME),
        Row("service_level", "PmtTpInf/SvcLvl/Cd", TEXT),
        Row("local_instrument", "PmtTpInf/LclInstrm/Cd", TEXT),
        Row("category_purpose", "PmtTpInf/CtgyPurp/Cd", TEXT),
        Row("amount", "IntrBkSttlmAmt", AMOUNT),
        Row("settlement_date", "IntrBkSttlmDt", DAY),
        Row("accepted_at", "AccptncDtTm|AddtlDtTm/AccptncDtTm", INSTANT),
        Row("instructed_amount", "InstdAmt", AMOUNT),
        Row("charge_bearer", "ChrgBr", TEXT),
        *_AGENTS,
        Row("debtor", "Dbtr", PARTY),
        Row("debtor_account", "DbtrAcct", ACCOUNT),
        Row("debtor_agent", "DbtrAgt", AGENT),
        Row("creditor_agent", "CdtrAgt", AGENT),
        Row("creditor", "Cdtr", PARTY),
        Row("creditor_account", "CdtrAcct", ACCOUNT),
        Row("purpose", "Purp/Cd", TEXT),
        Row("remittance", "RmtInf/Ustrd", TEXT, many=True),
    ),
)
CUSTOMER_TRANSFER: Final = Shape(
    CustomerTransfer,
    (
        *_GROUP,
        *_COUNTS,
        Row("total", "GrpHdr/TtlIntrBkSttlmAmt", AMOUNT),
        *_SETTLEMENT,
        *_GROUP_AGENTS,
        Row("transfers", "CdtTrfTxInf", of(_TRANSFER), many=True),
    ),
)
_BANK_TRANSFER: Final = Shape(
    BankTransfer,
    (
        *_PAYMENT_ID,
        Row("amount", "IntrBkSttlmAmt", AMOUNT),
        Row("settlement_date", "IntrBkSttlmDt", DAY),
        *_AGENTS,
        Row("debtor", "Dbtr", AGENT),
        Row("debtor_account", "DbtrAcct", ACCOUNT),
        Row("debtor_agent", "DbtrAgt", AGENT),
        Row("creditor_agent", "CdtrAgt", AGENT),
        Row("creditor", "Cdtr", AGENT),
        Row("creditor_account", "CdtrAcct", ACCOUNT),
        Row("remittance", "RmtInf/Ustrd", TEXT, many=True),
    ),
)
INSTITUTION_TRANSFER: Final = Shape(
    InstitutionTransfer,
    (
        *_GROUP,
        *_COUNTS,
        Row("total", "GrpHdr/TtlIntrBkSttlmAmt", AMOUNT),
        *_SETTLEMENT,
        Row("transfers", "CdtTrfTxInf", of(_BANK_TRANSFER), many=True),
    ),
)
_GROUP_STATUS: Final = Shape(
    GroupStatus,
    (
        Row("message_id", "OrgnlMsgId", NAME),
        Row("message_name", "OrgnlMsgNmId", NAME),
        Row("created_at", "OrgnlCreDtTm", INSTANT),
        Row("status", "GrpSts", TEXT),
        Row("reasons", "StsRsnInf", REASON, many=True),
    ),
)
_TRANSFER_STATUS: Final = Shape(
    TransferStatus,
    (
        Row("status_id", "StsId", NAME),
        *ORIGINAL_IDS,
        Row("status", "TxSts", TEXT),
        Row("reasons", "StsRsnInf", REASON, many=True),
        Row("accepted_at", "AccptncDtTm", INSTANT),
        Row("settlement_date", "FctvIntrBkSttlmDt/Dt", DAY),
        Row("clearing_reference", "ClrSysRef", NAME),
        *_AGENTS,
    ),
)
STATUS_REPORT: Final = Shape(
    StatusReport,
    (
        *_GROUP,
        *_GROUP_AGENTS,
        Row("groups", "OrgnlGrpInfAndSts", of(_GROUP_STATUS), many=True),
        Row("statuses", "TxInfAndSts", of(_TRANSFER_STATUS), many=True),
    ),
)
_STATUS_QUESTION: Final = Shape(
    StatusQuestion,
    (
        Row("request_id", "StsReqId", NAME),
        *ORIGINAL_IDS,
        Row("accepted_at", "AccptncDtTm", INSTANT),
        Row("clearing_reference", "ClrSysRef", NAME),
        *_AGENTS,
    ),
)
STATUS_REQUEST: Final = Shape(
    StatusRequest,
    (
        *_GROUP,
        *_GROUP_AGENTS,
        Row("originals", "OrgnlGrpInf", ORIGINAL_MESSAGE, many=True),
        Row("questions", "TxInf", of(_STATUS_QUESTION), many=True),
    ),
)
_RETURNED: Final = Shape(
    ReturnedTransfer,
    (
        Row("return_id", "RtrId", NAME),
        *ORIGINAL_IDS,
        Row("clearing_reference", "OrgnlClrSysRef", NAME),
        Row("original_amount", "OrgnlIntrBkSttlmAmt", AMOUNT),
        Row("original_settlement_date", "OrgnlIntrBkSttlmDt", DAY),
        Row("returned_amount", "RtrdIntrBkSttlmAmt", AMOUNT),
        Row("settlement_date", "IntrBkSttlmDt", DAY),
        Row("charge_bearer", "ChrgBr", TEXT),
        *_AGENTS,
        Row("reasons", "RtrRsnInf", REASON, many=True),
    ),
)
PAYMENT_RETURN: Final = Shape(
    PaymentReturn,
    (
        *_GROUP,
        *_COUNTS,
        Row("total", "GrpHdr/TtlRtrdIntrBkSttlmAmt", AMOUNT),
        *_SETTLEMENT,
        *_GROUP_AGENTS,
        Row("original", "OrgnlGrpInf", ORIGINAL_MESSAGE),
        Row("returns", "TxInf", of(_RETURNED), many=True),
    ),
)
_REVERSED: Final = Shape(
    ReversedTransfer,
    (
        Row("reversal_id", "RvslId", NAME),
        *ORIGINAL_IDS,
        Row("clearing_reference", "OrgnlClrSysRef", NAME),
        Row("original_amount", "OrgnlIntrBkSttlmAmt", AMOUNT),
        Row("reversed_amount", "RvsdIntrBkSttlmAmt", AMOUNT),
        Row("settlement_date", "IntrBkSttlmDt", DAY),
        Row("reasons", "RvslRsnInf", REASON, many=True),
    ),
)
PAYMENT_REVERSAL: Final = Shape(
    PaymentReversal,
    (
        *_GROUP,
        *_COUNTS,
        Row("total", "GrpHdr/TtlRvsdIntrBkSttlmAmt", AMOUNT),
        *_SETTLEMENT,
        *_GROUP_AGENTS,
        Row("original", "OrgnlGrpInf", ORIGINAL_MESSAGE),
        Row("reversals", "TxInf", of(_REVERSED), many=True),
    ),
)
_MOVEMENT: Final = Shape(
    Movement,
    (
        Row("movement_id", "Id", NAME),
        Row("amount", "Amt/Amt", AMOUNT),
        Row("is_credit", "Amt/CdtDbt", SIGN),
        Row("bic", "SttlmAgt/Id/OrgId/AnyBIC", TEXT),
        Row("participant", "SttlmAgt/Id/OrgId/Othr/Id", TEXT),
        Row("account", "SttlmAgtAcct", ACCOUNT),
    ),
)
_SETTLEMENT_SHAPE: Final = Shape(
    Settlement,
    (
        Row("instruction_id", "InstrId", NAME),
        Row("cycle", "SttlmCycl", NAME),
        Row("count", "NbOfMvmntRcrds", COUNT),
        Row("movements", "MvmntRcrd", of(_MOVEMENT), many=True),
    ),
)
SETTLEMENT_REQUEST: Final = Shape(
    SettlementRequest,
    (
        *_GROUP,
        Row("count", "GrpHdr/NbOfSttlmReqs", COUNT),
        Row("settlement_method", "GrpHdr/SttlmInf/SttlmMtd", TEXT),
        Row("clearing_system", "GrpHdr/SttlmInf/ClrSys/Cd", TEXT),
        Row("settlements", "SttlmReq", of(_SETTLEMENT_SHAPE), many=True),
    ),
)
