"""Live sessions with the endpoints that authorise.

A link keeps its connections up (``upkeep.py``) or makes one for each request
(``oneshot.py``), and only while it is signed on and nobody halts it, it carries
money (``linkstate.py``). A message that no byte was written of raises ``LinkDown`` and
may go elsewhere; after the first byte only ``NoAnswer`` is left.
"""

from __future__ import annotations

import itertools
import socket
from collections.abc import Awaitable, Callable, Mapping

import structlog
import trio

from isoswitch.codecs import headers
from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.codecs.canonical.errors import LinkDown, NoAnswer
from isoswitch.codecs.dialects.registry import get_dialect
from isoswitch.codecs.iso8583.message import Message
from isoswitch.switch.connection import Connection
from isoswitch.switch.incoming import Hooks, Incoming, NetworkRequest, Stray
from isoswitch.switch.linkstate import (
    Halt,
    LinkChange,
    LinkCounts,
    LinkState,
    LinkStatus,
    derive_state,
)
from isoswitch.switch.logs import LegLine, legs
from isoswitch.switch.mux import Mux
from isoswitch.switch.numbers import STAN_MAX
from isoswitch.switch.oneshot import OneShot
from isoswitch.switch.peers import accept_peers, is_allowed
from isoswitch.switch.ports import Clock, Random, iso_time
from isoswitch.switch.settings import EndpointSettings, SignOn
from isoswitch.switch.sockets import SocketStream, listen_tcp
from isoswitch.switch.upkeep import Connect, Upkeep, Wiring

AMOUNT = 4

log = structlog.get_logger()


