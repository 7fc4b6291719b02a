"""What a clearing house books on our position, against what we believe it booked.

Every transfer has an item for each direction of its money: what we believe, what the
house has reported, and what of that was settled in windows that are over. The two sides
come in any order and are added up; at the end of a window they must be the same.

    item      ours ─── theirs       break: they differ, and nothing is under way
    window    settled ─── theirs    break: it settles what it has not reported
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from isoswitch.clearing.receipt import Receipt, ReceiptState
from isoswitch.clearing.transfer import Transfer, TransferState
from isoswitch.codecs.canonical.money import Money

# States of a transfer of ours in which the house has moved its money.
MOVED = frozenset(
    {
        TransferState.HELD,
        TransferState.SETTLED,
        TransferState.RETURN_DUE,
        TransferState.RECALLING,
        TransferState.RECALL_REFUSED,
        TransferState.RETURNED,
    }
)


class ItemState(StrEnum):
    """Whether both sides agree and the money is settled."""

    OPEN = "open"
    SETTLED = "settled"


class WindowState(StrEnum):
    """What came of comparing a settlement with our net."""

    AGREED = "agreed"
    DIFFERS = "differs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Booking:
    """Money of a transfer that moved on our position: in or out, and how much."""

    uetr: str
    is_credit: bool
    minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HouseItem:
    """The money of a transfer that went one way, as both sides have it.

    ``sign`` is 1 for money that came to us and -1 for money that went. ``taken``
    names the house's bookings that were counted. ``changed_at`` is UTC epoch seconds.
    """

    id: str
    endpoint: str
    uetr: str
    sign: int
    currency: str
    ours_minor: int = 0
    theirs_minor: int = 0
    settled_minor: int = 0
    taken: str = ""
    changed_at: float = 0.0
    state: ItemState = ItemState.OPEN


@dataclass(frozen=True, slots=True, kw_only=True)
class HouseWindow:
    """A settlement of a house, and our net for it when it came.

    ``settled_minor`` is what it says, ``theirs_minor`` what it had reported.
    """

    id: str
    endpoint: str
    currency: str
    settled_minor: int
    ours_minor: int
    theirs_minor: int
    at: str
    state: WindowState


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Our net and the reported one of a window, and a sentence for each break."""

    ours_minor: int
    theirs_minor: int
    breaks: tuple[str, ...]


def bookings_of_transfer(
    before: Transfer | None, after: Transfer, *, member: str
) -> tuple[Booking, ...]:
    """Give what a change of a transfer of ours moves on the position of a member."""
    is_payer = after.debtor_agent == member
    if is_payer == (after.creditor_agent == member):
        return ()
    bookings = []
    if after.state in MOVED and (before is None or before.state not in MOVED):
        bookings.append((not is_payer, after.amount.minor))
    returned = after.returned_minor - (before.returned_minor if before else 0)
    if returned:
        bookings.append((is_payer, returned))
    return tuple(
        Booking(uetr=after.uetr, is_credit=is_credit, minor=minor)
        for is_credit, minor in bookings
    )


def bookings_of_receipt(before: Receipt | None, after: Receipt) -> tuple[Booking, ...]:
    """Give what a change of a transfer to us moves on our position.

    A return moves when the house has taken it.
    """
    known = None if before is None else before.state
    if after.state is known:
        return ()
    changes = {
        ReceiptState.CREDITED: (True, after.amount_minor),
        ReceiptState.CANCELLED: (True, -after.amount_minor),
        ReceiptState.RETURNED: (False, after.amount_minor),
    }
    change = changes.get(after.state)
    if change is None:
        return ()
    name = after.uetr or after.their_id
    return (Booking(uetr=name, is_credit=change[0], minor=change[1]),)


def item_id(endpoint: str, booking: Booking) -> str:
    """Name the item that a booking belongs to."""
    way = "in" if booking.is_credit else "out"
    return f"{endpoint}/{booking.uetr}/{way}"


def new_item(endpoint: str, booking: Booking, currency: str) -> HouseItem:
    """Give the item of a booking before either side has counted anything."""
    return HouseItem(
        id=item_id(endpoint, booking),
        endpoint=endpoint,
        uetr=booking.uetr,
        sign=1 if booking.is_credit else -1,
        currency=currency,
    )


def count_ours(item: HouseItem, booking: Booking, *, now: float) -> HouseItem:
    """Give an item after we have booked."""
    ours = item.ours_minor + booking.minor
    return _seen(replace(item, ours_minor=ours, changed_at=now))


def count_theirs(
    item: HouseItem, booking: Booking, reference: str, *, now: float
) -> HouseItem:
    """Give an item after the house has told of a booking; the same again is nothing."""
    taken = item.taken.split()
    if reference in taken:
        return item
    return _seen(
        replace(
            item,
            theirs_minor=item.theirs_minor + booking.minor,
            taken=" ".join([*taken, reference]),
            changed_at=now,
        )
    )


def settle(item: HouseItem) -> HouseItem:
    """Give an item after the house has settled what it had reported."""
    return _seen(replace(item, settled_minor=item.theirs_minor))


def compare(
    items: Iterable[HouseItem], settled_minor: int, *, now: float, under_way_s: float
) -> Comparison:
    """Compare a settlement with the items that are not settled yet.

    What changed in the last ``under_way_s`` may belong to the next window.
    """
    waiting = list(items)
    ours = sum(each.sign * (each.ours_minor - each.settled_minor) for each in waiting)
    theirs = sum(
        each.sign * (each.theirs_minor - each.settled_minor) for each in waiting
    )
    breaks = [
        f"{each.uetr}: we have {_signed(each, each.ours_minor)}, "
        f"the house {_signed(each, each.theirs_minor)}"
        for each in waiting
        if each.ours_minor != each.theirs_minor and now - each.changed_at >= under_way_s
    ]
    if settled_minor != theirs:
        breaks.insert(0, f"it settles {settled_minor} and has reported {theirs}")
    return Comparison(ours_minor=ours, theirs_minor=theirs, breaks=tuple(breaks))


def adds_up(opening: int, moved: Sequence[int], closing: int) -> bool:
    """Whether a statement's entries lead from its first balance to its last.

    Examples
    --------
    >>> adds_up(0, [500, -200], 300), adds_up(0, [500], 300)
    (True, False)
    """
    return opening + sum(moved) == closing


def _seen(item: HouseItem) -> HouseItem:
    is_done = item.ours_minor == item.theirs_minor == item.settled_minor
    return replace(item, state=ItemState.SETTLED if is_done else ItemState.OPEN)


def _signed(item: HouseItem, minor: int) -> Money:
    return Money(item.sign * minor, item.currency)
