"""Card messages between terminal and acquirer (caaa, version 13).

    caaa.001 -> 002   authorisation and financial requests
    caaa.003 -> 004   advices of what was done, and reversals
    caaa.005 -> 006   cancellations of what was done before

The functions are those of ``cain``. These messages say less than cain: account types,
partial reversals and the function of a reversal have no place in them.
"""

from __future__ import annotations

import base64
import binascii
from datetime import datetime

from isoswitch.codecs.canonical.codes import (
    EntryMode,
    Function,
    Kind,
    PinEntry,
    ResponseCode,
    ReversalReason,
)
from isoswitch.codecs.canonical.errors import DocumentError, EncodeError
from isoswitch.codecs.canonical.money import CURRENCIES, Money
from isoswitch.codecs.canonical.secrets import Pan, PinBlock, Secret
from isoswitch.codecs.canonical.transaction import OriginalData, Outcome, Transaction
from isoswitch.codecs.dialects.codes import CODES_1987, MEANINGS_1987
from isoswitch.codecs.dialects.dialect import LegNumbers
from isoswitch.codecs.iso20022.caaa_tables import (
    ADVICE,
    ANSWERING,
    ANSWERS,
    BY_REQUEST,
    CANCELLATION,
    ECHOED,
    ENTRIES,
    ENTRY_MODES,
    EXCHANGES,
    FUNCTIONS,
    KINDS,
    PIN_ENTRIES,
    PIN_PATH,
    REASON_CODES,
    REASONS,
    REQUEST,
    REVERSALS,
    ROWS,
    SAID_CODES,
    CaaaRow,
    order_of,
)
from isoswitch.codecs.iso20022.cards import (
    expiry_of,
    format_expiry,
    need,
    partial_amount,
    read_card,
    read_instant,
    read_value,
)
from isoswitch.codecs.iso20022.leaves import (
    CardMessage,
    Leaves,
    build_card_message,
    read_card_message,
)
from isoswitch.codecs.iso20022.schemas import Mode, Schemas
from isoswitch.codecs.iso20022.values import (
    format_amount,
    format_instant,
    parse_amount,
)

_NOTHING: Leaves = {}


