"""What a store of an earlier version becomes when it is opened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from isoswitch.codecs.canonical.money import Money
from isoswitch.ledger.entries import transfer
from isoswitch.ledger.holds import AmountExceeded, Capture, Hold, Return
from isoswitch.store.opening import open_store
from isoswitch.store.place import DatabaseUrl, Place
from isoswitch.store.port import StoredTransaction, TransactionState, UnitOfWork
from isoswitch.store.postgres.connection import connect
from isoswitch.store.postgres.schema import migrate
from isoswitch.store.schema import (
    MIGRATIONS,
    TRANSACTION_COLUMNS,
    connect_writer,
    posting_rows,
    transaction_row,
)
from tests.postgres import new_database
from tests.store.copying import POSTING_COLUMNS
from tests.store.units import transaction

DATE = "2026-01-31"
# The last version in which all captures of a hold were given back of the hold.
SHARED_VERSION = 17
ISSUER, MERCHANT = "issuer/north", "merchant/M1"
OPEN, CAPTURED = "open", "captured"
Rows = Sequence[Sequence[Any]]


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Name a store that is not there yet, of each kind that keeps its schema."""
    if request.param == "postgres":
        return new_database(request.getfixturevalue("postgres"))
    return tmp_path / "store.db"


def make_old(place: Place, statements: Sequence[tuple[str, Rows]]) -> None:
    """Make a store of the earlier version with these rows in it."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("schema", "postgres.schema"):
            older = MIGRATIONS[:SHARED_VERSION]
            patch.setattr(f"isoswitch.store.{module}.MIGRATIONS", older)
        if isinstance(place, DatabaseUrl):
            migrate(place)
            with connect(place) as database, database.cursor() as cursor:
                for sql, rows in statements:
                    cursor.executemany(sql.replace("?", "%s").encode(), rows)
            return
        connection = connect_writer(place)
        for sql, rows in statements:
            connection.executemany(sql, rows)
        connection.close()


def insert(table: str, columns: Sequence[str], rows: Rows) -> tuple[str, Rows]:
    """Write the statement that puts rows into a table."""
    places = ", ".join("?" * len(columns))
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})", rows


def told(number: str, kind: str, original_id: str = "") -> StoredTransaction:
    """Make a transaction that came to an end."""
    return transaction(
        number, kind=kind, original_id=original_id, state=TransactionState.CLOSED
    )


def entry_rows(number: str, what: str, minor: int) -> Iterator[tuple[Any, ...]]:
    """Let an issuer owe us so much, or we the issuer where it is negative."""
    sides = (ISSUER, MERCHANT) if minor > 0 else (MERCHANT, ISSUER)
    yield from posting_rows(
        transfer(
            f"{number}/{what}",
            debit=sides[0],
            credit=sides[1],
            amount=Money(abs(minor), "978"),
            transaction_id=number,
            business_date=DATE,
        )
    )


HOLD_COLUMNS = (
    "id",
    "of",
    "held_minor",
    "captured_minor",
    "returned_minor",
    "returning_minor",
    "state",
    "debit",
    "credit",
    "currency",
    "expires_at",
)
TOLD = (
    told("1", "preauthorisation"),
    told("2", "completion", "1"),
    told("3", "completion", "1"),
    told("4", "refund", "2"),
    told("5", "refund", "2"),
    told("6", "reversal", "2"),
    told("7", "completion", "1"),
    # A purchase and its refund stay as they are.
    told("8", "purchase"),
    told("9", "refund", "8"),
)
TO_MERCHANT = (ISSUER, MERCHANT, "978", "")
TO_ISSUER = (MERCHANT, ISSUER, "978", "")
HOLDS = (
    ("1", "", 10_000, 10_000, 1_700, 500, CAPTURED, *TO_MERCHANT),
    ("4", "1", 1_000, 1_000, 0, 0, CAPTURED, *TO_ISSUER),
    ("5", "1", 500, 0, 0, 0, OPEN, *TO_ISSUER),
    ("8", "", 900, 900, 400, 0, CAPTURED, *TO_MERCHANT),
    ("9", "8", 400, 400, 0, 0, CAPTURED, *TO_ISSUER),
)
POSTINGS = (
    *entry_rows("2", "capture", 3_000),
    *entry_rows("3", "capture", 7_000),
    *entry_rows("4", "capture", -1_000),
    *entry_rows("6", "return", -700),
    *entry_rows("8", "capture", 900),
    *entry_rows("9", "capture", -400),
)


def figures(hold: Hold | None) -> tuple[str, int, int, int, int]:
    """Give what a hold is of, and its captured, parted, given back and reserved."""
    assert hold is not None
    return (
        hold.of,
        hold.captured_minor,
        hold.parted_minor,
        hold.returned_minor,
        hold.returning_minor,
    )


async def test_captures_that_shared_a_hold_get_holds_of_their_own(place: Place) -> None:
    """Refunded and reversed in part, in refund, untouched, and never approved."""
    rows = [transaction_row(each) for each in TOLD]
    make_old(
        place,
        [
            insert("transactions", TRANSACTION_COLUMNS, rows),
            insert("holds", HOLD_COLUMNS, HOLDS),
            insert("postings", POSTING_COLUMNS, POSTINGS),
        ],
    )
    async with open_store(place) as store:
        assert {
            each.id: figures(await store.find_hold(each.id))
            for each in TOLD
            if each.id not in {"6", "7"}
        } == {
            "1": ("", 10_000, 10_000, 0, 0),
            "2": ("", 3_000, 0, 1_700, 500),
            "3": ("", 7_000, 0, 0, 0),
            "4": ("2", 1_000, 0, 0, 0),
            "5": ("2", 0, 0, 0, 0),
            "8": ("", 900, 0, 400, 0),
            "9": ("8", 400, 0, 0, 0),
        }
        assert await store.find_hold("7") is None
        ended = Capture(id="5", by="5", minor=500, business_date=DATE)
        await store.commit(UnitOfWork(records=(), ledger=(ended,)))
        assert figures(await store.find_hold("2")) == ("", 3_000, 0, 2_200, 0)
        over = Return(id="2", by="10", business_date=DATE, minor=801)
        with pytest.raises(AmountExceeded):
            await store.commit(UnitOfWork(records=(), ledger=(over,)))
