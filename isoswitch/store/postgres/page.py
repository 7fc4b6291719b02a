"""What a batch touches, read in one round trip and written in another.

    keys of all units ──read──▶ Page (the rules of `Tables` apply to it) ──write──▶ rows

The lock on writing is held from before the read until the commit, so nothing of it
changes meanwhile, and what the rules decide here is what SQLite's single writer would
have decided. Each table takes one statement, however many rows change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from operator import attrgetter
from typing import Any

import orjson

from isoswitch.ledger.holds import Capture, Change, Place, Return
from isoswitch.store.days import DayState
from isoswitch.store.port import Lease, StoredTransaction, UnitOfWork
from isoswitch.store.postgres.connection import Answers
from isoswitch.store.rows import TABLES, R, Row, forgotten_where, to_row
from isoswitch.store.schema import (
    DAY_COLUMNS,
    HOLD_COLUMNS,
    RECONCILIATION_COLUMNS,
    SAF_COLUMNS,
    TRANSACTION_COLUMNS,
    TRANSFER_COLUMNS,
    posting_rows,
    to_day,
    to_entries,
    to_hold,
    to_saf_entry,
    to_stored_transaction,
    to_transfer,
    transfer_row,
)
from isoswitch.store.standins import StandIn, Usage
from isoswitch.store.tables import Tables

Statement = tuple[bytes, Sequence[Any]]
# Columns of a transaction that a move may change.
MOVING = ("state", "outcome", "endpoint", "sealed", "reversed")
STAND_IN_COLUMNS = (
    "transaction_id",
    "profile",
    "endpoint",
    "pan_hash",
    "business_date",
    "currency",
    "amount_minor",
)


@dataclass(slots=True)
class Page(Tables):
    """The rows that some units touch.

    ``used`` and ``open_ids`` are what the tables at large say to the first unit: what
    is used of its limits of stand-in, and which transactions of its day are open.
    """

    used: Usage | None = None
    open_ids: Sequence[str] = ()
    _before: Mapping[str, Mapping[Any, Any]] = field(default_factory=dict)

    def usage(self, stand_in: StandIn) -> Usage:
        """Give what is used of the limits of an approval in an issuer's place."""
        assert self.used is not None, "read for the first unit, which alone may ask"
        del stand_in
        return self.used

    def open_elsewhere(self, business_date: str) -> Iterable[str]:
        """Give the open transactions of the day that the first unit closes."""
        del business_date
        return self.open_ids

    def remember(self) -> None:
        """Take what is here now for what the database holds."""
        self._before = {
            each.name: dict(getattr(self, each.name))
            for each in fields(Tables)
            if each.name != "last_saf_id"
        }

    def changed(self, table: str) -> list[Any]:
        """Give the rows that are new or changed, in the order they came."""
        before = self._before[table]
        return [
            row
            for key, row in getattr(self, table).items()
            if before.get(key) is not row
        ]

    def is_new(self, table: str, key: Any) -> bool:
        """Whether the database does not have a row yet."""
        return key not in self._before[table]

    def gone(self, table: str) -> list[Any]:
        """Give the keys of the rows that are no more."""
        now = getattr(self, table)
        return [key for key in self._before[table] if key not in now]


@dataclass(frozen=True, slots=True)
class Question:
    """A statement, and what takes its rows into a page."""

    statement: Statement
    absorb: Callable[[Page, Answers], None]


def questions(units: Sequence[UnitOfWork]) -> Iterator[Question]:
    """Ask for all that some units touch."""
    opens = [each for unit in units for each in unit.opens]
    yield from _of_transactions(units, opens)
    changes = [change for unit in units for change in unit.ledger]
    yield from _of_ledger(changes)
    if opens or changes or any(unit.day for unit in units):
        dates = {unit.day.date for unit in units if unit.day}
        dates |= {c.business_date for c in changes if isinstance(c, Capture | Return)}
        yield Question((_DAYS, (list(dates),)), _take_days)
    if updated := {each.id for unit in units for each in unit.saf_updates}:
        yield Question((_SAF, (list(updated),)), _take_saf)
    if any(unit.saf_puts for unit in units):
        yield Question((_LAST_SAF, ()), _take_last_saf)
    if any(unit.leases for unit in units):
        yield Question((_LEASES, ()), _take_leases)
    if transfers := {move.transfer.id for unit in units for move in unit.transfers}:
        yield Question((_TRANSFERS, (list(transfers),)), _take_transfers)
    yield from _of_rows([move.row for unit in units for move in unit.rows])


