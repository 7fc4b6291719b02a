"""A PostgreSQL store comes back from its backup: all of it, or as it was at a moment.

A base backup is taken while units are committed, and the server archives its log. Then
everything of the server but backup and archive is lost.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import trio

from isoswitch.commands.database import LocalServer
from isoswitch.journal.chain import Link
from isoswitch.store.inspection import inspect_store
from isoswitch.store.place import DatabaseUrl
from isoswitch.store.port import LIMIT_MAX, StoredTransaction
from isoswitch.store.postgres.connection import connect
from isoswitch.store.postgres.store import open_postgres_store
from isoswitch.store.reader import open_reader
from tests.postgres import new_database, running_server, temporary_folder
from tests.store.units import closing, opening

pytestmark = pytest.mark.live

RESTORE_POINT = "noon"
PATIENCE_S = 60.0
BASE, FIRST, SECOND, THIRD = (
    range(100),
    range(100, 200),
    range(200, 300),
    range(300, 400),
)

Content = tuple[list[StoredTransaction], list[Link]]


@pytest.mark.parametrize("target", ["", RESTORE_POINT], ids=["latest", "at a moment"])
async def test_a_lost_store_comes_back_from_backup_and_archive(target: str) -> None:
    with temporary_folder() as folder:
        with archiving_server(folder) as server:
            url = new_database(server)
            async with open_postgres_store(url):
                await pay(url, BASE)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pay, url, FIRST)
                await trio.to_thread.run_sync(back_up, server, folder)
            await pay(url, SECOND)
            note_restore_point(url)
            at_noon = content(url)
            await pay(url, THIRD)
            expected = at_noon if target else content(url)
            finish_archive(url)
            server.stop("immediate")
        restore(server, folder, target=target)
        server.start()
        try:
            await trio.to_thread.run_sync(wait_writable, url)
            assert content(url) == expected
            assert inspect_store(url).is_sound
            await pay(url, range(1000, 1010))
            assert inspect_store(url).is_sound
        finally:
            server.stop("immediate")


@contextmanager
def archiving_server(folder: Path) -> Iterator[LocalServer]:
    """Run a server that copies its finished log to a folder beside it."""
    archive = LocalServer(folder / "archive")
    archive.make_folder()
    settings = f"archive_mode = on\narchive_command = 'cp %p {archive.folder}/%f'\n"
    with running_server(folder / "server", settings=settings) as server:
        yield server


async def pay(url: DatabaseUrl, numbers: range) -> None:
    """Open and close transactions of these numbers, several at a time."""

    async with open_postgres_store(url) as store, trio.open_nursery() as nursery:

        async def commit(number: int) -> None:
            await store.commit(opening(str(number)))
            await store.commit(closing(str(number)))

        for number in numbers:
            nursery.start_soon(commit, number)


def content(url: DatabaseUrl) -> Content:
    """Give all that is compared: the transactions, and the journal as it is hashed."""
    with open_reader(url) as reader:
        return reader.transactions(limit=LIMIT_MAX), list(reader.links())


def back_up(server: LocalServer, folder: Path) -> None:
    """Copy a running server's files, as they are from moment to moment."""
    copy = LocalServer(folder / "backup")
    copy.make_folder()
    options = ("-D", copy.data, "-X", "none", "--checkpoint=fast")
    server.run("pg_basebackup", *options, "-d", server.url("postgres"))


def note_restore_point(url: DatabaseUrl) -> None:
    """Give this moment a name in the server's log."""
    with connect(url) as connection:
        connection.execute(
            f"SELECT pg_create_restore_point('{RESTORE_POINT}')".encode()
        )


def finish_archive(url: DatabaseUrl) -> None:
    """Have the server archive its log up to now."""
    with connect(url) as connection:
        found = connection.execute("SELECT pg_walfile_name(pg_switch_wal())").fetchone()
        assert found is not None
        done = "SELECT last_archived_wal >= %s FROM pg_stat_archiver"
        # The archiver is another process, and tells of each file when it is done.
        wait_until(connection, done, found)


def restore(server: LocalServer, folder: Path, *, target: str) -> None:
    """Lose the server's files, and put the backup and the archive in their place."""
    shutil.rmtree(server.data)
    shutil.move(folder / "backup" / "data", server.data)
    settings = f"restore_command = 'cp {folder / 'archive'}/%f %p'\n"
    if target:
        settings += (
            f"recovery_target_name = '{target}'\nrecovery_target_action = 'promote'\n"
        )
    server.configure(settings)
    signal = server.data / "recovery.signal"
    signal.touch()
    shutil.chown(signal, *_owner(server.data))


def wait_writable(url: DatabaseUrl) -> None:
    """Wait until the server has recovered and takes writes."""
    with connect(DatabaseUrl(f"{url.reveal()}&target_session_attrs=any")) as connection:
        wait_until(connection, "SELECT NOT pg_is_in_recovery()")


def wait_until(
    connection: psycopg.Connection[Any], query: str, values: tuple[Any, ...] = ()
) -> None:
    """Ask a server until it says yes, as long as it may take."""
    deadline = time.monotonic() + PATIENCE_S
    while connection.execute(query.encode(), values).fetchone() != (True,):
        assert time.monotonic() < deadline, f"never true: {query}"
        connection.execute(b"SELECT pg_sleep(0.05)")


def _owner(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_uid, found.st_gid
