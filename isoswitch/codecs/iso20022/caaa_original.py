"""What a caaa message does, and the transaction that it undoes or acts on."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from isoswitch.codecs.canonical.codes import Kind
from isoswitch.codecs.canonical.errors import DocumentError, EncodeError
from isoswitch.codecs.canonical.transaction import OriginalData, Transaction
from isoswitch.codecs.iso20022.caaa_tables import (
    ADVICE,
    CALLS,
    CANCELLATION,
    CAPTURING,
    KINDS,
    ROWS,
    UNDOING,
    CaaaRow,
)
from isoswitch.codecs.iso20022.cards import read_instant, read_value
from isoswitch.codecs.iso20022.leaves import Leaves
from isoswitch.codecs.iso20022.values import format_instant

AT: Final = "Tx/OrgnlTx/"
# What names the reference of another transaction as its own.
ACTING: Final = frozenset({Kind.INCREMENTAL, Kind.COMPLETION, Kind.REFUND, Kind.VOID})
_APPROVAL_DIGITS: Final = 6


def row_of(txn: Transaction) -> CaaaRow:
    """Give the row of a kind; of a reversal or void that of what it undoes.

    Raises
    ------
    EncodeError
        There is none.
    """
    kind = txn.kind
    if kind in {Kind.REVERSAL, Kind.VOID}:
        kind = txn.original.kind if txn.original else Kind.PURCHASE
    return _row(kind)


def named(at: str, row: CaaaRow) -> dict[str, str]:
    """Give the leaves that tell what is done."""
    leaves = {
        f"{at}TxTp": row.transaction_type,
        f"{at}SvcAttr": row.attribute,
        f"{at}AddtlSvc": row.service,
    }
    return {path: value for path, value in leaves.items() if value}


def read_kind(exchange: str, function: str, body: Leaves) -> Kind:
    """Read what a message does.

    Raises
    ------
    DocumentError
        Nothing known, or what contradicts itself.
    """
    if function not in CALLS[exchange]:
        raise DocumentError("not a function of this message", path="Hdr/MsgFctn")
    if exchange == CANCELLATION:
        return Kind.VOID
    is_reversal, told = function in UNDOING, body.get("Tx/Rvsl")
    if is_reversal and told in _FALSE:
        raise DocumentError("contradicts the function", path="Tx/Rvsl")
    if is_reversal or told in _TRUE:
        return Kind.REVERSAL
    kind = _named_kind(body, "Tx/")
    if kind is Kind.PURCHASE and exchange == ADVICE and f"{AT}TxId/TxRef" in body:
        # It has an original, so it tells what became of what that one has set aside.
        kind = Kind.COMPLETION
    captures = body.get("Tx/TxCaptr")
    is_captured = function in CAPTURING
    if captures is not None and (captures in _TRUE) is not is_captured:
        raise DocumentError("contradicts the function", path="Tx/TxCaptr")
    return _as_captured(kind, is_captured=is_captured)


def write_original(
    txn: Transaction, sent_at: str, *, rrn: str, with_result: bool
) -> dict[str, str]:
    """Give the leaves that name the original of a transaction.

    One that is not known but by the ``rrn`` that the acquirer gave it has the time and
    number of this message; ``with_result`` it tells its approval code too.
    """
    original = txn.original
    row = row_of(txn) if original is None else _row(original.kind)
    done_at, stan = sent_at, txn.stan
    if original is not None:
        stan = original.stan
        if original.local_at is not None:
            done_at = original.local_at.isoformat()
        elif original.transmitted_at is not None:
            done_at = format_instant(original.transmitted_at)
    leaves = {f"{AT}TxId/TxDtTm": done_at, f"{AT}TxId/TxRef": stan, **named(AT, row)}
    if original is not None and original.rrn:
        leaves[f"{AT}InitrTxId"] = original.rrn
    if rrn and txn.kind in ACTING:
        leaves[f"{AT}RcptTxId"] = rrn
    if with_result and txn.approval_code:
        leaves[f"{AT}TxRslt/RspnToAuthstn/Rspn"] = "APPR"
        leaves[f"{AT}TxRslt/AuthstnCd"] = txn.approval_code.ljust(_APPROVAL_DIGITS)
    return leaves


def read_original(
    function: str, body: Leaves, stan: str, *, undoes: bool
) -> OriginalData | None:
    """Read what a message names as its original.

    A reversal that names none means the transaction whose numbers it has itself.
    """
    is_named = f"{AT}TxId/TxRef" in body
    if not is_named and not undoes:
        return None
    at = AT if is_named else "Tx/"
    kind = Kind.PURCHASE
    if is_named or "Tx/TxTp" in body:
        kind = _named_kind(body, at)
    if undoes:
        captures = body.get("Tx/TxCaptr")
        is_captured = captures in _TRUE if captures else function in CAPTURING
        kind = _as_captured(kind, is_captured=is_captured)
    local_at = read_local_at(body, f"{at}TxId/TxDtTm")
    return OriginalData(
        kind=kind,
        mti="0200" if ROWS[kind].captures else "0100",
        stan=body.get(f"{at}TxId/TxRef", stan),
        transmitted_at=None if local_at else read_instant(body, f"{at}TxId/TxDtTm"),
        local_at=local_at,
        rrn=body.get(f"{at}InitrTxId", ""),
    )


def read_local_at(body: Leaves, path: str) -> datetime | None:
    """Read the terminal's local time; in UTC it is none."""
    text = body.get(path, "").strip()
    if not text or text.endswith("Z"):
        return None
    return read_value(path, _parse_local, text)


def _parse_local(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=None)
    except ValueError:
        msg = "not a date and time"
        raise ValueError(msg) from None


def _row(kind: Kind) -> CaaaRow:
    row = ROWS.get(kind)
    if row is None:
        raise EncodeError(f"caaa.13 has no {kind}", field="Tx/TxTp")
    return row


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


def _as_captured(kind: Kind, *, is_captured: bool) -> Kind:
    """Tell a purchase from one that only sets its amount aside."""
    if is_captured or not ROWS[kind].captures:
        return kind
    if kind is Kind.PURCHASE:
        return Kind.PREAUTHORISATION
    raise DocumentError("this type is captured, or it is nothing", path="Tx/TxCaptr")


_TRUE: Final = frozenset({"true", "1"})
_FALSE: Final = frozenset({"false", "0"})
