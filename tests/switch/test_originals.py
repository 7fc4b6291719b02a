"""Which stored transaction a request means, and one change of it at a time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import trio

from isoswitch.codecs.canonical.codes import Function, Kind, ResponseCode
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.sealing import store_outcome
from isoswitch.codecs.canonical.transaction import (
    OriginalData,
    Outcome,
    Transaction,
)
from isoswitch.codecs.dialects.registry import get_dialect
from isoswitch.store.port import StoredTransaction, TransactionState
from isoswitch.switch.job import Claims, Job
from isoswitch.switch.numbers import Numbers
from isoswitch.switch.originals import Ambiguous, match_original
from isoswitch.switch.settings import TerminalSettings

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
APPROVED = store_outcome(Outcome(code=ResponseCode.APPROVED, approval_code="123456"))
DECLINED = store_outcome(Outcome.declined(ResponseCode.SYSTEM_MALFUNCTION))
ROW = StoredTransaction(
    id="1-1",
    dedup_key="k1",
    fingerprint="",
    kind=Kind.PURCHASE.value,
    state=TransactionState.CLOSED,
    node="sw1",
    business_date="2026-06-01",
    opened_at=NOON.isoformat(),
    terminal_id="T1",
    merchant_id="M1",
    stan="000007",
    local_at="2026-06-01T12:00:00",
    pan_hash="aa",
    amount_minor=1250,
    currency="978",
    outcome=APPROVED,
)
VOID = Transaction(
    kind=Kind.VOID,
    function=Function.REQUEST,
    stan="000008",
    terminal_id="T1",
    merchant_id="M1",
    original=OriginalData(mti="0200", stan="000007"),
)


def job_of(txn: Transaction, pan_hash: str = "") -> Job:
    """Make the job of a request."""
    dialect = get_dialect("iso87-ascii")
    numbers = Numbers(boot=1).draw()
    return Job(
        numbers=numbers,
        txn=txn,
        rrn=numbers.rrn,
        request=dialect.codec.build("0200", {11: txn.stan}),
        dialect=dialect,
        send=lambda _: None,
        listener="ascii",
        terminal=TerminalSettings(id="T1", merchant_id="M1", tpk="t/tpk"),
        merchant=None,
        deadline=0.0,
        business_date="2026-06-01",
        opened_at=NOON.isoformat(),
        dedup_key="k2",
        held_s=60.0,
        pan_hash=pan_hash,
    )


def named(**original: object) -> Transaction:
    """Make a void that names its original more closely."""
    assert VOID.original is not None
    return replace(VOID, original=replace(VOID.original, **original))  # type: ignore[arg-type] # names of its fields


@pytest.mark.parametrize(
    ("job", "row"),
    [
        (job_of(VOID), replace(ROW, merchant_id="M2")),
        (job_of(VOID, "bb"), ROW),
        (job_of(replace(VOID, approval_code="654321")), ROW),
        (job_of(VOID), replace(ROW, kind=Kind.BALANCE_INQUIRY.value)),
        (job_of(named(transmitted_at=NOON - timedelta(days=1))), ROW),
        (job_of(named(local_at=datetime(2026, 6, 1, 11))), ROW),  # noqa: DTZ001 local
    ],
    ids=["merchant", "card", "approval code", "kind", "day", "local time"],
)
def test_what_contradicts_the_request_is_not_its_original(
    job: Job, row: StoredTransaction
) -> None:
    assert match_original(job, {Kind.PURCHASE}, [row], by_trace=True) is None


@pytest.mark.parametrize(
    "job",
    [
        job_of(VOID),
        job_of(VOID, "aa"),
        job_of(replace(VOID, approval_code="123456")),
        job_of(named(transmitted_at=NOON + timedelta(minutes=3))),
        job_of(named(local_at=datetime(2026, 6, 1, 12))),  # noqa: DTZ001 local
    ],
    ids=["trace number", "card", "approval code", "day", "local time"],
)
def test_what_the_request_tells_finds_its_original(job: Job) -> None:
    assert match_original(job, {Kind.PURCHASE}, [ROW], by_trace=True) is ROW


def test_the_amount_chooses_among_several_and_else_nobody_guesses() -> None:
    other = replace(ROW, id="1-2", dedup_key="k3", amount_minor=900)
    kinds = {Kind.PURCHASE}
    with_amount = job_of(replace(VOID, amount=Money(900, "978")))
    assert match_original(with_amount, kinds, [ROW, other]) is other
    assert match_original(job_of(VOID), kinds, [ROW, other]) == Ambiguous(
        ("1-1", "1-2")
    )


def test_what_was_refused_at_first_does_not_hide_what_came_again() -> None:
    refused = replace(ROW, id="1-2", dedup_key="k3|1-2", outcome=DECLINED)
    assert match_original(job_of(VOID), {Kind.PURCHASE}, [refused, ROW]) is ROW


async def test_one_at_a_time_changes_a_hold(autojump_clock: trio.abc.Clock) -> None:
    del autojump_clock
    claims, told = Claims(), list[str]()

    async def change(name: str, hold_id: str) -> None:
        async with claims.hold(hold_id):
            told.append(f"{name} begins")
            await trio.sleep(1)
            told.append(f"{name} ends")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(change, "one", "1-1")
        await trio.sleep(0.1)
        nursery.start_soon(change, "two", "1-1")
        nursery.start_soon(change, "other", "1-2")
    assert told.index("one ends") < told.index("two begins")
    assert told.index("other begins") < told.index("one ends")
