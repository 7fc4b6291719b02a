"""Store and forward: what must reach an endpoint, however long it takes.

Entries of one card go out one after the other, different cards side by side within
the endpoint's window. The first write is an xx20 and every later one an xx21; after a
restart every entry is taken to have been written. Silence is answered with patience
(exponential pauses up to a cap), an explicit refusal with quarantine: nothing is ever
dropped, and a poison entry blocks nobody but its own card until it is quarantined.

Each endpoint's entries are drained by one node, the holder of its lease, which is one
that may connect to it (``leases.py``). With several nodes on one store it learns from
the store, not from its own commits, what came when: so the order of a card's entries
holds wherever they were committed.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import structlog
import trio

from isoswitch.codecs.canonical.codes import ResponseCode, ReversalReason
from isoswitch.codecs.canonical.errors import (
    DecodeError,
    EncodeError,
    HsmError,
    LinkDown,
    MacMismatch,
    NoAnswer,
    StoreUnavailable,
)
from isoswitch.codecs.canonical.sealing import unpack_advice, unpack_reversal
from isoswitch.codecs.canonical.transaction import Transaction
from isoswitch.codecs.dialects.dialect import LegNumbers
from isoswitch.codecs.dialects.settlement import day_fields
from isoswitch.codecs.iso8583.message import Message
from isoswitch.journal.records import Record, RecordKind
from isoswitch.store.port import (
    Committed,
    OwnershipLost,
    SafEntry,
    SafMessage,
    SafState,
    SafUpdate,
    UnitOfWork,
)
from isoswitch.switch.leases import NODE
from isoswitch.switch.legs import (
    SealLost,
    authenticate,
    open_sealed,
    verify_answer,
)
from isoswitch.switch.links import Link
from isoswitch.switch.ports import iso_time
from isoswitch.switch.services import Services

# The endpoint has it, or has nothing to undo.
DELIVERED_CODES = {
    SafMessage.REVERSAL: {ResponseCode.APPROVED, ResponseCode.ORIGINAL_NOT_FOUND},
    SafMessage.ADVICE: {ResponseCode.APPROVED},
}
# The endpoint asks for patience, or the keys changed while a message was on its way:
# the next one is made with the key of then.
RETRY_CODES = frozenset(
    {
        ResponseCode.ISSUER_UNAVAILABLE,
        ResponseCode.SYSTEM_MALFUNCTION,
        ResponseCode.CUTOVER_IN_PROGRESS,
        ResponseCode.SECURITY_VIOLATION,
    }
)
# How long a lane waits for its link, or at most after something came due.
TICK_S = 0.5
# How often a shared store is asked what other nodes have committed.
POLL_S = 1.0
# How many entries are read at once; others want to read, too.
PAGE = 1_000

log = structlog.get_logger()


@dataclass(slots=True, eq=False)
class Item:
    """An entry on its way, and whether it may have been written before."""

    entry: SafEntry
    is_repeat: bool
    refusals: int = 0


@dataclass(slots=True, eq=False)
class Lane:
    """The entries for one endpoint: a queue for each card, and who is due when.

    ``is_taken`` says that this node has read what was owed before, and has had the
    lane since; ``known`` are the entries in the queues.
    """

    link: Link
    holds_lease: Callable[[], bool]
    is_taken: bool = False
    known: set[int] = field(default_factory=set)
    queues: dict[str, deque[Item]] = field(default_factory=dict)
    due: list[tuple[float, str]] = field(default_factory=list)
    sending_count: int = 0
    changed: trio.lowlevel.ParkingLot = field(default_factory=trio.lowlevel.ParkingLot)

    @property
    def may_send(self) -> bool:
        """Whether entries can go out now, and from this node."""
        return self.link.is_up and self.holds_lease()

    def put(self, item: Item) -> None:
        """Append an entry to its card's queue, unless it is there already."""
        if item.entry.id in self.known:
            return
        self.known.add(item.entry.id)
        key = item.entry.order_key
        queue = self.queues.get(key)
        if queue is None:
            queue = self.queues[key] = deque()
            heapq.heappush(self.due, (trio.current_time(), key))
        queue.append(item)
        self.changed.unpark_all()

    def take_due(self, now: float) -> list[str]:
        """Give the keys whose heads may go now, within the window."""
        keys: list[str] = []
        room = self.link.settings.saf_window - self.sending_count
        while room > len(keys) and self.due and self.due[0][0] <= now:
            keys.append(heapq.heappop(self.due)[1])
        self.sending_count += len(keys)
        return keys

    def is_waiting(self, key: str) -> bool:
        """Whether the queue of a key is there, and nothing of it is on the wire."""
        return any(name == key for _, name in self.due)

    def hurry(self, key: str) -> None:
        """Let a key come up now, wherever it stands."""
        if self.is_waiting(key):
            self.due = [each for each in self.due if each[1] != key]
            heapq.heapify(self.due)
            heapq.heappush(self.due, (trio.current_time(), key))
            self.changed.unpark_all()

    def withdraw(self, entry: SafEntry) -> bool:
        """Take an entry out of its queue, unless its queue is on the wire."""
        key = entry.order_key
        if entry.id not in self.known or not self.is_waiting(key):
            return False
        queue = deque(each for each in self.queues[key] if each.entry.id != entry.id)
        self.known.discard(entry.id)
        if queue:
            self.queues[key] = queue
        else:
            del self.queues[key]
            self.due = [each for each in self.due if each[1] != key]
            heapq.heapify(self.due)
        return True

    def drop_head(self, key: str) -> None:
        """Forget the entry that stands first in a queue: it needs nothing more."""
        self.known.discard(self.queues[key].popleft().entry.id)

    def put_back(self, key: str, *, pause_s: float) -> None:
        """Let a key come up again, unless its queue is empty."""
        self.sending_count -= 1
        if self.queues[key]:
            heapq.heappush(self.due, (trio.current_time() + pause_s, key))
        else:
            del self.queues[key]
        self.changed.unpark_all()

    def next_look(self, now: float) -> float:
        """Give the time at which something may have come due without being put."""
        if not self.due:
            return math.inf
        if self.may_send and self.sending_count < self.link.settings.saf_window:
            return max(self.due[0][0], now)
        return now + TICK_S


