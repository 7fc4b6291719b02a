"""The auditor: do terminal, switch and issuer tell the same story of every payment?

Three sides are compared transaction by transaction: what the terminal believes, what
the switch stored, what the issuers booked. What must hold:

1.  An approval that an issuer keeps is an approval that the switch gave, or its
    reversal is on its way.
2.  An approval that the switch gave, and nobody reversed, is booked once, with the same
    amount.
3.  A transaction that was opened is closed, or a reversal of it is owed.
4.  A terminal believes to have paid what the switch approved, and nothing else.
5.  Nothing lies in quarantine, and no secret lies anywhere in clear.
6.  The ledger agrees with both (`ledger_audit.py`).

What is only under way (a reversal not delivered yet, a terminal still waiting) is
*pending* and no finding. Audit a network at rest: a payment in flight looks left open.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from isoswitch.codecs.canonical.codes import Kind
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.sealing import load_outcome
from isoswitch.journal.records import RecordKind
from isoswitch.ledger.holds import HoldState
from isoswitch.simulators.accounts import DEBITS, HOLDS
from isoswitch.simulators.beliefs import UNFINISHED, Belief, BeliefState
from isoswitch.simulators.bookings import Booking, BookingKind, Bookings
from isoswitch.simulators.leaks import Leak
from isoswitch.simulators.ledger_audit import (
    LedgerView,
    audit_ledger,
    read_ledger,
    standing_minor,
    view_ledger,
)
from isoswitch.store.port import (
    LIMIT_MAX,
    SafEntry,
    SafState,
    Store,
    StoredTransaction,
    TransactionState,
)
from isoswitch.store.reader import StoreReader

RECORDS_PER_READ = 1000
_MONEY_KINDS = frozenset(kind.value for kind in DEBITS)
_HELD_KINDS = frozenset(kind.value for kind in HOLDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreView:
    """What the switch stored: its transactions, what it owes, what it gave up on.

    ``told_under`` gives the transaction by the reference number of an advice that had
    to take another one than its own. ``ledger`` None leaves the
    ledger out.
    """

    transactions: tuple[StoredTransaction, ...]
    pending_saf: tuple[SafEntry, ...] = ()
    quarantined: tuple[str, ...] = ()
    told_under: Mapping[str, str] = field(default_factory=dict)
    ledger: LedgerView | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One difference: which transaction, what is wrong, and what each side says."""

    transaction: str
    what: str
    sides: str = ""

    def __str__(self) -> str:
        told = f" ({self.sides})" if self.sides else ""
        return f"{self.transaction}: {self.what}{told}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What an audit found.

    ``is_clean``: nothing is wrong. ``is_settled``: nothing is under way either.
    """

    findings: tuple[Finding, ...]
    pending: tuple[str, ...]
    compared: int

    @property
    def is_clean(self) -> bool:
        """Whether no difference was found."""
        return not self.findings

    @property
    def is_settled(self) -> bool:
        """Whether no difference was found and nothing is under way."""
        return not self.findings and not self.pending

    def describe(self) -> str:
        """Tell the verdict in lines for people."""
        head = f"{self.compared} transactions compared: "
        head += "all sides agree" if self.is_clean else f"{len(self.findings)} differ"
        lines = [head, *(f"  differs  {finding}" for finding in self.findings)]
        return "\n".join([*lines, *(f"  pending  {each}" for each in self.pending)])


async def view_store(store: Store) -> StoreView:
    """Read everything that an audit needs from a store."""
    ids: dict[str, None] = {}
    quarantined: list[str] = []
    told_under: dict[str, str] = {}
    after_seq = 0
    while chained := await store.records(after_seq=after_seq, limit=RECORDS_PER_READ):
        after_seq = chained[-1].seq
        for each in chained:
            record = each.record
            if record.transaction_id:
                ids[record.transaction_id] = None
            if record.kind is RecordKind.QUARANTINED:
                quarantined.append(record.transaction_id)
            if record.kind is RecordKind.STOOD_IN:
                told_under[record.body["rrn"]] = record.transaction_id
    found = [await store.find_transaction(each) for each in ids]
    transactions = tuple(each for each in found if each is not None)
    return StoreView(
        transactions=transactions,
        pending_saf=tuple(await store.pending_saf()),
        quarantined=tuple(quarantined),
        told_under=told_under,
        ledger=await view_ledger(store, transactions),
    )


def read_store(reader: StoreReader) -> StoreView:
    """Read everything that an audit needs from the file of a store."""
    transactions = tuple(reversed(reader.transactions(limit=LIMIT_MAX)))
    return StoreView(
        transactions=transactions,
        pending_saf=tuple(reader.saf(SafState.PENDING)),
        quarantined=tuple(
            entry.transaction_id for entry in reader.saf(SafState.QUARANTINED)
        ),
        told_under={
            each.record.body["rrn"]: each.record.transaction_id
            for each in reader.of_kinds(RecordKind.STOOD_IN)
        },
        ledger=read_ledger(reader, transactions),
    )


def audit(
    *,
    view: StoreView,
    bookings: Mapping[str, Bookings],
    beliefs: Iterable[Belief] = (),
    leaks: Iterable[Leak] = (),
) -> Verdict:
    """Compare the sides; ``bookings`` are the books by the issuer's endpoint name."""
    case = _Case(view, bookings, tuple(beliefs))
    findings = [
        *_check_books(case),
        *_check_ledger(case),
        *(finding for row in case.rows for finding in _check_row(case, row)),
        *(
            finding
            for belief in case.beliefs
            for finding in _check_belief(case, belief)
        ),
        *(
            Finding(transaction=each or "node", what="lies in quarantine")
            for each in view.quarantined
        ),
        *(Finding(transaction="output", what=str(leak)) for leak in leaks),
    ]
    return Verdict(
        findings=tuple(findings),
        pending=tuple(_pending(case)),
        compared=len(case.rows),
    )


