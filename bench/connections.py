"""Many terminals at once: what idle ones cost, and how fast a crowd is answered.

``idle`` connects thousands of terminals to the real switch, plain and over TLS with
client certificates, and leaves them alone. ``burst`` lets hundreds connect in the same
moment, while the switch is loaded at half of what it can, and send an echo request
each; the time counts from that moment to the answer.
"""

from __future__ import annotations

import selectors
import socket
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime

from bench.cpu import cpu_seconds, file_count, memory_kib
from bench.network import DIALECT, FRAMING, SECURE, TERMINALS
from bench.processes import raise_file_limit
from bench.purchase import Stacks
from bench.rows import Row, row
from isoswitch.codecs.canonical.codes import Kind
from isoswitch.codecs.dialects.registry import get_dialect
from isoswitch.codecs.framing import get_framing
from isoswitch.commands.ends import connect_socket

PLAIN = 10_000
SPARE_FILES = 500
BURST = 500
SETTLE_S = 10.0
LOADS_S = 2.0
"""So long a load generator may take before it pays."""

KIB_GOAL = {"plain": 10, "TLS": 45}
IDLE_CPU_GOAL_US = 10_000
"""Microseconds a second: one per cent of a CPU."""


def run_idle(quick: bool, running: Stacks) -> list[Row]:
    """Measure and give the rows of idle connections."""
    plain = min(2_000 if quick else PLAIN, raise_file_limit() - SPARE_FILES)
    secure = 100 if quick else 1_000
    with ExitStack() as held:
        # One upon the other: memory that is given back would hide what is taken.
        return [
            *_idle(running, held, SECURE, secure, kind="TLS", quick=quick),
            *_idle(running, held, TERMINALS[0], plain, kind="plain", quick=quick),
        ]


def run_burst(quick: bool, running: Stacks) -> list[Row]:
    """Measure and give the row of terminals that all connect at once."""
    raise_file_limit()
    real, payer = running.real, running.payer
    closed = payer.pay(real, seconds=1.0 if quick else 4.0)
    rate = closed.count / closed.seconds / 2
    rounds = 1 if quick else 5
    slowest, middle = [], []
    with payer.paying(real, seconds=LOADS_S + rounds * 3.0, rate=rate) as process:
        time.sleep(LOADS_S)
        for _ in range(rounds):
            times_s = sorted(_connect_all(real.port))
            middle.append(times_s[len(times_s) // 2])
            slowest.append(times_s[-1])
        if process.poll() is not None:
            msg = "the load ended before the bursts did"
            raise RuntimeError(msg)
    return [
        row(
            f"burst: {BURST} connect at {rate:.0f}/s, the slowest as p99",
            p50_ms=round(statistics.median(middle) * 1000, 1),
            p99_ms=round(statistics.median(slowest) * 1000, 1),
            goal="< 250 ms",
        )
    ]


def _idle(
    running: Stacks,
    held: ExitStack,
    terminal_id: str,
    count: int,
    *,
    kind: str,
    quick: bool,
) -> list[Row]:
    """Connect so many on top of those that are held already."""
    (pid,) = running.real.pids["switch"]
    seconds = 1.0 if quick else 10.0
    before_kib, alone_us = memory_kib(pid), _cpu_us_a_second(pid, seconds)
    used = cpu_seconds(pid)
    held.enter_context(_connected(running, terminal_id, count))
    connecting_us = (cpu_seconds(pid) - used) / count * 1e6
    kib = (memory_kib(pid) - before_kib) / count
    used_us = _cpu_us_a_second(pid, seconds)
    name = f"idle: {count:,} {kind}"
    return [
        row(
            f"{name}, memory each",
            kib=round(kib, 1),
            goal=f"<= {KIB_GOAL[kind]} KiB",
        ),
        row(f"{name}, connecting each", cpu_us=round(connecting_us)),
        row(
            f"{name}, CPU a second beyond {alone_us:.0f} us",
            cpu_us=round(max(used_us - alone_us, 0.0)),
            goal=f"<= {IDLE_CPU_GOAL_US} us",
        ),
    ]


def _cpu_us_a_second(pid: int, seconds: float) -> float:
    used, began = cpu_seconds(pid), time.monotonic()
    time.sleep(seconds)
    return (cpu_seconds(pid) - used) / (time.monotonic() - began) * 1e6


@contextmanager
def _connected(running: Stacks, terminal_id: str, count: int) -> Iterator[None]:
    """Keep so many connections of a terminal while the block lasts."""
    (pid,) = running.real.pids["switch"]
    files = file_count(pid)
    with ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(connect_socket(running.loaded, terminal_id))
        _wait_files(pid, at_least=files + count)
        yield
    _wait_files(pid, at_most=files)


def _wait_files(pid: int, *, at_least: int = 0, at_most: int = 1 << 30) -> None:
    """Wait until the switch has accepted, or closed, its connections."""
    deadline = time.monotonic() + SETTLE_S
    while not at_least <= file_count(pid) <= at_most:
        if time.monotonic() > deadline:
            msg = f"the switch has {file_count(pid)} files open"
            raise RuntimeError(msg)
        time.sleep(0.05)


def _connect_all(port: int) -> list[float]:
    """Let everybody connect and ask at once; give how long each waited."""
    framing, frames = get_framing(FRAMING), list(map(_echo, range(1, BURST + 1)))
    times_s: list[float] = []
    with selectors.DefaultSelector() as selector, ExitStack() as stack:
        began = time.perf_counter()
        for frame in frames:
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
            selector.register(sock, selectors.EVENT_WRITE, frame)
        while len(times_s) < BURST:
            for key, events in selector.select(SETTLE_S):
                assert isinstance(key.fileobj, socket.socket), "registered above"
                if events & selectors.EVENT_WRITE:
                    key.fileobj.sendall(key.data)
                    selector.modify(
                        key.fileobj, selectors.EVENT_READ, framing.decoder()
                    )
                elif key.data.feed(key.fileobj.recv(4096)):
                    times_s.append(time.perf_counter() - began)
                    selector.unregister(key.fileobj)
    return times_s


def _echo(stan: int) -> bytes:
    request = get_dialect(DIALECT).network_request(
        Kind.ECHO, stan=f"{stan:06d}", transmitted_at=datetime.now(UTC)
    )
    terminal_id = TERMINALS[stan % len(TERMINALS)]
    return get_framing(FRAMING).encode(request.replace({41: terminal_id}).raw)
