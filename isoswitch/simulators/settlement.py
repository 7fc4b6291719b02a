"""How the other ends settle: a terminal its batch, an issuer a business day."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from isoswitch.codecs.canonical.codes import Function, Kind, ResponseCode
from isoswitch.codecs.canonical.totals import Totals
from isoswitch.codecs.canonical.transaction import OriginalData, Outcome, Transaction
from isoswitch.codecs.dialects.dialect import LegNumbers
from isoswitch.codecs.dialects.edition import FieldValue
from isoswitch.codecs.dialects.settlement import (
    AFTER_UPLOAD_TYPE,
    Settlement,
    totals_fields,
)
from isoswitch.simulators.beliefs import Belief
from isoswitch.simulators.bookings import Booking, BookingKind
from isoswitch.simulators.requests import Request
from isoswitch.simulators.terminal import Answer, Terminal

CREDITS = frozenset({Kind.REFUND})
MOVES = CREDITS | {
    Kind.PURCHASE,
    Kind.PURCHASE_WITH_CASHBACK,
    Kind.CASH_WITHDRAWAL,
    Kind.COMPLETION,
}
AFTER_UPLOAD: Mapping[int, FieldValue] = {3: f"{AFTER_UPLOAD_TYPE}0000"}


def terminal_totals(beliefs: Iterable[Belief]) -> Totals:
    """Count what a terminal believes to have taken, given back and undone."""
    totals = Totals()
    for belief in beliefs:
        if belief.kind not in MOVES or belief.outcome is None:
            continue
        if not belief.outcome.is_approved:
            continue
        side = "credits" if belief.kind in CREDITS else "debits"
        approved = belief.outcome.amount or belief.amount
        minor = approved.minor if approved else 0
        totals += Totals(**{side: 1, f"{side}_minor": minor})
        undone = minor - belief.approved_minor
        if undone:
            undoing = f"{side.removesuffix('s')}_reversals"
            totals += Totals(**{undoing: 1, f"{undoing}_minor": undone})
    return totals


async def settle(
    terminal: Terminal,
    totals: Totals,
    *,
    is_after_upload: bool = False,
    currency: str = "",
) -> Answer | None:
    """Settle a terminal's batch over these totals; None when no answer comes.

    They are in the terminal's currency, if no other one is given.
    """
    currency = currency or terminal.profile.currency
    fields = totals_fields(terminal.dialect, totals, currency)
    extra = {**fields, **(AFTER_UPLOAD if is_after_upload else {})}
    return await terminal.exchange(
        _build(terminal, Kind.RECONCILIATION, Function.REQUEST, extra=extra)
    )


async def upload(terminal: Terminal, belief: Belief) -> Outcome | None:
    """Upload one transaction of a batch; None when no answer comes."""
    original = OriginalData(
        kind=belief.kind,
        mti="0200",
        stan=belief.stan,
        transmitted_at=belief.local_at,
        local_at=belief.local_at,
    )
    request = _build(
        terminal, Kind.BATCH_UPLOAD, Function.ADVICE, original=original, of=belief
    )
    answer = await terminal.exchange(request)
    return answer.outcome if answer else None


def issuer_totals(bookings: Iterable[Booking], date: str, currency: str) -> Totals:
    """Count what an issuer's books say of a business day.

    A void counts as the reversal of what it undoes, its own reversal as that again.
    """
    totals = Totals()
    for booking in bookings:
        kind, minor = booking.kind, booking.amount_minor
        if booking.transaction == Kind.VOID:
            kind, minor = _OPPOSITES.get(kind, kind), -minor
        name = _SIDES.get((kind, minor > 0))
        is_ours = (booking.business_date, booking.currency) == (date, currency)
        if name is not None and is_ours and minor:
            totals += Totals(**{name: 1, f"{name}_minor": abs(minor)})
    return totals


def compare_totals(settlement: Settlement, ours: Totals) -> Outcome:
    """Confirm an acquirer's totals, or tell it ours."""
    if settlement.totals and settlement.totals.standing == ours.standing:
        return Outcome(code=ResponseCode.APPROVED)
    return Outcome(code=ResponseCode.RECONCILIATION_ERROR, totals=ours)


def _build(
    terminal: Terminal,
    kind: Kind,
    function: Function,
    *,
    extra: Mapping[int, FieldValue] | None = None,
    original: OriginalData | None = None,
    of: Belief | None = None,
) -> Request:
    now = terminal.now().replace(microsecond=0)
    transaction = Transaction(
        kind=kind,
        function=function,
        stan=terminal.draw_stan(),
        transmitted_at=now,
        local_at=now.replace(tzinfo=None),
        amount=of.amount if of else None,
        terminal_id=terminal.profile.terminal_id,
        merchant_id=terminal.profile.merchant_id,
        original=original,
    )
    leg = LegNumbers(stan=transaction.stan, rrn="", transmitted_at=now, acquirer_id="")
    message = terminal.dialect.to_request(
        transaction, leg, mac=bool(terminal.profile.tak), extra=extra or {}
    )
    return Request(transaction=transaction, message=terminal.with_mac(message))


_OPPOSITES = {
    BookingKind.APPROVED: BookingKind.REVERSED,
    BookingKind.REVERSED: BookingKind.APPROVED,
}
_SIDES = {
    (BookingKind.APPROVED, True): "debits",
    (BookingKind.REVERSED, True): "debit_reversals",
    (BookingKind.APPROVED, False): "credits",
    (BookingKind.REVERSED, False): "credit_reversals",
}
