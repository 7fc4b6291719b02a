"""A network in memory: byte streams with latency, pieces, repeats, resets and silence.

A connection is two pipes. What is sent enters a pipe with the moment it will arrive;
the reader sleeps until then and gets a random part of what is there. A reset loses a
random tail of what was under way and breaks both ends, as a lost peer does. A power cut
or a lost path is silence: bytes go nowhere, and only a timer finds out.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import trio

# How long a machine sends into silence before it gives a connection up.
SILENCE_MAX_S = 30.0


@dataclass(slots=True, kw_only=True)
class Weather:
    """How the network behaves now; changed during a run.

    ``latency_s`` is the longest delay of one piece, ``chop_chance`` how often a read
    gets only part of what has arrived, ``repeat_chance`` how often somebody on the way
    sends a piece twice, ``slow_write_s`` the longest time for which a peer does not
    read, and ``cut_chance`` how often a write ends in its middle and the connection
    with it. ``counts`` tells what happened how often.
    """

    random: Random
    latency_s: float = 0.0
    chop_chance: float = 0.0
    repeat_chance: float = 0.0
    slow_write_s: float = 0.0
    cut_chance: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)

    def clear_up(self) -> None:
        """Let the network be good again."""
        self.latency_s = self.chop_chance = self.repeat_chance = 0.0
        self.slow_write_s = self.cut_chance = 0.0

    def arrival_s(self) -> float:
        """Draw how long a piece is under way."""
        return self.random.random() * self.latency_s if self.latency_s else 0.0

    def cut(self, available: int, wanted: int) -> int:
        """Draw how much of what is available a read gets."""
        size = min(available, wanted)
        if size > 1 and self._strikes("chopped read", self.chop_chance):
            return self.random.randint(1, size)
        return size

    def repeats(self) -> bool:
        """Draw whether a piece arrives twice."""
        return self._strikes("repeated piece", self.repeat_chance)

    def write_s(self) -> float:
        """Draw how long a write takes."""
        if not self.slow_write_s:
            return 0.0
        self.counts["slow write"] += 1
        return self.random.random() * self.slow_write_s

    def cut_write(self, size: int) -> int | None:
        """Draw after how many bytes a write breaks off; None lets it pass."""
        if not self._strikes("cut write", self.cut_chance):
            return None
        return self.random.randrange(size)

    def _strikes(self, what: str, chance: float) -> bool:
        if not chance or self.random.random() >= chance:
            return False
        self.counts[what] += 1
        return True


class _Pipe:
    """One direction of a connection."""

    __slots__ = (
        "_broken_at",
        "_changed",
        "_held_until",
        "_is_mute",
        "_last_at",
        "_pieces",
        "is_broken",
        "is_ended",
        "last_sent",
        "weather",
    )

    def __init__(self, weather: Weather) -> None:
        self.weather = weather
        self.is_ended = False
        self.is_broken = False
        self.last_sent = b""
        self._is_mute = False
        self._broken_at = math.inf
        self._held_until = 0.0
        self._pieces: deque[tuple[float, bytes]] = deque()
        self._last_at = 0.0
        self._changed = trio.lowlevel.ParkingLot()

    def put(self, data: bytes) -> None:
        """Send a piece, perhaps twice."""
        self.last_sent = data
        self._put(data, count=2 if self.weather.repeats() else 1)

    def put_last(self, data: bytes) -> None:
        """Send the beginning of a piece, and nothing more."""
        # What is repeated is whole, as nobody has a copy of half a write.
        self.last_sent = b""
        self._put(data, count=1)
        self.end()

    def _put(self, data: bytes, *, count: int) -> None:
        if self._is_mute:
            return
        at = trio.current_time() + self.weather.arrival_s()
        # Bytes do not overtake each other.
        self._last_at = max(self._last_at, self._held_until, at)
        self._pieces.extend([(self._last_at, data)] * count)
        self._changed.unpark_all()

    def end(self) -> None:
        self.is_ended = True
        self._changed.unpark_all()

    def hold(self, until: float) -> None:
        """Let nothing arrive before a time: it is sent again and again until then."""
        self._held_until = max(self._held_until, until)
        self._pieces = deque((max(at, until), data) for at, data in self._pieces)

    def fall_silent(self) -> None:
        """Lose everything from now on; the reader gives up after a while."""
        self._is_mute = True
        self._broken_at = trio.current_time() + SILENCE_MAX_S
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
            now = trio.current_time()
            if self._pieces and self._pieces[0][0] <= now:
                return self._take_now(wanted)
            if not self._pieces and (self.is_broken or self._broken_at <= now):
                msg = "the connection was reset"
                raise trio.BrokenResourceError(msg)
            if not self._pieces and self.is_ended and not self._is_mute:
                return b""
            deadline = self._pieces[0][0] if self._pieces else self._broken_at
            if deadline == math.inf:
                await self._changed.park()
                continue
            with trio.CancelScope(deadline=deadline):
                await self._changed.park()

    def _take_now(self, wanted: int) -> bytes:
        at, data = self._pieces.popleft()
        size = self.weather.cut(len(data), wanted)
        if size < len(data):
            self._pieces.appendleft((at, data[size:]))
        return data[:size]


class MemoryStream(trio.abc.HalfCloseableStream):
    """One end of a connection in memory.

    ``party`` names who is at the other end, ``on_send`` is told before and after every
    send, and may end the process that sends.
    """

    def __init__(self, incoming: _Pipe, outgoing: _Pipe, *, party: str) -> None:
        self.party = party
        self.is_closed = False
        self.on_send: Callable[[str], None] = lambda _: None
        self._incoming = incoming
        self._outgoing = outgoing
        self._is_dead = False
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
            await trio.sleep(self._outgoing.weather.write_s())
            self.on_send("before a send")
            self._send_now(bytes(data))
            self.on_send("after a send")
        finally:
            self._is_sending = False

    def _send_now(self, data: bytes) -> None:
        if self._is_dead:
            return
        if self._outgoing.is_broken or self._incoming.is_broken:
            msg = "the connection was reset"
            raise trio.BrokenResourceError(msg)
        cut_after = self._outgoing.weather.cut_write(len(data))
        if cut_after is None:
            self._outgoing.put(data)
        else:
            self._outgoing.put_last(data[:cut_after])
            self._incoming.break_off()

    async def wait_send_all_might_not_block(self) -> None:
        """Pass at once: pipes have no end."""
        await trio.lowlevel.checkpoint()

    async def send_eof(self) -> None:
        """Say that no more bytes follow."""
        await trio.lowlevel.checkpoint()
        self._outgoing.end()

    async def aclose(self) -> None:
        """Close this end; the other reads what is left, then the end."""
        if not self.is_closed and not self._is_dead:
            self.is_closed = True
            self._outgoing.end()
            self._incoming.is_broken = True
        await trio.lowlevel.checkpoint()

    def reset(self) -> None:
        """Break the connection for both ends."""
        self._incoming.break_off()
        self._outgoing.break_off()

    def end_half(self) -> None:
        """Say, as a peer that closes its half, that no more bytes follow."""
        self._outgoing.end()

    def hold(self, until: float) -> None:
        """Let nothing arrive at either end before a time."""
        self._incoming.hold(until)
        self._outgoing.hold(until)

    def fall_silent(self) -> None:
        """Lose everything between the ends from now on."""
        self._incoming.fall_silent()
        self._outgoing.fall_silent()

    def replay(self) -> None:
        """Send once more what was sent last, as somebody on the way may."""
        for pipe in (self._incoming, self._outgoing):
            if pipe.last_sent and not pipe.is_broken:
                pipe.put(pipe.last_sent)

    def die(self, *, silently: bool) -> None:
        """Lose the process at this end; ``silently`` when its machine is lost too."""
        self._is_dead = self.is_closed = True
        if silently:
            self.fall_silent()
        else:
            self._outgoing.end()
            self._incoming.is_broken = True

    def _check_open(self) -> None:
        if self.is_closed:
            msg = "the stream is closed"
            raise trio.ClosedResourceError(msg)


def connect_in_memory(
    weather: Weather, *, party: str = ""
) -> tuple[MemoryStream, MemoryStream]:
    """Give the two ends of a new connection."""
    there, back = _Pipe(weather), _Pipe(weather)
    return (
        MemoryStream(back, there, party=party),
        MemoryStream(there, back, party=party),
    )
