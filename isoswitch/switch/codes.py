"""Payment codes of merchants: made, paid by wallets with instant transfers, refunded.

    code      OPEN ──paid by a wallet──▶ PAYING ──money moved──▶ PAID
               ▲                           │
               ╰────────no money moved─────╯

The text of a code is a copy: amount, currency and payee are those of the store. Of two
who pay a code at once one changes it from OPEN to PAYING, in the same unit that opens
the transaction and states the intent to send; the other is refused and nothing of it is
sent. A transaction is closed when its transfer is decided, by whoever sees that first:
the task that waits, or after a restart the sweep. A code without an amount is static:
it stays OPEN and is paid as often as wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal

import structlog
import trio

from isoswitch.clearing.transfer import (
    PAID_STATES,
    UNDECIDED,
    Transfer,
    TransferState,
)
from isoswitch.codecs.canonical.codes import EntryMode, Kind, ResponseCode
from isoswitch.codecs.canonical.errors import DecodeError, StoreUnavailable
from isoswitch.codecs.canonical.money import CURRENCIES, Money
from isoswitch.codecs.canonical.sealing import load_outcome, store_outcome
from isoswitch.codecs.canonical.transaction import Outcome
from isoswitch.codecs.iso20022.status_reasons import to_code
from isoswitch.codecs.qr.mpm import decode_mpm
from isoswitch.codecs.qr.schemes import QrScheme, build_merchant_code
from isoswitch.journal.records import Record, RecordKind
from isoswitch.ledger.entries import LedgerRefused
from isoswitch.store.days import DayClosed
from isoswitch.store.port import (
    Move,
    OwnershipLost,
    StoredTransaction,
    TransactionState,
    TransferMove,
    UnitOfWork,
)
from isoswitch.store.rows import (
    CodePayment,
    CodeState,
    PaymentCode,
    RowMove,
    StoredAnswer,
)
from isoswitch.switch.accounts import stands
from isoswitch.switch.callbacks import claimed, owe_callback
from isoswitch.switch.interbank.documents import Order
from isoswitch.switch.interbank.transfers import NOTHING, Transfers
from isoswitch.switch.ports import iso_time
from isoswitch.switch.refusals import (
    ALTERED,
    AMOUNT_DIFFERS,
    AMOUNT_REQUIRED,
    EXPIRED,
    IN_USE,
    NOT_OFFERED,
    NOT_REFUNDABLE,
    PAID,
    REFUND_EXCEEDS,
    UNAVAILABLE,
    UNKNOWN_CODE,
    UNKNOWN_CURRENCY,
    UNKNOWN_PAYMENT,
    Refusal,
    Refused,
)
from isoswitch.switch.results import describe_payment, describe_refund
from isoswitch.switch.services import Services
from isoswitch.switch.settings import MerchantSettings, PayeeSettings

SWEEP_S = 1.0
# What a merchant's name and city may have of a code (EMVCo MPM, table 3.2).
NAME_MAX, CITY_MAX = 25, 15
SCHEME = QrScheme(
    name="isoswitch",
    title="A merchant of this switch",
    template="26",
    guid="org.isoswitch",
    country="",
    currency="",
    fields={"01": "merchant"},
    required=("01",),
)
# How often a race against news of the transfer is run.
SETTLE_ATTEMPTS = 5

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeWish:
    """A code that a merchant wants; ``amount_minor`` 0 for a static one.

    ``valid_s`` 0 lets it be paid for ever.
    """

    merchant_id: str
    amount_minor: int
    currency: str
    valid_s: float
    reference: str = ""
    terminal_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PayWish:
    """A code that a wallet's customer wants to pay.

    ``amount`` may be left out where the code has one.
    """

    text: str
    wallet: str
    debtor: str
    debtor_account: str
    debtor_agent: str
    amount: Money | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundWish:
    """A payment that a merchant gives back; ``amount_minor`` 0 is all that is left."""

    merchant_id: str
    payment_id: str
    amount_minor: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Start:
    """A transaction about to be opened, and the order that moves its money."""

    row: StoredTransaction
    order: Order
    opening: UnitOfWork
    lost: Refused


@dataclass(slots=True, eq=False)
class _Run:
    """A transaction in the hands of this process."""

    ended: trio.Event = field(default_factory=trio.Event)
    result: StoredTransaction | Refused | None = None


class Codes:
    """Makes codes, has them paid and given back; ``run`` owns what is under way."""

    def __init__(self, current: Callable[[], Services], transfers: Transfers) -> None:
        self._current = current
        self._transfers = transfers
        transfers.on_given_back = self._given_back
        self._nursery: trio.Nursery | None = None
        self._running: set[str] = set()
        self._idle = trio.lowlevel.ParkingLot()

    async def run(self) -> None:
        """Carry out what is wanted, and close what lost its owner, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                while True:
                    try:
                        await self._sweep()
                    except StoreUnavailable as error:
                        log.error("payments_postponed", reason=str(error))
                    await trio.sleep(SWEEP_S)
            finally:
                # What comes while the rest ends is refused.
                self._nursery = None

    async def drain(self) -> None:
        """Begin nothing new, and wait for what is under way."""
        self._nursery = None
        while self._running:
            await self._idle.park()

    async def create(
        self, wish: CodeWish, *, claim: StoredAnswer | None = None
    ) -> PaymentCode | Refused:
        """Make a code; ``claim`` is kept with it."""
        services = self._current()
        code_id = services.numbers.draw().transaction_id
        code = make_code(services, wish, code_id=code_id)
        if isinstance(code, Refused):
            return code
        record = _record(services, RecordKind.CODE, code_id, code_body(code))
        rows = (RowMove(expect=None, row=code), *claimed(claim, code_id))
        await services.store.commit(UnitOfWork(records=(record,), rows=rows))
        return code

    async def pay(
        self, wish: PayWish, *, claim: StoredAnswer | None = None
    ) -> StoredTransaction | Refused:
        """Pay a code; gives the closed transaction, or why none was opened.

        A transaction that is still open when it is given could not be closed yet: its
        outcome is asked for by its id.
        """
        services = self._current()
        code = await self._read(services, wish)
        if isinstance(code, Refused):
            return code
        merchant = services.settings.merchants.get(code.merchant_id)
        if merchant is None or merchant.payee is None:
            return NOT_OFFERED
        amount = wish.amount or Money(code.amount_minor, code.currency)
        row = _open_row(services, Kind.PURCHASE, merchant, merchant.payee, amount)
        row = replace(row, dedup_key=f"code/{code.id}/{row.id}", original_id=code.id)
        payment = CodePayment(
            id=row.id,
            code_id=code.id,
            merchant_id=merchant.id,
            wallet=wish.wallet,
            debtor=wish.debtor,
            debtor_account=wish.debtor_account,
            debtor_agent=wish.debtor_agent,
            reference=code.reference,
        )
        paying = replace(code, state=CodeState.PAYING, payment_id=row.id)
        # A static code does not change: any number may pay it.
        moves = (RowMove(expect=code, row=paying),) if code.amount_minor else ()
        start = _Start(
            row=row,
            order=Order(
                amount=amount,
                debtor=wish.debtor,
                debtor_account=wish.debtor_account,
                debtor_agent=wish.debtor_agent,
                creditor=merchant.name,
                creditor_account=merchant.payee.account,
                creditor_agent=merchant.payee.bank,
                merchant_id=merchant.id,
                reference=code.id,
            ),
            opening=_opening(
                services,
                row,
                {"code": code.id, "wallet": wish.wallet, "entry_mode": EntryMode.QR},
                (RowMove(expect=None, row=payment), *moves, *claimed(claim, row.id)),
            ),
            lost=IN_USE,
        )
        return await self._own(start)

    async def refund(
        self, wish: RefundWish, *, claim: StoredAnswer | None = None
    ) -> StoredTransaction | Refused:
        """Give a payment back, whole or in part, by a transfer to its payer."""
        services = self._current()
        original = await services.store.find_transaction(wish.payment_id)
        payment = await services.store.find_row(CodePayment, wish.payment_id)
        if original is None or payment is None:
            return UNKNOWN_PAYMENT
        merchant = services.settings.merchants.get(wish.merchant_id)
        if merchant is None or merchant.payee is None:
            return NOT_OFFERED
        if original.merchant_id != merchant.id:
            return UNKNOWN_PAYMENT
        hold = await services.store.find_hold(original.id)
        # What came too late was captured to go back, and not for the merchant.
        if hold is None or not stands(original) or not hold.captured_minor:
            return NOT_REFUNDABLE
        minor = wish.amount_minor or hold.returnable_minor
        if not 0 < minor <= hold.returnable_minor:
            return REFUND_EXCEEDS
        amount = Money(minor, original.currency)
        row = _open_row(services, Kind.REFUND, merchant, merchant.payee, amount)
        row = replace(row, dedup_key=f"refund/{row.id}", original_id=original.id)
        start = _Start(
            row=row,
            order=Order(
                amount=amount,
                debtor=merchant.name,
                debtor_account=merchant.payee.account,
                debtor_agent=merchant.payee.bank,
                creditor=payment.debtor,
                creditor_account=payment.debtor_account,
                creditor_agent=payment.debtor_agent,
                merchant_id=merchant.id,
                reference=original.id,
                refund_of=original.id,
            ),
            opening=_opening(
                services, row, {"original": original.id}, claimed(claim, row.id)
            ),
            lost=REFUND_EXCEEDS,
        )
        return await self._own(start)

    async def _read(self, services: Services, wish: PayWish) -> PaymentCode | Refused:
        """Find the code that a text copies, if it can be paid as the wallet wants."""
        try:
            reference = decode_mpm(wish.text).value("62.05")
        except DecodeError as error:
            return Refused(reason=Refusal.UNREADABLE_CODE, words=str(error))
        code = await services.store.find_row(PaymentCode, reference)
        if code is None:
            return UNKNOWN_CODE
        if code.text != wish.text:
            reason = "a text was to be paid that names this code and is not it"
            body = {"reason": reason, "wallet": wish.wallet}
            await services.recorder.note(RecordKind.EXCEPTION, code.id, body)
            return ALTERED
        if not services.health.trusts_clock():
            return UNAVAILABLE
        if code.expires_at and services.clock.now().timestamp() >= code.expires_at:
            return EXPIRED
        if code.state is not CodeState.OPEN:
            return PAID if code.state is CodeState.PAID else IN_USE
        if wish.amount is None:
            return code if code.amount_minor else AMOUNT_REQUIRED
        asked = code.amount_minor or wish.amount.minor
        # Neither a part nor more: what the merchant asked for, or nothing.
        is_right = wish.amount == Money(asked, code.currency) and asked > 0
        return code if is_right else AMOUNT_DIFFERS

    async def _own(self, start: _Start) -> StoredTransaction | Refused:
        """Have the switch carry out a transaction, whoever stops waiting for it."""
        if self._nursery is None:
            return UNAVAILABLE
        run = _Run()
        self._running.add(start.row.id)
        self._nursery.start_soon(self._carry_out, start, run)
        await run.ended.wait()
        return run.result or UNAVAILABLE

    async def _carry_out(self, start: _Start, run: _Run) -> None:
        row = start.row
        try:
            await self._enter(start)
            run.result = await self._settle(row)
        except (OwnershipLost, LedgerRefused):
            run.result = start.lost
        except StoreUnavailable as error:
            # Whatever is open is closed by the sweep when the store works again.
            log.error("payment_postponed", transaction=row.id, reason=str(error))
        except Exception:
            log.exception("payment_failed", transaction=row.id)
        finally:
            self._running.discard(row.id)
            if not self._running:
                self._idle.unpark_all()
            run.ended.set()

    async def _enter(self, start: _Start) -> None:
        """Open a transaction and move its money, on the day that is open."""
        row = start.row
        try:
            await self._transfers.pay(
                row.id, start.order, house=row.endpoint, opening=start.opening
            )
        except DayClosed as closed:
            self._current().days.learn(closed.open_date)
            moved = replace(row, business_date=closed.open_date)
            opening = replace(start.opening, opens=(moved,))
            await self._enter(replace(start, row=moved, opening=opening))

    async def _sweep(self) -> None:
        """Close the transactions whose transfers were decided without their owner."""
        services = self._current()
        houses = services.settings.houses
        rows = await services.store.open_transactions() if houses else ()
        for row in rows:
            if row.endpoint in houses and row.id not in self._running:
                await self._settle(row)

    async def _settle(
        self, row: StoredTransaction, *, attempts: int = SETTLE_ATTEMPTS
    ) -> StoredTransaction:
        """Close a transaction as its transfer ended; gives it as it is now."""
        services = self._current()
        transfer = await services.store.find_transfer_of(row.id)
        if transfer is None or transfer.state in UNDECIDED:
            return row
        outcome = _outcome(transfer)
        closed = replace(
            row, state=TransactionState.CLOSED, outcome=store_outcome(outcome)
        )
        payment = await services.store.find_row(CodePayment, row.id)
        code = None
        told = describe_refund(closed)
        if payment is not None:
            code = await services.store.find_row(PaymentCode, payment.code_id)
            told = describe_payment(closed, payment)
        body = {"code": outcome.code, "reason": outcome.reason}
        move = Move(
            id=row.id,
            expect=row.state,
            state=TransactionState.CLOSED,
            outcome=closed.outcome,
        )
        unit = UnitOfWork(
            records=(_record(services, RecordKind.CLOSED, row.id, body),),
            moves=(move,),
            # It ends so only while its transfer stands so.
            transfers=(TransferMove(expect=transfer, transfer=transfer),),
            rows=(
                *_freed(code, row, outcome),
                *owe_callback(services, row.merchant_id, told),
            ),
        )
        try:
            await services.store.commit(unit)
        except OwnershipLost:
            found = await services.store.find_transaction(row.id) or row
            if found.state is not row.state or attempts <= 1:
                # Somebody else has closed it, or the sweep will.
                return found
            return await self._settle(found, attempts=attempts - 1)
        services.counts.transactions[Kind(row.kind), outcome.code] += 1
        return closed

    async def _given_back(self, transfer: Transfer) -> UnitOfWork:
        """Give what is stored of a payment that had succeeded and has come back."""
        services = self._current()
        row = await services.store.find_transaction(transfer.id)
        if row is None:
            return NOTHING
        if not row.outcome:
            # Its end is on the way, which must not come between.
            as_it_is = Move(id=row.id, expect=row.state, state=row.state)
            return UnitOfWork(records=(), moves=(as_it_is,))
        outcome = load_outcome(row.outcome)
        if row.reversed or not outcome.is_approved:
            return NOTHING
        left = Money(row.amount_minor - transfer.returned_minor, row.currency)
        kept = replace(row, outcome=store_outcome(replace(outcome, amount=left)))
        if not left.minor:
            kept = replace(row, reversed=True)
        move = Move(
            id=row.id,
            expect=TransactionState.CLOSED,
            state=TransactionState.CLOSED,
            outcome=kept.outcome,
            mark_reversed=kept.reversed,
        )
        payment = await services.store.find_row(CodePayment, row.id)
        told = describe_payment(kept, payment) if payment else describe_refund(kept)
        # One that came back in parts is told once, when all of it has.
        owed = owe_callback(services, row.merchant_id, told) if kept.reversed else ()
        return UnitOfWork(records=(), moves=(move,), rows=owed)


