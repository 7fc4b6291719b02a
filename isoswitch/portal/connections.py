"""Connections of the portal: so many at once, and none that waits for ever.

The portal lives in the process of the switch, whose descriptors strangers must not use
up. hypercorn's own server takes whatever comes and waits for whoever is slow, so its
protocol runs here on connections that are accepted as those of terminals are.
"""

from __future__ import annotations

import socket
from typing import cast

import structlog
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework, ConnectionState
from starlette.types import ASGIApp, Receive, Scope, Send

from isoswitch.switch.sockets import accept_forever, watch_peer

HANDSHAKE_TIMEOUT_S = 5.0
# Longer than anything that a request waits for.
ANSWER_TIMEOUT_S = 120.0

log = structlog.get_logger()


class Connections:
    """Whoever is connected to the portal; a table of one application's connections."""

    def __init__(self, app: ASGIApp, config: Config, *, connections_max: int) -> None:
        config.ssl_handshake_timeout = HANDSHAKE_TIMEOUT_S
        self._app = app
        self._config = config
        self._context = WorkerContext(None)
        self._tls = config.create_ssl_context()
        self._connections_max = connections_max
        self._count = 0

    async def accept_forever(self, listener: socket.socket) -> None:
        """Serve who connects until cancelled, and close what is above the limit."""
        async with trio.open_nursery() as nursery:

            def accepted(sock: socket.socket) -> None:
                if self._count >= self._connections_max:
                    log.warning("connection_refused", listener="portal")
                    sock.close()
                    return
                self._count += 1
                nursery.start_soon(self._serve, sock)

            await accept_forever(listener, accepted)

    async def _serve(self, sock: socket.socket) -> None:
        """Serve one connection to its end."""
        try:
            watch_peer(sock)
            sock.setblocking(False)
            stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
            async with trio.open_nursery() as nursery:
                patience = _Patience(self._app, stream)
                nursery.start_soon(patience.end_late, nursery.cancel_scope)
                await TCPServer(
                    ASGIWrapper(cast("ASGIFramework", patience)),
                    self._config,
                    self._context,
                    ConnectionState({}),
                    self._secured(stream),
                )
                nursery.cancel_scope.cancel()
        except Exception:
            # The edge of a connection: a fault of ours ends this one and no other.
            log.exception("connection_failed", listener="portal")
        finally:
            sock.close()
            self._count -= 1

    def _secured(self, stream: trio.SocketStream) -> trio.SSLStream[trio.SocketStream]:
        if self._tls is None:
            # The server looks which of the two it has.
            return cast("trio.SSLStream[trio.SocketStream]", stream)
        return trio.SSLStream(
            stream, self._tls, server_side=True, https_compatible=True
        )


class _Patience:
    """Wraps the application for one connection, which ends when no answer gets out."""

    def __init__(self, app: ASGIApp, stream: trio.SocketStream) -> None:
        self._app = app
        self._stream = stream
        self._waiting = trio.CancelScope()
        self._wait_anew()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request; the next one has as long again."""
        try:
            await self._app(scope, receive, send)
        except Exception:
            # hypercorn answers, and would tell nobody.
            log.exception("request_failed", path=scope["path"])
            raise
        self._wait_anew()

    async def end_late(self, connection: trio.CancelScope) -> None:
        """End the connection when nothing was answered for long."""
        with self._waiting:
            await trio.sleep_forever()
        # A write to whoever does not read is shielded; closing wakes it.
        await trio.aclose_forcefully(self._stream)
        connection.cancel()

    def _wait_anew(self) -> None:
        self._waiting.deadline = trio.current_time() + ANSWER_TIMEOUT_S
