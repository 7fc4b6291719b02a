"""A full purchase through the real stack, beside the obvious one on the same work.

Each purchase has 4 MACs, a PIN translation, 2 durable commits and 4 logged legs. The
stacks run side by side on one issuer; only one of them is loaded at a time, in turn,
so that both see the same machine. Ratios are medians of the ratios of neighbours.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import apsw
import msgspec

from bench.cpu import with_children
from bench.load import Orders, Result
from bench.network import Content, make_network
from bench.processes import free_ports, running
from bench.rows import Row, row
from isoswitch.config.load import LoadedNetwork

FOLDER = Path("var/bench")
REAL = "purchase: isoswitch"
OBVIOUS = "purchase: obvious stack"
OWN = "the generator itself"
RATE_GOAL = 4000
RATIO_GOAL = 2.5
# On each of fifty connections: enough to keep both CPUs busy, little enough that a
# purchase does not only queue.
IN_FLIGHT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A running stack: where it listens, and its processes by what they do."""

    port: int
    pids: Mapping[str, list[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stacks:
    """Both stacks, what loads them, and where everything lies."""

    real: Stack
    obvious: Stack
    issuer: Stack
    payer: Payer
    loaded: LoadedNetwork


class Payer:
    """Runs load generators against stacks, each with trace numbers of its own."""

    def __init__(self, config: Path) -> None:
        self._config = config
        self._next_stan = 1

    def pay(
        self,
        stack: Stack,
        *,
        seconds: float,
        rate: float = 0.0,
        is_too_much: bool = False,
        in_flight: int = IN_FLIGHT,
        content: Content = Content.PURCHASE,
    ) -> Result:
        """Load a stack and give what was measured; see ``paying``.

        Only where ``is_too_much`` may requests be refused, or wait too long.

        Raises
        ------
        RuntimeError
            A purchase was not approved, not answered, or answered with a wrong MAC.
        """
        with self.paying(
            stack, seconds=seconds, rate=rate, in_flight=in_flight, content=content
        ) as process:
            said, _ = process.communicate()
        result = msgspec.json.decode(said, type=Result)
        unwanted = 0 if is_too_much else result.refused + result.unanswered
        if result.wrong or unwanted:
            msg = (
                f"{result.wrong} wrong answers, {result.refused} refused, "
                f"{result.unanswered} missing"
            )
            raise RuntimeError(msg)
        return result

    @contextmanager
    def paying(
        self,
        stack: Stack,
        *,
        seconds: float,
        rate: float = 0.0,
        in_flight: int = IN_FLIGHT,
        content: Content = Content.PURCHASE,
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Run a load generator while the block lasts; ``rate`` 0 is the closed loop."""
        orders = Orders(
            config=str(self._config),
            port=stack.port,
            first_stan=self._next_stan,
            warm_up_s=min(1.0, seconds / 4),
            measure_s=seconds,
            rate=rate,
            in_flight=in_flight,
            pids=dict(stack.pids),
            content=content,
        )
        self._next_stan += orders.requests_each
        arguments = ("-W", "ignore", "-m", "bench.load")
        with subprocess.Popen(
            [sys.executable, *arguments, msgspec.json.encode(orders).decode()],
            stdout=subprocess.PIPE,
        ) as process:
            try:
                yield process
            finally:
                process.terminate()


def run(quick: bool, running: Stacks) -> list[Row]:
    """Measure and give the rows of the table."""
    rounds, seconds = (2, 1.5) if quick else (6, 6.0)
    real, obvious, pay = running.real, running.obvious, running.payer.pay
    closed: dict[str, list[Result]] = {REAL: [], OBVIOUS: []}
    for _ in range(rounds):
        closed[OBVIOUS].append(pay(obvious, seconds=seconds))
        closed[REAL].append(pay(real, seconds=seconds))
    peak = statistics.median(map(_per_second, closed[OBVIOUS]))
    rate = float(round(peak / 2, -2))
    opened: dict[str, list[Result]] = {REAL: [], OBVIOUS: []}
    for _ in range(1 if quick else 2):
        opened[OBVIOUS].append(pay(obvious, seconds=seconds, rate=rate))
        # On a machine that is busy with other things even this may be too much.
        opened[REAL].append(pay(real, seconds=seconds, rate=rate, is_too_much=True))
    return [
        *_closed_rows(closed[REAL], closed[OBVIOUS]),
        *_open_rows(opened[REAL], opened[OBVIOUS], rate),
        *_stored_rows(running.loaded),
    ]


@contextmanager
def stacks() -> Iterator[Stacks]:
    """Run issuer, real and obvious stack in a folder of their own."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER, prefix="run-") as name:
        folder = Path(name).resolve()
        port, tls_port, obvious_port, issuer_port = free_ports(4)
        loaded = make_network(
            folder, port=port, tls_port=tls_port, issuer_port=issuer_port
        )
        config = str(loaded.path)
        output = folder / "output"
        with (
            running("bench.issuer", config, opens=issuer_port, output=output) as issuer,
            running(
                *("isoswitch", "hsmd", "--config", config),
                opens=loaded.file(loaded.network.hsm.socket),
                output=output,
            ) as hsmd,
            running(
                *("isoswitch", "serve", "--config", config),
                opens=port,
                output=output,
            ) as switch,
            running(
                *("bench.obvious", config, str(obvious_port)),
                opens=obvious_port,
                output=output,
            ) as obvious,
        ):
            yield Stacks(
                real=Stack(
                    port=port,
                    pids={"switch": [switch.pid], "crypto": with_children(hsmd.pid)},
                ),
                obvious=Stack(port=obvious_port, pids={"all": [obvious.pid]}),
                issuer=Stack(port=issuer_port, pids={"issuer": [issuer.pid]}),
                payer=Payer(loaded.path),
                loaded=loaded,
            )


def _closed_rows(real: Sequence[Result], obvious: Sequence[Result]) -> list[Row]:
    by_speed = statistics.median(
        _per_second(ours) / _per_second(theirs)
        for ours, theirs in zip(real, obvious, strict=True)
    )
    by_cpu = statistics.median(
        _cpu_us(theirs) / _cpu_us(ours)
        for ours, theirs in zip(real, obvious, strict=True)
    )
    goal = f">= {RATIO_GOAL}x"
    return [
        _row(OBVIOUS, obvious),
        _row(f"{REAL}, a second", real, goal=f">= {RATE_GOAL}/s"),
        _row(REAL, real, baseline=OBVIOUS, ratio=by_speed, goal=goal),
        _row("purchase: CPU of both processes", real, baseline=OBVIOUS, ratio=by_cpu),
        _row("purchase: CPU of the switch process", real, part="switch"),
        _row("purchase: CPU of the crypto process", real, part="crypto"),
        _row("purchase: CPU of the load generator, not counted", real, part=OWN),
    ]


def _open_rows(
    real: Sequence[Result], obvious: Sequence[Result], rate: float
) -> list[Row]:
    label = f"open loop at {rate:g}/s"
    theirs = _row(f"{OBVIOUS}, {label}", obvious)
    refused = sum(result.refused + result.unanswered for result in real)
    if refused:
        label += f", {refused} refused or late"
    ours = _row(f"{REAL}, {label}", real, baseline=theirs["name"], goal="< 50 ms")
    ours["ratio"] = round(theirs["p99_ms"] / ours["p99_ms"], 2)
    for made, results in ((ours, real), (theirs, obvious)):
        made["spectrum"] = results[-1].spectrum
    return [theirs, ours]


def _stored_rows(loaded: LoadedNetwork) -> list[Row]:
    """Give what a purchase leaves behind, on the average of all that were made."""
    path = loaded.file(loaded.network.store.path)
    assert loaded.network.log.path is not None, "the benchmark's switch has a log file"
    with closing(apsw.Connection(str(path), apsw.SQLITE_OPEN_READONLY)) as database:
        count = database.execute("SELECT count(*) FROM transactions").get
        pages = database.execute("PRAGMA page_count").get
        page_bytes = database.execute("PRAGMA page_size").get
    log_bytes = loaded.file(loaded.network.log.path).stat().st_size
    return [
        row(
            "purchase: KiB in the store",
            kib=round(pages * page_bytes / count / 1024, 2),
        ),
        row("purchase: KiB in the log", kib=round(log_bytes / count / 1024, 2)),
    ]


def _row(
    name: str,
    results: Sequence[Result],
    *,
    part: str = "",
    baseline: str = "",
    ratio: float | None = None,
    goal: str = "",
) -> Row:
    return row(
        name,
        cpu_us=round(statistics.median(_cpu_us(r, part) for r in results), 1),
        per_second=round(statistics.median(map(_per_second, results))),
        p50_ms=round(statistics.median(r.p50_ms for r in results), 2),
        p99_ms=round(statistics.median(r.p99_ms for r in results), 2),
        baseline=baseline,
        ratio=None if ratio is None else round(ratio, 2),
        goal=goal,
    )


def _per_second(result: Result) -> float:
    return result.count / result.seconds


def _cpu_us(result: Result, part: str = "") -> float:
    """Give the CPU time of a purchase, in one kind of process or in all."""
    if part == OWN:
        seconds = result.own_cpu_s
    else:
        seconds = result.cpu_s[part] if part else sum(result.cpu_s.values())
    return seconds / result.count * 1e6
