"""Transfers of others to our customers: checked, booked, answered, and given back.

The rules are those of ``clearing/receipt.py``; here they meet the store, the clock and
the clearing house. What is received becomes one unit of work: the receipt, the credit
in the ledger, and the record; only then the answer leaves. The same transfer again
finds the receipt and gets the same answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

import structlog
import trio

from isoswitch.clearing.profiles import PROFILES, TransferProfile, is_over
from isoswitch.clearing.receipt import (
    Offer,
    Receipt,
    ReceiptEffect,
    ReceiptEvent,
    ReceiptState,
    advance_receipt,
    find_refusal,
)
from isoswitch.clearing.reports import bookings_of_receipt
from isoswitch.clearing.transfer import Event, EventRefused
from isoswitch.clearing.transfer import Transfer as SentTransfer
from isoswitch.codecs.canonical.errors import LinkDown, StoreUnavailable
from isoswitch.codecs.iso20022.exceptions import CancellationRequest, Recall
from isoswitch.codecs.iso20022.rules import find_breaches
from isoswitch.codecs.iso20022.transfers import (
    CustomerTransfer,
    StatusRequest,
    Transfer,
)
from isoswitch.codecs.iso20022.values import OriginalMessage
from isoswitch.journal.records import Record, RecordKind
from isoswitch.ledger.entries import LedgerRefused
from isoswitch.ledger.holds import Capture, Change, Place, Return
from isoswitch.store.days import DayClosed
from isoswitch.store.port import OwnershipLost, UnitOfWork
from isoswitch.store.rows import RowMove
from isoswitch.switch.interbank.answers import (
    NOTHING_RECEIVED,
    build_answer,
    build_refusal,
    build_resolution,
    build_return,
    status_of,
    unknown_status,
)
from isoswitch.switch.interbank.documents import News
from isoswitch.switch.interbank.house import House
from isoswitch.switch.interbank.reports import our_items
from isoswitch.switch.interbank.transfers import clearing_account
from isoswitch.switch.numbers import to_rrn
from isoswitch.switch.ports import iso_time
from isoswitch.switch.services import Services

TICK_S = 1.0
ATTEMPTS_MAX = 3
# Other content under a name that was used before.
NAME_TAKEN = "DU03"
# We follow the request of who sent it; its money went on already; we are not asked to.
FOLLOWING, SPENT, NOT_AGREED = "FOCR", "AM04", "CUST"
RETURN = "pacs.004"

# What the house says of a transfer to us, and of one that we give back.
_EVENTS: Mapping[tuple[bool, Event], ReceiptEvent] = {
    (False, Event.SETTLED): ReceiptEvent.SETTLED,
    (False, Event.REJECTED): ReceiptEvent.NOT_SETTLED,
    (False, Event.NEVER_RECEIVED): ReceiptEvent.NOT_SETTLED,
    (True, Event.SETTLED): ReceiptEvent.RETURN_TAKEN,
    (True, Event.REJECTED): ReceiptEvent.RETURN_REFUSED,
    (True, Event.NEVER_RECEIVED): ReceiptEvent.RETURN_REFUSED,
}

log = structlog.get_logger()


class Receipts:
    """Takes transfers from some clearing houses, and gives back what has to be."""

    def __init__(
        self, current: Callable[[], Services], houses: Mapping[str, House]
    ) -> None:
        self._current = current
        self._houses = houses

    async def run(self) -> None:
        """Tell of returns until the house has taken them, until cancelled."""
        while True:
            try:
                await self._tell_returns()
            except StoreUnavailable as error:
                log.error("returns_postponed", reason=str(error))
            await trio.sleep(TICK_S)

    async def take(self, house: House, message: CustomerTransfer, name: str) -> bytes:
        """Take or refuse the transfers of a pacs.008 and give the answer to it.

        Raises
        ------
        StoreUnavailable
            Nothing is known to be booked and nothing may be answered.
        """
        now, member = self._current().clock.now(), house.settings.member
        original = OriginalMessage(message_id=message.message_id, message_name=name)
        breaches = find_breaches(message)
        if breaches:
            return build_refusal(
                original, breaches, message_id=self._draw("A"), at=now, member=member
            )
        receipts = [
            await self._book(
                await self._decide(house, original, part, message.created_at)
            )
            for part in message.transfers
        ]
        first = receipts[0]
        return build_answer(
            (status_of(each, original, _profile(house)) for each in receipts),
            message_id=f"{to_rrn(first.transaction_id)}A",
            at=datetime.fromisoformat(first.received_at),
            member=member,
        )

    async def tell(self, house: House, request: StatusRequest) -> bytes:
        """Answer a pacs.028 about transfers to us."""
        statuses = []
        for each in request.questions:
            key = _key(house, each.uetr, each.transaction_id)
            receipt = await self._current().store.find_row(Receipt, key)
            if receipt is None:
                statuses.append(unknown_status(each))
                continue
            original = each.original or OriginalMessage(
                message_id=receipt.message_id, message_name=receipt.message_name
            )
            statuses.append(status_of(receipt, original, _profile(house)))
        return build_answer(
            statuses,
            message_id=self._draw("S"),
            at=self._current().clock.now(),
            member=house.settings.member,
        )

    async def recall(self, house: House, request: CancellationRequest) -> list[bytes]:
        """Answer a camt.056: agree, or say why not; ``run`` gives the money back."""
        told: list[bytes] = []
        at, member = self._current().clock.now(), house.settings.member
        for each in request.recalls:
            key = _key(house, each.uetr, each.transaction_id)
            receipt = await self._current().store.find_row(Receipt, key)
            refusal = _refuse_recall(house, each, receipt)
            if receipt is not None and not refusal:
                try:
                    await self.give_back(receipt, FOLLOWING)
                except (EventRefused, LedgerRefused):
                    refusal = SPENT
            if refusal:
                reasons = [reason.code for reason in each.reasons]
                body = {
                    "endpoint": house.settings.name,
                    "uetr": each.uetr,
                    "event": "recall_refused",
                    "reason": f"asked for {reasons}, answered {refusal}",
                }
                name = receipt.transaction_id if receipt else ""
                await self._current().recorder.note(RecordKind.RECEIVED, name, body)
            answer_id = self._draw("C")
            told.append(
                build_resolution(
                    request, each, refusal, message_id=answer_id, at=at, member=member
                )
            )
        return told

    async def give_back(self, receipt: Receipt, reason: str) -> Receipt:
        """Take a transfer from its customer again, and owe its sender the return.

        Raises
        ------
        EventRefused
            It is not here any more.
        LedgerRefused
            Its money is not here any more.
        """
        return await self._change(receipt, ReceiptEvent.GIVE_BACK, return_reason=reason)

    async def hear(self, house: House, news: News) -> None:
        """Take what the house says of a transfer to us, or of one that we give back."""
        key = _key(house, news.uetr, news.transaction_id)
        receipt = await self._current().store.find_row(Receipt, key)
        if receipt is None:
            log.warning("news_of_unknown_transfer", uetr=news.uetr)
            return
        event = _EVENTS.get((news.about.startswith(RETURN), news.event))
        if event is None and news.event is Event.PROGRESS:
            return
        try:
            if event is None:
                raise EventRefused(f"{news.event} of what was received")
            await self._change(receipt, event, told=news.reason)
        except (EventRefused, LedgerRefused) as refusal:
            await self._except(receipt, str(refusal))

    async def is_named(self, house: House, news: News) -> bool:
        """Whether a house speaks of a message that we got, or of a return of ours."""
        if news.about.startswith(RETURN):
            return True
        if (False, news.event) not in _EVENTS:
            # Only who has sent a transfer hears this of it.
            return False
        key = _key(house, news.uetr, news.transaction_id)
        receipt = await self._current().store.find_row(Receipt, key)
        return receipt is not None and receipt.message_id == news.original_message_id

    async def _decide(
        self,
        house: House,
        original: OriginalMessage,
        part: Transfer,
        created_at: datetime,
    ) -> Receipt:
        """Give the receipt that an offered transfer makes; nothing is booked yet."""
        services = self._current()
        # Another configuration may have other payees at our bank.
        settings = services.settings.houses[house.settings.name]
        numbers, now = services.numbers.draw(), services.clock.now()
        began_at = part.accepted_at or created_at
        account = part.creditor_account
        number = (account.iban or account.number) if account else ""
        reason = find_refusal(
            Offer(
                amount=part.amount,
                creditor_agent=part.creditor_agent.bic,
                account=number,
                expires_at=began_at.timestamp() + _profile(house).receiver_s,
            ),
            member=settings.member,
            accounts=settings.accounts,
            blocked=settings.blocked,
            currency=services.settings.default_currency,
            now=now.timestamp(),
        )
        credited = "" if reason else settings.accounts[number]
        sent = await self._find_sent(settings.name, part.uetr)
        if sent is not None and not reason:
            reason, credited = await self._take_back(sent, part, credited)
        return Receipt(
            id=_key(house, part.uetr, part.transaction_id),
            transaction_id=numbers.transaction_id,
            endpoint=settings.name,
            message_id=original.message_id,
            message_name=original.message_name,
            uetr=part.uetr,
            end_to_end_id=part.end_to_end_id,
            their_id=part.transaction_id,
            amount_minor=part.amount.minor,
            currency=part.amount.currency,
            debtor_agent=part.debtor_agent.bic,
            creditor_agent=part.creditor_agent.bic,
            account=credited,
            digest=_digest(part, number),
            received_at=iso_time(now),
            state=ReceiptState.REFUSED if reason else ReceiptState.CREDITED,
            reason=reason,
        )

    async def _find_sent(self, endpoint: str, uetr: str) -> SentTransfer | None:
        """Find the transfer of ours that a house hands to us, the payee's bank."""
        sent = await self._current().store.find_transfer(uetr) if uetr else None
        return sent if sent is not None and sent.endpoint == endpoint else None

    async def _take_back(
        self, sent: SentTransfer, part: Transfer, account: str
    ) -> tuple[str, str]:
        """Give why a transfer of ours is refused, and else who is credited by it.

        A merchant who is paid by it is credited when we hear as its sender that it is
        settled. What arrives is then what the house owed us for that.
        """
        if (part.amount, part.creditor_agent.bic) != (sent.amount, sent.creditor_agent):
            return NAME_TAKEN, ""
        hold = await self._current().store.find_hold(sent.id)
        owed = clearing_account(sent.endpoint)
        is_refund = hold is not None and hold.credit == owed
        return "", account if is_refund else owed

    async def _book(self, offered: Receipt) -> Receipt:
        """Store a receipt with its credit, or find the one that was stored before."""
        store = self._current().store
        for _ in range(ATTEMPTS_MAX):
            known = await store.find_row(Receipt, offered.id)
            if known is not None and known.digest == offered.digest:
                return known
            if known is not None:
                return replace(offered, state=ReceiptState.REFUSED, reason=NAME_TAKEN)
            try:
                await self._commit(None, offered, RecordKind.RECEIVED)
            except OwnershipLost:
                continue
            except DayClosed as closed:
                self._current().days.learn(closed.open_date)
                continue
            return offered
        raise StoreUnavailable(f"receipt {offered.transaction_id} was not stored")

    async def _change(
        self,
        receipt: Receipt,
        event: ReceiptEvent,
        *,
        told: str = "",
        return_reason: str = "",
    ) -> Receipt:
        """Apply an event; a lost race is run again on what is there then."""
        before: Receipt | None = receipt
        kind = RecordKind.ANSWERED
        if event is ReceiptEvent.GIVE_BACK:
            kind = RecordKind.FORWARDED
        for _ in range(ATTEMPTS_MAX):
            assert before is not None, "receipts are never removed"
            after, effects = advance_receipt(before, event)
            if after == before and not effects:
                return before
            if after.state is ReceiptState.RETURNING:
                after = replace(after, return_reason=return_reason)
            elif after.state is ReceiptState.CANCELLED:
                after = replace(after, reason=told or "AB05")
            if ReceiptEffect.ALARM in effects:
                await self._except(after, f"{event} while {before.state}")
            try:
                if after != before:
                    debits = ReceiptEffect.DEBIT in effects
                    await self._commit(before, after, kind, event=event, debits=debits)
            except OwnershipLost:
                before = await self._current().store.find_row(Receipt, receipt.id)
                continue
            except DayClosed as closed:
                self._current().days.learn(closed.open_date)
                continue
            return after
        raise StoreUnavailable(f"receipt {receipt.transaction_id} was not changed")

    async def _tell_returns(self) -> None:
        """Tell again of every return that the house has not taken in time."""
        services = self._current()
        now = services.clock.now().timestamp()
        rows = await services.store.find_rows(Receipt, state=ReceiptState.RETURNING)
        for receipt in rows:
            house = self._houses.get(receipt.endpoint)
            if house is None or not house.is_up:
                continue
            profile = _profile(house)
            if not is_over(receipt.next_at, now=now, within_s=profile.ask_every_s):
                continue
            after = replace(
                receipt,
                attempts=receipt.attempts + 1,
                next_at=now + profile.ask_every_s,
            )
            try:
                await self._commit(receipt, after, RecordKind.FORWARDED)
                await house.send(self._return(house, after))
            except OwnershipLost:
                continue
            except LinkDown as error:
                log.info("return_not_sent", uetr=receipt.uetr, reason=str(error))
            if after.attempts == profile.asks_max + 1:
                await self._except(after, "returned in vain; the house does not answer")

    def _return(self, house: House, receipt: Receipt) -> bytes:
        return build_return(
            receipt,
            _profile(house),
            at=self._current().clock.now(),
            member=house.settings.member,
        )

    async def _commit(
        self,
        before: Receipt | None,
        after: Receipt,
        kind: RecordKind,
        *,
        event: str = "",
        debits: bool = False,
    ) -> None:
        body = {
            "endpoint": after.endpoint,
            "uetr": after.uetr,
            "state": after.state,
            "event": event,
            "amount": str(after.amount),
            "reason": after.return_reason or after.reason,
        }
        at = iso_time(self._current().clock.now())
        record = Record(
            kind=kind, transaction_id=after.transaction_id, at=at, body=body
        )
        changes: tuple[Change, ...] = ()
        if before is None and after.state is ReceiptState.CREDITED:
            changes = self._credit(after)
        elif debits:
            changes = (
                Return(
                    id=after.transaction_id,
                    by=f"{after.transaction_id}/back",
                    business_date=self._current().days.date,
                    minor=after.amount_minor,
                ),
            )
        # What we sent ourselves is counted as that, once.
        sent = await self._find_sent(after.endpoint, after.uetr)
        booked = () if sent else bookings_of_receipt(before, after)
        items = await our_items(self._current(), after.endpoint, booked, after.currency)
        await self._current().store.commit(
            UnitOfWork(
                records=(record,),
                rows=(RowMove(expect=before, row=after), *items),
                ledger=changes,
            )
        )

    def _credit(self, receipt: Receipt) -> tuple[Change, ...]:
        """Owe the customer what the house owes us."""
        name = receipt.transaction_id
        return (
            Place(
                id=name,
                debit=settlement_account(receipt.endpoint),
                credit=receipt.account,
                amount=receipt.amount,
            ),
            Capture(
                id=name,
                by=name,
                minor=receipt.amount_minor,
                business_date=self._current().days.date,
            ),
        )

    async def _except(self, receipt: Receipt, reason: str) -> None:
        """Write down what an operator must look at."""
        body = {"endpoint": receipt.endpoint, "uetr": receipt.uetr, "reason": reason}
        await self._current().recorder.note(
            RecordKind.EXCEPTION, receipt.transaction_id, body
        )
        log.error(
            "receipt_exception", transaction=receipt.transaction_id, reason=reason
        )

    def _draw(self, letter: str) -> str:
        return f"{self._current().numbers.draw().rrn}{letter}"


