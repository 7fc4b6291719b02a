"""Lean TCP streams, and a listener that accepts a burst in one pass.

``trio.SocketStream`` takes a checkpoint and two guards for each call, and
``trio.serve_tcp`` accepts one connection for each scheduler pass: 500 terminals that
reconnect at once wait for seconds. These two do the same work directly on the socket.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable

import trio

RECEIVE_BYTES = 65_536
ACCEPTS_PER_PASS = 64
ACCEPT_PAUSE_S = 0.1
# The machine is short of something that comes back: pause, then go on accepting.
SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
# An idle peer that vanished is noticed after about 30 s (Linux tcp(7)).
KEEPALIVE = (
    (socket.TCP_KEEPIDLE, 15),
    (socket.TCP_KEEPINTVL, 5),
    (socket.TCP_KEEPCNT, 3),
)
UNACKNOWLEDGED_MS_MAX = 30_000


class SocketStream(trio.abc.HalfCloseableStream):
    """A connected TCP socket as a byte stream."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        watch_peer(sock)
        self._sock = sock

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait for bytes and give them; ``b""`` when the peer closed its side."""
        size, sock = max_bytes or RECEIVE_BYTES, self._sock
        while True:
            self._check_open()
            await trio.lowlevel.wait_readable(sock)
            try:
                return sock.recv(size)
            except (BlockingIOError, InterruptedError):
                continue
            except OSError as error:
                raise _stream_error(error) from None

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send everything, waiting for room only when there is none."""
        self._check_open()
        rest = memoryview(data)
        while True:
            try:
                rest = rest[self._sock.send(rest) :]
            except (BlockingIOError, InterruptedError):
                pass
            except OSError as error:
                raise _stream_error(error) from None
            if not rest:
                return
            await self.wait_send_all_might_not_block()

    def send_now(self, data: bytes) -> int:
        """Send what there is room for, and give how many bytes those were."""
        try:
            return self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            raise _stream_error(error) from None

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until a send has room."""
        self._check_open()
        await trio.lowlevel.wait_writable(self._sock)

    async def send_eof(self) -> None:
        """Say that no more bytes follow."""
        await trio.lowlevel.checkpoint()
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise _stream_error(error) from None

    async def aclose(self) -> None:
        """Close the socket."""
        if self._sock.fileno() >= 0:
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()
        await trio.lowlevel.checkpoint()

    @property
    def peer(self) -> str:
        """The other end's address, for logs; empty once it is gone."""
        try:
            host, port = self._sock.getpeername()[:2]
        except OSError:
            return ""
        return f"{host}:{port}"

    @property
    def peer_host(self) -> str:
        """The other end's address without its port; empty once it is gone."""
        try:
            host: str = self._sock.getpeername()[0]
        except OSError:
            return ""
        return host

    def _check_open(self) -> None:
        if self._sock.fileno() < 0:
            msg = "the stream is closed"
            raise trio.ClosedResourceError(msg)


async def open_tcp(host: str, port: int) -> SocketStream:
    """Connect to an address; raises OSError when nobody answers."""
    try:
        stream = await trio.open_tcp_stream(host, port)
    except ValueError:
        # No name that anybody could be asked for.
        msg = f"{host!r} is no host"
        raise OSError(errno.EADDRNOTAVAIL, msg) from None
    return SocketStream(_detach(stream.socket))


def watch_peer(sock: socket.socket) -> None:
    """Have the kernel end a connection whose peer vanished or does not read."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEPALIVE:
        sock.setsockopt(socket.IPPROTO_TCP, option, value)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS_MAX)


def listen_tcp(host: str, port: int, *, shares_port: bool = False) -> socket.socket:
    """Open a listening socket; raises OSError when the address is taken.

    With ``shares_port`` several processes of one user listen there, and the kernel
    deals connections out among them.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shares_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((host, port))
        sock.listen(1024)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


async def accept_forever(
    listener: socket.socket, accepted: Callable[[socket.socket], None]
) -> None:
    """Accept connections in bursts and hand over each; ends only by cancellation.

    When the machine is short of descriptors, those who wait are taken later.
    """
    while True:
        await trio.lowlevel.wait_readable(listener)
        for _ in range(ACCEPTS_PER_PASS):
            try:
                sock, _ = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                break
            except OSError as error:
                if error.errno not in SHORTAGES:
                    raise
                await trio.sleep(ACCEPT_PAUSE_S)
                break
            accepted(sock)


def _detach(sock: trio.socket.SocketType) -> socket.socket:
    return socket.socket(fileno=sock.detach())


def _stream_error(error: OSError) -> Exception:
    if error.errno == errno.EBADF:
        return trio.ClosedResourceError("the stream is closed")
    return trio.BrokenResourceError(error.strerror or "the connection broke")
