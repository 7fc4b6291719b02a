"""Frames over a real socket: together, in order, and to the last one."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import pytest
import trio
import trio.testing

from isoswitch.codecs.canonical.errors import LinkDown
from isoswitch.codecs.framing import get_framing
from isoswitch.switch.connection import Connection
from isoswitch.switch.sockets import SocketStream, listen_tcp, open_tcp

FRAMING = get_framing("bin2")
PAYLOADS = [bytes([number]) * 8000 for number in range(30)]


@dataclass
class Line:
    """A connection, what has come over it, and the socket at its other end."""

    connection: Connection
    peer: SocketStream
    scope: trio.CancelScope
    reasons: list[str] = field(default_factory=list)

    async def run(self) -> None:
        """Serve the connection to its end."""
        with self.scope:
            self.reasons.append(await self.connection.run(self._ignore))

    async def hear(self, size: int) -> bytes:
        """Read so many bytes, or up to the end."""
        heard = b""
        while len(heard) < size and (data := await self.peer.receive_some()):
            heard += data
        return heard

    async def _ignore(self, payloads: Sequence[bytes]) -> None:
        """Take what the peer says."""


async def test_a_host_that_cannot_be_asked_for_answers_as_nobody_does() -> None:
    with pytest.raises(OSError, match="is no host"):
        await open_tcp("127.0.0..1", 8583)


@pytest.fixture
async def line(nursery: trio.Nursery) -> AsyncIterator[Line]:
    """Two ends of a TCP connection whose buffers hold little."""
    with listen_tcp("127.0.0.1", 0) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        peer = await open_tcp("127.0.0.1", listener.getsockname()[1])
        peer._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        await trio.lowlevel.wait_readable(listener)
        accepted, _ = listener.accept()
    connection = Connection(
        SocketStream(accepted),
        FRAMING,
        frame_bytes_max=9000,
        frame_timeout_s=5.0,
        idle_timeout_s=60.0,
    )
    made = Line(connection, peer, trio.CancelScope())
    nursery.start_soon(made.run)
    await trio.testing.wait_all_tasks_blocked()
    yield made
    made.scope.cancel()
    await peer.aclose()


async def test_what_is_sent_in_one_pass_leaves_in_one_piece(line: Line) -> None:
    for payload in (b"0800", b"0810", b"0820"):
        line.connection.send_nowait(payload)
    with trio.fail_after(5):
        assert await line.peer.receive_some() == b"".join(
            map(FRAMING.encode, (b"0800", b"0810", b"0820"))
        )


async def test_a_slow_peer_gets_every_byte_in_order(line: Line) -> None:
    marks = []
    for payload in PAYLOADS:
        marks.append(line.connection.send_nowait(payload))
        # Some find room, some do not, and some find the writer at work.
        await trio.lowlevel.checkpoint()
    # No more than the buffers of both ends hold has left.
    started = [line.connection.has_started(mark) for mark in marks]
    assert started == sorted(started, reverse=True)
    wanted = b"".join(map(FRAMING.encode, PAYLOADS))
    with trio.fail_after(5):
        assert await line.hear(len(wanted)) == wanted
    assert all(map(line.connection.has_started, marks))
    assert not line.connection.has_started(line.connection.send_nowait(b"0800"))
    assert line.connection.is_open


async def test_a_peer_that_never_reads_is_hung_up_on(line: Line) -> None:
    async def flood() -> None:
        while True:
            line.connection.send_nowait(bytes(8000))
            await trio.lowlevel.checkpoint()

    with trio.fail_after(5), pytest.raises(LinkDown, match="does not read"):
        await flood()
    with trio.fail_after(5):
        while not line.reasons:
            await trio.lowlevel.checkpoint()
    assert line.reasons == ["the peer does not read"]


@pytest.mark.parametrize("is_cancelled", [False, True], ids=["closed", "cancelled"])
async def test_what_was_said_last_is_heard(line: Line, *, is_cancelled: bool) -> None:
    line.connection.send_nowait(b"0810")
    if is_cancelled:
        line.scope.cancel()
    else:
        line.connection.close("enough")
    with trio.fail_after(5):
        assert await line.hear(100) == FRAMING.encode(b"0810")


async def test_nothing_follows_half_a_frame(line: Line) -> None:
    """What was cut off by the end stays cut off, whatever was queued behind it."""
    for payload in PAYLOADS:
        line.connection.send_nowait(payload)
    await trio.testing.wait_all_tasks_blocked()
    line.connection.send_nowait(b"0810")
    line.connection.close("enough")
    wanted = b"".join(map(FRAMING.encode, (*PAYLOADS, b"0810")))
    with trio.fail_after(5):
        heard = await line.hear(len(wanted))
    assert wanted.startswith(heard)
    assert len(heard) < len(wanted)


async def test_what_breaks_while_it_is_written_ends_with_a_reason(line: Line) -> None:
    line.peer._sock.setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00"
    )
    await line.peer.aclose()
    with trio.fail_after(5):
        while not line.reasons:
            if line.connection.is_open:
                line.connection.send_nowait(b"0800")
            await trio.lowlevel.checkpoint()
    assert line.reasons == ["the connection broke"]
    with pytest.raises(LinkDown):
        line.connection.send_nowait(b"0800")
