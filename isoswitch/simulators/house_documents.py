"""What a simulated clearing house writes: one function for each kind of message."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from isoswitch.clearing.netting import NetPosition
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.iso20022.exceptions import (
    CancellationRequest,
    Case,
    Recall,
    RecallStatus,
    Resolution,
)
from isoswitch.codecs.iso20022.reports import (
    AccountReport,
    Balance,
    EntryDetail,
    IntradayReport,
    Notification,
    ReportEntry,
    Statement,
)
from isoswitch.codecs.iso20022.transfers import (
    CustomerTransfer,
    Movement,
    PaymentReturn,
    ReturnedTransfer,
    Settlement,
    SettlementRequest,
    StatusReport,
    Transfer,
    TransferStatus,
)
from isoswitch.codecs.iso20022.values import Account, OriginalMessage, Reason

PAYMENT_NAME = "pacs.008.001.08"


def payment_of(
    transfer: Transfer, *, message_id: str, at: datetime
) -> CustomerTransfer:
    """Give the pacs.008 of one transfer."""
    return CustomerTransfer(
        message_id=message_id,
        created_at=at,
        count=1,
        total=transfer.amount,
        settlement_date=at.date(),
        transfers=(transfer,),
    )


def status_of(
    transfer: Transfer,
    status: str,
    *,
    original_id: str,
    reason: str = "",
    original_name: str = PAYMENT_NAME,
) -> TransferStatus:
    """Give what became of a transfer, for a pacs.002."""
    return TransferStatus(
        status=status,
        original=OriginalMessage(message_id=original_id, message_name=original_name),
        end_to_end_id=transfer.end_to_end_id,
        transaction_id=transfer.transaction_id,
        uetr=transfer.uetr,
        reasons=(Reason(code=reason),) if reason else (),
    )


def report_of(status: TransferStatus, *, message_id: str, at: datetime) -> StatusReport:
    """Give the pacs.002 of one status."""
    return StatusReport(message_id=message_id, created_at=at, statuses=(status,))


def return_of(
    transfer: Transfer,
    reason: str,
    *,
    message_id: str,
    original_id: str,
    at: datetime,
) -> PaymentReturn:
    """Give the pacs.004 of a whole transfer."""
    returned = ReturnedTransfer(
        returned_amount=transfer.amount,
        return_id=message_id,
        original=OriginalMessage(message_id=original_id, message_name=PAYMENT_NAME),
        end_to_end_id=transfer.end_to_end_id,
        transaction_id=transfer.transaction_id,
        uetr=transfer.uetr,
        original_amount=transfer.amount,
        reasons=(Reason(code=reason),),
    )
    return PaymentReturn(
        message_id=message_id,
        created_at=at,
        count=1,
        total=transfer.amount,
        settlement_date=at.date(),
        returns=(returned,),
    )


def recall_of(
    transfer: Transfer,
    reason: str,
    *,
    message_id: str,
    original_id: str,
    at: datetime,
) -> CancellationRequest:
    """Give the camt.056 by which the sender of a transfer wants it back."""
    sender = transfer.debtor_agent
    return CancellationRequest(
        message_id=message_id,
        assigner=sender,
        assignee=transfer.creditor_agent,
        created_at=at,
        case=Case(case_id=message_id, creator=sender),
        recalls=(
            Recall(
                cancellation_id=message_id,
                original=OriginalMessage(
                    message_id=original_id, message_name=PAYMENT_NAME
                ),
                end_to_end_id=transfer.end_to_end_id,
                transaction_id=transfer.transaction_id,
                uetr=transfer.uetr,
                amount=transfer.amount,
                reasons=(Reason(code=reason),),
            ),
        ),
    )


def resolution_of(
    request: CancellationRequest,
    recall: Recall,
    confirmation: str,
    *,
    message_id: str,
    at: datetime,
) -> Resolution:
    """Give the camt.029 that answers a recall with IPAY or RJCR."""
    return Resolution(
        message_id=message_id,
        assigner=request.assignee,
        assignee=request.assigner,
        created_at=at,
        case=request.case,
        confirmation=confirmation,
        statuses=(
            RecallStatus(
                original=recall.original,
                end_to_end_id=recall.end_to_end_id,
                transaction_id=recall.transaction_id,
                uetr=recall.uetr,
            ),
        ),
    )


def settlement_of(
    window: str, moved: Sequence[NetPosition], *, message_id: str, at: datetime
) -> SettlementRequest:
    """Give the pacs.029 of a window: one movement for each participant."""
    movements = tuple(
        Movement(
            movement_id=f"{number:04d}",
            amount=Money(abs(each.amount.minor), each.amount.currency),
            is_credit=each.amount.minor > 0,
            bic=each.participant,
        )
        for number, each in enumerate(moved, start=1)
    )
    settlement = Settlement(
        instruction_id=window,
        cycle=window[-3:],
        count=len(movements),
        movements=movements,
    )
    return SettlementRequest(
        message_id=message_id, created_at=at, count=1, settlements=(settlement,)
    )


def entry_of(
    transfer: Transfer,
    *,
    reference: str,
    is_credit: bool,
    is_return: bool,
    day: date,
) -> ReportEntry:
    """Give the booking that a transfer, or its return, makes on a position."""
    detail = EntryDetail(
        end_to_end_id=transfer.end_to_end_id,
        uetr=transfer.uetr,
        transaction_id=transfer.transaction_id,
        amount=transfer.amount,
        is_credit=is_credit,
    )
    return ReportEntry(
        reference=reference,
        amount=transfer.amount,
        is_credit=is_credit,
        is_reversal=True if is_return else None,
        status="BOOK",
        booked_on=day,
        value_on=day,
        servicer_reference=reference,
        domain="PMNT",
        # Received and issued real-time credit transfers.
        family="RRCT" if is_credit else "IRCT",
        subfamily="OTHR",
        details=(detail,),
    )


def notification_of(
    participant: str, entries: Sequence[ReportEntry], *, message_id: str, at: datetime
) -> Notification:
    """Give the camt.054 of some bookings."""
    report = _report(participant, entries, (), message_id=message_id, at=at)
    return Notification(message_id=message_id, created_at=at, reports=(report,))


def intraday_of(
    participant: str,
    entries: Sequence[ReportEntry],
    *,
    currency: str,
    message_id: str,
    at: datetime,
) -> IntradayReport:
    """Give the camt.052 of a window that is not over."""
    balances = _balances(entries, ("OPBD", "ITBD"), currency, at.date())
    report = _report(participant, entries, balances, message_id=message_id, at=at)
    return IntradayReport(message_id=message_id, created_at=at, reports=(report,))


def statement_of(
    participant: str,
    entries: Sequence[ReportEntry],
    *,
    currency: str,
    message_id: str,
    at: datetime,
) -> Statement:
    """Give the camt.053 of a window; it begins with nothing."""
    balances = _balances(entries, ("OPBD", "CLBD"), currency, at.date())
    report = _report(participant, entries, balances, message_id=message_id, at=at)
    return Statement(message_id=message_id, created_at=at, reports=(report,))


def _balances(
    entries: Sequence[ReportEntry], kinds: tuple[str, str], currency: str, day: date
) -> tuple[Balance, ...]:
    sums = sum(
        each.amount.minor if each.is_credit else -each.amount.minor for each in entries
    )
    return tuple(
        Balance(
            kind=kind,
            amount=Money(abs(minor), currency),
            is_credit=minor >= 0,
            day=day,
        )
        for kind, minor in zip(kinds, (0, sums), strict=True)
    )


def _report(
    participant: str,
    entries: Sequence[ReportEntry],
    balances: tuple[Balance, ...],
    *,
    message_id: str,
    at: datetime,
) -> AccountReport:
    return AccountReport(
        report_id=message_id,
        created_at=at,
        account=Account(number=participant),
        balances=balances,
        entries=tuple(entries),
    )
