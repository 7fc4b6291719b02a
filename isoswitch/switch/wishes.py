"""Payments by payers' codes that a merchant's server asks for, undone and given back.

    wish   PENDING ──────────transaction closed──────────▶ ENDED
              ╰─cancel─▶ CANCELLING ◀───────cancel───────────╯
                             ╰──undone, or nothing moved──▶ CANCELLED

A merchant's server is one of its terminals, whose messages are made here: they go the
way of every terminal's, so that limits, repeats, reversals and restarts are decided
where they always are. A wish is kept before its message goes. Whoever sees first that
its transaction is closed ends it and owes the merchant the callback, in one unit: the
task that waits, or after a restart the sweep. The code itself is never kept.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial

import structlog
import trio

from isoswitch.codecs.canonical.codes import (
    EntryMode,
    Function,
    Kind,
    PinEntry,
    ReversalReason,
)
from isoswitch.codecs.canonical.errors import DecodeError, StoreUnavailable
from isoswitch.codecs.canonical.money import CURRENCIES, Money
from isoswitch.codecs.canonical.sealing import load_outcome
from isoswitch.codecs.canonical.secrets import ScannedCode
from isoswitch.codecs.canonical.transaction import OriginalData, Transaction
from isoswitch.codecs.dialects.dialect import LegNumbers
from isoswitch.codecs.dialects.registry import get_dialect
from isoswitch.codecs.iso8583.message import Message
from isoswitch.codecs.qr.cpm import CpmCode
from isoswitch.codecs.qr.describe import decode_code
from isoswitch.codecs.qr.payment_codes import PaymentCode
from isoswitch.store.port import (
    OwnershipLost,
    StoredTransaction,
    TransactionState,
    UnitOfWork,
)
from isoswitch.store.rows import Callback, RowMove, StoredAnswer, StoredWish, WishState
from isoswitch.switch.accounts import stands
from isoswitch.switch.callbacks import claimed, owe_callback
from isoswitch.switch.dispatch import Accept, Arrival
from isoswitch.switch.keys import original_key
from isoswitch.switch.numbers import Numbering
from isoswitch.switch.ports import iso_time
from isoswitch.switch.refusals import (
    NO_PAYERS_CODE,
    NOT_CANCELLABLE,
    NOT_REFUNDABLE,
    NOT_SERVED,
    REFUND_EXCEEDS,
    UNAVAILABLE,
    UNKNOWN_CURRENCY,
    Refused,
)
from isoswitch.switch.results import describe_wish
from isoswitch.switch.services import Services
from isoswitch.switch.settings import SERVER_PIN, is_server

SWEEP_S = 1.0
# A server that asks waits so long; what is decided later comes as a callback.
ANSWER_S = 4.0
LISTENER, DIALECT, REQUEST_MTI = "portal", "iso87-ascii", "0200"
# How often a race against the decision is run.
CANCEL_ATTEMPTS = 5
UNDECIDED = (WishState.PENDING, WishState.CANCELLING)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanWish:
    """A payment by a code that a payer shows, for a client of the API."""

    client: str
    terminal_id: str
    code: ScannedCode
    amount: Money
    reference: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """A wish, the transaction that it became, if any, and what was given back of it."""

    wish: StoredWish
    row: StoredTransaction | None
    returned_minor: int = 0


@dataclass(slots=True, eq=False)
class _Run:
    """A wish in the hands of this process."""

    ended: trio.Event = field(default_factory=trio.Event)


class Wishes:
    """Carries out what merchants' servers want; ``run`` owns what is under way."""

    def __init__(self, current: Callable[[], Services], accept: Accept) -> None:
        self._current = current
        self._accept = accept
        self._nursery: trio.Nursery | None = None
        self._running: dict[str, _Run] = {}
        self._idle = trio.lowlevel.ParkingLot()
        # Whether a wish may be open without its owner; only the store knows at first.
        self._may_be_open = True

    async def run(self) -> None:
        """Carry out what is wanted, and end what lost its owner, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                while True:
                    try:
                        await self._sweep()
                    except StoreUnavailable as error:
                        log.error("wishes_postponed", reason=str(error))
                        self._may_be_open = True
                    await trio.sleep(SWEEP_S)
            finally:
                # What comes while the rest ends is refused.
                self._nursery = None

    def close(self) -> None:
        """Begin nothing new from now on."""
        self._nursery = None

    async def wait_empty(self) -> None:
        """Wait until nothing is under way any more."""
        while self._running:
            await self._idle.park()

    async def pay(
        self, wanted: ScanWish, *, claim: StoredAnswer | None = None
    ) -> Telling | Refused:
        """Take a payment by a payer's code; pending where its payer still confirms."""
        services = self._current()
        terminal = services.settings.terminals.get(wanted.terminal_id)
        if terminal is None or not is_server(terminal):
            return NOT_SERVED
        if wanted.amount.currency not in CURRENCIES:
            return UNKNOWN_CURRENCY
        if not _is_payers(wanted.code):
            return NO_PAYERS_CODE
        numbers = services.numbers.draw()
        now = services.clock.now()
        wish = StoredWish(
            id=numbers.transaction_id,
            client=wanted.client,
            merchant_id=terminal.merchant_id,
            terminal_id=terminal.id,
            kind=Kind.PURCHASE,
            amount_minor=wanted.amount.minor,
            currency=wanted.amount.currency,
            reference=wanted.reference,
            created_at=iso_time(now),
            stan=numbers.stan,
            local_at=now.replace(microsecond=0, tzinfo=None).isoformat(),
        )
        txn = replace(_transaction(services, wish), code=wanted.code)
        return await self._begin(wish, partial(self._fulfil, wish, numbers, txn, claim))

    async def refund(
        self,
        paid: StoredWish,
        *,
        client: str,
        amount_minor: int = 0,
        claim: StoredAnswer | None = None,
    ) -> Telling | Refused:
        """Give a payment back, all that is left of it where no amount is named."""
        services = self._current()
        row = await services.store.find_transaction(paid.id)
        hold = await services.store.find_hold(paid.id)
        if row is None or hold is None or not stands(row) or not hold.captured_minor:
            return NOT_REFUNDABLE
        minor = amount_minor or hold.returnable_minor
        if not 0 < minor <= hold.returnable_minor:
            return REFUND_EXCEEDS
        numbers = services.numbers.draw()
        now = services.clock.now()
        wish = replace(
            paid,
            id=numbers.transaction_id,
            client=client,
            kind=Kind.REFUND,
            amount_minor=minor,
            created_at=iso_time(now),
            stan=numbers.stan,
            local_at=now.replace(microsecond=0, tzinfo=None).isoformat(),
            original_id=paid.id,
            state=WishState.PENDING,
        )
        txn = replace(
            _transaction(services, wish),
            rrn=row.rrn,
            approval_code=load_outcome(row.outcome).approval_code,
            original=_original(paid),
        )
        return await self._begin(wish, partial(self._fulfil, wish, numbers, txn, claim))

    async def cancel(
        self, paid: StoredWish, *, claim: StoredAnswer | None = None
    ) -> Telling | Refused:
        """Undo a payment, decided or not; one that was given back in part stays.

        Raises
        ------
        StoreUnavailable
            It is not to be undone, as far as is known.
        """
        store = self._current().store
        if self._nursery is None:
            return UNAVAILABLE
        for _ in range(CANCEL_ATTEMPTS):
            row = await store.find_transaction(paid.id)
            hold = await store.find_hold(paid.id)
            if paid.state not in UNDECIDED and (row is None or not stands(row)):
                return NOT_CANCELLABLE
            if hold is not None and (hold.returned_minor or hold.returning_minor):
                return NOT_CANCELLABLE
            cancelling = replace(paid, state=WishState.CANCELLING)
            rows = (RowMove(expect=paid, row=cancelling), *claimed(claim, paid.id))
            try:
                await store.commit(UnitOfWork(records=(), rows=rows))
            except OwnershipLost:
                # It was decided in that moment, and may have to be undone as that.
                found = await store.find_row(StoredWish, paid.id)
                assert found is not None, "wishes are never deleted"
                paid = found
                continue
            undo = partial(self._undo, cancelling)
            return await self._begin(cancelling, undo, "cancel/")
        return UNAVAILABLE

    async def find(self, wish_id: str, *, merchant_id: str) -> Telling | None:
        """Find how a wish of a merchant stands."""
        wish = await self._current().store.find_row(StoredWish, wish_id)
        if wish is None or wish.merchant_id != merchant_id:
            return None
        return await self._telling(wish)

    async def _telling(self, wish: StoredWish) -> Telling:
        store = self._current().store
        row = await store.find_transaction(wish.id)
        # A refund has a hold of its own, of which nothing is given back.
        hold = await store.find_hold(wish.id)
        return Telling(
            wish=wish, row=row, returned_minor=hold.returned_minor if hold else 0
        )

    async def _begin(
        self, wish: StoredWish, act: Callable[[], Awaitable[None]], prefix: str = ""
    ) -> Telling | Refused:
        """Have the switch do something, whoever stops waiting; tell how it stands."""
        key = prefix + wish.id
        self._may_be_open = True
        run = self._running.get(key)
        if run is None and self._nursery is not None:
            run = self._running[key] = _Run()
            self._nursery.start_soon(self._carry_out, key, act, run)
        if run is not None:
            with trio.move_on_after(ANSWER_S):
                await run.ended.wait()
        # A cancellation may be kept although the switch ends: it is done by the next.
        found = await self.find(wish.id, merchant_id=wish.merchant_id)
        return found or UNAVAILABLE

    async def _carry_out(
        self, key: str, act: Callable[[], Awaitable[None]], run: _Run
    ) -> None:
        try:
            await act()
        except (StoreUnavailable, OwnershipLost) as error:
            # What was kept is ended by the sweep.
            log.error("wish_postponed", wish=key, reason=str(error))
        except Exception:
            log.exception("wish_failed", wish=key)
        finally:
            del self._running[key]
            if not self._running:
                self._idle.unpark_all()
            run.ended.set()

    async def _fulfil(
        self,
        wish: StoredWish,
        numbers: Numbering,
        txn: Transaction,
        claim: StoredAnswer | None,
    ) -> None:
        rows = (RowMove(expect=None, row=wish), *claimed(claim, wish.id))
        await self._current().store.commit(UnitOfWork(records=(), rows=rows))
        await self._send(txn, numbers)
        await self._end(wish.id)

    async def _undo(self, wish: StoredWish) -> None:
        """Reverse a payment, as a terminal does; stays to be done without an answer."""
        services = self._current()
        numbers = services.numbers.draw()
        reversal = replace(
            _transaction(services, wish),
            kind=Kind.REVERSAL,
            function=Function.ADVICE,
            stan=numbers.stan,
            original=_original(wish),
            reversal_reason=ReversalReason.CUSTOMER_CANCELLATION,
        )
        if not await self._send(reversal, numbers):
            return
        running = services.jobs.find(original_key(reversal))
        if running is not None:
            # It has learned that it is not wanted any more.
            await running.wait_outcome()
        await self._end(wish.id, is_undone=True)

    async def _send(self, txn: Transaction, numbers: Numbering) -> bool:
        """Send a message the way of a terminal's; tells whether it was answered."""
        assert txn.transmitted_at is not None, "ours are stamped"
        leg = LegNumbers(
            stan=txn.stan,
            rrn=txn.rrn,
            transmitted_at=txn.transmitted_at,
            acquirer_id="",
        )
        dialect = get_dialect(DIALECT)
        answers: list[Message] = []
        done = trio.Event()
        arrival = Arrival(
            message=dialect.to_request(txn, leg, mac=False),
            dialect=dialect,
            listener=LISTENER,
            certificate_pin=SERVER_PIN,
            send=answers.append,
            done=done.set,
            numbers=numbers,
        )
        self._accept(arrival)
        await done.wait()
        return bool(answers)

    async def _end(self, wish_id: str, *, is_undone: bool = False) -> None:
        """End a wish whose transaction is closed, and owe its merchant the result.

        ``is_undone`` says that nothing more can be done to undo it.
        """
        services = self._current()
        wish = await services.store.find_row(StoredWish, wish_id)
        assert wish is not None, "wishes are never deleted"
        telling = await self._telling(wish)
        row = telling.row
        if wish.state not in UNDECIDED:
            return
        if row is not None and row.state is not TransactionState.CLOSED:
            return
        state = WishState.ENDED
        if wish.state is WishState.CANCELLING:
            is_paid = row is not None and stands(row)
            if is_paid and not is_undone:
                return
            state = WishState.ENDED if is_paid else WishState.CANCELLED
        ended = replace(wish, state=state)
        told = describe_wish(ended, row, returned_minor=telling.returned_minor)
        owed = owe_callback(services, wish.merchant_id, told)
        # What could not be undone was told already.
        is_news = not [
            move
            for move in owed
            if await services.store.find_row(Callback, move.row.id)
        ]
        rows = (RowMove(expect=wish, row=ended), *(owed if is_news else ()))
        # Whoever was faster has ended it, on this node or another, or undoes it.
        with suppress(OwnershipLost):
            await services.store.commit(UnitOfWork(records=(), rows=rows))

    async def _sweep(self) -> None:
        """End what was decided without its owner, and undo what is to be undone."""
        store = self._current().store
        if not self._may_be_open and not store.is_shared:
            return
        # What is under way is kept in a moment, maybe, and may not come to its end.
        self._may_be_open = bool(self._running)
        for wish in await store.find_rows(StoredWish, state=WishState.CANCELLING):
            self._may_be_open = True
            key = f"cancel/{wish.id}"
            if self._nursery is not None and key not in self._running:
                run = self._running[key] = _Run()
                self._nursery.start_soon(
                    self._carry_out, key, partial(self._undo, wish), run
                )
        for wish in await store.find_rows(StoredWish, state=WishState.PENDING):
            self._may_be_open = True
            if wish.id not in self._running and await self._is_ownerless(wish):
                await self._end(wish.id)

    async def _is_ownerless(self, wish: StoredWish) -> bool:
        """Whether nobody can send the message of a wish any more."""
        leases = self._current().leases
        boot = wish.id.partition("-")[0]
        return boot == str(leases.boot) or boot not in await leases.live_boots()


