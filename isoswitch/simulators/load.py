"""A load generator: pays on many connections at once, and measures what comes back.

Requests come from stencils, so that a payment costs the generator little. Two ways of
paying:

    closed   a fixed number of requests is in flight on each connection; measures
             capacity
    open     requests start at times fixed beforehand, whatever the answers do, and a
             latency counts from that intended start, so that a stalled system cannot
             hide its stall by slowing the generator down (coordinated omission)

A request that is never answered counts with the whole patience. The generator is no
terminal: it neither repeats nor reverses. It runs outside trio, on a selector: nothing
here waits for anything but its sockets and the next due time.
"""

from __future__ import annotations

import math
import selectors
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from isoswitch.codecs import headers
from isoswitch.codecs.canonical.codes import ResponseCode
from isoswitch.codecs.canonical.errors import DecodeError
from isoswitch.codecs.dialects.dialect import Dialect
from isoswitch.codecs.framing import get_framing
from isoswitch.codecs.iso8583.message import Message
from isoswitch.simulators.histogram import Histogram
from isoswitch.simulators.keyed_macs import MacMaker
from isoswitch.simulators.stencils import STAN_FIELD, Filled

RECEIVE_BYTES = 65_536
RECONNECT_S = 0.5
VERIFY_EVERY = 50
"""The MAC of every so manieth answer of a line is verified, the first one too."""

OVERLOADED = frozenset(
    {ResponseCode.ISSUER_UNAVAILABLE, ResponseCode.SYSTEM_MALFUNCTION}
)


class Fate(StrEnum):
    """What became of a request."""

    APPROVED = "approved"
    DECLINED = "declined"
    REFUSED = "refused"
    UNANSWERED = "unanswered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """How a terminal's connection speaks: what its answers are read by."""

    dialect: Dialect
    framing: str
    header: str = ""
    make_mac: MacMaker | None = None


@dataclass(slots=True)
class Second:
    """What became of the requests that were due in one second of a run."""

    fates: Counter[Fate] = field(default_factory=Counter)
    latencies: Histogram = field(default_factory=Histogram)


class Tally:
    """Counts and latencies of the requests that were due in a span of time.

    ``codes`` counts answers by canonical code, ``seconds`` tells the course of the
    run. ``approved_in_time`` are approvals by the time they came, whenever they were
    due: the throughput. ``wrong`` answers carry no MAC of their terminal's key, or
    answer nothing that was asked.
    """

    def __init__(self, *, begins_at: float, ends_at: float) -> None:
        self.begins_at = begins_at
        self.ends_at = ends_at
        self.latencies = {fate: Histogram() for fate in Fate}
        self.codes: Counter[ResponseCode] = Counter()
        self.seconds: dict[int, Second] = {}
        self.approved_in_time = 0
        self.wrong = 0

    @property
    def fates(self) -> dict[Fate, int]:
        """How many requests came to what."""
        return {fate: times.count for fate, times in self.latencies.items()}

    def all_latencies(self) -> Histogram:
        """Give the latencies of everything that was due, answered or not."""
        total = Histogram()
        for times in self.latencies.values():
            total.add(times)
        return total

    def take(self, code: ResponseCode, *, due_at: float, now: float) -> None:
        """Count an answer."""
        fate = _fate_of(code)
        if fate is Fate.APPROVED and self.begins_at <= now < self.ends_at:
            self.approved_in_time += 1
        if self.begins_at <= due_at < self.ends_at:
            self.codes[code] += 1
            self._count(fate, due_at=due_at, latency_s=now - due_at)

    def lose(self, *, due_at: float, waited_s: float) -> None:
        """Count a request that nobody answered."""
        if self.begins_at <= due_at < self.ends_at:
            self._count(Fate.UNANSWERED, due_at=due_at, latency_s=waited_s)

    def _count(self, fate: Fate, *, due_at: float, latency_s: float) -> None:
        self.latencies[fate].record(latency_s)
        number = int(due_at - self.begins_at)
        second = self.seconds.get(number)
        if second is None:
            second = self.seconds[number] = Second()
        second.fates[fate] += 1
        second.latencies.record(latency_s)


class Line:
    """One terminal's connection, and what it waits for by trace number."""

    def __init__(
        self,
        connect: Callable[[], socket.socket],
        manners: Manners,
        requests: Iterator[Filled],
    ) -> None:
        self.manners = manners
        self.awaited: dict[str, float] = {}
        self.requests = requests
        self.connect_again_at = 0.0
        self.answer_count = 0
        self._connect = connect
        self._framing = get_framing(manners.framing)
        self._out = bytearray()
        self._codes: dict[object, ResponseCode] = {}
        self.sock: socket.socket | None = None

    def connect(self) -> socket.socket:
        """Connect; raises OSError when nobody answers."""
        self.sock = self._connect()
        self.sock.setblocking(False)
        self._frames = self._framing.decoder()
        self._out.clear()
        return self.sock

    def close(self) -> None:
        """Drop the connection."""
        if self.sock is not None:
            self.sock.close()
            self.sock = None

    def send(self, due: Sequence[float]) -> bool:
        """Ask for as many payments as are due; False when the peer takes no more."""
        for due_at in due:
            request = next(self.requests)
            self.awaited[request.stan] = due_at
            self._out += request.frame
        return self.flush()

    def flush(self) -> bool:
        """Send what waits to be sent; raises OSError when the connection broke."""
        assert self.sock is not None, "only a line with a connection sends"
        while self._out:
            try:
                del self._out[: self.sock.send(self._out)]
            except (BlockingIOError, ssl.SSLWantWriteError):
                return False
        return True

    def receive(self) -> Iterator[Message]:
        """Give the answers that have come.

        Raises
        ------
        OSError
            The connection broke or was closed.
        DecodeError
            What came are no messages.
        """
        assert self.sock is not None, "only a line with a connection receives"
        has_more = True
        while has_more:
            try:
                data = self.sock.recv(RECEIVE_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError):
                return
            if not data:
                msg = "the switch closed a terminal's connection"
                raise ConnectionError(msg)
            has_more = isinstance(self.sock, ssl.SSLSocket) and self.sock.pending() > 0
            for payload in filter(None, self._frames.feed(data)):
                _, raw = headers.split(self.manners.header, payload)
                yield self.manners.dialect.codec.decode(raw)

    def code_of(self, answer: Message) -> ResponseCode:
        """Read the canonical code of an answer."""
        sign = answer.mti, answer.get(39)
        code = self._codes.get(sign)
        if code is None:
            code = self._codes[sign] = self.manners.dialect.to_code(answer)
        return code

    def has_right_mac(self, answer: Message) -> bool:
        """Whether an answer's MAC is that of its terminal; a decline may have none."""
        make_mac, dialect = self.manners.make_mac, self.manners.dialect
        de = dialect.mac_field(answer)
        if make_mac is None:
            return True
        if de is None:
            return not self.code_of(answer).is_approval
        return answer[de] == make_mac(answer.raw[: answer.offset(de)])


