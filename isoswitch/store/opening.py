"""Opens the store of a place, whichever kind it is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from isoswitch.store.grouped import GroupCommitStore
from isoswitch.store.place import DatabaseUrl, Place, needing_extra
from isoswitch.store.sqlite import open_sqlite_store


@asynccontextmanager
async def open_store(place: Place) -> AsyncIterator[GroupCommitStore]:
    """Open a store for writing, make it if need be, and close it after the block.

    Raises
    ------
    StoreUnavailable
        It cannot be used, or promises too little.
    """
    if not isinstance(place, DatabaseUrl):
        async with open_sqlite_store(place) as store:
            yield store
        return
    with needing_extra(place):
        from isoswitch.store.postgres.store import open_postgres_store  # noqa: PLC0415
    async with open_postgres_store(place) as store:
        yield store
