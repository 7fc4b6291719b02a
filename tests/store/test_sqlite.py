"""What only the SQLite store can do wrong: files, locks, threads, failing disks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
import trio

from isoswitch.codecs.canonical.errors import StoreUnavailable
from isoswitch.journal.chain import walk_chain
from isoswitch.store.batching import BATCH_MAX, Waiter
from isoswitch.store.lock import StoreInUse
from isoswitch.store.port import Committed, UnitOfWork
from isoswitch.store.reader import open_reader
from isoswitch.store.rows import SettledBatch
from isoswitch.store.schema import (
    MIGRATIONS,
    SYNCHRONOUS_FULL,
    connect_reader,
    connect_writer,
)
from isoswitch.store.sqlite import open_sqlite_store
from tests.store.disks import Disk, mounted
from tests.store.driving import write
from tests.store.units import closing, opening


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name a store that does not exist yet."""
    return tmp_path / "store.db"


@pytest.fixture
def disk() -> Iterator[Disk]:
    """Mount a disk that can fail."""
    with mounted("failing") as made:
        yield made


async def test_a_second_opening_is_refused_and_told_who_holds_the_store(
    path: Path,
) -> None:
    async with open_sqlite_store(path) as store:
        with pytest.raises(StoreInUse, match=f"in use by process {os.getpid()};"):
            async with open_sqlite_store(path):
                pass
        await store.commit(opening("1"))
    async with open_sqlite_store(path) as store:
        assert await store.find_transaction("1") is not None


def test_the_writer_promises_durability(path: Path) -> None:
    connection = connect_writer(path)
    assert connection.pragma("journal_mode") == "wal"
    assert connection.pragma("synchronous") == SYNCHRONOUS_FULL
    connection.close()


async def test_only_the_owner_may_read_the_files(path: Path) -> None:
    async with open_sqlite_store(path) as store:
        await store.commit(opening("1"))
        modes = {file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert modes == {0o600}


async def test_a_store_of_a_newer_program_is_refused(path: Path) -> None:
    async with open_sqlite_store(path):
        pass
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", 99)
    connection.close()
    with pytest.raises(StoreUnavailable, match="newer than this program"):
        async with open_sqlite_store(path):
            pass
    with pytest.raises(StoreUnavailable, match="schema version 99"):
        connect_reader(path)


async def test_batches_of_an_older_store_are_settled_in_every_currency(
    path: Path,
) -> None:
    is_newer = ["settled_batches" in step for step in MIGRATIONS]
    version = is_newer.index(True)
    connection = apsw.Connection(str(path))
    for step in MIGRATIONS[:version]:
        connection.execute(step)
    connection.execute("INSERT INTO batches VALUES ('T1', 4)")
    connection.pragma("user_version", version)
    connection.close()
    async with open_sqlite_store(path) as store:
        settled = await store.find_row(SettledBatch, "T1/")
    assert settled == SettledBatch(id="T1/", number=3)


async def test_a_file_that_is_no_store_is_refused(path: Path) -> None:
    await trio.Path(path).write_bytes(b"text, long enough to have a header" * 20)
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        async with open_sqlite_store(path):
            pass


def test_a_store_that_cannot_be_durable_is_refused() -> None:
    with pytest.raises(StoreUnavailable, match="not durable: journal_mode memory"):
        connect_writer(Path(":memory:"))


async def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="No such file or directory"):
        async with open_sqlite_store(tmp_path / "nowhere" / "store.db"):
            pass


async def test_more_units_than_one_batch_holds_are_all_stored(path: Path) -> None:
    count = 2 * BATCH_MAX + 1
    async with open_sqlite_store(path) as store:
        async with trio.open_nursery() as nursery:
            for number in range(count):
                nursery.start_soon(store.commit, opening(str(number)))
        assert len(await store.open_transactions()) == count
    with open_reader(path) as reader:
        assert walk_chain(reader.links()).last_seq == 2 * count


async def test_what_was_handed_over_before_closing_is_durable(path: Path) -> None:
    async with trio.open_nursery() as nursery, open_sqlite_store(path) as store:
        for number in range(10):
            nursery.start_soon(store.commit, opening(str(number)))
        await trio.testing.wait_all_tasks_blocked()
    with open_reader(path) as reader:
        assert len(reader.open_transactions()) == 10


async def test_a_full_disk_refuses_and_recovers_by_itself(
    path: Path, disk: Disk
) -> None:
    async with open_sqlite_store(path, vfs=disk.name) as store:
        await store.commit(opening("1"))
        disk.is_full = True
        with pytest.raises(StoreUnavailable, match="cannot commit"):
            await store.commit(closing("1"))
        disk.is_full = False
        assert (await store.commit(closing("1"))).last_seq == 4
    with open_reader(path) as reader:
        assert walk_chain(reader.links()).is_sound


