"""Reading a store from another connection, as the command line does."""

from __future__ import annotations

from pathlib import Path

import pytest

from isoswitch.codecs.canonical.errors import StoreUnavailable
from isoswitch.journal.chain import GENESIS
from isoswitch.store.port import SafState, TransactionState
from isoswitch.store.reader import Totals, open_reader
from isoswitch.store.sqlite import open_sqlite_store
from tests.store.units import closing, opening, timing_out


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name a store that does not exist yet."""
    return tmp_path / "store.db"


def test_a_store_that_is_not_there_is_said(path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="no store at"), open_reader(path):
        pass


def test_a_file_that_is_no_store_is_said(path: Path) -> None:
    path.write_bytes(b"text, long enough to have a header" * 20)
    with pytest.raises(StoreUnavailable, match="cannot be read"), open_reader(path):
        pass


async def test_a_reader_sees_what_is_durable_while_the_switch_writes(
    path: Path,
) -> None:
    async with open_sqlite_store(path) as store:
        with open_reader(path) as reader:
            assert reader.head() == (0, GENESIS)
            await store.commit(opening("1"))
            assert [r.seq for r in reader.records("1")] == [1, 2]
            await store.commit(closing("1"))
            assert [r.seq for r in reader.records(after_seq=2)] == [3, 4]


async def test_a_reader_needs_no_running_switch(path: Path) -> None:
    async with open_sqlite_store(path) as store:
        await store.commit(opening("1"))
    with open_reader(path) as reader:
        assert reader.find_transaction("1") is not None
        assert reader.find_by_dedup_key("key-1") is not None
        assert reader.find_transaction("2") is None


async def test_transactions_come_newest_first_and_filtered(path: Path) -> None:
    async with open_sqlite_store(path) as store:
        await store.commit(opening("1"))
        await store.commit(opening("2", terminal_id="T2"))
        await store.commit(opening("3", business_date="2026-02-01"))
        await store.commit(closing("1"))
    with open_reader(path) as reader:

        def ids(**filters: str) -> list[str]:
            return [found.id for found in reader.transactions(**filters)]

        assert ids() == ["3", "2", "1"]
        assert ids(terminal_id="T1") == ["3", "1"]
        assert ids(terminal_id="T1", state=TransactionState.CLOSED) == ["1"]
        assert ids(business_date="2026-02-01") == ["3"]
        assert ids(stan="000009") == []
        assert [found.id for found in reader.transactions(limit=1)] == ["3"]


async def test_totals_count_every_state(path: Path) -> None:
    async with open_sqlite_store(path) as store:
        await store.commit(opening("1"))
        await store.commit(timing_out("1"))
        await store.commit(opening("2"))
    with open_reader(path) as reader:
        last_seq, head = reader.head()
        assert reader.totals() == Totals(
            last_seq=7,
            head=head,
            transactions={
                TransactionState.OPENED: 0,
                TransactionState.SENDING: 1,
                TransactionState.CLOSED: 1,
            },
            saf={
                SafState.PENDING: 1,
                SafState.DELIVERED: 0,
                SafState.QUARANTINED: 0,
            },
        )
        assert last_seq == 7
        assert [entry.transaction_id for entry in reader.saf()] == ["1"]
        assert reader.saf(SafState.DELIVERED) == []