def changes_of(page: Page) -> Iterator[Statement]:
    """Give the statements that write what has changed on a page."""
    changed = page.changed("transactions")
    if opened := [each for each in changed if page.is_new("transactions", each.id)]:
        yield _INSERT_TRANSACTIONS, (_pack(TRANSACTION_COLUMNS, opened),)
    if moved := [each for each in changed if not page.is_new("transactions", each.id)]:
        yield _MOVE_TRANSACTIONS, (_pack(("id", *MOVING), moved),)
    for table in _WRITTEN:
        values = [row for each in page.changed(table.page) for row in table.rows(each)]
        if values:
            yield table.statement, (to_json(table.columns, values),)
    if page.changed("batches"):
        yield _PUT_BATCHES, (to_json(_BATCH_COLUMNS, page.batches.items()),)
    if given_up := page.gone("leases"):
        yield _DELETE_LEASES, (given_up,)
    by_kind: dict[type[Any], list[Row]] = {}
    for row in page.changed("rows"):
        by_kind.setdefault(type(row), []).append(row)
    for kind, rows in by_kind.items():
        columns = tuple(kind.__dataclass_fields__)
        yield _put(TABLES[kind], columns, ("id",)), (_pack(columns, rows),)


def forgets_of(unit: UnitOfWork) -> Iterator[Statement]:
    """Give the statements that delete what a unit says is of no more use."""
    for forget in unit.forgets:
        table = TABLES[forget.kind]
        where = forgotten_where(forget.kind, "%s")
        old = f"SELECT id FROM {table} WHERE {where} LIMIT %s"  # noqa: S608 (names of our own columns)
        sql = f"DELETE FROM {table} WHERE id IN ({old})"  # noqa: S608 (names of our own columns)
        yield sql.encode(), (forget.before, forget.limit)


