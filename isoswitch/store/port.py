"""The store: units of work, made durable together or not at all."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from isoswitch.clearing.transfer import Transfer
from isoswitch.codecs.canonical.errors import IsoswitchError
from isoswitch.codecs.canonical.totals import TotalsLine
from isoswitch.codecs.canonical.values import quick
from isoswitch.journal.records import ChainedRecord, Record
from isoswitch.ledger.entries import Entry
from isoswitch.ledger.holds import Change, Hold
from isoswitch.store.days import BusinessDay, DayMove
from isoswitch.store.rows import Forget, R, RowMove
from isoswitch.store.standins import Exposure, StandIn
from isoswitch.store.times import CommitTimes

# Units of work that may wait for a store; more are refused at once.
WAITING_MAX = 10_000
# All of them; SQLite and PostgreSQL have no word for it in common.
LIMIT_MAX = 2**62


class TransactionState(StrEnum):
    """Where a stored transaction stands."""

    OPENED = "opened"
    SENDING = "sending"
    CLOSED = "closed"


class SafState(StrEnum):
    """Where a store-and-forward entry stands."""

    PENDING = "pending"
    DELIVERED = "delivered"
    QUARANTINED = "quarantined"


class SafMessage(StrEnum):
    """What a store-and-forward entry tells its endpoint."""

    REVERSAL = "reversal"
    ADVICE = "advice"


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTransaction:
    """What the switch must find again: to repeat an answer, to reverse, to show.

    ``dedup_key`` is unique; ``fingerprint`` tells a repeat from another request under
    the same key. ``outcome`` is JSON, empty while open. ``sealed`` is the encrypted
    material of a reversal and is wiped when none can be owed any more. ``reversed``
    says that a reversal of it was accepted. ``original_id`` is the transaction that
    this one completes, voids, refunds or reverses, or the payment code that it pays.
    ``batch`` is the terminal's; the store gives it. ``verification`` says how the
    holder of a tap was verified.
    """

    id: str
    dedup_key: str
    fingerprint: str
    kind: str
    state: TransactionState
    node: str
    business_date: str
    opened_at: str
    terminal_id: str
    merchant_id: str = ""
    stan: str = ""
    rrn: str = ""
    local_at: str = ""
    pan_masked: str = ""
    pan_hash: str = ""
    amount_minor: int = 0
    currency: str = ""
    endpoint: str = ""
    outcome: str = ""
    sealed: bytes = b""
    reversed: bool = False
    original_id: str = ""
    batch: int = 1
    verification: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchClose:
    """A compare-and-set: this batch of a terminal is closed and the next one begins."""

    terminal_id: str
    number: int


class Verdict(StrEnum):
    """What came of comparing a day's totals with an endpoint."""

    OWED = "owed"
    AGREED = "agreed"
    DIFFERS = "differs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """The totals of a business day that an endpoint has to confirm, in one currency."""

    business_date: str
    endpoint: str
    currency: str
    verdict: Verdict = Verdict.OWED
    attempts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferMove:
    """A compare-and-set of a transfer: new where ``expect`` is None."""

    expect: Transfer | None
    transfer: Transfer


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A compare-and-set: the transaction is in ``expect`` and goes to ``state``.

    ``outcome`` None keeps what is there; ``wipe`` empties ``sealed``. ``endpoint`` and
    ``sealed`` replace the leg when the request goes to another endpoint.
    ``mark_reversed`` also demands that the transaction is not reversed yet, and
    ``expect_endpoint`` that its request has not gone to another endpoint meanwhile.
    """

    id: str
    expect: TransactionState
    state: TransactionState
    outcome: str | None = None
    wipe: bool = False
    mark_reversed: bool = False
    expect_endpoint: str | None = None
    endpoint: str | None = None
    sealed: bytes | None = None


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class SafEntry:
    """One message that must reach an endpoint, however long it takes.

    ``id`` is its order and is given by the store (0 before that). Entries with the
    same ``order_key`` go out one after the other. ``next_at`` is UTC epoch seconds.
    ``sealed`` is the leg that it tells of, encrypted. A reversal is over
    ``amount_minor``, or over what the leg asked for where it is None, and leaves
    ``remaining_minor`` standing. ``business_date`` is the day it belongs to.
    """

    id: int = 0
    transaction_id: str
    endpoint: str
    order_key: str
    sealed: bytes
    attempts: int = 0
    next_at: float = 0.0
    state: SafState = SafState.PENDING
    reason: str = ""
    message: SafMessage = SafMessage.REVERSAL
    amount_minor: int | None = None
    remaining_minor: int = 0
    business_date: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SafUpdate:
    """A step in the life of a store-and-forward entry; DELIVERED wipes ``sealed``."""

    id: int
    attempts: int
    next_at: float
    state: SafState = SafState.PENDING
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A right that one holder has alone; ``beat`` counts its signs of life.

    A lease has no date: clocks differ and jump. Who wants it watches whether the beat
    changes.
    """

    name: str
    holder: str
    beat: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseChange:
    """A compare-and-set: a lease is as ``expect`` says and goes on with ``holder``.

    ``expect`` None: nobody holds it. ``holder`` empty: nobody holds it any more.
    """

    name: str
    expect: Lease | None
    holder: str


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class UnitOfWork:
    """What is stored together or not at all, in this order."""

    records: tuple[Record, ...]
    opens: tuple[StoredTransaction, ...] = ()
    moves: tuple[Move, ...] = ()
    saf_puts: tuple[SafEntry, ...] = ()
    saf_updates: tuple[SafUpdate, ...] = ()
    ledger: tuple[Change, ...] = ()
    leases: tuple[LeaseChange, ...] = ()
    day: DayMove | None = None
    batch: BatchClose | None = None
    reconciliations: tuple[Reconciliation, ...] = ()
    transfers: tuple[TransferMove, ...] = ()
    rows: tuple[RowMove, ...] = ()
    stand_in: StandIn | None = None
    forgets: tuple[Forget, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """What the store made of a unit: the chained records and the new SAF entries."""

    last_seq: int
    saf_entries: tuple[SafEntry, ...] = ()


class DuplicateTransaction(IsoswitchError):
    """The dedup key is taken; ``existing`` is the transaction that holds it."""

    def __init__(self, existing: StoredTransaction) -> None:
        self.existing = existing
        super().__init__(f"transaction {existing.id} holds this dedup key")


class OwnershipLost(IsoswitchError):
    """A compare-and-set failed: somebody else moved the transaction."""


class Store(Protocol):
    """Durable units of work and the few questions the switch asks.

    ``is_shared`` says that other processes may write to it at the same time.
    """

    is_shared: bool

    commit_times: CommitTimes

    async def commit(self, unit: UnitOfWork) -> Committed:
        """Sleep until the unit is durable.

        ``applied`` callbacks (see ``on_commit``) run in journal order before any
        waiter of the batch wakes. Not cancellable: a journaled unit is not forgotten.

        Raises
        ------
        DuplicateTransaction, OwnershipLost, LedgerRefused, DayClosed, DayRefused,
        StandInRefused
            The unit was refused and nothing of it was stored; the rest of its batch
            was.
        StoreUnavailable
            Nothing was stored; nothing may be answered.
        """
        ...

    def on_commit(self, applied: Callable[[UnitOfWork, Committed], None]) -> None:
        """Call this for every durable unit, in journal order, in the switch's task."""
        ...

    async def find_transaction(self, transaction_id: str) -> StoredTransaction | None:
        """Find a transaction by id."""
        ...

    async def find_by_dedup_key(self, dedup_key: str) -> StoredTransaction | None:
        """Find the transaction that holds a dedup key."""
        ...

    async def find_originals(
        self, terminal_id: str, stan: str
    ) -> Sequence[StoredTransaction]:
        """Give the transactions of a terminal with this STAN, newest first."""
        ...

    async def find_by_rrn(self, rrn: str) -> Sequence[StoredTransaction]:
        """Give the transactions with this retrieval reference number, newest first."""
        ...

    async def find_hold(self, hold_id: str) -> Hold | None:
        """Find a hold by its id, which is that of the transaction that placed it."""
        ...

    async def expired_holds(self, now: str) -> Sequence[Hold]:
        """Give the open holds whose time was over at a UTC instant in ISO 8601."""
        ...

    async def entries(self, business_date: str) -> Sequence[Entry]:
        """Give the ledger's entries of a business day in the order of their ids."""
        ...

    async def days(self) -> Sequence[BusinessDay]:
        """Give the business days, oldest first."""
        ...

    async def day_totals(self, business_date: str) -> Sequence[TotalsLine]:
        """Give what a day's entries come to, by endpoint, terminal and currency."""
        ...

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
        ...

    async def find_batch(self, terminal_id: str) -> int:
        """Give the number of a terminal's open batch; the first is 1."""
        ...

    async def batch_transactions(
        self, terminal_id: str, since: int, *, currency: str = ""
    ) -> Sequence[StoredTransaction]:
        """Give a terminal's transactions from a batch on in their order.

        With a currency, those in another one are left out.
        """
        ...

    async def batch_totals(self, terminal_id: str, since: int) -> Sequence[TotalsLine]:
        """Give what a terminal's entries from a batch on come to."""
        ...

    async def reconciliations(
        self, business_date: str = ""
    ) -> Sequence[Reconciliation]:
        """Give those of a day, or all that are owed."""

    async def exposures(self) -> Sequence[Exposure]:
        """Give what was approved in place of endpoints that they do not know yet."""
        ...

    async def find_transfer(self, uetr: str) -> Transfer | None:
        """Find a transfer by its unique end-to-end reference."""
        ...

    async def find_transfer_of(self, transaction_id: str) -> Transfer | None:
        """Find the transfer that a transaction caused."""
        ...

    async def find_row(self, kind: type[R], row_id: str) -> R | None:
        """Find a payment code, its payment, a stored answer or a callback."""
        ...

    async def find_rows(self, kind: type[R], *, state: str) -> Sequence[R]:
        """Give the rows of a kind that are in a state, by id."""
        ...

    async def open_transfers(self) -> Sequence[Transfer]:
        """Give the transfers of which something is still expected, oldest first."""
        ...

    async def open_transactions(self) -> Sequence[StoredTransaction]:
        """Give every transaction that is not closed, oldest first."""
        ...

    async def pending_saf(
        self,
        *,
        after_id: int = 0,
        without: Collection[str] = (),
        limit: int = LIMIT_MAX,
    ) -> Sequence[SafEntry]:
        """Give pending store-and-forward entries in order.

        Those after an id, but none for the endpoints ``without``.
        """
        ...

    async def is_owed(self, endpoint: str, *, until: str) -> bool:
        """Whether something of a day or of one before is owed to an endpoint."""
        ...

    async def find_saf(self, entry_id: int) -> SafEntry | None:
        """Find a store-and-forward entry, whatever its state."""
        ...

    async def leases(self) -> Sequence[Lease]:
        """Give every lease that somebody holds, by name."""
        ...

    async def records(
        self,
        transaction_id: str | None = None,
        *,
        after_seq: int = 0,
        limit: int = 1000,
    ) -> Sequence[ChainedRecord]:
        """Give journal records in order, of one transaction or of all."""
        ...
