"""Keeps the connections of a link: open or taken, signed on, echoed when idle.

As a client we connect, and again after a pause that doubles and is drawn by chance; as
a server we take what the listener gives us. From there on both are the same: sign-on
by us, by them or by nobody, then an echo whenever nothing was heard for a while, and
the end of the connection when several in a row are missed.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog
import trio

from isoswitch.codecs.canonical.codes import Kind
from isoswitch.codecs.framing import get_framing
from isoswitch.switch.connection import Connection
from isoswitch.switch.incoming import Allowance, Incoming
from isoswitch.switch.linkstate import Standing
from isoswitch.switch.mux import Mux
from isoswitch.switch.ports import Clock, Random
from isoswitch.switch.settings import Address, EndpointSettings, SignOn

Connect = Callable[[Address], Awaitable[trio.abc.Stream]]
# Ask for network management over a connection; whether the endpoint agreed.
Ask = Callable[[Connection, Kind], Awaitable[bool]]

OWNER_POLL_S = 1.0

log = structlog.get_logger()


class Echoes:
    """When an echo was answered last, and after how long."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.last_at: datetime | None = None
        self.elapsed_s = 0.0

    def answered(self, elapsed_s: float) -> None:
        """Note an answered echo."""
        self.last_at = self._clock.now()
        self.elapsed_s = elapsed_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """What the connections of a link are made with, and whom they tell.

    ``changed`` is told why whenever one of them comes, signs on or goes.
    """

    settings: EndpointSettings
    connect: Connect
    random: Random
    mux: Mux
    incoming: Incoming
    may_connect: Callable[[], bool]
    changed: Callable[[str], None]


class Upkeep:
    """The connections of one link, and which of them are signed on."""

    def __init__(self, wiring: Wiring, *, ask: Ask, clock: Clock) -> None:
        self._settings = wiring.settings
        self._framing = get_framing(wiring.settings.framing)
        self._wiring = wiring
        self._ask = ask
        self.echoes = Echoes(clock)
        self.open: list[Connection] = []
        self.signed_on: list[Connection] = []
        self.wants_sign_on = True
        # Set once the first attempt to sign on has succeeded or failed.
        self.attempted = trio.Event()

    @property
    def standing(self) -> Standing:
        """How many connections there are."""
        return Standing(open_count=len(self.open), signed_on_count=len(self.signed_on))

    async def keep_connected(self) -> None:
        """Connect, serve the connection to its end, pause, and so on."""
        settings = self._settings
        pause_s = settings.reconnect_min_s
        while True:
            if not self._wiring.may_connect():
                self.attempted.set()
                await wait_allowed(self._wiring.may_connect)
            began_at = trio.current_time()
            reason = await self._connect_and_serve()
            self.attempted.set()
            log.info("connection_ended", endpoint=settings.name, reason=reason)
            if trio.current_time() - began_at > settings.reconnect_max_s:
                pause_s = settings.reconnect_min_s
            await trio.sleep(pause_s * (0.5 + self._wiring.random.random()))
            pause_s = min(pause_s * 2, settings.reconnect_max_s)

    async def serve(self, stream: trio.abc.Stream) -> str:
        """Serve one connection to its end, and say why it ended."""
        connection = Connection(
            stream,
            self._framing,
            frame_bytes_max=self._settings.frame_bytes_max,
            frame_timeout_s=self._settings.request_timeout_s,
            idle_timeout_s=math.inf,
        )
        self.open.append(connection)
        self._wiring.changed("connected")
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep_alive, connection)
                nursery.start_soon(self._watch_owner, connection)
                return await self._receive(connection, nursery.cancel_scope)
        finally:
            connection.close("the link stopped")
            self.open.remove(connection)
            self.unmark(connection)
            self._wiring.mux.lose(
                connection,
                connection.closed_because,
                fail_fast=self._settings.fail_fast,
            )
            self._wiring.changed(connection.closed_because)

    async def sign_on(self, connection: Connection, *, anew: bool = False) -> bool:
        """Sign on over a connection, if that is ours to do; whether it is signed on.

        ``anew`` asks even if the endpoint has accepted before.
        """
        is_signed_on = connection in self.signed_on and not anew
        if self._settings.sign_on is SignOn.THEM or is_signed_on:
            return is_signed_on
        is_ours = self._settings.sign_on is SignOn.US
        if is_ours and not await self._ask(connection, Kind.SIGN_ON):
            return False
        self.mark(connection, "signed on")
        return True

    def mark(self, connection: Connection, reason: str) -> None:
        """Let an open connection carry money."""
        if connection.is_open and connection not in self.signed_on:
            self.signed_on.append(connection)
            self._wiring.changed(reason)

    def unmark(self, connection: Connection) -> None:
        """Let a connection carry no more money."""
        if connection in self.signed_on:
            self.signed_on.remove(connection)

    async def _watch_owner(self, connection: Connection) -> None:
        """Close the connection when another node is to have it."""
        while self._settings.leased:
            await trio.sleep(OWNER_POLL_S)
            if not self._wiring.may_connect():
                connection.close("another node may connect now")

    async def _connect_and_serve(self) -> str:
        try:
            with trio.fail_after(self._settings.connect_timeout_s):
                stream = await self._wiring.connect(self._settings)
        except (OSError, trio.TooSlowError) as error:
            return f"cannot connect: {type(error).__name__}"
        return await self.serve(stream)

    async def _receive(self, connection: Connection, scope: trio.CancelScope) -> str:
        allowance = Allowance()

        async def handle(payloads: Sequence[bytes]) -> None:
            for payload in payloads:
                self._wiring.incoming.receive(connection, allowance, payload)

        try:
            return await connection.run(handle)
        except Exception:
            # The edge of a connection: a fault of ours ends this one and no other.
            log.exception("connection_failed", endpoint=self._settings.name)
            return "a fault of ours"
        finally:
            scope.cancel()

    async def _keep_alive(self, connection: Connection) -> None:
        is_ours = self._settings.sign_on is not SignOn.THEM
        if self.wants_sign_on and is_ours and not await self.sign_on(connection):
            connection.close("sign-on was not accepted")
            return
        self.attempted.set()
        misses = 0
        answered_at = -math.inf
        while misses < self._settings.echo_misses_max:
            heard_at = max(connection.last_frame_at, answered_at)
            echo_at = heard_at + self._settings.echo_idle_s
            asked_at = trio.current_time()
            if asked_at < echo_at:
                await trio.sleep_until(echo_at)
            elif await self._ask(connection, Kind.ECHO):
                misses = 0
                # It may have come on another connection of the link.
                answered_at = trio.current_time()
                self.echoes.answered(answered_at - asked_at)
            else:
                misses += 1
        connection.close("echoes were not answered")


async def wait_allowed(may_connect: Callable[[], bool]) -> None:
    """Wait until this node is the one that may connect."""
    # A lease is lost by silence, which nobody announces.
    while not may_connect():  # noqa: ASYNC110
        await trio.sleep(OWNER_POLL_S)
