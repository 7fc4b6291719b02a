"""The trio side of a store with one writer thread and group commit.

It does as little as it can: encode the records, queue the unit, sleep.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import partial
from typing import Protocol, TypeVar

import outcome
import structlog
import trio

from isoswitch.clearing.transfer import Transfer
from isoswitch.codecs.canonical.errors import StoreUnavailable
from isoswitch.codecs.canonical.totals import TotalsLine
from isoswitch.journal.chain import encode_record
from isoswitch.journal.records import ChainedRecord
from isoswitch.ledger.entries import Entry
from isoswitch.ledger.holds import Hold
from isoswitch.store.batching import BatchWriter, Waiter
from isoswitch.store.days import BusinessDay
from isoswitch.store.port import (
    LIMIT_MAX,
    WAITING_MAX,
    Committed,
    Lease,
    Reconciliation,
    SafEntry,
    StoredTransaction,
    UnitOfWork,
)
from isoswitch.store.reader import Connection, StoreReader
from isoswitch.store.rows import R
from isoswitch.store.standins import Exposure
from isoswitch.store.times import CommitTimes

EXIT_STORE_FAILED = 70

T = TypeVar("T")

Deliver = Callable[[list[Waiter]], None]
MakeWriter = Callable[[Deliver, Callable[[BaseException], None]], BatchWriter]

log = structlog.get_logger(__name__)


def exit_process(cause: BaseException) -> None:
    """End the process at once: after an fsync error nobody knows what is stored.

    No handler runs and nothing is answered; the next start reads what is durable.
    """
    log.critical("store_failed", error=type(cause).__name__, reason=str(cause))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(EXIT_STORE_FAILED)


class ClosingConnection(Connection, Protocol):
    """A reading connection that can be closed."""

    def close(self) -> None:
        """Let it go."""


class GroupCommitStore:
    """A `Store` over a writer's thread and a reading connection.

    Parameters
    ----------
    make_writer
        Gives the writer, told whom to call; see `BatchWriter`.
    reading
        Used by one thread at a time, and closed with the store.
    errors
        What a reading connection raises when it cannot be read.
    """

    def __init__(
        self,
        make_writer: MakeWriter,
        *,
        reading: ClosingConnection,
        errors: type[Exception],
        is_shared: bool,
        on_fatal: Callable[[BaseException], None],
        token: trio.lowlevel.TrioToken,
    ) -> None:
        self.is_shared = is_shared
        self._token = token
        self._on_fatal = on_fatal
        self._waiting: set[Waiter] = set()
        self._applied: list[Callable[[UnitOfWork, Committed], None]] = []
        self._refusal = ""
        self.commit_times = CommitTimes()
        self._writer = make_writer(
            lambda batch: token.run_sync_soon(self._wake, batch), self._fail
        )
        self._reading = reading
        self._reader = StoreReader(reading)
        self._errors = errors
        # One connection, therefore one thread at a time.
        self._reader_limiter = trio.CapacityLimiter(1)

    async def commit(self, unit: UnitOfWork) -> Committed:
        """Sleep until the unit is durable; see `Store.commit`."""
        encoded = [encode_record(record) for record in unit.records]
        if refusal := self._refusal or self._writer.away:
            raise StoreUnavailable(refusal)
        if len(self._waiting) >= WAITING_MAX:
            msg = f"{WAITING_MAX} units of work wait for the store already"
            raise StoreUnavailable(msg)
        waiter = Waiter(trio.lowlevel.current_task(), unit, encoded)
        self._waiting.add(waiter)
        self._writer.put(waiter)
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
        return await self._ask(partial(self._reader.find_transaction, transaction_id))

    async def find_by_dedup_key(self, dedup_key: str) -> StoredTransaction | None:
        """Find the transaction that holds a dedup key."""
        return await self._ask(partial(self._reader.find_by_dedup_key, dedup_key))

    async def find_originals(
        self, terminal_id: str, stan: str
    ) -> Sequence[StoredTransaction]:
        """Give the transactions of a terminal with this STAN, newest first."""
        return await self._ask(partial(self._reader.find_originals, terminal_id, stan))

    async def find_by_rrn(self, rrn: str) -> Sequence[StoredTransaction]:
        """Give the transactions with this RRN, newest first."""
        return await self._ask(partial(self._reader.find_by_rrn, rrn))

    async def find_hold(self, hold_id: str) -> Hold | None:
        """Find a hold."""
        return await self._ask(partial(self._reader.find_hold, hold_id))

    async def expired_holds(self, now: str) -> Sequence[Hold]:
        """Give the open holds whose time was over at a UTC instant."""
        return await self._ask(partial(self._reader.expired_holds, now))

    async def entries(self, business_date: str) -> Sequence[Entry]:
        """Give the ledger's entries of a business day in the order of their ids."""
        return await self._ask(partial(self._reader.entries, business_date))

    async def days(self) -> Sequence[BusinessDay]:
        """Give the business days, oldest first."""
        return await self._ask(self._reader.days)

    async def exposures(self) -> Sequence[Exposure]:
        """Give what was approved in place of endpoints that they do not know yet."""
        return await self._ask(self._reader.exposures)

    async def day_totals(self, business_date: str) -> Sequence[TotalsLine]:
        """Give what a day's entries come to."""
        return await self._ask(partial(self._reader.day_totals, business_date))

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
        question = partial(
            self._reader.standing_of_card,
            pan_hash,
            kinds=kinds,
            verifications=verifications,
            limit=limit,
        )
        return await self._ask(question)

    async def find_batch(self, terminal_id: str) -> int:
        """Give the number of a terminal's open batch."""
        return await self._ask(partial(self._reader.find_batch, terminal_id))

    async def batch_transactions(
        self, terminal_id: str, since: int, *, currency: str = ""
    ) -> Sequence[StoredTransaction]:
        """Give a terminal's transactions from a batch on in their order."""
        read = self._reader.batch_transactions
        return await self._ask(partial(read, terminal_id, since, currency=currency))

    async def batch_totals(self, terminal_id: str, since: int) -> Sequence[TotalsLine]:
        """Give what a terminal's entries from a batch on come to."""
        return await self._ask(partial(self._reader.batch_totals, terminal_id, since))

    async def reconciliations(
        self, business_date: str = ""
    ) -> Sequence[Reconciliation]:
        """Give those of a day, or all that are owed."""
        return await self._ask(partial(self._reader.reconciliations, business_date))

    async def find_transfer(self, uetr: str) -> Transfer | None:
        """Find a transfer by its unique end-to-end reference."""
        return await self._ask(partial(self._reader.find_transfer, uetr))

    async def find_transfer_of(self, transaction_id: str) -> Transfer | None:
        """Find the transfer that a transaction caused."""
        return await self._ask(partial(self._reader.find_transfer_of, transaction_id))

    async def find_row(self, kind: type[R], row_id: str) -> R | None:
        """Find a row by its id."""
        return await self._ask(partial(self._reader.find_row, kind, row_id))

    async def find_rows(self, kind: type[R], *, state: str) -> Sequence[R]:
        """Give the rows of a kind that are in a state, by id."""
        return await self._ask(partial(self._reader.find_rows, kind, state=state))

    async def open_transfers(self) -> Sequence[Transfer]:
        """Give the transfers of which something is still expected, oldest first."""
        return await self._ask(self._reader.open_transfers)

    async def open_transactions(self) -> Sequence[StoredTransaction]:
        """Give every transaction that is not closed, oldest first."""
        return await self._ask(self._reader.open_transactions)

    async def pending_saf(
        self,
        *,
        after_id: int = 0,
        without: Collection[str] = (),
        limit: int = LIMIT_MAX,
    ) -> Sequence[SafEntry]:
        """Give pending store-and-forward entries in order; see `Store.pending_saf`."""
        return await self._ask(
            partial(
                self._reader.pending_saf,
                after_id=after_id,
                without=without,
                limit=limit,
            )
        )

    async def is_owed(self, endpoint: str, *, until: str) -> bool:
        """Whether something of a day or of one before is owed to an endpoint."""
        return await self._ask(partial(self._reader.is_owed, endpoint, until=until))

    async def find_saf(self, entry_id: int) -> SafEntry | None:
        """Find a store-and-forward entry, whatever its state."""
        return await self._ask(partial(self._reader.find_saf, entry_id))

    async def leases(self) -> Sequence[Lease]:
        """Give every lease that somebody holds, by name."""
        return await self._ask(self._reader.leases)

    async def records(
        self,
        transaction_id: str | None = None,
        *,
        after_seq: int = 0,
        limit: int = 1000,
    ) -> Sequence[ChainedRecord]:
        """Give journal records in order, of one transaction or of all."""
        return await self._ask(
            partial(
                self._reader.records, transaction_id, after_seq=after_seq, limit=limit
            )
        )

    def start(self) -> None:
        """Start the writer's thread."""
        self._writer.thread.start()

    async def aclose(self) -> None:
        """Make durable what was handed over, then close the files."""
        self._refusal = self._refusal or "the store is closed"
        with trio.CancelScope(shield=True):
            # The writer closes last: only it may fold the write-ahead log away.
            async with self._reader_limiter:
                self._reading.close()
            self._writer.stop()
            await trio.to_thread.run_sync(self._writer.thread.join)
            # The writer's last delivery is already queued; this one runs after it.
            delivered = trio.Event()
            self._token.run_sync_soon(delivered.set)
            await delivered.wait()

    async def _ask(self, question: Callable[[], T]) -> T:
        """Ask the reader in a thread; durable units are seen by their own tasks."""
        try:
            return await trio.to_thread.run_sync(question, limiter=self._reader_limiter)
        except self._errors as exc:
            msg = f"the store cannot be read: {exc}"
            raise StoreUnavailable(msg) from exc

    def _wake(self, batch: list[Waiter]) -> None:
        """Apply a durable batch in journal order, then wake its tasks."""
        try:
            for waiter in batch:
                if isinstance(waiter.result, Committed):
                    for applied in self._applied:
                        applied(waiter.unit, waiter.result)
        except Exception as exc:  # noqa: BLE001 (state that lags the journal must halt)
            self._fail(exc)
            return
        self._waiting.difference_update(batch)
        for waiter in batch:
            trio.lowlevel.reschedule(waiter.task, _outcome_of(waiter))

    def _fail(self, cause: BaseException) -> None:
        """Stop for good; a hook that returns leaves a store that refuses all."""
        self._on_fatal(cause)
        self._refusal = f"the store has failed: {cause}"
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._abandon)

    def _abandon(self) -> None:
        waiting, self._waiting = self._waiting, set()
        for waiter in waiting:
            trio.lowlevel.reschedule(
                waiter.task, outcome.Error(StoreUnavailable(self._refusal))
            )


def _outcome_of(waiter: Waiter) -> outcome.Outcome[Committed]:
    if isinstance(waiter.result, Committed):
        return outcome.Value(waiter.result)
    assert waiter.result is not None, "a delivered waiter has its result"
    return outcome.Error(waiter.result)
