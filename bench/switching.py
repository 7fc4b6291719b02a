"""Two hops without crypto and store, beside a bare framed echo on the same sockets.

    terminal -> switch -> issuer -> switch -> terminal

The switch is made of the parts of the real one: its listener and sessions, which decode
and check whole messages; a task for each; routes; the mux with its timers. It forwards
in two ways, under trace numbers of its own:

    spliced     changes the trace number in the message as it came
    canonical   reads the transaction, builds the issuer's request from it, reads the
                outcome, builds the answer: what the real switch does

The goal is about the first. The echo cuts frames and sends them back, and knows nothing
else. All are loaded in turn, one request in flight on each of 50 connections. The
issuer is the same for both ways and not counted; neither is the load generator. Whoever
waits for others wakes up for single messages, which costs more: on a machine that is
short of CPUs the switch waits more than the echo does.

    python -m bench.switching (echo | spliced | canonical) <port> <issuer port>
"""

from __future__ import annotations

import gc
import socket
import statistics
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import trio

from bench.load import Result
from bench.network import DIALECT, FRAMING, ISSUER, Content, make_network
from bench.processes import free_ports, running
from bench.purchase import FOLDER, Payer, Stack
from bench.rows import Row, row
from isoswitch.codecs.canonical.transaction import Transaction
from isoswitch.codecs.dialects.dialect import LegNumbers
from isoswitch.codecs.dialects.registry import get_dialect
from isoswitch.codecs.framing import get_framing
from isoswitch.codecs.iso8583.message import Message
from isoswitch.routing.bins import BinRow, Span
from isoswitch.routing.facts import Facts
from isoswitch.routing.health import EndpointState
from isoswitch.routing.table import RoutingTable
from isoswitch.switch.connection import Connection
from isoswitch.switch.dispatch import Arrival
from isoswitch.switch.mux import Mux
from isoswitch.switch.numbers import Numbers
from isoswitch.switch.ports import SystemClock
from isoswitch.switch.settings import ListenerSettings
from isoswitch.switch.sockets import SocketStream, accept_forever, listen_tcp, open_tcp
from isoswitch.switch.terminals import Listener

HOST = "127.0.0.1"
FRAME_BYTES_MAX = 4096
TIMEOUT_S = 10.0
IDLE_TIMEOUT_S = 600.0
ECHOED = (2, 3, 4, 41)
STATES = {ISSUER: EndpointState()}
GOAL = 4.5
NAMES = {
    "echo": "switching: a bare framed echo",
    "spliced": "switching: two hops, spliced",
    "canonical": "switching: two hops, through the canonical transaction",
}

Forward = Callable[[Message, str, str], Awaitable[Message]]
"""Takes a request to the issuer under a trace and a reference number, and back."""


def run(quick: bool) -> list[Row]:
    """Measure and give a row for the echo and for each way."""
    rounds, seconds = (1, 1.0) if quick else (5, 2.0)
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=FOLDER, prefix="switching-") as name,
        ExitStack() as stack,
    ):
        folder = Path(name).resolve()
        output = folder / "output"
        issuer_port, *ports = free_ports(1 + len(NAMES))
        loaded = make_network(folder, port=ports[0], issuer_port=issuer_port)
        config = str(loaded.path)
        stack.enter_context(
            running("bench.issuer", config, opens=issuer_port, output=output)
        )
        found = {}
        for what, port in zip(NAMES, ports, strict=True):
            arguments = ("bench.switching", what, str(port), str(issuer_port))
            process = stack.enter_context(
                running(*arguments, opens=port, output=output)
            )
            found[what] = Stack(port=port, pids={what: [process.pid]})
        payer = Payer(loaded.path)
        results: dict[str, list[Result]] = {what: [] for what in NAMES}
        for _ in range(rounds):
            for what in NAMES:
                content = Content.ECHO if what == "echo" else Content.WITHOUT_MAC
                result = payer.pay(
                    found[what], seconds=seconds, in_flight=1, content=content
                )
                results[what].append(result)
    return _rows(results)


def _rows(results: Mapping[str, list[Result]]) -> list[Row]:
    costs = {
        what: [result.cpu_s[what] / result.count * 1e6 for result in taken]
        for what, taken in results.items()
    }
    return [
        row(
            name,
            cpu_us=round(statistics.median(costs[what]), 1),
            per_second=round(
                statistics.median(each.count / each.seconds for each in results[what])
            ),
            p50_ms=round(statistics.median(each.p50_ms for each in results[what]), 2),
            p99_ms=round(statistics.median(each.p99_ms for each in results[what]), 2),
            **({} if what == "echo" else _against_echo(costs[what], costs["echo"])),
            goal=f"<= {GOAL:g}x" if what == "spliced" else "",
        )
        for what, name in NAMES.items()
    ]


