"""Transactions as Hypothesis draws them: everything an edition can carry."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from isoswitch.codecs.canonical.codes import (
    EntryMode,
    Function,
    Kind,
    PinEntry,
    ReversalReason,
)
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.secrets import Pan, PinBlock, Secret, Track2
from isoswitch.codecs.canonical.transaction import OriginalData, Transaction
from isoswitch.codecs.dialects.dialect import Dialect, LegNumbers
from isoswitch.codecs.dialects.entry_mode import CODES_2003, CODES_UNIONPAY
from isoswitch.codecs.dialects.unionpay import CUP_POS

NOW = datetime(2026, 12, 31, 23, 59, 58, tzinfo=UTC)

MONEY_KINDS = (
    Kind.PURCHASE,
    Kind.CASH_WITHDRAWAL,
    Kind.PURCHASE_WITH_CASHBACK,
    Kind.PREAUTHORISATION,
    Kind.INCREMENTAL,
    Kind.COMPLETION,
    Kind.VOID,
    Kind.REFUND,
    Kind.BALANCE_INQUIRY,
    Kind.MINI_STATEMENT,
    Kind.ACCOUNT_VERIFICATION,
)
NETWORK_KINDS = (
    Kind.SIGN_ON,
    Kind.SIGN_OFF,
    Kind.ECHO,
    Kind.KEY_CHANGE,
    Kind.CUTOVER,
)
# What the original data elements and the code of a reversal tell apart.
REVERSED_KINDS = (
    Kind.PURCHASE,
    Kind.CASH_WITHDRAWAL,
    Kind.PURCHASE_WITH_CASHBACK,
    Kind.PREAUTHORISATION,
    Kind.REFUND,
)

# Reversals that look alike: the scheme has one class for both, UnionPay no reversal
# of a refund.
INDISTINCT = {
    "amex-gcag-like": {Kind.PREAUTHORISATION},
    "cup-pos": {Kind.REFUND},
    "cups-interchange": {Kind.REFUND},
}

# Editions whose DE 22 tells of a PIN pad only by the PIN: what no PIN means there.
PIN_ENTRIES_WITHOUT_PIN = {
    id(CODES_UNIONPAY): PinEntry.INCAPABLE,
    id(CODES_2003): PinEntry.UNKNOWN,
}

# Published test numbers; the real ones stay out of failure messages by type.
PANS = st.sampled_from(
    ["4761739001010010", "4111111111111111", "5413330089010434", "5544332211009966"]
)
DIGITS = "0123456789"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def digits(length: int) -> st.SearchStrategy[str]:
    return st.text(DIGITS, min_size=length, max_size=length)


def texts(length_max: int) -> st.SearchStrategy[str]:
    return st.text(DIGITS + LETTERS + " ", max_size=length_max).map(str.rstrip)


INSTANTS = st.timedeltas(timedelta(days=-180), timedelta(days=180)).map(
    lambda distance: (NOW + distance).replace(microsecond=0)
)
LOCALS = INSTANTS.map(lambda instant: instant.replace(tzinfo=None))
AMOUNTS = st.builds(
    Money,
    minor=st.integers(0, 10**12 - 1),
    currency=st.sampled_from(["978", "840", "392", "048", "156"]),
)


@st.composite
def legs(draw: st.DrawFn) -> LegNumbers:
    return LegNumbers(
        stan=draw(digits(6)),
        rrn=draw(texts(12)),
        transmitted_at=draw(INSTANTS),
        acquirer_id=draw(st.text(DIGITS, max_size=11)),
        repeat=draw(st.booleans()),
    )


@st.composite
def transactions(
    draw: st.DrawFn, dialect: Dialect, kind: Kind, leg: LegNumbers
) -> Transaction:
    """A transaction of this kind that went out under these leg numbers."""
    edition = dialect.edition
    pan = draw(PANS)
    expiry = draw(digits(4))
    track = f"{pan}={expiry}{draw(st.text(DIGITS, max_size=12))}"
    has_track = draw(st.booleans()) and kind is not Kind.REVERSAL
    pin_block = draw(st.none() | st.binary(min_size=8, max_size=8))
    pin_block = None if kind is Kind.REVERSAL else pin_block
    pin_entry = draw(st.sampled_from(PinEntry))
    without_pin = PIN_ENTRIES_WITHOUT_PIN.get(id(edition.entry_codes))
    if without_pin is not None:
        pin_entry = without_pin if pin_block is None else PinEntry.CAPABLE
    currency = draw(AMOUNTS).currency
    cashback = draw(st.integers(1, 10**12 - 1))
    functions = st.sampled_from([Function.REQUEST, Function.ADVICE])
    txn = Transaction(
        kind=kind,
        function=edition.requests[kind].function or draw(functions),
        is_repeat=leg.repeat,
        stan=leg.stan,
        rrn=leg.rrn,
        pan=Pan(pan),
        track2=Track2(track) if has_track else None,
        expiry=expiry,
        card_sequence=draw(st.just("") | digits(3)),
        amount=Money(draw(AMOUNTS).minor, currency),
        cashback=Money(cashback, currency)
        if kind is Kind.PURCHASE_WITH_CASHBACK
        else None,
        transmitted_at=leg.transmitted_at,
        local_at=draw(st.none() | LOCALS),
        entry_mode=draw(st.sampled_from(EntryMode)),
        pin_entry=pin_entry,
        mcc=draw(st.just("") | digits(4)),
        acquirer_id=leg.acquirer_id,
        terminal_id=draw(texts(8)),
        merchant_id=draw(texts(15)),
        merchant_name=draw(texts(40)) if edition.has_merchant_name else "",
        pin_block=PinBlock(pin_block) if pin_block is not None else None,
        emv=draw(st.none() | st.binary(min_size=1, max_size=60).map(Secret)),
        approval_code=draw(texts(6)),
        original=draw(originals(dialect, kind, leg)),
        reversal_reason=draw(
            st.sampled_from([ReversalReason.UNSPECIFIED, *edition.reason_codes])
        )
        if kind is Kind.REVERSAL
        else ReversalReason.UNSPECIFIED,
        accounts=draw(st.sampled_from(["0000", "1000", "2000", "0030"])),
        is_final=kind is not Kind.COMPLETION
        or ReversalReason.PARTIAL_COMPLETION not in edition.reason_codes
        or draw(st.booleans()),
    )
    if draw(st.booleans()):
        txn = said_more(txn, dialect, draw(st.integers(1, 10**12 - 1)))
    return as_terminal(txn) if edition is CUP_POS else txn


def said_more(txn: Transaction, dialect: Dialect, minor: int) -> Transaction:
    """Let an advice tell of a decline, and a reversal leave something standing."""
    is_bought = txn.kind in {Kind.PURCHASE, Kind.CASH_WITHDRAWAL}
    if txn.function is Function.ADVICE and is_bought:
        return replace(txn, is_declined=True)
    if txn.kind is Kind.REVERSAL and 95 in dialect.codec.spec.fields and txn.amount:
        return replace(txn, remaining=Money(minor, txn.amount.currency))
    return txn


def as_terminal(txn: Transaction) -> Transaction:
    """Leave what a UnionPay terminal does not say to the host."""
    return replace(
        txn,
        transmitted_at=None,
        local_at=None,
        mcc="",
        acquirer_id="",
        merchant_name="",
    )


@st.composite
def originals(
    draw: st.DrawFn, dialect: Dialect, kind: Kind, leg: LegNumbers
) -> OriginalData | None:
    """What a reversal or an incremental authorisation names; others name nothing."""
    if kind not in {Kind.REVERSAL, Kind.INCREMENTAL}:
        return None
    acted = Kind.PREAUTHORISATION
    if kind is Kind.REVERSAL:
        told_apart = set(dialect.edition.requests) - INDISTINCT.get(dialect.name, set())
        acted = draw(
            st.sampled_from([kind for kind in REVERSED_KINDS if kind in told_apart])
        )
    version = dialect.edition.version
    by_local_time = dialect.edition.original_field == 56
    if dialect.edition is CUP_POS:
        row = dialect.edition.requests[acted]
        mti = f"0{row.message_class}00"
        return OriginalData(mti=mti, stan=draw(digits(6)), rrn=leg.rrn, kind=acted)
    return OriginalData(
        mti=f"{version}{dialect.edition.requests[acted].message_class}00",
        stan=draw(digits(6)),
        transmitted_at=None if by_local_time else draw(INSTANTS),
        local_at=draw(LOCALS) if by_local_time else None,
        acquirer_id=draw(st.integers(0, 10**11 - 1).map(str)).lstrip("0"),
        rrn=leg.rrn,
        kind=acted,
    )
