"""Card messages between terminal and acquirer (caaa, version 13).

    caaa.001 -> 002   authorisation and financial requests
    caaa.003 -> 004   advices of what was done, and reversals
    caaa.005 -> 006   cancellations of what was done before
    any      -> 015   what could not be read

The functions are those of ``cain``. These messages say less than cain: account types,
partial reversals and the function of a reversal have no place in them.
"""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Final

from isoswitch.codecs.canonical.codes import (
    EntryMode,
    Function,
    Kind,
    PinEntry,
    ResponseCode,
    ReversalReason,
)
from isoswitch.codecs.canonical.errors import (
    DecodeError,
    DocumentError,
    EncodeError,
)
from isoswitch.codecs.canonical.money import CURRENCIES, Money
from isoswitch.codecs.canonical.secrets import Pan, PinBlock, Secret
from isoswitch.codecs.canonical.transaction import Outcome, Transaction
from isoswitch.codecs.dialects.codes import CODES_1987, MEANINGS_1987
from isoswitch.codecs.dialects.dialect import LegNumbers
from isoswitch.codecs.iso20022.caaa_original import (
    named,
    read_kind,
    read_local_at,
    read_original,
    row_of,
    write_original,
)
from isoswitch.codecs.iso20022.caaa_tables import (
    ADVICE,
    ANSWERING,
    ANSWERS,
    BODIES,
    BY_REQUEST,
    CANCELLATION,
    ECHOED,
    ENTRIES,
    ENTRY_MODES,
    EXCHANGES,
    FUNCTIONS,
    PIN_ENTRIES,
    PIN_PATH,
    REASON_CODES,
    REASONS,
    REJECTION,
    REJECTION_ORDER,
    REQUEST,
    REVERSALS,
    SAID_CODES,
    TRAILER,
    CaaaRow,
    order_of,
)
from isoswitch.codecs.iso20022.cards import (
    expiry_of,
    find_balance,
    format_expiry,
    need,
    partial_amount,
    read_card,
    read_instant,
    read_sequence,
    read_value,
)
from isoswitch.codecs.iso20022.document import read_document
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
_EXCHANGE: Final = "{*}*/{*}Hdr/{*}XchgId"
# No longer, as it might be a card number.
_NUMBER_DIGITS_MAX: Final = 12
# Where a reference may stand that the acquirer or the terminal has given.
_REFERENCES: Final = ("Tx/OrgnlTx/RcptTxId", "Tx/RcptTxId", "Tx/InitrTxId")
_APPROVALS: Final = ("Tx/AuthstnRslt/AuthstnCd", "Tx/OrgnlTx/TxRslt/AuthstnCd")


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
        return read_card_message(data, self._schemas, self._mode, _paths_of)

    def to_transaction(self, msg: CardMessage, *, currency: str = "") -> Transaction:
        """Read a request, advice, reversal or cancellation.

        An amount that names no currency is one of ``currency``.

        Raises
        ------
        DocumentError
            No such message, or an element that holds no such value.
        """
        exchange = BY_REQUEST.get(msg.message_id)
        if exchange is None:
            raise DocumentError("not a request of caaa.13", path=msg.message_id)
        body = body_of(msg)
        get = body.get
        function = msg.leaves.get("Hdr/MsgFctn", "")
        kind = read_kind(exchange, function, body)
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
        local_at = read_local_at(body, "Tx/TxId/TxDtTm")
        return Transaction(
            kind=kind,
            function=Function.ADVICE if exchange == ADVICE else Function.REQUEST,
            is_repeat=msg.leaves.get("Hdr/ReTrnsmssnCntr", "0").strip("0") != "",
            stan=stan,
            rrn=next((body[path] for path in _REFERENCES if path in body), ""),
            pan=read_value("Envt/Card/PlainCardData/PAN", Pan, number)
            if number
            else None,
            track2=track2,
            expiry=expiry,
            card_sequence=read_sequence(get("Envt/Card/PlainCardData/CardSeqNb", "")),
            amount=_read_amount(body, "Tx/TxDtls/TtlAmt", currency),
            cashback=_read_amount(body, "Tx/TxDtls/DtldAmt/CshBck", currency),
            transmitted_at=read_instant(msg.leaves, "Hdr/CreDtTm")
            if local_at
            # A repeat may be made later; the time in its number stays.
            else read_instant(body, "Tx/TxId/TxDtTm"),
            local_at=local_at,
            entry_mode=_entry_mode(body),
            pin_entry=_pin_entry(body),
            mcc="" if get("Tx/MrchntCtgyCd") == "0000" else get("Tx/MrchntCtgyCd", ""),
            acquirer_id=get("Envt/Acqrr/Id/Id", ""),
            terminal_id=get("Envt/POI/Id/Id", "").rstrip(),
            merchant_id=get("Envt/Mrchnt/Id/Id", "").rstrip(),
            merchant_name=get("Envt/Mrchnt/CmonNm", "").rstrip(),
            pin_block=PinBlock(_octets(PIN_PATH, pin)) if pin else None,
            emv=Secret(_octets("Tx/TxDtls/ICCRltdData", emv)) if emv else None,
            approval_code=next(
                (body[path].rstrip() for path in _APPROVALS if path in body), ""
            ),
            original=read_original(function, body, stan, undoes=undoes),
            is_final=kind is not Kind.COMPLETION
            or get("Tx/LastTxFlg") not in {"false", "0"},
            reversal_reason=reason if undoes else ReversalReason.UNSPECIFIED,
            is_declined=exchange == ADVICE
            and not undoes
            and get("Tx/TxSucss") in {"false", "0"},
        )

    def to_request(
        self,
        txn: Transaction,
        leg: LegNumbers,
        *,
        mac: bool = False,
        extra: Leaves = _NOTHING,
    ) -> CardMessage:
        """Build the request, advice, reversal or cancellation of a transaction.

        ``mac`` leaves room for a MAC.

        Raises
        ------
        EncodeError
            There is no such message for this kind, or an element cannot carry a value.
        """
        exchange = _exchange_of(txn)
        if txn.remaining is not None:
            # A reversal that is not said to be partial would undo all of it.
            raise EncodeError("caaa.13 has no partial reversal", field="Tx/Rvsl")
        message_id, root, element = EXCHANGES[exchange].request
        row = row_of(txn)
        undoes = txn.kind is Kind.REVERSAL
        calls = REVERSALS[row.captures] if undoes else FUNCTIONS[exchange, row.captures]
        body = {
            **_card(txn, undoes=undoes),
            **_place(txn, leg),
            **_amounts(txn),
            **_references(txn, leg, exchange),
            **_deed(txn, row, exchange),
        }
        leaves = {
            "Hdr/MsgFctn": calls[0],
            "Hdr/PrtcolVrsn": "13.0",
            "Hdr/XchgId": str(int(leg.stan)),
            "Hdr/CreDtTm": format_instant(leg.transmitted_at),
            "Hdr/InitgPty/Id": txn.terminal_id or "0",
            **{f"{element}/{path}": value for path, value in body.items()},
        }
        if leg.repeat:
            leaves["Hdr/ReTrnsmssnCntr"] = "1"
        leaves.update(TRAILER if mac else _NOTHING)
        leaves.update(extra)
        return build_card_message(message_id, root, leaves, order_of(element))

    def to_response(
        self,
        request: CardMessage,
        outcome: Outcome,
        *,
        created_at: datetime,
        rrn: str = "",
        mac: bool = False,
    ) -> CardMessage:
        """Build the answer to a request, advice or cancellation.

        ``rrn`` is how this host calls the transaction; ``mac`` leaves room for a MAC.

        Raises
        ------
        EncodeError
            An answer, which gets none.
        """
        exchange = BY_REQUEST.get(request.message_id)
        called = ANSWERING.get(request.leaves.get("Hdr/MsgFctn", ""))
        if exchange is None or called is None:
            raise EncodeError("a message that gets no answer", field="Hdr/MsgFctn")
        asked = body_of(request)
        message_id, root, element = EXCHANGES[exchange].answer
        body = {path: asked[path] for path in asked if path in ECHOED}
        if rrn:
            body["Tx/RcptTxId"] = rrn
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
        leaves.update(TRAILER if mac else _NOTHING)
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
        body = body_of(response)
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
            balance=read_balance(body),
            emv=Secret(_octets("Tx/TxDtls/ICCRltdData", emv)) if emv else None,
        )

    def to_code(self, response: CardMessage) -> ResponseCode:
        """Read only what an answer says: the code of ISO 8583 if there is one."""
        return read_code(response)

    def rejection(
        self, data: bytes, fault: DecodeError, *, created_at: datetime
    ) -> bytes:
        """Build what says that bytes could not be taken, and where, without a value."""
        try:
            part = read_document(data).body
        except DocumentError:
            part = None
        reason = "PARS"
        if part is not None and part.message_id not in BY_REQUEST:
            # A message in another version, or none of those that terminals send.
            families = {each[:8] for each in BY_REQUEST}
            reason = "VERS" if part.family in families else "MSGT"
        leaves = {
            "Hdr/MsgFctn": "RJCP",
            "Hdr/PrtcolVrsn": "13.0",
            "Hdr/CreDtTm": format_instant(created_at),
            "Rjct/RjctRsn": reason,
            "Rjct/AddtlInf": str(fault)[:500],
        }
        about = "" if part is None else part.element.findtext(_EXCHANGE, "").strip()
        if about.isascii() and about.isdecimal() and len(about) <= _NUMBER_DIGITS_MAX:
            leaves["Hdr/XchgId"] = about
        return build_card_message(*REJECTION, leaves, REJECTION_ORDER).raw


