"""A PostgreSQL store opened for reading only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from isoswitch.store.place import DatabaseUrl
from isoswitch.store.postgres.connection import PostgresConnection
from isoswitch.store.postgres.schema import verify_version


@contextmanager
def open_postgres(url: DatabaseUrl) -> Iterator[PostgresConnection]:
    """Open the store in a database for questions.

    Raises
    ------
    StoreUnavailable
        There is no store of this version, or it cannot be read.
    """
    verify_version(url)
    with closing(PostgresConnection(url)) as connection:
        yield connection
