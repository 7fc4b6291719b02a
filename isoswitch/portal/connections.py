"""Connections of the portal: so many at once, and none that waits for ever.

The portal lives in the process of the switch, whose descriptors strangers must not use
up. hypercorn's own server takes whatever comes and waits for whoever is slow, so its
protocol runs here on connections that are accepted as those of terminals are.
"""

from __future__ import annotations

import socket
from collections import Counter
from typing import cast

import structlog
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework, ConnectionState
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from isoswitch.switch.sockets import accept_forever, watch_peer

HANDSHAKE_TIMEOUT_S = 5.0
# Longer than anything that a request waits for.
ANSWER_TIMEOUT_S = 120.0
# What nobody from one address may take of the places of all.
SHARE_OF_ONE = 2

log = structlog.get_logger()


class Connections:
    """Whoever is connected to the portal; a table of one application's connections.

    At most half of the places are for one address: the node's load balancer looks here
    whether the node lives.
    """

    def __init__(self, app: ASGIApp, config: Config, *, connections_max: int) -> None:
        config.ssl_handshake_timeout = HANDSHAKE_TIMEOUT_S
        self._app = app
        self._config = config
        self._context = WorkerContext(None)
        self._tls = config.create_ssl_context()
        self._connections_max = connections_max
        self._by_peer: Counter[str] = Counter()

    async def accept_forever(self, listener: socket.socket) -> None:
        """Serve who connects until cancelled, and close what is above the limit."""
        async with trio.open_nursery() as nursery:

            def accepted(sock: socket.socket) -> None:
                peer = _address_of(sock)
                if self._is_full(peer):
                    log.warning("connection_refused", listener="portal")
                    sock.close()
                    return
                self._by_peer[peer] += 1
                nursery.start_soon(self._serve, sock, peer)

            await accept_forever(listener, accepted)

    def _is_full(self, peer: str) -> bool:
        share = max(1, self._connections_max // SHARE_OF_ONE)
        is_all_taken = self._by_peer.total() >= self._connections_max
        return is_all_taken or self._by_peer[peer] >= share

    async def _serve(self, sock: socket.socket, peer: str) -> None:
        """Serve one connection to its end."""
        try:
            watch_peer(sock)
            sock.setblocking(False)
            stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
            async with trio.open_nursery() as nursery:
                patience = _Patience(self._app, stream)
                nursery.start_soon(patience.end_late, nursery.cancel_scope)
                await _Server(
                    patience, self._config, self._context, self._secured(stream)
                )
                nursery.cancel_scope.cancel()
        except Exception as error:  # noqa: BLE001 (it ends this one and no other)
            # Bytes that hypercorn does not expect end in errors of many kinds.
            reason = type(error).__name__
            log.warning("connection_failed", listener="portal", reason=reason)
        finally:
            sock.close()
            self._by_peer[peer] -= 1
            if not self._by_peer[peer]:
                del self._by_peer[peer]

    def _secured(self, stream: trio.SocketStream) -> trio.SSLStream[trio.SocketStream]:
        if self._tls is None:
            # The server looks which of the two it has.
            return cast("trio.SSLStream[trio.SocketStream]", stream)
        return trio.SSLStream(
            stream, self._tls, server_side=True, https_compatible=True
        )


def _address_of(sock: socket.socket) -> str:
    try:
        host: str = sock.getpeername()[0]
    except OSError:
        # It has gone already.
        return ""
    return host


class _Patience:
    """Wraps the application for one connection, which ends when no answer gets out."""

    def __init__(self, app: ASGIApp, stream: trio.SocketStream) -> None:
        self._app = app
        self._stream = stream
        self._waiting = trio.CancelScope()
        self._deciding = 0
        self._is_left = False
        self._wait_anew()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request; the next one has as long again."""
        is_decided = False

        async def answer(message: Message) -> None:
            nonlocal is_decided
            if not is_decided:
                is_decided = True
                self._decided()
            await send(message)

        self._deciding += 1
        try:
            await self._app(scope, receive, answer)
        except Exception:
            # hypercorn answers, and would tell nobody.
            log.exception("request_failed", path=scope["path"])
            raise
        finally:
            if not is_decided:
                self._decided()
        self._wait_anew()

    def leave(self) -> None:
        """End the connection, whose client has gone, when nothing is decided in it."""
        self._is_left = True
        self._wait_anew()

    async def end_late(self, connection: trio.CancelScope) -> None:
        """End the connection when nothing was answered for long."""
        try:
            with self._waiting:
                await trio.sleep_forever()
            connection.cancel()
        finally:
            # A write to whoever does not read is shielded; closing wakes it.
            await trio.aclose_forcefully(self._stream)

    def _decided(self) -> None:
        self._deciding -= 1
        self._wait_anew()

    def _wait_anew(self) -> None:
        is_over = self._is_left and not self._deciding
        patience_s = 0.0 if is_over else ANSWER_TIMEOUT_S
        self._waiting.deadline = trio.current_time() + patience_s


class _Server(TCPServer):
    """A connection of hypercorn's that says when its client has gone."""

    def __init__(
        self,
        patience: _Patience,
        config: Config,
        context: WorkerContext,
        stream: trio.SSLStream[trio.SocketStream],
    ) -> None:
        app = ASGIWrapper(cast("ASGIFramework", patience))
        super().__init__(app, config, context, ConnectionState({}), stream)
        self._patience = patience

    async def _read_data(self) -> None:
        await super()._read_data()
        self._patience.leave()
