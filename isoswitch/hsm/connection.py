"""One connection to a crypto process, with many requests in flight.

Nothing is made per request but its frame and its place in a table: the caller parks,
frames gather in one buffer that a single write empties once per scheduler pass, and a
sweeper ends the waits whose deadline has passed. That keeps a request at about ten
microseconds of this process.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from heapq import heappop, heappush
from itertools import count
from pathlib import Path
from typing import NoReturn

import outcome
import trio

from isoswitch.codecs.canonical.errors import HsmError, HsmUnavailable
from isoswitch.hsm.port import AnyCommand
from isoswitch.hsm.wire import (
    FrameBuffer,
    Request,
    Status,
    decode_reply,
    encode,
    error_of,
)

_READ_BYTES = 65_536
_SWEEP_S = 0.02
_RECONNECT_MIN_S = 0.01


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
        self._waiting: dict[int, trio.lowlevel.Task] = {}
        self._deadlines: list[tuple[float, int]] = []
        self._out: list[bytes] = []
        self._writer: trio.lowlevel.Task | None = None
        self._stream: trio.SocketStream | None = None

    @property
    def is_connected(self) -> bool:
        """Whether requests reach a crypto process now."""
        return self._stream is not None

    async def request(
        self, commands: Sequence[AnyCommand], *, deadline: float
    ) -> list[bytes]:
        """Have commands run in order, in one round trip.

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
        if len(self._waiting) >= self._in_flight_max:
            raise ConnectionBusy("too many requests wait for the crypto process")
        number = next(self._numbers)
        frame = encode(Request(number, list(commands)))
        if len(frame) > self._frame_bytes_max:
            raise HsmError("the request is longer than the crypto process allows")
        self._waiting[number] = trio.lowlevel.current_task()
        heappush(self._deadlines, (deadline, number))
        self._out.append(frame)
        if self._writer is not None:
            trio.lowlevel.reschedule(self._writer)
            self._writer = None

        def abort(_: object) -> trio.lowlevel.Abort:
            # The reply, if one comes, finds nobody and is dropped.
            del self._waiting[number]
            return trio.lowlevel.Abort.SUCCEEDED

        results: list[bytes] = await trio.lowlevel.wait_task_rescheduled(abort)
        return results

    async def connect(self) -> None:
        """Connect once.

        Raises
        ------
        HsmUnavailable
            Nobody listens on the socket.
        """
        try:
            self._stream = await trio.open_unix_socket(os.fspath(self.path))
        except OSError as fault:
            msg = f"no crypto process listens on {self.path}: {fault.strerror}"
            raise HsmUnavailable(msg) from fault

    async def maintain(self) -> NoReturn:
        """Use the connection and open the next one whenever it breaks."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._sweep)
            while True:
                stream = self._stream or await self._reconnect()
                await self._use(stream)

    async def _reconnect(self) -> trio.SocketStream:
        pause_s = _RECONNECT_MIN_S
        while True:
            try:
                await self.connect()
            except HsmUnavailable:
                await trio.sleep(pause_s)
                pause_s = min(2 * pause_s, self._reconnect_max_s)
            else:
                assert self._stream is not None, "connect gives one or raises"
                return self._stream

    async def _use(self, stream: trio.SocketStream) -> None:
        """Write and read until the connection breaks; what waits then has failed."""
        async with stream, trio.open_nursery() as nursery:
            nursery.start_soon(self._write, stream, nursery.cancel_scope)
            await self._read(stream)
            nursery.cancel_scope.cancel()
        self._stream = None
        self._out.clear()
        for number in list(self._waiting):
            broken = HsmUnavailable("the connection to the crypto process broke")
            self._finish(number, outcome.Error(broken))

    async def _write(
        self, stream: trio.SocketStream, connection: trio.CancelScope
    ) -> None:
        """Write what has gathered since the last pass of the scheduler."""
        try:
            while True:
                if not self._out:
                    await self._wait_output()
                frames, self._out = self._out, []
                await stream.send_all(b"".join(frames))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            connection.cancel()

    async def _wait_output(self) -> None:
        def abort(_: object) -> trio.lowlevel.Abort:
            self._writer = None
            return trio.lowlevel.Abort.SUCCEEDED

        self._writer = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(abort)

    async def _read(self, stream: trio.SocketStream) -> None:
        """Give every reply to its waiting task, until the connection ends."""
        frames = FrameBuffer(frame_bytes_max=self._frame_bytes_max)
        try:
            while data := await stream.receive_some(_READ_BYTES):
                for body in frames.feed(bytes(data)):
                    reply = decode_reply(body)
                    if reply.status is Status.OK:
                        self._finish(reply.number, outcome.Value(reply.results))
                    else:
                        self._finish(reply.number, outcome.Error(error_of(reply)))
        except (trio.BrokenResourceError, trio.ClosedResourceError, HsmError):
            # What sends no replies is not our crypto process: connect again.
            return

    def _finish(self, number: int, result: outcome.Outcome[list[bytes]]) -> None:
        task = self._waiting.pop(number, None)
        if task is not None:
            trio.lowlevel.reschedule(task, result)

    async def _sweep(self) -> NoReturn:
        """End the waits whose deadline has passed."""
        while True:
            await trio.sleep(_SWEEP_S)
            now = trio.current_time()
            while self._deadlines and self._deadlines[0][0] <= now:
                _, number = heappop(self._deadlines)
                late = HsmUnavailable("the crypto process did not answer in time")
                self._finish(number, outcome.Error(late))
