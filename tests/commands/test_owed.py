"""``saf list`` and ``exceptions list`` over a store that a switch may have written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from isoswitch.commands.owed import list_exceptions, list_saf
from isoswitch.journal.records import Record, RecordKind
from isoswitch.store.port import (
    SafEntry,
    SafState,
    SafUpdate,
    StoredTransaction,
    TransactionState,
    UnitOfWork,
)
from isoswitch.store.sqlite import open_sqlite_store

AT = "2026-01-31T12:00:00.000000Z"


def record(kind: RecordKind, **body: object) -> Record:
    """Write down something about the transaction."""
    return Record(kind=kind, transaction_id="1-1", at=AT, body=body)


@pytest.fixture
async def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write the store of the packaged network: two reversals owed, two exceptions."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "var").mkdir()
    row = StoredTransaction(
        id="1-1",
        dedup_key="key",
        fingerprint="",
        kind="purchase",
        state=TransactionState.CLOSED,
        node="sw1",
        business_date="2026-01-31",
        opened_at=AT,
        terminal_id="TERM0001",
        amount_minor=1250,
        currency="978",
    )
    entry = SafEntry(
        transaction_id="1-1", endpoint="south", order_key="", sealed=b"x", attempts=3
    )
    records = (
        record(RecordKind.REVERSAL_OWED, endpoint="south", reason="silent"),
        record(RecordKind.EXCEPTION, reason="other content"),
        record(RecordKind.EXCEPTION, reason="several originals"),
    )
    resolve = record(
        RecordKind.OPERATOR,
        order="resolve exception",
        operator="ann",
        exception=2,
        note="called them",
    )
    async with open_sqlite_store(tmp_path / "var" / "isoswitch.db") as opened:
        unit = UnitOfWork(records=records, opens=(row,), saf_puts=(entry, entry))
        first, _ = (await opened.commit(unit)).saf_entries
        delivered = SafUpdate(
            id=first.id, attempts=4, next_at=0.0, state=SafState.DELIVERED
        )
        await opened.commit(UnitOfWork(records=(resolve,), saf_updates=(delivered,)))
    return tmp_path


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    """Give what was printed as JSON."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


async def test_what_is_owed_is_shown_with_amount_age_and_attempts(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del store
    list_saf(None, everything=False, as_json=True)
    (row,) = lines(capsys)
    assert isinstance(row["age_s"], float)
    assert row.pop("age_s")
    assert row == {
        "entry": 2,
        "transaction": "1-1",
        "endpoint": "south",
        "what": "reversal",
        "amount_minor": 1250,
        "currency": "978",
        "amount": "12.50 EUR",
        "attempts": 3,
        "state": "pending",
        "reason": "",
    }
    list_saf(None, everything=False, as_json=False)
    said = capsys.readouterr().out
    for word in ("south", "12.50 EUR", "3 times", "pending"):
        assert word in said


async def test_what_is_done_is_shown_on_demand(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del store
    list_saf(None, everything=True, as_json=True)
    assert [row["state"] for row in lines(capsys)] == ["delivered", "pending"]


async def test_exceptions_are_shown_until_they_are_resolved(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del store
    list_exceptions(None, everything=False, as_json=True)
    (row,) = lines(capsys)
    assert (row["exception"], row["reason"]) == (3, "several originals")
    list_exceptions(None, everything=True, as_json=False)
    assert "ann: called them" in capsys.readouterr().out