class CaaaDialect:
    """Card messages between terminal and acquirer.

    Parameters
    ----------
    schemas
        What messages are held to when they are read.
    mode
        To which of the schemas.
    """

    name = "caaa.13"

    def __init__(self, schemas: Schemas, mode: Mode = Mode.BASE) -> None:
        self._schemas = schemas
        self._mode = mode

    def decode(self, data: bytes) -> CardMessage:
        """Read a message and hold it to its schema; raises DocumentError."""
        return read_card_message(data, self._schemas, self._mode)

    def to_transaction(self, msg: CardMessage) -> Transaction:
        """Read a request, advice, reversal or cancellation.

        Raises
        ------
        DocumentError
            No such message, or an element that holds no such value.
        """
        exchange = BY_REQUEST.get(msg.message_id)
        if exchange is None:
            raise DocumentError("not a request of caaa.13", path=msg.message_id)
        body = _body(msg)
        get = body.get
        kind = _kind_of(exchange, body)
        stan = need(body, "Tx/TxId/TxRef")
        number, track2, expiry = read_card(
            get("Envt/Card/PlainCardData/PAN", ""),
            get("Envt/Card/PlainCardData/Trck2", ""),
            expiry_of(get("Envt/Card/PlainCardData/XpryDt", "")),
        )
        pin = get(f"{PIN_PATH}NcrptdPINBlck/EnvlpdData/NcrptdCntt/NcrptdData")
        emv = get("Tx/TxDtls/ICCRltdData")
        reason = REASONS.get(get("Tx/FailrRsn", ""), ReversalReason.UNSPECIFIED)
        undoes = kind is Kind.REVERSAL
        return Transaction(
            kind=kind,
            function=Function.ADVICE if exchange == ADVICE else Function.REQUEST,
            is_repeat=msg.leaves.get("Hdr/ReTrnsmssnCntr", "0").strip("0") != "",
            stan=stan,
            rrn=get("Tx/InitrTxId", ""),
            pan=read_value("Envt/Card/PlainCardData/PAN", Pan, number)
            if number
            else None,
            track2=track2,
            expiry=expiry,
            card_sequence=get("Envt/Card/PlainCardData/CardSeqNb", ""),
            amount=_read_amount(body, "Tx/TxDtls/TtlAmt"),
            cashback=_read_amount(body, "Tx/TxDtls/DtldAmt/CshBck"),
            transmitted_at=read_instant(msg.leaves, "Hdr/CreDtTm"),
            local_at=_local(body, "Tx/TxId/TxDtTm"),
            entry_mode=_entry_mode(body),
            pin_entry=next(
                (
                    entry
                    for entry, code in PIN_ENTRIES.items()
                    if get("Envt/POI/Cpblties/CrdhldrVrfctnCpblties") == code
                ),
                PinEntry.UNKNOWN,
            ),
            mcc="" if get("Tx/MrchntCtgyCd") == "0000" else get("Tx/MrchntCtgyCd", ""),
            acquirer_id=get("Envt/Acqrr/Id/Id", ""),
            terminal_id=get("Envt/POI/Id/Id", "").rstrip(),
            merchant_id=get("Envt/Mrchnt/Id/Id", "").rstrip(),
            merchant_name=get("Envt/Mrchnt/CmonNm", "").rstrip(),
            pin_block=PinBlock(_octets(PIN_PATH, pin)) if pin else None,
            emv=Secret(_octets("Tx/TxDtls/ICCRltdData", emv)) if emv else None,
            approval_code=get("Tx/AuthstnRslt/AuthstnCd", "").rstrip(),
            original=_read_original(body, stan, undoes=undoes),
            reversal_reason=reason if undoes else ReversalReason.UNSPECIFIED,
            is_declined=exchange == ADVICE
            and not undoes
            and get("Tx/TxSucss") in {"false", "0"},
        )

    def to_request(
        self, txn: Transaction, leg: LegNumbers, *, extra: Leaves = _NOTHING
    ) -> CardMessage:
        """Build the request, advice, reversal or cancellation of a transaction.

        Raises
        ------
        EncodeError
            There is no such message for this kind, or an element cannot carry a value.
        """
        exchange = _exchange_of(txn)
        message_id, root, element = EXCHANGES[exchange].request
        row = _row(txn)
        undoes = txn.kind is Kind.REVERSAL
        calls = REVERSALS[row.captures] if undoes else FUNCTIONS[exchange, row.captures]
        sent_at = format_instant(leg.transmitted_at)
        local_at = txn.local_at.isoformat() if txn.local_at else sent_at
        body = {
            **_card(txn, undoes=undoes),
            **_place(txn, leg),
            **_amounts(txn),
            "Tx/TxId/TxDtTm": local_at,
            "Tx/TxId/TxRef": leg.stan,
        }
        if leg.rrn:
            body["Tx/InitrTxId"] = leg.rrn
        if exchange == CANCELLATION or undoes:
            body |= _original(txn, row, sent_at)
        if exchange != CANCELLATION:
            body["Tx/TxCaptr"] = "true" if row.captures else "false"
            body |= _named("Tx/", row)
        if exchange == ADVICE:
            body["Tx/TxSucss"] = "false" if undoes or txn.is_declined else "true"
        if undoes:
            body["Tx/Rvsl"] = "true"
            if txn.reversal_reason in REASON_CODES:
                body["Tx/FailrRsn"] = REASON_CODES[txn.reversal_reason]
        if txn.approval_code and exchange == ADVICE:
            body["Tx/AuthstnRslt/RspnToAuthstn/Rspn"] = "APPR"
            body["Tx/AuthstnRslt/AuthstnCd"] = txn.approval_code
        leaves = {
            "Hdr/MsgFctn": calls[0],
            "Hdr/PrtcolVrsn": "13.0",
            "Hdr/XchgId": str(int(leg.stan)),
            "Hdr/CreDtTm": sent_at,
            "Hdr/InitgPty/Id": txn.terminal_id or "0",
            **{f"{element}/{path}": value for path, value in body.items()},
        }
        if leg.repeat:
            leaves["Hdr/ReTrnsmssnCntr"] = "1"
        leaves.update(extra)
        return build_card_message(message_id, root, leaves, order_of(element))

    def to_response(
        self, request: CardMessage, outcome: Outcome, *, created_at: datetime
    ) -> CardMessage:
        """Build the answer to a request, advice or cancellation.

        Raises
        ------
        EncodeError
            An answer, which gets none.
        """
        exchange = BY_REQUEST.get(request.message_id)
        called = ANSWERING.get(request.leaves.get("Hdr/MsgFctn", ""))
        if exchange is None or called is None:
            raise EncodeError("a message that gets no answer", field="Hdr/MsgFctn")
        asked = _body(request)
        message_id, root, element = EXCHANGES[exchange].answer
        body = {path: asked[path] for path in asked if path in ECHOED}
        said = ANSWERS.get(outcome.code, "DECL")
        if exchange == ADVICE:
            body["Tx/Rspn"] = said
        else:
            body |= _result(asked, outcome, said, with_details=exchange == REQUEST)
        leaves = {
            "Hdr/MsgFctn": called,
            "Hdr/PrtcolVrsn": request.leaves.get("Hdr/PrtcolVrsn", "13.0"),
            "Hdr/XchgId": request.leaves.get("Hdr/XchgId", "0"),
            "Hdr/CreDtTm": format_instant(created_at),
            "Hdr/InitgPty/Id": request.leaves.get("Hdr/InitgPty/Id", "0"),
            **{f"{element}/{path}": value for path, value in body.items()},
        }
        return build_card_message(message_id, root, leaves, order_of(element))

    def to_outcome(self, response: CardMessage, txn: Transaction) -> Outcome:
        """Read the answer of an acquirer; a word that no list knows declines.

        Raises
        ------
        DocumentError
            No answer to this kind of transaction, or a partial approval without an
            amount of its own.
        """
        if response.message_id != EXCHANGES[_exchange_of(txn)].answer[0]:
            reason = "answers another kind of message"
            raise DocumentError(reason, path=response.message_id)
        body = _body(response)
        code = self.to_code(response)
        amount = None
        if code is ResponseCode.PARTIALLY_APPROVED:
            path = "Tx/TxDtls/AuthrsdAmt"
            amount = partial_amount(path, _read_amount(body, path), txn.amount)
        emv = body.get("Tx/TxDtls/ICCRltdData")
        meaning = MEANINGS_1987.get(CODES_1987[code])
        words = meaning[1] if meaning and not code.is_approval else ""
        return Outcome(
            code=code,
            approval_code=body.get("TxRspn/AuthstnRslt/AuthstnCd", "").rstrip(),
            reason=words,
            amount=amount,
            balance=_read_balance(body),
            emv=Secret(_octets("Tx/TxDtls/ICCRltdData", emv)) if emv else None,
        )

    def to_code(self, response: CardMessage) -> ResponseCode:
        """Read only what an answer says: the code of ISO 8583 if there is one.

        A code that contradicts the word beside it declines.
        """
        body = _body(response)
        at = "TxRspn/AuthstnRslt/RspnToAuthstn/"
        said = body.get(f"{at}Rspn") or body.get("Tx/Rspn", "")
        coded = MEANINGS_1987.get(body.get(f"{at}RspnRsn", ""))
        code = SAID_CODES.get(said, ResponseCode.DO_NOT_HONOUR)
        if coded is None or coded[0].is_approval != code.is_approval:
            is_sure = coded is None or not code.is_approval
            return code if is_sure else ResponseCode.DO_NOT_HONOUR
        return coded[0]