class Generator:
    """Pays on lines in turn, and tallies what comes of it.

    ``patience_s`` is how long the last answers may take, and the latency of those that
    never come.

    Raises
    ------
    OSError
        A line cannot connect at the beginning; later it tries again.
    """

    def __init__(
        self, lines: Sequence[Line], tally: Tally, *, patience_s: float
    ) -> None:
        self.tally = tally
        self.sent = 0
        self._lines = lines
        self._patience_s = patience_s
        self._selector = selectors.DefaultSelector()
        self._next_due: float | None = None
        for line in lines:
            self._selector.register(line.connect(), selectors.EVENT_READ, line)

    @property
    def waiting(self) -> int:
        """How many requests wait for their answers."""
        return sum(len(line.awaited) for line in self._lines)

    def pay_open(self, due_at: Iterator[float], *, until: float) -> None:
        """Send what is due until a time, on the lines in turn."""
        if self._next_due is None:
            self._next_due = next(due_at, math.inf)
        now = time.perf_counter()
        # What became due while this process slept is sent also when the time is over.
        while now < until or self._next_due < until:
            while self._next_due <= now and self._next_due < until:
                line = self._lines[self.sent % len(self._lines)]
                self._send(line, [self._next_due])
                self._next_due = next(due_at, math.inf)
            self._turn(min(self._next_due, until) - now)
            now = time.perf_counter()

    def pay_closed(self, in_flight: int, *, until: float) -> None:
        """Keep so many requests in flight on every line until a time."""
        answered = list(self._lines)
        while (now := time.perf_counter()) < until:
            for line in answered:
                missing = in_flight - len(line.awaited)
                if missing > 0 and line.sock is not None:
                    self._send(line, [now] * missing)
            answered = self._turn(until - now)

    def drain(self) -> None:
        """Wait for what is still under way; what does not come is lost."""
        deadline = time.perf_counter() + self._patience_s
        while self.waiting and (now := time.perf_counter()) < deadline:
            self._turn(deadline - now)
        for line in self._lines:
            self._drop(line)

    def _turn(self, timeout_s: float) -> list[Line]:
        """Wait for sockets, take what comes, and give the lines where something came.

        What a line still has to send goes out when there is room.
        """
        answered = []
        for key, events in self._selector.select(max(timeout_s, 0.0)):
            line: Line = key.data
            try:
                if events & selectors.EVENT_WRITE and line.flush():
                    self._selector.modify(key.fileobj, selectors.EVENT_READ, line)
                if events & selectors.EVENT_READ:
                    answered.append(line)
                    for answer in line.receive():
                        self._take(line, answer)
            except OSError:
                self._drop(line)
            except DecodeError:
                self.tally.wrong += 1
                self._drop(line)
        return answered

    def _take(self, line: Line, answer: Message) -> None:
        now = time.perf_counter()
        due_at = line.awaited.pop(str(answer.get(STAN_FIELD)), None)
        if due_at is None:
            self.tally.wrong += 1
            return
        if line.answer_count % VERIFY_EVERY == 0 and not line.has_right_mac(answer):
            self.tally.wrong += 1
        line.answer_count += 1
        self.tally.take(line.code_of(answer), due_at=due_at, now=now)

    def _send(self, line: Line, due: Sequence[float]) -> None:
        self.sent += len(due)
        if line.sock is None:
            self._connect_again(line)
        if line.sock is None:
            self._lose(due)
            return
        try:
            if not line.send(due):
                events = selectors.EVENT_READ | selectors.EVENT_WRITE
                self._selector.modify(line.sock, events, line)
        except OSError:
            self._drop(line)

    def _connect_again(self, line: Line) -> None:
        now = time.perf_counter()
        if now < line.connect_again_at:
            return
        try:
            self._selector.register(line.connect(), selectors.EVENT_READ, line)
        except OSError:
            line.connect_again_at = now + RECONNECT_S

    def _drop(self, line: Line) -> None:
        """Close a line; nobody answers any more what was asked there."""
        if line.sock is not None:
            self._selector.unregister(line.sock)
            line.close()
        self._lose(list(line.awaited.values()))
        line.awaited.clear()

    def _lose(self, due: Sequence[float]) -> None:
        for due_at in due:
            self.tally.lose(due_at=due_at, waited_s=self._patience_s)


def _fate_of(code: ResponseCode) -> Fate:
    if code.is_approval:
        return Fate.APPROVED
    return Fate.REFUSED if code in OVERLOADED else Fate.DECLINED