def _against_echo(costs: list[float], echo: list[float]) -> dict[str, object]:
    ratios = [ours / bare for ours, bare in zip(costs, echo, strict=True)]
    return {
        "ratio": round(statistics.median(ratios), 2),
        "baseline": NAMES["echo"],
    }


async def echo(port: int) -> None:
    """Send every frame back."""
    framing = get_framing(FRAMING)

    async def serve(accepted: socket.socket) -> None:
        stream = SocketStream(accepted)
        decoder = framing.decoder(FRAME_BYTES_MAX)
        while data := await stream.receive_some():
            await stream.send_all(b"".join(map(framing.encode, decoder.feed(data))))
        await stream.aclose()

    with listen_tcp(HOST, port) as sock:
        async with trio.open_nursery() as nursery:
            await accept_forever(sock, lambda each: nursery.start_soon(serve, each))


async def switch(port: int, issuer_port: int, how: str) -> None:
    """Forward every message to the issuer and back."""
    dialect, numbers = get_dialect(DIALECT), Numbers(boot=1)
    connection = Connection(
        await open_tcp(HOST, issuer_port),
        get_framing(FRAMING),
        frame_bytes_max=FRAME_BYTES_MAX,
        frame_timeout_s=TIMEOUT_S,
        idle_timeout_s=IDLE_TIMEOUT_S,
    )
    mux = Mux(match_fields=(11,), find_unechoed=_find_unechoed)

    async def exchange(request: Message) -> Message:
        deadline = trio.current_time() + TIMEOUT_S
        return await mux.exchange(connection, request.raw, request, deadline)

    forward = {"spliced": spliced, "canonical": canonical}[how](exchange)

    async def serve(arrival: Arrival) -> None:
        drawn = numbers.draw()
        arrival.send(await forward(arrival.message, drawn.stan, drawn.rrn))
        arrival.done()

    async def deliver(payloads: Sequence[bytes]) -> None:
        for payload in payloads:
            missed = mux.deliver(dialect.codec.decode(payload))
            assert missed is None, missed

    def accept(arrival: Arrival) -> None:
        nursery.start_soon(serve, arrival)

    async with trio.open_nursery() as nursery:
        listener = Listener(
            ListenerSettings(
                name="ascii", host=HOST, port=port, dialect=DIALECT, framing=FRAMING
            ),
            accept=accept,
            clock=SystemClock(),
        )
        nursery.start_soon(mux.run)
        nursery.start_soon(connection.run, deliver)
        await listener.run()


def spliced(exchange: Callable[[Message], Awaitable[Message]]) -> Forward:
    """Forward messages as they are, but for two numbers."""

    async def forward(request: Message, stan: str, rrn: str) -> Message:
        pan = str(request[2])
        _route(Facts(transaction_id=rrn, card=Span.of_digits(pan[:11])))
        answer = await exchange(request.replace({11: stan}))
        return answer.replace({11: request[11]})

    return forward


def canonical(exchange: Callable[[Message], Awaitable[Message]]) -> Forward:
    """Read transactions and outcomes, and build each message anew."""
    dialect = get_dialect(DIALECT)

    async def forward(request: Message, stan: str, rrn: str) -> Message:
        now = datetime.now(UTC)
        txn = dialect.to_transaction(request, reference=now, currency="978")
        _route(_facts(txn, rrn))
        leg = LegNumbers(stan=stan, rrn=rrn, transmitted_at=now, acquirer_id="10001")
        answer = await exchange(dialect.to_request(txn, leg, mac=False))
        outcome = dialect.to_outcome(answer, txn)
        return dialect.to_response(request, outcome, extra={37: rrn})

    return forward


def _facts(txn: Transaction, rrn: str) -> Facts:
    assert txn.pan is not None, "the load generator pays with cards"
    assert txn.amount is not None, "and pays something"
    return Facts(
        transaction_id=rrn,
        card=Span.of_card(txn.pan),
        kind=txn.kind,
        amount_minor=txn.amount.minor,
        currency=txn.amount.currency,
        mcc=txn.mcc,
        merchant_id=txn.merchant_id,
        entry_mode=txn.entry_mode,
    )


_TABLE = RoutingTable([BinRow(digits="476173", primary=ISSUER)])


def _route(facts: Facts) -> None:
    route = _TABLE.find_route(facts, STATES)
    assert route.endpoints == (ISSUER,), "there is one issuer"


def _find_unechoed(request: Message, answer: Message) -> tuple[int, ...]:
    return tuple(
        [de for de in ECHOED if de in request and answer.get(de) != request[de]]
    )


if __name__ == "__main__":
    gc.collect()
    gc.freeze()
    if sys.argv[1] == "echo":
        trio.run(echo, int(sys.argv[2]))
    else:
        trio.run(switch, int(sys.argv[2]), int(sys.argv[3]), sys.argv[1])
