"""The SQLite schema, its migrations, and the only way a connection is opened.

``journal.record`` holds the canonical JSON that the hash covers; ``transaction_id``
beside it is a copy for look-ups. Rows of ``transactions`` and ``saf`` follow from the
journal and are changed together with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any

import apsw

from isoswitch.clearing.transfer import Transfer, TransferState
from isoswitch.codecs.canonical.errors import NoStore, StoreUnavailable
from isoswitch.codecs.canonical.money import Money
from isoswitch.ledger.entries import Entry, Posting
from isoswitch.ledger.holds import Hold, HoldState
from isoswitch.store.days import BusinessDay, DayState
from isoswitch.store.port import (
    Reconciliation,
    SafEntry,
    SafMessage,
    SafState,
    StoredTransaction,
    TransactionState,
    Verdict,
)

# Releases up to 3.51.2 can lose committed writes when the write-ahead log restarts
# (sqlite.org/wal.html#walresetbug).
SQLITE_VERSION_MIN = (3, 51, 3)
SYNCHRONOUS_FULL = 2
BUSY_TIMEOUT_MS = 250

TRANSACTION_COLUMNS = tuple(StoredTransaction.__dataclass_fields__)
SAF_COLUMNS = tuple(SafEntry.__dataclass_fields__)
HOLD_COLUMNS = tuple(Hold.__dataclass_fields__)
DAY_COLUMNS = tuple(BusinessDay.__dataclass_fields__)
TRANSFER_COLUMNS = tuple(Transfer.__dataclass_fields__)
RECONCILIATION_COLUMNS = tuple(Reconciliation.__dataclass_fields__)

# Position in the tuple is the version that the step leads to.
MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE journal (
        seq INTEGER PRIMARY KEY,
        transaction_id TEXT NOT NULL,
        record TEXT NOT NULL,
        hash BLOB NOT NULL
    ) STRICT;
    CREATE INDEX journal_by_transaction ON journal (transaction_id);
    CREATE TRIGGER journal_is_not_changed BEFORE UPDATE ON journal
        BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
    CREATE TRIGGER journal_is_not_cut BEFORE DELETE ON journal
        BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;

    CREATE TABLE transactions (
        id TEXT NOT NULL UNIQUE,
        dedup_key TEXT NOT NULL UNIQUE,
        fingerprint TEXT NOT NULL,
        kind TEXT NOT NULL,
        state TEXT NOT NULL,
        node TEXT NOT NULL,
        business_date TEXT NOT NULL,
        opened_at TEXT NOT NULL,
        terminal_id TEXT NOT NULL,
        merchant_id TEXT NOT NULL,
        stan TEXT NOT NULL,
        rrn TEXT NOT NULL,
        local_at TEXT NOT NULL,
        pan_masked TEXT NOT NULL,
        pan_hash TEXT NOT NULL,
        amount_minor INTEGER NOT NULL,
        currency TEXT NOT NULL,
        endpoint TEXT NOT NULL,
        outcome TEXT NOT NULL,
        sealed BLOB NOT NULL,
        reversed INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX transactions_by_stan ON transactions (terminal_id, stan);
    CREATE INDEX transactions_open ON transactions (state) WHERE state <> 'closed';

    CREATE TABLE saf (
        id INTEGER PRIMARY KEY,
        transaction_id TEXT NOT NULL,
        endpoint TEXT NOT NULL,
        order_key TEXT NOT NULL,
        sealed BLOB NOT NULL,
        attempts INTEGER NOT NULL,
        next_at REAL NOT NULL,
        state TEXT NOT NULL,
        reason TEXT NOT NULL
    ) STRICT;
    CREATE INDEX saf_pending ON saf (state) WHERE state = 'pending';
    """,
    """
    ALTER TABLE transactions ADD COLUMN original_id TEXT NOT NULL DEFAULT '';
    CREATE INDEX transactions_by_rrn ON transactions (rrn);

    ALTER TABLE saf ADD COLUMN message TEXT NOT NULL DEFAULT 'reversal';
    ALTER TABLE saf ADD COLUMN amount_minor INTEGER;
    ALTER TABLE saf ADD COLUMN remaining_minor INTEGER NOT NULL DEFAULT 0;

    CREATE TABLE holds (
        id TEXT PRIMARY KEY,
        debit TEXT NOT NULL,
        credit TEXT NOT NULL,
        currency TEXT NOT NULL,
        held_minor INTEGER NOT NULL,
        of TEXT NOT NULL,
        captured_minor INTEGER NOT NULL,
        returned_minor INTEGER NOT NULL,
        returning_minor INTEGER NOT NULL,
        state TEXT NOT NULL,
        expires_at TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX holds_expiring ON holds (expires_at)
        WHERE state = 'open' AND expires_at <> '';

    CREATE TABLE postings (
        entry_id TEXT NOT NULL,
        account TEXT NOT NULL,
        currency TEXT NOT NULL,
        minor INTEGER NOT NULL,
        transaction_id TEXT NOT NULL,
        business_date TEXT NOT NULL,
        PRIMARY KEY (entry_id, account, currency)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX postings_by_date ON postings (business_date, account);
    CREATE TRIGGER postings_are_not_changed BEFORE UPDATE ON postings
        BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
    CREATE TRIGGER postings_are_not_cut BEFORE DELETE ON postings
        BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
    """,
    """
    CREATE TABLE leases (
        name TEXT PRIMARY KEY,
        holder TEXT NOT NULL,
        beat INTEGER NOT NULL
    ) STRICT;
    """,
    """
    CREATE TABLE days (
        date TEXT PRIMARY KEY,
        state TEXT NOT NULL,
        opened_at TEXT NOT NULL,
        cut_at TEXT NOT NULL,
        closed_at TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE UNIQUE INDEX days_open ON days (state) WHERE state = 'open';
    """,
    """
    ALTER TABLE transactions ADD COLUMN batch INTEGER NOT NULL DEFAULT 1;
    CREATE INDEX transactions_by_batch ON transactions (terminal_id, batch);
    ALTER TABLE saf ADD COLUMN business_date TEXT NOT NULL DEFAULT '';

    CREATE TABLE batches (
        terminal_id TEXT PRIMARY KEY,
        number INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE reconciliations (
        business_date TEXT NOT NULL,
        endpoint TEXT NOT NULL,
        currency TEXT NOT NULL,
        verdict TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        PRIMARY KEY (business_date, endpoint, currency)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX reconciliations_owed ON reconciliations (verdict)
        WHERE verdict = 'owed';
    """,
    """
    CREATE TABLE transfers (
        id TEXT PRIMARY KEY,
        uetr TEXT NOT NULL UNIQUE,
        message_id TEXT NOT NULL,
        end_to_end_id TEXT NOT NULL,
        endpoint TEXT NOT NULL,
        amount TEXT NOT NULL,
        debtor_agent TEXT NOT NULL,
        creditor_agent TEXT NOT NULL,
        merchant_id TEXT NOT NULL,
        created_at TEXT NOT NULL,
        expires_at REAL NOT NULL,
        state TEXT NOT NULL,
        asked INTEGER NOT NULL,
        next_at REAL NOT NULL,
        returned_minor INTEGER NOT NULL,
        reason TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX transfers_open ON transfers (created_at)
        WHERE state NOT IN ('settled', 'rejected', 'returned', 'recall_refused');
    """,
    """
    CREATE TABLE stand_ins (
        transaction_id TEXT PRIMARY KEY,
        profile TEXT NOT NULL,
        endpoint TEXT NOT NULL,
        pan_hash TEXT NOT NULL,
        business_date TEXT NOT NULL,
        currency TEXT NOT NULL,
        amount_minor INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX stand_ins_by_card ON stand_ins (pan_hash, business_date);
    CREATE INDEX saf_untold ON saf (transaction_id)
        WHERE message = 'advice' AND state IN ('pending', 'quarantined');
    """,
    """
    CREATE TABLE payment_codes (
        id TEXT PRIMARY KEY,
        merchant_id TEXT NOT NULL,
        terminal_id TEXT NOT NULL,
        text TEXT NOT NULL,
        amount_minor INTEGER NOT NULL,
        currency TEXT NOT NULL,
        reference TEXT NOT NULL,
        created_at TEXT NOT NULL,
        expires_at REAL NOT NULL,
        state TEXT NOT NULL,
        payment_id TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE code_payments (
        id TEXT PRIMARY KEY,
        code_id TEXT NOT NULL,
        merchant_id TEXT NOT NULL,
        wallet TEXT NOT NULL,
        debtor TEXT NOT NULL,
        debtor_account TEXT NOT NULL,
        debtor_agent TEXT NOT NULL,
        reference TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE stored_answers (
        id TEXT PRIMARY KEY,
        digest TEXT NOT NULL,
        resource TEXT NOT NULL,
        status INTEGER NOT NULL,
        body TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE callbacks (
        id TEXT PRIMARY KEY,
        merchant_id TEXT NOT NULL,
        transaction_id TEXT NOT NULL,
        body TEXT NOT NULL,
        created_at REAL NOT NULL,
        next_at REAL NOT NULL,
        expires_at REAL NOT NULL,
        attempts INTEGER NOT NULL,
        state TEXT NOT NULL,
        reason TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX callbacks_pending ON callbacks (state) WHERE state = 'pending';
    """,
    """
    ALTER TABLE transactions ADD COLUMN verification TEXT NOT NULL DEFAULT '';
    CREATE INDEX transactions_by_card ON transactions (pan_hash)
        WHERE verification <> '';
    """,
    """
    CREATE TABLE spent_codes (
        id TEXT PRIMARY KEY,
        transaction_id TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    """,
    """
    ALTER TABLE transfers ADD COLUMN return_ids TEXT NOT NULL DEFAULT '';
    """,
    """
    CREATE TABLE wishes (
        id TEXT PRIMARY KEY,
        client TEXT NOT NULL,
        merchant_id TEXT NOT NULL,
        terminal_id TEXT NOT NULL,
        kind TEXT NOT NULL,
        amount_minor INTEGER NOT NULL,
        currency TEXT NOT NULL,
        reference TEXT NOT NULL,
        created_at TEXT NOT NULL,
        stan TEXT NOT NULL,
        local_at TEXT NOT NULL,
        original_id TEXT NOT NULL,
        state TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX wishes_open ON wishes (state)
        WHERE state IN ('pending', 'cancelling');
    """,
    """
    ALTER TABLE stored_answers ADD COLUMN created_at REAL NOT NULL DEFAULT 0;
    UPDATE stored_answers SET created_at = unixepoch();
    CREATE INDEX stored_answers_by_age ON stored_answers (created_at);
    CREATE INDEX callbacks_by_age ON callbacks (created_at)
        WHERE state <> 'pending';
    """,
    """
    CREATE TABLE card_counters (
        id TEXT PRIMARY KEY,
        atc INTEGER NOT NULL,
        transaction_id TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    """,
    """
    CREATE TABLE receipts (
        id TEXT PRIMARY KEY,
        transaction_id TEXT NOT NULL,
        endpoint TEXT NOT NULL,
        message_id TEXT NOT NULL,
        message_name TEXT NOT NULL,
        uetr TEXT NOT NULL,
        end_to_end_id TEXT NOT NULL,
        their_id TEXT NOT NULL,
        amount_minor INTEGER NOT NULL,
        currency TEXT NOT NULL,
        debtor_agent TEXT NOT NULL,
        creditor_agent TEXT NOT NULL,
        account TEXT NOT NULL,
        digest TEXT NOT NULL,
        received_at TEXT NOT NULL,
        state TEXT NOT NULL,
        reason TEXT NOT NULL,
        return_reason TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        next_at REAL NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX receipts_returning ON receipts (state) WHERE state = 'returning';
    """,
    """
    CREATE TABLE house_items (
        id TEXT PRIMARY KEY,
        endpoint TEXT NOT NULL,
        uetr TEXT NOT NULL,
        sign INTEGER NOT NULL,
        currency TEXT NOT NULL,
        ours_minor INTEGER NOT NULL,
        theirs_minor INTEGER NOT NULL,
        settled_minor INTEGER NOT NULL,
        taken TEXT NOT NULL,
        changed_at REAL NOT NULL,
        state TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX house_items_open ON house_items (state) WHERE state = 'open';

    CREATE TABLE house_windows (
        id TEXT PRIMARY KEY,
        endpoint TEXT NOT NULL,
        currency TEXT NOT NULL,
        settled_minor INTEGER NOT NULL,
        ours_minor INTEGER NOT NULL,
        theirs_minor INTEGER NOT NULL,
        at TEXT NOT NULL,
        state TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    """,
    """
    DROP INDEX saf_pending;
    CREATE INDEX saf_pending ON saf (id) WHERE state = 'pending';
    """,
    # What a completion captured becomes a hold of its own, with what was given back of
    # it: by refunds, which are of it from now on, and by voids and reversals.
    """
    ALTER TABLE holds ADD COLUMN parted_minor INTEGER NOT NULL DEFAULT 0;

    WITH refunded AS (
        SELECT original_id AS id,
            sum(holds.captured_minor - holds.returned_minor) AS returned,
            sum(CASE WHEN holds.state = 'open'
                THEN holds.held_minor - holds.captured_minor ELSE 0 END) AS returning_
        FROM transactions JOIN holds USING (id)
        WHERE kind = 'refund' GROUP BY original_id
    ), undone AS (
        SELECT original_id AS id, sum(postings.minor) AS returned
        FROM transactions JOIN postings
            ON postings.entry_id = transactions.id || '/return' AND postings.minor > 0
        WHERE kind <> 'refund' GROUP BY original_id
    )
    INSERT INTO holds (id, debit, credit, currency, held_minor, of, captured_minor,
        returned_minor, returning_minor, state, expires_at)
    SELECT transactions.id, whole.debit, whole.credit, whole.currency, postings.minor,
        '', postings.minor,
        coalesce(refunded.returned, 0) + coalesce(undone.returned, 0),
        coalesce(refunded.returning_, 0), 'captured', ''
    FROM transactions
    JOIN holds AS whole ON whole.id = transactions.original_id
    JOIN postings ON postings.entry_id = transactions.id || '/capture'
        AND postings.minor > 0
    LEFT JOIN refunded ON refunded.id = transactions.id
    LEFT JOIN undone ON undone.id = transactions.id
    WHERE transactions.kind = 'completion';

    UPDATE holds SET of = (
        SELECT original_id FROM transactions WHERE transactions.id = holds.id
    ) WHERE of <> '' AND id IN (
        SELECT refund.id FROM transactions AS refund
        JOIN transactions AS completion ON completion.id = refund.original_id
        WHERE refund.kind = 'refund' AND completion.kind = 'completion'
    );

    UPDATE holds SET parted_minor = captured_minor, returned_minor = 0,
        returning_minor = 0
    WHERE id IN (SELECT original_id FROM transactions WHERE kind = 'completion');
    """,
    """
    CREATE TABLE settled_batches (
        id TEXT PRIMARY KEY,
        number INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    INSERT INTO settled_batches SELECT terminal_id || '/', number - 1 FROM batches;
    """,
)

