"""The shared store: PostgreSQL, one writer thread per process, group commit.

async with open_postgres_store(DatabaseUrl("postgresql:///isoswitch")) as store:
    await store.commit(unit)
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing

import trio

from isoswitch.codecs.canonical.errors import StoreUnavailable
from isoswitch.store.grouped import GroupCommitStore, exit_process
from isoswitch.store.inspection import verify_tail
from isoswitch.store.place import DatabaseUrl
from isoswitch.store.postgres.connection import PostgresConnection, connect_settled
from isoswitch.store.postgres.schema import migrate
from isoswitch.store.postgres.writer import PostgresWriter
from isoswitch.store.reader import StoreReader


@asynccontextmanager
async def open_postgres_store(
    url: DatabaseUrl,
    *,
    on_fatal: Callable[[BaseException], None] = exit_process,
) -> AsyncIterator[GroupCommitStore]:
    """Open the store in a database, bring its schema up, and close it after the block.

    Parameters
    ----------
    on_fatal
        Called from any thread when the store can no longer be trusted; ends the
        process by default.

    Raises
    ------
    StoreUnavailable
        Nobody answers, or what is there cannot be used or promises too little.
    """
    migrate(url)
    with closing(PostgresConnection(url, connect=connect_settled)) as reading:
        verify_tail(StoreReader(reading))
        store = GroupCommitStore(
            lambda deliver, fatal: PostgresWriter(
                url, deliver=deliver, on_fatal=fatal, on_move=reading.leave
            ),
            reading=reading,
            errors=StoreUnavailable,
            is_shared=True,
            on_fatal=on_fatal,
            token=trio.lowlevel.current_trio_token(),
        )
        store.start()
        try:
            yield store
        finally:
            await store.aclose()
