"""Pre-authorisations whose time is over: what is still held is given free.

The issuer gets a reversal down to what was completed, unless it forgets by itself. A
late completion, and a late reversal, then finds nothing.
"""

from __future__ import annotations

import structlog
import trio

from isoswitch.codecs.canonical.codes import ReversalReason
from isoswitch.codecs.canonical.errors import StoreUnavailable
from isoswitch.journal.records import Record, RecordKind
from isoswitch.ledger.entries import LedgerRefused
from isoswitch.ledger.holds import Hold, HoldState, Release
from isoswitch.store.port import (
    OwnershipLost,
    StoredTransaction,
    TransactionState,
    UnitOfWork,
)
from isoswitch.switch.accounts import undo
from isoswitch.switch.ports import iso_time
from isoswitch.switch.services import Services
from isoswitch.switch.units import reversal_of, undone

SWEEP_S = 60.0

log = structlog.get_logger()


async def expire_forever(services: Services) -> None:
    """Give free, at run time, what nobody completed in time."""
    while True:
        await trio.sleep(SWEEP_S)
        try:
            await expire(services)
        except StoreUnavailable as error:
            services.health.notice("expiry_postponed", error)


async def expire(services: Services) -> int:
    """Give free what is held too long; give the number of holds.

    While the wall clock is in doubt nothing expires.
    """
    if not services.health.trusts_clock():
        return 0
    now, count = iso_time(services.clock.now()), 0
    for each in await services.store.expired_holds(now):
        async with services.jobs.claims.hold(each.id):
            row = await services.store.find_transaction(each.id)
            hold = await services.store.find_hold(each.id)
            if row is None or hold is None or not _is_over(row, hold, now):
                continue
            try:
                await _expire(services, row, hold, now)
            except (LedgerRefused, OwnershipLost) as error:
                # Another node was faster.
                log.info("not_expired", transaction=row.id, reason=str(error))
            else:
                count += 1
    if count:
        log.warning("holds_expired", count=count)
    return count


def _is_over(row: StoredTransaction, hold: Hold, now: str) -> bool:
    """Whether a hold still waits, decided and not renewed in the meantime."""
    is_open = hold.state is HoldState.OPEN and hold.expires_at <= now
    return is_open and row.state is TransactionState.CLOSED


async def _expire(
    services: Services, row: StoredTransaction, hold: Hold, now: str
) -> None:
    """Release a hold, mark its transaction, and owe the issuer its reversal."""
    business_date = services.days.date
    undoing = undo(row, hold, by=row.id, business_date=business_date)
    link = services.links.get(row.endpoint)
    is_told = link is None or link.settings.tells_expiry
    body = {"endpoint": row.endpoint, "minor": hold.remaining_minor}
    owed = {"endpoint": row.endpoint, "reason": "its time was over"}
    records = [
        Record(kind=RecordKind.EXPIRED, transaction_id=row.id, at=now, body=body),
        Record(kind=RecordKind.REVERSAL_OWED, transaction_id=row.id, at=now, body=owed),
    ]
    reversal = reversal_of(
        row,
        undoing,
        reason=ReversalReason.UNSPECIFIED,
        business_date=business_date,
    )
    await services.store.commit(
        UnitOfWork(
            records=tuple(records if is_told else records[:1]),
            moves=(undone(row, undoing),),
            saf_puts=(reversal,) if is_told else (),
            ledger=(
                Release(id=hold.id, is_expired=True, from_minor=hold.remaining_minor),
            ),
        )
    )