class Saf:
    """Drains the store-and-forward entries of every endpoint."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._lanes = {
            name: Lane(link, partial(services.leases.drains, link.settings))
            for name, link in services.links.items()
        }
        self._committed = trio.lowlevel.ParkingLot()
        self._reading = trio.Lock()
        # Every pending entry up to this one was taken on, for the lanes that are taken.
        self._last_id = 0
        # What is put while the store still says what was owed before it.
        self._early: list[SafEntry] = []
        self._unknown: set[str] = set()

    @property
    def waiting_count(self) -> int:
        """How many entries are not delivered yet."""
        return sum(
            len(queue)
            for lane in self._lanes.values()
            for queue in lane.queues.values()
        )

    async def take_over(self) -> None:
        """Take on what is owed to the endpoints that are this node's to serve.

        That is what came since the last time, and all of it for endpoints that were
        not this node's to serve until now.
        """
        async with self._reading:
            ours = {each for each, lane in self._lanes.items() if lane.holds_lease()}
            for lane in self._lanes.values():
                lane.is_taken = lane.is_taken and lane.holds_lease()
            if not ours:
                return
            if not all(self._lanes[each].is_taken for each in ours):
                self._last_id = 0
            await self._read(ours)
            for each in ours:
                self._lanes[each].is_taken = True
        early, self._early = self._early, []
        for entry in early:
            self._lanes[entry.endpoint].put(Item(entry, is_repeat=False))

    async def _read(self, ours: set[str]) -> None:
        """Take on, page by page, what came after the last entry that was read."""
        # What is delivered while the store answers is pending in its answer.
        known = {each for name in ours for each in self._lanes[name].known}
        others = self._lanes.keys() - ours
        page: Sequence[SafEntry] | None = None
        while page is None or len(page) == PAGE:
            page = await self._services.store.pending_saf(
                after_id=self._last_id, without=others, limit=PAGE
            )
            for entry in page:
                self._last_id = entry.id
                lane = self._lanes.get(entry.endpoint)
                if lane is None:
                    self._tell_unknown(entry)
                elif entry.id not in known:
                    # Whoever had the lane before may have written what lies in it.
                    lane.put(Item(entry, not lane.is_taken or entry.attempts > 0))

    def take_back(self, entry: SafEntry) -> None:
        """Take on an entry that was set aside, or was to be."""
        lane = self._lanes.get(entry.endpoint)
        if lane is not None and lane.holds_lease():
            lane.put(Item(entry, is_repeat=entry.attempts > 0))

    def is_sent_elsewhere(self, entry: SafEntry) -> bool:
        """Whether another node sends what is owed to an entry's endpoint."""
        lane = self._lanes.get(entry.endpoint)
        return lane is not None and not lane.holds_lease()

    def hurry(self, entry: SafEntry) -> None:
        """Send what waits with an entry as soon as the link is up."""
        lane = self._lanes.get(entry.endpoint)
        if lane is not None:
            lane.hurry(entry.order_key)

    def withdraw(self, entry: SafEntry) -> bool:
        """Send an entry no more; False when it is on the wire, or not ours to send."""
        lane = self._lanes.get(entry.endpoint)
        return lane is not None and lane.withdraw(entry)

    def follow(self, unit: UnitOfWork, committed: Committed) -> None:
        """Take on what a unit of this node has put; to be called in journal order."""
        if self._services.store.is_shared:
            # Also the lanes that it has won; its own sign of life changes nothing.
            has_won = any(not each.name.startswith(NODE) for each in unit.leases)
            sends = any(not self.is_sent_elsewhere(e) for e in committed.saf_entries)
            if sends or has_won:
                self._committed.unpark_all()
            return
        for entry in committed.saf_entries:
            lane = self._lanes.get(entry.endpoint)
            if lane is None:
                self._tell_unknown(entry)
            elif lane.is_taken:
                lane.put(Item(entry, is_repeat=False))
            else:
                self._early.append(entry)

    async def run(self) -> None:
        """Deliver entries until cancelled."""
        async with trio.open_nursery() as nursery:
            for lane in self._lanes.values():
                nursery.start_soon(self._drain, lane)
            nursery.start_soon(self._read_store)

    async def _read_store(self) -> None:
        """Take on what is owed already, and from a shared store what any node commits.

        Raises nothing: what is owed can wait until the store can be read.
        """
        lanes = self._lanes.values()
        while self._services.store.is_shared or not all(x.is_taken for x in lanes):
            try:
                await self.take_over()
            except StoreUnavailable as error:
                log.error("saf_not_followed", reason=str(error))
            with trio.move_on_after(POLL_S):
                await self._committed.park()

    def _tell_unknown(self, entry: SafEntry) -> None:
        # It stays pending in the store until the endpoint is configured again.
        if entry.endpoint not in self._unknown:
            self._unknown.add(entry.endpoint)
            log.error("saf_endpoint_unknown", endpoint=entry.endpoint)

    async def _drain(self, lane: Lane) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                if lane.may_send:
                    for key in lane.take_due(trio.current_time()):
                        nursery.start_soon(self._send_head, lane, key)
                with trio.CancelScope(deadline=lane.next_look(trio.current_time())):
                    await lane.changed.park()

    async def _send_head(self, lane: Lane, key: str) -> None:
        item = lane.queues[key][0]
        pause_s = self._pause_s(lane.link, item)
        try:
            state, reason = await self._send(lane.link, item)
            if state is not SafState.PENDING:
                await self._finish(item, state, reason)
                lane.drop_head(key)
                pause_s = 0.0
        except OwnershipLost:
            # The node that had this lane before has heard its acknowledgement.
            lane.drop_head(key)
        except (StoreUnavailable, HsmError) as error:
            self._services.health.notice(
                "saf_postponed", error, transaction=item.entry.transaction_id
            )
        finally:
            lane.put_back(key, pause_s=pause_s)

    async def _send(self, link: Link, item: Item) -> tuple[SafState, str]:
        """Send the head of a queue once and judge what came back."""
        try:
            message = await self._build(link, item)
            await self._note_attempt(link, item, message)
            answer = await link.request(
                message,
                deadline=trio.current_time() + link.settings.request_timeout_s,
                transaction_id=item.entry.transaction_id,
            )
            item.is_repeat = True
            await verify_answer(self._services.hsm, link, answer)
            code = link.dialect.to_code(answer)
        except LinkDown:
            return SafState.PENDING, ""
        except (NoAnswer, MacMismatch, DecodeError):
            item.is_repeat = True
            return SafState.PENDING, ""
        except EncodeError as error:
            return SafState.QUARANTINED, f"cannot be encoded: {error}"
        except SealLost as error:
            return SafState.QUARANTINED, str(error)
        if code in DELIVERED_CODES[item.entry.message]:
            return SafState.DELIVERED, code
        item.refusals += 1
        if code in RETRY_CODES and item.refusals < link.settings.saf_refusals_max:
            return SafState.PENDING, code
        return SafState.QUARANTINED, f"refused with {code}"

    async def _build(self, link: Link, item: Item) -> Message:
        packed = await open_sealed(self._services, item.entry.sealed)
        txn = _unpack(item.entry, packed)
        numbers = LegNumbers(
            stan=txn.stan,
            rrn=txn.rrn,
            transmitted_at=self._services.clock.now(),
            acquirer_id=txn.acquirer_id,
            repeat=item.is_repeat,
        )
        extra = day_fields(link.dialect, item.entry.business_date)
        message = link.dialect.to_request(txn, numbers, mac=True, extra=extra)
        return await authenticate(
            self._services.hsm, link.dialect, message, link.settings.zak
        )

    async def _note_attempt(self, link: Link, item: Item, message: Message) -> None:
        entry = item.entry = replace(item.entry, attempts=item.entry.attempts + 1)
        record = self._record(
            RecordKind.FORWARDED,
            item,
            {
                "endpoint": entry.endpoint,
                "attempt": entry.attempts,
                "message": message.masked(),
            },
        )
        next_at = self._services.clock.now().timestamp() + self._pause_s(link, item)
        update = SafUpdate(
            id=entry.id, attempts=entry.attempts, next_at=next_at, reason=entry.reason
        )
        await self._services.store.commit(
            UnitOfWork(records=(record,), saf_updates=(update,))
        )

    async def _finish(self, item: Item, state: SafState, reason: str) -> None:
        entry = item.entry
        delivered = state is SafState.DELIVERED
        kind = RecordKind.DELIVERED if delivered else RecordKind.QUARANTINED
        body = {"endpoint": entry.endpoint, "reason": reason}
        records = [self._record(kind, item, body)]
        if not delivered:
            # The endpoint goes on as if it had not happened: somebody must find out
            # who pays.
            untold = f"the {entry.message} for {entry.endpoint} is set aside: {reason}"
            records.append(self._record(RecordKind.EXCEPTION, item, {"reason": untold}))
        update = SafUpdate(
            id=entry.id,
            attempts=entry.attempts,
            next_at=0.0,
            state=state,
            reason=reason,
        )
        await self._services.store.commit(
            UnitOfWork(records=tuple(records), saf_updates=(update,))
        )
        event = "saf_delivered" if delivered else "saf_quarantined"
        log.info(event, transaction=entry.transaction_id, reason=reason)

    def _record(self, kind: RecordKind, item: Item, body: dict[str, Any]) -> Record:
        at = iso_time(self._services.clock.now())
        return Record(
            kind=kind, transaction_id=item.entry.transaction_id, at=at, body=body
        )

    def _pause_s(self, link: Link, item: Item) -> float:
        settings = link.settings
        doubled: float = settings.saf_retry_s * 2 ** min(item.entry.attempts, 16)
        return min(doubled, settings.saf_retry_max_s)


def _unpack(entry: SafEntry, packed: bytes) -> Transaction:
    if entry.message is SafMessage.ADVICE:
        return unpack_advice(packed)
    return unpack_reversal(
        packed,
        reason=ReversalReason(entry.reason or ReversalReason.TIMEOUT),
        amount_minor=entry.amount_minor,
        remaining_minor=entry.remaining_minor,
    )