transaction_row = attrgetter(*TRANSACTION_COLUMNS)
saf_row = attrgetter(*SAF_COLUMNS)
hold_row = attrgetter(*HOLD_COLUMNS)
day_row = attrgetter(*DAY_COLUMNS)
reconciliation_row = attrgetter(*RECONCILIATION_COLUMNS)


def to_stored_transaction(row: tuple[Any, ...]) -> StoredTransaction:
    """Read a row of ``transactions`` in the order of its columns."""
    fields = dict(zip(TRANSACTION_COLUMNS, row, strict=True))
    fields["state"] = TransactionState(fields["state"])
    fields["reversed"] = bool(fields["reversed"])
    return StoredTransaction(**fields)


def to_saf_entry(row: tuple[Any, ...]) -> SafEntry:
    """Read a row of ``saf`` in the order of its columns."""
    fields = dict(zip(SAF_COLUMNS, row, strict=True))
    fields["state"] = SafState(fields["state"])
    fields["message"] = SafMessage(fields["message"])
    return SafEntry(**fields)


def to_hold(row: tuple[Any, ...]) -> Hold:
    """Read a row of ``holds`` in the order of its columns."""
    fields = dict(zip(HOLD_COLUMNS, row, strict=True))
    fields["state"] = HoldState(fields["state"])
    return Hold(**fields)


