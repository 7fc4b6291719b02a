"""Live sessions with the endpoints that authorise.

A link keeps its connections up: connect, sign on, echo when idle, connect again. Only
a signed-on connection carries money. A message that no byte was written of raises
``LinkDown`` and may go elsewhere; after the first byte only ``NoAnswer`` is left.

    DOWN -> CONNECTED -> SIGNED_ON -> DOWN
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import structlog
import trio

from isoswitch.codecs import headers
from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.codecs.canonical.errors import DecodeError, LinkDown, NoAnswer
from isoswitch.codecs.canonical.transaction import Outcome
from isoswitch.codecs.dialects.registry import get_dialect
from isoswitch.codecs.framing import get_framing
from isoswitch.codecs.iso8583.message import Message
from isoswitch.switch.connection import Connection
from isoswitch.switch.mux import Mux, NearMiss
from isoswitch.switch.numbers import STAN_MAX
from isoswitch.switch.ports import Clock, Random
from isoswitch.switch.settings import EndpointSettings

Connect = Callable[[EndpointSettings], Awaitable[trio.abc.Stream]]

AMOUNT = 4

log = structlog.get_logger()


class LinkState(StrEnum):
    """How far a connection of a link has come."""

    DOWN = "down"
    CONNECTED = "connected"
    SIGNED_ON = "signed_on"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stray:
    """An answer that no request waits for, or that does not echo its request."""

    endpoint: str
    message: Message
    miss: NearMiss


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRequest:
    """A key that an endpoint sends, and the way back to it."""

    endpoint: str
    message: Message
    reply: Callable[[Message], None]


class Link:
    """The session with one endpoint, over one or several connections.

    ``sent_count`` counts the requests that carried money; ``mac_failures`` the answers
    in a row whose MAC did not verify.
    """

    def __init__(
        self,
        settings: EndpointSettings,
        *,
        connect: Connect,
        clock: Clock,
        random: Random,
        on_stray: Callable[[Stray], None],
        on_key: Callable[[KeyRequest], None],
        may_send: Callable[[], bool] = lambda: True,
    ) -> None:
        self.settings = settings
        self.dialect = get_dialect(settings.dialect)
        self._framing = get_framing(settings.framing)
        self._connect = connect
        self._clock = clock
        self._random = random
        self._on_stray = on_stray
        self._on_key = on_key
        self._may_send = may_send
        self.sent_count = 0
        self.mac_failures = 0
        self._mux = Mux(
            match_fields=settings.match_fields, find_unechoed=self._find_unechoed
        )
        self._signed_on: list[Connection] = []
        self._turn = itertools.count()
        self._stans = itertools.cycle(range(1, STAN_MAX + 1))
        self._log = log.bind(endpoint=settings.name)
        # Set once the first attempt to sign on has succeeded or failed.
        self.attempted = trio.Event()

    @property
    def is_up(self) -> bool:
        """Whether money can be sent now."""
        return bool(self._signed_on)

    @property
    def waiting_count(self) -> int:
        """How many requests wait for their answers."""
        return len(self._mux)

    async def request(
        self, message: Message, *, deadline: float, transaction_id: str
    ) -> Message:
        """Send one message that carries money and wait for its answer.

        Raises
        ------
        LinkDown
            Nothing was written: no connection is signed on, the limit of requests in
            flight is reached, or this node may have been declared dead.
        NoAnswer
            The endpoint may have seen the request and did not answer in time.
        """
        if not self._signed_on:
            msg = f"{self.settings.name} is not signed on"
            raise LinkDown(msg)
        if not self._may_send():
            msg = "this node could not renew its lease: others may act in its place"
            raise LinkDown(msg)
        if len(self._mux) >= self.settings.in_flight_max:
            msg = f"{self.settings.name} has {len(self._mux)} requests in flight"
            raise LinkDown(msg)
        connection = self._signed_on[next(self._turn) % len(self._signed_on)]
        self.sent_count += 1
        self._log_leg(message, "out", transaction_id)
        answer = await self._mux.exchange(connection, message.raw, message, deadline)
        self._log_leg(answer, "in", transaction_id)
        return answer

    async def manage(self, kind: Kind, *, extra: Mapping[int, str | bytes]) -> Message:
        """Send a network management request over a connection that carries money.

        Raises
        ------
        LinkDown
            Nothing was written.
        NoAnswer
            The endpoint may have seen it and did not answer in time.
        """
        if not self._signed_on:
            msg = f"{self.settings.name} is not signed on"
            raise LinkDown(msg)
        connection = self._signed_on[next(self._turn) % len(self._signed_on)]
        return await self._ask(connection, kind, extra)

    async def run(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Keep the link up until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._mux.run)
            for _ in range(self.settings.connections):
                nursery.start_soon(self._keep_connected)
            task_status.started()

    async def sign_off(self) -> None:
        """Tell the endpoint that no more requests come; used when draining."""
        for connection in list(self._signed_on):
            self._signed_on.remove(connection)
            await self._network_exchange(connection, Kind.SIGN_OFF)

    async def _keep_connected(self) -> None:
        pause_s = self.settings.reconnect_min_s
        while True:
            began_at = trio.current_time()
            reason = await self._connect_and_serve()
            self.attempted.set()
            self._log.info("link_down", reason=reason)
            if trio.current_time() - began_at > self.settings.reconnect_max_s:
                pause_s = self.settings.reconnect_min_s
            await trio.sleep(pause_s * (0.5 + self._random.random()))
            pause_s = min(pause_s * 2, self.settings.reconnect_max_s)

    async def _connect_and_serve(self) -> str:
        try:
            with trio.fail_after(self.settings.connect_timeout_s):
                stream = await self._connect(self.settings)
        except (OSError, trio.TooSlowError) as error:
            return f"cannot connect: {type(error).__name__}"
        connection = Connection(
            stream,
            self._framing,
            frame_bytes_max=self.settings.frame_bytes_max,
            frame_timeout_s=self.settings.request_timeout_s,
            idle_timeout_s=self.settings.echo_idle_s
            * (self.settings.echo_misses_max + 2),
        )
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep_alive, connection)
                return await self._receive(connection, nursery.cancel_scope)
        finally:
            if connection in self._signed_on:
                self._signed_on.remove(connection)
            connection.close("the link stopped")
            self._mux.lose(
                connection, "the connection ended", fail_fast=self.settings.fail_fast
            )

    async def _receive(self, connection: Connection, scope: trio.CancelScope) -> str:
        async def handle(payload: bytes) -> None:
            self._dispatch(connection, payload)

        try:
            return await connection.run(handle)
        finally:
            scope.cancel()

    def _dispatch(self, connection: Connection, payload: bytes) -> None:
        try:
            _, raw = headers.split(self.settings.header, payload)
            message = self.dialect.codec.decode(raw)
        except DecodeError as error:
            # What cannot be read is no answer; its request runs into its timer.
            self._log.warning("undecodable_message", error=str(error))
            return
        if message.mti[2] in "024":
            self._answer_network(connection, message)
            return
        miss = self._mux.deliver(message)
        if miss is not None:
            self._on_stray(
                Stray(endpoint=self.settings.name, message=message, miss=miss)
            )

    def _find_unechoed(self, request: Message, answer: Message) -> tuple[int, ...]:
        differing = tuple(
            de
            for de in self.settings.echo_fields
            if de in request and answer.get(de) != request[de]
        )
        # A partial approval answers with the smaller amount it approves.
        if differing == (AMOUNT,) and (
            self.dialect.to_code(answer) is ResponseCode.PARTIALLY_APPROVED
        ):
            return ()
        return differing

    def _answer_network(self, connection: Connection, message: Message) -> None:
        if message.mti[1] != "8":
            self._log.warning("unexpected_request", mti=message.mti)
            return
        if self.dialect.network_kind(message) is Kind.KEY_CHANGE:

            def reply(answer: Message) -> None:
                connection.send_nowait(answer.raw)

            self._on_key(
                KeyRequest(endpoint=self.settings.name, message=message, reply=reply)
            )
            return
        answer = self.dialect.to_response(message, Outcome(code=ResponseCode.APPROVED))
        connection.send_nowait(answer.raw)

    async def _keep_alive(self, connection: Connection) -> None:
        if not await self._network_exchange(connection, Kind.SIGN_ON):
            connection.close("sign-on was not accepted")
            return
        self._signed_on.append(connection)
        self.attempted.set()
        self._log.info("link_signed_on")
        misses = 0
        while misses < self.settings.echo_misses_max:
            echo_at = connection.last_frame_at + self.settings.echo_idle_s
            if trio.current_time() < echo_at:
                await trio.sleep_until(echo_at)
            elif await self._network_exchange(connection, Kind.ECHO):
                misses = 0
            else:
                misses += 1
        connection.close("echoes were not answered")

    async def _network_exchange(self, connection: Connection, kind: Kind) -> bool:
        try:
            answer = await self._ask(connection, kind, {})
        except (LinkDown, NoAnswer):
            return False
        return self.dialect.to_code(answer) is ResponseCode.APPROVED

    async def _ask(
        self, connection: Connection, kind: Kind, extra: Mapping[int, str | bytes]
    ) -> Message:
        message = self.dialect.network_request(
            kind,
            stan=f"{next(self._stans):06d}",
            transmitted_at=self._clock.now(),
            extra=extra,
        )
        deadline = trio.current_time() + self.settings.request_timeout_s
        return await self._mux.exchange(connection, message.raw, message, deadline)

    def _log_leg(self, message: Message, direction: str, transaction_id: str) -> None:
        self._log.info(
            "leg",
            transaction=transaction_id,
            direction=direction,
            mti=message.mti,
            stan=message.get(11),
            code=message.get(39, ""),
        )
