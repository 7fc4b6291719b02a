"""One connection to a payment HSM, with many commands in flight.

A command is written with a header of its own, and the answer that repeats the header
wakes its task. Whoever gives up waiting leaves the header in the table, so that a late
answer finds its place and no other command takes it. A connection is used only after
``is_ready``; what is wrong with it once ends it, and with it what waits::

    connect --- probe answered ---> ready
    ready   --- closed, garbage, or no answer in time ---> connect
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import count
from typing import NoReturn

import outcome
import trio

from isoswitch.codecs.canonical.errors import DecodeError, HsmError, HsmUnavailable
from isoswitch.codecs.framing import get_framing
from isoswitch.hsm.payshield.fields import Layout
from isoswitch.hsm.payshield.wire import FRAME_BYTES_MAX, HEADER_CHARACTERS

_FRAMING = get_framing("bin2")
_READ_BYTES = 65_536
_RECONNECT_MIN_S = 0.01
_HEADERS = 10**HEADER_CHARACTERS
_RESPONSE_CODE = slice(HEADER_CHARACTERS, HEADER_CHARACTERS + 2)

_GARBAGE = "the payment HSM sent what is no answer"
_BROKEN = "the connection to the payment HSM broke"
_SILENT = "the payment HSM did not answer in time"


class UnitConnection:
    """Sends commands to one unit, and connects again whenever it breaks.

    Parameters
    ----------
    connect
        Opens a stream to the unit, or raises ``HsmUnavailable``.
    probe
        What must succeed on a new connection before others use it.
    on_change
        Called whenever ``is_ready`` changes.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[trio.abc.Stream]],
        *,
        probe: Callable[[UnitConnection], Awaitable[None]],
        on_change: Callable[[], None],
        reconnect_max_s: float = 1.0,
    ) -> None:
        self.is_ready = False
        self._connect = connect
        self._probe = probe
        self._on_change = on_change
        self._reconnect_max_s = reconnect_max_s
        self._numbers = count()
        # None stands for a task that gave up; its answer may still come.
        self._waiting: dict[bytes, trio.lowlevel.Task | None] = {}
        self._response_codes: dict[bytes, bytes] = {}
        self._out: list[bytes] = []
        self._has_output = trio.lowlevel.ParkingLot()
        self._scope = trio.CancelScope()

    @property
    def in_flight(self) -> int:
        """How many commands have no answer yet."""
        return len(self._waiting)

    async def request(self, layout: Layout, fields: bytes, *, deadline: float) -> bytes:
        """Send one command; gives error code and fields of the answer.

        Raises
        ------
        HsmUnavailable
            The deadline has passed, or the connection broke. What was sent may have
            been done.
        """
        header = self._take_header()
        payload = header + layout.code.encode() + fields
        self._response_codes[header] = layout.response_code.encode()
        self._out.append(_FRAMING.encode(payload))
        self._has_output.unpark()
        with trio.move_on_at(deadline):
            return await self._wait_answer(header)
        # It answers others no more than this one: connect anew, or to another unit.
        self._break(_SILENT)
        raise HsmUnavailable(_SILENT)

    async def maintain(self) -> NoReturn:
        """Use one connection after the other."""
        pause_s = _RECONNECT_MIN_S
        while True:
            try:
                stream = await self._connect()
            except HsmUnavailable:
                was_ready = False
            else:
                was_ready = await self._use(stream)
            pause_s = _RECONNECT_MIN_S if was_ready else pause_s
            await trio.sleep(pause_s)
            pause_s = min(2 * pause_s, self._reconnect_max_s)

    async def _use(self, stream: trio.abc.Stream) -> bool:
        """Write and read until the connection breaks; gives whether it was ready."""
        was_ready = False
        try:
            with trio.CancelScope() as self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write, stream)
                    nursery.start_soon(self._read, stream)
                    was_ready = self.is_ready = await self._is_healthy()
                    self._on_change()
        finally:
            self._break(_BROKEN)
            await trio.aclose_forcefully(stream)
        return was_ready

    async def _is_healthy(self) -> bool:
        try:
            await self._probe(self)
        except HsmError:
            self._break(_BROKEN)
            return False
        return True

    def _break(self, reason: str) -> None:
        """End the connection and every wait for it."""
        self.is_ready = False
        self._on_change()
        self._scope.cancel()
        self._out.clear()
        self._response_codes.clear()
        waiting, self._waiting = self._waiting, {}
        for task in filter(None, waiting.values()):
            trio.lowlevel.reschedule(task, outcome.Error(HsmUnavailable(reason)))

    async def _write(self, stream: trio.abc.Stream) -> NoReturn:
        """Write what has gathered since the last pass of the scheduler."""
        while True:
            while not self._out:
                await self._has_output.park()
            frames, self._out = self._out, []
            try:
                await stream.send_all(b"".join(frames))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self._break(_BROKEN)

    async def _read(self, stream: trio.abc.Stream) -> None:
        """Give every answer to its waiting task, until the connection ends."""
        decoder = _FRAMING.decoder(FRAME_BYTES_MAX)
        try:
            while data := await stream.receive_some(_READ_BYTES):
                for payload in decoder.feed(bytes(data)):
                    self._take_answer(payload)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._break(_BROKEN)
        except DecodeError:
            self._break(_GARBAGE)
        else:
            self._break(_BROKEN)

    def _take_answer(self, payload: bytes) -> None:
        header = payload[:HEADER_CHARACTERS]
        code = self._response_codes.pop(header, None)
        if code is None or payload[_RESPONSE_CODE] != code:
            raise DecodeError("no answer to a command of ours", field="header")
        task = self._waiting.pop(header)
        if task is not None:
            rest = payload[_RESPONSE_CODE.stop :]
            trio.lowlevel.reschedule(task, outcome.Value(rest))

    def _take_header(self) -> bytes:
        while True:
            header = b"%0*d" % (HEADER_CHARACTERS, next(self._numbers) % _HEADERS)
            if header not in self._waiting:
                return header

    async def _wait_answer(self, header: bytes) -> bytes:
        def abort(_: object) -> trio.lowlevel.Abort:
            self._waiting[header] = None
            return trio.lowlevel.Abort.SUCCEEDED

        self._waiting[header] = trio.lowlevel.current_task()
        answer: bytes = await trio.lowlevel.wait_task_rescheduled(abort)
        return answer