def to_day(row: tuple[Any, ...]) -> BusinessDay:
    """Read a row of ``days`` in the order of its columns."""
    fields = dict(zip(DAY_COLUMNS, row, strict=True))
    fields["state"] = DayState(fields["state"])
    return BusinessDay(**fields)


def to_reconciliation(row: tuple[Any, ...]) -> Reconciliation:
    """Read a row of ``reconciliations`` in the order of its columns."""
    fields = dict(zip(RECONCILIATION_COLUMNS, row, strict=True))
    fields["verdict"] = Verdict(fields["verdict"])
    return Reconciliation(**fields)


def to_transfer(row: tuple[Any, ...]) -> Transfer:
    """Read a row of ``transfers`` in the order of its columns."""
    fields = dict(zip(TRANSFER_COLUMNS, row, strict=True))
    minor, currency = fields["amount"].split()
    fields["amount"] = Money(int(minor), currency)
    fields["state"] = TransferState(fields["state"])
    return Transfer(**fields)


def transfer_row(transfer: Transfer) -> tuple[Any, ...]:
    """Give the row of ``transfers`` that a transfer makes."""
    amount = f"{transfer.amount.minor} {transfer.amount.currency}"
    return tuple(
        amount if name == "amount" else getattr(transfer, name)
        for name in TRANSFER_COLUMNS
    )