class Link:
    """The session with one endpoint, over one or several connections.

    ``sent_count`` counts the requests that carried money; ``mac_failures`` the answers
    in a row whose MAC did not verify. ``may_connect`` says whether this node is the
    one that an endpoint of one session is to see.
    """

    def __init__(
        self,
        settings: EndpointSettings,
        *,
        connect: Connect,
        clock: Clock,
        random: Random,
        on_stray: Callable[[Stray], None],
        on_key: Callable[[NetworkRequest], None],
        on_cutover: Callable[[NetworkRequest], None],
        on_change: Callable[[LinkChange], None],
        may_connect: Callable[[], bool] = lambda: True,
        may_send: Callable[[], bool] = lambda: True,
    ) -> None:
        self.settings = settings
        self.dialect = get_dialect(settings.dialect)
        self._clock = clock
        self._on_change = on_change
        self._may_connect = may_connect
        self._may_send = may_send
        self._log = log.bind(endpoint=settings.name)
        self.sent_count = 0
        self.mac_failures = 0
        self.counts = LinkCounts()
        self._mux = Mux(
            match_fields=settings.match_fields, find_unechoed=self._find_unechoed
        )
        hooks = Hooks(
            on_stray=on_stray,
            on_key=on_key,
            on_cutover=on_cutover,
            on_sign_on=self._partner_signed_on,
            on_sign_off=self._partner_signed_off,
        )
        incoming = Incoming(
            settings, self.dialect, mux=self._mux, hooks=hooks, counts=self.counts
        )
        wiring = Wiring(
            settings=settings,
            connect=connect,
            random=random,
            mux=self._mux,
            incoming=incoming,
            may_connect=may_connect,
            changed=self._changed,
        )
        self._upkeep = Upkeep(wiring, ask=self._agrees, clock=clock)
        self._one_shot = OneShot(wiring) if settings.one_shot else None
        self._turn = itertools.count()
        self._stans = itertools.cycle(range(1, STAN_MAX + 1))
        self._halts: set[Halt] = set()
        self.state = LinkState.DOWN
        self._since = clock.now()
        self._reason = "not started"
        self._door: socket.socket | None = None

    @property
    def is_up(self) -> bool:
        """Whether money can be sent now."""
        return self.state is LinkState.SIGNED_ON

    @property
    def waiting_count(self) -> int:
        """How many requests wait for their answers."""
        return len(self._mux)

    @property
    def attempted(self) -> trio.Event:
        """Set once the first attempt to sign on has succeeded or failed."""
        return self._upkeep.attempted

    def status(self) -> LinkStatus:
        """Tell how the link stands."""
        standing = (self._one_shot or self._upkeep).standing
        echoes = self._upkeep.echoes
        return LinkStatus(
            endpoint=self.settings.name,
            role="one-shot" if self._one_shot else self.settings.role,
            state=self.state,
            since=iso_time(self._since),
            reason=self._reason,
            halted_by=sorted(self._halts),
            connections=standing.open_count,
            signed_on=standing.signed_on_count,
            in_flight=len(self._mux),
            last_echo_at=iso_time(echoes.last_at) if echoes.last_at else "",
            echo_ms=round(echoes.elapsed_s * 1000, 1),
            strays=self.counts.strays,
            undecodable=self.counts.undecodable,
            unexpected=self.counts.unexpected,
            refused_peers=self.counts.refused_peers,
            mac_failures=self.counts.mac_failures,
        )

    async def request(
        self, message: Message, *, deadline: float, transaction_id: str
    ) -> Message:
        """Send one message that carries money and wait for its answer.

        Raises
        ------
        LinkDown
            Nothing was written: no connection is signed on, the link is halted, the
            limit of requests in flight is reached, or this node may have been declared
            dead.
        NoAnswer
            The endpoint may have seen the request and did not answer in time.
        """
        if self.state is not LinkState.SIGNED_ON:
            msg = f"{self.settings.name} is {self.state}: {self._reason}"
            raise LinkDown(msg)
        self._check_sends()
        if len(self._mux) >= self.settings.in_flight_max:
            msg = f"{self.settings.name} has {len(self._mux)} requests in flight"
            raise LinkDown(msg)
        self.sent_count += 1
        self._log_leg(message, "out", transaction_id)
        answer = await self._exchange(message, deadline, self._check_sends)
        self._log_leg(answer, "in", transaction_id)
        return answer

    async def manage(self, kind: Kind, *, extra: Mapping[int, str | bytes]) -> Message:
        """Send a network management request over a connection that is signed on.

        Raises
        ------
        LinkDown
            Nothing was written.
        NoAnswer
            The endpoint may have seen it and did not answer in time.
        """
        deadline = trio.current_time() + self.settings.request_timeout_s
        message = self._network_request(kind, extra)
        return await self._exchange(message, deadline, self._check_lease)

    def open_door(self) -> None:
        """Take the port that the endpoint connects to; raises OSError when it is taken.

        A link that connects itself has none.
        """
        settings = self.settings
        if settings.is_server and self._door is None:
            self._door = listen_tcp(
                settings.host, settings.port, shares_port=settings.shares_port
            )

    def close_door(self) -> None:
        """Give the port back."""
        if self._door is not None:
            self._door.close()
            self._door = None

    def postpone(self, reason: str) -> None:
        """Say why it does not run yet."""
        if reason != self._reason:
            self._reason = reason
            self._log.error("link_not_open", reason=reason)

    async def run(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Keep the link up until cancelled."""
        self._reason = "not connected yet"
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._mux.run)
                if self._door is not None:
                    nursery.start_soon(accept_peers, self._door, self._serve_peer)
                if self._one_shot is not None:
                    self.attempted.set()
                    nursery.start_soon(self._one_shot.run)
                elif self.settings.is_server:
                    self.attempted.set()
                else:
                    for _ in range(self.settings.connections):
                        nursery.start_soon(self._upkeep.keep_connected)
                task_status.started()
        finally:
            self.close_door()
            self._mux.end("the link has ended")

    async def serve_stream(self, stream: trio.abc.Stream, *, host: str) -> None:
        """Serve a connection that the endpoint has opened, if it may."""
        reason = self._find_refusal(host)
        if reason:
            self.counts.refused_peers += 1
            self._log.warning("connection_refused", host=host, reason=reason)
            await trio.aclose_forcefully(stream)
            return
        reason = await self._upkeep.serve(stream)
        self._log.info("connection_ended", host=host, reason=reason)

    async def _serve_peer(self, stream: SocketStream, host: str) -> None:
        await self.serve_stream(stream, host=host)

    def suspend(self) -> None:
        """Send no more money until ``resume``; echoes go on."""
        self._halt(Halt.OPERATOR, "suspended by an operator")

    def resume(self) -> None:
        """Lift an operator's suspension."""
        self._lift(Halt.OPERATOR, "resumed by an operator")

    async def sign_off(self) -> None:
        """Send no more money, wait for what is in flight, and tell the endpoint."""
        self.stay_signed_off()
        with trio.move_on_after(self.settings.request_timeout_s):
            await self._mux.wait_empty()
        # Where it is not ours to sign on, it is not ours to sign off.
        is_ours = self.settings.sign_on is SignOn.US
        for connection in list(self._upkeep.signed_on) if is_ours else ():
            self._upkeep.unmark(connection)
            await self._agrees(connection, Kind.SIGN_OFF)
        self._changed("signed off")

    def stay_signed_off(self) -> None:
        """Sign on no more until ``sign_on``."""
        self._upkeep.wants_sign_on = False
        self._halt(Halt.SIGNED_OFF, "signing off")

    async def sign_on(self) -> bool:
        """Sign on again on every connection; whether any was accepted.

        An endpoint that accepts takes back a sign-off of its own. Where nobody signs
        on, the operator's word takes it back: there is nobody to ask, and a one-shot
        endpoint has no connection to say it on.
        """
        if self.is_up:
            return True
        self._upkeep.wants_sign_on = True
        self._lift(Halt.SIGNED_OFF, "signing on")
        if self.settings.sign_on is SignOn.NOBODY:
            self._lift(Halt.PARTNER, "signed on by an operator")
        # What it accepted before a sign-off of its own counts no more.
        anew = Halt.PARTNER in self._halts
        accepted = [
            await self._upkeep.sign_on(connection, anew=anew)
            for connection in list(self._upkeep.open)
        ]
        return any(accepted) or self._one_shot is not None

    def _find_refusal(self, host: str) -> str:
        """Say why a connection of the endpoint is not taken; empty when it is."""
        if not is_allowed(self.settings.peers, host):
            return "not an address of this endpoint"
        if self._upkeep.standing.open_count >= self.settings.connections:
            return "it has all its connections"
        if not self._may_connect():
            return "another node serves it"
        return ""

    def _partner_signed_on(self, connection: Connection) -> None:
        if self.settings.sign_on is SignOn.THEM:
            self._upkeep.mark(connection, "the endpoint signed on")
        self._lift(Halt.PARTNER, "the endpoint signed on")

    def _partner_signed_off(self, _: Connection) -> None:
        self._halt(Halt.PARTNER, "the endpoint signed off")

    def _halt(self, halt: Halt, reason: str) -> None:
        self._halts.add(halt)
        self._changed(reason)

    def _lift(self, halt: Halt, reason: str) -> None:
        if halt in self._halts:
            self._halts.discard(halt)
            self._changed(reason)

    def _changed(self, reason: str) -> None:
        """Derive the state anew, and tell when it is another one."""
        standing = (self._one_shot or self._upkeep).standing
        if not standing.open_count and self._one_shot is None:
            # Whoever connects again signs on again.
            self._halts.discard(Halt.PARTNER)
        before, after = self.state, derive_state(standing, self._halts)
        if before is after:
            return
        self.state, self._reason, self._since = after, reason, self._clock.now()
        self._log.info("link_state", before=before, after=after, reason=reason)
        self._on_change(
            LinkChange(
                endpoint=self.settings.name,
                before=before,
                after=after,
                reason=reason,
                at=iso_time(self._since),
            )
        )

    def _find_unechoed(self, request: Message, answer: Message) -> tuple[int, ...]:
        # Most of the answer is read in a moment, and reading all at once is cheaper.
        answered = answer.values()
        differing = tuple(
            [
                de
                for de in self.settings.echo_fields
                if de in request and answered.get(de) != request[de]
            ]
        )
        # A partial approval answers with the smaller amount it approves.
        if differing == (AMOUNT,) and (
            self.dialect.to_code(answer) is ResponseCode.PARTIALLY_APPROVED
        ):
            return ()
        return differing

    def _check_sends(self) -> None:
        """Raise LinkDown when money is held back, or may be sent by others only."""
        if self._halts:
            msg = f"{self.settings.name} is halted by {', '.join(sorted(self._halts))}"
            raise LinkDown(msg)
        self._check_lease()

    def _check_lease(self) -> None:
        if not self._may_send():
            msg = "this node could not renew its lease: others may act in its place"
            raise LinkDown(msg)

    def _exchange(
        self, message: Message, deadline: float, check_sends: Callable[[], None]
    ) -> Awaitable[Message]:
        payload = self._payload(message)
        if self._one_shot is not None:
            return self._one_shot.exchange(
                payload, message, deadline, check_sends=check_sends
            )
        usable = self._upkeep.signed_on
        if not usable:
            msg = f"{self.settings.name} is not signed on"
            raise LinkDown(msg)
        connection = usable[next(self._turn) % len(usable)]
        return self._mux.exchange(connection, payload, message, deadline)

    async def _agrees(self, connection: Connection, kind: Kind) -> bool:
        """Ask for network management over one connection; False without a yes."""
        deadline = trio.current_time() + self.settings.request_timeout_s
        try:
            message = self._network_request(kind, {})
            payload = self._payload(message)
            answer = await self._mux.exchange(connection, payload, message, deadline)
        except (LinkDown, NoAnswer):
            return False
        is_agreed = self.dialect.to_code(answer) is ResponseCode.APPROVED
        if kind is Kind.SIGN_ON and is_agreed:
            self._lift(Halt.PARTNER, "signed on")
        return is_agreed

    def _network_request(self, kind: Kind, extra: Mapping[int, str | bytes]) -> Message:
        return self.dialect.network_request(
            kind,
            stan=f"{next(self._stans):06d}",
            transmitted_at=self._clock.now(),
            extra=extra,
        )

    def _payload(self, message: Message) -> bytes:
        settings = self.settings
        if not settings.header:
            return message.raw
        return headers.join(settings.header, settings.header_value, message.raw)

    def _log_leg(self, message: Message, direction: str, transaction_id: str) -> None:
        line = LegLine(
            transaction=transaction_id,
            direction=direction,
            endpoint=self.settings.name,
            mti=message.mti,
            stan=str(message.get(11, "")),
            code=str(message.get(39, "")),
        )
        legs.put(line)
