"""Connections to PostgreSQL, which answer questions in the words of SQLite's.

`StoreReader` and the rules of an inspection are written once, in the SQL that both
understand; only their placeholders differ.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from functools import lru_cache
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.numeric import IntLoader
from psycopg.types.string import TextLoader

from isoswitch.codecs.canonical.errors import StoreUnavailable
from isoswitch.store.place import DatabaseUrl

# It warns of every connection that is lost inside a pipeline; we tell that ourselves.
logging.getLogger("psycopg").setLevel(logging.ERROR)

# A peer that is gone without a word is noticed in about this many seconds.
PATIENCE_S = 5
_DEFAULTS: dict[str, str | int] = {
    "connect_timeout": 3,
    "keepalives_idle": 2,
    "keepalives_interval": 1,
    "keepalives_count": 3,
    "tcp_user_timeout": PATIENCE_S * 1000,
    # Of several hosts, the one that takes writes.
    "target_session_attrs": "read-write",
    "application_name": "isoswitch",
}

Database = psycopg.Connection[tuple[Any, ...]]

# A commit that writes next to nothing waits for the standby too, and so for all that
# came before. One that writes nothing does not wait.
SETTLE = b"SELECT pg_logical_emit_message(true, 'isoswitch', '')"


def connect(url: DatabaseUrl) -> Database:
    """Connect in autocommit mode: transactions are begun and ended by name.

    Raises
    ------
    StoreUnavailable
        Nobody takes connections there, or nobody who takes writes.
    """
    given = conninfo_to_dict(url.reveal())
    ours = {name: part for name, part in _DEFAULTS.items() if name not in given}
    try:
        connection = psycopg.connect(
            make_conninfo(url.reveal(), **ours), autocommit=True, prepare_threshold=1
        )
    except psycopg.Error as exc:
        msg = f"{url} cannot be reached: {reason_of(exc)}"
        raise StoreUnavailable(msg) from None
    # Records keep the bytes that their hash covers; sums are whole minor units.
    connection.adapters.register_loader("json", TextLoader)
    connection.adapters.register_loader("numeric", IntLoader)
    return connection


def connect_settled(url: DatabaseUrl) -> Database:
    """Connect to a server once its standby has all that it shows.

    After a restart a server shows what it wrote, and not only what a standby had.

    Raises
    ------
    StoreUnavailable
        As in `connect`, or the server goes away while it waits for the standby.
    """
    connection = connect(url)
    try:
        connection.execute(b"SET synchronous_commit = on")
        connection.execute(SETTLE)
    except psycopg.Error as exc:
        connection.close()
        msg = f"{url} cannot be asked: {reason_of(exc)}"
        raise StoreUnavailable(msg) from None
    return connection


class PostgresConnection:
    """A reading connection for `StoreReader`, made anew when it was lost."""

    def __init__(
        self, url: DatabaseUrl, *, connect: Callable[[DatabaseUrl], Database] = connect
    ) -> None:
        self._url = url
        self._connect = connect
        self._connection = connect(url)

    def execute(self, sql: str, values: Sequence[Any] = (), /) -> Answers:
        """Run a statement with a value for every question mark.

        Raises
        ------
        StoreUnavailable
            The database cannot be asked.
        """
        if self._connection.closed:
            self._connection = self._connect(self._url)
        plain = [_plain(each) for each in values]
        try:
            cursor = self._connection.execute(translated(sql), plain)
            return Answers(cursor.fetchall() if cursor.description else [])
        except psycopg.Error as exc:
            msg = f"{self._url} cannot be asked: {reason_of(exc)}"
            raise StoreUnavailable(msg) from None

    def close(self) -> None:
        """Let the connection go."""
        self._connection.close()


class Answers:
    """The rows that a statement gave."""

    def __init__(self, rows: list[tuple[Any, ...]]) -> None:
        self._rows = rows

    @property
    def get(self) -> Any:
        """The first row, without its tuple when it has one column, or None."""
        if not self._rows:
            return None
        row = self._rows[0]
        return row[0] if len(row) == 1 else row

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Give all rows."""
        return self._rows

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """Give row by row."""
        return iter(self._rows)


@lru_cache(maxsize=256)
def translated(sql: str) -> bytes:
    """Give a statement that is written for SQLite in PostgreSQL's placeholders."""
    return sql.replace("%", "%%").replace("?", "%s").encode()


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value


def reason_of(exc: Exception) -> str:
    """Tell what is wrong, without the rows that a database's details may quote."""
    if not isinstance(exc, psycopg.Error):
        return str(exc)
    primary = exc.diag.message_primary or str(exc).strip().partition("\n")[0]
    return primary or type(exc).__name__