def to_entries(rows: Iterable[tuple[Any, ...]]) -> list[Entry]:
    """Read rows of ``postings``, those of an entry after one another."""
    by_entry = groupby(rows, key=itemgetter(0, 4, 5))
    return [
        Entry(
            id=entry_id,
            transaction_id=transaction_id,
            business_date=date,
            postings=tuple(
                Posting(account=account, currency=currency, minor=minor)
                for _, account, currency, minor, *_ in group
            ),
        )
        for (entry_id, transaction_id, date), group in by_entry
    ]


def posting_rows(entry: Entry) -> list[tuple[Any, ...]]:
    """Give the rows of ``postings`` that an entry makes."""
    return [
        (
            entry.id,
            posting.account,
            posting.currency,
            posting.minor,
            entry.transaction_id,
            entry.business_date,
        )
        for posting in entry.postings
    ]


def connect_writer(path: Path, *, vfs: str | None = None) -> apsw.Connection:
    """Open a store for its one writer: created, migrated, and durable or refused.

    Raises
    ------
    StoreUnavailable
        The file cannot be opened, is newer than this program, or this SQLite does
        not promise that a commit survives a power cut.
    """
    version = apsw.sqlite_lib_version()
    if tuple(map(int, version.split("."))) < SQLITE_VERSION_MIN:
        msg = f"SQLite {version} can lose commits; install apsw 3.51.3 or later"
        raise StoreUnavailable(msg)
    try:
        connection = apsw.Connection(str(path), vfs=vfs)
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        _make_durable(connection, path)
        _migrate(connection, path)
    except apsw.Error as exc:
        msg = f"store {path} cannot be opened: {exc}"
        raise StoreUnavailable(msg) from exc
    return connection


