"""What is written down of a transaction beyond its masked form.

Reversal material is what a reversal needs: it holds a clear card number, so it exists
only between this module and the crypto service, which encrypts it for the store.
An outcome is stored as JSON so that a repeat gets the same answer.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from isoswitch.codecs.canonical.codes import (
    EntryMode,
    Function,
    Kind,
    ResponseCode,
    ReversalReason,
)
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.secrets import Pan, Secret
from isoswitch.codecs.canonical.transaction import OriginalData, Outcome, Transaction


class _Material(msgspec.Struct, frozen=True, array_like=True):
    kind: str
    mti: str
    stan: str
    rrn: str
    transmitted_at: datetime
    acquirer_id: str
    pan: str
    expiry: str
    card_sequence: str
    amount_minor: int
    currency: str
    local_at: str
    entry_mode: str
    mcc: str
    terminal_id: str
    merchant_id: str
    merchant_name: str
    accounts: str


class _StoredOutcome(msgspec.Struct, frozen=True, omit_defaults=True):
    code: str
    approval_code: str = ""
    reason: str = ""
    amount: tuple[int, str] | None = None
    balance: tuple[int, str] | None = None
    emv: str = ""


_encode_material = msgspec.msgpack.Encoder().encode
_decode_material = msgspec.msgpack.Decoder(_Material).decode
_encode_outcome = msgspec.json.Encoder().encode
_decode_outcome = msgspec.json.Decoder(_StoredOutcome).decode


def pack_reversal(
    txn: Transaction,
    *,
    mti: str,
    stan: str,
    rrn: str,
    transmitted_at: datetime,
    acquirer_id: str,
) -> bytes:
    """Pack what a reversal of this leg needs; the result must be encrypted.

    ``mti``, ``stan``, ``rrn``, ``transmitted_at`` and ``acquirer_id`` are those of the
    leg.
    """
    amount = txn.amount or Money(0, "000")
    return _encode_material(
        _Material(
            kind=txn.kind,
            mti=mti,
            stan=stan,
            rrn=rrn,
            transmitted_at=transmitted_at,
            acquirer_id=acquirer_id,
            pan=txn.pan.reveal() if txn.pan else "",
            expiry=txn.expiry,
            card_sequence=txn.card_sequence,
            amount_minor=amount.minor,
            currency=amount.currency,
            local_at=txn.local_at.isoformat() if txn.local_at else "",
            entry_mode=txn.entry_mode,
            mcc=txn.mcc,
            terminal_id=txn.terminal_id,
            merchant_id=txn.merchant_id,
            merchant_name=txn.merchant_name,
            accounts=txn.accounts,
        )
    )


def unpack_reversal(packed: bytes, *, reason: ReversalReason) -> Transaction:
    """Make the reversal advice that the packed leg calls for.

    It keeps the trace and reference numbers of the leg that it undoes.
    """
    leg = _decode_material(packed)
    local_at = datetime.fromisoformat(leg.local_at) if leg.local_at else None
    return Transaction(
        kind=Kind.REVERSAL,
        function=Function.ADVICE,
        stan=leg.stan,
        rrn=leg.rrn,
        pan=Pan(leg.pan) if leg.pan else None,
        expiry=leg.expiry,
        card_sequence=leg.card_sequence,
        amount=Money(leg.amount_minor, leg.currency),
        transmitted_at=leg.transmitted_at,
        local_at=local_at,
        entry_mode=EntryMode(leg.entry_mode),
        mcc=leg.mcc,
        acquirer_id=leg.acquirer_id,
        terminal_id=leg.terminal_id,
        merchant_id=leg.merchant_id,
        merchant_name=leg.merchant_name,
        accounts=leg.accounts,
        reversal_reason=reason,
        original=OriginalData(
            kind=Kind(leg.kind),
            mti=leg.mti,
            stan=leg.stan,
            transmitted_at=leg.transmitted_at,
            local_at=local_at,
            acquirer_id=leg.acquirer_id,
            rrn=leg.rrn,
        ),
    )


def store_outcome(outcome: Outcome) -> str:
    """Write an outcome as JSON.

    Examples
    --------
    >>> store_outcome(Outcome(code=ResponseCode.APPROVED, approval_code="A1B2C3"))
    '{"code":"approved","approval_code":"A1B2C3"}'
    """
    return _encode_outcome(
        _StoredOutcome(
            code=outcome.code,
            approval_code=outcome.approval_code,
            reason=outcome.reason,
            amount=_pair(outcome.amount),
            balance=_pair(outcome.balance),
            emv=outcome.emv.reveal().hex() if outcome.emv else "",
        )
    ).decode()


def load_outcome(text: str) -> Outcome:
    """Read what ``store_outcome`` wrote.

    Examples
    --------
    >>> load_outcome('{"code":"wrong_pin"}').code
    <ResponseCode.WRONG_PIN: 'wrong_pin'>
    """
    stored = _decode_outcome(text)
    return Outcome(
        code=ResponseCode(stored.code),
        approval_code=stored.approval_code,
        reason=stored.reason,
        amount=Money(*stored.amount) if stored.amount else None,
        balance=Money(*stored.balance) if stored.balance else None,
        emv=Secret(bytes.fromhex(stored.emv)) if stored.emv else None,
    )


def _pair(money: Money | None) -> tuple[int, str] | None:
    return (money.minor, money.currency) if money else None
