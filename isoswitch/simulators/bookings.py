"""What a simulated issuer booked: one decision for each transaction, reversals, proof.

A transaction is known by the acquirer and the retrieval reference number. A request
that comes again gets its first decision again; a reversal undoes an approval once; a
reversal that arrives before its original leaves a tombstone that refuses the original.
With a log file every booking is appended before it is answered, so that an issuer
process that is killed and started again still knows what it approved. The file holds
card names and no card numbers.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path

import msgspec

from isoswitch.codecs.canonical.codes import Kind, ResponseCode


class BookingKind(StrEnum):
    """What an issuer wrote down."""

    APPROVED = "approved"
    DECLINED = "declined"
    REVERSED = "reversed"
    TOMBSTONE = "tombstone"


class BookingKey(msgspec.Struct, frozen=True, gc=False):
    """What names a transaction at an issuer."""

    acquirer_id: str
    rrn: str


class Booking(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One line of an issuer's books.

    ``amount_minor`` is what was taken, or given back by a reversal; ``held_minor`` what
    was set aside, or given free. ``of`` is the reference of the transaction that it
    acts on. ``transaction`` is what was decided or reversed. ``content`` tells a repeat
    from another request under the same key. ``pin_tries_left`` is set when the decision
    changed the PIN tries of the card. ``business_date`` is the day
    that the acquirer named.
    """

    kind: BookingKind
    acquirer_id: str
    rrn: str
    at: str
    stan: str = ""
    terminal_id: str = ""
    card: str = ""
    transaction: str = ""
    amount_minor: int = 0
    held_minor: int = 0
    of: str = ""
    currency: str = ""
    code: ResponseCode = ResponseCode.APPROVED
    approval_code: str = ""
    content: str = ""
    pin_tries_left: int | None = None
    business_date: str = ""

    @property
    def key(self) -> BookingKey:
        """The name of the transaction it belongs to."""
        return BookingKey(self.acquirer_id, self.rrn)

    @property
    def taken_key(self) -> BookingKey:
        """The transaction of which it takes money: for a void the one it undoes."""
        is_void = self.transaction == Kind.VOID
        return BookingKey(self.acquirer_id, self.of) if is_void else self.key

    @property
    def held_key(self) -> BookingKey:
        """The transaction that began to set money aside."""
        return BookingKey(self.acquirer_id, self.of or self.rrn)


class Bookings:
    """An issuer's books, in memory and, when wanted, in a file.

    ``on_booking`` is told of every new entry.

    Examples
    --------
    >>> books = Bookings()
    >>> approval = Booking(
    ...     kind=BookingKind.APPROVED,
    ...     acquirer_id="1",
    ...     rrn="000100000001",
    ...     at="2026-01-02T03:04:05.000000Z",
    ...     amount_minor=1250,
    ... )
    >>> books.add(approval)
    >>> books.find_decision(approval.key) is approval
    True
    >>> books.approved_minor(approval.key)
    1250
    """

    def __init__(self, log_path: Path | None = None) -> None:
        self.entries: list[Booking] = []
        self._decisions: dict[BookingKey, Booking] = {}
        self._reversals: dict[BookingKey, Booking] = {}
        self._taken: Counter[BookingKey] = Counter()
        self._held: Counter[BookingKey] = Counter()
        self._log: int | None = None
        self.on_booking: Callable[[Booking], None] = lambda _: None
        if log_path is not None:
            for booking in read_bookings(log_path):
                self._apply(booking)
            self._log = _open_log(log_path)

    def add(self, booking: Booking) -> None:
        """Write a booking down, in the file first."""
        if self._log is not None:
            # The page cache survives the death of this process, which is all that
            # the books of a simulator must survive: no fsync.
            os.write(self._log, _ENCODER.encode(booking) + b"\n")
        self._apply(booking)
        self.on_booking(booking)

    def find_decision(self, key: BookingKey) -> Booking | None:
        """Find how a request was decided: an approval or a decline."""
        return self._decisions.get(key)

    def find_reversal(self, key: BookingKey) -> Booking | None:
        """Find the reversal or the tombstone of a transaction."""
        return self._reversals.get(key)

    def approved_minor(self, key: BookingKey) -> int:
        """Give what stays taken of a transaction after voids and reversals."""
        return self._taken[key]

    def held_minor(self, key: BookingKey) -> int:
        """Give what is still set aside by a transaction and what added to it."""
        return self._held[key]

    def find_original(
        self, *, acquirer_id: str, stan: str, card: str, approval_code: str
    ) -> Booking | None:
        """Find the approval that another transaction names, the last one that fits.

        ``card`` and ``approval_code`` empty leave them out.
        """
        return next(
            (
                each
                for each in reversed(self.entries)
                if each.kind is BookingKind.APPROVED
                and (each.acquirer_id, each.stan) == (acquirer_id, stan)
                and card in ("", each.card)
                and approval_code in ("", each.approval_code)
            ),
            None,
        )

    def acting_on(self, original: BookingKey, kind: Kind) -> Iterator[Booking]:
        """Give the approvals of a kind that act on a transaction."""
        for each in self.entries:
            if (
                each.kind is BookingKind.APPROVED
                and each.transaction == kind
                and (each.acquirer_id, each.of) == (original.acquirer_id, original.rrn)
            ):
                yield each

    def close(self) -> None:
        """Close the log file."""
        if self._log is not None:
            os.close(self._log)
            self._log = None

    def _apply(self, booking: Booking) -> None:
        self.entries.append(booking)
        if booking.kind in _DECISIONS:
            self._decisions.setdefault(booking.key, booking)
        else:
            self._reversals.setdefault(booking.key, booking)
        sign = _SIGNS.get(booking.kind, 0)
        self._taken[booking.taken_key] += sign * booking.amount_minor
        self._held[booking.held_key] += sign * booking.held_minor


def read_bookings(log_path: Path) -> Sequence[Booking]:
    """Read a log of bookings; a last line cut short by a kill is left out.

    Raises
    ------
    ValueError
        A whole line is not a booking.
    """
    if not log_path.exists():
        return ()
    lines = log_path.read_bytes().split(b"\n")[:-1]
    return tuple(_DECODER.decode(line) for line in lines)


_SIGNS = {BookingKind.APPROVED: 1, BookingKind.REVERSED: -1}
_DECISIONS = frozenset({BookingKind.APPROVED, BookingKind.DECLINED})
_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Booking)


def _open_log(log_path: Path) -> int:
    """Open for appending, after the last whole line."""
    log = os.open(log_path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    whole = log_path.read_bytes().rfind(b"\n") + 1
    os.truncate(log, whole)
    return log
