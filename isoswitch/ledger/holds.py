"""Holds: an amount set aside, captured in one part or several, released, given back.

    Place ──▶ OPEN ──Capture (final, or the last of it)──▶ CAPTURED ──Return──▶ CAPTURED
               │ ╰──Capture (a part)──▶ OPEN
               ├──Release──▶ RELEASED  (CAPTURED where a part was captured)
               ╰──Expire───▶ EXPIRED   (likewise)

What gives money back is a hold of its own that names the one it is ``of``: it reserves
its amount there when it is placed, so that refunds under way never give back more than
was captured. What another transaction captures of a hold is a hold of its own under
that one's id: of each capture no more is given back than that one took, whatever
others did. A hold is resolved once; to resolve it again is an error and no posting.
Every change is named by the transaction that causes it, and the same change again does
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol, assert_never

from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.values import quick
from isoswitch.ledger.entries import Entry, LedgerRefused, transfer


class HoldState(StrEnum):
    """Where a hold stands."""

    OPEN = "open"
    CAPTURED = "captured"
    RELEASED = "released"
    EXPIRED = "expired"


class HoldUnknown(LedgerRefused):
    """No hold of this id was placed."""


class HoldResolved(LedgerRefused):
    """The hold was captured, released or expired before."""


class AmountExceeded(LedgerRefused):
    """More than is held, or more than was captured."""


class HoldMoved(LedgerRefused):
    """Something else changed the hold after this change was made up."""


class EntryConflict(LedgerRefused):
    """The same id came before with other content."""


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """An amount set aside between two accounts, in minor units of one currency.

    When captured it debits ``debit`` and credits ``credit``. ``returned_minor`` was
    given back of what was captured, ``returning_minor`` is reserved for that.
    ``parted_minor`` of it lies in holds of those that captured it, and is given back
    of there. ``expires_at`` is UTC in ISO 8601, empty for a hold that does not expire.
    """

    id: str
    debit: str
    credit: str
    currency: str
    held_minor: int
    of: str = ""
    captured_minor: int = 0
    parted_minor: int = 0
    returned_minor: int = 0
    returning_minor: int = 0
    state: HoldState = HoldState.OPEN
    expires_at: str = ""

    @property
    def remaining_minor(self) -> int:
        """What may still be captured within the amount that is held."""
        if self.state is not HoldState.OPEN:
            return 0
        return max(0, self.held_minor - self.captured_minor)

    @property
    def returnable_minor(self) -> int:
        """What may still be given back; negative when more was than was captured."""
        return self.own_minor - self.returned_minor - self.returning_minor

    @property
    def own_minor(self) -> int:
        """What was captured and lies in no other hold."""
        return self.captured_minor - self.parted_minor


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Set an amount aside; ``of`` names the hold that it gives money back of."""

    id: str
    debit: str
    credit: str
    amount: Money
    of: str = ""
    expires_at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirect:
    """Put another account in the place of one, before anything is captured."""

    id: str
    account: str
    instead: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resize:
    """Hold more, or less, by so many minor units; ``expires_at`` empty keeps it.

    Who reckoned from what is held says so in ``from_minor``.
    """

    id: str
    by_minor: int
    expires_at: str = ""
    from_minor: int | None = None


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """Turn a hold, or a part of it, into money owed.

    ``by`` is the transaction that captures; another than the hold's gets what it takes
    as a hold of its own. The last capture ``is_final`` and releases the rest. In sum
    it may exceed what is held by ``over_percent``.
    """

    id: str
    by: str
    minor: int
    business_date: str
    is_final: bool = True
    over_percent: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Give what remains of a hold free; ``is_expired`` when its time is over.

    Who reckoned from what remained says so in ``from_minor``.
    """

    id: str
    is_expired: bool = False
    from_minor: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Return:
    """Give captured money back without a hold for it.

    What ``has_happened`` is written down whatever was given back besides: somebody has
    it twice, and who owes it is not for the ledger to refuse. Who reckoned from what
    was returned before says so in ``from_minor``.
    """

    id: str
    by: str
    business_date: str
    minor: int
    has_happened: bool = False
    from_minor: int | None = None


Change = Place | Redirect | Resize | Capture | Release | Return
# Those that make an entry, which belongs to a business day.
DATED = (Capture, Return)


class Book(Protocol):
    """What the rules ask of whoever stores the ledger."""

    def find_hold(self, hold_id: str) -> Hold | None:
        """Find a hold."""
        ...

    def find_entry(self, entry_id: str) -> Entry | None:
        """Find an entry."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a change makes: holds as they are now, and perhaps an entry."""

    holds: tuple[Hold, ...] = ()
    entry: Entry | None = None