def body_of(msg: CardMessage) -> dict[str, str]:
    """Give the leaves below the element beside the header, and of no other."""
    at = BODIES.get(msg.message_id, "") + "/"
    return {
        path.removeprefix(at): value
        for path, value in msg.leaves.items()
        if path.startswith(at)
    }


def read_code(response: CardMessage) -> ResponseCode:
    """Read only what an answer says.

    A code that contradicts the word beside it declines.
    """
    body = body_of(response)
    at = "TxRspn/AuthstnRslt/RspnToAuthstn/"
    said = body.get(f"{at}Rspn") or body.get("Tx/Rspn", "")
    coded = MEANINGS_1987.get(body.get(f"{at}RspnRsn", ""))
    code = SAID_CODES.get(said, ResponseCode.DO_NOT_HONOUR)
    if coded is None or coded[0].is_approval != code.is_approval:
        is_sure = coded is None or not code.is_approval
        return code if is_sure else ResponseCode.DO_NOT_HONOUR
    return coded[0]


def _paths_of(message_id: str) -> tuple[str, ...]:
    return order_of(BODIES.get(message_id, ""))


def _exchange_of(txn: Transaction) -> str:
    if txn.kind is Kind.VOID:
        return CANCELLATION
    is_told = txn.kind is Kind.REVERSAL or txn.function is not Function.REQUEST
    return ADVICE if is_told else REQUEST