def test_a_disk_that_is_full_during_a_checkpoint_costs_nothing(
    path: Path, disk: Disk
) -> None:
    """The checkpoint comes after the delivery; the log waits for a better moment."""
    results: list[object] = []

    def fill(batch: list[Waiter]) -> None:
        results.append(batch[0].result)
        disk.is_full = len(results) == 1

    connection = connect_writer(path, vfs=disk.name)
    units = [opening("1"), opening("2"), opening("3")]
    batches = [[unit] for unit in units]
    write(connection, batches, delivered=fill, checkpoint_pages=1)
    assert [type(result) for result in results] == [
        Committed,
        StoreUnavailable,
        Committed,
    ]
    with open_reader(path) as reader:
        assert [found.id for found in reader.open_transactions()] == ["1", "3"]


def test_the_writer_ends_quietly_when_nobody_is_left_to_be_told(path: Path) -> None:
    def forget(_batch: list[Waiter]) -> None:
        raise trio.RunFinishedError

    write(connect_writer(path), [[opening("1")]], delivered=forget, checkpoint_pages=9)
    with open_reader(path) as reader:
        assert reader.find_transaction("1") is not None


async def test_a_question_to_a_closed_store_is_refused(path: Path) -> None:
    async with open_sqlite_store(path) as store:
        pass
    with pytest.raises(StoreUnavailable, match="cannot be read"):
        await store.pending_saf()


async def test_a_locked_store_refuses_and_recovers_by_itself(path: Path) -> None:
    async with open_sqlite_store(path) as store:
        await store.commit(opening("1"))
        intruder = apsw.Connection(str(path))
        intruder.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="locked"):
            await store.commit(closing("1"))
        intruder.execute("ROLLBACK")
        intruder.close()
        assert (await store.commit(closing("1"))).last_seq == 4


async def test_an_fsync_error_is_fatal_and_never_retried(
    path: Path, disk: Disk
) -> None:
    causes: list[BaseException] = []
    async with open_sqlite_store(path, vfs=disk.name, on_fatal=causes.append) as store:
        await store.commit(opening("1"))
        disk.is_broken = True
        with pytest.raises(StoreUnavailable, match="has failed"):
            await store.commit(closing("1"))
        disk.is_broken = False
        with pytest.raises(StoreUnavailable, match="has failed"):
            await store.commit(opening("2"))
    assert [type(cause) for cause in causes] == [apsw.IOError]
    assert causes[0].extendedresult == apsw.SQLITE_IOERR_FSYNC


async def test_state_that_cannot_follow_the_journal_is_fatal(path: Path) -> None:
    causes: list[BaseException] = []

    def contradict(_unit: UnitOfWork, _committed: Committed) -> None:
        msg = "the state contradicts the journal"
        raise RuntimeError(msg)

    async with open_sqlite_store(path, on_fatal=causes.append) as store:
        store.on_commit(contradict)
        with pytest.raises(StoreUnavailable, match="has failed"):
            await store.commit(opening("1"))
    assert [str(cause) for cause in causes] == ["the state contradicts the journal"]


@pytest.mark.parametrize(
    "statement", ["UPDATE journal SET record = ''", "DELETE FROM journal"]
)
async def test_the_journal_is_append_only(path: Path, statement: str) -> None:
    async with open_sqlite_store(path) as store:
        await store.commit(opening("1"))
    connection = apsw.Connection(str(path))
    with pytest.raises(apsw.ConstraintError, match="append-only"):
        connection.execute(statement)
    connection.close()


async def test_wiped_material_is_gone_from_the_files(path: Path) -> None:
    sealed = bytes.fromhex("c0ffee") * 30
    async with open_sqlite_store(path) as store:
        await store.commit(opening("1", sealed=sealed))
        held = b"".join(file.read_bytes() for file in path.parent.iterdir())
        await store.commit(closing("1"))
    left = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert sealed in held
    assert sealed not in left


async def test_no_card_number_is_in_the_files(path: Path) -> None:
    async with open_sqlite_store(path) as store:
        for number in range(50):
            await store.commit(opening(str(number)))
        await store.commit(closing("1"))
        files = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert b"476173******0010" in files
    assert b"4761739001010010" not in files


def test_the_write_ahead_log_is_folded_away_between_batches(path: Path) -> None:
    log = path.with_name("store.db-wal")
    sizes: list[int] = []
    write(
        connect_writer(path),
        [[opening(str(number))] for number in range(120)],
        delivered=lambda _batch: sizes.append(log.stat().st_size),
        checkpoint_pages=50,
    )
    assert max(sizes) < 150 * 4096
