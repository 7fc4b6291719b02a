"""What a store can be asked, by plain synchronous calls.

The command line reads with `open_reader` while a switch runs; the switch's own store
asks through the same class from a thread.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import apsw

from isoswitch.clearing.receipt import Receipt
from isoswitch.clearing.transfer import FINAL_STATES, Transfer
from isoswitch.codecs.canonical.codes import ResponseCode
from isoswitch.codecs.canonical.errors import StoreUnavailable
from isoswitch.codecs.canonical.totals import TotalsLine
from isoswitch.journal.chain import GENESIS, Link, decode_record
from isoswitch.journal.records import ChainedRecord, RecordKind
from isoswitch.ledger.entries import Entry
from isoswitch.ledger.holds import Hold
from isoswitch.store.days import BusinessDay
from isoswitch.store.place import DatabaseUrl, Place, needing_extra
from isoswitch.store.port import (
    LIMIT_MAX,
    Lease,
    Reconciliation,
    SafEntry,
    SafState,
    StoredTransaction,
    TransactionState,
    Verdict,
)
from isoswitch.store.rows import TABLES, R, to_row
from isoswitch.store.schema import (
    DAY_COLUMNS,
    HOLD_COLUMNS,
    RECONCILIATION_COLUMNS,
    SAF_COLUMNS,
    TRANSACTION_COLUMNS,
    TRANSFER_COLUMNS,
    connect_reader,
    to_day,
    to_entries,
    to_hold,
    to_reconciliation,
    to_saf_entry,
    to_stored_transaction,
    to_transfer,
)
from isoswitch.store.standins import CardUse, Exposure, StandIn, Usage
from isoswitch.store.takings import ISSUER_ACCOUNTS, Taking, gather_totals

SELECT_TRANSACTIONS = f"SELECT {', '.join(TRANSACTION_COLUMNS)} FROM transactions"  # noqa: S608 (names of our own columns)
SELECT_SAF = f"SELECT {', '.join(SAF_COLUMNS)} FROM saf"  # noqa: S608 (names of our own columns)
_FINAL = ", ".join(f"'{state}'" for state in sorted(FINAL_STATES))
# An outcome is kept as JSON that begins with its code.
IS_APPROVED = " OR ".join(
    f"""outcome LIKE '{{"code":"{code}"%'"""
    for code in ResponseCode
    if code.is_approval
)
SELECT_HOLDS = f"SELECT {', '.join(HOLD_COLUMNS)} FROM holds"  # noqa: S608 (names of our own columns)
SELECT_DAYS = f"SELECT {', '.join(DAY_COLUMNS)} FROM days ORDER BY date"  # noqa: S608 (names of our own columns)
SELECT_TOTALS = """
    SELECT p.account, t.terminal_id, p.currency, p.entry_id LIKE '%/return',
        p.minor > 0, count(*), sum(abs(p.minor))
    FROM postings p JOIN transactions t ON t.id = p.transaction_id
    WHERE {where} AND p.account LIKE 'issuer/%'
    GROUP BY 1, 2, 3, 4, 5
"""
SELECT_RECONCILIATIONS = f"""
    SELECT {", ".join(RECONCILIATION_COLUMNS)} FROM reconciliations
