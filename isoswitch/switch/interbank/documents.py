"""A transfer of ours as the ISO 20022 messages that tell of it, and back.

pay              pacs.008      what became of it     pacs.002
what became?     pacs.028      money comes back      pacs.004
give it back     camt.056      what of the recall    camt.029
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from isoswitch.clearing.profiles import TransferProfile
from isoswitch.clearing.transfer import RECALL_EVENTS, Event, Transfer, status_event
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.iso20022.administration import Rejection
from isoswitch.codecs.iso20022.exceptions import (
    CancellationRequest,
    Case,
    Recall,
    Resolution,
)
from isoswitch.codecs.iso20022.messages import build_message, header_for
from isoswitch.codecs.iso20022.transfers import (
    CustomerTransfer,
    PaymentReturn,
    StatusQuestion,
    StatusReport,
    StatusRequest,
)
from isoswitch.codecs.iso20022.transfers import Transfer as TransferPart
from isoswitch.codecs.iso20022.values import (
    Account,
    Agent,
    OriginalMessage,
    Party,
    Reason,
)

CUSTOMER_TRANSFER = "pacs.008.001.08"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Who pays whom, as the payer's side ordered it; accounts are IBANs or numbers.

    ``refund_of`` is the transaction of which the merchant gives money back.
    """

    amount: Money
    debtor: str
    debtor_account: str
    debtor_agent: str
    creditor: str
    creditor_account: str
    creditor_agent: str
    merchant_id: str
    reference: str = ""
    refund_of: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What a message says of one transfer.

    ``returned`` is money that came back, by the return of the name ``return_id``.
    It is named by ``uetr``, or where that is missing by ``original_message_id`` and
    ``transaction_id``; ``about`` is what the message that it is about is called, such
    as ``pacs.008.001.08``.
    """

    uetr: str
    original_message_id: str
    event: Event
    reason: str = ""
    about: str = ""
    returned: Money | None = None
    return_id: str = ""
    transaction_id: str = ""


def make_uetr(seed: bytes) -> str:
    """Give the version 4 UUID that 16 random-looking bytes make.

    Examples
    --------
    >>> make_uetr(bytes(16))
    '00000000-0000-4000-8000-000000000000'
    """
    return str(UUID(bytes=seed[:16], version=4))


def build_payment(
    transfer: Transfer, order: Order, profile: TransferProfile, *, now: datetime
) -> bytes:
    """Build the pacs.008 that asks for a transfer."""
    part = TransferPart(
        end_to_end_id=transfer.end_to_end_id,
        transaction_id=transfer.message_id,
        uetr=transfer.uetr,
        amount=transfer.amount,
        service_level=profile.service_level,
        local_instrument=profile.local_instrument,
        accepted_at=now,
        debtor=Party(name=order.debtor),
        debtor_account=_account(order.debtor_account),
        debtor_agent=_agent(order.debtor_agent),
        creditor=Party(name=order.creditor),
        creditor_account=_account(order.creditor_account),
        creditor_agent=_agent(order.creditor_agent),
        remittance=(order.reference,) if order.reference else (),
    )
    message = CustomerTransfer(
        message_id=transfer.message_id,
        created_at=now,
        count=1,
        settlement_method=profile.settlement_method,
        clearing_system=profile.clearing_system,
        total=transfer.amount,
        settlement_date=now.date(),
        transfers=(part,),
    )
    return _octets(message, transfer, now=now, message_id=transfer.message_id)


def build_question(transfer: Transfer, *, now: datetime) -> bytes:
    """Build the pacs.028 that asks what became of a transfer."""
    message_id = f"{transfer.message_id}S{transfer.asked}"
    message = StatusRequest(
        message_id=message_id,
        created_at=now,
        questions=(
            StatusQuestion(
                original=_original(transfer),
                end_to_end_id=transfer.end_to_end_id,
                transaction_id=transfer.message_id,
                uetr=transfer.uetr,
            ),
        ),
    )
    return _octets(message, transfer, now=now, message_id=message_id)


def build_recall(
    transfer: Transfer, profile: TransferProfile, *, now: datetime
) -> bytes:
    """Build the camt.056 that asks for the money of a transfer back."""
    message_id = f"{transfer.message_id}R"
    us = _agent(transfer.debtor_agent)
    message = CancellationRequest(
        message_id=message_id,
        assigner=us,
        assignee=_agent(transfer.creditor_agent),
        created_at=now,
        case=Case(case_id=message_id, creator=us),
        recalls=(
            Recall(
                cancellation_id=message_id,
                original=_original(transfer),
                end_to_end_id=transfer.end_to_end_id,
                transaction_id=transfer.message_id,
                uetr=transfer.uetr,
                amount=transfer.amount,
                reasons=(Reason(code=profile.recall_reason),),
            ),
        ),
    )
    return _octets(message, transfer, now=now, message_id=message_id)


def read_news(message: Any) -> Iterator[News]:
    """Give what a message says of transfers; nothing where it says nothing of any."""
    match message:
        case StatusReport():
            yield from _read_status(message)
        case PaymentReturn():
            yield from _read_return(message)
        case Resolution():
            yield from _read_resolution(message)
        case Rejection():
            yield News(
                uetr="",
                original_message_id=message.reference,
                event=Event.REJECTED,
                reason=message.reason,
            )
        case _:
            return


def _read_status(message: StatusReport) -> Iterator[News]:
    for group in message.groups:
        if group.status and not message.statuses:
            reason = _reason(group.reasons)
            yield News(
                uetr="",
                original_message_id=group.message_id,
                event=status_event(group.status, reason),
                reason=reason,
            )
    for status in message.statuses:
        reason = _reason(status.reasons)
        yield News(
            uetr=status.uetr,
            original_message_id=status.original.message_id if status.original else "",
            event=status_event(status.status, reason),
            reason=reason,
            about=status.original.message_name if status.original else "",
            transaction_id=status.transaction_id,
        )


def _read_return(message: PaymentReturn) -> Iterator[News]:
    for each in message.returns:
        original = each.original or message.original
        yield News(
            uetr=each.uetr,
            original_message_id=original.message_id if original else "",
            event=Event.RETURNED,
            reason=_reason(each.reasons),
            returned=each.returned_amount,
            # Kept in a list by blanks; a sender may leave its own name out.
            return_id="".join((each.return_id or message.message_id).split()),
        )


def _read_resolution(message: Resolution) -> Iterator[News]:
    event = RECALL_EVENTS.get(message.confirmation, Event.PROGRESS)
    for status in message.statuses:
        yield News(
            uetr=status.uetr,
            original_message_id=status.original.message_id if status.original else "",
            event=event,
            reason=_reason(status.reasons),
        )


def _octets(
    message: Any, transfer: Transfer, *, now: datetime, message_id: str
) -> bytes:
    header = header_for(
        message,
        message_id=message_id,
        created_at=now.astimezone(UTC),
        sender=_agent(transfer.debtor_agent),
        receiver=_agent(transfer.creditor_agent),
    )
    return build_message(message, header)


def _original(transfer: Transfer) -> OriginalMessage:
    return OriginalMessage(
        message_id=transfer.message_id, message_name=CUSTOMER_TRANSFER
    )


def _agent(bic: str) -> Agent:
    return Agent(bic=bic)


def _account(number: str) -> Account:
    is_iban = number[:2].isalpha() and number[2:4].isdecimal()
    return Account(iban=number) if is_iban else Account(number=number)


def _reason(reasons: tuple[Reason, ...]) -> str:
    return next((each.code or each.proprietary for each in reasons), "")
