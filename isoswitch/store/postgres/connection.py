"""Connections to PostgreSQL, which answer questions in the words of SQLite's.

`StoreReader` and the rules of an inspection are written once, in the SQL that both
understand; only their placeholders differ.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from functools import lru_cache
from operator import itemgetter
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.numeric import IntLoader
from psycopg.types.string import TextLoader

from isoswitch.codecs.canonical.errors import StoreUnavailable
from isoswitch.store.place import DatabaseUrl

# It warns of every connection that is lost inside a pipeline; we tell that ourselves.
logging.getLogger("psycopg").setLevel(logging.ERROR)

# A peer that is gone without a word is noticed in about this many seconds, and so is a
# server that answers no more. A node without a lease has fenced itself by then.
PATIENCE_S = 5
_DEFAULTS: dict[str, str | int] = {
    "connect_timeout": 3,
    "keepalives_idle": 2,
    "keepalives_interval": 1,
    "keepalives_count": 3,
    "tcp_user_timeout": PATIENCE_S * 1000,
    # Of several hosts, those that take writes.
    "target_session_attrs": "read-write",
    "application_name": "isoswitch",
}

# A commit that writes next to nothing waits for the standby too, and so for all that
# came before. One that writes nothing does not wait.
SETTLE = b"SELECT pg_logical_emit_message(true, 'isoswitch', '')"

T = TypeVar("T")


class Database(psycopg.Connection[tuple[Any, ...]]):
    """A connection that ends when an answer is not whole after ``silence_s_max``.

    A commit waits for its standby for as long as it takes, and nothing but the end of
    the connection ends that wait for us without making the commit visible.
    """

    silence_s_max: float | None = None

    def wait(
        self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None
    ) -> T:
        """Wait for an answer; whoever has had none may ask nothing else here."""
        try:
            return super().wait(gen, interval, timeout or self.silence_s_max)
        except psycopg.OperationalError:
            if self.silence_s_max is not None:
                self.close()
            raise


def connect(url: DatabaseUrl) -> Database:
    """Connect in autocommit mode: transactions are begun and ended by name.

    Of several servers that take writes, the one that was promoted last is the primary.

    Raises
    ------
    StoreUnavailable
        Nobody takes connections there, or nobody who takes writes.
    """
    parts: dict[str, Any] = _DEFAULTS | conninfo_to_dict(url.reveal())
    servers = _servers(parts)
    found: list[tuple[int, Database]] = []
    reason = ""
    for server in servers:
        try:
            connection = Database.connect(
                make_conninfo(**parts | server), autocommit=True, prepare_threshold=1
            )
            timeline = _timeline(connection) if len(servers) > 1 else 0
        except psycopg.Error as exc:
            reason = reason_of(exc)
        else:
            found.append((timeline, connection))
    if not found:
        msg = f"{url} cannot be reached: {reason}"
        raise StoreUnavailable(msg)
    _, newest = max(found, key=itemgetter(0))
    for _, each in found:
        if each is not newest:
            each.close()
    # Records keep the bytes that their hash covers; sums are whole minor units.
    newest.adapters.register_loader("json", TextLoader)
    newest.adapters.register_loader("numeric", IntLoader)
    return newest


def connect_settled(url: DatabaseUrl) -> Database:
    """Connect to a server once its standby has all that it shows.

    After a restart a server shows what it wrote, and not only what a standby had.

    Raises
    ------
    StoreUnavailable
        As in `connect`, or the standby does not get it in time.
    """
    connection = connect(url)
    connection.silence_s_max = PATIENCE_S
    try:
        connection.execute(b"SET synchronous_commit = on")
        connection.execute(SETTLE)
    except psycopg.Error as exc:
        connection.close()
        msg = f"{url} cannot be asked: {reason_of(exc)}"
        raise StoreUnavailable(msg) from None
    # How long a question takes depends on what there is to read.
    connection.silence_s_max = None
    return connection


class PostgresConnection:
    """A reading connection for `StoreReader`, made anew when it was lost."""

    def __init__(
        self, url: DatabaseUrl, *, connect: Callable[[DatabaseUrl], Database] = connect
    ) -> None:
        self._url = url
        self._connect = connect
        self._connection = connect(url)
        self._is_left = False

    def leave(self) -> None:
        """Ask the next question over a new connection; for any thread."""
        self._is_left = True

    def execute(self, sql: str, values: Sequence[Any] = (), /) -> Answers:
        """Run a statement with a value for every question mark.

        Raises
        ------
        StoreUnavailable
            The database cannot be asked.
        """
        if self._is_left or self._connection.closed:
            self._is_left = False
            self._connection.close()
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


def _servers(parts: Mapping[str, Any]) -> list[dict[str, str]]:
    """Part the address of several servers into what each has of its own.

    Examples
    --------
    >>> _servers({"host": "db-a,db-b", "port": "5432", "dbname": "isoswitch"})
    [{'host': 'db-a', 'port': '5432'}, {'host': 'db-b', 'port': '5432'}]
    """
    lists = {
        name: str(parts[name]).split(",")
        for name in ("host", "hostaddr", "port")
        if name in parts
    }
    count = max(map(len, lists.values()), default=1)
    return [
        {name: each[number % len(each)] for name, each in lists.items()}
        for number in range(count)
    ]


def _timeline(connection: Database) -> int:
    """Give the number of a server's history, which grows with each promotion."""
    segment = b"SELECT pg_walfile_name(pg_current_wal_lsn())"
    try:
        (name,) = connection.execute(segment).fetchone() or ("",)
    except psycopg.Error:
        connection.close()
        raise
    return int(name[:8], 16)


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value


def reason_of(exc: Exception) -> str:
    """Tell what is wrong, without the rows that a database's details may quote."""
    if not isinstance(exc, psycopg.Error):
        return str(exc)
    primary = exc.diag.message_primary or str(exc).strip().partition("\n")[0]
    return primary or type(exc).__name__
