"""Serves payment commands over a unix socket.

One task per connection reads frames and runs their commands inline: the token has one
worker, and SoftHSM answers faster than a thread could be woken. The replies to one
read leave in one write.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

import structlog
import trio

from isoswitch.codecs.canonical.errors import (
    HsmError,
    HsmUnavailable,
    VerificationFailed,
)
from isoswitch.hsm.hardening import is_same_user
from isoswitch.hsm.service import CryptoService
from isoswitch.hsm.settings import HsmdSettings
from isoswitch.hsm.wire import (
    FrameBuffer,
    Reply,
    Request,
    Status,
    decode_requests,
    encode,
    frame,
    reply_of,
)

# A few requests: bounds how long one connection keeps the worker to itself, and lets
# the switch go on with their replies while the next are worked on.
_READ_BYTES = 4096

log = structlog.get_logger()


class Daemon:
    """Serves one crypto service to the connections of a listening socket.

    Parameters
    ----------
    service
        What runs the commands.
    settings
        Limits on connections, frames and commands.
    on_unavailable
        Called after a command for which the token was not available.
    """

    def __init__(
        self,
        service: CryptoService,
        settings: HsmdSettings,
        *,
        on_unavailable: Callable[[], None],
    ) -> None:
        self._service = service
        self._settings = settings
        self._on_unavailable = on_unavailable
        self._connections = 0

    async def run(
        self,
        listener: socket.socket,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Accept and serve connections until cancelled; what was read is answered."""
        listening = trio.socket.from_stdlib_socket(listener)
        async with trio.open_nursery() as nursery:
            task_status.started()
            while True:
                sock, _ = await listening.accept()
                self._admit(trio.SocketStream(sock), nursery)

    def _admit(self, stream: trio.SocketStream, nursery: trio.Nursery) -> None:
        if not is_same_user(stream.socket):
            log.warning("client refused", reason="it runs as another user")
            stream.socket.close()
        elif self._connections >= self._settings.connections_max:
            log.warning("client refused", reason="too many connections")
            stream.socket.close()
        else:
            self._connections += 1
            nursery.start_soon(self._serve, stream)

    async def _serve(self, stream: trio.SocketStream) -> None:
        bytes_max = self._settings.frame_bytes_max
        frames = FrameBuffer(bytes_max=bytes_max)
        write_timeout_s = self._settings.write_timeout_s
        try:
            async with stream:
                while data := await stream.receive_some(_READ_BYTES):
                    replies = [
                        self._answer(request)
                        for body in frames.feed(bytes(data))
                        for request in decode_requests(body)
                    ]
                    if not replies:
                        continue
                    with trio.fail_after(write_timeout_s, shield=True):
                        await stream.send_all(frame(replies, bytes_max=bytes_max))
        except HsmError as fault:
            log.warning("client disconnected", reason=str(fault))
        except trio.TooSlowError:
            log.warning("client disconnected", reason="it does not read its replies")
        except trio.BrokenResourceError:
            log.debug("client gone")
        finally:
            self._connections -= 1

    def _answer(self, request: Request) -> bytes:
        """Run the commands of one request and give its reply as it travels."""
        reply = encode(self._execute(request))
        if len(reply) > self._settings.frame_bytes_max:
            reason = "the results are longer than a frame"
            reply = encode(Reply(request.number, Status.REFUSED, [], reason))
        return reply

    def _execute(self, request: Request) -> Reply:
        if not 1 <= len(request.commands) <= self._settings.commands_max:
            reason = f"a request has 1 to {self._settings.commands_max} commands"
            return Reply(request.number, Status.REFUSED, [], reason)
        try:
            results = self._service.execute(request.commands)
        except HsmUnavailable as fault:
            log.error("token unavailable", reason=str(fault))
            self._on_unavailable()
            return reply_of(request.number, fault)
        except (HsmError, VerificationFailed) as fault:
            return reply_of(request.number, fault)
        except Exception as fault:  # noqa: BLE001 a bug must not end the other clients
            # Without traceback text: its lines could quote a PIN block's variables.
            log.error("command failed", fault=type(fault).__name__)
            return Reply(request.number, Status.REFUSED, [], "internal fault")
        return Reply(request.number, Status.OK, results)
