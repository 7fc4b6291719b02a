"""Sees a story while it happens: what must never be true at any moment.

An issuer books nothing whose intent is not durable, a terminal hears no approval that
is not, and the switch itself raises no alarm. At the end the auditor compares; the
witness finds what has become right again by then.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, MutableMapping
from functools import partial
from typing import Any

import structlog
import trio

from isoswitch.codecs.canonical.transaction import Transaction
from isoswitch.journal.records import RecordKind
from isoswitch.simulators.beliefs import Belief
from isoswitch.simulators.bookings import Booking
from isoswitch.simulators.world import World
from isoswitch.store.disk import read_record
from isoswitch.store.port import StoredTransaction
from isoswitch.switch.logs import ChunkedWriter, legs
from isoswitch.switch.numbers import find_transaction_id

# The file descriptor of a writer that is given nothing to write.
NOWHERE = -1
FAULTS = frozenset({"dispatch_failed", "connection_failed"})
# A spoilt issuer that gets a request twice may decline one copy and approve the other;
# then the switch is right to raise it.
LATE_APPROVAL = "late_approval_without_reversal"


class Witness:
    """Sees every booking, approval and log line in the moment in which it happens.

    ``violations`` are told in words; ``timeline`` is what happened, with its time, when
    the witness ``takes_notes``; ``said`` are the log lines as they were, likewise. It
    ``knows_repeats`` when nobody but the switch sends anything twice.
    """

    def __init__(
        self, *, takes_notes: bool = False, knows_repeats: bool = False
    ) -> None:
        self.violations: list[str] = []
        self.timeline: list[str] = []
        self.said: list[str] = []
        self.takes_notes = takes_notes
        self._knows_repeats = knows_repeats
        self._first_reversals: set[tuple[str, str]] = set()
        self._world: World | None = None

    def watch(self, world: World) -> None:
        """Begin to watch a world."""
        self._world = world
        for name, issuer in world.issuers.items():
            issuer.bookings.on_booking = partial(self._check_intent, name)
            issuer.on_reversal = partial(self._check_repeat, name)
        for house in world.houses.values():
            house.on_payment = self._check_transfer
        for terminal in world.terminals.values():
            terminal.on_approval = self._check_approval

    def note(self, what: str) -> None:
        """Write down what happened, if anybody wants to read it."""
        if self.takes_notes:
            self.timeline.append(f"{trio.current_time():9.3f}  {what}")

    def accuse(self, what: str) -> None:
        """Write down what must not have happened."""
        self.violations.append(what)
        self.note(f"VIOLATION {what}")

    def hear(
        self, _: object, __: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """Take a log line; nothing of it is printed."""
        name = event["event"]
        if name in FAULTS or (name == LATE_APPROVAL and self._knows_repeats):
            fault = event.get("exc_info")
            told = f" ({fault!r})" if isinstance(fault, BaseException) else ""
            self.accuse(f"the switch raised the alarm {name}{told}")
        if self.takes_notes:
            self.said.append(repr(event))
            rest = (f"{key}={value}" for key, value in event.items() if key != "event")
            self.note(" ".join(["switch", name, *rest]))
        raise structlog.DropEvent

    def _check_intent(self, issuer: str, booking: Booking) -> None:
        self.note(f"{issuer} books {booking.kind.value} {booking.rrn}")
        row = self._row(booking.rrn)
        if row is None and not self._is_advice(booking.rrn):
            self.accuse(f"{issuer} saw {booking.rrn} before its intent was durable")

    def _check_transfer(self, uetr: str) -> None:
        assert self._world is not None, "only a watched world is asked"
        self.note(f"the house gets {uetr}")
        transfers = self._world.disk.transfers.values()
        if not any(each.uetr == uetr for each in transfers):
            self.accuse(f"the house saw {uetr} before its intent was durable")

    def _check_repeat(self, issuer: str, reversal: Transaction) -> None:
        """A reversal that was sent before says so, unless the network repeats it."""
        if reversal.is_repeat or not self._knows_repeats:
            return
        key = issuer, reversal.rrn
        if key in self._first_reversals:
            self.accuse(f"{issuer} saw two first reversals of {reversal.rrn}")
        self._first_reversals.add(key)

    def _check_approval(self, belief: Belief) -> None:
        row = self._row(belief.rrn)
        if row is None or not row.outcome:
            self.accuse(f"{belief} heard an approval that was not durable")

    def _is_advice(self, rrn: str) -> bool:
        """Whether an approval in the issuer's place is told under this number."""
        assert self._world is not None, "only a watched world is asked"
        records = (read_record(link.encoded) for link in self._world.disk.links)
        return any(
            record.kind is RecordKind.STOOD_IN and record.body["rrn"] == rrn
            for record in records
        )

    def _row(self, rrn: str) -> StoredTransaction | None:
        assert self._world is not None, "only a watched world is asked"
        return self._world.disk.transactions.get(find_transaction_id(rrn) or "")


def listen(witness: Witness, *, level: int) -> Callable[[], None]:
    """Let a witness hear what is logged from a level on; gives what ends it."""
    before, writer = structlog.get_config(), legs.writer
    structlog.configure(
        processors=[witness.hear],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        # Nothing is printed; the usual one is made anew for every line, at a price.
        logger_factory=lambda *_: None,
    )
    if level > logging.INFO:
        legs.writer = ChunkedWriter(NOWHERE, takes_legs=False)

    def restore() -> None:
        structlog.configure(**before)
        legs.writer = writer

    return restore
