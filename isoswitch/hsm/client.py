"""The crypto process as its clients see it: one connection, many requests in flight.

Nothing is made per request but its frame and its place in a table: the caller parks,
frames gather in one buffer that a single write empties once per scheduler pass, and a
sweeper ends waits in order of their deadlines. That keeps a request at a few
microseconds of this process.

All commands are functions of their arguments, so what was in flight when the
connection broke is sent again, once, within its deadline. A longer outage makes
requests fail at once.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import NoReturn

import msgspec
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


class _Pending(msgspec.Struct, gc=False):
    """One request in flight; ``frame`` is dropped once it was sent again."""

    task: trio.lowlevel.Task
    frame: bytes


class HsmClient:
    """The ``Hsm`` port over the socket of a crypto process.

    After ``connect``, ``maintain`` must run in a task of its own for as long as the
    client is used.

    Parameters
    ----------
    path
        The socket of the crypto process.
    deadline_s
        How long a request may take, a reconnection in between included.
    in_flight_max
        Further requests are refused at once.
    """

    def __init__(
        self,
        path: Path,
        *,
        deadline_s: float = 0.5,
        in_flight_max: int = 4096,
        frame_bytes_max: int = 65_536,
        reconnect_max_s: float = 1.0,
    ) -> None:
        self._path = path
        self._deadline_s = deadline_s
        self._in_flight_max = in_flight_max
        self._frame_bytes_max = frame_bytes_max
        self._reconnect_max_s = reconnect_max_s
        self._stream: trio.SocketStream | None = None
        self._numbers = count(1)
        self._pending: dict[int, _Pending] = {}
        self._deadlines: deque[tuple[float, int]] = deque()
        self._out: list[bytes] = []
        self._writer: trio.lowlevel.Task | None = None
        self._broken_since: float | None = None

    async def run(self, *commands: AnyCommand) -> list[bytes]:
        """Run commands in order in one round trip; see ``Hsm.run``."""
        now = trio.current_time()
        self._check_capacity(now)
        number = next(self._numbers)
        frame = encode(Request(number, list(commands)))
        if len(frame) > self._frame_bytes_max:
            raise HsmError("the request is longer than the crypto process allows")
        self._pending[number] = _Pending(trio.lowlevel.current_task(), frame)
        self._deadlines.append((now + self._deadline_s, number))
        self._out.append(frame)
        self._wake_writer()

        def abort(_: object) -> trio.lowlevel.Abort:
            # The reply, if one comes, finds nobody and is dropped.
            del self._pending[number]
            return trio.lowlevel.Abort.SUCCEEDED

        results: list[bytes] = await trio.lowlevel.wait_task_rescheduled(abort)
        return results

    async def connect(self) -> None:
        """Open the first connection.

        Raises
        ------
        HsmUnavailable
            Nobody listens on the socket.
        """
        try:
            self._stream = await trio.open_unix_socket(os.fspath(self._path))
        except OSError as fault:
            msg = f"no crypto process listens on {self._path}: {fault.strerror}"
            raise HsmUnavailable(msg) from fault

    async def maintain(self) -> NoReturn:
        """Use the connection and open the next one whenever it breaks."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._sweep)
            while True:
                stream = self._stream or await self._reconnect()
                self._stream = None
                await self._serve(stream)

    def _check_capacity(self, now: float) -> None:
        if len(self._pending) >= self._in_flight_max:
            raise HsmUnavailable("too many requests wait for the crypto process")
        if (
            self._broken_since is not None
            and now - self._broken_since >= self._deadline_s
        ):
            raise HsmUnavailable("no connection to the crypto process")

    def _wake_writer(self) -> None:
        if self._writer is not None:
            trio.lowlevel.reschedule(self._writer)
            self._writer = None

    async def _serve(self, stream: trio.SocketStream) -> None:
        """Use a connection until it breaks."""
        self._broken_since = None
        async with stream, trio.open_nursery() as nursery:
            nursery.start_soon(self._write, stream, nursery.cancel_scope)
            await self._read(stream)
            nursery.cancel_scope.cancel()
        self._broken_since = trio.current_time()

    async def _reconnect(self) -> trio.SocketStream:
        pause_s = 0.01
        while True:
            try:
                stream = await trio.open_unix_socket(os.fspath(self._path))
            except OSError:
                await trio.sleep(pause_s)
                pause_s = min(2 * pause_s, self._reconnect_max_s)
            else:
                self._send_again()
                return stream

    def _send_again(self) -> None:
        """Queue what the broken connection left without a reply, once."""
        self._out.clear()
        for number, pending in list(self._pending.items()):
            if pending.frame:
                self._out.append(pending.frame)
                pending.frame = b""
            else:
                msg = "the crypto process broke the connection twice"
                self._finish(number, outcome.Error(HsmUnavailable(msg)))

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
            # What is not a reply is not our crypto process: connect again.
            return

    def _finish(self, number: int, result: outcome.Outcome[list[bytes]]) -> None:
        pending = self._pending.pop(number, None)
        if pending is not None:
            trio.lowlevel.reschedule(pending.task, result)

    async def _sweep(self) -> NoReturn:
        """End the waits whose deadline has passed."""
        while True:
            await trio.sleep(_SWEEP_S)
            now = trio.current_time()
            while self._deadlines and self._deadlines[0][0] <= now:
                _, number = self._deadlines.popleft()
                if number in self._pending:
                    msg = "the crypto process did not answer in time"
                    self._finish(number, outcome.Error(HsmUnavailable(msg)))


@asynccontextmanager
async def open_hsm(path: Path, *, deadline_s: float = 0.5) -> AsyncIterator[HsmClient]:
    """Connect to the crypto process for the length of a block.

    Raises
    ------
    HsmUnavailable
        Nobody listens on the socket.
    """
    client = HsmClient(path, deadline_s=deadline_s)
    await client.connect()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.maintain)
            yield client
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        # A client raises nothing by itself: this is the error of the block.
        if len(group.exceptions) == 1:
            raise group.exceptions[0] from None
        raise