def make_code(
    services: Services, wish: CodeWish, *, code_id: str
) -> PaymentCode | Refused:
    """Give a code that a merchant may show, not kept yet."""
    merchant = services.settings.merchants.get(wish.merchant_id)
    if merchant is None or merchant.payee is None:
        return NOT_OFFERED
    if wish.currency not in CURRENCIES:
        return UNKNOWN_CURRENCY
    now = services.clock.now()
    return PaymentCode(
        id=code_id,
        merchant_id=merchant.id,
        terminal_id=wish.terminal_id,
        text=_code_text(merchant, merchant.payee, wish, code_id),
        amount_minor=wish.amount_minor,
        currency=wish.currency,
        reference=wish.reference,
        created_at=iso_time(now),
        expires_at=now.timestamp() + wish.valid_s if wish.valid_s else 0.0,
    )


def code_body(code: PaymentCode) -> dict[str, object]:
    """Give what is written down of a code that was made."""
    return {
        "merchant": code.merchant_id,
        "terminal": code.terminal_id,
        "amount": str(Money(code.amount_minor, code.currency)),
        "is_static": not code.amount_minor,
    }


def _code_text(
    merchant: MerchantSettings, payee: PayeeSettings, wish: CodeWish, code_id: str
) -> str:
    """Write what a code says; its reference finds it again."""
    amount = None
    if wish.amount_minor:
        exponent = CURRENCIES[wish.currency][1]
        amount = Decimal(wish.amount_minor).scaleb(-exponent)
    additional = {"05": code_id}
    if wish.terminal_id:
        additional["07"] = wish.terminal_id
    return build_merchant_code(
        SCHEME,
        {"01": merchant.id},
        name=merchant.name[:NAME_MAX],
        city=payee.city[:CITY_MAX],
        mcc=merchant.mcc,
        amount=amount,
        currency=wish.currency,
        country=payee.country,
        is_dynamic=bool(wish.amount_minor),
        additional=additional,
    ).encode()


