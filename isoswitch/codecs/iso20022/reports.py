"""What happened on an account: camt.052, 053, 054, and asking for it: camt.060."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.iso20022.mapping import Row, Shape, of
from isoswitch.codecs.iso20022.values import (
    ACCOUNT,
    AGENT,
    AMOUNT,
    COUNT,
    DAY,
    FLAG,
    INSTANT,
    SIGN,
    TEXT,
    Account,
    Agent,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """A balance, such as OPBD at the opening and CLBD at the close of a day."""

    kind: str = ""
    amount: Money
    is_credit: bool
    day: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryDetail:
    """One transfer behind an entry."""

    message_id: str = ""
    instruction_id: str = ""
    end_to_end_id: str = ""
    uetr: str = ""
    transaction_id: str = ""
    clearing_reference: str = ""
    amount: Money | None = None
    is_credit: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportEntry:
    """One booking; ``domain``, ``family`` and ``subfamily`` say of what sort."""

    reference: str = ""
    amount: Money
    is_credit: bool
    is_reversal: bool | None = None
    status: str = ""
    booked_on: date | None = None
    value_on: date | None = None
    servicer_reference: str = ""
    domain: str = ""
    family: str = ""
    subfamily: str = ""
    details: tuple[EntryDetail, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountReport:
    """One account of a report; a page where it is long."""

    report_id: str
    page: int | None = None
    is_last_page: bool | None = None
    created_at: datetime | None = None
    begins_at: datetime | None = None
    ends_at: datetime | None = None
    account: Account
    balances: tuple[Balance, ...] = ()
    entries: tuple[ReportEntry, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _ReportMessage:
    message_id: str
    created_at: datetime
    page: int | None = None
    is_last_page: bool | None = None
    reports: tuple[AccountReport, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class IntradayReport(_ReportMessage):
    """camt.052: what happened on these accounts so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement(_ReportMessage):
    """camt.053: what happened on these accounts until the day was closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification(_ReportMessage):
    """camt.054: these postings were made; no balances."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportQuestion:
    """Which report somebody wants, by the name of its message."""

    request_id: str = ""
    message_name: str
    account: Account | None = None
    owner: Agent | None = None
    begins_on: date | None = None
    ends_on: date | None = None
    period_kind: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRequest:
    """camt.060: please report on these accounts."""

    message_id: str
    created_at: datetime
    questions: tuple[ReportQuestion, ...]


_BALANCE: Final = of(
    Shape(
        Balance,
        (
            Row("kind", "Tp/CdOrPrtry/Cd", TEXT),
            Row("amount", "Amt", AMOUNT),
            Row("is_credit", "CdtDbtInd", SIGN),
            Row("day", "Dt/Dt", DAY),
        ),
    )
)
_DETAIL: Final = of(
    Shape(
        EntryDetail,
        (
            Row("message_id", "Refs/MsgId", TEXT),
            Row("instruction_id", "Refs/InstrId", TEXT),
            Row("end_to_end_id", "Refs/EndToEndId", TEXT),
            Row("uetr", "Refs/UETR", TEXT),
            Row("transaction_id", "Refs/TxId", TEXT),
            Row("clearing_reference", "Refs/ClrSysRef", TEXT),
            Row("amount", "Amt", AMOUNT),
            Row("is_credit", "CdtDbtInd", SIGN),
        ),
    )
)
_ENTRY: Final = of(
    Shape(
        ReportEntry,
        (
            Row("reference", "NtryRef", TEXT),
            Row("amount", "Amt", AMOUNT),
            Row("is_credit", "CdtDbtInd", SIGN),
            Row("is_reversal", "RvslInd", FLAG),
            Row("status", "Sts/Cd|Sts", TEXT),
            Row("booked_on", "BookgDt/Dt", DAY),
            Row("value_on", "ValDt/Dt", DAY),
            Row("servicer_reference", "AcctSvcrRef", TEXT),
            Row("domain", "BkTxCd/Domn/Cd", TEXT),
            Row("family", "BkTxCd/Domn/Fmly/Cd", TEXT),
            Row("subfamily", "BkTxCd/Domn/Fmly/SubFmlyCd", TEXT),
            Row("details", "NtryDtls/TxDtls", _DETAIL, many=True),
        ),
    )
)


def _report(element: str, pages: str, model: type[_ReportMessage]) -> Shape[object]:
    """Give the table of a report; the three differ in one element's name."""
    balances = (Row("balances", "Bal", _BALANCE, many=True),)
    report = Shape(
        AccountReport,
        (
            Row("report_id", "Id", TEXT),
            Row("page", f"{pages}/PgNb", COUNT),
            Row("is_last_page", f"{pages}/LastPgInd", FLAG),
            Row("created_at", "CreDtTm", INSTANT),
            Row("begins_at", "FrToDt/FrDtTm", INSTANT),
            Row("ends_at", "FrToDt/ToDtTm", INSTANT),
            Row("account", "Acct", ACCOUNT),
            *(() if element == "Ntfctn" else balances),
            Row("entries", "Ntry", _ENTRY, many=True),
        ),
    )
    return Shape(
        model,
        (
            Row("message_id", "GrpHdr/MsgId", TEXT),
            Row("created_at", "GrpHdr/CreDtTm", INSTANT),
            Row("page", "GrpHdr/MsgPgntn/PgNb", COUNT),
            Row("is_last_page", "GrpHdr/MsgPgntn/LastPgInd", FLAG),
            Row("reports", element, of(report), many=True),
        ),
    )


INTRADAY_REPORT: Final = _report("Rpt", "RptPgntn", IntradayReport)
STATEMENT: Final = _report("Stmt", "StmtPgntn", Statement)
NOTIFICATION: Final = _report("Ntfctn", "NtfctnPgntn", Notification)
_QUESTION: Final = Shape(
    ReportQuestion,
    (
        Row("request_id", "Id", TEXT),
        Row("message_name", "ReqdMsgNmId", TEXT),
        Row("account", "Acct", ACCOUNT),
        Row("owner", "AcctOwnr/Agt", AGENT),
        Row("begins_on", "RptgPrd/FrToDt/FrDt", DAY),
        Row("ends_on", "RptgPrd/FrToDt/ToDt", DAY),
        Row("period_kind", "RptgPrd/Tp", TEXT),
    ),
)
REPORT_REQUEST: Final = Shape(
    ReportRequest,
    (
        Row("message_id", "GrpHdr/MsgId", TEXT),
        Row("created_at", "GrpHdr/CreDtTm", INSTANT),
        Row("questions", "RptgReq", of(_QUESTION), many=True),
    ),
)
