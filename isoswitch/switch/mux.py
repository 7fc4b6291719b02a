"""Pairs answers with the requests that wait for them, on all connections of a link.

An answer and a timer compete for one claim: whoever takes the waiting entry out of the
table decides, and the other finds nothing. An answer that does not echo what the
profile demands is no answer; one that nobody waits for is reported with its nearest
request.

A trace number comes round again, and the answer to its earlier use may still be under
way. The key of a request without an answer is therefore not used again for a day,
unless it holds what never comes round: our retrieval reference number, or the moment
of transmission.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import outcome
import trio

from isoswitch.codecs.canonical.errors import LinkDown, NoAnswer
from isoswitch.codecs.iso8583.message import Message
from isoswitch.switch.connection import Connection

# Requests expire this much late at most.
SWEEP_S = 0.05
LATE_S = 86_400.0
TOMBSTONES_MAX = 100_000
RRN = 37
# Transmission date and time, and our retrieval reference number.
NEVER_REPEATED = frozenset({7, RRN})

Key = tuple[str | bytes | None, ...]
# The fields of a request that an answer should have echoed and did not.
FindUnechoed = Callable[[Message, Message], tuple[int, ...]]


@dataclass(slots=True, eq=False)
class Waiting:
    """A request without an answer yet, and the task that waits for it."""

    key: Key
    request: Message
    task: trio.lowlevel.Task
    connection: Connection
    mark: int
    deadline: float

    @property
    def may_be_seen(self) -> bool:
        """Whether the peer may have seen it, or may yet: the frame is still queued."""
        return self.connection.is_open or self.connection.has_started(self.mark)


@dataclass(frozen=True, slots=True, kw_only=True)
class NearMiss:
    """Why an answer found no request: the closest one and the fields that differ."""

    reason: str
    differing: tuple[int, ...] = ()
    waiting_count: int = 0


class Mux:
    """The waiting requests of one endpoint."""

    def __init__(
        self, *, match_fields: Sequence[int], find_unechoed: FindUnechoed
    ) -> None:
        self._match_fields = tuple(match_fields)
        self._find_unechoed = find_unechoed
        self._waiting: dict[Key, Waiting] = {}
        # Keys that may still be answered late: until when, and for whose request.
        self._tombstones: dict[Key, tuple[float, str | bytes | None]] = {}
        # Who looks for requests that expire, while there is none before a time.
        self._sweeper: trio.lowlevel.Task | None = None
        self._sweeps_at = math.inf
        self._ended_because = ""

    def __len__(self) -> int:
        return len(self._waiting)

    async def exchange(
        self, connection: Connection, payload: bytes, request: Message, deadline: float
    ) -> Message:
        """Send a request and wait for its answer, on this or a sister connection.

        Cancelling the waiter leaves the request's fate unknown, like a timeout.

        Raises
        ------
        NoAnswer
            The deadline passed and the peer may have seen the request.
        LinkDown
            The connection ended before the first byte was written, or the answer could
            not be told from that to an earlier request, or the link has ended.
        """
        if self._ended_because:
            raise LinkDown(self._ended_because)
        key = self._key(request)
        if key in self._waiting:
            msg = "another request waits under the same match key"
            raise LinkDown(msg)
        if self._tombstones:
            self._check_unburied(key, request)
        mark = connection.send_nowait(payload)
        task = trio.lowlevel.current_task()
        waiting = Waiting(key, request, task, connection, mark, deadline)
        self._waiting[key] = waiting
        if deadline < self._sweeps_at and self._sweeper is not None:
            trio.lowlevel.reschedule(self._sweeper)
            self._sweeper = None

        def forget(_: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
            if self._waiting.pop(key, None) is not None and waiting.may_be_seen:
                self._bury(waiting)
            return trio.lowlevel.Abort.SUCCEEDED

        answer: Message = await trio.lowlevel.wait_task_rescheduled(forget)
        return answer

    def deliver(self, answer: Message) -> NearMiss | None:
        """Wake the request that an answer belongs to; say why when there is none."""
        key = self._key(answer)
        waiting = self._waiting.get(key)
        if waiting is None:
            return self._nearest(key)
        differing = self._find_unechoed(waiting.request, answer)
        if differing:
            return NearMiss(
                reason="the answer does not echo its request",
                differing=differing,
                waiting_count=len(self._waiting),
            )
        self._finish(waiting, outcome.Value(answer))
        return None

    def lose(self, connection: Connection, reason: str, *, fail_fast: bool) -> None:
        """Fail what a closed connection never wrote.

        The rest may yet be answered on a sister connection; with ``fail_fast`` it fails
        too.
        """
        for waiting in list(self._waiting.values()):
            if waiting.connection is not connection:
                continue
            if fail_fast or not waiting.may_be_seen:
                self._give_up(waiting, reason)

    def end(self, reason: str) -> None:
        """Fail what waits, and take nothing more: no answer will be read."""
        self._ended_because = reason
        for waiting in list(self._waiting.values()):
            self._give_up(waiting, reason)

    async def wait_empty(self) -> None:
        """Wait until every request is answered or given up."""
        # Polled, so that an exchange need not tell anybody that it is over.
        while self._waiting:  # noqa: ASYNC110
            await trio.sleep(SWEEP_S)

    async def run(self) -> None:
        """Expire requests; runs as long as the link."""
        # All are looked at, because that is seldom: not before the first of those seen
        # last would have expired, and mostly it was answered long ago.
        while True:
            await trio.sleep(SWEEP_S)
            now = trio.current_time()
            for waiting in list(self._waiting.values()):
                if waiting.deadline <= now:
                    self._give_up(waiting, "no answer before the deadline")
            deadlines = [each.deadline for each in self._waiting.values()]
            self._sweeps_at = min(deadlines, default=math.inf)
            with trio.CancelScope(deadline=self._sweeps_at):
                self._sweeper = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._stop_waiting)

    def _give_up(self, waiting: Waiting, reason: str) -> None:
        if waiting.may_be_seen:
            self._bury(waiting)
            error: Exception = NoAnswer(reason)
        else:
            error = LinkDown(f"the request was never written: {reason}")
        self._finish(waiting, outcome.Error(error))

    def _finish(
        self, waiting: Waiting, result: outcome.Value[Message] | outcome.Error
    ) -> None:
        del self._waiting[waiting.key]
        trio.lowlevel.reschedule(waiting.task, result)

    def _bury(self, waiting: Waiting) -> None:
        """Keep a key from being used again, unless it never would be."""
        request = waiting.request
        if self._never_returns(request):
            return
        # Taken out first: the order of the table is that of the times.
        self._tombstones.pop(waiting.key, None)
        until = trio.current_time() + LATE_S
        self._tombstones[waiting.key] = (until, request.get(RRN))

    def _check_unburied(self, key: Key, request: Message) -> None:
        """Refuse a request whose answer a late one could be taken for."""
        if self._never_returns(request):
            return
        now = trio.current_time()
        while self._tombstones:
            oldest = next(iter(self._tombstones))
            if self._tombstones[oldest][0] > now:
                break
            del self._tombstones[oldest]
        rrn = request.get(RRN)
        buried = self._tombstones.get(key)
        # A repeat of the same transaction may be answered by either answer.
        if buried is not None and (rrn is None or buried[1] != rrn):
            msg = "an earlier request under the same match key may still be answered"
            raise LinkDown(msg)
        if len(self._tombstones) >= TOMBSTONES_MAX and buried is None:
            msg = f"{TOMBSTONES_MAX} requests may still be answered late"
            raise LinkDown(msg)

    def _never_returns(self, request: Message) -> bool:
        return any(de in NEVER_REPEATED and de in request for de in self._match_fields)

    def _key(self, message: Message) -> Key:
        # Requests and answers of one exchange share version and class of their MTI.
        return (message.mti[:2], *map(message.get, self._match_fields))

    def _nearest(self, key: Key) -> NearMiss:
        best: tuple[int, ...] | None = None
        # Only the first few are compared: a flood of strays must stay cheap.
        for other in itertools.islice(self._waiting, 64):
            differing = tuple(
                de
                for de, mine, theirs in zip(
                    self._match_fields, key[1:], other[1:], strict=True
                )
                if mine != theirs
            )
            if best is None or len(differing) < len(best):
                best = differing
        return NearMiss(
            reason="nobody waits for this answer",
            differing=best or (),
            waiting_count=len(self._waiting),
        )

    def _stop_waiting(self, _: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
        self._sweeper = None
        return trio.lowlevel.Abort.SUCCEEDED