class _Case:
    """The three sides, indexed by what links them."""

    def __init__(
        self,
        view: StoreView,
        bookings: Mapping[str, Bookings],
        beliefs: Sequence[Belief],
    ) -> None:
        self.view = view
        self.bookings = bookings
        audited = _MONEY_KINDS | _HELD_KINDS
        self.beliefs = [each for each in beliefs if each.kind.value in audited]
        # What a clearing house moves no issuer books; its ledger is compared too.
        self.rows = [
            row
            for row in view.transactions
            if row.kind in _MONEY_KINDS and row.endpoint in ("", *bookings)
        ]
        self.owed = {entry.transaction_id for entry in view.pending_saf}
        rrns = {row.id: row.rrn for row in view.transactions}
        self.own_rrn = {rrn: rrns[name] for rrn, name in view.told_under.items()}
        self.books_by_rrn: dict[str, list[tuple[str, Booking]]] = defaultdict(list)
        for issuer, books in bookings.items():
            for booking in books.entries:
                # A void gives back what another transaction has taken.
                rrn = booking.taken_key.rrn
                own = self.own_rrn.get(rrn, rrn)
                self.books_by_rrn[own].append((issuer, booking))
        self._rows_by_trace: dict[tuple[str, str], list[StoredTransaction]] = (
            defaultdict(list)
        )
        for row in view.transactions:
            if row.kind in audited:
                self._rows_by_trace[row.terminal_id, row.stan].append(row)

    def find_row(self, belief: Belief) -> StoredTransaction | None:
        """Find what the switch stored of a terminal's transaction.

        What was refused for now may have come again under the same trace number: the
        answer names the one that counts.
        """
        rows = [
            row
            for row in self._rows_by_trace[belief.terminal_id, belief.stan]
            if not row.local_at or row.local_at[:19] == belief.local_at.isoformat()
        ]
        answered = [row for row in rows if row.rrn == belief.rrn]
        return next(iter(answered or rows[-1:]), None)

    def kept_minor(self, row: StoredTransaction) -> int:
        """Give what all issuers together still hold for a transaction."""
        kept = 0
        for _, booking in self.books_by_rrn[row.rrn]:
            if booking.kind is BookingKind.APPROVED:
                kept += booking.amount_minor
            elif booking.kind is BookingKind.REVERSED:
                kept -= booking.amount_minor
        return kept

    def sides(self, row: StoredTransaction) -> str:
        """Tell what switch and issuers say of a transaction."""
        booked = ", ".join(
            f"{issuer} {booking.kind.value} {_money(booking)}"
            for issuer, booking in self.books_by_rrn[row.rrn]
        )
        return f"switch: {_switch_story(row)}; issuers: {booked or 'nothing'}"


