"""A simulated clearing house with its banks: it settles, caps, nets, and misbehaves.

A pacs.008 is decided by the receiving bank and by the sender's cap; what is settled
changes two positions at once. The same message again gets its first answer; the same
payment under another message is refused. Rules as for issuers say how it goes wrong:
silence, delay, duplicate, garbage, disconnect, or lost before it is decided.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

import trio

from isoswitch.clearing.netting import CapExceeded, NetPosition, Window
from isoswitch.codecs.canonical.codes import Function, Kind
from isoswitch.codecs.canonical.errors import DecodeError, SignatureRefused
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.transaction import Transaction
from isoswitch.codecs.framing import get_framing
from isoswitch.codecs.iso20022.administration import SystemEvent
from isoswitch.codecs.iso20022.document import read_document
from isoswitch.codecs.iso20022.exceptions import (
    CancellationRequest,
    Recall,
    RecallStatus,
    Resolution,
)
from isoswitch.codecs.iso20022.messages import build_message, read_message
from isoswitch.codecs.iso20022.status_reasons import UNTOLD, to_reason
from isoswitch.codecs.iso20022.transfers import (
    CustomerTransfer,
    Movement,
    PaymentReturn,
    ReturnedTransfer,
    Settlement,
    SettlementRequest,
    StatusQuestion,
    StatusReport,
    StatusRequest,
    Transfer,
    TransferStatus,
)
from isoswitch.codecs.iso20022.values import OriginalMessage, Reason
from isoswitch.simulators.rules import NORMAL, Fault, Reaction, Rule, RuleBook
from isoswitch.simulators.signer import Signer
from isoswitch.simulators.wire import Wire
from isoswitch.switch.ports import Clock

FRAME_BYTES_MAX = 262_144
GARBAGE = b"<not><xml>"
PAYMENT_NAME = "pacs.008.001.08"


@dataclass(slots=True)
class Payment:
    """What the house knows of one payment."""

    transfer: Transfer
    message_id: str
    status: str
    reason: str = ""
    returned: bool = False
    answer: bytes = b""


@dataclass(slots=True, kw_only=True)
class Member:
    """A bank: the accounts it keeps, and whether it agrees to give money back.

    ``posts_later`` makes it accept without posting (ACWP) and credit, or return, in
    ``posting_s``.
    """

    bic: str
    accounts: frozenset[str]
    agrees_to_recalls: bool = True
    posts_later: bool = False
    posting_s: float = 5.0
    credits_in_the_end: bool = True
    net_debit_cap_minor: int | None = None


@dataclass(slots=True)
class ClearingHouse:
    """The house: its members, its books, and who is connected.

    ``payments`` is what an auditor reads; ``closed`` the nets of earlier windows;
    ``documents`` everything that was sent and received. With a ``signer`` nothing
    passes unsigned. What it tells unasked lies in a queue, and is told again on every
    new connection. ``on_payment`` hears of each payment before it is decided. What it
    was asked for and did not know it refuses when it arrives after all: whoever asks
    hears the last word.
    """

    members: Mapping[str, Member]
    clock: Clock
    random: Random
    currency: str = "978"
    rules: Iterable[Rule] = ()
    framing: str = "bin4"
    signer: Signer | None = None
    payments: dict[str, Payment] = field(default_factory=dict)
    closed: list[tuple[NetPosition, ...]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    wires: list[Wire] = field(default_factory=list)
    documents: list[bytes] = field(default_factory=list)
    on_payment: Callable[[str], None] = lambda _: None
    window: Window = field(init=False)
    _book: RuleBook = field(init=False)
    _serial: int = 0
    _denied: set[str] = field(default_factory=set)
    _queue: list[tuple[float, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._book = RuleBook(self.rules, random=self.random)
        self.window = self._open_window()

    def set_rules(self, rules: Iterable[Rule]) -> None:
        """Replace the rules, also in the middle of a run."""
        self._book = RuleBook(rules, random=self.random)

    async def run(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        task_status: trio.TaskStatus[tuple[str, int]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve on TCP until cancelled; started with the address it listens on."""
        listeners = await trio.open_tcp_listeners(port, host=host)
        address = listeners[0].socket.getsockname()
        task_status.started((address[0], address[1]))
        await trio.serve_listeners(self.serve_stream, listeners)

    async def serve_stream(self, stream: trio.abc.Stream) -> None:
        """Serve one connection until either side closes it."""
        wire = Wire(stream, get_framing(self.framing), frame_bytes_max=FRAME_BYTES_MAX)
        self.wires.append(wire)
        for at, document in self._queue:
            self._put(wire, document, at=at)
        try:
            await wire.run(lambda document: self._receive(wire, document))
        finally:
            self.wires.remove(wire)

    def send_nowait(self, document: bytes) -> None:
        """Send a document to everybody who is connected."""
        for wire in self.wires:
            self._put(wire, document)

    def close_window(self) -> bytes | None:
        """End the window: give its pacs.029, tell everybody, and open the next.

        None where nobody owes anybody anything.
        """
        positions = self.window.positions()
        self.closed.append(positions)
        moved = tuple(each for each in positions if each.amount.minor)
        settled = self.window.name
        event = SystemEvent(code="960", parameters=(settled,))
        self.window = self._open_window()
        self.send_nowait(self._build(event))
        return self._settlement(settled, moved) if moved else None

    def _settlement(self, window: str, moved: tuple[NetPosition, ...]) -> bytes:
        request = SettlementRequest(
            message_id=self._draw("SETTLE"),
            created_at=self.clock.now(),
            count=1,
            settlements=(
                Settlement(
                    instruction_id=window,
                    cycle=window[-3:],
                    count=len(moved),
                    movements=tuple(
                        Movement(
                            movement_id=f"{number:04d}",
                            amount=Money(abs(each.amount.minor), self.currency),
                            is_credit=each.amount.minor > 0,
                            bic=each.participant,
                        )
                        for number, each in enumerate(moved, start=1)
                    ),
                ),
            ),
        )
        return self._build(request)

    def _open_window(self) -> Window:
        caps = {
            bic: member.net_debit_cap_minor
            for bic, member in self.members.items()
            if member.net_debit_cap_minor is not None
        }
        name = f"{self.clock.now().date()}/{len(self.closed) + 1:03d}"
        return Window(name, self.currency, caps)

    def _receive(self, wire: Wire, payload: bytes) -> None:
        try:
            data = self.signer.open(payload) if self.signer else payload
        except (SignatureRefused, DecodeError):
            self.counts["unsigned"] += 1
            return
        self.documents.append(data)
        try:
            document = read_document(data)
            message = read_message(document.body) if document.body else None
        except DecodeError:
            self.counts["undecodable"] += 1
            return
        match message:
            case CustomerTransfer():
                for transfer in message.transfers:
                    self._pay(wire, message.message_id, transfer)
            case StatusRequest():
                for question in message.questions:
                    self._tell(wire, question)
            case CancellationRequest():
                for recall in message.recalls:
                    self._recall(wire, message, recall)
            case _:
                self.counts[type(message).__name__] += 1

    def _pay(self, wire: Wire, message_id: str, transfer: Transfer) -> None:
        """Decide a payment once and answer as the rules say."""
        known = self.payments.get(transfer.uetr)
        if known is not None:
            self.counts["duplicate"] += 1
            if known.message_id == message_id:
                self._put(wire, known.answer)
            else:
                refused = Payment(transfer, message_id, "RJCT", "DU03")
                self._put(wire, self._report(refused))
            return
        self.on_payment(transfer.uetr)
        reaction = self._book.react(_as_transaction(transfer))
        if not reaction.books:
            self.counts["lost"] += 1
            return
        payment = self._decide(message_id, transfer, reaction)
        self.payments[transfer.uetr] = payment
        payment.answer = self._report(payment)
        self._send(wire, payment.answer, reaction)
        if payment.status == "ACWP":
            self._post_later(wire, payment)

    def _decide(
        self, message_id: str, transfer: Transfer, reaction: Reaction
    ) -> Payment:
        debtor, creditor = transfer.debtor_agent.bic, transfer.creditor_agent.bic
        receiver = self.members.get(creditor)
        account = transfer.creditor_account
        number = (account.iban or account.number) if account else ""

        def rejected(reason: str) -> Payment:
            return Payment(transfer, message_id, "RJCT", reason)

        if reaction.code is not None and not reaction.code.is_approval:
            return rejected(to_reason(reaction.code))
        if transfer.uetr in self._denied:
            return rejected("AB05")
        if receiver is None or debtor not in self.members:
            return rejected("RC04")
        if number not in receiver.accounts:
            return rejected("AC03")
        if transfer.amount.currency != self.currency:
            return rejected("AM03")
        try:
            self.window.move(
                debtor=debtor, creditor=creditor, minor=transfer.amount.minor
            )
        except CapExceeded:
            return rejected("AM14")
        status = "ACWP" if receiver.posts_later else "ACSC"
        return Payment(transfer, message_id, status)

    def _post_later(self, wire: Wire, payment: Payment) -> None:
        """Credit what was accepted without posting, or give it back."""
        member = self.members[payment.transfer.creditor_agent.bic]
        at = trio.current_time() + member.posting_s
        if member.credits_in_the_end:
            payment.status = "ACCC"
            self._tell_unasked(wire, self._report(payment), at=at)
        else:
            payment.status, payment.reason = "BLCK", UNTOLD
            self._tell_unasked(wire, self._report(payment), at=at)
            self._tell_unasked(wire, self._give_back(payment, UNTOLD), at=at)

    def _tell_unasked(self, wire: Wire, document: bytes, *, at: float) -> None:
        """Tell what nobody waits for, so that it is heard some day."""
        self._queue.append((at, document))
        self._put(wire, document, at=at)

    def _tell(self, wire: Wire, question: StatusQuestion) -> None:
        """Answer a status request; what was never received is told as such."""
        payment = self.payments.get(question.uetr)
        if payment is not None:
            self._put(wire, self._report(payment))
            return
        self._denied.add(question.uetr)
        original = question.original
        status = TransferStatus(
            status="RJCT",
            original=original,
            end_to_end_id=question.end_to_end_id,
            transaction_id=question.transaction_id,
            uetr=question.uetr,
            reasons=(Reason(code="AG09"),),
        )
        self._put(wire, self._status_report(status))

    def _recall(self, wire: Wire, request: CancellationRequest, recall: Recall) -> None:
        """Ask the receiving bank; what it gives back moves as a return."""
        payment = self.payments.get(recall.uetr)
        settled = payment is not None and payment.status in {"ACSC", "ACCC"}
        agrees = (
            payment is not None
            and settled
            and not payment.returned
            and self.members[payment.transfer.creditor_agent.bic].agrees_to_recalls
        )
        already = payment is not None and payment.returned
        answer = Resolution(
            message_id=self._draw("RESOL"),
            assigner=request.assignee,
            assignee=request.assigner,
            created_at=self.clock.now(),
            case=request.case,
            confirmation="IPAY" if agrees or already else "RJCR",
            statuses=(
                RecallStatus(
                    original=recall.original,
                    end_to_end_id=recall.end_to_end_id,
                    transaction_id=recall.transaction_id,
                    uetr=recall.uetr,
                ),
            ),
        )
        self._put(wire, self._build(answer))
        if agrees and payment is not None:
            back = self._give_back(payment, "FOCR")
            self._tell_unasked(wire, back, at=trio.current_time())

    def _give_back(self, payment: Payment, reason: str) -> bytes:
        """Move a payment back and build the pacs.004 that tells of it."""
        transfer = payment.transfer
        payment.returned = True
        self.window.move(
            debtor=transfer.creditor_agent.bic,
            creditor=transfer.debtor_agent.bic,
            minor=transfer.amount.minor,
        )
        message = PaymentReturn(
            message_id=self._draw("RETURN"),
            created_at=self.clock.now(),
            count=1,
            total=transfer.amount,
            settlement_date=self.clock.now().date(),
            returns=(
                ReturnedTransfer(
                    returned_amount=transfer.amount,
                    return_id=self._draw("R"),
                    original=_original(payment.message_id),
                    end_to_end_id=transfer.end_to_end_id,
                    transaction_id=transfer.transaction_id,
                    uetr=transfer.uetr,
                    original_amount=transfer.amount,
                    reasons=(Reason(code=reason),),
                ),
            ),
        )
        return self._build(message)

    def _report(self, payment: Payment) -> bytes:
        transfer = payment.transfer
        reasons = (Reason(code=payment.reason),) if payment.reason else ()
        return self._status_report(
            TransferStatus(
                status=payment.status,
                original=_original(payment.message_id),
                end_to_end_id=transfer.end_to_end_id,
                transaction_id=transfer.transaction_id,
                uetr=transfer.uetr,
                reasons=reasons,
            )
        )

    def _status_report(self, status: TransferStatus) -> bytes:
        message = StatusReport(
            message_id=self._draw("STATUS"),
            created_at=self.clock.now(),
            statuses=(status,),
        )
        return self._build(message)

    def _send(self, wire: Wire, answer: bytes, reaction: Reaction = NORMAL) -> None:
        """Send an answer now or later, once, twice, or something else instead."""
        match reaction.fault:
            case Fault.SILENCE:
                return
            case Fault.DISCONNECT | Fault.AWAY:
                wire.close()
                return
            case Fault.GARBAGE:
                wire.send_nowait(GARBAGE)
                return
        delay_s = reaction.delay.sample_s(self.random) if reaction.delay else 0.0
        for _ in range(2 if reaction.fault is Fault.DUPLICATE else 1):
            self._put(wire, answer, at=trio.current_time() + delay_s)

    def _put(self, wire: Wire, document: bytes, *, at: float | None = None) -> None:
        """Sign a document and send it, now or later."""
        payload = self.signer.seal(document) if self.signer else document
        if at is None:
            wire.send_nowait(payload)
        else:
            wire.send_later_nowait(payload, at=at)

    def _build(self, message: Any) -> bytes:
        document = build_message(message, None)
        self.documents.append(document)
        return document

    def _draw(self, prefix: str) -> str:
        self._serial += 1
        return f"{prefix}{self._serial:08d}"


def _as_transaction(transfer: Transfer) -> Transaction:
    """Give what the rules look at: amount, and the creditor as the merchant."""
    account = transfer.creditor_account
    return Transaction(
        kind=Kind.PURCHASE,
        function=Function.REQUEST,
        stan="",
        amount=transfer.amount,
        merchant_id=(account.iban or account.number) if account else "",
        acquirer_id=transfer.debtor_agent.bic,
    )


def _original(message_id: str) -> OriginalMessage:
    return OriginalMessage(message_id=message_id, message_name=PAYMENT_NAME)
