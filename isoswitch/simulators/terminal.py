"""A simulated terminal: it pays, repeats, reverses, and remembers what it believes.

A purchase goes as a real terminal's does::

    ask 0200 -> silence -> ask 0201 -> silence -> reverse 0420 -> 0421 -> ... -> 0430

An answer counts when it names this terminal and its MAC verifies; a decline may come
without one, because a host that cannot tell who asked has no key to use. The terminal
connects again when its connection breaks, and never forgets a reversal.

Building a message and exchanging it are two steps, so that load generators build first
and measure only the exchange.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from random import Random

import trio

from isoswitch.codecs import headers
from isoswitch.codecs.canonical.codes import (
    EntryMode,
    Function,
    Kind,
    PinEntry,
    ResponseCode,
    ReversalReason,
)
from isoswitch.codecs.canonical.errors import DecodeError, MacMismatch
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.secrets import Pin
from isoswitch.codecs.canonical.transaction import (
    OriginalData,
    Outcome,
    Transaction,
)
from isoswitch.codecs.dialects.dialect import LegNumbers
from isoswitch.codecs.dialects.key_change import read_terminal_keys
from isoswitch.codecs.dialects.registry import get_dialect
from isoswitch.codecs.framing import get_framing
from isoswitch.codecs.iso8583.message import Message
from isoswitch.simulators.beliefs import Belief, BeliefState
from isoswitch.simulators.cards import TestCard, find_card
from isoswitch.simulators.keyring import Keyring
from isoswitch.simulators.terminal_crypto import encrypt_pin, generate_mac, verify_mac
from isoswitch.simulators.wire import Wire
from isoswitch.simulators.working_keys import WorkingKeys, unwrap_key
from isoswitch.switch.ports import Clock

Connect = Callable[[], Awaitable[trio.abc.Stream]]

STAN_MAX = 999_999
ACKNOWLEDGEMENTS = frozenset({ResponseCode.APPROVED, ResponseCode.ORIGINAL_NOT_FOUND})
NETWORK_CLASS = "8"
TPDU = bytes.fromhex("6000010002")
"""Identifier, destination NII 0001, source 0002."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalProfile:
    """How a simulated terminal speaks, and the names of the keys it shares.

    ``tak`` empty means no MACs; under ``tmk`` a sign-in brings new keys. It asks
    ``repeats_max`` times again after ``timeout_s`` of silence each, then reverses every
    ``reversal_retry_s``. ``reversal_function`` is ADVICE (0420) or REQUEST (0400).
    ``rrn_prefix``, six characters, is for terminals that give their own retrieval
    reference numbers.
    ``verifies_answers`` False leaves the cost of checking MACs out of a load test.
    """

    terminal_id: str
    merchant_id: str
    dialect: str
    framing: str
    tpk: str
    tak: str = ""
    tmk: str = ""
    header: str = ""
    merchant_name: str = "ISOSWITCH TEST"
    mcc: str = "5999"
    acquirer_id: str = ""
    rrn_prefix: str = ""
    currency: str = "978"
    timeout_s: float = 20.0
    repeats_max: int = 1
    reversal_retry_s: float = 10.0
    reversal_function: Function = Function.ADVICE
    reconnect_s: float = 1.0
    verifies_answers: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A transaction and the message that asks for it, ready to be sent."""

    transaction: Transaction
    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer that counts, and what it says."""

    message: Message
    outcome: Outcome


class _Waiter:
    """One exchange that waits for its answer."""

    __slots__ = ("answer", "done", "request")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.answer: Answer | None = None
        self.done = trio.Event()


