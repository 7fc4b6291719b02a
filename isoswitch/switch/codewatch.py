"""The codes that terminals of this process show, and who waits for them to be paid.

    shown ──paid, or its time is over──▶ told, once ──▶ forgotten

Who asks is answered, and not told besides. What is forgotten, because this process
ends or there are too many, is asked for: the answer lies in the store.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import trio

from isoswitch.codecs.canonical.codes import ResponseCode
from isoswitch.codecs.canonical.transaction import Outcome
from isoswitch.codecs.dialects.dialect import Dialect
from isoswitch.codecs.iso8583.message import Message
from isoswitch.store.port import Committed, Store, UnitOfWork
from isoswitch.store.rows import CodeState, PaymentCode
from isoswitch.switch.job import Job
from isoswitch.switch.settings import TerminalSettings

SHOWN_MAX = 10_000

NOT_PAID = Outcome.declined(ResponseCode.REQUEST_IN_PROGRESS, "nobody has paid it yet")
EXPIRED = Outcome.declined(
    ResponseCode.ANSWER_TOO_LATE, "nobody has paid it while that was possible"
)
CAME_BACK = Outcome.declined(
    ResponseCode.DO_NOT_HONOUR, "it was paid, and the money went back"
)
PAID = Outcome(code=ResponseCode.APPROVED, reason="paid")


@dataclass(slots=True, kw_only=True)
class Shown:
    """A code on a terminal's screen, and the ways to that terminal.

    ``sends`` are over the connection that asked for it, and over that which was used
    last.
    """

    id: str
    rrn: str
    terminal: TerminalSettings
    expires_at: float
    dialect: Dialect
    sends: tuple[Callable[[Message], None], ...]


@dataclass(slots=True, eq=False)
class Question:
    """A terminal that asks about a code; ``changed`` is set when that changes next."""

    terminal_id: str
    changed: trio.Event

    def renew(self) -> trio.Event:
        """Give the event of the next change, before the code is looked up."""
        self.changed = trio.Event()
        return self.changed


class CodeWatch:
    """Wakes who waits for a code, and keeps what terminals are to be told."""

    def __init__(self, *, shown_max: int = SHOWN_MAX) -> None:
        self._shown_max = shown_max
        self.shown: dict[str, Shown] = {}
        self._by_terminal: dict[str, set[str]] = {}
        self._questions: dict[str, set[Question]] = {}
        self._changed: set[str] = set()
        self._later: set[str] = set()
        self._lot = trio.lowlevel.ParkingLot()

    def show(self, job: Job, code: PaymentCode) -> None:
        """Keep a code that a terminal is about to show."""
        assert job.terminal is not None, "only a registered terminal gets a code"
        if len(self.shown) >= self._shown_max:
            self.forget(next(iter(self.shown)))
        self.shown[code.id] = Shown(
            id=code.id,
            rrn=job.rrn,
            terminal=job.terminal,
            expires_at=code.expires_at,
            dialect=job.dialect,
            sends=(job.send,),
        )
        self._by_terminal.setdefault(job.terminal.id, set()).add(code.id)
        self._lot.unpark_all()

    def hear(self, job: Job) -> None:
        """Learn the latest way to a terminal: the one that it has just used."""
        for code_id in self._by_terminal.get(job.txn.terminal_id, ()):
            shown = self.shown[code_id]
            if shown.dialect is job.dialect:
                shown.sends = (shown.sends[0], job.send)

    def forget(self, code_id: str) -> None:
        """Let a code go: its terminal knows, or must ask."""
        shown = self.shown.pop(code_id, None)
        if shown is None:
            return
        codes = self._by_terminal[shown.terminal.id]
        codes.discard(code_id)
        if not codes:
            del self._by_terminal[shown.terminal.id]

    def follow(self, unit: UnitOfWork, _: Committed) -> None:
        """Wake who waits, when a unit has changed a code."""
        for move in unit.rows:
            if not isinstance(move.row, PaymentCode):
                continue
            for question in self._questions.get(move.row.id, ()):
                question.changed.set()
            if move.row.id in self.shown:
                self._changed.add(move.row.id)
                self._lot.unpark_all()

    def look_again(self, code_id: str) -> None:
        """Have a code looked up once more, in a while."""
        self._later.add(code_id)

    @contextmanager
    def asking(self, code_id: str, terminal_id: str) -> Iterator[Question]:
        """Leave it to an answer to tell a terminal of a code."""
        question = Question(terminal_id, trio.Event())
        self._questions.setdefault(code_id, set()).add(question)
        try:
            yield question
        finally:
            questions = self._questions[code_id]
            questions.discard(question)
            if not questions:
                del self._questions[code_id]

    def is_asked(self, shown: Shown) -> bool:
        """Whether the terminal that shows a code is asking about it now."""
        questions = self._questions.get(shown.id, ())
        return any(each.terminal_id == shown.terminal.id for each in questions)

    async def wait_due(self, limit_s: float) -> set[str]:
        """Wait for a change, or for some time, and give what has changed.

        Without anything shown nobody waits for a time.
        """
        if not self._changed:
            with trio.move_on_after(limit_s if self.shown else math.inf):
                await self._lot.park()
        due = self._changed | self._later
        self._changed.clear()
        self._later.clear()
        return due


async def status_of(store: Store, code: PaymentCode, *, now: float) -> Outcome:
    """Give what has become of a code."""
    if code.state is CodeState.PAID:
        payment = await store.find_transaction(code.payment_id)
        return CAME_BACK if payment is None or payment.reversed else PAID
    if code.state is CodeState.OPEN and now >= code.expires_at:
        return EXPIRED
    return NOT_PAID