def connect_reader(path: Path, *, vfs: str | None = None) -> apsw.Connection:
    """Open a store for reading; another process may write to it meanwhile.

    Raises
    ------
    NoStore
        There is no file at this path.
    StoreUnavailable
        It is no store, or not one of this version.
    """
    if not path.exists():
        msg = f"no store at {path}: the switch creates it when it first starts"
        raise NoStore(msg)
    try:
        connection = apsw.Connection(
            str(path), flags=apsw.SQLITE_OPEN_READONLY, vfs=vfs
        )
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        version = connection.pragma("user_version")
    except apsw.Error as exc:
        msg = f"store {path} cannot be read: {exc}"
        raise StoreUnavailable(msg) from exc
    if version != len(MIGRATIONS):
        msg = f"store {path} has schema version {version}, not {len(MIGRATIONS)}"
        raise StoreUnavailable(msg)
    return connection


def _make_durable(connection: apsw.Connection, path: Path) -> None:
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "full")
    # Wiped material is overwritten, not only unlinked.
    connection.pragma("secure_delete", "on")
    mode = connection.pragma("journal_mode")
    level = connection.pragma("synchronous")
    if (mode, level) != ("wal", SYNCHRONOUS_FULL):
        msg = f"store {path} is not durable: journal_mode {mode}, synchronous {level}"
        raise StoreUnavailable(msg)


def _migrate(connection: apsw.Connection, path: Path) -> None:
    """Bring the schema to this program's version, one transaction per step."""
    version = connection.pragma("user_version")
    if version > len(MIGRATIONS):
        msg = (
            f"store {path} has schema version {version}, newer than this program "
            f"knows ({len(MIGRATIONS)}); use the newer program"
        )
        raise StoreUnavailable(msg)
    for target, step in enumerate(MIGRATIONS[version:], start=version + 1):
        with connection:
            connection.execute(step)
            connection.pragma("user_version", target)