def _body(msg: CardMessage) -> dict[str, str]:
    """Give the leaves below the element beside the header."""
    parts = (path.partition("/") for path in msg.leaves)
    return {
        rest: msg.leaves[f"{name}/{rest}"]
        for name, slash, rest in parts
        if slash and name not in {"Hdr", "SctyTrlr"}
    }


def _exchange_of(txn: Transaction) -> str:
    if txn.kind is Kind.VOID:
        return CANCELLATION
    is_told = txn.kind is Kind.REVERSAL or txn.function is not Function.REQUEST
    return ADVICE if is_told else REQUEST


def _row(txn: Transaction) -> CaaaRow:
    kind = txn.kind
    if kind in {Kind.REVERSAL, Kind.VOID}:
        kind = txn.original.kind if txn.original else Kind.PURCHASE
    row = ROWS.get(kind)
    if row is None:
        raise EncodeError(f"caaa.13 has no {kind}", field="Tx/TxTp")
    return row


def _named(at: str, row: CaaaRow) -> dict[str, str]:
    named = {
        f"{at}TxTp": row.transaction_type,
        f"{at}SvcAttr": row.attribute,
        f"{at}AddtlSvc": row.service,
    }
    return {path: value for path, value in named.items() if value}


def _kind_of(exchange: str, body: Leaves) -> Kind:
    if exchange == CANCELLATION:
        return Kind.VOID
    if body.get("Tx/Rvsl") in {"true", "1"}:
        return Kind.REVERSAL
    return _named_kind(body, "Tx/")


