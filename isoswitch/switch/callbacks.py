"""Results that merchants must hear: owed with the result itself, sent until heard.

A callback is kept in the unit that closes its transaction. It is sent again with longer
and longer pauses for a day; what was not heard then is given up and stays to be seen,
and replayed by hand. How bytes reach a merchant is not known here: ``Deliver`` does it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import structlog
import trio

from isoswitch.codecs.canonical.errors import ConfigError, StoreUnavailable
from isoswitch.journal.records import Record, RecordKind
from isoswitch.store.port import OwnershipLost, Store, UnitOfWork
from isoswitch.store.rows import Callback, CallbackState, Forget, RowMove, StoredAnswer
from isoswitch.switch.ports import Clock, iso_time
from isoswitch.switch.services import Services

TICK_S = 1.0
FIRST_PAUSE_S = 2.0
PAUSE_MAX_S = 3600.0
GIVEN_UP_AFTER_S = 24 * 3600.0
# Calls at once, in all and to one merchant, who may let each wait to its deadline:
# only who has heard the last one gets more than one.
AT_ONCE_MAX = 128
AT_ONCE_FOR_ONE = 8
# What of a merchant's is taken in hand: those calls, and who waits for them.
IN_HAND_MAX = 256
FORGET_S = 10.0

# Sends one callback; gives "" when the merchant took it, else why not.
Deliver = Callable[[Callback], Awaitable[str]]

log = structlog.get_logger()


def owe_callback(
    services: Services, merchant_id: str, told: Mapping[str, Any]
) -> tuple[RowMove, ...]:
    """Give the callback by which a merchant who hears any is told of a result."""
    merchant = services.settings.merchants.get(merchant_id)
    if merchant is None or merchant.payee is None or not merchant.payee.callback_url:
        return ()
    now = services.clock.now()
    event = f"{told['object']}.{told['state']}"
    callback_id = f"{told['id']}.{told['state']}"
    body = {"id": callback_id, "event": event, "at": iso_time(now), "data": dict(told)}
    callback = Callback(
        id=callback_id,
        merchant_id=merchant.id,
        transaction_id=told["id"],
        body=json.dumps(body, separators=(",", ":")),
        created_at=now.timestamp(),
        next_at=now.timestamp(),
        expires_at=now.timestamp() + GIVEN_UP_AFTER_S,
    )
    return (RowMove(expect=None, row=callback),)


def claimed(claim: StoredAnswer | None, resource: str) -> tuple[RowMove, ...]:
    """Give what keeps the idempotency key of a request with what the request made."""
    if claim is None:
        return ()
    return (RowMove(expect=None, row=replace(claim, resource=resource)),)


def pause_s(attempts: int) -> float:
    """Give how long to wait after so many attempts.

    Examples
    --------
    >>> [pause_s(attempts) for attempts in (1, 2, 3, 12, 40)]
    [2.0, 4.0, 8.0, 3600.0, 3600.0]
    """
    return min(FIRST_PAUSE_S * 2.0 ** min(attempts - 1, 32), PAUSE_MAX_S)


async def call_back_forever(
    store: Store,
    clock: Clock,
    deliver: Deliver,
    *,
    may_send: Callable[[], bool] = lambda: True,
) -> None:
    """Send what is owed, when it is due, until cancelled.

    No merchant waits for the server of another before ``AT_ONCE_MAX`` calls hang: one
    to each that did not hear the last, up to ``AT_ONCE_FOR_ONE`` to each that did.
    ``may_send`` tells whether it is this node that sends.
    """
    lines: dict[str, _Line] = defaultdict(_Line)
    limit = trio.CapacityLimiter(AT_ONCE_MAX)

    async def send(callback: Callback, line: _Line) -> None:
        reason: str | None = None
        async with line.limit, limit:
            # It may have waited, and another node may send by now.
            if may_send():
                reason = await deliver(callback)
                line.limit.total_tokens = 1 if reason else AT_ONCE_FOR_ONE
        if reason is not None:
            await _keep(store, callback, reason, now=clock.now().timestamp())
        line.in_hand.remove(callback.id)

    async with trio.open_nursery() as nursery:
        while True:
            # What is heard while the store is read may be read as not heard yet.
            held = {each for line in lines.values() for each in line.in_hand}
            now = clock.now().timestamp()
            owed: Sequence[Callback] = ()
            try:
                if may_send():
                    owed = await store.find_rows(Callback, state=CallbackState.PENDING)
            except StoreUnavailable as error:
                log.error("callbacks_postponed", reason=str(error))
            for callback in owed:
                line = lines[callback.merchant_id]
                is_due = callback.next_at <= now and callback.id not in held
                if is_due and len(line.in_hand) < IN_HAND_MAX:
                    line.in_hand.add(callback.id)
                    nursery.start_soon(send, callback, line)
            await trio.sleep(TICK_S)


async def forget_forever(store: Store, clock: Clock, *, kept_s: float) -> None:
    """Forget old answers to clients and ended callbacks, until cancelled."""
    while True:
        before = clock.now().timestamp() - kept_s
        forgets = tuple(
            Forget(kind=kind, before=before) for kind in (StoredAnswer, Callback)
        )
        try:
            await store.commit(UnitOfWork(records=(), forgets=forgets))
        except StoreUnavailable as error:
            log.error("forgetting_postponed", reason=str(error))
        await trio.sleep(FORGET_S)


async def replay_callback(
    services: Services, callback_id: str, *, operator: str
) -> Callback:
    """Owe a callback anew, whatever became of it.

    Raises
    ------
    ConfigError
        There is no such callback, or it was being sent just now.
    """
    found = await services.store.find_row(Callback, callback_id)
    if found is None:
        msg = f"no callback {callback_id}; `isoswitch callbacks list` names them"
        raise ConfigError(msg)
    now = services.clock.now()
    after = replace(
        found,
        state=CallbackState.PENDING,
        next_at=now.timestamp(),
        expires_at=now.timestamp() + GIVEN_UP_AFTER_S,
        reason="",
    )
    body = {"order": "replay callback", "operator": operator, "callback": callback_id}
    record = Record(
        kind=RecordKind.OPERATOR,
        transaction_id=found.transaction_id,
        at=iso_time(now),
        body=body,
    )
    move = RowMove(expect=found, row=after)
    try:
        await services.store.commit(UnitOfWork(records=(record,), rows=(move,)))
    except OwnershipLost:
        msg = f"callback {callback_id} was being sent just now; look, then order again"
        raise ConfigError(msg) from None
    return after


@dataclass(slots=True, eq=False)
class _Line:
    """The callbacks to one merchant that are being sent, or are next."""

    in_hand: set[str] = field(default_factory=set)
    limit: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(1))


async def _keep(store: Store, callback: Callback, reason: str, *, now: float) -> None:
    """Keep what came of sending a callback; ``reason`` is why it was not heard."""
    attempts = callback.attempts + 1
    next_at = now + pause_s(attempts)
    state = CallbackState.PENDING
    if not reason:
        state = CallbackState.DELIVERED
    elif next_at > callback.expires_at:
        state = CallbackState.GIVEN_UP
        log.error("callback_given_up", callback=callback.id, reason=reason)
    after = replace(
        callback, attempts=attempts, next_at=next_at, state=state, reason=reason
    )
    move = RowMove(expect=callback, row=after)
    try:
        await store.commit(UnitOfWork(records=(), rows=(move,)))
    except OwnershipLost:
        # An operator, or another node, was faster; the merchant hears it twice.
        log.info("callback_changed_meanwhile", callback=callback.id)
    except StoreUnavailable as error:
        log.error("callback_not_recorded", callback=callback.id, reason=str(error))
