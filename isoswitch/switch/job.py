"""A transaction while this switch owns it, and the table of all of them.

One owner decides each transaction. A repeat that arrives meanwhile waits for the same
outcome; a reversal leaves its wish with the job, and it is applied when the outcome is
known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import trio

from isoswitch.codecs.canonical.codes import Kind
from isoswitch.codecs.canonical.errors import EncodeError
from isoswitch.codecs.canonical.transaction import Outcome, Transaction
from isoswitch.codecs.dialects.dialect import Dialect
from isoswitch.codecs.dialects.edition import Fields
from isoswitch.codecs.dialects.settlement import totals_fields
from isoswitch.codecs.iso8583.message import Message
from isoswitch.ledger.holds import Hold
from isoswitch.store.port import StoredTransaction
from isoswitch.switch.numbers import Numbering
from isoswitch.switch.settings import (
    ContactlessSettings,
    MerchantSettings,
    TerminalSettings,
)

# Their requests carry the RRN of what they act on, so their answers bring their own.
NAMES_ANOTHER = frozenset({Kind.INCREMENTAL, Kind.COMPLETION, Kind.VOID, Kind.REFUND})


@dataclass(frozen=True, slots=True, kw_only=True)
class Acted:
    """The stored transaction that a job acts on, its hold, and on which terms.

    A capture of the hold is the last one where it ``is_final``, and may exceed it by
    ``over_percent``; ``expires_at`` is the new end of a hold that is renewed.
    """

    row: StoredTransaction
    hold: Hold
    is_final: bool = True
    over_percent: int = 0
    expires_at: str = ""


@dataclass(slots=True, eq=False, kw_only=True)
class Job:
    """One transaction in the hands of its flow.

    ``asked`` is what arrived; a flow may complete ``txn`` by what it knows better. What
    is set aside waits ``held_s``.
    ``rrn`` is what every message of it carries: its own, or for a repeat that of the
    transaction it repeats. ``in_hand`` is how many messages were being decided when it
    came, ``send`` the way back to its terminal. ``code_hash`` is the look-up hash of a
    payer's code, which pays once, and ``tap_limits`` those of the kind of device that
    is tapped.
    ``original_id`` is the stored transaction that this one is about, ``acted`` what it
    acts on, once that is found; ``endpoint`` the last one that was asked.
    ``is_open`` says that the store knows it; ``reversal_wanted`` is set by a
    reversal that arrived before the outcome. From ``is_closing`` on, the outcome is on
    its way to the store and a reversal waits for it instead. ``late_from`` is the day
    that was cut before it entered.
    """

    numbers: Numbering
    txn: Transaction
    rrn: str
    request: Message
    dialect: Dialect
    send: Callable[[Message], None]
    listener: str
    terminal: TerminalSettings | None
    merchant: MerchantSettings | None
    deadline: float
    business_date: str
    opened_at: str
    dedup_key: str
    held_s: float
    original_id: str = ""
    acted: Acted | None = None
    endpoint: str = ""
    pan_hash: str = ""
    code_hash: str = ""
    verification: str = ""
    tap_limits: ContactlessSettings | None = None
    mac_verdict: str = "none"
    in_hand: int = 1
    late_from: str = ""
    is_open: bool = False
    is_closing: bool = False
    reversal_wanted: bool = False
    outcome: Outcome | None = None
    asked: Transaction = field(init=False)
    _ended: trio.Event = field(default_factory=trio.Event)
    _answer: tuple[Outcome, str, Message] | None = None
    _signed: tuple[Outcome, Message] | None = None

    def __post_init__(self) -> None:
        self.asked = self.txn

    @property
    def id(self) -> str:
        """The transaction's id, unique for ever."""
        return self.numbers.transaction_id

    @property
    def card_key(self) -> str:
        """The look-up hash of its card; that of its original where it names no card."""
        return self.pan_hash or (self.acted.row.pan_hash if self.acted else "")

    @property
    def fingerprint(self) -> str:
        """What a repeat must have in common; empty when its card was not read."""
        if not self.pan_hash and (self.asked.pan or self.asked.code):
            return ""
        amount = self.asked.amount
        money = f"{amount.minor} {amount.currency}" if amount else ""
        return f"{self.txn.kind}|{money}|{self.pan_hash}"

    @property
    def tak(self) -> str:
        """The name of the key that authenticates the answer; empty without one."""
        return self.terminal.tak if self.terminal else ""

    @property
    def merchant_id(self) -> str:
        """The registered merchant it is for; empty when nobody registered it."""
        return self.terminal.merchant_id if self.terminal else ""

    def response(self, outcome: Outcome) -> Message:
        """Give the answer to this job's request, with a place for the MAC it needs.

        It is built once: what is written down is what is sent.

        Raises
        ------
        EncodeError
            The dialect cannot carry even the decision.
        """
        if self._answer is None or self._answer[:2] != (outcome, self.rrn):
            echoes = 37 in self.request and self.txn.kind not in NAMES_ANOTHER
            extra: Fields = {} if echoes else {37: self.rrn}
            if outcome.totals is not None:
                extra |= totals_fields(self.dialect, outcome.totals)
            message = self._fit(outcome, extra)
            self._answer = outcome, self.rrn, message
        return self._answer[2]

    def _fit(self, outcome: Outcome, extra: Fields) -> Message:
        """Build an answer; what the dialect cannot carry must not keep it back."""
        build, has_mac = self.dialect.to_response, bool(self.tak)
        try:
            return build(self.request, outcome, extra=extra, mac=has_mac)
        except EncodeError:
            decision = replace(outcome, emv=None, balance=None, statement=())
            return build(self.request, decision, extra=extra, mac=has_mac)

    def keep_signed(self, outcome: Outcome, answer: Message) -> None:
        """Keep the answer to this outcome, authenticated already."""
        self._signed = outcome, answer

    def find_signed(self, outcome: Outcome) -> Message | None:
        """Find the answer that was authenticated for just this outcome."""
        if self._signed is not None and self._signed[0] is outcome:
            return self._signed[1]
        return None

    def redate(self, business_date: str) -> None:
        """Move to the open day: its own was cut before it entered."""
        self.late_from = self.late_from or self.business_date
        self.business_date = business_date

    def end(self, outcome: Outcome | None) -> None:
        """Wake whoever waits for the outcome; None when it could not be recorded."""
        self.outcome = outcome
        self._ended.set()

    async def wait_outcome(self) -> Outcome | None:
        """Wait for the owner's decision."""
        await self._ended.wait()
        return self.outcome


