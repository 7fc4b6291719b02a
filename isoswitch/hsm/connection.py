"""One connection to a crypto process, with many requests in flight.

Nothing is made per request but its bytes and its place in a table: the caller parks,
requests gather in one frame that a single write empties once per scheduler pass, and a
sweeper ends the waits whose deadline has passed. That keeps a request under five
microseconds of this process, half of which are trio's.
"""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Awaitable, Sequence
from itertools import count
from pathlib import Path
from typing import NoReturn

import trio

from isoswitch.codecs.canonical.errors import HsmError, HsmUnavailable
from isoswitch.hsm.port import AnyCommand
from isoswitch.hsm.wire import (
    FrameBuffer,
    Reply,
    Request,
    Status,
    decode_replies,
    encode,
    frame,
)

_READ_BYTES = 65_536
_SWEEP_S = 0.1
_RECONNECT_MIN_S = 0.01
_BROKEN = "the connection to the crypto process broke"
_LATE = "the crypto process did not answer in time"


class ConnectionBusy(HsmUnavailable):
    """So many requests wait that another one would only wait longer."""


class Connection:
    """Sends requests to one socket, and connects again whenever it breaks.

    ``maintain`` must run in a task of its own for as long as requests are made.

    Parameters
    ----------
    path
        The socket of the crypto process.
    in_flight_max
        Further requests are refused at once.
    """

    def __init__(
        self,
        path: Path,
        *,
        in_flight_max: int = 4096,
        frame_bytes_max: int = 65_536,
        reconnect_max_s: float = 1.0,
    ) -> None:
        self.path = path
        self._in_flight_max = in_flight_max
        self._frame_bytes_max = frame_bytes_max
        self._reconnect_max_s = reconnect_max_s
        self._numbers = count(1)
        self._waiting: dict[int, tuple[trio.lowlevel.Task, float, bytes]] = {}
        self._out: list[bytes] = []
        self._writer: trio.lowlevel.Task | None = None
        self._sock: socket.socket | None = None

    @property
    def is_connected(self) -> bool:
        """Whether requests reach a crypto process now."""
        return self._sock is not None

    def request(
        self, commands: Sequence[AnyCommand], *, deadline: float
    ) -> Awaitable[list[bytes]]:
        """Have commands run in order, in one round trip; to be awaited at once.

        Without a connection the request waits for one until its deadline.

        Raises
        ------
        ConnectionBusy
            Too many requests wait already.
        HsmUnavailable
            The deadline has passed, or the connection broke.
        HsmError, VerificationFailed
            What the crypto process answers.
        """
        waiting = self._waiting
        if len(waiting) >= self._in_flight_max:
            raise ConnectionBusy("too many requests wait for the crypto process")
        number = next(self._numbers)
        message = encode(Request(number, commands))
        if len(message) > self._frame_bytes_max:
            raise HsmError("the request is longer than the crypto process allows")
        waiting[number] = trio.lowlevel.current_task(), deadline, message
        self._out.append(message)
        if self._writer is not None:
            trio.lowlevel.reschedule(self._writer)
            self._writer = None

        def abort(_: object) -> trio.lowlevel.Abort:
            # The reply, if one comes, finds nobody and is dropped.
            del waiting[number]
            return trio.lowlevel.Abort.SUCCEEDED

        # Not a coroutine of its own, which would cost every request one more frame.
        return trio.lowlevel.wait_task_rescheduled(abort)  # noqa: ASYNC105 by callers

    async def connect(self) -> None:
        """Connect once.

        Raises
        ------
        HsmUnavailable
            Nobody listens on the socket.
        """
        try:
            stream = await trio.open_unix_socket(os.fspath(self.path))
        except OSError as fault:
            msg = f"no crypto process listens on {self.path}: {fault.strerror}"
            raise HsmUnavailable(msg) from fault
        # trio's stream would try to read before it waits, and guard every call.
        self._sock = socket.socket(fileno=stream.socket.detach())
        self._sock.setblocking(False)

    async def maintain(self) -> NoReturn:
        """Use the connection and open the next one whenever it breaks."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._sweep)
            while True:
                sock = self._sock or await self._reconnect()
                await self._use(sock)

    async def _reconnect(self) -> socket.socket:
        pause_s = _RECONNECT_MIN_S
        while True:
            try:
                await self.connect()
            except HsmUnavailable:
                await trio.sleep(pause_s)
                pause_s = min(2 * pause_s, self._reconnect_max_s)
            else:
                assert self._sock is not None, "connect gives one or raises"
                return self._sock

    async def _use(self, sock: socket.socket) -> None:
        """Write and read until the connection breaks; what waits then has failed."""
        with sock:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write, sock, nursery.cancel_scope)
                await self._read(sock)
                nursery.cancel_scope.cancel()
        self._sock = None
        self._out.clear()
        for number in list(self._waiting):
            self._finish(Reply(number, Status.UNAVAILABLE, [], _BROKEN))

    async def _write(self, sock: socket.socket, connection: trio.CancelScope) -> None:
        """Write what has gathered since the last pass of the scheduler."""
        while True:
            if not self._out:
                await self._wait_output()
            messages, self._out = self._out, []
            rest = memoryview(frame(messages, bytes_max=self._frame_bytes_max))
            while rest:
                try:
                    rest = rest[sock.send(rest) :]
                except BlockingIOError:
                    await trio.lowlevel.wait_writable(sock)
                except OSError:
                    connection.cancel()
                    return

    async def _wait_output(self) -> None:
        def abort(_: object) -> trio.lowlevel.Abort:
            self._writer = None
            return trio.lowlevel.Abort.SUCCEEDED

        self._writer = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(abort)

    async def _read(self, sock: socket.socket) -> None:
        """Give every reply to its waiting task, until the connection ends."""
        frames = FrameBuffer(bytes_max=self._frame_bytes_max)
        while True:
            await trio.lowlevel.wait_readable(sock)
            try:
                data = sock.recv(_READ_BYTES)
                for body in frames.feed(data):
                    for reply in decode_replies(body):
                        self._finish(reply)
            except BlockingIOError:
                continue
            except (OSError, HsmError):
                # What sends no replies is not our crypto process: connect again.
                return
            if not data:
                return

    def _finish(self, reply: Reply) -> None:
        """Wake the task that waits for a reply."""
        waiting = self._waiting.pop(reply.number, None)
        if waiting is not None:
            # trio calls its ``unwrap`` and nothing else. An ``outcome.Value`` around
            # it would cost a tenth of the request.
            trio.lowlevel.reschedule(waiting[0], reply)  # type: ignore[arg-type]

    async def _sweep(self) -> NoReturn:
        """End the waits whose deadline has passed; nothing is sent for them."""
        while True:
            now = trio.current_time()
            waiting = self._waiting.items()
            for number in [each for each, (_, end, _) in waiting if end <= now]:
                self._finish(Reply(number, Status.UNAVAILABLE, [], _LATE))
            if self._sock is None:
                # The next process would work off first what nobody waits for.
                self._out = [message for _, (_, _, message) in waiting]
            # Looking more often would cost an idle switch more than all else here; a
            # deadline nearer than that is met late by as much.
            earliest = min((end for _, (_, end, _) in waiting), default=math.inf)
            await trio.sleep_until(min(earliest, now + _SWEEP_S))
