"""Listeners for terminals: connections in, messages to the dispatcher, answers back.

A connection only carries messages. What a message starts belongs to the switch, so a
terminal that hangs up cancels nothing. Bytes that are no message end their connection
with one log line and touch nobody else.
"""

from __future__ import annotations

import hashlib
import math
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import structlog
import trio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from isoswitch.codecs import headers
from isoswitch.codecs.canonical.errors import DecodeError, LinkDown
from isoswitch.codecs.dialects.dialect import Dialect
from isoswitch.codecs.dialects.registry import get_dialect
from isoswitch.codecs.framing import get_framing
from isoswitch.codecs.iso8583.message import Message
from isoswitch.switch.connection import Connection
from isoswitch.switch.dispatch import Accept, Arrival, Wait
from isoswitch.switch.incoming import Allowance
from isoswitch.switch.ports import Clock
from isoswitch.switch.settings import ListenerSettings, TlsFiles
from isoswitch.switch.sockets import SocketStream, accept_forever, listen_tcp

EXPIRY_TICK_S = 1.0
# Of what is no message, how much a connection may bring in a while.
REJECTIONS_MAX = 20
HANDSHAKE_TIMEOUT_S = 5.0

log = structlog.get_logger()


class Listener:
    """One address where terminals connect, and the connections that came in."""

    def __init__(
        self, settings: ListenerSettings, *, accept: Accept, clock: Clock
    ) -> None:
        self.settings = settings
        self._accept = accept
        self._clock = clock
        self._dialect = get_dialect(settings.dialect)
        self._framing = get_framing(settings.framing)
        self._tls = make_tls_context(settings.tls) if settings.tls else None
        self._connections: set[Connection] = set()
        self._sessions: set[Session] = set()
        self._sock: socket.socket | None = None
        self.port = settings.port
        self.is_open = False

    @property
    def connection_count(self) -> int:
        """How many terminals are connected."""
        return len(self._connections)

    @property
    def in_flight_count(self) -> int:
        """How many messages of its terminals are being decided."""
        return sum(session.in_flight_count for session in self._sessions)

    def open(self) -> None:
        """Take the port; raises OSError when another has it."""
        settings = self.settings
        self._sock = listen_tcp(
            settings.host, settings.port, shares_port=settings.shares_port
        )
        self.port = self._sock.getsockname()[1]
        self.is_open = True

    def close_door(self) -> None:
        """Give the port back; who is connected stays."""
        self.is_open = False
        if self._sock is not None:
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()

    def let_go(self, reason: str, *, older_than: float = math.inf) -> None:
        """End connections that began before a time and have nothing in flight."""
        for session in list(self._sessions):
            if session.began_at < older_than and not session.in_flight_count:
                session.hang_up(reason)

    def hang_up(self, reason: str) -> None:
        """End every connection; terminals connect again, elsewhere or to the next."""
        for connection in list(self._connections):
            connection.close(reason)

    async def run(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Accept connections until cancelled; raises OSError when the port is taken."""
        if self._sock is None:
            self.open()
        assert self._sock is not None, "opened above"
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.expire_forever)

                def accepted(sock: socket.socket) -> None:
                    nursery.start_soon(self._serve_socket, SocketStream(sock))

                task_status.started()
                with suppress(trio.ClosedResourceError):
                    await accept_forever(self._sock, accepted)
        finally:
            self.close_door()

    async def run_without_door(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve only what comes in by ``serve_stream``, until cancelled."""
        self.is_open = True
        task_status.started()
        await self.expire_forever()

    async def expire_forever(self) -> None:
        """Close connections that are idle or slow for too long."""
        while True:
            await trio.sleep(EXPIRY_TICK_S)
            now = trio.current_time()
            for connection in list(self._connections):
                connection.expire(now)
            if self.settings.age_s_max:
                self.let_go("old enough", older_than=now - self.settings.age_s_max)

    async def serve_stream(
        self, stream: trio.abc.Stream, *, peer: str = "", certificate_pin: str = ""
    ) -> None:
        """Serve one connection to its end."""
        if len(self._connections) >= self.settings.connections_max:
            log.warning("connection_refused", listener=self.settings.name, peer=peer)
            await trio.aclose_forcefully(stream)
            return
        connection = Connection(
            stream,
            self._framing,
            frame_bytes_max=self.settings.frame_bytes_max,
            frame_timeout_s=self.settings.frame_timeout_s,
            idle_timeout_s=self.settings.idle_timeout_s,
        )
        session = Session(
            connection,
            self.settings,
            self._dialect,
            self._accept,
            clock=self._clock,
            certificate_pin=certificate_pin,
        )
        self._connections.add(connection)
        self._sessions.add(session)
        try:
            reason = await connection.run(session.handle)
        except Exception:
            # The edge of a connection: a fault of ours ends this one and no other.
            log.exception("connection_failed", listener=self.settings.name, peer=peer)
            return
        finally:
            self._connections.discard(connection)
            self._sessions.discard(session)
        log.info(
            "terminal_disconnected",
            listener=self.settings.name,
            peer=peer,
            reason=reason,
        )

    async def _serve_socket(self, stream: SocketStream) -> None:
        peer = stream.peer
        if self._tls is None:
            await self.serve_stream(stream, peer=peer)
            return
        secure = trio.SSLStream(stream, self._tls, server_side=True)
        try:
            with trio.fail_after(HANDSHAKE_TIMEOUT_S):
                await secure.do_handshake()
        except (trio.BrokenResourceError, trio.TooSlowError, ssl.SSLError) as error:
            log.warning(
                "handshake_refused",
                listener=self.settings.name,
                peer=peer,
                reason=str(error.__cause__ or error),
            )
            await trio.aclose_forcefully(secure)
            return
        pin = certificate_pin(secure.getpeercert(binary_form=True))
        await self.serve_stream(secure, peer=peer, certificate_pin=pin)


class Session:
    """What one connection is doing: decodes its messages and limits their number."""

    def __init__(
        self,
        connection: Connection,
        settings: ListenerSettings,
        dialect: Dialect,
        accept: Accept,
        *,
        clock: Clock,
        certificate_pin: str,
    ) -> None:
        self._connection = connection
        self.began_at = trio.current_time()
        self._settings = settings
        self._dialect = dialect
        self._accept = accept
        self._clock = clock
        self._allowance = Allowance()
        self._certificate_pin = certificate_pin
        self.in_flight_count = 0
        self._room = trio.lowlevel.ParkingLot()

    def hang_up(self, reason: str) -> None:
        """End the connection; the terminal connects again, perhaps elsewhere."""
        self._connection.close(reason)

    async def handle(self, payloads: Sequence[bytes]) -> None:
        """Decode messages and hand them over; waits while too many are in flight.

        Where some are turned away, no more is read before they are answered: what the
        peer sends meanwhile comes with one read, and fills its own buffers, not ours.
        """
        wait: Wait | None = None
        for payload in payloads:
            try:
                header, raw = headers.split(self._settings.header, payload)
                message = self._dialect.codec.decode(raw)
            except DecodeError as error:
                self._refuse(payload, error)
                if self._connection.closed_because:
                    return
                continue
            while self.in_flight_count >= self._settings.in_flight_max:
                await self._room.park()
            self.in_flight_count += 1
            wait = self._accept(self._arrival(message, header)) or wait
        if wait is not None:
            await wait()

    def _arrival(self, message: Message, header: bytes) -> Arrival:
        layout, connection = self._settings.header, self._connection
        answer_header = headers.swap(layout, header)

        def send(answer: Message) -> None:
            connection.send_nowait(headers.join(layout, answer_header, answer.raw))

        return Arrival(
            message=message,
            dialect=self._dialect,
            listener=self._settings.name,
            certificate_pin=self._certificate_pin,
            send=send,
            done=self._done,
        )

    def _refuse(self, payload: bytes, error: DecodeError) -> None:
        """Say that bytes are no message, where the dialect can, or hang up."""
        rejection = self._dialect.rejection
        if rejection is None or not self._allowance.spend(REJECTIONS_MAX):
            self._connection.close(f"undecodable message: {error}")
            return
        if self._allowance.is_told:
            name = self._settings.name
            log.warning("message_rejected", listener=name, reason=str(error))
        with suppress(LinkDown):
            # One that does not even read what it is told is gone.
            told = rejection(payload, error, created_at=self._clock.now())
            self._connection.send_nowait(told)

    def _done(self) -> None:
        self.in_flight_count -= 1
        if self._room:
            self._room.unpark()


def make_tls_context(files: TlsFiles) -> ssl.SSLContext:
    """Make a TLS 1.3 server context that demands a certificate of its own CA."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    # Every connection proves its key; none is resumed.
    context.num_tickets = 0
    context.load_cert_chain(_existing(files.certificate), _existing(files.key))
    context.load_verify_locations(_existing(files.ca))
    return context


def certificate_pin(certificate: bytes | None) -> str:
    """Give the SHA-256 of a certificate's public key (SPKI), in hex; '' without one."""
    if certificate is None:
        return ""
    public_key = x509.load_der_x509_certificate(certificate).public_key()
    spki = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).hexdigest()


def _existing(path: Path) -> Path:
    if not path.exists():
        msg = f"TLS file {path} is missing: run make setup"
        raise FileNotFoundError(msg)
    return path
