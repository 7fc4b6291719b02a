"""Instant transfers of ours: written down, sent, followed until nothing is expected.

The rules are those of ``clearing/transfer.py``; here they meet the store, the clock and
the clearing house. Every step is one unit of work: the transfer's new state, what it
does to the ledger, and the record that tells of it. A transfer has no owner in memory:
whoever reads the store goes on with it, so that a restart changes nothing.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Set
from dataclasses import dataclass, replace
from typing import Any

import structlog
import trio

from isoswitch.clearing.profiles import (
    HELD_STATES,
    PROFILES,
    SKEW_MAX_S,
    TransferProfile,
    is_over,
)
from isoswitch.clearing.reports import bookings_of_transfer
from isoswitch.clearing.transfer import (
    PAID_STATES,
    UNDECIDED,
    Effect,
    Event,
    EventRefused,
    Transfer,
    TransferState,
    advance,
    take_return,
)
from isoswitch.codecs.canonical.errors import (
    LinkDown,
    StoreUnavailable,
)
from isoswitch.codecs.canonical.money import Money
from isoswitch.journal.records import Record, RecordKind
from isoswitch.ledger.entries import LedgerRefused
from isoswitch.ledger.holds import Capture, Change, Place, Redirect, Release, Return
from isoswitch.store.days import DayClosed
from isoswitch.store.port import OwnershipLost, TransferMove, UnitOfWork
from isoswitch.store.rows import RowMove
from isoswitch.switch.interbank.documents import (
    News,
    Order,
    build_payment,
    build_question,
    build_recall,
    make_uetr,
)
from isoswitch.switch.interbank.house import House
from isoswitch.switch.interbank.reports import our_items
from isoswitch.switch.ports import iso_time
from isoswitch.switch.services import Services

TICK_S = 0.5
ATTEMPTS_MAX = 3
NOTHING = UnitOfWork(records=())
TOLD = frozenset({Effect.TELL_PAID, Effect.TELL_FAILED})
# States in which the house is asked again and again.
FOLLOWED = frozenset({TransferState.IN_DOUBT, TransferState.RECALLING, *HELD_STATES})

# What else is stored when money of a transfer has come back.
GivenBack = Callable[[Transfer], Awaitable[UnitOfWork]]

log = structlog.get_logger()


@dataclass(slots=True, eq=False)
class _Waiter:
    """Whoever ordered a transfer and waits to be told."""

    told: trio.Event
    is_paid: bool = False

    def tell(self, *, is_paid: bool) -> None:
        """Let it go on; what is said first stands."""
        if not self.told.is_set():
            self.is_paid = is_paid
            self.told.set()


class Transfers:
    """Makes and follows the transfers over some clearing houses."""

    def __init__(self, services: Services, houses: Mapping[str, House]) -> None:
        self._services = services
        self._houses = houses
        self._waiters: dict[str, _Waiter] = {}
        # When a transfer was first seen here that somebody else should end.
        self._seen_at: dict[str, float] = {}
        # How often a transfer was asked about when we last looked, and since when.
        self._asked_at: dict[str, tuple[int, float]] = {}
        self.on_given_back: GivenBack | None = None

    async def pay(
        self,
        transaction_id: str,
        order: Order,
        *,
        house: str,
        opening: UnitOfWork = NOTHING,
    ) -> bool:
        """Move money now; gives whether it was, at the latest at the deadline.

        False is final for the payer: what arrives later is recalled. ``opening`` is
        stored together with the intent to send.

        Raises
        ------
        StoreUnavailable
            Nothing was sent.
        OwnershipLost, LedgerRefused, DayClosed
            The opening is refused; nothing was sent.
        """
        services, endpoint = self._services, self._houses[house]
        profile = PROFILES[endpoint.settings.profile]
        now = services.clock.now()
        created = self._create(
            transaction_id, order, house, now.timestamp() + profile.total_s
        )
        sent, _ = advance(created, Event.SENDING)
        waiter = self._waiters[created.uetr] = _Waiter(trio.Event())
        try:
            await self._commit(
                TransferMove(expect=None, transfer=sent),
                RecordKind.SENDING,
                ledger=(_place(created.id, order, house),),
                opening=opening,
            )
            await self._send_payment(endpoint, sent, order, profile)
            with trio.move_on_after(profile.total_s):
                await waiter.told.wait()
            if not waiter.told.is_set():
                await self._happen(sent, Event.EXPIRED)
            return waiter.is_paid
        finally:
            del self._waiters[created.uetr]

    async def run(self) -> None:
        """Expire, ask and recall, until cancelled or nothing can be open any more."""
        while True:
            try:
                waiting = await self._services.store.open_transfers()
                if not waiting and not self._houses:
                    # Without a house no transfer begins.
                    return
                await self._look(waiting)
                for transfer in waiting:
                    await self._follow(transfer)
                self._forget({each.id for each in waiting})
            except StoreUnavailable as error:
                log.error("transfers_postponed", reason=str(error))
            await trio.sleep(TICK_S)

    def _forget(self, waiting: Set[str]) -> None:
        """Forget what was seen of transfers that wait no more."""
        for gone in self._seen_at.keys() - waiting:
            del self._seen_at[gone]
        for gone in self._asked_at.keys() - waiting:
            del self._asked_at[gone]

    async def _look(self, waiting: Iterable[Transfer]) -> None:
        """Tell who waits here what another node has heard of a transfer."""
        store = self._services.store
        if not store.is_shared:
            return
        still_open = {each.uetr: each for each in waiting}
        for uetr, waiter in list(self._waiters.items()):
            found = still_open.get(uetr) or await store.find_transfer(uetr)
            if found is not None and found.state not in UNDECIDED:
                waiter.tell(is_paid=found.state in PAID_STATES)

    async def find(self, news: News, *, house: str) -> Transfer | None:
        """Give the transfer that a clearing house speaks of, if we sent it over it."""
        store = self._services.store
        if news.uetr:
            found = await store.find_transfer(news.uetr)
            return found if found is not None and found.endpoint == house else None
        named = (
            each
            for each in await store.open_transfers()
            if (each.endpoint, each.message_id) == (house, news.original_message_id)
        )
        return next(named, None)

    async def hear(self, news: News, *, house: str) -> None:
        """Apply what a house says of a transfer; a lost race is run again.

        Raises
        ------
        StoreUnavailable
            Nothing was stored: it must be said again.
        """
        for _ in range(ATTEMPTS_MAX):
            transfer = await self.find(news, house=house)
            if transfer is None:
                log.warning("news_of_unknown_transfer", uetr=news.uetr)
                return
            try:
                if news.returned is None:
                    after, effects = advance(transfer, news.event, reason=news.reason)
                else:
                    after, effects = take_return(
                        transfer,
                        news.returned,
                        return_id=news.return_id,
                        reason=news.reason,
                    )
            except EventRefused as refusal:
                await self._except(transfer, str(refusal))
                return
            try:
                await self._apply(transfer, after, effects, news)
            except OwnershipLost:
                continue
            except DayClosed as closed:
                # Another node has ended the day on which it was to be booked.
                self._services.days.learn(closed.open_date)
                continue
            except LedgerRefused as refusal:
                # It stays as it was; no news may end the switch.
                await self._except(transfer, f"{news.event} is not booked: {refusal}")
            return
        raise StoreUnavailable(f"{news.event} of transfer {news.uetr} was not stored")

    async def _happen(
        self, transfer: Transfer, event: Event, *, reason: str = ""
    ) -> None:
        """Apply what nobody says, but we see."""
        news = News(
            uetr=transfer.uetr,
            original_message_id=transfer.message_id,
            event=event,
            reason=reason,
        )
        await self.hear(news, house=transfer.endpoint)

    async def _apply(
        self,
        before: Transfer,
        after: Transfer,
        effects: tuple[Effect, ...],
        news: News,
    ) -> None:
        profile = self._profile(after)
        if Effect.ASK_STATUS in effects and before.state is not after.state:
            pause_s, _ = profile.pauses_s(after.state)
            at = self._services.clock.now().timestamp() + pause_s
            after = replace(after, next_at=at)
        if Effect.ALARM in effects:
            reason = f"{news.event} while {before.state}: it is {after.state} now"
            await self._except(after, reason)
        if after != before:
            kind = _RECORDS.get(news.event, RecordKind.ANSWERED)
            opening = NOTHING
            if Effect.GIVE_BACK in effects:
                opening = await self._given_back(before, after)
            await self._commit(
                TransferMove(expect=before, transfer=after),
                kind,
                ledger=self._ledger(before, after, effects),
                event=news.event,
                opening=replace(
                    opening,
                    rows=(*opening.rows, *await self._items(before, after)),
                ),
            )
        self._tell(after.uetr, effects)

    async def _given_back(self, before: Transfer, after: Transfer) -> UnitOfWork:
        """Give what else is stored when money has come back.

        What was refunded besides is given back twice; an operator must ask for it.
        """
        unit = NOTHING
        if self.on_given_back is not None:
            unit = await self.on_given_back(after)
        hold = await self._services.store.find_hold(after.id)
        if hold is None or not hold.captured_minor:
            return unit
        back_minor = after.returned_minor - before.returned_minor
        if back_minor <= hold.returnable_minor:
            return unit
        twice = Money(back_minor - hold.returnable_minor, after.amount.currency)
        reason = f"given back by the house, and {twice} of it by refunds too"
        log.error("transfer_exception", transaction=after.id, reason=reason)
        record = self._exception(after, reason)
        return replace(unit, records=(*unit.records, record))

    async def _items(self, before: Transfer, after: Transfer) -> tuple[RowMove, ...]:
        """Give what the house has to report of this step."""
        house = self._houses.get(after.endpoint)
        member = house.settings.member if house else ""
        moved = bookings_of_transfer(before, after, member=member)
        currency = after.amount.currency
        return await our_items(self._services, after.endpoint, moved, currency)

    def _ledger(
        self, before: Transfer, after: Transfer, effects: tuple[Effect, ...]
    ) -> tuple[Change, ...]:
        """Give what the effects do to the ledger."""
        date = self._services.days.date
        changes: list[Change] = []
        for effect in effects:
            if effect is Effect.RELEASE:
                changes.append(Release(id=after.id))
            elif effect is Effect.CAPTURE_FOR_RECALL:
                # The merchant never sees what nobody paid.
                changes.append(
                    Redirect(
                        id=after.id,
                        account=f"merchant/{after.merchant_id}",
                        instead=f"recalls/{after.endpoint}",
                    )
                )
            if effect in {Effect.CAPTURE, Effect.CAPTURE_FOR_RECALL}:
                changes.append(
                    Capture(
                        id=after.id,
                        by=after.id,
                        minor=after.amount.minor,
                        business_date=date,
                    )
                )
            elif effect is Effect.GIVE_BACK:
                minor = after.returned_minor - before.returned_minor
                changes.append(
                    Return(
                        id=after.id,
                        by=f"{after.id}/{after.returned_minor}",
                        business_date=date,
                        minor=minor,
                        has_happened=True,
                    )
                )
        return tuple(changes)

    async def _follow(self, transfer: Transfer) -> None:
        """Do what time asks for: expire what lost its owner, ask, recall."""
        profile = self._profile(transfer)
        if transfer.state in UNDECIDED:
            if self._has_lost_its_owner(transfer, profile):
                await self._happen(transfer, Event.EXPIRED)
        elif transfer.state in FOLLOWED and self._is_due(transfer, profile):
            await self._ask(transfer)

    def _is_due(self, transfer: Transfer, profile: TransferProfile) -> bool:
        """Whether it is time to ask again, by the time that is stored and by our own.

        Of two nodes whose clocks differ each takes the time of the other for wrong, and
        both would ask all the time.
        """
        pauses_s = profile.pauses_s(transfer.state)
        asked, asked_at = self._asked_at.get(transfer.id, (transfer.asked, -math.inf))
        if asked != transfer.asked:
            asked_at = trio.current_time()
        self._asked_at[transfer.id] = transfer.asked, asked_at
        return trio.current_time() - asked_at >= pauses_s[1] and is_over(
            transfer.next_at,
            now=self._services.clock.now().timestamp(),
            within_s=max(pauses_s),
        )

    def _has_lost_its_owner(self, transfer: Transfer, profile: TransferProfile) -> bool:
        """Whether nobody expires a transfer, here or at another node.

        Its owner counts its own seconds, and so do we: wall clocks may be wrong.
        """
        if transfer.uetr in self._waiters:
            return False
        seen_at = self._seen_at.setdefault(transfer.id, trio.current_time())
        return trio.current_time() - seen_at > profile.total_s + SKEW_MAX_S

    async def _ask(self, transfer: Transfer) -> None:
        """Ask what became of a transfer, or for its money back, once more."""
        house = self._houses.get(transfer.endpoint)
        if house is None or not house.is_up:
            return
        profile = self._profile(transfer)
        now = self._services.clock.now()
        after = replace(
            transfer,
            asked=transfer.asked + 1,
            next_at=now.timestamp() + profile.pauses_s(transfer.state)[1],
        )
        try:
            await self._commit(
                TransferMove(expect=transfer, transfer=after), RecordKind.FORWARDED
            )
        except OwnershipLost:
            # Something was heard of it meanwhile.
            return
        if after.state is TransferState.RECALLING:
            document = build_recall(after, profile, now=now)
        else:
            document = build_question(after, now=now)
        try:
            await house.send(document)
        except LinkDown as error:
            log.info("question_not_sent", uetr=transfer.uetr, reason=str(error))
        if after.asked == profile.asks_max + 1:
            await self._except(after, f"asked in vain; it is still {after.state}")

    async def _send_payment(
        self, house: House, transfer: Transfer, order: Order, profile: TransferProfile
    ) -> None:
        document = build_payment(
            transfer, order, profile, now=self._services.clock.now()
        )
        try:
            await house.send(document)
        except LinkDown as error:
            await self._happen(transfer, Event.NOT_WRITTEN, reason=str(error))

    def _create(
        self, transaction_id: str, order: Order, house: str, expires_at: float
    ) -> Transfer:
        services = self._services
        seed = f"{services.settings.node} {transaction_id}".encode()
        message_id = transaction_id.replace("-", "T").rjust(12, "0")
        return Transfer(
            id=transaction_id,
            uetr=make_uetr(hashlib.sha256(seed).digest()),
            message_id=message_id,
            end_to_end_id=order.reference or message_id,
            endpoint=house,
            amount=order.amount,
            debtor_agent=order.debtor_agent,
            creditor_agent=order.creditor_agent,
            merchant_id=order.merchant_id,
            created_at=iso_time(services.clock.now()),
            expires_at=expires_at,
        )

    def _profile(self, transfer: Transfer) -> TransferProfile:
        house = self._houses.get(transfer.endpoint)
        return PROFILES[house.settings.profile if house else "default"]

    def _tell(self, uetr: str, effects: tuple[Effect, ...]) -> None:
        waiter = self._waiters.get(uetr)
        if waiter is not None and TOLD.intersection(effects):
            waiter.tell(is_paid=Effect.TELL_PAID in effects)

    async def _commit(
        self,
        move: TransferMove,
        kind: RecordKind,
        *,
        ledger: tuple[Change, ...] = (),
        event: str = "",
        opening: UnitOfWork = NOTHING,
    ) -> None:
        transfer = move.transfer
        returned = Money(transfer.returned_minor, transfer.amount.currency)
        record = self._record(
            kind,
            transfer,
            {
                "endpoint": transfer.endpoint,
                "uetr": transfer.uetr,
                "state": transfer.state,
                "event": event,
                "amount": str(transfer.amount),
                "reason": transfer.reason,
                "asked": transfer.asked,
                "returned": str(returned),
            },
        )
        await self._services.store.commit(
            replace(
                opening,
                records=(*opening.records, record),
                transfers=(move,),
                ledger=ledger,
            )
        )

    async def _except(self, transfer: Transfer, reason: str) -> None:
        """Write down what an operator must look at."""
        record = self._exception(transfer, reason)
        await self._services.store.commit(UnitOfWork(records=(record,)))
        log.error("transfer_exception", transaction=transfer.id, reason=reason)

    def _exception(self, transfer: Transfer, reason: str) -> Record:
        body = {"endpoint": transfer.endpoint, "uetr": transfer.uetr, "reason": reason}
        return self._record(RecordKind.EXCEPTION, transfer, body)

    def _record(
        self, kind: RecordKind, transfer: Transfer, body: dict[str, Any]
    ) -> Record:
        at = iso_time(self._services.clock.now())
        return Record(kind=kind, transaction_id=transfer.id, at=at, body=body)


def _place(transfer_id: str, order: Order, house: str) -> Place:
    """Set aside what the house will owe, or what the merchant gives back."""
    debit, credit = clearing_account(house), f"merchant/{order.merchant_id}"
    if order.refund_of:
        debit, credit = credit, debit
    return Place(
        id=transfer_id,
        debit=debit,
        credit=credit,
        amount=order.amount,
        of=order.refund_of,
    )


def clearing_account(house: str) -> str:
    """Name the account of what a clearing house owes us."""
    return f"clearing/{house}"


_RECORDS = {
    Event.EXPIRED: RecordKind.TIMED_OUT,
    Event.NOT_WRITTEN: RecordKind.NOT_WRITTEN,
}