def _named_kind(body: Leaves, at: str) -> Kind:
    names = ("TxTp", "SvcAttr", "AddtlSvc")
    transaction_type, attribute, service = (body.get(at + name, "") for name in names)
    for key in (
        (transaction_type, attribute, service),
        (transaction_type, attribute, ""),
        (transaction_type, "", ""),
    ):
        kind = KINDS.get(key)
        if kind is not None:
            return kind
    raise DocumentError("unknown transaction type", path=f"{at}TxTp")


def _card(txn: Transaction, *, undoes: bool) -> dict[str, str]:
    at = "Envt/Card/PlainCardData/"
    leaves = {}
    if txn.pan is not None:
        leaves[f"{at}PAN"] = txn.pan.reveal()
        if txn.card_sequence:
            leaves[f"{at}CardSeqNb"] = txn.card_sequence
        if month := format_expiry(txn.expiry):
            leaves[f"{at}XpryDt"] = month
        if txn.track2 is not None and not undoes:
            leaves[f"{at}Trck2"] = txn.track2.reveal()
    if txn.emv is not None:
        leaves["Tx/TxDtls/ICCRltdData"] = base64.b64encode(txn.emv.reveal()).decode()
    if txn.pin_block is not None and not undoes:
        block = txn.pin_block.reveal()
        inside = f"{PIN_PATH}NcrptdPINBlck/"
        leaves |= {
            f"{inside}CnttTp": "EVLP",
            f"{inside}EnvlpdData/Rcpt/KeyIdr/KeyId": "PIN",
            f"{inside}EnvlpdData/Rcpt/KeyIdr/KeyVrsn": "1",
            f"{inside}EnvlpdData/NcrptdCntt/CnttTp": "DATA",
            f"{inside}EnvlpdData/NcrptdCntt/NcrptdData": base64.b64encode(
                block
            ).decode(),
            f"{PIN_PATH}PINFrmt": "ISO0" if len(block) == 8 else "ISO4",
        }
    return leaves


def _place(txn: Transaction, leg: LegNumbers) -> dict[str, str]:
    leaves = {
        "Envt/POI/Id/Id": txn.terminal_id or " ",
        "Cntxt/PmtCntxt/CardDataNtryMd": ENTRIES[txn.entry_mode],
        "Tx/MrchntCtgyCd": txn.mcc or "0000",
    }
    optional = {
        "Envt/Acqrr/Id/Id": leg.acquirer_id,
        "Envt/Mrchnt/Id/Id": txn.merchant_id,
        "Envt/Mrchnt/CmonNm": txn.merchant_name,
        "Envt/POI/Cpblties/CrdhldrVrfctnCpblties": PIN_ENTRIES.get(txn.pin_entry, ""),
    }
    if txn.entry_mode is EntryMode.ECOMMERCE:
        optional["Cntxt/PmtCntxt/TxChanl"] = "ECOM"
    if txn.entry_mode is EntryMode.FALLBACK_STRIPE:
        optional["Cntxt/PmtCntxt/FllbckInd"] = "FFLB"
    return leaves | {path: value for path, value in optional.items() if value}


def _amounts(txn: Transaction) -> dict[str, str]:
    if txn.amount is None:
        return {"Tx/TxDtls/TtlAmt": "0"}
    leaves = {
        "Tx/TxDtls/Ccy": _letters(txn.amount),
        "Tx/TxDtls/TtlAmt": format_amount(txn.amount),
    }
    if txn.cashback is not None:
        if txn.cashback.currency != txn.amount.currency:
            raise EncodeError("cash in another currency", field="Tx/TxDtls/DtldAmt")
        leaves["Tx/TxDtls/DtldAmt/CshBck"] = format_amount(txn.cashback)
    return leaves


def _letters(amount: Money) -> str:
    found = CURRENCIES.get(amount.currency)
    if found is None:
        raise EncodeError("not a known currency", field="Tx/TxDtls/Ccy")
    return found[0]


def _read_amount(body: Leaves, path: str) -> Money | None:
    digits, letters = body.get(path), body.get("Tx/TxDtls/Ccy")
    if digits is None or letters is None:
        return None
    return read_value(path, lambda text: parse_amount(text.strip(), letters), digits)


