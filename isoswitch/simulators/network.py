"""A network in memory: byte streams with latency, pieces, resets and silence.

A connection is two pipes. What is sent enters a pipe with the moment it will arrive;
the reader sleeps until then and gets a random part of what is there. A reset loses a
random tail of what was under way and breaks both ends, as a lost peer does.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from random import Random

import trio


@dataclass(slots=True, kw_only=True)
class Weather:
    """How the network behaves now; changed during a run.

    ``latency_s`` is the longest delay of one piece, ``chop_chance`` how often a read
    gets only part of what has arrived.
    """

    random: Random
    latency_s: float = 0.0
    chop_chance: float = 0.0

    def arrival_s(self) -> float:
        """Draw how long a piece is under way."""
        return self.random.random() * self.latency_s if self.latency_s else 0.0

    def cut(self, available: int, wanted: int) -> int:
        """Draw how much of what is available a read gets."""
        size = min(available, wanted)
        if size > 1 and self.random.random() < self.chop_chance:
            return self.random.randint(1, size)
        return size


class _Pipe:
    """One direction of a connection."""

    __slots__ = ("_changed", "_last_at", "_pieces", "is_broken", "is_ended", "weather")

    def __init__(self, weather: Weather) -> None:
        self.weather = weather
        self.is_ended = False
        self.is_broken = False
        self._pieces: deque[tuple[float, bytes]] = deque()
        self._last_at = 0.0
        self._changed = trio.lowlevel.ParkingLot()

    def put(self, data: bytes) -> None:
        at = trio.current_time() + self.weather.arrival_s()
        # Bytes do not overtake each other.
        self._last_at = max(self._last_at, at)
        self._pieces.append((self._last_at, data))
        self._changed.unpark_all()

    def end(self) -> None:
        self.is_ended = True
        self._changed.unpark_all()

    def break_off(self) -> None:
        """Lose a random tail of what is under way, then break."""
        keep = self.weather.random.randint(0, len(self._pieces))
        while len(self._pieces) > keep:
            self._pieces.pop()
        self.is_broken = True
        self._changed.unpark_all()

    async def take(self, wanted: int) -> bytes:
        while True:
            if self._pieces and self._pieces[0][0] <= trio.current_time():
                return self._take_now(wanted)
            if not self._pieces and self.is_broken:
                msg = "the connection was reset"
                raise trio.BrokenResourceError(msg)
            if not self._pieces and self.is_ended:
                return b""
            deadline = self._pieces[0][0] if self._pieces else math.inf
            with trio.CancelScope(deadline=deadline):
                await self._changed.park()

    def _take_now(self, wanted: int) -> bytes:
        at, data = self._pieces.popleft()
        size = self.weather.cut(len(data), wanted)
        if size < len(data):
            self._pieces.appendleft((at, data[size:]))
        return data[:size]


class MemoryStream(trio.abc.HalfCloseableStream):
    """One end of a connection in memory."""

    def __init__(self, incoming: _Pipe, outgoing: _Pipe) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self.is_closed = False
        self._is_sending = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait for bytes; ``b""`` when the other end closed."""
        self._check_open()
        await trio.lowlevel.checkpoint()
        return await self._incoming.take(max_bytes or 65_536)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes; they arrive later, or never if the connection breaks."""
        self._check_open()
        if self._is_sending:
            msg = "two tasks send on one stream"
            raise trio.BusyResourceError(msg)
        self._is_sending = True
        try:
            await trio.lowlevel.checkpoint()
        finally:
            self._is_sending = False
        if self._outgoing.is_broken or self._incoming.is_broken:
            msg = "the connection was reset"
            raise trio.BrokenResourceError(msg)
        self._outgoing.put(bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        """Pass at once: pipes have no end."""
        await trio.lowlevel.checkpoint()

    async def send_eof(self) -> None:
        """Say that no more bytes follow."""
        await trio.lowlevel.checkpoint()
        self._outgoing.end()

    async def aclose(self) -> None:
        """Close this end; the other reads what is left, then the end."""
        if not self.is_closed:
            self.is_closed = True
            self._outgoing.end()
            self._incoming.is_broken = True
        await trio.lowlevel.checkpoint()

    def reset(self) -> None:
        """Break the connection for both ends."""
        self._incoming.break_off()
        self._outgoing.break_off()

    def _check_open(self) -> None:
        if self.is_closed:
            msg = "the stream is closed"
            raise trio.ClosedResourceError(msg)


def connect_in_memory(weather: Weather) -> tuple[MemoryStream, MemoryStream]:
    """Give the two ends of a new connection."""
    there, back = _Pipe(weather), _Pipe(weather)
    return MemoryStream(back, there), MemoryStream(there, back)
