"""What caaa (version 13) calls things: messages, kinds, entry modes, reasons, paths."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final, NamedTuple

from isoswitch.codecs.canonical.codes import (
    EntryMode,
    Kind,
    PinEntry,
    ResponseCode,
    ReversalReason,
)

REQUEST, ADVICE, CANCELLATION = "request", "advice", "cancellation"


class CaaaRow(NamedTuple):
    """How a kind is called: transaction type, service attribute, additional service."""

    transaction_type: str
    attribute: str = ""
    service: str = ""
    captures: bool = True


class Exchange(NamedTuple):
    """A request and its answer: identifier, element, and the element of its body."""

    request: tuple[str, str, str]
    answer: tuple[str, str, str]


EXCHANGES: Final[Mapping[str, Exchange]] = {
    REQUEST: Exchange(
        ("caaa.001.001.13", "AccptrAuthstnReq", "AuthstnReq"),
        ("caaa.002.001.13", "AccptrAuthstnRspn", "AuthstnRspn"),
    ),
    ADVICE: Exchange(
        ("caaa.003.001.13", "AccptrCmpltnAdvc", "CmpltnAdvc"),
        ("caaa.004.001.12", "AccptrCmpltnAdvcRspn", "CmpltnAdvcRspn"),
    ),
    CANCELLATION: Exchange(
        ("caaa.005.001.13", "AccptrCxlReq", "CxlReq"),
        ("caaa.006.001.12", "AccptrCxlRspn", "CxlRspn"),
    ),
}
BY_REQUEST: Final = {each.request[0]: name for name, each in EXCHANGES.items()}
# The element of the body of each message.
BODIES: Final[Mapping[str, str]] = {
    message_id: body
    for each in EXCHANGES.values()
    for message_id, _, body in (each.request, each.answer)
}

ROWS: Final[Mapping[Kind, CaaaRow]] = {
    Kind.PURCHASE: CaaaRow("CRDP"),
    Kind.CASH_WITHDRAWAL: CaaaRow("CSHW"),
    Kind.PURCHASE_WITH_CASHBACK: CaaaRow("CRDP", service="CSHB"),
    Kind.PREAUTHORISATION: CaaaRow("RESA", "IRES", captures=False),
    Kind.INCREMENTAL: CaaaRow("RESA", "URES", captures=False),
    Kind.COMPLETION: CaaaRow("RESA", "PRES"),
    Kind.REFUND: CaaaRow("RFND"),
    Kind.BALANCE_INQUIRY: CaaaRow("BALC", captures=False),
    Kind.ACCOUNT_VERIFICATION: CaaaRow("CAVR", captures=False),
}
KINDS: Final = {
    ("RESA", "", ""): Kind.PREAUTHORISATION,
    ("RESA", "ARES", ""): Kind.INCREMENTAL,
    **{row[:3]: kind for kind, row in ROWS.items()},
}

# By exchange and whether money is captured: what the request and its answer are called.
FUNCTIONS: Final[Mapping[tuple[str, bool], tuple[str, str]]] = {
    (REQUEST, True): ("FAUQ", "FAUP"),
    (REQUEST, False): ("AUTQ", "AUTP"),
    (ADVICE, True): ("FCMV", "FCMK"),
    (ADVICE, False): ("CMPV", "CMPK"),
    (CANCELLATION, True): ("CCAQ", "CCAP"),
    (CANCELLATION, False): ("CCAQ", "CCAP"),
}
REVERSALS: Final[Mapping[bool, tuple[str, str]]] = {
    True: ("FRVA", "FRVR"),
    False: ("RVRA", "RVRR"),
}
ANSWERING: Final = dict([*FUNCTIONS.values(), *REVERSALS.values()])
UNDOING: Final = frozenset(request for request, _ in REVERSALS.values())
# What messages of each exchange may be called.
CALLS: Final[Mapping[str, frozenset[str]]] = {
    exchange: frozenset(
        call for (name, _), (call, _) in FUNCTIONS.items() if name == exchange
    )
    | (UNDOING if exchange == ADVICE else frozenset())
    for exchange in (REQUEST, ADVICE, CANCELLATION)
}
# What is called so where money moves, for messages that do not say it themselves. A
# cancellation says nothing of that: what it undoes is known by its type.
CAPTURING: Final = frozenset({"FAUQ", "FCMV", "FRVA", "CCAQ"})

ENTRIES: Final[Mapping[EntryMode, str]] = {
    EntryMode.UNKNOWN: "UNKW",
    EntryMode.MANUAL: "PHYS",
    EntryMode.STRIPE: "MGST",
    EntryMode.CHIP: "CICC",
    EntryMode.CONTACTLESS_CHIP: "ECTL",
    EntryMode.CONTACTLESS_STRIPE: "CTLS",
    EntryMode.QR: "QRCD",
    EntryMode.ECOMMERCE: "PHYS",
    EntryMode.ON_FILE: "CDFL",
    EntryMode.FALLBACK_STRIPE: "MGST",
}
ENTRY_MODES: Final[Mapping[str, EntryMode]] = {
    "PHYS": EntryMode.MANUAL,
    "MGST": EntryMode.STRIPE,
    "CICC": EntryMode.CHIP,
    "SICC": EntryMode.CHIP,
    "ECTL": EntryMode.CONTACTLESS_CHIP,
    "CTLS": EntryMode.CONTACTLESS_STRIPE,
    "QRCD": EntryMode.QR,
    "CDFL": EntryMode.ON_FILE,
    "DFLE": EntryMode.ON_FILE,
}
PIN_ENTRIES: Final[Mapping[PinEntry, str]] = {
    PinEntry.CAPABLE: "NPIN",
    PinEntry.INCAPABLE: "NOVF",
}
REASONS: Final[Mapping[str, ReversalReason]] = {
    "CUCL": ReversalReason.CUSTOMER_CANCELLATION,
    "MALF": ReversalReason.MALFUNCTION,
    "PART": ReversalReason.PARTIAL_COMPLETION,
    "TIMO": ReversalReason.TIMEOUT,
    "LATE": ReversalReason.TIMEOUT,
}
REASON_CODES: Final = {
    reason: code for code, reason in REASONS.items() if code != "LATE"
}
# What an answer says in a word; the code of ISO 8583 stands beside it.
ANSWERS: Final[Mapping[ResponseCode, str]] = {
    ResponseCode.APPROVED: "APPR",
    ResponseCode.PARTIALLY_APPROVED: "PART",
    ResponseCode.ISSUER_UNAVAILABLE: "TECH",
    ResponseCode.SYSTEM_MALFUNCTION: "TECH",
    ResponseCode.FORMAT_ERROR: "TECH",
    ResponseCode.ANSWER_TOO_LATE: "TECH",
    ResponseCode.CRYPTOGRAPHIC_ERROR: "TECH",
}
SAID_CODES: Final[Mapping[str, ResponseCode]] = {
    "APPR": ResponseCode.APPROVED,
    "PART": ResponseCode.PARTIALLY_APPROVED,
    "TECH": ResponseCode.SYSTEM_MALFUNCTION,
}
PIN_PATH: Final = "Envt/Crdhldr/Authntcn/CrdhldrOnLinePIN/"

HEADER_ORDER: Final = (
    *("Hdr/MsgFctn", "Hdr/PrtcolVrsn", "Hdr/XchgId", "Hdr/ReTrnsmssnCntr"),
    *("Hdr/CreDtTm", "Hdr/InitgPty/Id", "Hdr/RcptPty/Id"),
)
# Below the body, in the order of the schemas.
BODY_ORDER: Final = (
    *("Envt/Acqrr/Id/Id", "Envt/Mrchnt/Id/Id", "Envt/Mrchnt/CmonNm"),
    *("Envt/POI/Id/Id", "Envt/POI/Cpblties/CrdhldrVrfctnCpblties"),
    *("Envt/Card/PlainCardData/PAN", "Envt/Card/PlainCardData/CardSeqNb"),
    *("Envt/Card/PlainCardData/XpryDt", "Envt/Card/PlainCardData/Trck2"),
    *(f"{PIN_PATH}NcrptdPINBlck/CnttTp",),
    *(f"{PIN_PATH}NcrptdPINBlck/EnvlpdData/Rcpt/KeyIdr/KeyId",),
    *(f"{PIN_PATH}NcrptdPINBlck/EnvlpdData/Rcpt/KeyIdr/KeyVrsn",),
    *(f"{PIN_PATH}NcrptdPINBlck/EnvlpdData/NcrptdCntt/CnttTp",),
    *(f"{PIN_PATH}NcrptdPINBlck/EnvlpdData/NcrptdCntt/NcrptdData",),
    *(f"{PIN_PATH}PINFrmt",),
    *("Cntxt/PmtCntxt/TxChanl", "Cntxt/PmtCntxt/CardDataNtryMd"),
    *("Cntxt/PmtCntxt/FllbckInd",),
    *("Tx/TxCaptr", "Tx/TxTp", "Tx/AddtlSvc", "Tx/SvcAttr", "Tx/LastTxFlg"),
    *("Tx/MrchntCtgyCd",),
    *("Tx/TxId/TxDtTm", "Tx/TxId/TxRef"),
    *("Tx/OrgnlTx/TxId/TxDtTm", "Tx/OrgnlTx/TxId/TxRef", "Tx/OrgnlTx/InitrTxId"),
    *(
        "Tx/OrgnlTx/RcptTxId",
        "Tx/OrgnlTx/TxTp",
        "Tx/OrgnlTx/AddtlSvc",
        "Tx/OrgnlTx/SvcAttr",
    ),
    *("Tx/OrgnlTx/TxRslt/RspnToAuthstn/Rspn", "Tx/OrgnlTx/TxRslt/AuthstnCd"),
    *("Tx/TxSucss", "Tx/Rvsl", "Tx/FailrRsn", "Tx/InitrTxId", "Tx/RcptTxId"),
    *("Tx/TxDtls/Ccy", "Tx/TxDtls/TtlAmt", "Tx/TxDtls/DtldAmt/CshBck"),
    *("Tx/TxDtls/AuthrsdAmt", "Tx/TxDtls/ICCRltdData"),
    *("Tx/AuthstnRslt/RspnToAuthstn/Rspn", "Tx/AuthstnRslt/AuthstnCd"),
    *("Tx/Rspn",),
    *("TxRspn/AuthstnRslt/RspnToAuthstn/Rspn",),
    *("TxRspn/AuthstnRslt/RspnToAuthstn/RspnRsn", "TxRspn/AuthstnRslt/AuthstnCd"),
    *("TxRspn/Bal/Amt", "TxRspn/Bal/Ccy", "TxRspn/Bal/Sgn"),
)
MAC_PATH: Final = "SctyTrlr/AuthntcdData/MAC"
# What a message ends with that is authenticated: under which key, and the MAC.
TRAILER: Final[Mapping[str, str]] = {
    "SctyTrlr/CnttTp": "AUTH",
    "SctyTrlr/AuthntcdData/Rcpt/KeyIdr/KeyId": "MAC",
    "SctyTrlr/AuthntcdData/Rcpt/KeyIdr/KeyVrsn": "1",
    "SctyTrlr/AuthntcdData/MACAlgo/Algo": "MACC",
    "SctyTrlr/AuthntcdData/NcpsltdCntt/CnttTp": "DATA",
    # Room for eight bytes.
    MAC_PATH: "AAAAAAAAAAA=",
}
REJECTION: Final = ("caaa.015.001.06", "AccptrRjctn")
REJECTION_ORDER: Final = (
    *("Hdr/MsgFctn", "Hdr/PrtcolVrsn", "Hdr/XchgId", "Hdr/CreDtTm"),
    *("Rjct/RjctRsn", "Rjct/AddtlInf"),
)
ECHOED: Final = frozenset(
    {
        *("Envt/Mrchnt/Id/Id", "Envt/POI/Id/Id", "Tx/TxId/TxDtTm", "Tx/TxId/TxRef"),
        *("Tx/InitrTxId",),
    }
)


@cache
def order_of(element: str) -> tuple[str, ...]:
    """Give every path of a message whose body has this name, in order."""
    body = (f"{element}/{path}" for path in BODY_ORDER)
    return (*HEADER_ORDER, *body, *TRAILER)
