"""What we say of transfers that somebody sent us, as ISO 20022 messages.

taken or refused     pacs.002      money goes back      pacs.004
recall answered      camt.029
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from isoswitch.clearing.profiles import TransferProfile
from isoswitch.clearing.receipt import Receipt, ReceiptState
from isoswitch.codecs.iso20022.exceptions import (
    CancellationRequest,
    Recall,
    RecallStatus,
    Resolution,
)
from isoswitch.codecs.iso20022.messages import build_message, header_for
from isoswitch.codecs.iso20022.rules import Breach
from isoswitch.codecs.iso20022.transfers import (
    GroupStatus,
    PaymentReturn,
    ReturnedTransfer,
    StatusQuestion,
    StatusReport,
    TransferStatus,
)
from isoswitch.codecs.iso20022.values import Agent, OriginalMessage, Reason
from isoswitch.switch.numbers import to_rrn

# Not one of the house's transfers to us (external list of status reasons).
UNKNOWN = "AG09"
# Nothing was received, or nothing of it is here (external list of recall refusals).
NOTHING_RECEIVED = "NOOR"
_NOT_HERE = frozenset({ReceiptState.REFUSED, ReceiptState.CANCELLED})


def status_of(
    receipt: Receipt, original: OriginalMessage, profile: TransferProfile
) -> TransferStatus:
    """Say what became of a transfer, in answer to the message ``original``."""
    is_here = receipt.state not in _NOT_HERE
    return TransferStatus(
        status=profile.taken_status if is_here else "RJCT",
        original=original,
        end_to_end_id=receipt.end_to_end_id,
        transaction_id=receipt.their_id,
        uetr=receipt.uetr,
        reasons=() if is_here else (Reason(code=receipt.reason),),
    )


def unknown_status(question: StatusQuestion) -> TransferStatus:
    """Say that a transfer that somebody asks about was never received."""
    return TransferStatus(
        status="RJCT",
        original=question.original,
        instruction_id=question.instruction_id,
        end_to_end_id=question.end_to_end_id,
        transaction_id=question.transaction_id,
        uetr=question.uetr,
        reasons=(Reason(code=UNKNOWN),),
    )


def build_answer(
    statuses: Iterable[TransferStatus], *, message_id: str, at: datetime, member: str
) -> bytes:
    """Build the pacs.002 that says what became of transfers."""
    message = StatusReport(
        message_id=message_id, created_at=at, statuses=tuple(statuses)
    )
    return _octets(message, at=at, member=member)


def build_refusal(
    original: OriginalMessage,
    breaches: Sequence[Breach],
    *,
    message_id: str,
    at: datetime,
    member: str,
) -> bytes:
    """Build the pacs.002 that refuses a whole message, with all that is wrong in it."""
    group = GroupStatus(
        message_id=original.message_id,
        message_name=original.message_name,
        status="RJCT",
        reasons=tuple(
            Reason(code=each.code, details=(each.words,)) for each in breaches
        ),
    )
    message = StatusReport(message_id=message_id, created_at=at, groups=(group,))
    return _octets(message, at=at, member=member)


def build_return(
    receipt: Receipt, profile: TransferProfile, *, at: datetime, member: str
) -> bytes:
    """Build the pacs.004 that gives a transfer back; always under the same names."""
    name = return_name(receipt)
    message = PaymentReturn(
        message_id=name,
        created_at=at,
        count=1,
        settlement_method=profile.settlement_method,
        clearing_system=profile.clearing_system,
        total=receipt.amount,
        settlement_date=at.date(),
        returns=(
            ReturnedTransfer(
                return_id=name,
                returned_amount=receipt.amount,
                original=OriginalMessage(
                    message_id=receipt.message_id, message_name=receipt.message_name
                ),
                end_to_end_id=receipt.end_to_end_id,
                transaction_id=receipt.their_id,
                uetr=receipt.uetr,
                original_amount=receipt.amount,
                reasons=(Reason(code=receipt.return_reason),),
            ),
        ),
    )
    return _octets(message, at=at, member=member)


def return_name(receipt: Receipt) -> str:
    """Give the name of the message that gives a transfer back."""
    return f"{to_rrn(receipt.transaction_id)}R"


def build_resolution(
    request: CancellationRequest,
    recall: Recall,
    refusal: str,
    *,
    message_id: str,
    at: datetime,
    member: str,
) -> bytes:
    """Build the camt.029 that answers a recall; ``refusal`` empty agrees to it."""
    us = Agent(bic=member)
    status = RecallStatus(
        original=recall.original,
        instruction_id=recall.instruction_id,
        end_to_end_id=recall.end_to_end_id,
        transaction_id=recall.transaction_id,
        uetr=recall.uetr,
        status="RJCR" if refusal else "ACCR",
        reasons=(Reason(code=refusal),) if refusal else (),
    )
    message = Resolution(
        message_id=message_id,
        assigner=us,
        assignee=request.assigner or us,
        created_at=at,
        case=recall.case or request.case,
        confirmation="RJCR" if refusal else "IPAY",
        statuses=(status,),
    )
    return _octets(message, at=at, member=member)


def _octets(message: Any, *, at: datetime, member: str) -> bytes:
    header = header_for(
        message,
        message_id=message.message_id,
        created_at=at,
        sender=Agent(bic=member),
        # The house, which has no name of its own here, hands it on.
        receiver=Agent(bic=member),
    )
    return build_message(message, header)
