"""Frames over one byte stream for simulated ends, now or at a time to come.

One task reads and hands each frame to a plain function; one task writes everything
that is due in one piece. An answer that is to come later waits in a heap, not in a
task of its own, so that thousands may be late at once. What is sent need not be a
frame: simulated ends also send garbage and halves.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heappop, heappush

import trio

from isoswitch.codecs.canonical.errors import DecodeError
from isoswitch.codecs.framing import Framing

OUT_BYTES_MAX = 4 * 1024 * 1024
LATER_MAX = 100_000
# Card messages in XML are longer than those of ISO 8583.
CARD_FRAME_BYTES_MAX = 16_384


class Wire:
    """One connected stream; ``run`` it, and send with the ``_nowait`` methods."""

    def __init__(
        self, stream: trio.abc.Stream, framing: Framing, *, frame_bytes_max: int = 4096
    ) -> None:
        self._stream = stream
        self._framing = framing
        self._decoder = framing.decoder(frame_bytes_max)
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._later: list[tuple[float, int, bytes]] = []
        self._later_count = 0
        self._idle = trio.lowlevel.ParkingLot()
        self._scope = trio.CancelScope()

    async def run(self, receive: Callable[[bytes], None]) -> None:
        """Give every frame to ``receive`` until either side closes.

        A zero-length frame is a keep-alive and is not handed on; bytes that are no
        frames close the connection.
        """
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write)
                    await self._read(receive)
                    nursery.cancel_scope.cancel()
        finally:
            self._scope.cancel()
            await trio.aclose_forcefully(self._stream)

    @property
    def is_open(self) -> bool:
        """Whether anything can still be sent."""
        return not self._scope.cancel_called

    def send_nowait(self, payload: bytes) -> None:
        """Send one frame."""
        self.send_raw_nowait(self._framing.encode(payload))

    def send_raw_nowait(self, data: bytes) -> None:
        """Send bytes as they are, framed or not."""
        self._out.append(data)
        self._out_bytes += len(data)
        if self._out_bytes > OUT_BYTES_MAX:
            self.close()
        self._idle.unpark_all()

    def send_later_nowait(self, payload: bytes, *, at: float) -> None:
        """Send one frame when trio's clock reaches a time."""
        self._later_count += 1
        frame = self._framing.encode(payload)
        heappush(self._later, (at, self._later_count, frame))
        if len(self._later) > LATER_MAX:
            self.close()
        self._idle.unpark_all()

    def close(self) -> None:
        """Drop the connection at once, and with it what was not sent yet."""
        self._scope.cancel()

    async def _read(self, receive: Callable[[bytes], None]) -> None:
        while True:
            try:
                data = bytes(await self._stream.receive_some())
                frames = self._decoder.feed(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError, DecodeError):
                return
            if not data:
                return
            for frame in frames:
                if frame:
                    receive(frame)

    async def _write(self) -> None:
        while True:
            next_at = self._take_due()
            if not self._out:
                await self._wait_until(next_at)
                continue
            data = b"".join(self._out)
            self._out.clear()
            self._out_bytes = 0
            try:
                await self._stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self._scope.cancel()

    async def _wait_until(self, next_at: float) -> None:
        """Wait until there is something to send, or a time is reached."""
        if next_at == math.inf:
            # Mostly nothing waits for its time, and a scope costs more than the rest.
            await self._idle.park()
            return
        with trio.CancelScope(deadline=next_at):
            await self._idle.park()

    def _take_due(self) -> float:
        """Move what is due into the out-buffer; give the time of what is next."""
        if not self._later:
            return math.inf
        now = trio.current_time()
        while self._later and self._later[0][0] <= now:
            self._out.append(heappop(self._later)[2])
        return self._later[0][0] if self._later else math.inf