"""  # noqa: S608 (names of our own columns)
SELECT_POSTINGS = (
    "SELECT entry_id, account, currency, minor, transaction_id, business_date "
    "FROM postings"
)
UNREVERSED = (
    "coalesce(sum(CASE WHEN reversed THEN 0 ELSE stand_ins.amount_minor END), 0)"
)
SELECT_JOURNAL = "SELECT seq, record, hash FROM journal"
SELECT_HEAD = f"{SELECT_JOURNAL} ORDER BY seq DESC LIMIT 1"
LINKS_PER_PAGE = 10_000


class Answers(Protocol):
    """The rows that a statement gives, each a tuple."""

    @property
    def get(self) -> Any:
        """The first row, without its tuple when it has one column, or None."""

    def fetchall(self) -> list[Any]:
        """Give all rows."""
        ...

    def __iter__(self) -> Iterator[Any]:
        """Give row by row."""
        ...


class Connection(Protocol):
    """What a reader asks: a connection of SQLite, or of PostgreSQL made like one."""

    def execute(self, sql: str, values: Any = ..., /) -> Answers:
        """Run a statement with a value for every question mark."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """How much a store holds: transactions and SAF entries by state, and the head."""

    last_seq: int
    head: bytes
    transactions: Mapping[TransactionState, int]
    saf: Mapping[SafState, int]


class StoreReader:
    """Questions to a store over one connection; not for two threads at a time."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def find_transaction(self, transaction_id: str) -> StoredTransaction | None:
        """Find a transaction by id."""
        return self._one_transaction("id = ?", transaction_id)

    def find_by_dedup_key(self, dedup_key: str) -> StoredTransaction | None:
        """Find the transaction that holds a dedup key."""
        return self._one_transaction("dedup_key = ?", dedup_key)

    def find_originals(self, terminal_id: str, stan: str) -> list[StoredTransaction]:
        """Give the transactions of a terminal with this STAN, newest first."""
        return self.transactions(terminal_id=terminal_id, stan=stan, limit=LIMIT_MAX)

    def transactions(
        self,
        *,
        terminal_id: str | None = None,
        stan: str | None = None,
        rrn: str | None = None,
        state: TransactionState | None = None,
        business_date: str | None = None,
        original_id: str | None = None,
        limit: int = 100,
    ) -> list[StoredTransaction]:
        """Give the transactions that meet every filter, newest first."""
        filters = {
            "terminal_id": terminal_id,
            "stan": stan,
            "rrn": rrn,
            "state": state,
            "business_date": business_date,
            "original_id": original_id,
        }
        asked = {name: value for name, value in filters.items() if value is not None}
        where = " AND ".join(f"{name} = ?" for name in asked) or "TRUE"
        return [
            to_stored_transaction(row)
            for row in self._connection.execute(
                f"{SELECT_TRANSACTIONS} WHERE {where} ORDER BY rowid DESC LIMIT ?",
                (*asked.values(), limit),
            )
        ]

    def find_by_rrn(self, rrn: str) -> list[StoredTransaction]:
        """Give the transactions with this RRN, newest first."""
        return self.transactions(rrn=rrn, limit=LIMIT_MAX)

    def find_hold(self, hold_id: str) -> Hold | None:
        """Find a hold."""
        rows = self._connection.execute(
            f"{SELECT_HOLDS} WHERE id = ?", (hold_id,)
        ).fetchall()
        return to_hold(rows[0]) if rows else None

    def find_entry(self, entry_id: str) -> Entry | None:
        """Find an entry of the ledger."""
        rows = self._connection.execute(
            f"{SELECT_POSTINGS} WHERE entry_id = ?", (entry_id,)
        ).fetchall()
        return to_entries(rows)[0] if rows else None

    def expired_holds(self, now: str) -> list[Hold]:
        """Give the open holds whose time was over at a UTC instant."""
        return [
            to_hold(row)
            for row in self._connection.execute(
                f"{SELECT_HOLDS} WHERE state = 'open' AND expires_at <> '' "
                "AND expires_at <= ? ORDER BY expires_at",
                (now,),
            )
        ]

    def entries(self, business_date: str) -> list[Entry]:
        """Give the entries of a business day in the order of their ids."""
        return to_entries(
            self._connection.execute(
                f"{SELECT_POSTINGS} WHERE business_date = ? ORDER BY entry_id",
                (business_date,),
            )
        )

    def days(self) -> list[BusinessDay]:
        """Give the business days, oldest first."""
        return [to_day(row) for row in self._connection.execute(SELECT_DAYS)]

    def has_open(self, business_date: str) -> bool:
        """Whether a transaction of a day is not closed yet."""
        found = self._connection.execute(
            "SELECT 1 FROM transactions "
            "WHERE state <> 'closed' AND business_date = ? LIMIT 1",
            (business_date,),
        ).get
        return found is not None

    def day_totals(self, business_date: str) -> list[TotalsLine]:
        """Give what a day's entries come to."""
        return self._totals("p.business_date = ?", business_date)

    def standing_of_card(
        self,
        pan_hash: str,
        *,
        kinds: Collection[str],
        verifications: Collection[str],
        limit: int,
    ) -> list[StoredTransaction]:
        """Give an account's last approvals that stand, newest first.

        Of some kinds, and where the holder was verified in one of some ways.
        """
        of_kind, verified = (
            ", ".join("?" * len(each)) for each in (kinds, verifications)
        )
        return [
            to_stored_transaction(row)
            for row in self._connection.execute(
                f"{SELECT_TRANSACTIONS} WHERE pan_hash = ? AND verification <> '' "
                f"AND kind IN ({of_kind}) AND verification IN ({verified}) "
                f"AND NOT reversed AND ({IS_APPROVED}) ORDER BY rowid DESC LIMIT ?",
                (pan_hash, *kinds, *verifications, limit),
            )
        ]

    def find_batch(self, terminal_id: str) -> int:
        """Give the number of a terminal's open batch."""
        number: int | None = self._connection.execute(
            "SELECT number FROM batches WHERE terminal_id = ?", (terminal_id,)
        ).get
        return number or 1

    def batches(self) -> dict[str, int]:
        """Give the open batch of every terminal that closed one."""
        return dict(self._connection.execute("SELECT terminal_id, number FROM batches"))

    def batch_transactions(
        self, terminal_id: str, since: int, *, currency: str = ""
    ) -> list[StoredTransaction]:
        """Give a terminal's transactions from a batch on in their order."""
        where = "terminal_id = ? AND batch >= ?"
        values: tuple[str | int, ...] = (terminal_id, since)
        if currency:
            where, values = f"{where} AND currency IN (?, '')", (*values, currency)
        return [
            to_stored_transaction(row)
            for row in self._connection.execute(
                f"{SELECT_TRANSACTIONS} WHERE {where} ORDER BY rowid", values
            )
        ]

    def batch_totals(self, terminal_id: str, since: int) -> list[TotalsLine]:
        """Give what a terminal's entries from a batch on come to."""
        return self._totals("t.terminal_id = ? AND t.batch >= ?", terminal_id, since)

    def reconciliations(self, business_date: str = "") -> list[Reconciliation]:
        """Give those of a day, or all that are owed."""
        where, value = (
            ("business_date = ?", business_date)
            if business_date
            else ("verdict = ?", Verdict.OWED)
        )
        return [
            to_reconciliation(row)
            for row in self._connection.execute(
                f"{SELECT_RECONCILIATIONS} WHERE {where} "
                "ORDER BY business_date, endpoint, currency",
                (value,),
            )
        ]

    def _totals(self, where: str, *values: str | int) -> list[TotalsLine]:
        return gather_totals(
            Taking(
                endpoint=account.removeprefix(ISSUER_ACCOUNTS),
                terminal_id=terminal_id,
                currency=currency,
                is_return=bool(is_return),
                is_debit=bool(is_debit),
                count=count,
                minor=minor,
            )
            for account, terminal_id, currency, is_return, is_debit, count, minor in (
                self._connection.execute(SELECT_TOTALS.format(where=where), values)
            )
        )

    def stand_in_usage(self, stand_in: StandIn) -> Usage:
        """Give what is used of the limits of an approval in an issuer's place."""
        card_count, card_minor = self._connection.execute(
            f"SELECT count(*), {UNREVERSED} FROM stand_ins "  # noqa: S608 (a constant)
            "JOIN transactions ON id = transaction_id "
            "WHERE stand_ins.pan_hash = ? AND stand_ins.business_date = ? "
            "AND stand_ins.currency = ?",
            (stand_in.pan_hash, stand_in.business_date, stand_in.currency),
        ).get
        total_minor = sum(
            each.minor
            for each in self.exposures()
            if (each.endpoint, each.currency) == (stand_in.endpoint, stand_in.currency)
        )
        return Usage(
            card_count=card_count, card_minor=card_minor, total_minor=total_minor
        )

    def exposures(self) -> list[Exposure]:
        """Give what was approved in place of endpoints that they do not know yet."""
        return [
            Exposure(
                profile=profile,
                endpoint=endpoint,
                currency=currency,
                count=count,
                minor=minor,
            )
            for profile, endpoint, currency, count, minor in self._connection.execute(
                "SELECT profile, stand_ins.endpoint, stand_ins.currency, "
                "count(*), sum(stand_ins.amount_minor) "
                "FROM saf JOIN stand_ins USING (transaction_id) "
                "JOIN transactions ON transactions.id = transaction_id "
                "WHERE message = 'advice' "
                "AND saf.state IN ('pending', 'quarantined') AND NOT reversed "
                "GROUP BY 1, 2, 3 ORDER BY 2, 1, 3"
            )
        ]

    def stand_in_cards(self, business_date: str) -> list[CardUse]:
        """Give what each card got on a day in its issuer's place, most first."""
        return [
            CardUse(
                pan_masked=masked,
                profile=profile,
                endpoint=endpoint,
                currency=currency,
                count=count,
                minor=minor,
            )
            for masked, profile, endpoint, currency, count, minor in (
                self._connection.execute(
                    "SELECT max(pan_masked), profile, stand_ins.endpoint, "  # noqa: S608 (a constant)
                    f"stand_ins.currency, count(*), {UNREVERSED} FROM stand_ins "
                    "JOIN transactions ON id = transaction_id "
                    "WHERE stand_ins.business_date = ? "
                    "GROUP BY stand_ins.pan_hash, 2, 3, 4 ORDER BY 6 DESC, 1",
                    (business_date,),
                )
            )
        ]

    def find_transfer(self, uetr: str) -> Transfer | None:
        """Find a transfer by its unique end-to-end reference."""
        return next(self._transfers("uetr = ?", uetr), None)

    def find_transfer_of(self, transfer_id: str) -> Transfer | None:
        """Find the transfer of a transaction."""
        return next(self._transfers("id = ?", transfer_id), None)

    def open_transfers(self) -> list[Transfer]:
        """Give the transfers of which something is still expected, oldest first."""
        return list(self._transfers(f"state NOT IN ({_FINAL}) ORDER BY created_at"))

    def transfers(self) -> list[Transfer]:
        """Give all transfers, oldest first."""
        return list(self._transfers("TRUE ORDER BY created_at"))

    def find_receipt(self, transaction_id: str) -> Receipt | None:
        """Find a transfer that was received by our own name for it."""
        return next(self._rows(Receipt, "transaction_id = ?", transaction_id), None)

    def find_row(self, kind: type[R], row_id: str) -> R | None:
        """Find a payment code, its payment, a stored answer or a callback."""
        return next(self._rows(kind, "id = ?", row_id), None)

    def find_rows(self, kind: type[R], *, state: str = "") -> list[R]:
        """Give the rows of a kind in a state, or all, by id."""
        if not state:
            return list(self._rows(kind, "TRUE ORDER BY id"))
        return list(self._rows(kind, "state = ? ORDER BY id", state))

    def _rows(self, kind: type[R], where: str, *values: str) -> Iterator[R]:
        columns = ", ".join(kind.__dataclass_fields__)
        for row in self._connection.execute(
            f"SELECT {columns} FROM {TABLES[kind]} WHERE {where}",  # noqa: S608 (names of our own columns)
            values,
        ):
            yield to_row(kind, row)

    def _transfers(self, where: str, *values: str) -> Iterator[Transfer]:
        for row in self._connection.execute(
            f"SELECT {', '.join(TRANSFER_COLUMNS)} FROM transfers WHERE {where}",  # noqa: S608 (names of our own columns)
            values,
        ):
            yield to_transfer(row)

    def open_transactions(self) -> list[StoredTransaction]:
        """Give every transaction that is not closed, oldest first."""
        return [
            to_stored_transaction(row)
            for row in self._connection.execute(
                f"{SELECT_TRANSACTIONS} WHERE state <> 'closed' ORDER BY rowid"
            )
        ]

    def saf(self, state: SafState | None = None) -> list[SafEntry]:
        """Give the store-and-forward entries, of one state or all, in their order."""
        return self._saf("state = ?", state) if state else self._saf("TRUE")

    def pending_saf(
        self, *, after_id: int, without: Collection[str], limit: int
    ) -> list[SafEntry]:
        """Give pending store-and-forward entries in order; see `Store.pending_saf`."""
        # The state stands in the words: only so an index of what is pending serves.
        where = f"state = 'pending' AND id > ?{' AND endpoint <> ?' * len(without)}"
        return self._saf(where, after_id, *without, limit=limit)

    def is_owed(self, endpoint: str, *, until: str) -> bool:
        """Whether something of a day or of one before is owed to an endpoint."""
        where = "state = 'pending' AND endpoint = ? AND business_date <= ?"
        return bool(self._saf(where, endpoint, until, limit=1))

    def find_saf(self, entry_id: int) -> SafEntry | None:
        """Find a store-and-forward entry, whatever its state."""
        return next(iter(self._saf("id = ?", entry_id)), None)

    def _saf(
        self, where: str, *values: str | int, limit: int = LIMIT_MAX
    ) -> list[SafEntry]:
        select = f"{SELECT_SAF} WHERE {where} ORDER BY id LIMIT ?"
        rows = self._connection.execute(select, (*values, limit))
        return [to_saf_entry(row) for row in rows]

    def of_kinds(self, *kinds: RecordKind) -> list[ChainedRecord]:
        """Give every record of some kinds in order; reads the whole journal."""
        marks = ", ".join("?" * len(kinds))
        return [
            ChainedRecord(seq=seq, record=decode_record(record), hash=digest)
            for seq, record, digest in self._connection.execute(
                f"{SELECT_JOURNAL} WHERE record ->> 'kind' IN ({marks}) ORDER BY seq",
                kinds,
            )
        ]

    def leases(self) -> list[Lease]:
        """Give every lease that somebody holds, by name."""
        return [
            Lease(name=name, holder=holder, beat=beat)
            for name, holder, beat in self._connection.execute(
                "SELECT name, holder, beat FROM leases ORDER BY name"
            )
        ]

    def records(
        self,
        transaction_id: str | None = None,
        *,
        after_seq: int = 0,
        limit: int = 1000,
    ) -> list[ChainedRecord]:
        """Give journal records in order, of one transaction or of all."""
        where, values = (
            ("transaction_id = ? AND", (transaction_id,))
            if transaction_id is not None
            else ("", ())
        )
        return [
            ChainedRecord(seq=seq, record=decode_record(record), hash=digest)
            for seq, record, digest in self._connection.execute(
                f"{SELECT_JOURNAL} WHERE {where} seq > ? ORDER BY seq LIMIT ?",
                (*values, after_seq, limit),
            )
        ]

    def records_of_day(self, business_date: str) -> Iterator[ChainedRecord]:
        """Give the records of the transactions of a business day, in order."""
        for seq, record, digest in self._connection.execute(
            f"{SELECT_JOURNAL} WHERE transaction_id IN "  # noqa: S608 (a constant)
            "(SELECT id FROM transactions WHERE business_date = ?) ORDER BY seq",
            (business_date,),
        ):
            yield ChainedRecord(seq=seq, record=decode_record(record), hash=digest)

    def links(self, *, after_seq: int = 0) -> Iterator[Link]:
        """Walk the journal as it is stored, from after ``after_seq`` to its end."""
        while page := self._connection.execute(
            f"{SELECT_JOURNAL} WHERE seq > ? ORDER BY seq LIMIT ?",
            (after_seq, LINKS_PER_PAGE),
        ).fetchall():
            for seq, record, digest in page:
                yield Link(seq=seq, encoded=record.encode(), hash=digest)
            after_seq = page[-1][0]

    def checkpoints(self) -> list[ChainedRecord]:
        """Give the checkpoint records in order."""
        found = []
        for seq, text, digest in self._connection.execute(
            f"{SELECT_JOURNAL} WHERE CAST(record AS TEXT) "
            """LIKE '%"kind":"checkpoint"%' ORDER BY seq"""
        ):
            try:
                record = decode_record(text)
            except ValueError:
                # No record that was ever written; the walk along the chain says so.
                continue
            if record.kind is RecordKind.CHECKPOINT:
                found.append(ChainedRecord(seq=seq, record=record, hash=digest))
        return found

    def head(self) -> tuple[int, bytes]:
        """Give the last sequence of the journal and its hash."""
        row: tuple[int, str, bytes] | None = self._connection.execute(SELECT_HEAD).get
        return (row[0], row[2]) if row else (0, GENESIS)

    def totals(self) -> Totals:
        """Count what the store holds."""
        last_seq, head = self.head()
        transactions = self._counts("transactions")
        saf = self._counts("saf")
        return Totals(
            last_seq=last_seq,
            head=head,
            transactions={
                state: transactions.get(state, 0) for state in TransactionState
            },
            saf={state: saf.get(state, 0) for state in SafState},
        )

    def _counts(self, table: str) -> dict[str, int]:
        return dict(
            self._connection.execute(
                f"SELECT state, count(*) FROM {table} GROUP BY state"  # noqa: S608 (two literals above)
            )
        )

    def _one_transaction(self, where: str, value: str) -> StoredTransaction | None:
        rows: list[tuple[Any, ...]] = self._connection.execute(
            f"{SELECT_TRANSACTIONS} WHERE {where}", (value,)
        ).fetchall()
        return to_stored_transaction(rows[0]) if rows else None


@contextmanager
def open_reader(place: Place) -> Iterator[StoreReader]:
    """Open a store for reading, also while a switch writes to it.

    Raises
    ------
    StoreUnavailable
        There is no store of this version, or it cannot be read.
    """
    with open_connection(place) as connection:
        yield StoreReader(connection)


@contextmanager
def open_connection(place: Place) -> Iterator[Connection]:
    """Open a store for questions in SQL; raises as `open_reader` does."""
    if isinstance(place, DatabaseUrl):
        with needing_extra(place):
            from isoswitch.store.postgres.reading import open_postgres  # noqa: PLC0415
        with open_postgres(place) as answering:
            yield answering
        return
    connection = connect_reader(place)
    try:
        yield connection
    except apsw.Error as exc:
        msg = f"store {place} cannot be read: {exc}"
        raise StoreUnavailable(msg) from exc
    finally:
        connection.close()
