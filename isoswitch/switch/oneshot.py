"""One connection for each request: connect, send, read the answer, close.

There is nothing to sign on and nothing to echo. The link counts as up until a
connection cannot be made; then it is down for a pause that doubles with each failure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog
import trio

from isoswitch.codecs.canonical.errors import LinkDown, NoAnswer
from isoswitch.codecs.framing import get_framing
from isoswitch.codecs.iso8583.message import Message
from isoswitch.switch.connection import Connection
from isoswitch.switch.incoming import Allowance
from isoswitch.switch.linkstate import Standing
from isoswitch.switch.upkeep import Wiring, wait_allowed

log = structlog.get_logger()


class OneShot:
    """Exchanges with an endpoint that wants a new connection for each."""

    def __init__(self, wiring: Wiring) -> None:
        self._settings = wiring.settings
        self._framing = get_framing(wiring.settings.framing)
        self._wiring = wiring
        self._pause_s = wiring.settings.reconnect_min_s
        self._failed = trio.lowlevel.ParkingLot()
        self._is_up = False
        self.active_count = 0

    @property
    def standing(self) -> Standing:
        """Whether a connection could be made last time."""
        return Standing(open_count=self._is_up, signed_on_count=self._is_up)

    async def run(self) -> None:
        """Be up as long as connections can be made; try again after a pause."""
        while True:
            await wait_allowed(self._wiring.may_connect)
            self._stand("connects for each request", is_up=True)
            await self._failed.park()
            await trio.sleep(self._pause_s * (0.5 + self._wiring.random.random()))
            self._pause_s = min(self._pause_s * 2, self._settings.reconnect_max_s)

    async def exchange(
        self,
        payload: bytes,
        request: Message,
        deadline: float,
        *,
        check_sends: Callable[[], None],
    ) -> Message:
        """Send a request over a connection of its own and wait for its answer.

        ``check_sends`` raises LinkDown when it must not be sent any more: connecting
        takes time, and it is asked afterwards.

        Raises
        ------
        LinkDown
            No connection could be made, it ended before the first byte, or the request
            must not be sent any more.
        NoAnswer
            The endpoint may have seen the request and did not answer on it in time.
        """
        if self.active_count >= self._settings.in_flight_max:
            msg = f"{self._settings.name} has {self.active_count} connections"
            raise LinkDown(msg)
        self.active_count += 1
        try:
            connection = await self._open(deadline)
            return await self._exchange(
                connection, payload, request, deadline, check_sends
            )
        finally:
            self.active_count -= 1

    async def _open(self, deadline: float) -> Connection:
        settings = self._settings
        latest = min(deadline, trio.current_time() + settings.connect_timeout_s)
        self._check_owner()
        try:
            with trio.fail_at(latest):
                stream = await self._wiring.connect(settings)
        except (OSError, trio.TooSlowError) as error:
            reason = f"cannot connect: {type(error).__name__}"
            self._stand(reason, is_up=False)
            self._failed.unpark_all()
            raise LinkDown(reason) from None
        self._pause_s = settings.reconnect_min_s
        return Connection(
            stream,
            self._framing,
            frame_bytes_max=settings.frame_bytes_max,
            frame_timeout_s=settings.request_timeout_s,
            idle_timeout_s=settings.request_timeout_s,
        )

    async def _exchange(
        self,
        connection: Connection,
        payload: bytes,
        request: Message,
        deadline: float,
        check_sends: Callable[[], None],
    ) -> Message:
        answer: Message | None = None
        fault: LinkDown | NoAnswer = NoAnswer("the connection ended")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._serve, connection)
            try:
                self._check_owner()
                check_sends()
                answer = await self._wiring.mux.exchange(
                    connection, payload, request, deadline
                )
            except (LinkDown, NoAnswer) as error:
                # Raised outside the nursery, which would wrap it.
                fault = error
            finally:
                connection.close("the exchange is over")
        if answer is None:
            raise fault
        return answer

    async def _serve(self, connection: Connection) -> None:
        allowance = Allowance()

        async def handle(payloads: Sequence[bytes]) -> None:
            for payload in payloads:
                self._wiring.incoming.receive(connection, allowance, payload)

        try:
            await connection.run(handle)
        except Exception:
            # The edge of a connection: a fault of ours ends this one and no other.
            log.exception("connection_failed", endpoint=self._settings.name)
        finally:
            # Nothing comes back on another connection: there is none.
            self._wiring.mux.lose(connection, connection.closed_because, fail_fast=True)

    def _check_owner(self) -> None:
        if not self._wiring.may_connect():
            msg = f"another node may connect to {self._settings.name}"
            raise LinkDown(msg)

    def _stand(self, reason: str, *, is_up: bool) -> None:
        self._is_up = is_up
        self._wiring.changed(reason)
