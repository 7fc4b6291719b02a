"""The crypto process: payment commands over a unix socket of mode 0600.

One task per connection reads frames and runs their commands inline: the token has one
worker, and SoftHSM answers faster than a thread could be woken. The replies to one
read leave in one write.
"""

from __future__ import annotations

import os
import signal
import socket
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import structlog
import trio

from isoswitch.codecs.canonical.errors import (
    ConfigError,
    HsmError,
    VerificationFailed,
)
from isoswitch.hsm.hardening import harden_process, is_same_user
from isoswitch.hsm.service import CryptoService
from isoswitch.hsm.settings import HsmdSettings
from isoswitch.hsm.token import open_service
from isoswitch.hsm.wire import (
    FrameBuffer,
    Reply,
    Request,
    Status,
    decode_request,
    encode,
    reply_of,
)

# Bounds how long one connection keeps the worker to itself.
_READ_BYTES = 16_384
_BACKLOG = 128

log = structlog.get_logger()


class Daemon:
    """Serves one crypto service to the connections of a listening socket."""

    def __init__(self, service: CryptoService, settings: HsmdSettings) -> None:
        self._service = service
        self._settings = settings
        self._connections: set[trio.CancelScope] = set()
        self._accepting = trio.CancelScope()

    async def run(
        self,
        listener: socket.socket,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Accept and serve connections until ``stop``; what was read is answered."""
        listening = trio.socket.from_stdlib_socket(listener)
        async with trio.open_nursery() as nursery:
            task_status.started()
            with self._accepting:
                while True:
                    sock, _ = await listening.accept()
                    self._admit(trio.SocketStream(sock), nursery)

    def stop(self) -> None:
        """Accept and read nothing more; ``run`` ends after the replies are written."""
        self._accepting.cancel()
        for reading in self._connections:
            reading.cancel()

    def _admit(self, stream: trio.SocketStream, nursery: trio.Nursery) -> None:
        if not is_same_user(stream.socket):
            log.warning("client refused", reason="it runs as another user")
        elif len(self._connections) >= self._settings.connections_max:
            log.warning("client refused", reason="too many connections")
        else:
            reading = trio.CancelScope()
            self._connections.add(reading)
            nursery.start_soon(self._serve, stream, reading)
            return
        stream.socket.close()

    async def _serve(
        self, stream: trio.SocketStream, reading: trio.CancelScope
    ) -> None:
        frames = FrameBuffer(frame_bytes_max=self._settings.frame_bytes_max)
        write_timeout_s = self._settings.write_timeout_s
        try:
            async with stream:
                with reading:
                    while data := await stream.receive_some(_READ_BYTES):
                        replies = b"".join(map(self._answer, frames.feed(bytes(data))))
                        with trio.fail_after(write_timeout_s, shield=True):
                            await stream.send_all(replies)
        except HsmError as fault:
            log.warning("client disconnected", reason=str(fault))
        except trio.TooSlowError:
            log.warning("client disconnected", reason="it does not read its replies")
        except trio.BrokenResourceError:
            log.debug("client gone")
        finally:
            self._connections.discard(reading)

    def _answer(self, body: bytes) -> bytes:
        """Run the commands of one request and give the frame of its reply.

        Raises
        ------
        HsmError
            The body is no request, so that no reply could be addressed.
        """
        request = decode_request(body)
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
        except (HsmError, VerificationFailed) as fault:
            return reply_of(request.number, fault)
        except Exception as fault:  # noqa: BLE001 a bug must not end the other clients
            # Without traceback text: its lines could quote a PIN block's variables.
            log.error("command failed", fault=type(fault).__name__)
            return Reply(request.number, Status.REFUSED, [], "internal fault")
        return Reply(request.number, Status.OK, results)


def listen(path: Path) -> socket.socket:
    """Listen on a unix socket that only our user can connect to.

    Raises
    ------
    ConfigError
        Another process listens there, or something else lies in the way.
    """
    if path.exists():
        _remove_stale(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    previous = os.umask(0o177)
    try:
        listener.bind(os.fspath(path))
    except OSError as fault:
        listener.close()
        msg = f"cannot listen on {path}: {fault.strerror}"
        raise ConfigError(msg) from None
    finally:
        os.umask(previous)
    listener.listen(_BACKLOG)
    return listener


async def serve(settings: HsmdSettings, *, on_ready: Callable[[int], None]) -> None:
    """Be the crypto process until SIGTERM or SIGINT.

    Parameters
    ----------
    settings
        Tokens, key file, socket and limits.
    on_ready
        Called with the number of loaded keys once connections are accepted.

    Raises
    ------
    ConfigError
        A file or the socket is not usable.
    HsmError
        The token does not open, or fails its known-answer tests.
    """
    harden_process()
    service = open_service(settings.tokens[0], settings)
    listener = listen(settings.socket)
    daemon = Daemon(service, settings)
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(daemon.run, listener)
            with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                on_ready(service.keys_loaded)
                await signals.__anext__()
            daemon.stop()
    finally:
        settings.socket.unlink(missing_ok=True)


def _remove_stale(path: Path) -> None:
    if not stat.S_ISSOCK(path.lstat().st_mode):
        msg = f"{path} is in the way of the socket; move it"
        raise ConfigError(msg)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(os.fspath(path))
        except OSError:
            with suppress(FileNotFoundError):
                path.unlink()
            return
    msg = f"another crypto process already listens on {path}"
    raise ConfigError(msg)
