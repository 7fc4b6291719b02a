"""The load generator: a process that pays and measures, and prints a line of JSON.

Requests are encoded before the clock starts. Two ways of paying:

    closed   a fixed number of requests is in flight on each connection; measures
             capacity
    open     requests start at times fixed beforehand, whatever the answers do, and a
             latency counts from that intended start, so that a stalled system cannot
             hide its stall by slowing the generator down (coordinated omission)

Every answer must be an approval of a request in flight, and the MACs of a sample are
verified afterwards. Latencies are kept one by one; there is no histogram to be coarse.
"""

from __future__ import annotations

import gc
import selectors
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from bench.cpu import cpu_seconds
from bench.network import (
    DIALECT,
    TERMINALS,
    Purchase,
    keyring_of,
    mac_maker,
    purchases,
)
from isoswitch.codecs.dialects.registry import get_dialect
from isoswitch.codecs.framing import FrameDecoder, get_framing
from isoswitch.config.load import load_network
from isoswitch.simulators.keyring import Keyring

SAMPLE_EVERY = 50
PATIENCE_S = 20.0
PER_SECOND_MAX = 8_000
REFUSALS = frozenset({b"91", b"96"})

codec = get_dialect(DIALECT).codec
framing = get_framing("bin2")


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What to do: where to pay, how long, and whose CPU time to note.

    ``rate`` 0 is the closed loop. ``pids`` are groups of processes by name. Where
    ``may_refuse``, the answers 91 and 96 are refusals and not wrong.
    """

    config: str
    port: int
    first_stan: int
    warm_up_s: float
    measure_s: float
    in_flight: int
    rate: float = 0.0
    pids: dict[str, list[int]] = {}
    may_refuse: bool = False


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it; latencies are those of requests due in the measured time.

    ``count`` are approvals; refusals stand apart.
    """

    count: int
    seconds: float
    cpu_s: dict[str, float]
    p50_ms: float
    p99_ms: float
    p999_ms: float
    refused: int = 0
    refused_p99_ms: float = 0.0
    refused_max_ms: float = 0.0
    wrong: int
    unanswered: int
    next_stan: int


@dataclass(slots=True, eq=False)
class _Connection:
    """One terminal's connection and what it waits for, by trace number."""

    sock: socket.socket
    frames: FrameDecoder
    requests: Iterator[Purchase]
    due_at: dict[bytes, float] = field(default_factory=dict)


