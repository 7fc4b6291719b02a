"""What comes from an endpoint: answers, its own network management, and nuisances.

    answer            to the request that waits for it, else a stray
    sign-on, echo     answered in every state; so is sign-off, which stops new money
    key, cutover      to whoever handles it; answered once that is written down
    anything else     declined where it can be answered, counted and logged

A partner that sends too much of what nobody asked for loses its connection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import structlog
import trio

from isoswitch.codecs import headers
from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.codecs.canonical.errors import DecodeError, EncodeError, LinkDown
from isoswitch.codecs.canonical.transaction import Outcome
from isoswitch.codecs.dialects.dialect import Dialect
from isoswitch.codecs.dialects.edition import FieldValue
from isoswitch.codecs.dialects.mti import ANSWERS
from isoswitch.codecs.iso8583.message import Message
from isoswitch.switch.connection import Connection
from isoswitch.switch.linkstate import LinkCounts
from isoswitch.switch.mux import Mux, NearMiss
from isoswitch.switch.settings import EndpointSettings

WINDOW_S = 10.0
NUISANCES_MAX = 500
LINES_MAX = 10
# Late answers are honest; there are no more of them than requests were in flight.
STRAYS_PER_IN_FLIGHT = 5
NETWORK_CLASS = "8"
RESPONSE_FUNCTIONS = "13"

ACCEPTED = Outcome(code=ResponseCode.APPROVED)
UNKNOWN = Outcome.declined(ResponseCode.INVALID_TRANSACTION, "nothing we take")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stray:
    """An answer that no request waits for, or that does not echo its request."""

    endpoint: str
    message: Message
    miss: NearMiss


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkRequest:
    """A key or a cutover that an endpoint sends, and the way back to it.

    ``reply`` takes the outcome and fields of our own for the answer. It says nothing to
    a notification, and raises LinkDown when the connection is gone.
    """

    endpoint: str
    message: Message
    reply: Callable[[Outcome, Mapping[int, FieldValue]], None]


class Allowance:
    """How much of what nobody asked for one connection may still bring."""

    def __init__(self) -> None:
        self._window_at = trio.current_time()
        self._count = 0

    @property
    def is_told(self) -> bool:
        """Whether the latest gets a line of its own in the log."""
        return self._count <= LINES_MAX

    def spend(self, count_max: int) -> bool:
        """Take one; False when it was one too many for this window."""
        now = trio.current_time()
        if now - self._window_at >= WINDOW_S:
            self._window_at = now
            self._count = 0
        self._count += 1
        return self._count <= count_max


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """Who takes what an endpoint sends; none of them waits."""

    on_stray: Callable[[Stray], None]
    on_key: Callable[[NetworkRequest], None]
    on_cutover: Callable[[NetworkRequest], None]
    on_sign_on: Callable[[Connection], None]
    on_sign_off: Callable[[Connection], None]


class Incoming:
    """Takes the messages of one link, from all of its connections."""

    def __init__(
        self,
        settings: EndpointSettings,
        dialect: Dialect,
        *,
        mux: Mux,
        hooks: Hooks,
        counts: LinkCounts,
    ) -> None:
        self._settings = settings
        self._dialect = dialect
        self._mux = mux
        self._hooks = hooks
        self._counts = counts
        self._log = log.bind(endpoint=settings.name)
        self._strays_max = NUISANCES_MAX + STRAYS_PER_IN_FLIGHT * settings.in_flight_max

    def receive(
        self, connection: Connection, allowance: Allowance, payload: bytes
    ) -> None:
        """Take one message."""
        try:
            header, raw = headers.split(self._settings.header, payload)
            message = self._dialect.codec.decode(raw)
        except DecodeError as error:
            # What cannot be read is no answer; its request runs into its timer.
            self._counts.undecodable += 1
            self._tolerate(connection, allowance, "undecodable_message", str(error))
            return
        if message.mti[2] in RESPONSE_FUNCTIONS:
            self._deliver(connection, allowance, message)
        elif message.mti[1] == NETWORK_CLASS:
            self._spend(connection, allowance)
            self._manage(connection, header, message)
        else:
            self._counts.unexpected += 1
            self._tolerate(connection, allowance, "unexpected_request", message.mti)
            self._answer(connection, header, message, UNKNOWN)

    def _deliver(
        self, connection: Connection, allowance: Allowance, message: Message
    ) -> None:
        miss = self._mux.deliver(message)
        if miss is None:
            return
        self._counts.strays += 1
        if allowance.spend(self._strays_max):
            stray = Stray(endpoint=self._settings.name, message=message, miss=miss)
            self._hooks.on_stray(stray)
        else:
            connection.close("a flood of answers that nobody waits for")

    def _manage(self, connection: Connection, header: bytes, message: Message) -> None:
        kind = self._dialect.network_kind(message)
        if kind in {Kind.KEY_CHANGE, Kind.CUTOVER}:
            request = NetworkRequest(
                endpoint=self._settings.name,
                message=message,
                reply=partial(self._reply, connection, header, message),
            )
            is_key = kind is Kind.KEY_CHANGE
            (self._hooks.on_key if is_key else self._hooks.on_cutover)(request)
            return
        if kind not in {Kind.SIGN_ON, Kind.SIGN_OFF, Kind.ECHO}:
            self._counts.unexpected += 1
            self._answer(connection, header, message, UNKNOWN)
            return
        # The answer stands in the queue before any money that a sign-on lets through.
        self._answer(connection, header, message, ACCEPTED)
        if kind is Kind.SIGN_ON:
            self._hooks.on_sign_on(connection)
        elif kind is Kind.SIGN_OFF:
            self._hooks.on_sign_off(connection)

    def _answer(
        self, connection: Connection, header: bytes, message: Message, outcome: Outcome
    ) -> None:
        # A connection that ends has said so itself.
        with suppress(LinkDown):
            self._reply(connection, header, message, outcome, {})

    def _reply(
        self,
        connection: Connection,
        header: bytes,
        message: Message,
        outcome: Outcome,
        extra: Mapping[int, FieldValue],
    ) -> None:
        """Answer what can be answered; notifications and unassigned types cannot."""
        if message.mti not in ANSWERS:
            return
        try:
            answer = self._dialect.to_response(message, outcome, extra=extra)
        except EncodeError as error:
            self._log.warning("not_answered", mti=message.mti, reason=str(error))
            return
        name = self._settings.header
        connection.send_nowait(
            headers.join(name, headers.swap(name, header), answer.raw)
        )

    def _tolerate(
        self, connection: Connection, allowance: Allowance, event: str, what: str
    ) -> None:
        self._spend(connection, allowance)
        if allowance.is_told:
            self._log.warning(event, what=what)

    def _spend(self, connection: Connection, allowance: Allowance) -> None:
        if not allowance.spend(NUISANCES_MAX):
            connection.close("a flood of what nobody asked for")