def _open_row(
    services: Services,
    kind: Kind,
    merchant: MerchantSettings,
    payee: PayeeSettings,
    amount: Money,
) -> StoredTransaction:
    numbers = services.numbers.draw()
    return StoredTransaction(
        id=numbers.transaction_id,
        dedup_key="",
        fingerprint=f"{kind}|{amount.minor} {amount.currency}",
        kind=kind,
        state=TransactionState.SENDING,
        node=services.settings.node,
        business_date=services.days.date,
        opened_at=iso_time(services.clock.now()),
        terminal_id="",
        merchant_id=merchant.id,
        rrn=numbers.rrn,
        amount_minor=amount.minor,
        currency=amount.currency,
        endpoint=payee.house,
    )


def _opening(
    services: Services,
    row: StoredTransaction,
    facts: dict[str, str],
    rows: tuple[RowMove, ...],
) -> UnitOfWork:
    body = {
        "kind": row.kind,
        "amount_minor": row.amount_minor,
        "currency": row.currency,
        "listener": "portal",
        "merchant": row.merchant_id,
        "business_date": row.business_date,
        **facts,
    }
    record = _record(services, RecordKind.OPENED, row.id, body)
    return UnitOfWork(records=(record,), opens=(row,), rows=rows)


def _freed(
    code: PaymentCode | None, row: StoredTransaction, outcome: Outcome
) -> tuple[RowMove, ...]:
    """Let a code be paid again, or never again."""
    if code is None or code.payment_id != row.id:
        return ()
    after = replace(code, state=CodeState.PAID)
    if not outcome.is_approved:
        after = replace(code, state=CodeState.OPEN, payment_id="")
    return (RowMove(expect=code, row=after),)


def _outcome(transfer: Transfer) -> Outcome:
    if transfer.state in PAID_STATES:
        return Outcome(code=ResponseCode.APPROVED)
    if transfer.state is TransferState.REJECTED:
        reason = f"rejected with {transfer.reason or 'no reason'}"
        return Outcome.declined(to_code(transfer.reason), reason)
    reason = "the clearing house did not answer in time"
    return Outcome.declined(ResponseCode.ISSUER_UNAVAILABLE, reason)


def _record(
    services: Services,
    kind: RecordKind,
    transaction_id: str,
    body: Mapping[str, object],
) -> Record:
    at = iso_time(services.clock.now())
    return Record(kind=kind, transaction_id=transaction_id, at=at, body=dict(body))