class Terminal:
    """One terminal with its connection, trace numbers and beliefs.

    ``beliefs`` is what an auditor reads; ``counts`` tells what came that was not an
    answer to anything (late, unverified, undecodable). ``on_approval`` is told of every
    approval in the moment in which it is heard.
    """

    def __init__(
        self,
        profile: TerminalProfile,
        *,
        keyring: Keyring,
        connect: Connect,
        clock: Clock,
        first_stan: int = 1,
    ) -> None:
        self.profile = profile
        self.dialect = get_dialect(profile.dialect)
        self.beliefs: list[Belief] = []
        self.counts: Counter[str] = Counter()
        self.on_approval: Callable[[Belief], None] = lambda _: None
        self._tpk = WorkingKeys(keyring.get_key(profile.tpk))
        self._tak = WorkingKeys(keyring.get_key(profile.tak)) if profile.tak else None
        self._tmk = keyring.get_key(profile.tmk) if profile.tmk else None
        self._framing = get_framing(profile.framing)
        self._header = TPDU if profile.header else b""
        self._answer_header = headers.swap(profile.header, self._header)
        self._echo = profile.terminal_id.ljust(8)
        self._connect = connect
        self._clock = clock
        self._next_stan = first_stan
        self._wire: Wire | None = None
        self._connected = trio.lowlevel.ParkingLot()
        self._waiters: dict[tuple[str, str], _Waiter] = {}
        self._requests: dict[str, Request] = {}

    def now(self) -> datetime:
        """Give the time of this terminal's clock, in UTC."""
        return self._clock.now()

    async def run(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Stay connected until cancelled; started with the first connection."""
        has_started = False
        while True:
            try:
                stream = await self._connect()
            except OSError:
                self.counts["not connected"] += 1
            else:
                self._wire = Wire(stream, self._framing)
                self._connected.unpark_all()
                if not has_started:
                    has_started = True
                    task_status.started()
                await self._wire.run(self._receive)
                self._wire = None
            await trio.sleep(self.profile.reconnect_s)

    async def purchase(
        self, card: TestCard, amount_minor: int, *, pin: Pin | None = None
    ) -> Belief:
        """Pay with a card; ends when the outcome is known or the payment reversed."""
        return await self.pay(self.build(Kind.PURCHASE, card, amount_minor, pin=pin))

    async def balance(self, card: TestCard, *, pin: Pin | None = None) -> Belief:
        """Ask for the balance; nothing is reversed when no answer comes."""
        return await self.pay(self.build(Kind.BALANCE_INQUIRY, card, 0, pin=pin))

    async def pay(self, request: Request) -> Belief:
        """Ask, repeat after silence, and reverse when nothing is known in the end."""
        belief = self._believe(request)
        answer = await self.exchange(request, belief=belief)
        if answer is not None:
            belief.outcome = answer.outcome
            belief.rrn = str(answer.message.get(37, ""))
            approved = answer.outcome.is_approved
            belief.state = BeliefState.APPROVED if approved else BeliefState.DECLINED
            if approved:
                self.on_approval(belief)
        elif belief.sends == 0:
            belief.state = BeliefState.NOT_SENT
        elif request.transaction.amount is not None:
            await self.reverse(belief, reason=ReversalReason.TIMEOUT)
        return belief

    async def reverse(
        self,
        belief: Belief,
        *,
        reason: ReversalReason = ReversalReason.CUSTOMER_CANCELLATION,
    ) -> None:
        """Undo a transaction; ends only when the host acknowledges."""
        belief.state = BeliefState.REVERSING
        reversal = self.build_reversal(self._requests[belief.stan], reason=reason)
        while True:
            belief.reversal_sends += 1
            answer = await self._ask_once(reversal, self.profile.reversal_retry_s)
            if answer is not None and answer.outcome.code in ACKNOWLEDGEMENTS:
                break
            if answer is not None:
                # Refused for now: asking again at once would not help.
                await trio.sleep(self.profile.reversal_retry_s)
            reversal = self.as_repeat(reversal)
        belief.state = BeliefState.REVERSED

    async def network(self, kind: Kind) -> Outcome | None:
        """Sign on, sign off or ask for an echo; None when no answer comes."""
        answer = await self._ask_once(self.build_network(kind), self.profile.timeout_s)
        return answer.outcome if answer else None

    async def sign_in(self, request: Request | None = None) -> Outcome | None:
        """Sign on and use the keys that the answer brings; None when none comes.

        Raises
        ------
        DecodeError, VerificationFailed
            The answer approves, and its keys are not ones.
        """
        assert self._tmk is not None, "only a terminal with a master key signs in"
        assert self._tak is not None, "a sign-in brings a MAC key"
        asked = request or self.build_network(Kind.SIGN_ON)
        answer = await self._ask_once(asked, self.profile.timeout_s)
        if answer is None or not answer.outcome.is_approved:
            return answer.outcome if answer else None
        sent = read_terminal_keys(self.dialect, answer.message)
        for keys, each in zip((self._tpk, self._tak), sent, strict=False):
            keys.use(unwrap_key(self._tmk, each, keys.active.cipher))
        return answer.outcome

    def build(
        self, kind: Kind, card: TestCard, amount_minor: int, *, pin: Pin | None = None
    ) -> Request:
        """Build a request of this terminal under its next trace number."""
        now = self.now().replace(microsecond=0)
        profile = self.profile
        stan = self.draw_stan()
        transaction = Transaction(
            kind=kind,
            function=Function.REQUEST,
            stan=stan,
            rrn=profile.rrn_prefix + stan if profile.rrn_prefix else "",
            pan=card.pan,
            expiry=card.expiry,
            amount=None
            if kind is Kind.BALANCE_INQUIRY
            else Money(amount_minor, profile.currency),
            transmitted_at=now,
            local_at=now.replace(tzinfo=None),
            entry_mode=EntryMode.CHIP,
            pin_entry=PinEntry.CAPABLE,
            mcc=profile.mcc,
            acquirer_id=profile.acquirer_id,
            terminal_id=profile.terminal_id,
            merchant_id=profile.merchant_id,
            merchant_name=profile.merchant_name,
            pin_block=encrypt_pin(self._tpk.active, pin, card.pan) if pin else None,
        )
        return self.build_from(transaction)

    def build_from(self, transaction: Transaction) -> Request:
        """Build the message of a transaction, with this terminal's MAC."""
        assert transaction.transmitted_at is not None, "terminals stamp their messages"
        leg = LegNumbers(
            stan=transaction.stan,
            rrn=transaction.rrn,
            transmitted_at=transaction.transmitted_at,
            acquirer_id=transaction.acquirer_id,
            repeat=transaction.is_repeat,
        )
        message = self.dialect.to_request(transaction, leg, mac=self._tak is not None)
        return Request(transaction=transaction, message=self.with_mac(message))

    def build_reversal(
        self, request: Request, *, reason: ReversalReason = ReversalReason.TIMEOUT
    ) -> Request:
        """Build the reversal of a request; it keeps the time of its original."""
        undone = request.transaction
        return self.build_from(
            replace(
                undone,
                kind=Kind.REVERSAL,
                function=self.profile.reversal_function,
                is_repeat=False,
                stan=self.draw_stan(),
                transmitted_at=self.now().replace(microsecond=0),
                pin_block=None,
                track2=None,
                emv=None,
                reversal_reason=reason,
                original=OriginalData(
                    kind=undone.kind,
                    mti=request.message.mti[:3] + "0",
                    stan=undone.stan,
                    transmitted_at=undone.transmitted_at,
                    local_at=undone.local_at,
                    acquirer_id=undone.acquirer_id,
                    rrn=undone.rrn,
                ),
            )
        )

    def build_network(self, kind: Kind) -> Request:
        """Build a sign-on, sign-off or echo of this terminal."""
        now = self.now().replace(microsecond=0)
        stan = self.draw_stan()
        message = self.dialect.network_request(kind, stan=stan, transmitted_at=now)
        transaction = Transaction(
            kind=kind,
            function=Function.REQUEST,
            stan=stan,
            transmitted_at=now,
            terminal_id=self.profile.terminal_id,
        )
        named = message.replace({41: self.profile.terminal_id})
        return Request(transaction=transaction, message=named)

    def as_repeat(self, request: Request) -> Request:
        """Turn a request into its repeat: 0201, 0421, under a new MAC."""
        mti = request.message.mti[:3] + "1"
        return Request(
            transaction=replace(request.transaction, is_repeat=True),
            message=self.with_mac(request.message.replace({}, mti=mti)),
        )

    def with_mac(self, message: Message) -> Message:
        """Put this terminal's MAC in its place, if the message has one."""
        de = self.dialect.mac_field(message)
        if de is None or self._tak is None:
            return message
        mac = generate_mac(self._tak.active, message.raw[: message.offset(de)])
        return message.replace({de: mac})

    def with_wrong_mac(self, request: Request) -> Request:
        """Spoil the MAC of a request."""
        de = self.dialect.mac_field(request.message)
        assert de is not None, "only a message with a MAC can have a wrong one"
        mac = request.message[de]
        assert isinstance(mac, bytes), "a MAC is binary"
        wrong = bytes(octet ^ 0xFF for octet in mac)
        return replace(request, message=request.message.replace({de: wrong}))

    async def exchange(
        self, request: Request, *, belief: Belief | None = None
    ) -> Answer | None:
        """Send a request, repeat it after silence; None when all stays silent."""
        waiter = self._expect(request)
        try:
            for attempt in range(1 + self.profile.repeats_max):
                asked = self.as_repeat(request) if attempt else request
                with trio.move_on_after(self.profile.timeout_s):
                    await self._send(asked.message)
                    if belief is not None:
                        belief.sends += 1
                    await waiter.done.wait()
                    return waiter.answer
            return None
        finally:
            self._forget(request)

    async def send_raw(self, data: bytes) -> None:
        """Send bytes as they are: garbage, half a frame, a frame too long."""
        wire = await self._wait_connected()
        wire.send_raw_nowait(data)

    async def send_garbage(self, random: Random, size: int = 200) -> None:
        """Send bytes that mean nothing."""
        await self.send_raw(random.randbytes(size))

    async def send_half(self, request: Request) -> None:
        """Send the first half of a frame."""
        frame = self.frame(request)
        await self.send_raw(frame[: len(frame) // 2])

    def frame(self, request: Request) -> bytes:
        """Give the bytes that a request is on the wire."""
        return self._framing.encode(self._header + request.message.raw)

    def hang_up(self) -> None:
        """Drop the connection; ``run`` makes a new one."""
        if self._wire is not None:
            self._wire.close()

    async def _ask_once(self, request: Request, timeout_s: float) -> Answer | None:
        waiter = self._expect(request)
        try:
            with trio.move_on_after(timeout_s):
                await self._send(request.message)
                await waiter.done.wait()
            return waiter.answer
        finally:
            self._forget(request)

    async def _send(self, message: Message) -> None:
        wire = await self._wait_connected()
        wire.send_nowait(self._header + message.raw)

    async def _wait_connected(self) -> Wire:
        while self._wire is None or not self._wire.is_open:
            await self._connected.park()
        return self._wire

    def _expect(self, request: Request) -> _Waiter:
        waiter = _Waiter(request)
        self._waiters[_key(request.message)] = waiter
        return waiter

    def _forget(self, request: Request) -> None:
        self._waiters.pop(_key(request.message), None)

    def _receive(self, payload: bytes) -> None:
        """Take one message; wake the exchange that it answers."""
        try:
            header, raw = headers.split(self.profile.header, payload)
            message = self.dialect.codec.decode(raw)
        except DecodeError:
            self.counts["undecodable"] += 1
            return
        waiter = self._waiters.get(_key(message))
        if waiter is None:
            self.counts["late or unasked"] += 1
        elif header != self._answer_header:
            self.counts["wrong header"] += 1
        elif str(message.get(41, self._echo)) != self._echo:
            self.counts["wrong echo"] += 1
        elif waiter.answer is not None:
            self.counts["duplicate"] += 1
        else:
            self._take(message, waiter)

    def _take(self, message: Message, waiter: _Waiter) -> None:
        """Take an answer that somebody waits for, if it can be believed."""
        try:
            outcome = self.dialect.to_outcome(message, waiter.request.transaction)
            self._verify(message, outcome)
        except DecodeError:
            self.counts["senseless"] += 1
        except MacMismatch:
            self.counts["wrong mac"] += 1
        else:
            waiter.answer = Answer(message=message, outcome=outcome)
            waiter.done.set()

    def _verify(self, message: Message, outcome: Outcome) -> None:
        """Check the MAC of an answer; only a decline may do without one."""
        de = self.dialect.mac_field(message)
        expects_mac = self._tak is not None and message.mti[1] != NETWORK_CLASS
        if not expects_mac or not self.profile.verifies_answers:
            return
        if de is not None:
            self._verify_mac(message, de)
        elif outcome.is_approved:
            msg = "an approval without a MAC"
            raise MacMismatch(msg)

    def _verify_mac(self, message: Message, de: int) -> None:
        mac = message[de]
        assert self._tak is not None, "only a terminal with a MAC key comes here"
        assert isinstance(mac, bytes), "a MAC is binary"
        data = message.raw[: message.offset(de)]
        self._tak.try_each(lambda key: verify_mac(key, data, mac))

    def _believe(self, request: Request) -> Belief:
        transaction = request.transaction
        assert transaction.local_at is not None, "terminals stamp their messages"
        card = find_card(transaction.pan) if transaction.pan else None
        belief = Belief(
            terminal_id=transaction.terminal_id,
            kind=transaction.kind,
            stan=transaction.stan,
            local_at=transaction.local_at,
            card=card.name if card else "",
            amount=transaction.amount,
        )
        self.beliefs.append(belief)
        self._requests[belief.stan] = request
        return belief

    def draw_stan(self) -> str:
        """Give the next trace number."""
        stan = self._next_stan
        self._next_stan = stan % STAN_MAX + 1
        return f"{stan:06d}"


def _key(message: Message) -> tuple[str, str]:
    """Give what pairs an answer with its request: message class and trace number."""
    return message.mti[1], str(message.get(11, ""))
