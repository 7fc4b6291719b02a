"""A simulated terminal: it pays, repeats, reverses, and remembers what it believes.

A purchase goes as a real terminal's does::

    ask 0200 -> silence -> ask 0201 -> silence -> reverse 0420 -> 0421 -> ... -> 0430

An answer counts when it names this terminal and its MAC verifies; a decline may come
without one, because a host that cannot tell who asked has no key to use. The terminal
connects again when its connection breaks, and never forgets a reversal.

Building a message (`requests.py`) and exchanging it are two steps, so that load
generators build first and measure only the exchange.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random

import trio

from isoswitch.codecs import headers
from isoswitch.codecs.canonical.codes import (
    Kind,
    ResponseCode,
    ReversalReason,
)
from isoswitch.codecs.canonical.errors import DecodeError, MacMismatch
from isoswitch.codecs.canonical.secrets import Pin
from isoswitch.codecs.canonical.transaction import (
    Outcome,
)
from isoswitch.codecs.dialects.key_change import read_terminal_keys
from isoswitch.codecs.dialects.notice import CodeNotice, read_notice
from isoswitch.codecs.framing import get_framing
from isoswitch.codecs.iso8583.message import Message
from isoswitch.simulators.beliefs import Belief, BeliefState
from isoswitch.simulators.cards import TestCard, find_card, get_card
from isoswitch.simulators.keyring import Keyring
from isoswitch.simulators.requests import (
    INQUIRIES,
    Request,
    RequestBuilder,
    TerminalProfile,
)
from isoswitch.simulators.terminal_crypto import verify_mac
from isoswitch.simulators.wire import CARD_FRAME_BYTES_MAX, Wire
from isoswitch.simulators.working_keys import unwrap_key
from isoswitch.switch.ports import Clock

Connect = Callable[[], Awaitable[trio.abc.Stream]]

ACKNOWLEDGEMENTS = frozenset({ResponseCode.APPROVED, ResponseCode.ORIGINAL_NOT_FOUND})
NETWORK_CLASS = "8"
TPDU = bytes.fromhex("6000010002")
"""Identifier, destination NII 0001, source 0002."""


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


class Terminal(RequestBuilder):
    """One terminal with its connection, trace numbers and beliefs.

    ``beliefs`` is what an auditor reads; ``counts`` tells what came that was not an
    answer to anything (late, unverified, undecodable). ``on_approval`` is told of every
    approval in the moment in which it is heard. ``notices`` are what the host told of
    codes unasked, by the number that each code came with.
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
        super().__init__(profile, keyring=keyring, clock=clock, first_stan=first_stan)
        self.beliefs: list[Belief] = []
        self.counts: Counter[str] = Counter()
        self.on_approval: Callable[[Belief], None] = lambda _: None
        self._tmk = keyring.get_key(profile.tmk) if profile.tmk else None
        self._framing = get_framing(profile.framing)
        self._header = TPDU if profile.header else b""
        self._answer_header = headers.swap(profile.header, self._header)
        self._connect = connect
        self._wire: Wire | None = None
        self._connected = trio.lowlevel.ParkingLot()
        self._waiters: dict[tuple[str, str], _Waiter] = {}
        self.notices: dict[str, CodeNotice] = {}
        self._noticed = trio.lowlevel.ParkingLot()

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
                self._wire = Wire(
                    stream, self._framing, frame_bytes_max=CARD_FRAME_BYTES_MAX
                )
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

    async def inquire(
        self, kind: Kind, card: TestCard, *, pin: Pin | None = None
    ) -> Belief:
        """Ask about a card; nothing is reversed when no answer comes."""
        return await self.pay(self.build(kind, card, 0, pin=pin))

    async def balance(self, card: TestCard, *, pin: Pin | None = None) -> Belief:
        """Ask for the balance."""
        return await self.inquire(Kind.BALANCE_INQUIRY, card, pin=pin)

    async def preauthorise(
        self, card: TestCard, amount_minor: int, *, pin: Pin | None = None
    ) -> Belief:
        """Set an amount aside."""
        return await self.pay(
            self.build(Kind.PREAUTHORISATION, card, amount_minor, pin=pin)
        )

    async def increase(self, original: Belief, amount_minor: int) -> Belief:
        """Set more aside."""
        return await self.act(Kind.INCREMENTAL, original, amount_minor)

    async def complete(
        self, original: Belief, amount_minor: int, *, is_final: bool = True
    ) -> Belief:
        """Ask for what was set aside, or for a part of it."""
        return await self.act(
            Kind.COMPLETION, original, amount_minor, is_final=is_final
        )

    async def refund(self, original: Belief, amount_minor: int) -> Belief:
        """Give money back of what was paid here or at another terminal."""
        return await self.act(Kind.REFUND, original, amount_minor)

    async def act(
        self, kind: Kind, original: Belief, amount_minor: int, *, is_final: bool = True
    ) -> Belief:
        """Ask for something that acts on an earlier transaction."""
        card = get_card(original.card)
        request = self.build(
            kind, card, amount_minor, original=original, is_final=is_final
        )
        return await self.pay(request)

    async def void(self, original: Belief) -> Belief:
        """Undo a transaction by a void; asks until there is an answer."""
        minor = original.amount.minor if original.amount else 0
        card = get_card(original.card)
        belief = await self.tell(self.build(Kind.VOID, card, minor, original=original))
        if belief.state is BeliefState.APPROVED:
            original.state = BeliefState.REVERSED
        return belief

    async def tell(self, request: Request) -> Belief:
        """Tell what has happened, or must happen, until there is an answer."""
        belief = self._believe(request)
        answer = None
        while answer is None:
            asked = self.as_repeat(request) if belief.sends else request
            belief.sends += 1
            answer = await self._ask_once(asked, self.profile.reversal_retry_s)
        self._conclude(belief, answer)
        return belief

    async def pay(self, request: Request) -> Belief:
        """Ask, repeat after silence, and reverse when nothing is known in the end."""
        belief = self._believe(request)
        answer = await self.exchange(request, belief=belief)
        if answer is not None:
            self._conclude(belief, answer)
        elif belief.sends == 0:
            belief.state = BeliefState.NOT_SENT
        elif request.transaction.kind not in INQUIRIES:
            await self.reverse(belief, reason=ReversalReason.TIMEOUT)
        return belief

    async def reverse(
        self,
        belief: Belief,
        *,
        reason: ReversalReason = ReversalReason.CUSTOMER_CANCELLATION,
        remaining_minor: int = 0,
    ) -> None:
        """Undo a transaction, or all but a part; ends only when acknowledged."""
        before = belief.state
        belief.state = BeliefState.REVERSING
        reversal = self.build_reversal(
            self.requests[belief.stan], reason=reason, remaining_minor=remaining_minor
        )
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
        if remaining_minor:
            belief.state, belief.remaining_minor = before, remaining_minor

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

    async def wait_notice(self, rrn: str) -> CodeNotice:
        """Wait until the host tells what became of the code that came with a number."""
        while rrn not in self.notices:
            await self._noticed.park()
        return self.notices[rrn]

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
        waiter, echo = self._waiters.get(_key(message)), self.profile.terminal_id
        notice = read_notice(self.dialect, message)
        if notice is not None:
            self._take_notice(message, notice)
        elif waiter is None:
            self.counts["late or unasked"] += 1
        elif header != self._answer_header:
            self.counts["wrong header"] += 1
        elif str(message.get(41, echo)).rstrip() != echo:
            self.counts["wrong echo"] += 1
        elif waiter.answer is not None:
            self.counts["duplicate"] += 1
        else:
            self._take(message, waiter)

    def _take_notice(self, message: Message, notice: CodeNotice) -> None:
        """Take what the host tells unasked of a code, if it can be believed."""
        de = self.dialect.mac_field(message)
        try:
            if self._tak is not None and de is None:
                raise MacMismatch("a notice without a MAC")
            if de is not None:
                self._verify_mac(message, de)
        except MacMismatch:
            self.counts["wrong mac"] += 1
            return
        if notice.terminal_id != self.profile.terminal_id:
            self.counts["wrong echo"] += 1
            return
        self.notices[notice.rrn] = notice
        self._noticed.unpark_all()

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
            amount=None if transaction.kind in INQUIRIES else transaction.amount,
        )
        self.beliefs.append(belief)
        self.requests[belief.stan] = request
        return belief

    def _conclude(self, belief: Belief, answer: Answer) -> None:
        """Believe what an answer says."""
        belief.outcome = answer.outcome
        belief.rrn = str(answer.message.get(37, ""))
        approved = answer.outcome.is_approved
        belief.state = BeliefState.APPROVED if approved else BeliefState.DECLINED
        if approved:
            self.on_approval(belief)


def _key(message: Message) -> tuple[str, str]:
    """Give what pairs an answer with its request: message class and trace number."""
    return message.mti[1], str(message.get(11, ""))
