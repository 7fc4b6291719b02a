"""What the switch's ledger says, against its transactions and the issuers' books.

1.  The entries sum to zero in every currency.
2.  What a hold captured and did not give back is what stands of its transaction, and
    what completions captured of it lies in holds of theirs.
3.  What is still set aside is set aside at the issuer, and nothing else is.
4.  What an issuer owes by our ledger is what it has taken from its cardholders.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from isoswitch.codecs.canonical.codes import Kind
from isoswitch.codecs.canonical.sealing import load_outcome
from isoswitch.ledger.entries import Entry, balances
from isoswitch.ledger.holds import Hold, HoldState
from isoswitch.simulators.accounts import DEBITS
from isoswitch.simulators.bookings import BookingKind, Bookings
from isoswitch.store.port import Store, StoredTransaction
from isoswitch.store.reader import StoreReader

ISSUER = "issuer/"
RECALLS = "recalls/"


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerView:
    """The ledger of a store: its holds by id, and its entries."""

    holds: Mapping[str, Hold]
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """One transaction or account of which the ledger and another side differ."""

    subject: str
    what: str
    sides: str


async def view_ledger(
    store: Store, transactions: Iterable[StoredTransaction]
) -> LedgerView:
    """Read the holds and entries of these transactions."""
    rows = list(transactions)
    found = [await store.find_hold(row.id) for row in rows]
    entries: list[Entry] = []
    for date in sorted({row.business_date for row in rows}):
        entries += await store.entries(date)
    return LedgerView(
        holds={hold.id: hold for hold in found if hold is not None},
        entries=tuple(entries),
    )


def read_ledger(
    reader: StoreReader, transactions: Iterable[StoredTransaction]
) -> LedgerView:
    """Read the holds and entries of these transactions from the file of a store."""
    rows = list(transactions)
    found = (reader.find_hold(row.id) for row in rows)
    dates = sorted({row.business_date for row in rows})
    return LedgerView(
        holds={hold.id: hold for hold in found if hold is not None},
        entries=tuple(entry for date in dates for entry in reader.entries(date)),
    )


def standing_minor(row: StoredTransaction) -> int:
    """Give what stands of a transaction as the switch tells it; never negative."""
    if row.reversed or not row.outcome:
        return 0
    outcome = load_outcome(row.outcome)
    if not outcome.is_approved:
        return 0
    return outcome.amount.minor if outcome.amount else row.amount_minor


def audit_ledger(
    ledger: LedgerView,
    *,
    rows: Sequence[StoredTransaction],
    bookings: Mapping[str, Bookings],
    owed_to: Collection[str],
    owed: Collection[str],
    told_under: Mapping[str, str],
) -> Iterator[Difference]:
    """Compare; what is ``owed`` is under way and not compared with issuers.

    ``told_under`` gives the transaction by the reference of an advice, where it has
    one of its own.
    """
    sums: Counter[str] = Counter()
    for (_, currency), minor in balances(ledger.entries).items():
        sums[currency] += minor
    for currency, minor in sums.items():
        if minor:
            yield Difference("ledger", f"does not balance in {currency}", str(minor))
    yield from _check_holds(ledger, rows)
    rrns = {row.rrn: row.id for row in rows} | dict(told_under)
    theirs = _set_aside(bookings, rrns)
    yield from _check_set_aside(ledger, rows, theirs, owed)
    yield from _check_issuers(ledger, bookings, owed_to)


def _check_holds(
    ledger: LedgerView, rows: Sequence[StoredTransaction]
) -> Iterator[Difference]:
    """Compare what each hold took with its transactions."""
    stands: dict[str, int] = defaultdict(int)
    parted: Counter[str] = Counter()
    for row in rows:
        if row.kind not in DEBITS:
            continue
        hold = ledger.holds.get(row.id)
        minor = standing_minor(row)
        stands[row.id] += minor
        if hold is not None and row.kind == Kind.COMPLETION:
            parted[row.original_id] += hold.captured_minor
        if hold is not None and hold.of:
            # A refund that was settled too late failed, and its payer has the money.
            stands[hold.of] -= _kept_minor(hold) if _stands_aside(hold) else minor
    for hold_id, hold in ledger.holds.items():
        # What was settled too late and not given back is no transaction's.
        kept = 0 if _stands_aside(hold) else _kept_minor(hold)
        if kept != stands[hold_id]:
            sides = f"ledger {kept}, transactions {stands[hold_id]}"
            yield Difference(hold_id, "the ledger took another amount", sides)
        if hold.parted_minor != parted[hold_id]:
            sides = f"ledger {hold.parted_minor}, captures {parted[hold_id]}"
            yield Difference(hold_id, "captures have other holds of their own", sides)


def _kept_minor(hold: Hold) -> int:
    return hold.own_minor - hold.returned_minor


def _stands_aside(hold: Hold) -> bool:
    return any(each.startswith(RECALLS) for each in (hold.debit, hold.credit))


def _check_set_aside(
    ledger: LedgerView,
    rows: Sequence[StoredTransaction],
    issuers: Mapping[str, int],
    owed: Collection[str],
) -> Iterator[Difference]:
    """Compare what is still held with what the issuers hold."""
    families: dict[str, str] = {}
    for row in rows:
        family = row.original_id if row.kind == Kind.INCREMENTAL else row.id
        families[row.id] = family
    unsettled = {families.get(each, each) for each in owed}
    for row in rows:
        if row.kind != Kind.PREAUTHORISATION or row.id in unsettled:
            continue
        hold = ledger.holds.get(row.id)
        is_open = hold is not None and hold.state is HoldState.OPEN
        ours = hold.remaining_minor if hold is not None and is_open else 0
        theirs = issuers.get(row.id, 0)
        # The issuer ended its hold with a completion that was undone: ours may wait.
        was_used = any(
            each.kind == Kind.COMPLETION
            and each.original_id == row.id
            and not standing_minor(each)
            for each in rows
        )
        if theirs > ours or (theirs < ours and not was_used):
            sides = f"switch {ours}, issuers {theirs}"
            yield Difference(row.id, "another amount is set aside", sides)


def _set_aside(
    bookings: Mapping[str, Bookings], rrns: Mapping[str, str]
) -> Counter[str]:
    """Give what the issuers still hold for each transaction."""
    held: Counter[str] = Counter()
    for books in bookings.values():
        for key in {each.held_key for each in books.entries}:
            held[rrns.get(key.rrn, "")] += books.held_minor(key)
    return held


def _check_issuers(
    ledger: LedgerView, bookings: Mapping[str, Bookings], owed_to: Collection[str]
) -> Iterator[Difference]:
    """Compare what each issuer owes with what it has taken."""
    signs = {BookingKind.APPROVED: 1, BookingKind.REVERSED: -1}
    ours = balances(ledger.entries)
    for issuer, books in bookings.items():
        if issuer in owed_to:
            continue
        theirs: Counter[str] = Counter()
        for each in books.entries:
            theirs[each.currency] += signs.get(each.kind, 0) * each.amount_minor
        for currency, minor in theirs.items():
            owes = ours.get((ISSUER + issuer, currency), 0)
            if owes != minor:
                sides = f"ledger {owes}, books {minor} {currency}"
                yield Difference(issuer, "ledger and issuer differ in the sum", sides)
