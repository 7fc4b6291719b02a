"""What every store promises, run against each of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import trio

from isoswitch.clearing.transfer import Transfer, TransferState
from isoswitch.codecs.canonical.errors import EncodeError, StoreUnavailable
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.secrets import Pan
from isoswitch.codecs.canonical.totals import Totals, TotalsLine
from isoswitch.journal.chain import walk_records
from isoswitch.journal.records import RecordKind
from isoswitch.ledger.holds import (
    AmountExceeded,
    Capture,
    HoldResolved,
    HoldState,
    HoldUnknown,
    Place,
    Release,
    Return,
)
from isoswitch.store.days import DayClosed, DayMove, DayRefused, DayState
from isoswitch.store.port import (
    WAITING_MAX,
    BatchClose,
    Committed,
    DuplicateTransaction,
    Lease,
    Move,
    OwnershipLost,
    SafState,
    Store,
    TransactionState,
    TransferMove,
    UnitOfWork,
)
from isoswitch.store.rows import (
    Callback,
    CallbackState,
    CardCounter,
    CodePayment,
    CodeState,
    Forget,
    PaymentCode,
    Row,
    RowMove,
    SettledBatch,
    SpentCode,
    StoredAnswer,
    StoredWish,
)
from tests.store.conftest import Open
from tests.store.units import (
    AT,
    close_move,
    closing,
    lease_change,
    opening,
    record,
    saf_entry,
    saf_update,
    timing_out,
    transaction,
)

PLACED = Place(
    id="1", debit="issuer/alpha", credit="merchant/M1", amount=Money(1250, "978")
)
CAPTURED = Capture(id="1", by="1", minor=1250, business_date="2026-01-31")


async def test_a_committed_unit_is_found_again(store: Store) -> None:
    committed = await store.commit(opening("1"))
    assert committed == Committed(last_seq=2)
    assert await store.find_transaction("1") == transaction("1")
    assert await store.find_by_dedup_key("key-1") == transaction("1")
    kinds = [chained.record.kind for chained in await store.records("1")]
    assert kinds == [RecordKind.OPENED, RecordKind.SENDING]


async def test_what_is_not_there_is_not_found(store: Store) -> None:
    assert await store.find_transaction("1") is None
    assert await store.find_by_dedup_key("key-1") is None
    assert await store.find_originals("T1", "000001") == []
    assert await store.open_transactions() == []
    assert await store.pending_saf() == []
    assert await store.records() == []


async def test_a_ledger_change_is_stored_with_its_unit(store: Store) -> None:
    await store.commit(replace(opening("1"), ledger=(PLACED,)))
    placed = await store.find_hold("1")
    assert placed is not None
    assert (placed.held_minor, placed.state) == (1250, HoldState.OPEN)
    await store.commit(replace(closing("1"), ledger=(CAPTURED,)))
    (entry,) = await store.entries("2026-01-31")
    assert [(each.account, each.minor) for each in entry.postings] == [
        ("issuer/alpha", 1250),
        ("merchant/M1", -1250),
    ]
    assert await store.entries("2026-02-01") == []


async def test_what_the_ledger_forbids_refuses_the_whole_unit(store: Store) -> None:
    await store.commit(replace(opening("1"), ledger=(PLACED,)))
    with pytest.raises(HoldUnknown):
        await store.commit(replace(opening("2"), ledger=(PLACED, Release(id="9"))))
    assert await store.find_transaction("2") is None
    await store.commit(replace(closing("1"), ledger=(Release(id="1"),)))
    with pytest.raises(HoldResolved):
        await store.commit(replace(opening("3"), ledger=(CAPTURED,)))
    assert await store.find_transaction("3") is None
    assert await store.entries("2026-01-31") == []


async def test_of_two_who_give_the_same_capture_back_the_store_takes_one(
    store: Store,
) -> None:
    """Two nodes decide at the same moment; another capture of the hold covers none."""
    captures = [
        replace(CAPTURED, by=name, minor=minor, is_final=name == "3")
        for name, minor in (("2", 500), ("3", 750))
    ]
    await store.commit(replace(opening("1"), ledger=(PLACED, *captures)))
    refund = Place(
        id="4",
        debit="merchant/M1",
        credit="issuer/alpha",
        amount=Money(500, "978"),
        of="2",
    )
    back = Return(id="2", by="5", business_date="2026-01-31", minor=500)
    refused = []

    async def commit(unit: UnitOfWork) -> None:
        try:
            await store.commit(unit)
        except AmountExceeded:
            refused.append(unit)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(commit, replace(opening("4"), ledger=(refund,)))
        nursery.start_soon(commit, UnitOfWork(records=(), ledger=(back,)))
    assert len(refused) == 1
    untouched = await store.find_hold("3")
    assert untouched is not None
    assert untouched.returnable_minor == 750
    back = Return(id="3", by="6", business_date="2026-01-31", minor=750)
    await store.commit(UnitOfWork(records=(), ledger=(back,)))


async def test_holds_whose_time_is_over_are_found_oldest_first(store: Store) -> None:
    for number, expires_at in (("1", "2026-02-03"), ("2", "2026-02-02"), ("3", "")):
        hold = replace(PLACED, id=number, expires_at=expires_at)
        await store.commit(replace(opening(number), ledger=(hold,)))
    assert [each.id for each in await store.expired_holds("2026-02-03")] == ["2", "1"]
    assert [each.id for each in await store.expired_holds("2026-02-02")] == ["2"]


def day_move(date: str, to: DayState, next_date: str = "") -> UnitOfWork:
    """Make the unit that moves a business day."""
    move = DayMove(date=date, to=to, at=AT, next_date=next_date)
    return UnitOfWork(records=(record(RecordKind.BUSINESS_DAY),), day=move)


async def test_a_cut_day_takes_no_transactions_but_ends_its_own(store: Store) -> None:
    await store.commit(day_move("2026-01-31", DayState.OPEN))
    await store.commit(replace(opening("1"), ledger=(PLACED,)))
    await store.commit(day_move("2026-01-31", DayState.CUT, "2026-02-01"))
    with pytest.raises(DayClosed):
        await store.commit(opening("2"))
    with pytest.raises(DayRefused):
        await store.commit(day_move("2026-01-31", DayState.CLOSED))
    await store.commit(replace(closing("1"), ledger=(CAPTURED,)))
    await store.commit(day_move("2026-01-31", DayState.CLOSED))
    back = Return(id="1", by="9", business_date="2026-01-31", minor=1250)
    with pytest.raises(DayClosed):
        await store.commit(UnitOfWork(records=(), ledger=(back,)))
    days = [(day.date, day.state) for day in await store.days()]
    assert days == [("2026-01-31", DayState.CLOSED), ("2026-02-01", DayState.OPEN)]


async def test_a_refused_unit_moves_no_day(store: Store) -> None:
    await store.commit(day_move("2026-01-31", DayState.OPEN))
    cut = day_move("2026-01-31", DayState.CUT, "2026-02-01")
    with pytest.raises(HoldUnknown):
        await store.commit(replace(cut, ledger=(Release(id="9"),)))
    await store.commit(opening("1"))
    assert [day.date for day in await store.days()] == ["2026-01-31"]


async def test_the_totals_of_a_day_tell_what_was_taken_and_given_back(
    store: Store,
) -> None:
    await store.commit(replace(opening("1"), ledger=(PLACED,)))
    await store.commit(replace(closing("1"), ledger=(CAPTURED,)))
    refund = replace(PLACED, id="2", debit="merchant/M1", credit="issuer/alpha", of="1")
    await store.commit(replace(opening("2"), ledger=(refund,)))
    await store.commit(
        replace(closing("2"), ledger=(replace(CAPTURED, id="2", by="2"),))
    )
    back = Return(id="2", by="3", business_date="2026-01-31", minor=1250)
    await store.commit(replace(opening("3"), ledger=(back,)))
    (line,) = await store.day_totals("2026-01-31")
    assert line == TotalsLine(
        endpoint="alpha",
        terminal_id="T1",
        currency="978",
        totals=Totals(
            debits=1,
            debits_minor=1250,
            credits=1,
            credits_minor=1250,
            credit_reversals=1,
            credit_reversals_minor=1250,
        ),
    )
    assert await store.day_totals("2026-02-01") == []


async def test_totals_and_transactions_are_those_from_a_batch_on(
    store: Store,
) -> None:
    for number in (1, 2, 3):
        name = str(number)
        placed = replace(PLACED, id=name)
        await store.commit(replace(opening(name), ledger=(placed,)))
        captured = replace(CAPTURED, id=name, by=name)
        await store.commit(replace(closing(name), ledger=(captured,)))
        close = BatchClose(terminal_id="T1", number=number)
        await store.commit(UnitOfWork(records=(), batch=close))
        with pytest.raises(OwnershipLost):
            await store.commit(UnitOfWork(records=(), batch=close))
    assert await store.find_batch("T1") == 4
    rows = await store.batch_transactions("T1", 2)
    assert [(row.id, row.batch) for row in rows] == [("2", 2), ("3", 3)]
    assert await store.batch_transactions("T1", 2, currency=rows[0].currency) == rows
    assert await store.batch_transactions("T1", 2, currency="999") == []
    (line,) = await store.batch_totals("T1", 2)
    assert line.totals == Totals(debits=2, debits_minor=2500)
    assert await store.batch_totals("T1", 4) == []


TRANSFER = Transfer(
    id="1",
    uetr="8a562c67-ca16-48ba-b074-65581be6f001",
    message_id="M1",
    end_to_end_id="E1",
    endpoint="house",
    amount=Money(1000, "978"),
    debtor_agent="BANKA",
    creditor_agent="BANKB",
    merchant_id="M1",
    created_at=AT,
    expires_at=10.5,
)


def transfer_move(expect: Transfer | None, transfer: Transfer) -> UnitOfWork:
    """Make the unit that moves a transfer."""
    move = TransferMove(expect=expect, transfer=transfer)
    return UnitOfWork(records=(record(RecordKind.OPENED, "1"),), transfers=(move,))


async def test_a_transfer_moves_from_what_was_expected_only(store: Store) -> None:
    sent = replace(TRANSFER, state=TransferState.SENT, asked=1, reason="x")
    await store.commit(transfer_move(None, TRANSFER))
    with pytest.raises(OwnershipLost):
        await store.commit(transfer_move(None, TRANSFER))
    await store.commit(transfer_move(TRANSFER, sent))
    with pytest.raises(OwnershipLost):
        await store.commit(transfer_move(TRANSFER, sent))
    assert await store.find_transfer(TRANSFER.uetr) == sent
    assert await store.find_transfer("another") is None


async def test_a_transfer_of_which_nothing_is_expected_is_not_open(
    store: Store,
) -> None:
    second = replace(TRANSFER, id="2", uetr="another", created_at="2026-01-30")
    await store.commit(transfer_move(None, TRANSFER))
    await store.commit(transfer_move(None, second))
    assert [each.id for each in await store.open_transfers()] == ["2", "1"]
    settled = replace(second, state=TransferState.SETTLED)
    await store.commit(transfer_move(second, settled))
    assert [each.id for each in await store.open_transfers()] == ["1"]


async def test_transactions_are_found_by_their_reference_number(store: Store) -> None:
    await store.commit(opening("1", rrn="000000000001"))
    await store.commit(opening("2", rrn="000000000001", original_id="1"))
    found = await store.find_by_rrn("000000000001")
    assert [(each.id, each.original_id) for each in found] == [("2", "1"), ("1", "")]
    assert await store.find_by_rrn("000000000002") == []


async def test_of_a_card_what_was_approved_and_stands_is_found_newest_first(
    store: Store,
) -> None:
    closed = TransactionState.CLOSED
    approved, declined = '{"code":"approved"}', '{"code":"wrong_pin"}'
    counted = {"pan_hash": "card", "verification": "none", "outcome": approved}
    rows: list[dict[str, object]] = [
        counted,
        counted | {"outcome": '{"code":"partially_approved"}'},
        counted | {"verification": "pin", "kind": "cash_withdrawal"},
        counted | {"outcome": declined},
        counted | {"outcome": ""},
        counted | {"verification": "device"},
        counted | {"kind": "balance_inquiry"},
        counted | {"pan_hash": "other"},
        counted,
    ]
    for number, row in enumerate(rows, start=1):
        await store.commit(opening(str(number), state=closed, **row))
    mark = Move(id="9", expect=closed, state=closed, mark_reversed=True)
    await store.commit(
        UnitOfWork(records=(record(RecordKind.OPERATOR, "9"),), moves=(mark,))
    )

    async def found(limit: int) -> list[str]:
        rows = await store.standing_of_card(
            "card",
            kinds={"purchase", "cash_withdrawal"},
            verifications={"none", "pin"},
            limit=limit,
        )
        return [row.id for row in rows]

    assert await found(9) == ["3", "2", "1"]
    assert await found(2) == ["3", "2"]
    assert await found(0) == []


async def test_everything_durable_is_there_after_reopening(open_store: Open) -> None:
    async with open_store() as store:
        await store.commit(opening("1"))
        await store.commit(timing_out("1"))
        before = await store.records()
    async with open_store() as store:
        assert await store.records() == before
        assert [entry.id for entry in await store.pending_saf()] == [1]
        assert (await store.commit(opening("2"))).last_seq == 7
        assert walk_records(await store.records()).is_sound


async def test_a_move_closes_wipes_and_keeps_the_rest(store: Store) -> None:
    await store.commit(opening("1"))
    await store.commit(closing("1", outcome="{}"))
    assert await store.find_transaction("1") == transaction(
        "1", state=TransactionState.CLOSED, outcome="{}", sealed=b""
    )
    assert await store.open_transactions() == []


async def test_a_move_keeps_the_outcome_and_the_reversed_mark(store: Store) -> None:
    closed = TransactionState.CLOSED
    mark = Move(id="1", expect=closed, state=closed, mark_reversed=True)
    touch = Move(id="1", expect=closed, state=closed)
    await store.commit(opening("1"))
    await store.commit(closing("1", outcome="{}"))
    for move in (mark, touch):
        await store.commit(
            UnitOfWork(records=(record(RecordKind.OPERATOR, "1"),), moves=(move,))
        )
    found = await store.find_transaction("1")
    assert found is not None
    assert (found.outcome, found.reversed) == ("{}", True)


async def test_a_transaction_that_goes_to_another_endpoint_changes_its_leg(
    store: Store,
) -> None:
    sending = TransactionState.SENDING
    move = Move(id="1", expect=sending, state=sending, endpoint="beta", sealed=b"new")
    await store.commit(opening("1"))
    await store.commit(
        UnitOfWork(records=(record(RecordKind.SENDING, "1"),), moves=(move,))
    )
    expected = transaction("1", endpoint="beta", sealed=b"new")
    assert await store.find_transaction("1") == expected
    await store.commit(closing("1", outcome="{}"))
    found = await store.find_transaction("1")
    assert found is not None
    assert (found.endpoint, found.sealed) == ("beta", b"")


async def test_a_transaction_is_reversed_once(store: Store) -> None:
    closed = TransactionState.CLOSED
    reverse = UnitOfWork(
        records=(record(RecordKind.REVERSAL_OWED, "1"),),
        moves=(Move(id="1", expect=closed, state=closed, mark_reversed=True),),
        saf_puts=(saf_entry("1"),),
    )
    await store.commit(opening("1"))
    await store.commit(closing("1"))
    await store.commit(reverse)
    with pytest.raises(OwnershipLost):
        await store.commit(reverse)
    assert len(await store.pending_saf()) == 1


async def test_of_several_openings_one_that_is_taken_refuses_all(
    store: Store,
) -> None:
    await store.commit(opening("2"))
    units = [opening("1"), opening("2"), opening("3")]
    together = UnitOfWork(
        records=tuple(record for unit in units for record in unit.records),
        opens=tuple(row for unit in units for row in unit.opens),
    )
    with pytest.raises(DuplicateTransaction):
        await store.commit(together)
    assert [row.id for row in await store.open_transactions()] == ["2"]
    others = replace(together, opens=(together.opens[0], together.opens[2]))
    await store.commit(replace(others, records=others.records[:2]))
    assert {row.id for row in await store.open_transactions()} == {"1", "2", "3"}


async def test_a_taken_dedup_key_gives_its_holder_and_stores_nothing(
    store: Store,
) -> None:
    await store.commit(opening("1"))
    with pytest.raises(DuplicateTransaction) as refused:
        await store.commit(opening("2", dedup_key="key-1"))
    assert refused.value.existing == transaction("1")
    assert await store.find_transaction("2") is None
    assert len(await store.records()) == 2


async def test_a_second_close_loses_and_stores_nothing(store: Store) -> None:
    await store.commit(opening("1"))
    await store.commit(timing_out("1"))
    with pytest.raises(OwnershipLost):
        await store.commit(closing("1"))
    found = await store.find_transaction("1")
    assert found is not None
    assert found.outcome == '{"code":"issuer_unavailable"}'
    assert [chained.record.kind for chained in await store.records("1")] == [
        RecordKind.OPENED,
        RecordKind.SENDING,
        RecordKind.TIMED_OUT,
        RecordKind.REVERSAL_OWED,
        RecordKind.CLOSED,
    ]


async def test_a_unit_refused_at_its_end_leaves_nothing_of_its_start(
    store: Store,
) -> None:
    await store.commit(opening("1"))
    late = UnitOfWork(
        records=(record(RecordKind.OPENED, "2"),),
        opens=(transaction("2"), transaction("3", dedup_key="key-1")),
        saf_puts=(saf_entry("2"),),
    )
    with pytest.raises(DuplicateTransaction):
        await store.commit(late)
    assert await store.find_transaction("2") is None
    assert await store.pending_saf() == []
    committed = await store.commit(timing_out("1"))
    assert (committed.last_seq, committed.saf_entries[0].id) == (5, 1)


async def test_the_units_beside_a_refused_one_are_stored(store: Store) -> None:
    refused: list[DuplicateTransaction] = []

    async def commit(transaction_id: str, dedup_key: str) -> None:
        try:
            await store.commit(opening(transaction_id, dedup_key=dedup_key))
        except DuplicateTransaction as exc:
            refused.append(exc)

    async with trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(commit, str(number), f"key-{number // 2}")
    assert len({refusal.existing.dedup_key for refusal in refused}) == 50
    assert len(await store.open_transactions()) == 50
    records = await store.records()
    assert len(records) == 100
    assert walk_records(records).is_sound


async def test_a_unit_may_open_and_move_the_same_transaction(store: Store) -> None:
    declined = UnitOfWork(
        records=(
            record(RecordKind.OPENED, "1"),
            record(RecordKind.CLOSED, "1"),
        ),
        opens=(transaction("1"),),
        moves=closing("1").moves,
    )
    await store.commit(declined)
    assert await store.open_transactions() == []


async def test_saf_entries_get_ids_in_journal_order(store: Store) -> None:
    for number in ("1", "2"):
        await store.commit(opening(number))
        await store.commit(timing_out(number))
    pending = await store.pending_saf()
    assert [(entry.id, entry.transaction_id) for entry in pending] == [
        (1, "1"),
        (2, "2"),
    ]
    assert (pending[0].sealed, pending[0].next_at) == (b"reversal", 1.5)


async def test_of_what_is_pending_a_part_may_be_asked_for(store: Store) -> None:
    names = ("alpha", "alpha", "beta", "alpha", "alpha")
    entries = tuple(replace(saf_entry("1"), endpoint=name) for name in names)
    await store.commit(UnitOfWork(records=(), saf_puts=entries))
    await store.commit(saf_update(4, state=SafState.DELIVERED))
    asked: list[dict[str, Any]] = [
        {"after_id": 1},
        {"after_id": 1, "limit": 2},
        {"without": ["beta"]},
        {"after_id": 1, "without": ["alpha", "gamma"]},
        {"after_id": 5},
    ]
    given = [[each.id for each in await store.pending_saf(**part)] for part in asked]
    assert given == [[2, 3, 5], [2, 3], [1, 2, 5], [3], []]


@pytest.mark.parametrize(
    ("endpoint", "until", "is_owed"),
    [
        ("alpha", "2026-01-31", True),
        ("alpha", "2026-02-01", True),
        ("alpha", "2026-01-30", False),
        ("beta", "2026-02-01", False),
        ("gamma", "2026-02-01", False),
    ],
)
async def test_what_is_owed_of_a_day_is_known(
    store: Store, endpoint: str, until: str, is_owed: bool
) -> None:
    entries = tuple(
        replace(saf_entry("1"), endpoint=name, business_date=date)
        for name, date in (("alpha", "2026-01-31"), ("beta", "2026-01-31"))
    )
    await store.commit(UnitOfWork(records=(), saf_puts=entries))
    await store.commit(saf_update(2, state=SafState.QUARANTINED))
    assert await store.is_owed(endpoint, until=until) is is_owed


async def test_a_saf_entry_is_retried_then_delivered_for_good(store: Store) -> None:
    await store.commit(opening("1"))
    await store.commit(timing_out("1"))
    await store.commit(saf_update(1, reason="no answer"))
    (entry,) = await store.pending_saf()
    assert (entry.attempts, entry.next_at, entry.reason) == (1, 2.5, "no answer")
    assert entry.sealed == b"reversal"
    await store.commit(saf_update(1, state=SafState.DELIVERED))
    assert await store.pending_saf() == []
    with pytest.raises(OwnershipLost):
        await store.commit(saf_update(1))


async def test_an_update_of_an_unknown_saf_entry_is_refused(store: Store) -> None:
    with pytest.raises(OwnershipLost):
        await store.commit(saf_update(7))
    assert await store.records() == []


async def test_a_quarantined_saf_entry_can_be_released(store: Store) -> None:
    await store.commit(opening("1"))
    await store.commit(timing_out("1"))
    await store.commit(saf_update(1, state=SafState.QUARANTINED))
    assert await store.pending_saf() == []
    await store.commit(saf_update(1, state=SafState.PENDING))
    assert [entry.sealed for entry in await store.pending_saf()] == [b"reversal"]


async def test_originals_come_newest_first(store: Store) -> None:
    await store.commit(opening("1"))
    await store.commit(opening("2", terminal_id="T2"))
    await store.commit(opening("3"))
    await store.commit(opening("4", stan="000002"))
    originals = await store.find_originals("T1", "000001")
    assert [original.id for original in originals] == ["3", "1"]


async def test_open_transactions_come_oldest_first(store: Store) -> None:
    for number in ("3", "1", "2"):
        await store.commit(opening(number))
    await store.commit(closing("1"))
    assert [found.id for found in await store.open_transactions()] == ["3", "2"]


async def test_records_are_paged_by_sequence(store: Store) -> None:
    for number in ("1", "2"):
        await store.commit(opening(number))
    assert [r.seq for r in await store.records(limit=3)] == [1, 2, 3]
    assert [r.seq for r in await store.records(after_seq=3)] == [4]
    assert [r.seq for r in await store.records("2", after_seq=3)] == [4]


async def test_callbacks_run_in_journal_order_before_any_waiter_wakes(
    store: Store,
) -> None:
    events: list[tuple[str, int]] = []
    store.on_commit(lambda _unit, made: events.append(("applied", made.last_seq)))

    async def commit(transaction_id: str) -> None:
        made = await store.commit(opening(transaction_id))
        assert ("applied", made.last_seq) in events
        events.append(("awake", made.last_seq))

    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(commit, str(number))
    applied = [seq for event, seq in events if event == "applied"]
    assert applied == list(range(2, 102, 2))
    assert len(events) == 100


async def test_a_refused_unit_is_not_applied(store: Store) -> None:
    applied: list[Committed] = []
    store.on_commit(lambda _unit, made: applied.append(made))
    with pytest.raises(OwnershipLost):
        await store.commit(closing("1"))
    assert applied == []


async def test_a_cancelled_task_still_hears_of_its_unit(store: Store) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        committed = await store.commit(opening("1"))
    assert committed.last_seq == 2


async def test_a_closed_store_refuses(open_store: Open) -> None:
    async with open_store() as store:
        pass
    with pytest.raises(StoreUnavailable):
        await store.commit(opening("1"))


async def test_a_secret_in_a_body_is_refused_and_does_not_harm_others(
    store: Store,
) -> None:
    secret = record(RecordKind.OPENED, "1", pan=Pan("4761739001010010"))
    with pytest.raises(EncodeError) as refused:
        await store.commit(UnitOfWork(records=(secret,)))
    assert "4761739001010010" not in str(refused.value)
    await store.commit(opening("1"))


async def test_a_taken_transaction_id_is_refused(store: Store) -> None:
    await store.commit(opening("1"))
    with pytest.raises(Exception, match=r"transaction"):
        await store.commit(opening("1", dedup_key="other"))
    assert len(await store.records()) == 2


async def test_what_waits_is_limited(store: Store) -> None:
    refused: list[StoreUnavailable] = []

    async def commit() -> None:
        try:
            await store.commit(UnitOfWork(records=(record(RecordKind.LINK),)))
        except StoreUnavailable as exc:
            refused.append(exc)

    async with trio.open_nursery() as nursery:
        for _ in range(WAITING_MAX + 3):
            nursery.start_soon(commit)
    assert len(refused) == 3


async def test_a_lease_is_taken_renewed_and_released(store: Store) -> None:
    await store.commit(lease_change(None, "1"))
    taken = Lease(name="node/n1", holder="1", beat=1)
    assert await store.leases() == [taken]
    await store.commit(lease_change(taken, "1"))
    renewed = Lease(name="node/n1", holder="1", beat=2)
    assert await store.leases() == [renewed]
    await store.commit(lease_change(renewed, ""))
    assert await store.leases() == []


@pytest.mark.parametrize(
    "expect",
    [
        None,
        Lease(name="node/n1", holder="1", beat=1),
        Lease(name="node/n1", holder="2", beat=2),
    ],
    ids=["as if free", "an older beat", "another holder"],
)
@pytest.mark.parametrize("holder", ["3", ""], ids=["taken", "released"])
async def test_a_lease_that_is_not_as_expected_stays_as_it_is(
    store: Store, expect: Lease | None, holder: str
) -> None:
    await store.commit(lease_change(None, "1"))
    await store.commit(lease_change(Lease(name="node/n1", holder="1", beat=1), "1"))
    with pytest.raises(OwnershipLost):
        await store.commit(lease_change(expect, holder))
    assert await store.leases() == [Lease(name="node/n1", holder="1", beat=2)]


async def test_a_lease_refuses_the_rest_of_its_unit(store: Store) -> None:
    unit = replace(opening("1"), leases=lease_change(None, "1").leases)
    await store.commit(lease_change(None, "2"))
    with pytest.raises(OwnershipLost):
        await store.commit(unit)
    assert await store.find_transaction("1") is None
    assert await store.records() == []


async def test_a_lease_outlives_its_store(open_store: Open) -> None:
    async with open_store() as store:
        await store.commit(lease_change(None, "1"))
    async with open_store() as store:
        assert [lease.holder for lease in await store.leases()] == ["1"]


@pytest.mark.parametrize("expected", ["alpha", "beta"])
async def test_a_move_may_demand_that_the_leg_is_still_the_same(
    store: Store, expected: str
) -> None:
    await store.commit(opening("1", endpoint="alpha"))
    move = replace(close_move("1", "{}"), expect_endpoint=expected)
    unit = UnitOfWork(records=(record(RecordKind.CLOSED, "1"),), moves=(move,))
    if expected == "alpha":
        await store.commit(unit)
    else:
        with pytest.raises(OwnershipLost):
            await store.commit(unit)
    found = await store.find_transaction("1")
    assert found is not None
    assert (found.state is TransactionState.CLOSED) == (expected == "alpha")


CODE = PaymentCode(
    id="1-1",
    merchant_id="M1",
    terminal_id="",
    text="000201",
    amount_minor=1250,
    currency="978",
    reference="order 7",
    created_at=AT,
    expires_at=1_800_000_000.25,
)
ROWS: tuple[Row, ...] = (
    SpentCode(id="a1b2", transaction_id="1-2"),
    CardCounter(id="c3d4", atc=7, transaction_id="1-2"),
    SettledBatch(id="T1/978", number=7),
    CODE,
    CodePayment(
        id="1-2",
        code_id="1-1",
        merchant_id="M1",
        wallet="purse",
        debtor="A. Payer",
        debtor_account="DE89370400440532013000",
        debtor_agent="NORTDEFFXXX",
        reference="order 7",
    ),
    StoredWish(
        id="1-4",
        client="till",
        merchant_id="M1",
        terminal_id="WEB1",
        kind="purchase",
        amount_minor=1250,
        currency="978",
        reference="order 7",
        created_at=AT,
        stan="000004",
        local_at="2026-06-01T12:00:00",
    ),
    StoredAnswer(id="till|key", digest="d", resource="1-2", status=201, body="{}"),
    Callback(
        id="1-2.succeeded",
        merchant_id="M1",
        transaction_id="1-2",
        body="{}",
        created_at=1.0,
        next_at=2.5,
        expires_at=86_401.0,
    ),
)


def row_move(expect: Row | None, row: Row) -> UnitOfWork:
    """Make the unit that keeps or changes a row."""
    return UnitOfWork(records=(), rows=(RowMove(expect=expect, row=row),))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: type(row).__name__)
async def test_a_row_is_found_as_it_was_kept(store: Store, row: Row) -> None:
    assert await store.find_row(type(row), row.id) is None
    await store.commit(row_move(None, row))
    assert await store.find_row(type(row), row.id) == row
    with pytest.raises(OwnershipLost):
        await store.commit(row_move(None, row))


async def test_a_row_changes_from_what_was_expected_only(store: Store) -> None:
    paying = replace(CODE, state=CodeState.PAYING, payment_id="1-2")
    await store.commit(row_move(None, CODE))
    await store.commit(row_move(CODE, paying))
    with pytest.raises(OwnershipLost):
        await store.commit(row_move(CODE, replace(paying, payment_id="1-3")))
    assert await store.find_row(PaymentCode, CODE.id) == paying


async def test_what_is_refused_with_a_row_leaves_nothing(store: Store) -> None:
    await store.commit(row_move(None, CODE))
    refused = replace(row_move(None, CODE), opens=(transaction("9"),))
    with pytest.raises(OwnershipLost):
        await store.commit(refused)
    assert await store.find_transaction("9") is None


async def test_rows_are_found_by_their_state(store: Store) -> None:
    callback = ROWS[-1]
    assert isinstance(callback, Callback)
    done = replace(callback, id="1-3.failed", state=CallbackState.DELIVERED)
    for row in (done, callback, CODE):
        await store.commit(row_move(None, row))
    assert await store.find_rows(Callback, state="pending") == [callback]
    assert await store.find_rows(Callback, state="given_up") == []


async def test_old_answers_and_ended_callbacks_are_forgotten(store: Store) -> None:
    answer = StoredAnswer(id="a", digest="d", resource="1-2", created_at=5.0)
    owed = ROWS[-1]
    assert isinstance(owed, Callback)
    told = replace(owed, id="1-3.failed", state=CallbackState.DELIVERED)
    newer = replace(answer, id="b", created_at=10.0)
    for row in (answer, newer, owed, told):
        await store.commit(row_move(None, row))
    forgets = (
        Forget(kind=StoredAnswer, before=10.0),
        Forget(kind=Callback, before=10.0),
    )
    await store.commit(UnitOfWork(records=(), forgets=forgets))
    for row, is_kept in ((answer, False), (newer, True), (owed, True), (told, False)):
        found = await store.find_row(type(row), row.id)
        assert (found is not None) == is_kept


async def test_not_all_that_is_old_is_forgotten_at_once(store: Store) -> None:
    for name in "abc":
        row = StoredAnswer(id=name, digest="d", resource="", created_at=1.0)
        await store.commit(row_move(None, row))
    forget = Forget(kind=StoredAnswer, before=2.0, limit=2)
    for kept in (1, 0):
        await store.commit(UnitOfWork(records=(), forgets=(forget,)))
        found = [await store.find_row(StoredAnswer, name) for name in "abc"]
        assert len([row for row in found if row]) == kept


async def test_a_transfer_is_found_by_its_transaction(store: Store) -> None:
    await store.commit(transfer_move(None, TRANSFER))
    assert await store.find_transfer_of(TRANSFER.id) == TRANSFER
    assert await store.find_transfer_of("another") is None
