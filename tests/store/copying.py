"""Gives a simulated store the tables of a real one, so that it can be inspected."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from isoswitch.store.disk import MemoryDisk, read_record
from isoswitch.store.schema import (
    HOLD_COLUMNS,
    SAF_COLUMNS,
    TRANSACTION_COLUMNS,
    TRANSFER_COLUMNS,
    connect_writer,
    hold_row,
    posting_rows,
    saf_row,
    transaction_row,
    transfer_row,
)

JOURNAL_COLUMNS = ("seq", "transaction_id", "record", "hash")
POSTING_COLUMNS = (
    "entry_id",
    "account",
    "currency",
    "minor",
    "transaction_id",
    "business_date",
)
STAND_IN_COLUMNS = (
    "transaction_id",
    "profile",
    "endpoint",
    "pan_hash",
    "business_date",
    "currency",
    "amount_minor",
)


def copy_disk(disk: MemoryDisk, path: Path) -> None:
    """Write what an inspection compares into a new store."""
    links = [
        (
            each.seq,
            read_record(each.encoded).transaction_id,
            each.encoded.decode(),
            each.hash,
        )
        for each in disk.links
    ]
    postings = [row for each in disk.ledger.values() for row in posting_rows(each)]
    stand_ins = [
        tuple(getattr(each, name) for name in STAND_IN_COLUMNS)
        for each in disk.stand_ins.values()
    ]
    rows: dict[str, tuple[tuple[str, ...], Iterable[tuple[Any, ...]]]] = {
        "journal": (JOURNAL_COLUMNS, links),
        "transactions": (
            TRANSACTION_COLUMNS,
            map(transaction_row, disk.transactions.values()),
        ),
        "saf": (SAF_COLUMNS, map(saf_row, disk.saf.values())),
        "holds": (HOLD_COLUMNS, map(hold_row, disk.holds.values())),
        "postings": (POSTING_COLUMNS, postings),
        "transfers": (TRANSFER_COLUMNS, map(transfer_row, disk.transfers.values())),
        "stand_ins": (STAND_IN_COLUMNS, stand_ins),
    }
    connection = connect_writer(path)
    with connection:
        for table, (columns, values) in rows.items():
            places = ", ".join("?" * len(columns))
            statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})"
            connection.executemany(statement, values)
    connection.close()