class Generator:
    """Pays on one connection per terminal."""

    def __init__(self, orders: Orders, requests: Sequence[Purchase]) -> None:
        self._orders = orders
        self._requests = requests
        self._selector = selectors.DefaultSelector()
        self._connections: list[_Connection] = []
        for number in range(len(TERMINALS)):
            sock = socket.create_connection(("127.0.0.1", orders.port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            own = iter(requests[number :: len(TERMINALS)])
            connection = _Connection(sock, framing.decoder(), own)
            self._selector.register(sock, selectors.EVENT_READ, connection)
            self._connections.append(connection)
        self._began_at = self._measures_from = self._ends_at = 0.0
        self._spans: dict[bytes, tuple[int, int, int, int]] = {}
        self._sent_count = 0
        self._answer_count = 0
        self.latencies_s: list[float] = []
        self.refusals_s: list[float] = []
        self.answered_count = 0
        self.wrong_count = 0
        self.samples: list[tuple[int, bytes]] = []

    @property
    def unanswered_count(self) -> int:
        """How many requests still wait."""
        return sum(len(connection.due_at) for connection in self._connections)

    def run(self) -> tuple[float, dict[str, float]]:
        """Pay until the time is over; give the seconds and CPU seconds measured."""
        self._began_at = time.perf_counter()
        self._measures_from = self._began_at + self._orders.warm_up_s
        self._ends_at = self._measures_from + self._orders.measure_s
        pay = self._pay_open if self._orders.rate else self._pay_closed
        pay(self._measures_from)
        cpu_before, began_at = self._cpu(), time.perf_counter()
        pay(self._ends_at)
        seconds = time.perf_counter() - began_at
        cpu_after = self._cpu()
        self._drain()
        return seconds, {name: cpu_after[name] - cpu_before[name] for name in cpu_after}

    def _pay_closed(self, until: float) -> None:
        """Keep every connection's window full."""
        for connection in self._connections:
            missing = self._orders.in_flight - len(connection.due_at)
            self._send(connection, [time.perf_counter()] * missing)
        while (now := time.perf_counter()) < until:
            for key, _ in self._selector.select(until - now):
                answered = self._receive(key.data)
                self._send(key.data, [time.perf_counter()] * answered)

    def _pay_open(self, until: float) -> None:
        """Send what is due, on the terminals in turn."""
        interval_s = 1 / self._orders.rate
        while (now := time.perf_counter()) < until:
            while (due := self._began_at + self._sent_count * interval_s) <= now:
                turn = self._sent_count % len(self._connections)
                self._send(self._connections[turn], [due])
            for key, _ in self._selector.select(max(due - now, 0.0)):
                self._receive(key.data)

    def _drain(self) -> None:
        deadline = time.perf_counter() + PATIENCE_S
        while self.unanswered_count and time.perf_counter() < deadline:
            for key, _ in self._selector.select(0.1):
                self._receive(key.data)

    def _send(self, connection: _Connection, due: Sequence[float]) -> None:
        frames = []
        for due_at in due:
            request = next(connection.requests)
            connection.due_at[request.stan] = due_at
            self._sent_count += 1
            frames.append(request.frame)
        if frames:
            connection.sock.sendall(b"".join(frames))

    def _receive(self, connection: _Connection) -> int:
        """Take the answers of one read and give their number."""
        data = connection.sock.recv(65_536)
        if not data:
            msg = "the switch closed a terminal's connection"
            raise ConnectionError(msg)
        now = time.perf_counter()
        answers = connection.frames.feed(data)
        for answer in answers:
            due_at, is_approved = self._take(connection, answer)
            if is_approved and self._measures_from <= now < self._ends_at:
                self.answered_count += 1
            if self._measures_from <= due_at < self._ends_at:
                latencies = self.latencies_s if is_approved else self.refusals_s
                latencies.append(now - due_at)
        return len(answers)

    def _take(self, connection: _Connection, answer: bytes) -> tuple[float, bool]:
        """Check an answer; give the time its request was due, and if it approves."""
        # The message type and the bitmaps tell where the fields stand.
        head = answer[:20]
        spans = self._spans.get(head)
        if spans is None:
            message = codec.decode(answer)
            spans = self._spans[head] = (
                *(message.offset(11), message.end(11)),
                *(message.offset(39), message.end(39)),
            )
        stan_start, stan_end, code_start, code_end = spans
        code = answer[code_start:code_end]
        is_approved = code == b"00"
        if not is_approved and not (self._orders.may_refuse and code in REFUSALS):
            self.wrong_count += 1
        self._answer_count += 1
        if self._answer_count % SAMPLE_EVERY == 0:
            self.samples.append((self._connections.index(connection), answer))
        return connection.due_at.pop(answer[stan_start:stan_end]), is_approved

    def _cpu(self) -> dict[str, float]:
        return {
            name: sum(map(cpu_seconds, pids))
            for name, pids in self._orders.pids.items()
        }


def verify_samples(keyring: Keyring, samples: Sequence[tuple[int, bytes]]) -> int:
    """Give how many of the answers carry no MAC of their terminal's key."""
    wrong = 0
    for terminal, answer in samples:
        message = codec.decode(answer)
        make_mac = mac_maker(keyring, f"terminal/{TERMINALS[terminal].lower()}/tak")
        try:
            mac = message[64]
        except KeyError:
            mac = b""
        wrong += make_mac(message.raw[:-16]) != mac
    return wrong


def main(orders: Orders) -> Result:
    """Prepare, pay, and sum up."""
    keyring = keyring_of(load_network(Path(orders.config)))
    seconds = orders.warm_up_s + orders.measure_s
    count = round(seconds * (orders.rate or PER_SECOND_MAX)) + 5_000
    requests = list(purchases(keyring, first_stan=orders.first_stan, count=count))
    generator = Generator(orders, requests)
    gc.collect()
    gc.freeze()
    measured_s, cpu_s = generator.run()
    latencies = sorted(generator.latencies_s) or [0.0]
    refusals = sorted(generator.refusals_s) or [0.0]

    def percentile_ms(share: float, times: Sequence[float] = latencies) -> float:
        return round(times[int(share * (len(times) - 1))] * 1000, 2)

    return Result(
        count=generator.answered_count,
        seconds=measured_s,
        cpu_s=cpu_s,
        p50_ms=percentile_ms(0.5),
        p99_ms=percentile_ms(0.99),
        p999_ms=percentile_ms(0.999),
        refused=len(generator.refusals_s),
        refused_p99_ms=percentile_ms(0.99, refusals),
        refused_max_ms=percentile_ms(1.0, refusals),
        wrong=generator.wrong_count + verify_samples(keyring, generator.samples),
        unanswered=generator.unanswered_count,
        next_stan=orders.first_stan + count // len(TERMINALS) + 1,
    )


if __name__ == "__main__":
    print(
        msgspec.json.encode(
            main(msgspec.json.decode(sys.argv[1], type=Orders))
        ).decode()
    )
