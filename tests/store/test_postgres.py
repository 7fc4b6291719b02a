"""What PostgreSQL adds: several writers, one chain, and servers that go away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
import trio

from isoswitch.codecs.canonical.errors import NoStore, StoreUnavailable
from isoswitch.commands.database import LocalServer
from isoswitch.journal.records import RecordKind
from isoswitch.store.days import BusinessDay, DayMove, DayRefused, DayState
from isoswitch.store.inspection import inspect_store
from isoswitch.store.place import DatabaseUrl
from isoswitch.store.port import (
    Committed,
    DuplicateTransaction,
    OwnershipLost,
    Store,
    UnitOfWork,
)
from isoswitch.store.postgres.connection import connect
from isoswitch.store.postgres.store import open_postgres_store
from isoswitch.store.reader import open_reader
from tests.postgres import (
    STANDBY_DEMANDED,
    new_database,
    promote,
    reconfigure,
    running_server,
    start_standby,
    temporary_folder,
)
from tests.store.cutting import CuttingProxy, Fault
from tests.store.units import AT, closing, opening, record, timing_out, transaction

HUNG = "FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


@pytest.fixture
def url(postgres: LocalServer) -> DatabaseUrl:
    """Make an empty database."""
    return new_database(postgres)


@pytest.fixture(scope="module")
def lone() -> Iterator[LocalServer]:
    """Run a server that tests may restart, and whose standby is never there."""
    with temporary_folder() as folder, running_server(folder / "server") as server:
        yield server


@contextmanager
def standby_demanded(server: LocalServer) -> Iterator[None]:
    """Let no commit end in the block; it never lasts longer than the test."""
    reconfigure(server, STANDBY_DEMANDED)
    try:
        yield
    finally:
        reconfigure(server, "")


@contextmanager
def cut_off(
    postgres: LocalServer, url: DatabaseUrl, fault: Fault
) -> Iterator[tuple[CuttingProxy, DatabaseUrl]]:
    """Give an address of a database through which one batch does not come well."""
    with temporary_folder() as folder:
        proxy = CuttingProxy(folder, server=postgres.folder, fault=fault)
        there = url.reveal().replace(str(postgres.folder), str(folder))
        try:
            yield proxy, DatabaseUrl(there)
        finally:
            proxy.close()


async def test_two_writers_keep_one_chain_and_one_of_them_wins_each_key(
    url: DatabaseUrl,
) -> None:
    won: list[str] = []
    lost: list[str] = []

    async def commit(store: Store, name: str, number: int) -> None:
        try:
            await store.commit(opening(f"{name}-{number}", dedup_key=f"key-{number}"))
            await store.commit(closing(f"{name}-{number}"))
            won.append(f"key-{number}")
        except DuplicateTransaction as exc:
            lost.append(exc.existing.dedup_key)

    async with (
        open_postgres_store(url) as first,
        open_postgres_store(url) as second,
        trio.open_nursery() as nursery,
    ):
        for number in range(200):
            nursery.start_soon(commit, first, "a", number)
            nursery.start_soon(commit, second, "b", number)
    assert sorted(won) == sorted(lost) == sorted(f"key-{n}" for n in range(200))
    verdict = inspect_store(url)
    assert (verdict.is_sound, verdict.chain.last_seq) == (True, 800)


async def test_writers_see_each_other_whatever_the_default_of_the_database(
    url: DatabaseUrl,
) -> None:
    name = urlsplit(url.reveal()).path[1:]
    with connect(url) as connection:
        isolation = "SET default_transaction_isolation = 'repeatable read'"
        connection.execute(f"ALTER DATABASE {name} {isolation}".encode())

    async def commit(store: Store, name: str) -> None:
        for number in range(100):
            await store.commit(opening(f"{name}-{number}"))

    async with (
        open_postgres_store(url) as first,
        open_postgres_store(url) as second,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(commit, first, "a")
        nursery.start_soon(commit, second, "b")
    assert inspect_store(url).chain.last_seq == 400


async def test_of_two_writers_one_moves_a_transaction_and_one_cuts_the_day(
    url: DatabaseUrl,
) -> None:
    outcomes: list[str] = []

    async def commit(store: Store, unit: UnitOfWork) -> None:
        try:
            await store.commit(unit)
            outcomes.append("done")
        except (OwnershipLost, DayRefused) as exc:
            outcomes.append(type(exc).__name__)

    day = DayMove(date="2026-01-31", to=DayState.OPEN, at=AT)
    cut = replace(day, to=DayState.CUT, next_date="2026-02-01")
    async with open_postgres_store(url) as first, open_postgres_store(url) as second:
        await first.commit(UnitOfWork(records=(), day=day))
        await second.commit(opening("1"))
        for unit in (timing_out("1"), UnitOfWork(records=(), day=cut)):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(commit, first, unit)
                nursery.start_soon(commit, second, unit)
        assert [each.date for each in await second.days()] == [day.date, cut.next_date]
        assert [entry.id for entry in await first.pending_saf()] == [1]
    assert sorted(outcomes) == ["DayRefused", "OwnershipLost", "done", "done"]
    assert inspect_store(url).is_sound


@pytest.mark.parametrize(
    ("fault", "is_stored"), [(Fault.ANSWER_LOST, True), (Fault.COMMIT_LOST, False)]
)
async def test_a_connection_lost_in_a_commit_is_told_by_what_the_server_has(
    postgres: LocalServer, url: DatabaseUrl, fault: Fault, is_stored: bool
) -> None:
    with cut_off(postgres, url, fault) as (proxy, there):
        async with open_postgres_store(there) as store:
            outcome: Committed | None = None
            try:
                outcome = await store.commit(opening("1"))
            except StoreUnavailable:
                assert not is_stored
            assert proxy.happened.is_set()
            assert outcome == (Committed(last_seq=2) if is_stored else None)
            assert (await store.find_transaction("1") is not None) is is_stored
            # The same unit again is a repeat, or stands for the first time.
            if not is_stored:
                assert await store.commit(opening("1")) == Committed(last_seq=2)
            await store.commit(closing("1"))
    assert inspect_store(url).is_sound


async def test_a_writer_that_freezes_in_its_turn_loses_it(
    postgres: LocalServer, url: DatabaseUrl
) -> None:
    frozen: list[str] = []

    async def commit_frozen(store: Store) -> None:
        with pytest.raises(StoreUnavailable):
            await store.commit(opening("1"))
        frozen.append("unavailable")

    with cut_off(postgres, url, Fault.FROZEN) as (proxy, there):
        async with (
            open_postgres_store(there) as store,
            open_postgres_store(url) as other,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(commit_frozen, store)
            await trio.to_thread.run_sync(proxy.happened.wait)
            with trio.fail_after(10):
                await other.commit(opening("2"))
        assert frozen == ["unavailable"]
    with open_reader(url) as reader:
        assert [each.id for each in reader.open_transactions()] == ["2"]


async def test_a_server_that_goes_away_refuses_at_once_and_comes_back() -> None:
    with temporary_folder() as folder, running_server(folder / "server") as server:
        url = new_database(server)
        async with open_postgres_store(url) as store:
            await store.commit(opening("1"))
            server.stop("immediate")
            with pytest.raises(StoreUnavailable):
                await store.commit(closing("1"))
            began_at = trio.current_time()
            with pytest.raises(StoreUnavailable):
                await store.commit(closing("1"))
            with pytest.raises(StoreUnavailable):
                await store.find_transaction("1")
            assert trio.current_time() - began_at < 2
            server.start()
            with trio.fail_after(20):
                while not await _is_taken(store, closing("1")):
                    await trio.sleep(0.05)
            assert await store.open_transactions() == []
        assert inspect_store(url).is_sound


def _killed(server: LocalServer) -> None:
    server.stop("immediate")
    server.start()


def _restarted(server: LocalServer) -> None:
    server.stop("fast")
    server.start()


def _canceled(server: LocalServer) -> None:
    _ask(server, f"SELECT pg_cancel_backend(pid) {HUNG}")


@pytest.mark.parametrize("end_wait", [_killed, _restarted, _canceled])
async def test_a_commit_is_told_when_a_standby_has_it_whatever_ends_the_wait(
    lone: LocalServer, end_wait: Callable[[LocalServer], None]
) -> None:
    told: list[Committed] = []
    over = trio.Event()
    async with (
        open_postgres_store(new_database(lone)) as store,
        trio.open_nursery() as nursery,
    ):
        with standby_demanded(lone):
            nursery.start_soon(_commit_until, over, store, told)
            (hung,) = await _hung(lone)
            told_before = len(told)
            over.set()
            end_wait(lone)
            await _hung(lone, before=hung)
            assert len(told) == told_before
    assert len(told) == told_before + 1


async def test_a_commit_that_waits_for_long_is_told_when_the_standby_is_back(
    lone: LocalServer,
) -> None:
    told: list[Committed] = []
    over = trio.Event()
    async with (
        open_postgres_store(new_database(lone)) as store,
        trio.open_nursery() as nursery,
    ):
        with standby_demanded(lone):
            nursery.start_soon(_commit_until, over, store, told)
            await _hung(lone)
            told_before = len(told)
            over.set()
            with trio.fail_after(60), pytest.raises(StoreUnavailable):
                await store.commit(closing("0"))
            assert len(told) == told_before
    assert len(told) == told_before + 1


async def test_a_promoted_standby_is_found_while_the_old_primary_lives_on() -> None:
    with temporary_folder() as folder, running_server(folder / "a") as primary:
        url = new_database(primary).reveal()
        standby = start_standby(primary, folder / "b")
        both = f"host={primary.folder},{standby.folder}"
        there = DatabaseUrl(url.replace(f"host={primary.folder}", both))
        try:
            async with open_postgres_store(there) as store:
                await store.commit(opening("1"))
                promote(standby)
                with trio.fail_after(60), pytest.raises(StoreUnavailable):
                    await store.commit(opening("2"))
                await store.commit(opening("3"))
                found = [each.id for each in await store.open_transactions()]
            assert found == ["1", "3"]
            async with open_postgres_store(there) as store:
                await store.commit(closing("3"))
            new = DatabaseUrl(url.replace(str(primary.folder), str(standby.folder)))
            with open_reader(new) as reader:
                assert [each.id for each in reader.open_transactions()] == ["1"]
        finally:
            standby.stop("immediate")


async def test_after_a_restart_nothing_is_read_that_no_standby_has(
    lone: LocalServer,
) -> None:
    url = new_database(lone)
    found: list[str] = []

    async def find(store: Store) -> None:
        with suppress(StoreUnavailable):
            await store.find_transaction("1")
        found.append((await store.open_transactions())[0].id)

    async with open_postgres_store(url) as store, trio.open_nursery() as nursery:
        await store.commit(opening("1"))
        with standby_demanded(lone):
            _restarted(lone)
            nursery.start_soon(find, store)
            await _hung(lone)
            assert found == []
    assert found == ["1"]


async def test_a_value_that_postgresql_does_not_take_refuses_its_unit_alone(
    url: DatabaseUrl,
) -> None:
    refused: list[str] = []

    async def commit(store: Store, number: int) -> None:
        bad = "\0" if number % 7 == 0 else ""
        unit = opening(str(number), merchant_id=f"M{bad}")
        try:
            await store.commit(unit)
        except ValueError as exc:
            refused.append(str(exc))

    async with open_postgres_store(url) as store:
        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(commit, store, number)
        assert len(await store.open_transactions()) == 42
    assert len(refused) == 8
    assert inspect_store(url).is_sound


async def test_a_store_that_may_lose_commits_is_refused() -> None:
    with (
        temporary_folder() as folder,
        running_server(folder / "server", settings="fsync = off\n") as server,
    ):
        url = new_database(server)
        with pytest.raises(StoreUnavailable, match="not durable"):
            await _open(url)


async def test_what_was_changed_by_hand_shows(url: DatabaseUrl) -> None:
    async with open_postgres_store(url) as store:
        for number in ("1", "2"):
            await store.commit(opening(number))
        await store.commit(timing_out("1"))
    with connect(url) as connection:
        with pytest.raises(psycopg.Error, match="append-only"):
            connection.execute("DELETE FROM journal WHERE seq = 2")
        connection.execute("UPDATE transactions SET amount_minor = 1, reversed = false")
        connection.execute("UPDATE saf SET state = 'delivered'")
    findings = inspect_store(url).findings
    assert sorted(each.partition(":")[0] for each in findings) == [
        "entry 1",
        "transaction 1",
        "transaction 1",
        "transaction 2",
    ]
    assert findings[-1].endswith(
        "0 delivered by the journal, 1 stored, 0 set aside by the journal, 0 stored"
    )
    with connect(url) as connection:
        connection.execute("ALTER TABLE journal DISABLE TRIGGER ALL")
        connection.execute("DELETE FROM journal WHERE seq = 2")
    assert inspect_store(url).chain.first_bad_seq == 2
    with pytest.raises(StoreUnavailable, match="contradicts itself"):
        await _open(url)


async def test_checkpoints_and_days_are_read_as_they_were_written(
    url: DatabaseUrl,
) -> None:
    day = DayMove(date="2026-01-31", to=DayState.OPEN, at=AT)
    async with open_postgres_store(url) as store:
        told = record(RecordKind.CHECKPOINT, size=0)
        await store.commit(UnitOfWork(records=(told,), day=day))
        await store.commit(opening("1"))
        opened = BusinessDay(date=day.date, state=DayState.OPEN, opened_at=AT)
        assert await store.days() == [opened]
    with open_reader(url) as reader:
        assert [each.record for each in reader.checkpoints()] == [told]
        assert reader.transactions() == [transaction("1")]


def test_a_database_without_a_store_says_so(url: DatabaseUrl) -> None:
    with pytest.raises(NoStore, match="no store at"), open_reader(url):
        pass


def test_an_address_does_not_print_its_password(tmp_path: Path) -> None:
    url = DatabaseUrl(f"postgresql://switch:hushhush@/isoswitch?host={tmp_path}")
    with pytest.raises(StoreUnavailable) as refused, open_reader(url):
        pass
    assert "hushhush" not in f"{refused.value} {url} {url!r}"


async def _commit_until(over: trio.Event, store: Store, told: list[Committed]) -> None:
    """Commit one unit after the other."""
    while not over.is_set():
        told.append(await store.commit(opening(str(len(told)))))


async def _hung(server: LocalServer, *, before: str = "") -> list[str]:
    """Wait until another commit waits for a standby than before; give its process."""
    with trio.fail_after(30):
        while (found := _ask(server, f"SELECT pid {HUNG}")) in ([], [before]):
            await trio.sleep(0.05)
    return found


def _ask(server: LocalServer, sql: str) -> list[str]:
    return server.run("psql", "-tAc", sql, server.url("postgres")).split()


async def _open(url: DatabaseUrl) -> None:
    async with open_postgres_store(url):
        pass


async def _is_taken(store: Store, unit: UnitOfWork) -> bool:
    try:
        await store.commit(unit)
    except StoreUnavailable:
        return False
    return True