def settlement_account(house: str) -> str:
    """Name the account of what we have at a clearing house for our customers."""
    return f"settlement/{house}"


def _profile(house: House) -> TransferProfile:
    return PROFILES[house.settings.profile]


def _key(house: House, uetr: str, transaction_id: str) -> str:
    """Name a transfer among all: no house has a say in what came over another."""
    return f"{house.settings.name}/{uetr or transaction_id}"


def _digest(part: Transfer, account: str) -> str:
    """Give what a transfer says, in few letters; no account is kept in clear."""
    said = (
        part.amount,
        part.debtor_agent.bic,
        part.creditor_agent.bic,
        account,
        part.end_to_end_id,
        part.transaction_id,
    )
    return hashlib.sha256(repr(said).encode()).hexdigest()


def _refuse_recall(house: House, recall: Recall, receipt: Receipt | None) -> str:
    """Give the reason why a recall is refused; empty where it is agreed to."""
    if receipt is None or receipt.state in {
        ReceiptState.REFUSED,
        ReceiptState.CANCELLED,
    }:
        return NOTHING_RECEIVED
    if recall.amount is not None and recall.amount != receipt.amount:
        return NOTHING_RECEIVED
    if receipt.state is not ReceiptState.CREDITED:
        return ""
    agreed = house.settings.recalls_agreed
    return "" if any(each.code in agreed for each in recall.reasons) else NOT_AGREED
