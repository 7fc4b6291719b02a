"""What cain (version 04) calls things: messages, kinds, entry modes, reasons, paths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from isoswitch.codecs.canonical.codes import (
    EntryMode,
    Function,
    Kind,
    PinEntry,
    ReversalReason,
)
from isoswitch.codecs.dialects.edition1987 import PURCHASE_TYPES, TYPES


class CainRow(NamedTuple):
    """How a kind is asked for: class of message, transaction type, attribute."""

    message_class: str
    transaction_type: str
    attribute: str = ""


AUTHORISATION, FINANCIAL, REVERSAL = "AUTH", "FINL", "RVSL"

# By class: the request and its element, the answer and its element.
MESSAGES: Mapping[str, tuple[str, str, str, str]] = {
    AUTHORISATION: (
        *("cain.001.001.04", "AuthstnInitn"),
        *("cain.002.001.04", "AuthstnRspn"),
    ),
    FINANCIAL: ("cain.003.001.04", "FinInitn", "cain.004.001.04", "FinRspn"),
    REVERSAL: ("cain.005.001.04", "RvslInitn", "cain.006.001.04", "RvslRspn"),
}
REQUESTS: Mapping[str, str] = {row[0]: name for name, row in MESSAGES.items()}

ROWS: Mapping[Kind, CainRow] = {
    Kind.PURCHASE: CainRow(FINANCIAL, "00"),
    Kind.CASH_WITHDRAWAL: CainRow(FINANCIAL, "01"),
    Kind.PURCHASE_WITH_CASHBACK: CainRow(FINANCIAL, "09"),
    Kind.PREAUTHORISATION: CainRow(AUTHORISATION, "00", "PAUT"),
    Kind.INCREMENTAL: CainRow(AUTHORISATION, "00", "INCR"),
    Kind.COMPLETION: CainRow(FINANCIAL, "00", "PACP"),
    Kind.VOID: CainRow(FINANCIAL, "02"),
    Kind.REFUND: CainRow(FINANCIAL, "20"),
    Kind.BALANCE_INQUIRY: CainRow(AUTHORISATION, "31"),
    Kind.MINI_STATEMENT: CainRow(AUTHORISATION, "34"),
    Kind.ACCOUNT_VERIFICATION: CainRow(AUTHORISATION, "33"),
}
# A void of what only set money aside is an authorisation too.
VOIDS: Mapping[Kind, CainRow] = {
    Kind.PREAUTHORISATION: CainRow(AUTHORISATION, "02"),
}
KINDS: Mapping[CainRow, Kind] = {
    **{CainRow(AUTHORISATION, code): kind for code, kind in TYPES.items()},
    **{CainRow(FINANCIAL, code): kind for code, kind in TYPES.items()},
    **{CainRow(AUTHORISATION, code): Kind.PREAUTHORISATION for code in PURCHASE_TYPES},
    **{CainRow(FINANCIAL, code): Kind.PURCHASE for code in PURCHASE_TYPES},
    **{row: kind for kind, row in ROWS.items()},
}

FUNCTIONS: Mapping[str, Function] = {
    "REQU": Function.REQUEST,
    "ADVC": Function.ADVICE,
    "CAAD": Function.ADVICE,
    "NOTI": Function.NOTIFICATION,
    "CANO": Function.NOTIFICATION,
}
FUNCTION_CODES: Mapping[Function, str] = {
    Function.REQUEST: "REQU",
    Function.ADVICE: "ADVC",
    Function.NOTIFICATION: "NOTI",
}
# What a completion is called that captures what was approved.
CAPTURES: Mapping[str, str] = {"ADVC": "CAAD", "NOTI": "CANO"}

ENTRIES: Mapping[EntryMode, Mapping[str, str]] = {
    EntryMode.UNKNOWN: {"CardDataNtryMd": "UNSP"},
    EntryMode.MANUAL: {"CardDataNtryMd": "KEEN"},
    EntryMode.STRIPE: {"CardDataNtryMd": "MGST"},
    EntryMode.CHIP: {"CardDataNtryMd": "ICCY"},
    EntryMode.CONTACTLESS_CHIP: {"CardDataNtryMd": "ICPY"},
    EntryMode.CONTACTLESS_STRIPE: {"CardDataNtryMd": "MSIP"},
    EntryMode.QR: {"CardDataNtryMd": "OPTC", "QRCdPresntmntMd": "CPMD"},
    EntryMode.ECOMMERCE: {"CardDataNtryMd": "KEEN", "EComrc": "true"},
    EntryMode.ON_FILE: {"CardDataNtryMd": "DFLE"},
    EntryMode.FALLBACK_STRIPE: {"CardDataNtryMd": "MGST", "ICCFllbck": "true"},
}
ENTRY_MODES: Mapping[str, EntryMode] = {
    row["CardDataNtryMd"]: mode for mode, row in ENTRIES.items() if len(row) == 1
} | {"OPTC": EntryMode.QR}
# What a reversal says in words, as it has no element for it.
FALLBACK_WORD: Final = "FALLBACK"
PIN_WORDS: Mapping[PinEntry, str] = {
    PinEntry.CAPABLE: "PIN",
    PinEntry.INCAPABLE: "NOPIN",
}
# How long a PIN the terminal takes.
PIN_LENGTHS: Mapping[PinEntry, str] = {PinEntry.CAPABLE: "12", PinEntry.INCAPABLE: "0"}

REASONS: Mapping[str, ReversalReason] = {
    "4000": ReversalReason.CUSTOMER_CANCELLATION,
    "4002": ReversalReason.MALFUNCTION,
    "4004": ReversalReason.PARTIAL_COMPLETION,
    "4006": ReversalReason.TIMEOUT,
    "4007": ReversalReason.MALFUNCTION,
    "4021": ReversalReason.TIMEOUT,
}
REASON_CODES: Mapping[ReversalReason, str] = {
    ReversalReason.CUSTOMER_CANCELLATION: "4000",
    ReversalReason.MALFUNCTION: "4002",
    ReversalReason.PARTIAL_COMPLETION: "4004",
    ReversalReason.TIMEOUT: "4021",
}

# Every path that is written, in the order of the schema.
ORDER: Final = (
    *("Hdr/MsgFctn", "Hdr/PrtcolVrsn", "Hdr/XchgId", "Hdr/ReTrnsmssnCntr"),
    *("Hdr/CreDtTm", "Hdr/InitgPty/Id", "Hdr/InitgPty/Tp"),
    *("Hdr/RcptPty/Id", "Hdr/RcptPty/Tp"),
    *("TxChrtcs/TxTp", "TxChrtcs/TxAttr", "TxChrtcs/MsgRsn"),
    *("Acqrr/Id", "Acqrr/ShrtNm"),
    *("Card/PAN", "Card/CardSeqNb", "Card/XpryDt", "Card/Trck2/TxtVal"),
    *("AcctFr/Tp", "AcctTo/Tp"),
    *("TxId/LclDt", "TxId/LclTm", "TxId/TrnsmssnDtTm", "TxId/SysTracAudtNb"),
    *("TxId/RtrvlRefNb",),
    *("TxAmts/Amt", "TxAmts/Ccy", "TxAmts/DtldAmt/Tp", "TxAmts/DtldAmt/Amt"),
    *("AddtlAmt/Tp", "AddtlAmt/Amt", "AddtlAmt/Ccy"),
    *("OrgnlDataElmts/MsgClss", "OrgnlDataElmts/MsgFctn", "OrgnlDataElmts/AcqrrId"),
    *("OrgnlDataElmts/TxTp", "OrgnlDataElmts/TxId/LclDt"),
    *("OrgnlDataElmts/TxId/LclTm", "OrgnlDataElmts/TxId/TrnsmssnDtTm"),
    *("OrgnlDataElmts/TxId/SysTracAudtNb", "OrgnlDataElmts/TxId/RtrvlRefNb"),
    *("OrgnlDataElmts/TxId/AcqrrRefData",),
    *("OrgnlDataElmts/TxAmts/Amt", "OrgnlDataElmts/TxAmts/Ccy"),
    *("Accptr/Id", "Accptr/NmAndLctn"),
    *("Termnl/Id", "Termnl/PINLngthCpblty"),
    *("Cntxt/CardDataNtryMd", "Cntxt/OthrCardDataNtryMd"),
    *("Cntxt/QRCdPresntmntMd", "Cntxt/MrchntCtgyCd"),
    *(
        "Cntxt/OthrMrchntCtgy",
        "Cntxt/EComrc",
        "Cntxt/PrtlApprvlSpprtd",
        "Cntxt/ICCFllbck",
    ),
    *("ICCRltdData",),
    *("Vrfctn/Tp", "Vrfctn/PINData/PINBlckFrmt", "Vrfctn/PINData/NcrptdPINBlck"),
    *("AcctBal/AcctTp", "AcctBal/Bal/Tp", "AcctBal/Bal/Amt", "AcctBal/Bal/Ccy"),
    *("AcctBal/Bal/CdtDbt",),
    *("PrcgRslt/RspnSrcTp", "PrcgRslt/RspnCd", "PrcgRslt/ApprvlCd"),
    *("SctyTrlr/MACData/Ctrl", "SctyTrlr/MACData/KeySetIdr", "SctyTrlr/MACData/Algo"),
    *("SctyTrlr/MAC",),
)
ECHOED: Final = frozenset(
    {
        *("Hdr/MsgFctn", "Hdr/PrtcolVrsn", "Hdr/XchgId", "TxChrtcs/TxTp"),
        *("Acqrr/Id", "Acqrr/ShrtNm", "Card/PAN", "Card/CardSeqNb"),
        *("AcctFr/Tp", "AcctTo/Tp", "TxId/LclDt", "TxId/LclTm", "TxId/TrnsmssnDtTm"),
        *("TxId/SysTracAudtNb", "TxId/RtrvlRefNb", "TxAmts/Amt", "TxAmts/Ccy"),
        *("Accptr/Id", "Termnl/Id"),
    }
)
