"""The embedded store: SQLite with one writer thread and group commit.

async with open_sqlite_store(Path("var/store.db")) as store:
    await store.commit(unit)
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import apsw
import trio

from isoswitch.store.grouped import GroupCommitStore, exit_process
from isoswitch.store.inspection import verify_tail
from isoswitch.store.lock import create_private, exclusive_store
from isoswitch.store.reader import StoreReader
from isoswitch.store.schema import connect_reader, connect_writer
from isoswitch.store.writer import GroupCommitWriter


@asynccontextmanager
async def open_sqlite_store(
    path: Path,
    *,
    vfs: str | None = None,
    on_fatal: Callable[[BaseException], None] = exit_process,
) -> AsyncIterator[GroupCommitStore]:
    """Open the store at ``path``, create it if need be, and close it after the block.

    Parameters
    ----------
    path
        The database file; its folder must exist.
    vfs
        A registered SQLite file system, for tests with slow or failing disks.
    on_fatal
        Called from any thread when the store can no longer be trusted; ends the
        process by default.

    Raises
    ------
    StoreUnavailable
        The file cannot be used or promises too little; `StoreInUse` when another
        process holds it.
    """
    with exclusive_store(path):
        create_private(path)
        writing = connect_writer(path, vfs=vfs)
        reading = connect_reader(path, vfs=vfs)
        verify_tail(StoreReader(reading))
        store = GroupCommitStore(
            lambda deliver, on_fatal: GroupCommitWriter(
                writing, deliver=deliver, on_fatal=on_fatal
            ),
            reading=reading,
            errors=apsw.Error,
            # The lock on the file keeps every other process out.
            is_shared=False,
            on_fatal=on_fatal,
            token=trio.lowlevel.current_trio_token(),
        )
        store.start()
        try:
            yield store
        finally:
            await store.aclose()