def _result(
    asked: Leaves, outcome: Outcome, said: str, *, with_details: bool
) -> dict[str, str]:
    body = {
        "Tx/TxDtls/TtlAmt": asked.get("Tx/TxDtls/TtlAmt", "0"),
        "TxRspn/AuthstnRslt/RspnToAuthstn/Rspn": said,
        "TxRspn/AuthstnRslt/RspnToAuthstn/RspnRsn": CODES_1987[outcome.code],
    }
    if "Tx/TxDtls/Ccy" in asked:
        body["Tx/TxDtls/Ccy"] = asked["Tx/TxDtls/Ccy"]
    if outcome.approval_code:
        body["TxRspn/AuthstnRslt/AuthstnCd"] = outcome.approval_code
    if not with_details:
        return body
    if outcome.amount is not None:
        body["Tx/TxDtls/AuthrsdAmt"] = format_amount(outcome.amount)
    if outcome.emv is not None:
        chip = base64.b64encode(outcome.emv.reveal()).decode()
        body["Tx/TxDtls/ICCRltdData"] = chip
    if outcome.balance is not None:
        balance = outcome.balance
        magnitude = Money(abs(balance.minor), balance.currency)
        body["TxRspn/Bal/Amt"] = format_amount(magnitude)
        body["TxRspn/Bal/Ccy"] = _letters(balance)
        body["TxRspn/Bal/Sgn"] = "false" if balance.minor < 0 else "true"
    return body


def _read_balance(body: Leaves) -> Money | None:
    digits, letters = body.get("TxRspn/Bal/Amt"), body.get("TxRspn/Bal/Ccy", "")
    if digits is None:
        return None
    path = "TxRspn/Bal/Amt"
    found = read_value(path, lambda text: parse_amount(text.strip(), letters), digits)
    is_below = body.get("TxRspn/Bal/Sgn") in {"false", "0"}
    return Money(-found.minor if is_below else found.minor, found.currency)


def _original(txn: Transaction, row: CaaaRow, sent_at: str) -> dict[str, str]:
    original = txn.original
    at = "Tx/OrgnlTx/"
    if original is None:
        return {
            f"{at}TxId/TxDtTm": sent_at,
            f"{at}TxId/TxRef": txn.stan,
            **_named(at, row),
        }
    if original.local_at is not None:
        done_at = original.local_at.isoformat()
    elif original.transmitted_at is not None:
        done_at = format_instant(original.transmitted_at)
    else:
        done_at = sent_at
    leaves = {
        f"{at}TxId/TxDtTm": done_at,
        f"{at}TxId/TxRef": original.stan,
        **_named(at, row),
    }
    if original.rrn:
        leaves[f"{at}InitrTxId"] = original.rrn
    return leaves


def _read_original(body: Leaves, stan: str, *, undoes: bool) -> OriginalData | None:
    at = "Tx/OrgnlTx/"
    is_named = f"{at}TxId/TxRef" in body
    if not is_named and not undoes:
        return None
    kind = Kind.PURCHASE
    if is_named or "Tx/TxTp" in body:
        kind = _named_kind(body, at if is_named else "Tx/")
    local_at = _local(body, f"{at}TxId/TxDtTm")
    return OriginalData(
        kind=kind,
        mti="0200" if ROWS[kind].captures else "0100",
        stan=body.get(f"{at}TxId/TxRef", stan),
        transmitted_at=None if local_at else read_instant(body, f"{at}TxId/TxDtTm"),
        local_at=local_at,
        rrn=body.get(f"{at}InitrTxId", ""),
    )


def _entry_mode(body: Leaves) -> EntryMode:
    code = body.get("Cntxt/PmtCntxt/CardDataNtryMd", "")
    if code == "PHYS" and body.get("Cntxt/PmtCntxt/TxChanl") == "ECOM":
        return EntryMode.ECOMMERCE
    if code == "MGST" and body.get("Cntxt/PmtCntxt/FllbckInd") in {"FFLB", "SFLB"}:
        return EntryMode.FALLBACK_STRIPE
    return ENTRY_MODES.get(code, EntryMode.UNKNOWN)


def _local(body: Leaves, path: str) -> datetime | None:
    """Read the terminal's local time; in UTC it is none."""
    text = body.get(path, "").strip()
    if not text or text.endswith("Z"):
        return None
    return read_value(path, datetime.fromisoformat, text).replace(tzinfo=None)


def _octets(path: str, text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except binascii.Error:
        raise DocumentError("not base64", path=path) from None
