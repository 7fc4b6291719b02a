"""A simulated clearing house with its banks: it settles, caps, nets, and misbehaves.

A pacs.008 is decided by the receiving bank and by the sender's cap; what is settled
changes two positions at once. The same message again gets its first answer; the same
payment under another message is refused. The bank at the other end of the connection
decides for itself: what others send it is forwarded, and settled when it agrees in
time. Every change of its position is told (camt.054), and all of them again at the end
of a window (camt.053), before the positions are settled (pacs.029).

Rules as for issuers say how it goes wrong: silence, delay, duplicate, garbage,
disconnect, or lost before it is decided.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import trio

from isoswitch.clearing.netting import CapExceeded, NetPosition, Window
from isoswitch.clearing.profiles import PROFILES
from isoswitch.codecs.canonical.codes import Function, Kind
from isoswitch.codecs.canonical.errors import DecodeError, SignatureRefused
from isoswitch.codecs.canonical.transaction import Transaction
from isoswitch.codecs.iso20022.administration import SystemEvent
from isoswitch.codecs.iso20022.document import read_document
from isoswitch.codecs.iso20022.exceptions import (
    CancellationRequest,
    Recall,
    Resolution,
)
from isoswitch.codecs.iso20022.messages import build_message, read_message
from isoswitch.codecs.iso20022.reports import ReportEntry, ReportRequest
from isoswitch.codecs.iso20022.status_reasons import UNTOLD, to_reason
from isoswitch.codecs.iso20022.transfers import (
    CustomerTransfer,
    PaymentReturn,
    ReturnedTransfer,
    StatusQuestion,
    StatusReport,
    StatusRequest,
    Transfer,
    TransferStatus,
)
from isoswitch.codecs.iso20022.values import Reason
from isoswitch.simulators.house_books import Member, Payment
from isoswitch.simulators.house_documents import (
    entry_of,
    intraday_of,
    notification_of,
    payment_of,
    recall_of,
    report_of,
    resolution_of,
    return_of,
    settlement_of,
    statement_of,
    status_of,
)
from isoswitch.simulators.house_door import Door, Line
from isoswitch.simulators.rules import NORMAL, Fault, Reaction, Rule, RuleBook
from isoswitch.simulators.signer import Signer
from isoswitch.switch.ports import Clock

GARBAGE = b"<not><xml>"
TAKEN = frozenset({"ACTC", "ACCP", "ACSP", "ACSC", "ACCC"})
# Settled between the banks, whatever the receiving one does with it.
SETTLED = frozenset({"ACSC", "ACCC", "ACWP", "BLCK"})


@dataclass(slots=True)
class ClearingHouse:
    """The house: its members, its books, and who is connected.

    ``participant`` is the member at the other end of the connections. ``payments`` is
    what an auditor reads; ``closed`` the nets of earlier windows; ``documents``
    everything that was sent and received. With a ``signer`` nothing passes unsigned.
    What it tells unasked lies in a queue, and is told again on every new connection.
    ``on_payment`` hears of each payment before it is decided. What it was asked for and
    did not know it refuses when it arrives after all: whoever asks hears the last word.
    """

    members: Mapping[str, Member]
    clock: Clock
    random: Random
    currency: str = "978"
    rules: Iterable[Rule] = ()
    door: Door = field(default_factory=Door)
    signer: Signer | None = None
    participant: str = ""
    profile: str = "default"
    notifies: bool = True
    window_s: float = math.inf
    payments: dict[str, Payment] = field(default_factory=dict)
    closed: list[tuple[NetPosition, ...]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    documents: list[bytes] = field(default_factory=list)
    on_payment: Callable[[str], None] = lambda _: None
    entries: list[ReportEntry] = field(default_factory=list)
    window: Window = field(init=False)
    _book: RuleBook = field(init=False)
    _serial: int = 0
    _denied: set[str] = field(default_factory=set)
    _queue: list[tuple[float, bytes]] = field(default_factory=list)
    _takers: Mapping[type[Any], Callable[[Line, Any], None]] = field(init=False)

    def __post_init__(self) -> None:
        self._takers = {
            CustomerTransfer: self._take_transfers,
            StatusReport: self._take_statuses,
            StatusRequest: self._take_questions,
            CancellationRequest: self._take_recalls,
            PaymentReturn: self._take_returns,
            Resolution: self._take_resolution,
            ReportRequest: self._take_report_request,
        }
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
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.close_windows_forever)
            await self.door.run(
                self.serve_stream, host=host, port=port, task_status=task_status
            )

    async def serve_stream(self, stream: trio.abc.Stream) -> None:
        """Serve one connection until either side closes it."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._expire_forever)
            await self.door.serve(stream, self._receive, self._repeat)
            nursery.cancel_scope.cancel()

    def _repeat(self, wire: Line) -> None:
        """Tell again what nobody asked for, to who has just connected."""
        for at, document in self._queue:
            self._put(wire, document, at=at)

    @property
    def wires(self) -> list[Line]:
        """Who is connected."""
        return self.door.lines

    def send_nowait(self, document: bytes) -> None:
        """Send a document to everybody who is connected."""
        for wire in self.wires:
            self._put(wire, document)

    def originate(self, transfer: Transfer) -> Payment:
        """Let a simulated bank pay a customer of the connected one.

        The rules for the payment apply to the message by which it is forwarded.
        """
        reaction = self._book.react(_as_transaction(transfer))
        payment = Payment(transfer, self._draw("BANK"), "PDNG")
        self.payments[transfer.uetr] = payment
        self._forward(payment, reaction)
        return payment

    def recall(self, uetr: str, reason: str) -> None:
        """Let the sender of a forwarded payment want it back (camt.056)."""
        payment = self.payments[uetr]
        message = recall_of(
            payment.transfer,
            reason,
            message_id=self._draw("RECALL"),
            original_id=payment.forwarded_id,
            at=self.clock.now(),
        )
        self.send_nowait(self._build(message))

    def ask(self, uetr: str) -> None:
        """Ask the connected bank what became of a forwarded payment (pacs.028)."""
        question = StatusQuestion(uetr=uetr)
        request = StatusRequest(
            message_id=self._draw("ASK"),
            created_at=self.clock.now(),
            questions=(question,),
        )
        self.send_nowait(self._build(request))

    def close_window(self) -> bytes | None:
        """End the window: tell everybody, report, settle, and open the next.

        Gives the pacs.029; None where nobody owes anybody anything.
        """
        positions = self.window.positions()
        self.closed.append(positions)
        moved = tuple(each for each in positions if each.amount.minor)
        settled, now = self.window.name, self.clock.now()
        entries, self.entries = tuple(self.entries), []
        self.window = self._open_window()
        self.send_nowait(self._build(SystemEvent(code="960", parameters=(settled,))))
        if self.participant:
            statement = statement_of(
                self.participant,
                entries,
                currency=self.currency,
                message_id=self._draw("STMT"),
                at=now,
            )
            self.send_nowait(self._build(statement))
        if not moved:
            return None
        request = settlement_of(settled, moved, message_id=self._draw("SETTLE"), at=now)
        document = self._build(request)
        self.send_nowait(document)
        return document

    async def close_windows_forever(self) -> None:
        """End a window every ``window_s``, until cancelled."""
        while True:
            await trio.sleep(self.window_s)
            self.close_window()

    def _open_window(self) -> Window:
        caps = {
            bic: member.net_debit_cap_minor
            for bic, member in self.members.items()
            if member.net_debit_cap_minor is not None
        }
        name = f"{self.clock.now().date()}/{len(self.closed) + 1:03d}"
        return Window(name, self.currency, caps)

    def _receive(self, wire: Line, payload: bytes) -> None:
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
        take = self._takers.get(type(message))
        if take is None:
            self.counts[type(message).__name__] += 1
        else:
            take(wire, message)

    def _take_transfers(self, wire: Line, message: CustomerTransfer) -> None:
        for transfer in message.transfers:
            self._pay(wire, message.message_id, transfer)

    def _take_statuses(self, _wire: Line, message: StatusReport) -> None:
        for status in message.statuses:
            self._answered(status)
        for group in message.groups:
            for payment in list(self.payments.values()):
                if payment.forwarded_id == group.message_id:
                    self._end(payment, "RJCT", group.reasons[0].code)

    def _take_questions(self, wire: Line, message: StatusRequest) -> None:
        for question in message.questions:
            self._tell(wire, question)

    def _take_recalls(self, wire: Line, message: CancellationRequest) -> None:
        for recall in message.recalls:
            self._recall(wire, message, recall)

    def _take_returns(self, wire: Line, message: PaymentReturn) -> None:
        for returned in message.returns:
            self._take_return(wire, message.message_id, returned)

    def _take_resolution(self, _wire: Line, message: Resolution) -> None:
        for answer in message.statuses:
            self.payments[answer.uetr].resolution = message.confirmation

    def _take_report_request(self, wire: Line, _message: ReportRequest) -> None:
        self._put(wire, self._build_intraday())

    def _pay(self, wire: Line, message_id: str, transfer: Transfer) -> None:
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
            self._post_later(payment)

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
            self._move(transfer)
        except CapExceeded:
            return rejected("AM14")
        status = "ACWP" if receiver.posts_later else "ACSC"
        return Payment(transfer, message_id, status)

    def _post_later(self, payment: Payment) -> None:
        """Credit what was accepted without posting, or give it back."""
        member = self.members[payment.transfer.creditor_agent.bic]
        at = trio.current_time() + member.posting_s
        if member.credits_in_the_end:
            payment.status = "ACCC"
            self._tell_unasked(self._report(payment), at=at)
        else:
            payment.status, payment.reason = "BLCK", UNTOLD
            self._tell_unasked(self._report(payment), at=at)
            self._tell_unasked(self._give_back(payment, UNTOLD), at=at)

    def _tell_unasked(self, document: bytes, *, at: float) -> None:
        """Tell what nobody waits for, so that it is heard some day.

        The connection on which the cause of it came may be dead without knowing it.
        """
        self._queue.append((at, document))
        for wire in self.wires:
            self._put(wire, document, at=at)

    def _forward(self, payment: Payment, reaction: Reaction) -> None:
        """Ask the connected bank whether it takes a payment."""
        profile = PROFILES[self.profile]
        payment.forwarded_id = self._draw("FORWARD")
        payment.expires_at = trio.current_time() + profile.receiver_s
        message = payment_of(
            payment.transfer, message_id=payment.forwarded_id, at=self.clock.now()
        )
        document = self._build(message)
        for wire in self.wires[:1]:
            self._send(wire, document, reaction)

    def _answered(self, status: TransferStatus) -> None:
        """Settle what the connected bank has taken in time."""
        payment = self.payments.get(status.uetr)
        if payment is None or payment.status != "PDNG":
            self.counts["answer again"] += 1
            return
        if status.status not in TAKEN:
            reasons = [each.code for each in status.reasons]
            self._end(payment, "RJCT", next(iter(reasons), UNTOLD))
        elif trio.current_time() > payment.expires_at:
            self._end(payment, "RJCT", "AB05")
        else:
            try:
                self._move(payment.transfer)
            except CapExceeded:
                self._end(payment, "RJCT", "AM14")
            else:
                self._end(payment, "ACSC", "")

    def _end(self, payment: Payment, status: str, reason: str) -> None:
        """Tell the receiving bank how a forwarded payment ended."""
        payment.status, payment.reason = status, reason
        told = replace(payment, message_id=payment.forwarded_id)
        document, at = self._report(told), trio.current_time()
        self._queue.append((at, document))
        for wire in self.wires:
            self._put(wire, document, at=at)

    async def _expire_forever(self) -> None:
        """Reject what the connected bank does not answer in time."""
        while True:
            now = trio.current_time()
            # What is forwarded from now on is late no earlier than this.
            next_at = now + PROFILES[self.profile].receiver_s
            for payment in list(self.payments.values()):
                if payment.status == "PDNG" and payment.expires_at <= now:
                    self._end(payment, "RJCT", "AB05")
                elif payment.status == "PDNG":
                    next_at = min(next_at, payment.expires_at)
            await trio.sleep_until(next_at)

    def _tell(self, wire: Line, question: StatusQuestion) -> None:
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

    def _recall(self, wire: Line, request: CancellationRequest, recall: Recall) -> None:
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
        answer = resolution_of(
            request,
            recall,
            "IPAY" if agrees or already else "RJCR",
            message_id=self._draw("RESOL"),
            at=self.clock.now(),
        )
        self._put(wire, self._build(answer))
        if agrees and payment is not None:
            back = self._give_back(payment, "FOCR")
            self._tell_unasked(back, at=trio.current_time())

    def _give_back(self, payment: Payment, reason: str) -> bytes:
        """Move a payment back and build the pacs.004 that tells of it."""
        payment.returned = True
        self._move(payment.transfer, is_return=True)
        message = return_of(
            payment.transfer,
            reason,
            message_id=self._draw("RETURN"),
            original_id=payment.message_id,
            at=self.clock.now(),
        )
        return self._build(message)

    def _take_return(
        self, wire: Line, message_id: str, returned: ReturnedTransfer
    ) -> None:
        """Move back what the connected bank gives back, once."""
        payment = self.payments.get(returned.uetr)
        if payment is None or payment.status not in SETTLED:
            self.counts["return of nothing"] += 1
            return
        if not payment.returned:
            payment.returned = True
            self._move(payment.transfer, is_return=True)
        status = status_of(
            payment.transfer,
            "ACSC",
            original_id=message_id,
            original_name="pacs.004.001.10",
        )
        self._put(wire, self._status_report(status))

    def _move(self, transfer: Transfer, *, is_return: bool = False) -> None:
        """Change two positions, and tell the connected bank if one is its own.

        Raises
        ------
        CapExceeded
            Nothing was moved.
        """
        parties = transfer.debtor_agent.bic, transfer.creditor_agent.bic
        debtor, creditor = parties[::-1] if is_return else parties
        self.window.move(debtor=debtor, creditor=creditor, minor=transfer.amount.minor)
        if debtor == creditor or self.participant not in parties:
            return
        entry = entry_of(
            transfer,
            reference=self._draw("E"),
            is_credit=creditor == self.participant,
            is_return=is_return,
            day=self.clock.now().date(),
        )
        self.entries.append(entry)
        if self.notifies:
            message = notification_of(
                self.participant,
                (entry,),
                message_id=self._draw("NTFCTN"),
                at=self.clock.now(),
            )
            self.send_nowait(self._build(message))

    def _build_intraday(self) -> bytes:
        report = intraday_of(
            self.participant,
            self.entries,
            currency=self.currency,
            message_id=self._draw("RPT"),
            at=self.clock.now(),
        )
        return self._build(report)

    def _report(self, payment: Payment) -> bytes:
        return self._status_report(
            status_of(
                payment.transfer,
                payment.status,
                original_id=payment.message_id,
                reason=payment.reason,
            )
        )

    def _status_report(self, status: TransferStatus) -> bytes:
        return self._build(
            report_of(status, message_id=self._draw("STATUS"), at=self.clock.now())
        )

    def _send(self, wire: Line, answer: bytes, reaction: Reaction = NORMAL) -> None:
        """Send an answer now or later, once, twice, or something else instead."""
        match reaction.fault:
            case Fault.SILENCE:
                return
            case Fault.DISCONNECT | Fault.AWAY:
                wire.close()
                return
            case Fault.GARBAGE:
                self._put(wire, GARBAGE)
                return
        delay_s = reaction.delay.sample_s(self.random) if reaction.delay else 0.0
        for _ in range(2 if reaction.fault is Fault.DUPLICATE else 1):
            self._put(wire, answer, at=trio.current_time() + delay_s)

    def _put(self, wire: Line, document: bytes, *, at: float | None = None) -> None:
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
