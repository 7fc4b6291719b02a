"""The load generator of a benchmark: a process that pays, and prints a line of JSON.

It is ``isoswitch.simulators.load`` with one connection for each terminal and with
requests that are encoded before the clock starts. Every answer must be an approval
of a request in flight.
"""

from __future__ import annotations

import gc
import itertools
import socket
import sys
import time
from functools import partial
from pathlib import Path

import msgspec

from bench.cpu import cpu_seconds
from bench.network import (
    DIALECT,
    FRAMING,
    TERMINALS,
    Content,
    keyring_of,
    purchases,
    terminal_mac,
)
from isoswitch.codecs.dialects.registry import get_dialect
from isoswitch.config.load import load_network
from isoswitch.simulators.histogram import Histogram
from isoswitch.simulators.keyring import Keyring
from isoswitch.simulators.load import Fate, Generator, Line, Manners, Tally

PATIENCE_S = 20.0
PER_SECOND_MAX = 8_000
SPARE = 5_000
ENCODED_BEFORE_MAX = 250_000


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What to do: where to pay, how long, and whose CPU time to note.

    ``rate`` 0 is the closed loop. ``pids`` are groups of processes by name.
    """

    config: str
    port: int
    first_stan: int
    warm_up_s: float
    measure_s: float
    in_flight: int
    rate: float = 0.0
    pids: dict[str, list[int]] = {}
    content: Content = Content.PURCHASE

    @property
    def requests_each(self) -> int:
        """How many trace numbers of each terminal to set aside."""
        seconds = self.warm_up_s + self.measure_s
        return round(seconds * (self.rate or PER_SECOND_MAX) + SPARE) // len(TERMINALS)


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it; latencies are those of requests due in the measured time.

    ``count`` are approvals; ``refused`` were turned away because of overload, and
    stand apart. ``spectrum`` are shares of the approvals and their milliseconds,
    ``approved_each_s`` and ``p99_each_s`` tell of what was due in each second,
    ``own_cpu_s`` is what the generator itself used.
    """

    count: int
    seconds: float
    cpu_s: dict[str, float]
    own_cpu_s: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    spectrum: list[tuple[float, float]]
    approved_each_s: list[int]
    p99_each_s: list[float]
    refused: int
    refused_p99_ms: float
    refused_max_ms: float
    wrong: int
    unanswered: int


def main(orders: Orders) -> Result:
    """Prepare, pay, and sum up."""
    keyring = keyring_of(load_network(Path(orders.config)))
    seconds = orders.warm_up_s + orders.measure_s
    lines = [_line(keyring, name, orders) for name in TERMINALS]
    gc.collect()
    gc.freeze()
    began_at = time.perf_counter()
    measures_from = began_at + orders.warm_up_s
    tally = Tally(begins_at=measures_from, ends_at=began_at + seconds)
    generator = Generator(lines, tally, patience_s=PATIENCE_S)
    if orders.rate:
        due_at = (began_at + n / orders.rate for n in itertools.count())
        pay = partial(generator.pay_open, due_at)
    else:
        pay = partial(generator.pay_closed, orders.in_flight)
    pay(until=tally.begins_at)
    cpu_before, paid_from = _cpu_of(orders), time.perf_counter()
    own_before = time.process_time()
    pay(until=tally.ends_at)
    paid_s, cpu_after = time.perf_counter() - paid_from, _cpu_of(orders)
    own_cpu_s = time.process_time() - own_before
    generator.drain()
    return _sum_up(
        tally,
        seconds=paid_s,
        own_cpu_s=own_cpu_s,
        cpu_s={name: cpu_after[name] - cpu_before[name] for name in cpu_after},
    )


def _line(keyring: Keyring, terminal_id: str, orders: Orders) -> Line:
    manners = Manners(
        dialect=get_dialect(DIALECT),
        framing=FRAMING,
        make_mac=terminal_mac(keyring, terminal_id)
        if orders.content is Content.PURCHASE
        else None,
    )
    requests = purchases(
        keyring, terminal_id, orders.content, first_stan=orders.first_stan
    )
    # A long run makes most of its requests as it goes: all would fill the memory.
    ahead = min(orders.requests_each, ENCODED_BEFORE_MAX // len(TERMINALS))
    encoded = list(itertools.islice(requests, ahead))
    return Line(
        partial(_connect, orders.port), manners, itertools.chain(encoded, requests)
    )


def _connect(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _sum_up(
    tally: Tally,
    *,
    seconds: float,
    own_cpu_s: float,
    cpu_s: dict[str, float],
) -> Result:
    fates, approved = tally.fates, tally.latencies[Fate.APPROVED]
    refused = tally.latencies[Fate.REFUSED]
    course = [tally.seconds[number] for number in sorted(tally.seconds)]

    def ms(share: float, times: Histogram = approved) -> float:
        return round(times.percentile_ms(share), 2)

    return Result(
        count=tally.approved_in_time,
        seconds=seconds,
        cpu_s=cpu_s,
        own_cpu_s=own_cpu_s,
        p50_ms=ms(0.5),
        p99_ms=ms(0.99),
        p999_ms=ms(0.999),
        spectrum=list(approved.spectrum()),
        approved_each_s=[each.fates[Fate.APPROVED] for each in course],
        p99_each_s=[round(each.latencies.percentile_ms(0.99), 2) for each in course],
        refused=fates[Fate.REFUSED],
        refused_p99_ms=ms(0.99, refused),
        refused_max_ms=ms(1.0, refused),
        wrong=tally.wrong + fates[Fate.DECLINED],
        unanswered=fates[Fate.UNANSWERED],
    )


def _cpu_of(orders: Orders) -> dict[str, float]:
    return {name: sum(map(cpu_seconds, pids)) for name, pids in orders.pids.items()}


if __name__ == "__main__":
    result = main(msgspec.json.decode(sys.argv[1], type=Orders))
    print(msgspec.json.encode(result).decode())
