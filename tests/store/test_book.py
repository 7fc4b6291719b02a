"""The ledger in the middle of a batch: written at its end, refused in between."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from isoswitch.codecs.canonical.errors import StoreUnavailable
from isoswitch.codecs.canonical.money import Money
from isoswitch.ledger.holds import (
    Capture,
    Hold,
    HoldResolved,
    HoldState,
    HoldUnknown,
    Place,
    Release,
)
from isoswitch.store import book
from isoswitch.store.port import Committed, DuplicateTransaction, UnitOfWork
from isoswitch.store.reader import StoreReader, open_reader
from isoswitch.store.schema import connect_writer
from isoswitch.store.writer import Waiter
from tests.store.disks import mounted
from tests.store.driving import write
from tests.store.units import closing, opening

# More than SQLite's integers hold.
TOO_MUCH = 1 << 70


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name a store that does not exist yet."""
    return tmp_path / "store.db"


def placing(name: str, *, minor: int = 1250, of: str = "") -> UnitOfWork:
    """Make the unit that opens a transaction and sets its amount aside."""
    place = Place(
        id=name,
        debit="issuer/alpha",
        credit="merchant/M1",
        amount=Money(minor, "978"),
        of=of,
    )
    return replace(opening(name), ledger=(place,))


def capturing(name: str) -> UnitOfWork:
    """Make the unit that closes a transaction and captures its hold."""
    capture = Capture(id=name, by=name, minor=1250, business_date="2026-01-31")
    return replace(closing(name), ledger=(capture,))


def results_of(
    connection: apsw.Connection, *batches: list[UnitOfWork]
) -> list[list[object]]:
    """Commit batches and give the results of their units."""
    results: list[list[object]] = []

    def deliver(batch: list[Waiter]) -> None:
        results.append([waiter.result for waiter in batch])

    write(connection, list(batches), delivered=deliver, checkpoint_pages=100)
    return results


def hold_of(path: Path, name: str) -> Hold | None:
    """Read a hold as it is stored."""
    with open_reader(path) as reader:
        return reader.find_hold(name)


def test_a_hold_may_be_captured_in_the_batch_that_places_it(path: Path) -> None:
    units = [placing("1"), placing("2"), capturing("1")]
    (results,) = results_of(connect_writer(path), units)
    assert all(isinstance(result, Committed) for result in results)
    captured, placed = hold_of(path, "1"), hold_of(path, "2")
    assert captured is not None
    assert (captured.state, captured.captured_minor) == (HoldState.CAPTURED, 1250)
    assert placed is not None
    assert placed.state is HoldState.OPEN
    with open_reader(path) as reader:
        assert [entry.id for entry in reader.entries("2026-01-31")] == ["1/capture"]


def test_what_a_refused_unit_did_to_the_ledger_is_not_seen_by_the_next(
    path: Path,
) -> None:
    again = replace(placing("9"), opens=placing("1").opens)
    unknown = replace(
        placing("2"), ledger=(*placing("2").ledger, Release(id="nobody's"))
    )
    late = Release(id="2")
    units = [placing("1"), again, unknown, replace(closing("1"), ledger=(late,))]
    (results,) = results_of(connect_writer(path), units)
    assert isinstance(results[1], DuplicateTransaction)
    assert isinstance(results[2], HoldUnknown)
    assert isinstance(results[3], HoldUnknown)
    assert hold_of(path, "9") is None
    assert hold_of(path, "2") is None
    with open_reader(path) as reader:
        assert [each.id for each in reader.open_transactions()] == ["1"]


def test_who_repeats_hears_of_its_original_before_the_ledger_is_asked(
    path: Path,
) -> None:
    """The answer to a repeat is that of its original, whatever became of the hold."""
    repeat = replace(opening("1"), ledger=(Release(id="1"),))
    results = results_of(
        connect_writer(path), [placing("1")], [capturing("1")], [repeat]
    )
    assert isinstance(results[2][0], DuplicateTransaction)


def test_a_unit_whose_rows_do_not_fit_is_refused_alone(path: Path) -> None:
    units = [placing("1"), placing("2", minor=TOO_MUCH), placing("3")]
    (results,) = results_of(connect_writer(path), units)
    assert isinstance(results[0], Committed)
    assert isinstance(results[1], OverflowError)
    assert isinstance(results[2], Committed)
    assert hold_of(path, "2") is None
    with open_reader(path) as reader:
        assert [each.id for each in reader.open_transactions()] == ["1", "3"]
        assert reader.head()[0] == 4


def test_a_hold_whose_batch_was_not_stored_is_not_remembered(path: Path) -> None:
    with mounted("failing") as disk:
        results: list[object] = []

        def deliver(batch: list[Waiter]) -> None:
            results.append(batch[0].result)
            disk.is_full = len(results) == 1

        units = [[placing("1")], [capturing("1")], [capturing("1")], [capturing("1")]]
        write(
            connect_writer(path, vfs=disk.name),
            units,
            delivered=deliver,
            checkpoint_pages=100,
        )
    # Full: refused. Then it is captured, once.
    assert isinstance(results[1], StoreUnavailable)
    assert isinstance(results[2], Committed)
    assert not isinstance(results[3], Committed)
    stored = hold_of(path, "1")
    assert stored is not None
    assert stored.captured_minor == 1250


def test_a_resolved_hold_is_resolved_for_the_next_batch(path: Path) -> None:
    release = replace(closing("1"), ledger=(Release(id="1"),))
    second = replace(opening("2"), ledger=capturing("1").ledger)
    results = results_of(connect_writer(path), [placing("1")], [release], [second])
    assert isinstance(results[2][0], HoldResolved)


@pytest.mark.parametrize(("remembered_max", "is_found"), [(2, True), (1, False)])
def test_holds_stay_in_memory_up_to_a_limit(
    path: Path, remembered_max: int, is_found: bool
) -> None:
    """A capture finds its hold without a question to the store; older ones ask."""
    connection = connect_writer(path)
    ledger = book.LedgerBook(StoreReader(connection), remembered_max=remembered_max)
    for name in ("1", "2"):
        ledger.change(placing(name).ledger, check=lambda _: None)
        ledger.keep()
        ledger.write(connection)
        ledger.committed()
    connection.execute("DELETE FROM holds")
    assert (ledger.find_hold("1") is not None) is is_found
    assert ledger.find_hold("2") is not None
    connection.close()