NOTHING = Effect()


def apply(change: Change, book: Book) -> Effect:
    """Give the effect of a change by the ledger's rules.

    Raises
    ------
    LedgerRefused
        `HoldUnknown`, `HoldResolved`, `HoldMoved`, `AmountExceeded` or
        `EntryConflict`.
    """
    match change:
        case Place():
            return _place(change, book)
        case Redirect():
            return _redirect(change, _get_open(book, change.id))
        case Resize():
            return _resize(change, _get_open(book, change.id))
        case Capture():
            return _capture(change, book)
        case Release():
            return _release(change, book)
        case Return():
            return _return(change, book)
        case _:
            assert_never(change)


def _place(change: Place, book: Book) -> Effect:
    if change.amount.minor <= 0:
        msg = f"hold {change.id} is over nothing"
        raise AmountExceeded(msg)
    hold = Hold(
        id=change.id,
        of=change.of,
        debit=change.debit,
        credit=change.credit,
        currency=change.amount.currency,
        held_minor=change.amount.minor,
        expires_at=change.expires_at,
    )
    existing = book.find_hold(change.id)
    if existing == hold:
        return NOTHING
    if existing is not None:
        msg = f"hold {change.id} exists with other content"
        raise EntryConflict(msg)
    if not change.of:
        return Effect(holds=(hold,))
    original = _get(book, change.of)
    if original.of:
        msg = f"hold {change.id} is of {change.of}, which itself gives money back"
        raise AmountExceeded(msg)
    if original.currency != hold.currency:
        msg = f"hold {change.id} gives back another currency than {change.of} has"
        raise AmountExceeded(msg)
    _check_returnable(original, hold.held_minor)
    returning = original.returning_minor + hold.held_minor
    return Effect(holds=(hold, replace(original, returning_minor=returning)))


def _redirect(change: Redirect, hold: Hold) -> Effect:
    if hold.captured_minor:
        msg = f"hold {change.id} is captured in part and cannot change its accounts"
        raise HoldResolved(msg)
    swap = {change.account: change.instead}
    return Effect(
        holds=(
            replace(
                hold,
                debit=swap.get(hold.debit, hold.debit),
                credit=swap.get(hold.credit, hold.credit),
            ),
        )
    )


def _resize(change: Resize, hold: Hold) -> Effect:
    _check_reckoned(hold, change.from_minor, hold.held_minor)
    held = hold.held_minor + change.by_minor
    if held < max(1, hold.captured_minor):
        msg = f"hold {change.id} cannot shrink below what was captured"
        raise AmountExceeded(msg)
    if hold.of:
        msg = f"hold {change.id} gives money back and keeps its amount"
        raise AmountExceeded(msg)
    expires_at = change.expires_at or hold.expires_at
    return Effect(holds=(replace(hold, held_minor=held, expires_at=expires_at),))


def _capture(change: Capture, book: Book) -> Effect:
    hold = _get(book, change.id)
    entry = transfer(
        f"{change.by}/capture",
        debit=hold.debit,
        credit=hold.credit,
        amount=Money(change.minor, hold.currency),
        transaction_id=change.by,
        business_date=change.business_date,
    )
    if _is_repeat(entry, book):
        return NOTHING
    _check_open(hold)
    captured = hold.captured_minor + change.minor
    # Percent of minor units, rounded down: the tolerance is never exceeded.
    ceiling = hold.held_minor * (100 + change.over_percent) // 100
    if change.minor <= 0 or captured > ceiling:
        msg = f"hold {change.id} does not cover this capture"
        raise AmountExceeded(msg)
    is_done = change.is_final or captured >= hold.held_minor
    after = replace(
        hold,
        captured_minor=captured,
        state=HoldState.CAPTURED if is_done else HoldState.OPEN,
    )
    if change.by != hold.id and not hold.of:
        after = replace(after, parted_minor=hold.parted_minor + change.minor)
        return Effect(holds=(after, _part(change, hold, book)), entry=entry)
    return Effect(holds=(after, *_settle_original(book, after, hold)), entry=entry)