def to_json(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Give rows as the JSON that `jsonb_populate_recordset` reads."""
    values = [dict(zip(columns, row, strict=True)) for row in rows]
    return orjson.dumps(values, default=_hex).decode()


def _pack(columns: Sequence[str], rows: Iterable[Any]) -> str:
    return to_json(columns, map(attrgetter(*columns), rows))


def _hex(value: Any) -> str:
    """Write bytes as PostgreSQL reads them."""
    if isinstance(value, bytes):
        return f"\\x{value.hex()}"
    raise TypeError(type(value).__name__)


def _of_transactions(
    units: Sequence[UnitOfWork], opens: Sequence[StoredTransaction]
) -> Iterator[Question]:
    ids = {each.id for each in opens}
    ids |= {move.id for unit in units for move in unit.moves}
    if ids:
        keys = [each.dedup_key for each in opens]
        yield Question((_TRANSACTIONS, (list(ids), keys)), _take_transactions)
    terminals = {each.terminal_id for each in opens}
    terminals |= {unit.batch.terminal_id for unit in units if unit.batch}
    if terminals:
        yield Question((_BATCHES, (list(terminals),)), _take_batches)


def _of_ledger(changes: Sequence[Change]) -> Iterator[Question]:
    holds = {change.id for change in changes}
    holds |= {change.of for change in changes if isinstance(change, Place)}
    holds |= {change.by for change in changes if isinstance(change, Capture)}
    if holds:
        yield Question((_HOLDS, (list(holds), list(holds))), _take_holds)
    entries = [f"{each.by}/capture" for each in changes if isinstance(each, Capture)]
    entries += [f"{each.by}/return" for each in changes if isinstance(each, Return)]
    if entries:
        yield Question((_POSTINGS, (entries,)), _take_entries)


def _of_rows(wanted: Iterable[Row]) -> Iterator[Question]:
    ids: dict[type[Any], set[str]] = {}
    for row in wanted:
        ids.setdefault(type(row), set()).add(row.id)
    for kind, row_ids in ids.items():
        sql = _select(TABLES[kind], tuple(kind.__dataclass_fields__), "id = ANY(%s)")
        yield Question((sql, (list(row_ids),)), partial(_take_rows, kind))


def _take_rows(kind: type[R], page: Page, rows: Answers) -> None:
    for row in rows:
        found = to_row(kind, row)
        page.rows[kind, found.id] = found


def _take_transactions(page: Page, rows: Answers) -> None:
    for row in rows:
        found = to_stored_transaction(row)
        page.transactions[found.id] = found
        page.by_dedup_key[found.dedup_key] = found.id


def _take_batches(page: Page, rows: Answers) -> None:
    page.batches.update(dict(rows.fetchall()))


def _take_holds(page: Page, rows: Answers) -> None:
    for row in rows:
        found = to_hold(row)
        page.holds[found.id] = found


def _take_entries(page: Page, rows: Answers) -> None:
    page.ledger.update({entry.id: entry for entry in to_entries(rows)})


def _take_days(page: Page, rows: Answers) -> None:
    page.days.update({day.date: day for day in map(to_day, rows)})


def _take_saf(page: Page, rows: Answers) -> None:
    page.saf.update({entry.id: entry for entry in map(to_saf_entry, rows)})


def _take_last_saf(page: Page, rows: Answers) -> None:
    page.last_saf_id = rows.get


def _take_leases(page: Page, rows: Answers) -> None:
    for name, holder, beat in rows:
        page.leases[name] = Lease(name=name, holder=holder, beat=beat)


def _take_transfers(page: Page, rows: Answers) -> None:
    page.transfers.update({each.id: each for each in map(to_transfer, rows)})


def _select(table: str, columns: Sequence[str], where: str) -> bytes:
    return f"SELECT {', '.join(columns)} FROM {table} WHERE {where}".encode()  # noqa: S608 (names of our own columns)


def _insert(table: str, columns: Sequence[str]) -> str:
    names = ", ".join(columns)
    return (
        f"INSERT INTO {table} ({names}) SELECT {names} "  # noqa: S608 (names of our own columns)
        f"FROM jsonb_populate_recordset(NULL::{table}, %s::jsonb)"
    )


def _put(table: str, columns: Sequence[str], key: Sequence[str]) -> bytes:
    """Insert rows, or put them in the place of those with the same key."""
    changes = ", ".join(
        f"{name} = excluded.{name}" for name in columns if name not in key
    )
    return (
        f"{_insert(table, columns)} "
        f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {changes}"
    ).encode()


def _columns(names: Sequence[str]) -> Callable[[Any], Sequence[Any]]:
    return attrgetter(*names)


@dataclass(frozen=True, slots=True)
class _Written:
    """A table of a page, and how its changed rows are put."""

    page: str
    columns: Sequence[str]
    rows: Callable[[Any], Iterable[Sequence[Any]]]
    statement: bytes


def _written(
    table: str,
    columns: Sequence[str],
    row: Callable[[Any], Sequence[Any]] | None = None,
    *,
    key: Sequence[str] = ("id",),
) -> _Written:
    give = row or _columns(columns)
    return _Written(
        table, columns, lambda each: (give(each),), _put(table, columns, key)
    )


_LEASE_COLUMNS = tuple(Lease.__dataclass_fields__)
_BATCH_COLUMNS = ("terminal_id", "number")
_POSTING_COLUMNS = (
    "entry_id",
    "account",
    "currency",
    "minor",
    "transaction_id",
    "business_date",
)
_WRITTEN: tuple[_Written, ...] = (
    _written("saf", SAF_COLUMNS),
    _written("holds", HOLD_COLUMNS),
    # Oldest first: a day is cut before the next one opens, as one alone may be open.
    _written("days", DAY_COLUMNS, key=("date",)),
    _written(
        "reconciliations",
        RECONCILIATION_COLUMNS,
        key=("business_date", "endpoint", "currency"),
    ),
    _written("transfers", TRANSFER_COLUMNS, transfer_row),
    _written("leases", _LEASE_COLUMNS, key=("name",)),
    _written("stand_ins", STAND_IN_COLUMNS, key=("transaction_id",)),
    # An entry is never changed, and the table would not let it.
    _Written(
        "ledger",
        _POSTING_COLUMNS,
        posting_rows,
        _insert("postings", _POSTING_COLUMNS).encode(),
    ),
)
_TRANSACTIONS = _select(
    "transactions", TRANSACTION_COLUMNS, "id = ANY(%s) OR dedup_key = ANY(%s)"
)
_BATCHES = _select("batches", _BATCH_COLUMNS, "terminal_id = ANY(%s)")
# With each hold the one that it gives money back of.
_HOLDS = b" UNION ALL ".join(
    (
        _select("holds", HOLD_COLUMNS, "id = ANY(%s)"),
        _select(
            "holds",
            HOLD_COLUMNS,
            "id = ANY(ARRAY(SELECT of FROM holds WHERE id = ANY(%s) AND of <> ''))",
        ),
    )
)
_POSTINGS = _select(
    "postings",
    _POSTING_COLUMNS,
    "entry_id = ANY(%s) ORDER BY entry_id",
)
_DAYS = _select(
    "days",
    DAY_COLUMNS,
    f"state <> '{DayState.CLOSED}' OR date = ANY(%s) ORDER BY date",
)
_SAF = _select("saf", SAF_COLUMNS, "id = ANY(%s)")
_LAST_SAF = b"SELECT coalesce(max(id), 0) FROM saf"
_LEASES = _select("leases", _LEASE_COLUMNS, "TRUE")
_TRANSFERS = _select("transfers", TRANSFER_COLUMNS, "id = ANY(%s)")
_INSERT_TRANSACTIONS = _insert("transactions", TRANSACTION_COLUMNS).encode()
_MOVE_TRANSACTIONS = (
    f"UPDATE transactions SET {', '.join(f'{name} = r.{name}' for name in MOVING)} "  # noqa: S608 (names of our own columns)
    "FROM jsonb_populate_recordset(NULL::transactions, %s::jsonb) AS r "
    "WHERE transactions.id = r.id"
).encode()
_PUT_BATCHES = _put("batches", _BATCH_COLUMNS, ("terminal_id",))
_DELETE_LEASES = b"DELETE FROM leases WHERE name = ANY(%s)"