def _is_payers(code: ScannedCode) -> bool:
    try:
        return isinstance(decode_code(code.reveal()), PaymentCode | CpmCode)
    except DecodeError:
        return False


def _transaction(services: Services, wish: StoredWish) -> Transaction:
    """Give what the message of a wish says."""
    merchant = services.settings.merchants[wish.merchant_id]
    return Transaction(
        kind=Kind(wish.kind),
        function=Function.REQUEST,
        stan=wish.stan,
        amount=Money(wish.amount_minor, wish.currency),
        transmitted_at=services.clock.now().replace(microsecond=0),
        local_at=datetime.fromisoformat(wish.local_at),
        entry_mode=EntryMode.QR,
        pin_entry=PinEntry.INCAPABLE,
        mcc=merchant.mcc,
        terminal_id=wish.terminal_id,
        merchant_id=wish.merchant_id,
        merchant_name=merchant.name,
    )


def _original(wish: StoredWish) -> OriginalData:
    """Name the message of a wish, as a terminal names its own."""
    local_at = datetime.fromisoformat(wish.local_at)
    return OriginalData(
        kind=Kind(wish.kind),
        mti=REQUEST_MTI,
        stan=wish.stan,
        transmitted_at=local_at.replace(tzinfo=UTC),
        local_at=local_at,
    )
