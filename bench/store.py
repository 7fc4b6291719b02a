"""What group commit is worth: units of work per second, and what one costs in CPU.

The disk is made slow on purpose (2 ms per fsync, a data centre SSD without a
write-back cache), because on a fast one everything looks durable for free.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import apsw
import trio

from bench.rows import Row, row
from isoswitch.journal.chain import (
    GENESIS,
    Link,
    chain_hash,
    encode_record,
    walk_chain,
)
from isoswitch.journal.records import Record, RecordKind
from isoswitch.store.port import (
    Move,
    StoredTransaction,
    TransactionState,
    UnitOfWork,
)
from isoswitch.store.sqlite import open_sqlite_store

AT = "2026-01-31T12:00:00.000000Z"
FSYNC_S = 0.002
TASKS = 400

Commit = Callable[[UnitOfWork], Awaitable[object]]


class SlowDisk(apsw.VFS):
    """The file system below, with a pause before every fsync."""

    def __init__(self, name: str, pause_s: float) -> None:
        self.pause_s = pause_s
        super().__init__(name, "")

    def xOpen(  # noqa: N802 (SQLite's name)
        self, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> apsw.VFSFile:
        """Open a file of the file system below."""
        return SlowFile(name, flags, self.pause_s)


class SlowFile(apsw.VFSFile):
    """One file of a `SlowDisk`."""

    def __init__(
        self,
        name: str | apsw.URIFilename | None,
        flags: list[int],
        pause_s: float,
    ) -> None:
        self.pause_s = pause_s
        super().__init__("", name, flags)

    def xSync(self, flags: int) -> None:  # noqa: N802 (SQLite's name)
        """Pause, then sync."""
        time.sleep(self.pause_s)
        super().xSync(flags)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One run: its length, its CPU time, and how long each purchase took."""

    elapsed_s: float
    cpu_s: float
    latencies_s: list[float]

    def percentile_ms(self, share: float) -> float:
        """Give the latency that this share of the purchases stayed under."""
        ordered = sorted(self.latencies_s)
        return round(ordered[int(share * (len(ordered) - 1))] * 1000, 2)

    @property
    def per_second(self) -> float:
        """Purchases per second."""
        return len(self.latencies_s) / self.elapsed_s


def run(quick: bool) -> list[Row]:
    """Measure purchases (two durable units each) and give the rows of the table."""
    count = 4_000 if quick else 20_000
    single = _measure(200 if quick else 1_000, tasks=1, fsync_s=FSYNC_S)
    grouped = _measure(count, tasks=TASKS, fsync_s=FSYNC_S)
    fast = _measure(count, tasks=TASKS, fsync_s=0.0)
    walked = _walk(10 * count)
    return [
        _row("store: commit per unit, 2 ms fsync", single),
        _row(
            "store: group commit, 2 ms fsync",
            grouped,
            baseline="store: commit per unit, 2 ms fsync",
            ratio=round(grouped.per_second / single.per_second, 1),
            goal=">= 10x",
        ),
        _row("store: group commit, this disk", fast),
        row(
            "journal: walk the chain, per record",
            cpu_us=round(1e6 / walked, 2),
            per_second=round(walked),
            goal=">= 100000/s",
        ),
    ]


def _measure(count: int, *, tasks: int, fsync_s: float) -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        return trio.run(
            partial(
                _pay, Path(folder) / "store.db", count, tasks=tasks, fsync_s=fsync_s
            )
        )


def _walk(count: int) -> float:
    """Build a chain in memory and give the records walked per second of CPU."""
    links, head = [], GENESIS
    for seq in range(1, count + 1):
        encoded = encode_record(_opening(seq).records[0])
        head = chain_hash(head, seq, encoded)
        links.append(Link(seq=seq, encoded=encoded, hash=head))
    cpu = time.process_time()
    assert walk_chain(links).is_sound
    return count / (time.process_time() - cpu)


async def _pay(path: Path, count: int, *, tasks: int, fsync_s: float) -> Measured:
    """Let tasks pay one purchase after the other until all are paid."""
    disk = SlowDisk("slow", fsync_s)
    numbers = iter(range(count))
    latencies: list[float] = []

    async def payer(commit: Commit) -> None:
        for number in numbers:
            started = time.perf_counter()
            await commit(_opening(number))
            await commit(_closing(number))
            latencies.append(time.perf_counter() - started)

    async with open_sqlite_store(path, vfs="slow" if fsync_s else None) as store:
        started, cpu = time.perf_counter(), time.process_time()
        async with trio.open_nursery() as nursery:
            for _ in range(tasks):
                nursery.start_soon(payer, store.commit)
        measured = Measured(
            elapsed_s=time.perf_counter() - started,
            cpu_s=time.process_time() - cpu,
            latencies_s=latencies,
        )
    disk.unregister()
    return measured


def _row(
    name: str,
    measured: Measured,
    *,
    baseline: str = "",
    ratio: float | None = None,
    goal: str = "",
) -> Row:
    return row(
        name,
        cpu_us=round(measured.cpu_s / len(measured.latencies_s) * 1e6, 1),
        per_second=round(measured.per_second),
        p50_ms=measured.percentile_ms(0.50),
        p99_ms=measured.percentile_ms(0.99),
        baseline=baseline,
        ratio=ratio,
        goal=goal,
    )


def _opening(number: int) -> UnitOfWork:
    transaction_id = f"0001-n1-{number:08d}"
    return UnitOfWork(
        records=(
            _record(RecordKind.OPENED, transaction_id, amount="12.50 EUR", stan="1"),
            _record(RecordKind.SENDING, transaction_id, endpoint="alpha", why="BIN 4"),
        ),
        opens=(
            StoredTransaction(
                id=transaction_id,
                dedup_key=f"T1|000001|{number}",
                fingerprint="0" * 32,
                kind="purchase",
                state=TransactionState.SENDING,
                node="n1",
                business_date="2026-01-31",
                opened_at=AT,
                terminal_id=f"T{number % 500:07d}",
                stan=f"{number % 1_000_000:06d}",
                pan_masked="476173******0010",
                pan_hash="0" * 64,
                amount_minor=1250,
                currency="978",
                sealed=bytes(200),
            ),
        ),
    )


def _closing(number: int) -> UnitOfWork:
    transaction_id = f"0001-n1-{number:08d}"
    return UnitOfWork(
        records=(
            _record(RecordKind.ANSWERED, transaction_id, code="00", approval="123456"),
            _record(RecordKind.CLOSED, transaction_id, outcome="approved"),
        ),
        moves=(
            Move(
                id=transaction_id,
                expect=TransactionState.SENDING,
                state=TransactionState.CLOSED,
                outcome='{"code":"approved"}',
                wipe=True,
            ),
        ),
    )


def _record(kind: RecordKind, transaction_id: str, **body: str) -> Record:
    return Record(kind=kind, transaction_id=transaction_id, at=AT, body=body)


if __name__ == "__main__":
    for measured_row in run(quick="--quick" in sys.argv):
        print(measured_row)
