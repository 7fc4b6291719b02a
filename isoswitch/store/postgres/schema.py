"""The schema in PostgreSQL: SQLite's migrations, word for word but for these words.

A step that is added to ``store/schema.py`` holds for both. What PostgreSQL alone needs
is a row number for transactions, a trigger function, and `writers`: what each writer
committed last, which it reads when a connection is lost while it commits.
"""

from __future__ import annotations

import re
from typing import Any

import psycopg

from isoswitch.codecs.canonical.errors import NoStore, StoreUnavailable
from isoswitch.store.place import DatabaseUrl
from isoswitch.store.postgres.connection import connect, reason_of
from isoswitch.store.schema import MIGRATIONS

# Whoever writes to this database holds this lock until its transaction has ended. The
# number is ours and of no other meaning.
WRITE_LOCK = 0x150_8583

LOCK = f"SELECT pg_advisory_xact_lock({WRITE_LOCK})".encode()

_PRELUDE = """
    CREATE TABLE schema_version (number BIGINT NOT NULL);
    INSERT INTO schema_version VALUES (0);
    CREATE TABLE writers (id TEXT PRIMARY KEY, batch BIGINT NOT NULL);
    CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION '%', TG_ARGV[0]; END
    $$;
"""
# Order counts: what stands in for a word is not looked at again by a later row.
_WORDS: tuple[tuple[str, str], ...] = (
    (
        r"BEFORE (UPDATE|DELETE) ON (\w+)\s+BEGIN SELECT RAISE\(ABORT, (.*?)\); END;",
        r"BEFORE \1 ON \2 FOR EACH ROW EXECUTE FUNCTION refuse_change(\3);",
    ),
    (r"\) STRICT(, WITHOUT ROWID)?;", ");"),
    # The order in which they came.
    (
        r"CREATE TABLE transactions \(",
        "CREATE TABLE transactions (rowid BIGINT GENERATED ALWAYS AS IDENTITY UNIQUE,",
    ),
    # Keeps its text as it is, and can be asked for its parts.
    (r"\brecord TEXT\b", "record JSON"),
    (r"\breversed INTEGER\b", "reversed BOOLEAN"),
    (r"\bINTEGER\b", "BIGINT"),
    (r"\bREAL\b", "DOUBLE PRECISION"),
    (r"\bBLOB\b", "BYTEA"),
    (r"\bunixepoch\(\)", "floor(extract(epoch FROM now()))"),
    # Sorted by bytes, as everywhere else, whatever language the database speaks.
    (r"\bTEXT\b", 'TEXT COLLATE "C"'),
)


def to_postgres(step: str) -> str:
    """Give a step of SQLite's migrations in PostgreSQL's words.

    Examples
    --------
    >>> to_postgres("CREATE TABLE t (id TEXT PRIMARY KEY, size INTEGER) STRICT;")
    'CREATE TABLE t (id TEXT COLLATE "C" PRIMARY KEY, size BIGINT);'
    """
    for words, ours in _WORDS:
        step = re.sub(words, ours, step)
    return step


def migrate(url: DatabaseUrl) -> None:
    """Bring the schema to this program's version, in one transaction.

    Raises
    ------
    StoreUnavailable
        The schema is newer than this program, or cannot be changed.
    """
    with connect(url) as connection:
        if _version(connection) == len(MIGRATIONS):
            return
        try:
            with connection.transaction():
                connection.execute(LOCK)
                _migrate(connection)
        except psycopg.Error as exc:
            msg = f"{url} does not take the schema: {reason_of(exc)}"
            raise StoreUnavailable(msg) from None


def verify_version(url: DatabaseUrl) -> None:
    """Raise unless the schema is this program's.

    Raises
    ------
    NoStore
        There is no schema.
    StoreUnavailable
        There is one of another version.
    """
    with connect(url) as connection:
        version = _version(connection)
    if version is None:
        msg = f"no store at {url}: the switch creates it when it starts"
        raise NoStore(msg)
    if version != len(MIGRATIONS):
        msg = f"the store at {url} has schema version {version}, not {len(MIGRATIONS)}"
        raise StoreUnavailable(msg)


def _migrate(connection: psycopg.Connection[tuple[Any, ...]]) -> None:
    version = _version(connection)
    if version is None:
        connection.execute(_PRELUDE.encode())
        version = 0
    if version > len(MIGRATIONS):
        msg = (
            f"the store has schema version {version}, newer than this program knows "
            f"({len(MIGRATIONS)}); use the newer program"
        )
        raise StoreUnavailable(msg)
    for step in MIGRATIONS[version:]:
        connection.execute(to_postgres(step).encode())
    connection.execute(b"UPDATE schema_version SET number = %s", [len(MIGRATIONS)])


def _version(connection: psycopg.Connection[tuple[Any, ...]]) -> int | None:
    """Give the version of the schema; None where there is none."""
    found = connection.execute(b"SELECT to_regclass('schema_version')").fetchone()
    if found is None or found[0] is None:
        return None
    row = connection.execute(b"SELECT number FROM schema_version").fetchone()
    return row[0] if row else None