class Claims:
    """What somebody changes now: one at a time changes a stored transaction."""

    def __init__(self) -> None:
        self._locks: dict[str, trio.Lock] = {}

    @asynccontextmanager
    async def hold(self, hold_id: str) -> AsyncIterator[None]:
        """Wait until nobody else changes a hold, and keep others away from it."""
        lock = self._locks.setdefault(hold_id, trio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.locked():
                self._locks.pop(hold_id, None)


class Jobs:
    """The transactions that this switch owns now, by dedup key."""

    def __init__(self) -> None:
        self.claims = Claims()
        self._by_key: dict[str, Job] = {}
        self._by_merchant: Counter[str] = Counter()
        self._ids: set[str] = set()
        self._empty = trio.lowlevel.ParkingLot()

    def __len__(self) -> int:
        return len(self._by_key)

    def owns(self, transaction_id: str) -> bool:
        """Whether a transaction has an owner in this process."""
        return transaction_id in self._ids

    def count_of(self, merchant_id: str) -> int:
        """How many transactions of a merchant are owned now."""
        return self._by_merchant[merchant_id]

    def find(self, dedup_key: str) -> Job | None:
        """Find the running job under a key."""
        return self._by_key.get(dedup_key)

    def add(self, job: Job) -> None:
        """Take a job into the table; its key must be free."""
        assert job.dedup_key not in self._by_key, "one owner for each transaction"
        self._by_key[job.dedup_key] = job
        self._by_merchant[job.merchant_id] += 1
        self._ids.add(job.id)

    def remove(self, job: Job) -> None:
        """Let a job go."""
        del self._by_key[job.dedup_key]
        self._by_merchant[job.merchant_id] -= 1
        if not self._by_merchant[job.merchant_id]:
            del self._by_merchant[job.merchant_id]
        self._ids.discard(job.id)
        if not self._by_key:
            self._empty.unpark_all()

    async def wait_empty(self) -> None:
        """Wait until no transaction is owned any more."""
        while self._by_key:
            await self._empty.park()
