"""The auditor: one story of every payment."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.sealing import store_outcome
from isoswitch.codecs.canonical.transaction import Outcome
from isoswitch.journal.records import Record, RecordKind
from isoswitch.simulators.auditor import StoreView, Verdict, audit, view_store
from isoswitch.simulators.beliefs import Belief, BeliefState
from isoswitch.simulators.bookings import Booking, BookingKind, Bookings
from isoswitch.simulators.leaks import Leak
from isoswitch.store.disk import MemoryDisk
from isoswitch.store.memory import open_memory_store
from isoswitch.store.port import (
    SafEntry,
    StoredTransaction,
    TransactionState,
    UnitOfWork,
)

RRN = "000100000001"
APPROVED = Outcome(code=ResponseCode.APPROVED, approval_code="123456")
DECLINED = Outcome.declined(ResponseCode.DO_NOT_HONOUR)
LOCAL_AT = datetime(2026, 1, 2, 3, 4, 5)  # noqa: DTZ001  # a terminal's local time

ROW = StoredTransaction(
    id="1-1",
    dedup_key="k",
    fingerprint="f",
    kind=Kind.PURCHASE.value,
    state=TransactionState.CLOSED,
    node="sw1",
    business_date="2026-01-02",
    opened_at="2026-01-02T03:04:05.000000Z",
    terminal_id="TERM0001",
    stan="000001",
    rrn=RRN,
    local_at=LOCAL_AT.isoformat(),
    amount_minor=1250,
    currency="978",
    endpoint="north",
    outcome=store_outcome(APPROVED),
)
ROW_DECLINED = replace(ROW, outcome=store_outcome(DECLINED))
ROW_REVERSED = replace(ROW, reversed=True)
ROW_OPEN = replace(ROW, state=TransactionState.SENDING, outcome="")

BELIEF = Belief(
    terminal_id="TERM0001",
    kind=Kind.PURCHASE,
    stan="000001",
    local_at=LOCAL_AT,
    card="visa-ok",
    amount=Money(1250, "978"),
    state=BeliefState.APPROVED,
    outcome=APPROVED,
)
OWED = SafEntry(id=1, transaction_id="1-1", endpoint="north", order_key="k", sealed=b"")


def booked(kind: BookingKind, amount_minor: int = 1250, rrn: str = RRN) -> Booking:
    return Booking(
        kind=kind,
        acquirer_id="10001",
        rrn=rrn,
        at="2026-01-02T03:04:05.000000Z",
        amount_minor=amount_minor,
        currency="978",
    )


APPROVAL = booked(BookingKind.APPROVED)
REVERSAL = booked(BookingKind.REVERSED)


def run_audit(
    row: StoredTransaction | None,
    *bookings: Booking,
    belief: Belief | None = None,
    owed: bool = False,
) -> Verdict:
    books = Bookings()
    for booking in bookings:
        books.add(booking)
    view = StoreView(
        transactions=(row,) if row else (), pending_saf=(OWED,) if owed else ()
    )
    return audit(
        view=view, bookings={"north": books}, beliefs=[belief] if belief else []
    )


def believing(state: BeliefState) -> Belief:
    return replace(BELIEF, state=state)


@pytest.mark.parametrize(
    ("row", "bookings", "state"),
    [
        pytest.param(ROW, [APPROVAL], BeliefState.APPROVED, id="approved"),
        pytest.param(ROW_DECLINED, [], BeliefState.DECLINED, id="declined"),
        pytest.param(
            ROW_DECLINED, [APPROVAL, REVERSAL], BeliefState.DECLINED, id="timed out"
        ),
        pytest.param(
            ROW_REVERSED, [APPROVAL, REVERSAL], BeliefState.REVERSED, id="reversed"
        ),
        pytest.param(None, [], BeliefState.NOT_SENT, id="never sent"),
    ],
)
def test_sides_that_agree_are_settled(
    row: StoredTransaction | None, bookings: list[Booking], state: BeliefState
) -> None:
    verdict = run_audit(row, *bookings, belief=believing(state))
    assert verdict.is_settled, verdict.describe()


@pytest.mark.parametrize(
    ("row", "bookings", "state", "what"),
    [
        pytest.param(
            ROW_DECLINED,
            [APPROVAL],
            BeliefState.DECLINED,
            "keeps money that the switch did not approve",
            id="approval not reversed",
        ),
        pytest.param(
            ROW_REVERSED,
            [APPROVAL],
            BeliefState.REVERSED,
            "keeps money that the switch did not approve",
            id="reversal lost",
        ),
        pytest.param(
            ROW, [], BeliefState.APPROVED, "no issuer booked", id="approval invented"
        ),
        pytest.param(
            ROW,
            [APPROVAL, REVERSAL],
            BeliefState.APPROVED,
            "no issuer booked",
            id="approval reversed behind the terminal's back",
        ),
        pytest.param(
            ROW,
            [booked(BookingKind.APPROVED, 1251)],
            BeliefState.APPROVED,
            "differ in the amount",
            id="other amount",
        ),
        pytest.param(
            ROW,
            [APPROVAL, APPROVAL],
            BeliefState.APPROVED,
            "booked it 2 times",
            id="double booking",
        ),
        pytest.param(
            ROW_OPEN,
            [],
            BeliefState.REVERSED,
            "neither closed nor owed",
            id="left open",
        ),
        pytest.param(
            None,
            [APPROVAL],
            BeliefState.NOT_SENT,
            "never opened",
            id="sent before it was written down",
        ),
        pytest.param(
            None,
            [],
            BeliefState.APPROVED,
            "knows nothing",
            id="spoken before it was written down",
        ),
        pytest.param(
            ROW_DECLINED,
            [],
            BeliefState.APPROVED,
            "paid another amount",
            id="terminal told otherwise",
        ),
        pytest.param(
            ROW,
            [APPROVAL],
            BeliefState.REVERSED,
            "believes unpaid",
            id="terminal reversed, switch did not",
        ),
    ],
)
def test_a_difference_is_found(
    row: StoredTransaction | None,
    bookings: list[Booking],
    state: BeliefState,
    what: str,
) -> None:
    verdict = run_audit(row, *bookings, belief=believing(state))
    assert not verdict.is_clean
    assert any(what in finding.what for finding in verdict.findings), verdict.describe()


def test_a_reversal_on_its_way_is_pending_and_no_difference() -> None:
    verdict = run_audit(
        ROW_DECLINED, APPROVAL, belief=believing(BeliefState.DECLINED), owed=True
    )
    assert verdict.is_clean
    assert not verdict.is_settled
    assert "owed to north" in verdict.pending[0]


@pytest.mark.parametrize("state", [BeliefState.OPEN, BeliefState.REVERSING])
def test_a_terminal_that_is_not_done_is_pending(state: BeliefState) -> None:
    verdict = run_audit(ROW, APPROVAL, belief=believing(state))
    assert verdict.is_clean
    assert not verdict.is_settled


def test_the_same_trace_number_on_another_day_is_another_transaction() -> None:
    yesterday = replace(ROW_DECLINED, id="0-1", local_at="2026-01-01T03:04:05")
    books = Bookings()
    books.add(APPROVAL)
    view = StoreView(transactions=(yesterday, ROW))
    verdict = audit(view=view, bookings={"north": books}, beliefs=[BELIEF])
    assert [finding.transaction for finding in verdict.findings] == ["0-1"]


def test_two_issuers_that_booked_the_same_payment_differ_from_the_switch() -> None:
    north, south = Bookings(), Bookings()
    north.add(APPROVAL)
    south.add(APPROVAL)
    verdict = audit(
        view=StoreView(transactions=(ROW,)), bookings={"north": north, "south": south}
    )
    assert "differ in the amount" in verdict.findings[0].what


def test_quarantine_and_leaks_are_findings() -> None:
    verdict = audit(
        view=StoreView(transactions=(), quarantined=("1-1",)),
        bookings={},
        leaks=[Leak(secret="PAN of visa-ok", form="text", offset=3)],
    )
    assert len(verdict.findings) == 2
    assert "PAN of visa-ok in clear" in verdict.describe()


async def test_the_store_is_read_whole() -> None:
    record = Record(
        kind=RecordKind.OPENED, transaction_id="1-1", at=ROW.opened_at, body={}
    )
    poison = replace(record, kind=RecordKind.QUARANTINED, transaction_id="")
    unit = UnitOfWork(records=(record, poison), opens=(ROW,), saf_puts=(OWED,))
    async with open_memory_store(MemoryDisk()) as store:
        await store.commit(unit)
        view = await view_store(store)
    assert [row.id for row in view.transactions] == ["1-1"]
    assert len(view.pending_saf) == 1
    assert len(view.quarantined) == 1