def _part(change: Capture, hold: Hold, book: Book) -> Hold:
    """Give the hold of what another transaction captures."""
    if book.find_hold(change.by) is not None:
        msg = f"hold {change.by} exists with other content"
        raise EntryConflict(msg)
    return Hold(
        id=change.by,
        debit=hold.debit,
        credit=hold.credit,
        currency=hold.currency,
        held_minor=change.minor,
        captured_minor=change.minor,
        state=HoldState.CAPTURED,
    )


def _release(change: Release, book: Book) -> Effect:
    hold = _get_open(book, change.id)
    _check_reckoned(hold, change.from_minor, hold.remaining_minor)
    after = _released(hold, is_expired=change.is_expired)
    return Effect(holds=(after, *_settle_original(book, after, hold)))


def _return(change: Return, book: Book) -> Effect:
    hold = _get(book, change.id)
    entry = transfer(
        f"{change.by}/return",
        debit=hold.credit,
        credit=hold.debit,
        amount=Money(change.minor, hold.currency),
        transaction_id=change.by,
        business_date=change.business_date,
    )
    if _is_repeat(entry, book):
        return NOTHING
    _check_reckoned(hold, change.from_minor, hold.returned_minor)
    if not (change.has_happened and 0 < change.minor <= hold.own_minor):
        _check_returnable(hold, change.minor)
    after = replace(hold, returned_minor=hold.returned_minor + change.minor)
    return Effect(holds=(after, *_settle_original(book, after, hold)), entry=entry)


def _released(hold: Hold, *, is_expired: bool) -> Hold:
    if hold.captured_minor:
        return replace(hold, state=HoldState.CAPTURED)
    return replace(hold, state=HoldState.EXPIRED if is_expired else HoldState.RELEASED)


def _settle_original(book: Book, after: Hold, before: Hold) -> tuple[Hold, ...]:
    """Carry what became of money given back to the hold that it is of."""
    if not before.of:
        return ()
    original = _get(book, before.of)
    returned = (after.captured_minor - after.returned_minor) - (
        before.captured_minor - before.returned_minor
    )
    reserved = after.remaining_minor - before.remaining_minor
    return (
        replace(
            original,
            returned_minor=original.returned_minor + returned,
            returning_minor=original.returning_minor + reserved,
        ),
    )


def _is_repeat(entry: Entry, book: Book) -> bool:
    existing = book.find_entry(entry.id)
    if existing is None:
        return False
    if existing.postings != entry.postings:
        msg = f"entry {entry.id} exists with other content"
        raise EntryConflict(msg)
    return True


def _check_reckoned(hold: Hold, from_minor: int | None, is_minor: int) -> None:
    if from_minor not in (None, is_minor):
        msg = f"hold {hold.id} is not what this was reckoned from any more"
        raise HoldMoved(msg)


def _check_returnable(hold: Hold, minor: int) -> None:
    if not 0 < minor <= hold.returnable_minor:
        msg = f"hold {hold.id} has less to give back than this"
        raise AmountExceeded(msg)


def _get(book: Book, hold_id: str) -> Hold:
    hold = book.find_hold(hold_id)
    if hold is None:
        msg = f"there is no hold {hold_id}"
        raise HoldUnknown(msg)
    return hold


def _get_open(book: Book, hold_id: str) -> Hold:
    hold = _get(book, hold_id)
    _check_open(hold)
    return hold


def _check_open(hold: Hold) -> None:
    if hold.state is not HoldState.OPEN:
        msg = f"hold {hold.id} is {hold.state} already"
        raise HoldResolved(msg)
