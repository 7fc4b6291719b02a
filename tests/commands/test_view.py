"""``show``, ``tail`` and ``verify`` over a store that a switch might have written."""

from __future__ import annotations

import json
from pathlib import Path

import apsw
import pytest

from isoswitch.codecs.canonical.codes import ResponseCode
from isoswitch.codecs.canonical.sealing import store_outcome
from isoswitch.codecs.canonical.transaction import Outcome
from isoswitch.commands.console import FAILED, OK, Failure
from isoswitch.commands.view import WAYS, show, tail, verify_journal
from isoswitch.journal.records import Record, RecordKind
from isoswitch.store.port import StoredTransaction, TransactionState, UnitOfWork
from isoswitch.store.sqlite import open_sqlite_store

REQUEST = {"mti": "0200", "2": "476173******0010", "4": "000000001250"}
ANSWER = {"mti": "0210", "39": "00"}
BODIES = {
    RecordKind.OPENED: {"mac": "verified", "message": REQUEST},
    RecordKind.SENDING: {
        "endpoint": "north",
        "message": REQUEST,
        "pin": "translated",
        "route": "BIN 476173: north",
    },
    RecordKind.ANSWERED: {"endpoint": "north", "message": ANSWER, "mac": "verified"},
    RecordKind.CLOSED: {"code": "approved", "message": ANSWER},
}


@pytest.fixture
async def store(tmp_path: Path) -> Path:
    """Write one approved purchase into a store."""
    path = tmp_path / "isoswitch.db"
    records = tuple(
        Record(
            kind=kind,
            transaction_id="1-1",
            at=f"2026-01-31T12:00:00.00000{place}Z",
            body=body,
        )
        for place, (kind, body) in enumerate(BODIES.items())
    )
    row = StoredTransaction(
        id="1-1",
        dedup_key="TERM0001|000007",
        fingerprint="purchase",
        kind="purchase",
        state=TransactionState.CLOSED,
        node="sw1",
        business_date="2026-01-31",
        opened_at="2026-01-31T12:00:00.000000Z",
        terminal_id="TERM0001",
        pan_masked="476173******0010",
        amount_minor=1250,
        currency="978",
        endpoint="north",
        outcome=store_outcome(Outcome(code=ResponseCode.APPROVED)),
    )
    async with open_sqlite_store(path) as opened:
        await opened.commit(UnitOfWork(records=records, opens=(row,)))
    return path


async def test_show_tells_every_leg(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert show(store, "1-1", as_json=False) == OK
    said = capsys.readouterr().out
    assert "12.50 EUR" in said
    for told in (
        *("terminal → switch", "switch → north", "north → switch", "switch → terminal"),
        *("mac verified", "pin translated", "route BIN 476173: north"),
        *("Amount, transaction", "476173******0010"),
    ):
        assert told in said


async def test_show_speaks_json_with_stable_keys(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show(store, "last", as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["transaction"]["id"] == "1-1"
    assert told["transaction"]["outcome"] == {"code": "approved"}
    assert [leg["kind"] for leg in told["legs"]] == [kind.value for kind in BODIES]
    sending = told["legs"][1]
    assert sending["direction"] == "switch → north"
    assert sending["fields"] == REQUEST
    assert (sending["pin"], sending["route"]) == ("translated", "BIN 476173: north")


async def test_an_unknown_transaction_is_a_failure_with_a_fix(store: Path) -> None:
    with pytest.raises(Failure, match="no transaction 9-9") as caught:
        show(store, "9-9", as_json=False)
    assert "isoswitch tail" in caught.value.fix


async def test_what_may_be_a_card_number_is_not_said_again(store: Path) -> None:
    with pytest.raises(Failure, match="no transaction of this name"):
        show(store, "4111111111111111", as_json=False)


async def test_tail_gives_the_newest_legs_one_on_a_line(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tail(store, endpoint="", last=2, follow=False, as_json=True)
    legs = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [leg["seq"] for leg in legs] == [3, 4]


async def test_tail_can_watch_one_endpoint(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tail(store, endpoint="north", last=10, follow=False, as_json=True)
    legs = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [leg["kind"] for leg in legs] == ["sending", "answered"]


async def test_verify_says_that_a_sound_journal_holds(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify_journal(store, as_json=False) == OK
    assert "4 records: the chain holds" in capsys.readouterr().out


async def test_verify_names_the_record_that_was_changed(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    connection = apsw.Connection(str(store))
    for trigger in connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'trigger'"
    ).fetchall():
        connection.execute(f"DROP TRIGGER {trigger[0]}")
    connection.execute(
        "UPDATE journal SET record = replace(record, '1250', '9950') WHERE seq = 2"
    )
    connection.close()
    assert verify_journal(store, as_json=True) == FAILED
    told = json.loads(capsys.readouterr().out)
    assert told["sound"] is False
    assert told["findings"][0].startswith("record 2: ")


def test_every_kind_of_record_can_be_shown() -> None:
    assert set(WAYS) == set(RecordKind)