def _check_row(case: _Case, row: StoredTransaction) -> Iterator[Finding]:
    """Compare switch and issuers."""
    what = ""
    kept, promised = case.kept_minor(row), _promised_minor(row)
    if row.id in case.owed:
        return
    if row.state is not TransactionState.CLOSED:
        what = "neither closed nor owed a reversal"
    elif kept and not promised:
        what = "an issuer keeps money that the switch did not approve"
    elif promised and not kept:
        what = "the switch approved what no issuer booked"
    elif kept != promised:
        what = "switch and issuers differ in the amount"
    if what:
        yield Finding(transaction=row.id, what=what, sides=case.sides(row))


def _check_belief(case: _Case, belief: Belief) -> Iterator[Finding]:
    """Compare terminal and switch."""
    row = case.find_row(belief)
    what = ""
    if row is None:
        if belief.state is BeliefState.APPROVED:
            what = "the switch knows nothing of what it seems to have approved"
    elif _is_used_up(case, row):
        return
    elif belief.state is BeliefState.APPROVED:
        if standing_minor(row) != belief.approved_minor:
            what = "the terminal believes to have paid another amount"
    elif belief.state in _UNPAID and standing_minor(row) and row.id not in case.owed:
        what = "the switch approved what the terminal believes unpaid"
    if what:
        sides = case.sides(row) if row else ""
        yield Finding(transaction=str(belief), what=what, sides=sides)


def _is_used_up(case: _Case, row: StoredTransaction) -> bool:
    """Whether what was set aside was taken, or given free when its time was over.

    The terminal does not hear of the rest, and need not.
    """
    hold = case.view.ledger.holds.get(row.id) if case.view.ledger else None
    over = {HoldState.CAPTURED, HoldState.EXPIRED}
    return row.kind in _HELD_KINDS and hold is not None and hold.state in over


def _check_ledger(case: _Case) -> Iterator[Finding]:
    """Compare the ledger with switch and issuers."""
    view = case.view
    if view.ledger is None:
        return
    for each in audit_ledger(
        view.ledger,
        rows=view.transactions,
        bookings=case.bookings,
        owed_to={entry.endpoint for entry in view.pending_saf},
        owed=case.owed,
        told_under=view.told_under,
    ):
        yield Finding(transaction=each.subject, what=each.what, sides=each.sides)


def _check_books(case: _Case) -> Iterator[Finding]:
    """Look for what an issuer booked twice, or for nobody."""
    known = {row.rrn for row in case.view.transactions} | case.own_rrn.keys()
    for issuer, books in case.bookings.items():
        approvals = Counter(
            booking.key
            for booking in books.entries
            if booking.kind is BookingKind.APPROVED
        )
        for key, times in approvals.items():
            if times > 1:
                yield Finding(
                    transaction=key.rrn, what=f"{issuer} booked it {times} times"
                )
            is_kept = books.approved_minor(key) or books.held_minor(key)
            if key.rrn not in known and is_kept:
                yield Finding(
                    transaction=key.rrn,
                    what=f"{issuer} booked what the switch never opened",
                )


def _pending(case: _Case) -> Iterator[str]:
    for entry in case.view.pending_saf:
        yield (
            f"{entry.transaction_id}: a message is owed to {entry.endpoint} "
            f"({entry.attempts} attempts)"
        )
    for belief in case.beliefs:
        if belief.state in UNFINISHED:
            yield f"{belief}: the terminal is not done"


def _promised_minor(row: StoredTransaction) -> int:
    """Give what the switch approved and did not undo, as a debit."""
    return standing_minor(row) * DEBITS[Kind(row.kind)]


def _switch_story(row: StoredTransaction) -> str:
    code = load_outcome(row.outcome).code.value if row.outcome else "no outcome"
    undone = ", reversed" if row.reversed else ""
    return f"{row.state.value}, {code} {Money(row.amount_minor, row.currency)}{undone}"


def _money(booking: Booking) -> Money:
    return Money(booking.amount_minor, booking.currency)


_UNPAID = frozenset({BeliefState.DECLINED, BeliefState.REVERSED, BeliefState.NOT_SENT})
