"""What is written down of a transaction beyond its masked form.

A packed leg is what a later message about it needs, its reversal or an advice: it holds
a clear card number, so it exists only between this module and the crypto service, which
encrypts it for the store. PIN and track data are never in it.
An outcome is stored as JSON so that a repeat gets the same answer.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import msgspec

from isoswitch.codecs.canonical.codes import (
    EntryMode,
    Function,
    Kind,
    PinEntry,
    ResponseCode,
    ReversalReason,
)
from isoswitch.codecs.canonical.errors import DecodeError
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.secrets import Pan, Secret
from isoswitch.codecs.canonical.totals import Totals
from isoswitch.codecs.canonical.transaction import (
    OriginalData,
    Outcome,
    StatementLine,
    Transaction,
)
from isoswitch.codecs.emv.tags import NEVER_IN_CLEAR
from isoswitch.codecs.emv.tlv import decode_tlv


class _Original(msgspec.Struct, frozen=True, array_like=True):
    kind: str
    mti: str
    stan: str
    transmitted_at: datetime | None
    local_at: datetime | None
    acquirer_id: str
    rrn: str


class _Leg(msgspec.Struct, frozen=True, array_like=True):
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
    function: str
    pin_entry: str
    cashback_minor: int
    approval_code: str
    original: _Original | None
    chip: bytes
    is_final: bool = True


class _StoredOutcome(msgspec.Struct, frozen=True, omit_defaults=True):
    code: str
    approval_code: str = ""
    reason: str = ""
    amount: tuple[int, str] | None = None
    balance: tuple[int, str] | None = None
    emv: str = ""
    totals: Totals | None = None
    statement: tuple[StatementLine, ...] = ()
    code_text: str = ""


_encode_leg = msgspec.msgpack.Encoder().encode
_decode_leg = msgspec.msgpack.Decoder(_Leg).decode
_encode_outcome = msgspec.json.Encoder().encode
_decode_outcome = msgspec.json.Decoder(_StoredOutcome).decode


def pack_leg(
    txn: Transaction,
    *,
    mti: str,
    stan: str,
    rrn: str,
    transmitted_at: datetime,
    acquirer_id: str,
    with_chip: bool = False,
) -> bytes:
    """Pack a leg for its reversal or as an advice; the result must be encrypted.

    ``mti``, ``stan``, ``rrn``, ``transmitted_at`` and ``acquirer_id`` are those of the
    leg. Only an advice tells ``with_chip`` what the chip said, and of that no card
    number, no track, no name and no PIN; of what cannot be searched for them, nothing.
    """
    amount = txn.amount or Money(0, "000")
    return _encode_leg(
        _Leg(
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
            function=txn.function,
            pin_entry=txn.pin_entry,
            cashback_minor=txn.cashback.minor if txn.cashback else 0,
            approval_code=txn.approval_code,
            original=_pack_original(txn.original),
            chip=_without_card(txn.emv) if with_chip and txn.emv else b"",
            is_final=txn.is_final,
        )
    )


def unpack_reversal(
    packed: bytes,
    *,
    reason: ReversalReason,
    amount_minor: int | None = None,
    remaining_minor: int = 0,
) -> Transaction:
    """Make the reversal advice that the packed leg calls for.

    It keeps the trace and reference numbers of the leg that it undoes. It is over
    ``amount_minor``, by default what the leg asked for, and leaves ``remaining_minor``
    of that standing.
    """
    leg = _decode_leg(packed)
    minor = leg.amount_minor if amount_minor is None else amount_minor
    local_at = datetime.fromisoformat(leg.local_at) if leg.local_at else None
    return replace(
        _read_leg(leg),
        kind=Kind.REVERSAL,
        function=Function.ADVICE,
        amount=Money(minor, leg.currency),
        remaining=Money(remaining_minor, leg.currency) if remaining_minor else None,
        cashback=None,
        approval_code="",
        emv=None,
        is_final=True,
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


def unpack_advice(packed: bytes) -> Transaction:
    """Make the advice that tells an endpoint of the packed leg."""
    return replace(_read_leg(_decode_leg(packed)), function=Function.ADVICE)


def _read_leg(leg: _Leg) -> Transaction:
    local_at = datetime.fromisoformat(leg.local_at) if leg.local_at else None
    return Transaction(
        kind=Kind(leg.kind),
        function=Function(leg.function),
        stan=leg.stan,
        rrn=leg.rrn,
        pan=Pan(leg.pan) if leg.pan else None,
        expiry=leg.expiry,
        card_sequence=leg.card_sequence,
        amount=Money(leg.amount_minor, leg.currency),
        cashback=Money(leg.cashback_minor, leg.currency)
        if leg.cashback_minor
        else None,
        transmitted_at=leg.transmitted_at,
        local_at=local_at,
        entry_mode=EntryMode(leg.entry_mode),
        pin_entry=PinEntry(leg.pin_entry),
        mcc=leg.mcc,
        acquirer_id=leg.acquirer_id,
        terminal_id=leg.terminal_id,
        merchant_id=leg.merchant_id,
        merchant_name=leg.merchant_name,
        emv=Secret(leg.chip) if leg.chip else None,
        approval_code=leg.approval_code,
        original=_read_original(leg.original),
        accounts=leg.accounts,
        is_final=leg.is_final,
    )


def _pack_original(original: OriginalData | None) -> _Original | None:
    if original is None:
        return None
    return _Original(
        kind=original.kind,
        mti=original.mti,
        stan=original.stan,
        transmitted_at=original.transmitted_at,
        local_at=original.local_at,
        acquirer_id=original.acquirer_id,
        rrn=original.rrn,
    )


def _read_original(packed: _Original | None) -> OriginalData | None:
    if packed is None:
        return None
    return OriginalData(
        kind=Kind(packed.kind),
        mti=packed.mti,
        stan=packed.stan,
        transmitted_at=packed.transmitted_at,
        local_at=packed.local_at,
        acquirer_id=packed.acquirer_id,
        rrn=packed.rrn,
    )


def _without_card(chip: Secret[bytes]) -> bytes:
    """Give chip data without the objects that hold what is never shown in clear."""
    try:
        objects = decode_tlv(chip.reveal())
    except DecodeError:
        return b""
    telling = {
        path.partition(".")[0]
        for path, each in objects.walk()
        if each.tag in NEVER_IN_CLEAR or (each.is_template and not each.children)
    }
    return objects.replace(dict.fromkeys(telling)).encode()


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
            totals=outcome.totals,
            statement=outcome.statement,
            code_text=outcome.code_text,
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
        totals=stored.totals,
        statement=stored.statement,
        code_text=stored.code_text,
    )


def _pair(money: Money | None) -> tuple[int, str] | None:
    return (money.minor, money.currency) if money else None
