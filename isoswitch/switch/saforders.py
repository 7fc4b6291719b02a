"""What operators order about what is owed: try again now, set aside, call it settled.

Each order is written down with its operator, in one unit of work with what it changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import structlog

from isoswitch.codecs.canonical.errors import ConfigError, StoreUnavailable
from isoswitch.journal.records import Record, RecordKind
from isoswitch.store.port import (
    OwnershipLost,
    SafEntry,
    SafState,
    SafUpdate,
    UnitOfWork,
)
from isoswitch.switch.leases import drain_lease
from isoswitch.switch.ports import iso_time
from isoswitch.switch.saf import Saf
from isoswitch.switch.services import Services

RETRY = "saf retry"
RESOLVE = "resolve exception"
EXCEPTIONS = frozenset({RecordKind.EXCEPTION})

log = structlog.get_logger()


async def retry_entry(
    services: Services, saf: Saf, entry_id: int, *, operator: str
) -> SafEntry:
    """Send an entry as soon as its link is up, also one that was set aside.

    Raises
    ------
    ConfigError
        There is no such entry, it is delivered, or another node sends it.
    StoreUnavailable
        The order cannot be written down; nothing is done.
    """
    entry = await _find(services, entry_id)
    if saf.is_sent_elsewhere(entry):
        msg = f"another node sends entry {entry_id} to {entry.endpoint}; order it there"
        raise ConfigError(msg)
    body = {"order": RETRY, "operator": operator, "entry": entry_id}
    updates: tuple[SafUpdate, ...] = ()
    if entry.state is SafState.QUARANTINED:
        # Why it was set aside is in the journal, and no reason for the endpoint.
        updates = (SafUpdate(id=entry.id, attempts=entry.attempts, next_at=0.0),)
    unit = _unit(services, entry, {RecordKind.OPERATOR: body}, updates)
    try:
        await _commit_as_sender(services, entry, unit)
    except OwnershipLost:
        msg = f"entry {entry_id} is delivered by now, or another node's; order again"
        raise ConfigError(msg) from None
    try:
        # What came before it goes out before it.
        await saf.take_over()
    except StoreUnavailable as error:
        # It is ordered: what cannot be read now waits, it does not.
        log.warning("saf_not_followed", reason=str(error))
    saf.take_back(replace(entry, state=SafState.PENDING, reason=""))
    saf.hurry(entry)
    return entry


async def park_entry(
    services: Services, saf: Saf, entry_id: int, *, reason: str, operator: str
) -> SafEntry:
    """Set an entry aside by hand, so that what waits behind it goes on.

    Raises
    ------
    ConfigError
        There is no such entry, it does not wait, or it is being sent just now.
    StoreUnavailable
        The order cannot be written down; nothing is done.
    """
    entry = await _find(services, entry_id)
    if entry.state is not SafState.PENDING:
        msg = f"entry {entry_id} is {entry.state}; only what waits can be parked"
        raise ConfigError(msg)
    if not saf.withdraw(entry):
        msg = f"entry {entry_id} is being sent, or another node sends it; order again"
        raise ConfigError(msg)
    said = f"parked by {operator}: {reason}"
    update = SafUpdate(
        id=entry.id,
        attempts=entry.attempts,
        next_at=0.0,
        state=SafState.QUARANTINED,
        reason=said,
    )
    bodies: dict[RecordKind, dict[str, Any]] = {
        RecordKind.OPERATOR: {
            "order": "saf park",
            "operator": operator,
            "entry": entry_id,
            "reason": reason,
        },
        RecordKind.QUARANTINED: {"reason": said},
    }
    try:
        await services.store.commit(_unit(services, entry, bodies, (update,)))
    except BaseException:
        # Whatever came between: the store has it as one that waits.
        saf.take_back(entry)
        raise
    return entry


async def resolve_exception(
    services: Services, seq: int, *, note: str, operator: str
) -> str:
    """Write down that an operator has dealt with an exception; give its transaction.

    Raises
    ------
    ConfigError
        Record ``seq`` of the journal is no exception.
    StoreUnavailable
        It cannot be written down.
    """
    found = await services.store.records(after_seq=seq - 1, limit=1)
    if not found or found[0].seq != seq or found[0].record.kind not in EXCEPTIONS:
        msg = f"record {seq} is no exception; `isoswitch exceptions list` shows them"
        raise ConfigError(msg)
    transaction_id = found[0].record.transaction_id
    body = {
        "order": RESOLVE,
        "operator": operator,
        "exception": seq,
        "note": note,
    }
    await services.recorder.note(RecordKind.OPERATOR, transaction_id, body)
    return transaction_id


async def _find(services: Services, entry_id: int) -> SafEntry:
    entry = await services.store.find_saf(entry_id)
    if entry is None or entry.state is SafState.DELIVERED:
        state = "is delivered" if entry else "does not exist"
        msg = f"entry {entry_id} {state}; `isoswitch saf list` shows what is owed"
        raise ConfigError(msg)
    return entry


async def _commit_as_sender(
    services: Services, entry: SafEntry, unit: UnitOfWork
) -> None:
    """Commit while this node still sends an entry; raises OwnershipLost.

    Another node reads what is owed when it takes over, and would not see it later.
    """
    link = services.links.get(entry.endpoint)
    if link is None:
        await services.store.commit(unit)
    else:
        await services.leases.commit_as_holder(drain_lease(link.settings), unit)


def _unit(
    services: Services,
    entry: SafEntry,
    bodies: Mapping[RecordKind, Mapping[str, Any]],
    updates: tuple[SafUpdate, ...],
) -> UnitOfWork:
    at = iso_time(services.clock.now())
    records = tuple(
        Record(
            kind=kind,
            transaction_id=entry.transaction_id,
            at=at,
            body={"endpoint": entry.endpoint, **body},
        )
        for kind, body in bodies.items()
    )
    return UnitOfWork(records=records, saf_updates=updates)
