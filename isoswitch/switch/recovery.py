"""What a restart, or a lost owner, leaves behind, and how it is brought to an end.

A transaction that may have been sent is timed out: its reversal goes to store and
forward and its answer becomes a decline, in one unit. The same function serves the
start, when every transaction that this node left open has lost its owner, and the
sweeper at run time, which also finds what another node left that has died since.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog
import trio

from isoswitch.codecs.canonical.codes import ResponseCode
from isoswitch.codecs.canonical.errors import StoreUnavailable
from isoswitch.codecs.canonical.sealing import store_outcome
from isoswitch.codecs.canonical.transaction import Outcome
from isoswitch.journal.records import Record, RecordKind
from isoswitch.ledger.holds import Release
from isoswitch.store.port import (
    Move,
    OwnershipLost,
    SafEntry,
    StoredTransaction,
    TransactionState,
    UnitOfWork,
)
from isoswitch.switch.accounts import SIDES
from isoswitch.switch.ports import iso_time
from isoswitch.switch.services import Services

ABANDONED = Outcome.declined(
    ResponseCode.ISSUER_UNAVAILABLE, "its owner was lost before the outcome was known"
)
SWEEP_S = 0.5
# How many are brought to an end side by side, so that they share commits.
AT_ONCE_MAX = 100

log = structlog.get_logger()


async def recover(services: Services, seen_at: dict[str, float] | None = None) -> int:
    """Bring every open transaction to an end that no owner will; give their number.

    ``seen_at`` remembers, from one call to the next, since when one has no owner. Its
    age is not used: the wall clock that dates it may have moved.
    """
    now = trio.current_time()
    rows = await services.store.open_transactions()
    # What a transfer moves ends when the transfer does (`codes.py`).
    houses = services.settings.houses
    lost = [
        row
        for row in rows
        if not services.jobs.owns(row.id) and row.endpoint not in houses
    ]
    since = {row.id: (seen_at or {}).get(row.id, now) for row in lost}
    live = await services.leases.live_boots() if lost else frozenset()
    ownerless = [
        row for row in lost if _is_lost(services, row, live, lost_s=now - since[row.id])
    ]
    closed_count = await _abandon_all(services, ownerless)
    if seen_at is not None:
        seen_at.clear()
        seen_at.update(since)
    if closed_count:
        log.warning("transactions_recovered", count=closed_count)
    return closed_count


async def sweep_forever(services: Services) -> None:
    """Close, at run time, what is past its deadline and has no owner."""
    seen_at: dict[str, float] = {}
    while True:
        await trio.sleep(SWEEP_S)
        try:
            await recover(services, seen_at)
        except StoreUnavailable as error:
            services.health.notice("sweep_postponed", error)


def _is_lost(
    services: Services,
    row: StoredTransaction,
    live: frozenset[str],
    *,
    lost_s: float,
) -> bool:
    boot = row.id.partition("-")[0]
    if boot != str(services.leases.boot):
        # What a boot that has ended opened has no owner any more, however young it is.
        return boot not in live
    return lost_s > services.settings.transaction_timeout_s


async def _abandon_all(services: Services, rows: Sequence[StoredTransaction]) -> int:
    """Bring transactions to an end, oldest first; give how many nobody else had.

    Raises
    ------
    StoreUnavailable
        Some of them stay as they are.
    """
    waiting = iter(rows)
    closed_count = 0
    faults: list[StoreUnavailable] = []

    async def work() -> None:
        nonlocal closed_count
        for row in waiting:
            try:
                if await _abandon(services, row):
                    closed_count += 1
            except StoreUnavailable as fault:
                faults.append(fault)
            # A commit cannot be cancelled, but whoever has lost its lease ends here.
            await trio.lowlevel.checkpoint_if_cancelled()
            if faults:
                return

    async with trio.open_nursery() as nursery:
        for _ in range(min(AT_ONCE_MAX, len(rows))):
            nursery.start_soon(work)
    if faults:
        raise faults[0]
    return closed_count


async def _abandon(services: Services, row: StoredTransaction) -> bool:
    at = iso_time(services.clock.now())
    reason = ABANDONED.reason

    def record(kind: RecordKind, body: dict[str, str]) -> Record:
        return Record(kind=kind, transaction_id=row.id, at=at, body=body)

    records = [
        record(RecordKind.TIMED_OUT, {"endpoint": row.endpoint, "reason": reason})
    ]
    entries: tuple[SafEntry, ...] = ()
    if row.sealed:
        body = {"endpoint": row.endpoint, "reason": reason}
        records.append(record(RecordKind.REVERSAL_OWED, body))
        entries = (
            SafEntry(
                transaction_id=row.id,
                endpoint=row.endpoint,
                order_key=row.pan_hash,
                sealed=row.sealed,
                business_date=row.business_date,
            ),
        )
    records.append(
        record(RecordKind.CLOSED, {"code": ABANDONED.code, "reason": reason})
    )
    move = Move(
        id=row.id,
        expect=row.state,
        state=TransactionState.CLOSED,
        outcome=store_outcome(ABANDONED),
        wipe=True,
        mark_reversed=bool(row.sealed),
        expect_endpoint=row.endpoint,
    )
    unit = UnitOfWork(
        records=tuple(records),
        moves=(move,),
        saf_puts=entries,
        ledger=(Release(id=row.id),) if row.kind in SIDES else (),
    )
    try:
        await services.store.commit(unit)
    except OwnershipLost:
        # Its reversal came from the terminal meanwhile, or another node was faster.
        return False
    return True
