"""Card messages between acquirer and issuer (cain, version 04).

    request message  -> to_transaction -> Transaction
    Outcome          -> to_response    -> answer to that message
    Transaction      -> to_request     -> message to an endpoint
    answer message   -> to_outcome     -> Outcome

The functions are those of an ISO 8583 dialect. The standard demands some elements that
a transaction may not have; ``ABSENT`` beside them, or blanks in them, say so, and they
are read as not there.
"""

from __future__ import annotations

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
from isoswitch.codecs.canonical.errors import DocumentError, EncodeError
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.secrets import Pan, PinBlock, Secret
from isoswitch.codecs.canonical.transaction import Outcome, Transaction
from isoswitch.codecs.dialects.codes import CODES_1987, MEANINGS_1987
from isoswitch.codecs.dialects.dialect import LegNumbers
from isoswitch.codecs.iso20022.cain_original import read_original, write_original
from isoswitch.codecs.iso20022.cain_tables import (
    CAPTURES,
    ECHOED,
    ENTRIES,
    ENTRY_MODES,
    FALLBACK_WORD,
    FUNCTION_CODES,
    FUNCTIONS,
    KINDS,
    MESSAGES,
    ORDER,
    PIN_LENGTHS,
    PIN_WORDS,
    REASON_CODES,
    REASONS,
    REQUESTS,
    REVERSAL,
    ROWS,
    VOIDS,
    CainRow,
)
from isoswitch.codecs.iso20022.cards import (
    expiry_of,
    find_balance,
    format_expiry,
    hex_octets,
    need,
    partial_amount,
    read_card,
    read_instant,
    read_local,
    read_sequence,
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

ABSENT: Final = "NONE"
NO_CURRENCY: Final = "999"
_NO_MAC: Final = "0" * 16
_RRN_DIGITS: Final = 12
_APPROVAL_DIGITS: Final = 6
_CASH: Final = "40"
_NOTHING: Leaves = {}
_UNDONE: Final = frozenset({Kind.REVERSAL})


class CainDialect:
    """Card messages between acquirer and issuer.

    Parameters
    ----------
    schemas
        What messages are held to when they are read.
    mode
        To which of the schemas.
    """

    name = "cain.04"

    def __init__(self, schemas: Schemas, mode: Mode = Mode.BASE) -> None:
        self._schemas = schemas
        self._mode = mode

    def decode(self, data: bytes) -> CardMessage:
        """Read a message and hold it to its schema.

        Raises
        ------
        DocumentError
            It is none, or does not follow.
        """
        return read_card_message(data, self._schemas, self._mode, lambda _: ORDER)

    def to_transaction(self, msg: CardMessage, *, currency: str = "") -> Transaction:
        """Read a request, advice or notification; it names its currencies itself.

        Raises
        ------
        DocumentError
            No such message, or an element that holds no such value.
        """
        del currency
        message_class = REQUESTS.get(msg.message_id)
        if message_class is None:
            raise DocumentError("not a request of cain.04", path=msg.message_id)
        leaves = msg.leaves
        kind = _kind_of(message_class, leaves)
        function = FUNCTIONS.get(leaves.get("Hdr/MsgFctn", ""))
        if function is None:
            raise DocumentError("not a request or advice", path="Hdr/MsgFctn")
        number, track2, expiry = read_card(
            leaves.get("Card/PAN", ""),
            leaves.get("Card/Trck2/TxtVal", ""),
            expiry_of(leaves.get("Card/XpryDt", "")),
        )
        amount = _read_amount(leaves)
        asked = _read_amount(leaves, "OrgnlDataElmts/") if kind in _UNDONE else None
        reason = REASONS.get(
            leaves.get("TxChrtcs/MsgRsn", ""), ReversalReason.UNSPECIFIED
        )
        pin_block = leaves.get("Vrfctn/PINData/NcrptdPINBlck")
        emv = leaves.get("ICCRltdData")
        repeats = leaves.get("Hdr/ReTrnsmssnCntr", "0")
        return Transaction(
            kind=kind,
            function=function,
            is_repeat=repeats.strip("0") != "",
            stan=need(leaves, "TxId/SysTracAudtNb"),
            rrn=leaves.get("TxId/RtrvlRefNb", "").rstrip(),
            pan=read_value("Card/PAN", Pan, number) if number else None,
            track2=track2,
            expiry=expiry,
            card_sequence=read_sequence(leaves.get("Card/CardSeqNb", "")),
            amount=asked or amount,
            remaining=asked - amount if asked and amount else None,
            is_final=kind is not Kind.COMPLETION
            or reason is not ReversalReason.PARTIAL_COMPLETION,
            is_declined=function is Function.ADVICE and _tells_decline(leaves),
            takes_part=leaves.get("Cntxt/PrtlApprvlSpprtd") in {"true", "1"},
            cashback=_read_cashback(leaves, amount),
            transmitted_at=read_instant(leaves, "TxId/TrnsmssnDtTm"),
            local_at=read_local(leaves, "TxId/"),
            entry_mode=_entry_mode(leaves),
            pin_entry=_pin_entry(leaves),
            mcc=_unless_absent(leaves, "Cntxt/MrchntCtgyCd", "Cntxt/OthrMrchntCtgy"),
            acquirer_id=_unless_absent(leaves, "Acqrr/Id", "Acqrr/ShrtNm"),
            terminal_id=leaves.get("Termnl/Id", "").rstrip(),
            merchant_id=leaves.get("Accptr/Id", "").rstrip(),
            merchant_name=leaves.get("Accptr/NmAndLctn", "").rstrip(),
            pin_block=PinBlock(bytes.fromhex(pin_block)) if pin_block else None,
            emv=Secret(hex_octets("ICCRltdData", emv)) if emv else None,
            approval_code=leaves.get("PrcgRslt/ApprvlCd", "").rstrip(),
            original=read_original(leaves, kind),
            reversal_reason=reason
            if kind is Kind.REVERSAL
            else ReversalReason.UNSPECIFIED,
            accounts=leaves.get("AcctFr/Tp", "00") + leaves.get("AcctTo/Tp", "00"),
        )

    def to_request(
        self,
        txn: Transaction,
        leg: LegNumbers,
        *,
        mac: bool = False,
        extra: Leaves = _NOTHING,
    ) -> CardMessage:
        """Build the request or advice that takes a transaction to an endpoint.

        Parameters
        ----------
        leg
            The numbers of this leg; ``repeat`` counts one transmission more.
        mac
            Leave room for a MAC.
        extra
            Leaves that this endpoint wants besides; they win over ours.

        Raises
        ------
        EncodeError
            There is no such message for this kind, or an element cannot carry a value.
        """
        undoes = txn.kind is Kind.REVERSAL
        row = _row(txn)
        message_class = REVERSAL if undoes else row.message_class
        message_id, root, _, _ = MESSAGES[message_class]
        leaves = {
            **_header(txn, leg),
            "TxChrtcs/TxTp": row.transaction_type,
            "AcctFr/Tp": txn.accounts[:2],
            "AcctTo/Tp": txn.accounts[2:],
            "TxId/TrnsmssnDtTm": format_instant(leg.transmitted_at),
            "TxId/SysTracAudtNb": leg.stan,
            "TxId/RtrvlRefNb": leg.rrn.ljust(_RRN_DIGITS),
            **_amounts(txn),
            **_card(txn, undoes=undoes),
            **_place(txn, undoes=undoes),
            **write_original(txn),
        }
        if row.attribute:
            leaves["TxChrtcs/TxAttr"] = row.attribute
        reason = txn.reversal_reason
        if not undoes and not txn.is_final:
            # More completions of the same original follow.
            reason = ReversalReason.PARTIAL_COMPLETION
        if reason in REASON_CODES:
            leaves["TxChrtcs/MsgRsn"] = REASON_CODES[reason]
        local_at = txn.local_at
        # The day must be there, but only with the time does it tell the local instant.
        leaves["TxId/LclDt"] = (local_at or leg.transmitted_at).date().isoformat()
        if local_at is not None:
            leaves["TxId/LclTm"] = local_at.time().isoformat()
        if txn.approval_code:
            leaves["PrcgRslt/ApprvlCd"] = txn.approval_code.ljust(_APPROVAL_DIGITS)
        if txn.is_declined:
            leaves["PrcgRslt/RspnCd"] = CODES_1987[ResponseCode.DO_NOT_HONOUR]
        if txn.takes_part:
            leaves["Cntxt/PrtlApprvlSpprtd"] = "true"
        leaves.update(_mac_room() if mac else _NOTHING)
        leaves.update(extra)
        return build_card_message(message_id, root, leaves, ORDER)

    def to_response(
        self,
        request: CardMessage,
        outcome: Outcome,
        *,
        created_at: datetime,
        rrn: str = "",
        extra: Leaves = _NOTHING,
        mac: bool = False,
    ) -> CardMessage:
        """Build the answer to a request that came in this dialect.

        ``rrn`` is for a request that brought none.

        Raises
        ------
        EncodeError
            The request is a notification or an answer, which gets none.
        """
        asked = request.leaves
        message_class = REQUESTS.get(request.message_id)
        function = FUNCTIONS.get(asked.get("Hdr/MsgFctn", ""))
        if message_class is None or function in {None, Function.NOTIFICATION}:
            raise EncodeError("a message that gets no answer", field="Hdr/MsgFctn")
        _, _, message_id, root = MESSAGES[message_class]
        leaves = {path: asked[path] for path in asked if path in ECHOED}
        if rrn:
            leaves.setdefault("TxId/RtrvlRefNb", rrn.ljust(_RRN_DIGITS))
        leaves |= {
            "Hdr/CreDtTm": format_instant(created_at),
            "Hdr/InitgPty/Id": asked.get("Hdr/RcptPty/Id", "0"),
            "Hdr/InitgPty/Tp": "CISS",
            "Hdr/RcptPty/Id": asked.get("Hdr/InitgPty/Id", "0"),
            "Hdr/RcptPty/Tp": "ACQR",
            "PrcgRslt/RspnSrcTp": "CISS",
            "PrcgRslt/RspnCd": CODES_1987[outcome.code],
        }
        if outcome.approval_code:
            leaves["PrcgRslt/ApprvlCd"] = outcome.approval_code.ljust(_APPROVAL_DIGITS)
        if outcome.amount is not None:
            leaves |= {
                "TxAmts/Amt": _decimal(outcome.amount),
                "TxAmts/Ccy": outcome.amount.currency,
            }
        if outcome.balance is not None:
            leaves |= _balance(asked.get("AcctFr/Tp", "00"), outcome.balance)
        if outcome.emv is not None:
            leaves["ICCRltdData"] = outcome.emv.reveal().hex().upper()
        leaves.update(_mac_room() if mac else _NOTHING)
        leaves.update(extra)
        return build_card_message(message_id, root, leaves, ORDER)

    def to_outcome(self, response: CardMessage, txn: Transaction) -> Outcome:
        """Read the answer of an endpoint.

        A response code that no list knows declines: only known approvals move money.

        Raises
        ------
        DocumentError
            No answer to this kind of transaction, no response code, or a partial
            approval without an amount of its own.
        """
        undoes = txn.kind is Kind.REVERSAL
        message_class = REVERSAL if undoes else _row(txn).message_class
        if response.message_id != MESSAGES[message_class][2]:
            reason = "answers another class of message"
            raise DocumentError(reason, path=response.message_id)
        leaves = response.leaves
        wire = need(leaves, "PrcgRslt/RspnCd")
        meaning = MEANINGS_1987.get(wire)
        if meaning is None:
            return Outcome.declined(
                ResponseCode.DO_NOT_HONOUR, "unlisted response code"
            )
        code, words = meaning
        amount = None
        if code is ResponseCode.PARTIALLY_APPROVED:
            amount = partial_amount("TxAmts/Amt", _read_amount(leaves), txn.amount)
        emv = leaves.get("ICCRltdData")
        return Outcome(
            code=code,
            approval_code=leaves.get("PrcgRslt/ApprvlCd", "").rstrip(),
            reason="" if code.is_approval else words,
            amount=amount,
            balance=_read_balance(leaves),
            emv=Secret(hex_octets("ICCRltdData", emv)) if emv else None,
        )

    def to_code(self, response: CardMessage) -> ResponseCode:
        """Read only the response code of an answer, whatever it answers.

        One that is absent or that no list knows declines.
        """
        meaning = MEANINGS_1987.get(response.leaves.get("PrcgRslt/RspnCd", ""))
        return meaning[0] if meaning else ResponseCode.DO_NOT_HONOUR


def _tells_decline(leaves: Leaves) -> bool:
    meaning = MEANINGS_1987.get(leaves.get("PrcgRslt/RspnCd", ""))
    return meaning is not None and not meaning[0].is_approval


def _kind_of(message_class: str, leaves: Leaves) -> Kind:
    if message_class == REVERSAL:
        return Kind.REVERSAL
    transaction_type = leaves.get("TxChrtcs/TxTp", "")
    attribute = leaves.get("TxChrtcs/TxAttr", "")
    kind = KINDS.get(CainRow(message_class, transaction_type, attribute)) or KINDS.get(
        CainRow(message_class, transaction_type)
    )
    if kind is None:
        raise DocumentError("unknown transaction type", path="TxChrtcs/TxTp")
    return kind


def _row(txn: Transaction) -> CainRow:
    """Give the row of a kind, of a reversal that of what it undoes."""
    kind = txn.kind
    if kind is Kind.REVERSAL:
        kind = txn.original.kind if txn.original else Kind.PURCHASE
    if kind is Kind.VOID and txn.original is not None:
        row = VOIDS.get(txn.original.kind)
        if row is not None:
            return row
    found = ROWS.get(kind)
    if found is None:
        raise EncodeError(f"cain.04 has no {kind}", field="TxChrtcs/TxTp")
    return found


def _header(txn: Transaction, leg: LegNumbers) -> dict[str, str]:
    function = FUNCTION_CODES[txn.function]
    if txn.kind is Kind.COMPLETION:
        function = CAPTURES.get(function, function)
    leaves = {
        "Hdr/MsgFctn": function,
        "Hdr/PrtcolVrsn": "4.0",
        "Hdr/XchgId": leg.stan,
        "Hdr/CreDtTm": format_instant(leg.transmitted_at),
        "Hdr/InitgPty/Id": leg.acquirer_id or "0",
        "Hdr/InitgPty/Tp": "ACQR",
        "Acqrr/Id": leg.acquirer_id or "0",
    }
    if leg.repeat:
        leaves["Hdr/ReTrnsmssnCntr"] = "1"
    if not leg.acquirer_id:
        leaves["Acqrr/ShrtNm"] = ABSENT
    return leaves


def _amounts(txn: Transaction) -> dict[str, str]:
    amount, cashback = txn.amount, txn.cashback
    leaves = {"TxAmts/Amt": "0", "TxAmts/Ccy": NO_CURRENCY}
    if amount is not None:
        leaves = {"TxAmts/Amt": _decimal(amount), "TxAmts/Ccy": amount.currency}
    if amount is not None and txn.remaining is not None:
        # A partial reversal tells what it undoes, and of how much.
        leaves |= {
            "TxAmts/Amt": _decimal(amount - txn.remaining),
            "OrgnlDataElmts/TxAmts/Amt": _decimal(amount),
            "OrgnlDataElmts/TxAmts/Ccy": amount.currency,
        }
    if cashback is None:
        return leaves
    if amount is not None and cashback.currency == amount.currency:
        leaves |= {"TxAmts/DtldAmt/Tp": _CASH, "TxAmts/DtldAmt/Amt": _decimal(cashback)}
    else:
        leaves |= {
            "AddtlAmt/Tp": _CASH,
            "AddtlAmt/Amt": _decimal(cashback),
            "AddtlAmt/Ccy": cashback.currency,
        }
    return leaves


def _card(txn: Transaction, *, undoes: bool) -> dict[str, str]:
    leaves = {}
    if txn.pan is not None:
        leaves["Card/PAN"] = txn.pan.reveal()
    if txn.card_sequence:
        leaves["Card/CardSeqNb"] = txn.card_sequence
    if month := format_expiry(txn.expiry):
        leaves["Card/XpryDt"] = month
    if txn.emv is not None:
        leaves["ICCRltdData"] = txn.emv.reveal().hex().upper()
    # Track and PIN data of a reversal stay behind: it undoes, and proves nothing.
    if txn.track2 is not None and not undoes:
        leaves["Card/Trck2/TxtVal"] = txn.track2.reveal()
    if txn.pin_block is not None and not undoes:
        block = txn.pin_block.reveal()
        leaves |= {
            "Vrfctn/Tp": "NPIN",
            "Vrfctn/PINData/PINBlckFrmt": "0" if len(block) == 8 else "4",
            "Vrfctn/PINData/NcrptdPINBlck": block.hex().upper(),
        }
    return leaves


def _place(txn: Transaction, *, undoes: bool) -> dict[str, str]:
    entry = ENTRIES[txn.entry_mode]
    leaves = {f"Cntxt/{name}": value for name, value in entry.items()}
    leaves["Cntxt/MrchntCtgyCd"] = txn.mcc or "0000"
    if not txn.mcc:
        leaves["Cntxt/OthrMrchntCtgy"] = ABSENT
    if txn.merchant_id or txn.merchant_name:
        leaves["Accptr/Id"] = txn.merchant_id or " "
        leaves["Accptr/NmAndLctn"] = txn.merchant_name or " "
    length = PIN_LENGTHS.get(txn.pin_entry)
    if undoes:
        is_fallback = leaves.pop("Cntxt/ICCFllbck", None) is not None
        words = [FALLBACK_WORD] if is_fallback else []
        words += [PIN_WORDS[txn.pin_entry]] if length is not None else []
        if words:
            leaves["Cntxt/OthrCardDataNtryMd"] = " ".join(words)
        length = None
    if txn.terminal_id or length is not None:
        leaves["Termnl/Id"] = txn.terminal_id or " "
    if length is not None:
        leaves["Termnl/PINLngthCpblty"] = length
    return leaves


def _read_amount(leaves: Leaves, at: str = "") -> Money | None:
    currency = leaves.get(f"{at}TxAmts/Ccy", NO_CURRENCY)
    if currency == NO_CURRENCY:
        return None
    place = f"{at}TxAmts/Amt"
    digits = leaves.get(place, "").strip()
    return read_value(place, lambda text: parse_amount(text, currency), digits)


def _read_cashback(leaves: Leaves, amount: Money | None) -> Money | None:
    for place, currency in (
        ("TxAmts/DtldAmt", amount.currency if amount else NO_CURRENCY),
        ("AddtlAmt", leaves.get("AddtlAmt/Ccy", NO_CURRENCY)),
    ):
        if leaves.get(f"{place}/Tp") == _CASH:
            digits = leaves.get(f"{place}/Amt", "").strip()
            return read_value(place, lambda text: parse_amount(text, currency), digits)  # noqa: B023
    return None


def _balance(account: str, balance: Money) -> dict[str, str]:
    return {
        "AcctBal/AcctTp": account,
        "AcctBal/Bal/Tp": "AVLB",
        "AcctBal/Bal/Amt": _decimal(Money(abs(balance.minor), balance.currency)),
        "AcctBal/Bal/Ccy": balance.currency,
        "AcctBal/Bal/CdtDbt": "DBIT" if balance.minor < 0 else "CRDT",
    }


def _read_balance(leaves: Leaves) -> Money | None:
    digits = leaves.get("AcctBal/Bal/Amt")
    currency = leaves.get("AcctBal/Bal/Ccy") or leaves.get("TxAmts/Ccy", "")
    if digits is None or leaves.get("AcctBal/Bal/Tp") not in {"AVLB", "LDGR"}:
        return None
    is_debit = leaves.get("AcctBal/Bal/CdtDbt") == "DBIT"
    return find_balance(digits, currency, is_debit=is_debit)


def _entry_mode(leaves: Leaves) -> EntryMode:
    code = leaves.get("Cntxt/CardDataNtryMd", "")
    words = leaves.get("Cntxt/OthrCardDataNtryMd", "").split()
    if code == "KEEN" and leaves.get("Cntxt/EComrc") in {"true", "1"}:
        return EntryMode.ECOMMERCE
    is_fallback = leaves.get("Cntxt/ICCFllbck") in {"true", "1"}
    if code == "MGST" and (is_fallback or FALLBACK_WORD in words):
        return EntryMode.FALLBACK_STRIPE
    return ENTRY_MODES.get(code, EntryMode.UNKNOWN)


def _pin_entry(leaves: Leaves) -> PinEntry:
    length = leaves.get("Termnl/PINLngthCpblty")
    if length is None:
        words = leaves.get("Cntxt/OthrCardDataNtryMd", "").split()
        told = (entry for entry, word in PIN_WORDS.items() if word in words)
        return next(told, PinEntry.UNKNOWN)
    return PinEntry.CAPABLE if length.strip(" 0.+") else PinEntry.INCAPABLE


def _unless_absent(leaves: Leaves, path: str, marker: str) -> str:
    return "" if leaves.get(marker) == ABSENT else leaves.get(path, "")


def _decimal(amount: Money) -> str:
    try:
        return format_amount(amount)
    except ValueError as fault:
        raise EncodeError(str(fault), field="TxAmts/Amt") from None


def _mac_room() -> dict[str, str]:
    return {
        "SctyTrlr/MACData/Ctrl": "01",
        "SctyTrlr/MACData/KeySetIdr": "1",
        "SctyTrlr/MACData/Algo": "03",
        "SctyTrlr/MAC": _NO_MAC,
    }
