"""Frames over one byte stream.

One task reads, one writes. What is sent during a scheduler pass collects in an
out-buffer that is handed over in one piece, so that a busy link costs one system call
for a pass and not one for a message. A message whose first byte was never handed over
cannot have been seen by the peer; ``has_started`` tells.

To a socket that has room, one task hands over what all connections have collected; a
connection's own writer is woken only when it has to wait for room.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import trio

from isoswitch.codecs.canonical.errors import DecodeError, LinkDown
from isoswitch.codecs.framing import Framing
from isoswitch.switch.sockets import SocketStream

OUT_BYTES_MAX = 256 * 1024

Handle = Callable[[Sequence[bytes]], Awaitable[None]]
"""Takes the payloads that one read brought; nothing is read before it returns."""


class Flusher:
    """The connections that have collected something in this pass of the scheduler."""

    def __init__(self) -> None:
        self._filled: list[Connection] = []
        self._task: trio.lowlevel.Task | None = None

    def add(self, connection: Connection) -> None:
        """Flush a connection soon."""
        self._filled.append(connection)
        if self._task is not None:
            trio.lowlevel.reschedule(self._task)
            self._task = None

    async def run(self) -> None:
        """Flush what is added, until cancelled."""
        while True:
            if not self._filled:
                self._task = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._stop_waiting)
            filled, self._filled = self._filled, []
            for connection in filled:
                connection.flush()

    def _stop_waiting(self, _: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED


_flusher: trio.lowlevel.RunVar[Flusher] = trio.lowlevel.RunVar("flusher")


def get_flusher() -> Flusher:
    """Give the one of this trio run."""
    try:
        return _flusher.get()
    except LookupError:
        made = Flusher()
        _flusher.set(made)
        trio.lowlevel.spawn_system_task(made.run)
        return made


class Connection:
    """One TCP or TLS stream that carries frames both ways.

    ``frame_timeout_s`` bounds the time from the first byte of a frame to its last, and
    ``idle_timeout_s`` the silence between frames; ``expire`` enforces both and is
    called from outside, so that a read costs no timer.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        framing: Framing,
        *,
        frame_bytes_max: int,
        frame_timeout_s: float,
        idle_timeout_s: float,
    ) -> None:
        self._stream = stream
        # Other streams than sockets are written by the task that may wait for them.
        self._sock = stream if isinstance(stream, SocketStream) else None
        self._flusher = get_flusher()
        self._framing = framing
        self._decoder = framing.decoder(frame_bytes_max=frame_bytes_max)
        self._frame_timeout_s = frame_timeout_s
        self._idle_timeout_s = idle_timeout_s
        self._out: list[bytes] = []
        self._queued_bytes = 0
        self._started_bytes = 0
        self._writer: trio.lowlevel.Task | None = None
        self._is_writing = False
        self._scope = trio.CancelScope()
        self._closed_because = ""
        self._frame_began_at: float | None = None
        self.last_frame_at = trio.current_time()

    @property
    def is_open(self) -> bool:
        """Whether frames can be sent."""
        return not self._closed_because

    @property
    def closed_because(self) -> str:
        """The first reason for its end, empty while it is open."""
        return self._closed_because

    def send_nowait(self, payload: bytes) -> int:
        """Queue one frame and give its mark for ``has_started``.

        Raises
        ------
        LinkDown
            The connection is closed, or the peer does not read: nothing was queued.
        """
        if self._closed_because:
            msg = f"the connection is closed: {self._closed_because}"
            raise LinkDown(msg)
        frame = self._framing.encode(payload)
        if self._queued_bytes - self._started_bytes + len(frame) > OUT_BYTES_MAX:
            self.close("the peer does not read")
            msg = "the peer does not read"
            raise LinkDown(msg)
        mark = self._queued_bytes
        self._out.append(frame)
        self._queued_bytes += len(frame)
        if self._writer is not None:
            if self._sock is None:
                self._wake_writer(self._writer)
            elif len(self._out) == 1:
                self._flusher.add(self)
        return mark

    def flush(self) -> None:
        """Hand over what has collected to a socket, as far as it has room."""
        if self._sock is None or self._is_writing or not self._out:
            return
        frames = b"".join(self._out)
        self._out.clear()
        try:
            sent = self._sock.send_now(frames)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.close("the connection broke")
            return
        self._started_bytes += sent
        if sent < len(frames):
            self._out.append(frames[sent:])
            if self._writer is not None:
                self._wake_writer(self._writer)

    def has_started(self, mark: int) -> bool:
        """Whether the first byte of a queued frame may have left."""
        return mark < self._started_bytes

    def close(self, reason: str) -> None:
        """End the connection; ``run`` returns with the first reason given."""
        self._closed_because = self._closed_because or reason
        self._scope.cancel()

    def expire(self, now: float) -> None:
        """Close the connection when a frame or a silence lasts too long."""
        if self._frame_began_at is not None:
            if now - self._frame_began_at > self._frame_timeout_s:
                self.close("a frame was not finished in time")
        elif now - self.last_frame_at > self._idle_timeout_s:
            self.close("idle for too long")

    async def run(self, handle: Handle) -> str:
        """Hand over payloads until the connection ends, and say why it ended."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write)
                    await self._read(handle)
                    nursery.cancel_scope.cancel()
        finally:
            self._closed_because = self._closed_because or "closed"
            await trio.aclose_forcefully(self._stream)
        return self._closed_because

    async def _read(self, handle: Handle) -> None:
        stream, decoder = self._stream, self._decoder
        while True:
            try:
                data = await stream.receive_some()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self.close("the connection broke")
                return
            if not data:
                self.close("the peer closed the connection")
                return
            try:
                payloads = decoder.feed(bytes(data))
            except DecodeError as error:
                self.close(f"not frames: {error}")
                return
            now = trio.current_time()
            if payloads:
                self.last_frame_at = now
                self._frame_began_at = now if decoder.has_partial else None
            elif self._frame_began_at is None:
                self._frame_began_at = now
            # A frame of length zero only says that the peer lives.
            told = [payload for payload in payloads if payload]
            if told:
                await handle(told)

    async def _write(self) -> None:
        while True:
            if not self._out:
                self._writer = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._stop_waiting)
            frames = b"".join(self._out)
            self._out.clear()
            self._started_bytes += len(frames)
            # It stays so when this is cancelled: nothing may follow half a frame.
            self._is_writing = True
            try:
                await self._stream.send_all(frames)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self.close("the connection broke")
                return
            self._is_writing = False

    def _wake_writer(self, writer: trio.lowlevel.Task) -> None:
        trio.lowlevel.reschedule(writer)
        self._writer = None

    def _stop_waiting(self, _: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
        self._writer = None
        return trio.lowlevel.Abort.SUCCEEDED