def _references(txn: Transaction, leg: LegNumbers, exchange: str) -> dict[str, str]:
    """Give what the transaction is called, and what it undoes or acts on."""
    sent_at = format_instant(leg.transmitted_at)
    leaves = {
        "Tx/TxId/TxDtTm": txn.local_at.isoformat() if txn.local_at else sent_at,
        "Tx/TxId/TxRef": leg.stan,
    }
    undoes = exchange == CANCELLATION or txn.kind is Kind.REVERSAL
    if undoes or txn.original is not None:
        with_result = exchange != ADVICE
        leaves |= write_original(txn, sent_at, rrn=leg.rrn, with_result=with_result)
    if leg.rrn and leg.rrn != leaves.get("Tx/OrgnlTx/RcptTxId"):
        leaves["Tx/InitrTxId"] = leg.rrn
    return leaves


def _deed(txn: Transaction, row: CaaaRow, exchange: str) -> dict[str, str]:
    """Give what is done, or has been; a cancellation says it of its original only."""
    if exchange == CANCELLATION:
        return {}
    leaves = {"Tx/TxCaptr": "true" if row.captures else "false", **named("Tx/", row)}
    if not txn.is_final:
        leaves["Tx/LastTxFlg"] = "false"
    if exchange == REQUEST:
        return leaves
    undoes = txn.kind is Kind.REVERSAL
    leaves["Tx/TxSucss"] = "false" if undoes or txn.is_declined else "true"
    if undoes:
        leaves["Tx/Rvsl"] = "true"
        if txn.reversal_reason in REASON_CODES:
            leaves["Tx/FailrRsn"] = REASON_CODES[txn.reversal_reason]
    if txn.approval_code:
        leaves["Tx/AuthstnRslt/RspnToAuthstn/Rspn"] = "APPR"
        leaves["Tx/AuthstnRslt/AuthstnCd"] = txn.approval_code
    return leaves


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


def _read_amount(body: Leaves, path: str, currency: str = "") -> Money | None:
    digits, letters = body.get(path), body.get("Tx/TxDtls/Ccy")
    if digits is None or (letters is None and not digits.strip(" 0.")):
        # Where there is no amount, it must be written as nothing.
        return None
    letters = letters or currency
    if not letters:
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
    balance = outcome.balance
    # No approval fails on a balance in a currency that has no letters here.
    if balance is not None and balance.currency in CURRENCIES:
        magnitude = Money(abs(balance.minor), balance.currency)
        body["TxRspn/Bal/Amt"] = format_amount(magnitude)
        body["TxRspn/Bal/Ccy"] = _letters(balance)
        body["TxRspn/Bal/Sgn"] = "false" if balance.minor < 0 else "true"
    return body


def read_balance(body: Leaves) -> Money | None:
    """Read the balance in the body of an answer, if there is one."""
    digits, letters = body.get("TxRspn/Bal/Amt"), body.get("TxRspn/Bal/Ccy", "")
    if digits is None:
        return None
    is_debit = body.get("TxRspn/Bal/Sgn") in {"false", "0"}
    return find_balance(digits, letters, is_debit=is_debit)


def _pin_entry(body: Leaves) -> PinEntry:
    told = body.get("Envt/POI/Cpblties/CrdhldrVrfctnCpblties")
    found = (entry for entry, code in PIN_ENTRIES.items() if code == told)
    return next(found, PinEntry.UNKNOWN)


def _entry_mode(body: Leaves) -> EntryMode:
    code = body.get("Cntxt/PmtCntxt/CardDataNtryMd", "")
    if code == "PHYS" and body.get("Cntxt/PmtCntxt/TxChanl") == "ECOM":
        return EntryMode.ECOMMERCE
    if code == "MGST" and body.get("Cntxt/PmtCntxt/FllbckInd") in {"FFLB", "SFLB"}:
        return EntryMode.FALLBACK_STRIPE
    return ENTRY_MODES.get(code, EntryMode.UNKNOWN)


def _octets(path: str, text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except binascii.Error:
        raise DocumentError("not base64", path=path) from None
