"""The store of simulated worlds: the same promises, on trio alone.

A `MemoryDisk` outlives its `MemoryStore` as a disk outlives a process. Units become
durable in batches after a delay of virtual time, and waiters hear of it after another;
`MemoryStore.crash` between any two of these steps loses what a power cut would lose,
or keeps, as a kill does, what was written and not yet synced.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from itertools import islice

import outcome
import trio

from isoswitch.clearing.transfer import Transfer
from isoswitch.codecs.canonical.errors import IsoswitchError, StoreUnavailable
from isoswitch.codecs.canonical.sealing import load_outcome
from isoswitch.codecs.canonical.totals import TotalsLine
from isoswitch.journal.chain import Link, encode_record
from isoswitch.journal.records import ChainedRecord
from isoswitch.ledger.entries import Entry
from isoswitch.ledger.holds import Hold, HoldState
from isoswitch.store.days import (
    BusinessDay,
)
from isoswitch.store.disk import MemoryDisk, read_record
from isoswitch.store.port import (
    LIMIT_MAX,
    WAITING_MAX,
    Committed,
    Lease,
    Reconciliation,
    SafEntry,
    SafState,
    StoredTransaction,
    UnitOfWork,
    Verdict,
)
from isoswitch.store.rows import R
from isoswitch.store.standins import (
    Exposure,
    gather_exposures,
)
from isoswitch.store.takings import ISSUER_ACCOUNTS, Taking, gather_totals
from isoswitch.store.times import CommitTimes


class Step(Enum):
    """How far a batch has come; a process may die after each step."""

    UNWRITTEN = "before a write"
    WRITTEN = "before a sync"
    SYNCED = "after a sync"


class MemoryStore:
    """A `Store` over a `MemoryDisk`; its life is that of a process.

    Parameters
    ----------
    disk
        What an earlier store left, or a new one.
    is_shared
        Whether other stores over this disk, of other processes, are open as well.
    delay_s
        Called twice per batch: how long until it is durable, and how long after that
        until its waiters hear of it.
    on_step
        Told of every step of a batch; may crash the store.
    on_fatal
        Called when a sync fails; must crash the store.
    """

    def __init__(
        self,
        disk: MemoryDisk,
        *,
        is_shared: bool = False,
        delay_s: Callable[[], float] = lambda: 0.0,
        on_step: Callable[[Step], None] = lambda _: None,
        on_fatal: Callable[[], None] = lambda: None,
    ) -> None:
        self._disk = disk
        self.is_shared = is_shared
        self._delay_s = delay_s
        self._on_step = on_step
        self._on_fatal = on_fatal
        self._is_written = False
        self._queue: list[_Waiter] = []
        self._batch: list[_Waiter] = []
        self._idle = trio.Event()
        self._idle.set()
        self._committer: trio.lowlevel.Task | None = None
        self._applied: list[Callable[[UnitOfWork, Committed], None]] = []
        self._refusal = ""
        self.is_full = False
        self.is_unreadable = False
        self.is_sync_failing = False
        self.commit_times = CommitTimes()

    def crash(self, *, keeps_written: bool = False) -> None:
        """Die as a process does: what is not yet durable never will be.

        With ``keeps_written`` only the process dies and not the machine: what it had
        written is in the machine's memory and reaches the disk.

        Sleeping tasks hear `StoreUnavailable` so that their nursery can end, whether
        or not their unit is durable; nothing else of this store happens any more.
        """
        self._refusal = "the process has died"
        if keeps_written and self._is_written:
            for waiter in self._batch:
                self._apply(waiter)
        self._is_written = False
        lost = self._batch + self._queue
        self._batch, self._queue = [], []
        for waiter in lost:
            died = outcome.Error(StoreUnavailable(self._refusal))
            trio.lowlevel.reschedule(waiter.task, died)

    async def aclose(self) -> None:
        """Make durable what was handed over; nothing is accepted any more."""
        self._refusal = self._refusal or "the store is closed"
        with trio.CancelScope(shield=True):
            await self._idle.wait()

    async def commit(self, unit: UnitOfWork) -> Committed:
        """Sleep until the unit is durable; see `Store.commit`."""
        encoded = [encode_record(record) for record in unit.records]
        if self._refusal:
            raise StoreUnavailable(self._refusal)
        if len(self._queue) >= WAITING_MAX:
            msg = f"{WAITING_MAX} units of work wait for the store already"
            raise StoreUnavailable(msg)
        task = trio.lowlevel.current_task()
        self._queue.append(_Waiter(task=task, unit=unit, encoded=encoded))
        if self._idle.is_set():
            self._idle = trio.Event()
            if self._committer is None:
                # The disk is nobody's child: it works when its callers are cancelled.
                spawn = trio.lowlevel.spawn_system_task
                self._committer = spawn(self._commit_forever)
            else:
                trio.lowlevel.reschedule(self._committer)
        began_at = trio.current_time()
        committed: Committed = await trio.lowlevel.wait_task_rescheduled(
            lambda _: trio.lowlevel.Abort.FAILED
        )
        self.commit_times.observe(trio.current_time() - began_at)
        return committed

    def on_commit(self, applied: Callable[[UnitOfWork, Committed], None]) -> None:
        """Call this for every durable unit, in journal order; see `Store.on_commit`."""
        self._applied.append(applied)

    async def find_transaction(self, transaction_id: str) -> StoredTransaction | None:
        """Find a transaction by id."""
        await self._look()
        return self._disk.transactions.get(transaction_id)

    async def find_by_dedup_key(self, dedup_key: str) -> StoredTransaction | None:
        """Find the transaction that holds a dedup key."""
        await self._look()
        holder = self._disk.by_dedup_key.get(dedup_key)
        return None if holder is None else self._disk.transactions[holder]

    async def find_originals(
        self, terminal_id: str, stan: str
    ) -> Sequence[StoredTransaction]:
        """Give the transactions of a terminal with this STAN, newest first."""
        await self._look()
        return [
            transaction
            for transaction in reversed(self._disk.transactions.values())
            if (transaction.terminal_id, transaction.stan) == (terminal_id, stan)
        ]

    async def find_by_rrn(self, rrn: str) -> Sequence[StoredTransaction]:
        """Give the transactions with this RRN, newest first."""
        await self._look()
        return [
            transaction
            for transaction in reversed(self._disk.transactions.values())
            if transaction.rrn == rrn
        ]

    async def find_hold(self, hold_id: str) -> Hold | None:
        """Find a hold."""
        await self._look()
        return self._disk.holds.get(hold_id)

    async def expired_holds(self, now: str) -> Sequence[Hold]:
        """Give the open holds whose time was over at a UTC instant."""
        await self._look()
        expired = [
            hold
            for hold in self._disk.holds.values()
            if hold.state is HoldState.OPEN and "" < hold.expires_at <= now
        ]
        return sorted(expired, key=lambda hold: hold.expires_at)

    async def entries(self, business_date: str) -> Sequence[Entry]:
        """Give the ledger's entries of a business day in the order of their ids."""
        await self._look()
        entries = [
            entry
            for entry in self._disk.ledger.values()
            if entry.business_date == business_date
        ]
        return sorted(entries, key=lambda entry: entry.id)

    async def days(self) -> Sequence[BusinessDay]:
        """Give the business days, oldest first."""
        await self._look()
        return sorted(self._disk.days.values(), key=lambda day: day.date)

    async def day_totals(self, business_date: str) -> Sequence[TotalsLine]:
        """Give what a day's entries come to."""
        return self._totals(await self.entries(business_date))

    async def standing_of_card(
        self,
        pan_hash: str,
        *,
        kinds: Collection[str],
        verifications: Collection[str],
        limit: int,
    ) -> Sequence[StoredTransaction]:
        """Give an account's last approvals that stand, newest first.

        Of some kinds, and where the holder was verified in one of some ways.
        """
        await self._look()
        found = (
            row
            for row in reversed(self._disk.transactions.values())
            if row.pan_hash == pan_hash
            and row.kind in kinds
            and row.verification in verifications
            and not row.reversed
            and row.outcome
            and load_outcome(row.outcome).is_approved
        )
        return list(islice(found, limit))

    async def find_batch(self, terminal_id: str) -> int:
        """Give the number of a terminal's open batch."""
        await self._look()
        return self._disk.batches.get(terminal_id, 1)

    async def batch_transactions(
        self, terminal_id: str, since: int, *, currency: str = ""
    ) -> Sequence[StoredTransaction]:
        """Give a terminal's transactions from a batch on in their order."""
        await self._look()
        return [
            row
            for row in self._disk.transactions.values()
            if row.terminal_id == terminal_id
            and row.batch >= since
            and (not currency or row.currency in (currency, ""))
        ]

    async def batch_totals(self, terminal_id: str, since: int) -> Sequence[TotalsLine]:
        """Give what a terminal's entries from a batch on come to."""
        ids = {row.id for row in await self.batch_transactions(terminal_id, since)}
        return self._totals(
            entry for entry in self._disk.ledger.values() if entry.transaction_id in ids
        )

    async def reconciliations(
        self, business_date: str = ""
    ) -> Sequence[Reconciliation]:
        """Give those of a day, or all that are owed."""
        await self._look()
        return [
            each
            for _, each in sorted(self._disk.reconciliations.items())
            if each.business_date == business_date
            or (not business_date and each.verdict is Verdict.OWED)
        ]

    async def _look(self) -> None:
        """Take as long as a look at the disk does."""
        await trio.lowlevel.checkpoint()
        if self.is_unreadable:
            msg = "the store cannot be read"
            raise StoreUnavailable(msg)

    def _totals(self, entries: Iterable[Entry]) -> list[TotalsLine]:
        rows = self._disk.transactions
        return gather_totals(
            Taking(
                endpoint=posting.account.removeprefix(ISSUER_ACCOUNTS),
                terminal_id=rows[entry.transaction_id].terminal_id,
                currency=posting.currency,
                is_return=entry.id.endswith("/return"),
                is_debit=posting.minor > 0,
                count=1,
                minor=abs(posting.minor),
            )
            for entry in entries
            for posting in entry.postings
            if posting.account.startswith(ISSUER_ACCOUNTS)
        )

    async def exposures(self) -> Sequence[Exposure]:
        """Give what was approved in place of endpoints that they do not know yet."""
        await self._look()
        return gather_exposures(self._disk.untold())

    async def find_transfer(self, uetr: str) -> Transfer | None:
        """Find a transfer by its unique end-to-end reference."""
        await self._look()
        found = (each for each in self._disk.transfers.values() if each.uetr == uetr)
        return next(found, None)

    async def find_transfer_of(self, transaction_id: str) -> Transfer | None:
        """Find the transfer that a transaction caused."""
        await self._look()
        return self._disk.transfers.get(transaction_id)

    async def find_row(self, kind: type[R], row_id: str) -> R | None:
        """Find a row by its id."""
        await self._look()
        found = self._disk.rows.get((kind, row_id))
        return found if isinstance(found, kind) else None

    async def find_rows(self, kind: type[R], *, state: str) -> Sequence[R]:
        """Give the rows of a kind that are in a state, by id."""
        await self._look()
        found = [
            row
            for row in self._disk.by_kind[kind].values()
            if getattr(row, "state", "") == state
        ]
        return sorted(found, key=lambda row: row.id)

    async def open_transfers(self) -> Sequence[Transfer]:
        """Give the transfers of which something is still expected, oldest first."""
        await self._look()
        waiting = [each for each in self._disk.transfers.values() if not each.is_final]
        return sorted(waiting, key=lambda each: each.created_at)

    async def open_transactions(self) -> Sequence[StoredTransaction]:
        """Give every transaction that is not closed, oldest first."""
        await self._look()
        return list(self._disk.unclosed.values())

    async def pending_saf(
        self,
        *,
        after_id: int = 0,
        without: Collection[str] = (),
        limit: int = LIMIT_MAX,
    ) -> Sequence[SafEntry]:
        """Give pending store-and-forward entries in order; see `Store.pending_saf`."""
        await self._look()
        found = (
            entry
            for entry in self._disk.saf.values()
            if entry.state is SafState.PENDING
            and entry.id > after_id
            and entry.endpoint not in without
        )
        return list(islice(found, limit))

    async def is_owed(self, endpoint: str, *, until: str) -> bool:
        """Whether something of a day or of one before is owed to an endpoint."""
        await self._look()
        return any(
            entry.state is SafState.PENDING
            and entry.endpoint == endpoint
            and entry.business_date <= until
            for entry in self._disk.saf.values()
        )

    async def find_saf(self, entry_id: int) -> SafEntry | None:
        """Find a store-and-forward entry, whatever its state."""
        await self._look()
        return self._disk.saf.get(entry_id)

    async def leases(self) -> Sequence[Lease]:
        """Give every lease that somebody holds, by name."""
        await self._look()
        return [self._disk.leases[name] for name in sorted(self._disk.leases)]

    async def records(
        self,
        transaction_id: str | None = None,
        *,
        after_seq: int = 0,
        limit: int = 1000,
    ) -> Sequence[ChainedRecord]:
        """Give journal records in order, of one transaction or of all."""
        await self._look()
        links: Iterable[Link] = islice(self._disk.links, after_seq, None)
        if transaction_id is not None:
            places = self._disk.places.get(transaction_id, ())
            links = (self._disk.links[each] for each in places if each >= after_seq)
        return [
            ChainedRecord(
                seq=link.seq, record=read_record(link.encoded), hash=link.hash
            )
            for link in islice(links, limit)
        ]

    async def _commit_forever(self) -> None:
        while True:
            await self._commit_queued()
            self._idle.set()
            await trio.lowlevel.wait_task_rescheduled(
                lambda _: trio.lowlevel.Abort.SUCCEEDED
            )

    async def _commit_queued(self) -> None:
        """Commit batch after batch until nobody waits."""
        while self._queue:
            self._batch, self._queue = self._queue, []
            self._on_step(Step.UNWRITTEN)
            self._is_written = True
            self._on_step(Step.WRITTEN)
            await trio.sleep(self._delay_s())
            if self.is_sync_failing:
                # Nobody knows what is on the disk: the process ends.
                self._on_fatal()
            # A crash empties the batch: nothing is applied and nobody is told.
            results = [self._apply(waiter) for waiter in self._batch]
            self._is_written = False
            self._on_step(Step.SYNCED)
            await trio.sleep(self._delay_s())
            batch, self._batch = self._batch, []
            self._wake(batch, results)

    def _apply(self, waiter: _Waiter) -> Committed | Exception:
        if self.is_full:
            return StoreUnavailable("the store cannot commit: disk full")
        try:
            return self._disk.apply(waiter.unit, waiter.encoded)
        except (IsoswitchError, ValueError) as exc:
            return exc

    def _wake(
        self, batch: Sequence[_Waiter], results: Sequence[Committed | Exception]
    ) -> None:
        pairs = list(zip(batch, results, strict=False))
        for waiter, result in pairs:
            if isinstance(result, Committed):
                for applied in self._applied:
                    applied(waiter.unit, result)
        for waiter, result in pairs:
            told: outcome.Outcome[Committed] = (
                outcome.Value(result)
                if isinstance(result, Committed)
                else outcome.Error(result)
            )
            trio.lowlevel.reschedule(waiter.task, told)


@asynccontextmanager
async def open_memory_store(
    disk: MemoryDisk, *, delay_s: Callable[[], float] = lambda: 0.0
) -> AsyncIterator[MemoryStore]:
    """Open a store over a disk for as long as the block runs; see `MemoryStore`."""
    store = MemoryStore(disk, delay_s=delay_s)
    try:
        yield store
    finally:
        await store.aclose()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiter:
    """A task that sleeps until its unit of work is durable or refused."""

    task: trio.lowlevel.Task
    unit: UnitOfWork
    encoded: Sequence[bytes]
