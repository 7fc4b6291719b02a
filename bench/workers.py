"""Two workers on PostgreSQL beside one, on the same database server and crypto process.

Each has a database of its own and the same purchases as the part ``purchase``; they are
loaded in turn. All share the CPUs with the database, the issuer and the load: what a
second worker adds is what those leave.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.cpu import with_children
from bench.load import Result
from bench.network import make_network
from bench.processes import free_ports, running
from bench.purchase import FOLDER, Payer, Stack
from bench.rows import Row, row
from isoswitch.commands.database import LocalServer, NoDatabase
from isoswitch.config.load import LoadedNetwork
from isoswitch.config.workers import worker_path
from isoswitch.switch.control import control_path

COUNTS = (1, 2)
GOAL = 1.5


def run(quick: bool) -> list[Row]:
    """Measure and give the rows of the table."""
    rounds, seconds = (1, 2.0) if quick else (5, 6.0)
    results: dict[int, list[Result]] = {count: [] for count in COUNTS}
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=FOLDER, prefix="workers-") as name,
        _stacks(Path(name).resolve()) as (found, payer),
    ):
        for _ in range(rounds):
            for count in COUNTS:
                results[count].append(payer.pay(found[count], seconds=seconds))
    ratios = [
        _per_second(two) / _per_second(one)
        for one, two in zip(results[1], results[2], strict=True)
    ]
    baseline = "workers: 1 on PostgreSQL"
    return [
        _row(baseline, results[1]),
        _row(
            "workers: 2 on PostgreSQL",
            results[2],
            baseline=baseline,
            ratio=round(statistics.median(ratios), 2),
            goal=f">= {GOAL:g}x",
        ),
    ]


@contextmanager
def _stacks(folder: Path) -> Iterator[tuple[dict[int, Stack], Payer]]:
    """Run issuer, crypto process, database server, and the workers of each stack."""
    output = folder / "output"
    issuer_port, *ports = free_ports(1 + 2 * len(COUNTS))
    with ExitStack() as stack:
        loaded = {
            count: make_network(
                folder,
                port=ports[2 * at],
                tls_port=ports[2 * at + 1],
                issuer_port=issuer_port,
                name=f"workers-{count}",
            )
            for at, count in enumerate(COUNTS)
        }
        config = str(loaded[1].path)
        stack.enter_context(
            running("bench.issuer", config, opens=issuer_port, output=output)
        )
        hsmd = stack.enter_context(
            running(
                *("isoswitch", "hsmd", "--config", config),
                opens=loaded[1].file(loaded[1].network.hsm.socket),
                output=output,
            )
        )
        server = stack.enter_context(_database())
        shared = {
            "crypto": with_children(hsmd.pid),
            "database": [int((server.data / "postmaster.pid").read_text().split()[0])],
        }
        found = {}
        for at, count in enumerate(COUNTS):
            server.create(f"workers{count}")
            process = stack.enter_context(
                running(
                    *("isoswitch", "serve", "--workers", str(count)),
                    *("--config", str(loaded[count].path)),
                    opens=_doors(loaded[count], count),
                    output=output,
                    environment={"ISOSWITCH_STORE_URL": server.url(f"workers{count}")},
                )
            )
            pids = {"switch": with_children(process.pid), **shared}
            found[count] = Stack(port=ports[2 * at], pids=pids)
        # The database serves each connection with a process of its own.
        for each in found.values():
            each.pids["database"][:] = with_children(each.pids["database"][0])
        yield found, Payer(loaded[1].path)


@contextmanager
def _database() -> Iterator[LocalServer]:
    """Run a database server in a folder that its user may enter."""
    with tempfile.TemporaryDirectory(prefix="isoswitch-bench-") as name:
        Path(name).chmod(0o711)
        try:
            server = LocalServer(Path(name) / "server")
            server.prepare()
            server.start()
        except NoDatabase as error:
            raise RuntimeError(str(error)) from None
        try:
            yield server
        finally:
            server.stop()


def _doors(loaded: LoadedNetwork, count: int) -> list[Path]:
    """Give what each worker opens when it is ready to be asked."""
    alone = control_path(loaded.file(loaded.network.store.path))
    if count == 1:
        return [alone]
    return [worker_path(alone, number) for number in range(1, count + 1)]


def _row(name: str, results: list[Result], **more: object) -> Row:
    return row(
        name,
        cpu_us=round(statistics.median(map(_cpu_us, results)), 1),
        per_second=round(statistics.median(map(_per_second, results))),
        p50_ms=round(statistics.median(r.p50_ms for r in results), 2),
        p99_ms=round(statistics.median(r.p99_ms for r in results), 2),
        **more,
    )


def _per_second(result: Result) -> float:
    return result.count / result.seconds


def _cpu_us(result: Result) -> float:
    return sum(result.cpu_s.values()) / result.count * 1e6
