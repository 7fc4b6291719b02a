"""``transfers list`` and ``show`` over a store with transfers of both ways."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from isoswitch.clearing.receipt import Receipt, ReceiptState
from isoswitch.clearing.transfer import Event, Transfer, TransferState
from isoswitch.codecs.canonical.errors import ConfigError
from isoswitch.codecs.canonical.money import Money
from isoswitch.commands.console import OK
from isoswitch.commands.story import sentence
from isoswitch.commands.transfer_story import RECEIPT_ENDINGS
from isoswitch.commands.transfer_views import give_back, list_transfers
from isoswitch.commands.view import show
from isoswitch.journal.records import Record, RecordKind
from isoswitch.store.port import (
    StoredTransaction,
    TransactionState,
    TransferMove,
    UnitOfWork,
)
from isoswitch.store.rows import RowMove
from isoswitch.store.sqlite import open_sqlite_store

AT = "2026-01-31T12:00:00.000000Z"
SENT = Transfer(
    id="1-1",
    uetr="7a562c67-ca16-48ba-b074-65581be6f001",
    message_id="0001T00000001",
    end_to_end_id="order 7",
    endpoint="house",
    amount=Money(1250, "978"),
    debtor_agent="NORTDEFFXXX",
    creditor_agent="SOUTDEFFXXX",
    merchant_id="GROCER000000001",
    created_at=AT,
    expires_at=0.0,
    state=TransferState.RECALLING,
)
RECEIVED = Receipt(
    id="house/7a562c67-ca16-48ba-b074-65581be6f002",
    transaction_id="1-2",
    endpoint="house",
    message_id="M1",
    message_name="pacs.008.001.08",
    uetr="7a562c67-ca16-48ba-b074-65581be6f002",
    end_to_end_id="rent",
    their_id="TX1",
    amount_minor=2500,
    currency="978",
    debtor_agent="SOUTDEFFXXX",
    creditor_agent="NORTDEFFXXX",
    account="customer/7",
    digest="d",
    received_at="2026-01-31T12:00:01.000000Z",
    state=ReceiptState.RETURNING,
    reason="",
    return_reason="AC04",
)
ROW = StoredTransaction(
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
    endpoint="house",
    outcome='{"code": "issuer_unavailable"}',
)


def record(kind: RecordKind, name: str, **body: Any) -> Record:
    """Write down something about a transfer."""
    said = {"endpoint": "house", "uetr": "u", "amount": "12.50 EUR", "event": ""}
    return Record(kind=kind, transaction_id=name, at=AT, body={**said, **body})


RECORDS = (
    record(RecordKind.SENDING, "1-1", state="sent"),
    record(RecordKind.TIMED_OUT, "1-1", state="in_doubt", event="expired"),
    record(RecordKind.FORWARDED, "1-1", state="in_doubt", asked=1),
    record(RecordKind.ANSWERED, "1-1", state="recalling", event="settled"),
    record(RecordKind.FORWARDED, "1-1", state="recalling", asked=2),
    record(RecordKind.RECEIVED, "1-2", state="credited"),
    record(
        RecordKind.FORWARDED, "1-2", state="returning", event="give_back", reason="AC04"
    ),
    record(RecordKind.FORWARDED, "1-2", state="returning"),
)


@pytest.fixture
async def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write the store of the packaged network: one transfer each way."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "var").mkdir()
    path = tmp_path / "var" / "isoswitch.db"
    settled = replace(SENT, id="1-3", uetr="u3", state=TransferState.SETTLED)
    refused = replace(
        RECEIVED, id="house/4", transaction_id="1-4", state=ReceiptState.REFUSED
    )
    async with open_sqlite_store(path) as writing:
        await writing.commit(
            UnitOfWork(
                records=RECORDS,
                opens=(ROW,),
                transfers=tuple(
                    TransferMove(expect=None, transfer=each) for each in (SENT, settled)
                ),
                rows=tuple(
                    RowMove(expect=None, row=each) for each in (RECEIVED, refused)
                ),
            )
        )
    return path


def listed(capsys: pytest.CaptureFixture[str], *, everything: bool) -> list[str]:
    """Give the transactions that are listed."""
    assert list_transfers(None, everything=everything, as_json=True) == OK
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [f"{row['way']} {row['transaction']} {row['state']}" for row in rows]


async def test_the_list_has_what_is_under_way_or_everything(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    under_way = ["sent 1-1 recalling", "received 1-2 returning"]
    assert listed(capsys, everything=False) == under_way
    done = {"sent 1-3 settled", "received 1-4 refused"}
    assert set(listed(capsys, everything=True)) == {*under_way, *done}


async def told(
    store: Path, capsys: pytest.CaptureFixture[str], name: str
) -> tuple[list[str], str]:
    """Give the sentences about a transaction, and the last one."""
    assert show(store, name, as_json=True) == OK
    out = capsys.readouterr().out
    assert RECEIVED.account not in out
    shown = json.loads(out)
    return [each["text"] for each in shown["story"]], shown["ending"]


async def test_show_tells_a_transfer_that_was_settled_too_late(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sentences, ending = await told(store, capsys, "1-1")
    assert sentences == [
        "the switch transfers 12.50 EUR by house",
        "house is silent until the deadline: it counts as not paid",
        "the switch asks house what became of it, question 1",
        "house has settled it",
        "the switch asks for the money back, question 2",
    ]
    assert ending == "It does not count as paid: what is out is asked back."


async def test_show_tells_of_a_received_transfer_that_goes_back(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sentences, ending = await told(store, capsys, "1-2")
    assert sentences == [
        "house brings 12.50 EUR: credited to its customer",
        "its customer loses it, and it is to be returned: AC04",
        "the switch tells of the return",
    ]
    assert ending == "It was taken from its customer, and is on its way back."
    assert show(store, "1-2", as_json=False) == OK
    assert "received transfer  25.00 EUR  from SOUTDEFFXXX" in capsys.readouterr().out


def test_every_event_and_every_end_has_its_words() -> None:
    events = set(Event) - {Event.SENDING, Event.ASKED}
    for event in events:
        said = sentence(
            RecordKind.ANSWERED,
            {"uetr": "u", "state": "sent", "event": event, "endpoint": "house"}
            | {"returned": "1.00 EUR", "reason": "AB05"},
        )
        assert "house" in said
        assert "question" not in said
    assert set(RECEIPT_ENDINGS) == set(ReceiptState)


@pytest.mark.parametrize(
    ("name", "reason", "why"),
    [("1-9", "AC04", "no transfer of this name"), ("1-2", "because", "four letters")],
)
async def test_an_order_that_cannot_be_given_says_why(
    store: Path, name: str, reason: str, why: str
) -> None:
    with pytest.raises(ConfigError, match=why):
        give_back(None, name, reason=reason, operator="ann")
