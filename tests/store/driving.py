"""Runs the writer without trio: everything happens in its own thread, in one order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import apsw

from isoswitch.journal.chain import encode_record
from isoswitch.store.batching import Waiter
from isoswitch.store.port import UnitOfWork
from isoswitch.store.writer import GroupCommitWriter


def write(
    connection: apsw.Connection,
    batches: Iterable[Sequence[UnitOfWork]],
    *,
    delivered: Callable[[list[Waiter]], None] = lambda _batch: None,
    checkpoint_pages: int,
) -> None:
    """Commit one batch after the other, then close the connection."""
    failures: list[BaseException] = []
    remaining = iter(batches)

    def put_next() -> None:
        units = next(remaining, None)
        if units is None:
            writer.stop()
        for unit in units or ():
            encoded = [encode_record(record) for record in unit.records]
            # Nobody sleeps for these units.
            writer.put(Waiter(None, unit, encoded))  # type: ignore[arg-type]

    def deliver(batch: list[Waiter]) -> None:
        delivered(batch)
        put_next()

    writer = GroupCommitWriter(
        connection,
        deliver=deliver,
        on_fatal=failures.append,
        checkpoint_pages=checkpoint_pages,
    )
    put_next()
    writer.thread.start()
    writer.thread.join()
    assert failures == []
