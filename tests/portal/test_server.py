"""The portal over a real socket."""

from __future__ import annotations

import fcntl
import ssl
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from termios import FIONREAD
from typing import Any

import httpx
import pytest
import trio
from hypercorn.config import Config
from starlette.types import Receive, Scope, Send
from structlog.testing import capture_logs

from isoswitch.commands.certificates import TestAuthority
from isoswitch.portal import connections, door
from isoswitch.portal.server import serve_portal
from isoswitch.portal.settings import PortalSettings
from isoswitch.simulators.world import World
from isoswitch.switch.settings import TlsFiles
from isoswitch.switch.sockets import listen_tcp
from tests.portal.signers import CLIENTS

pytestmark = pytest.mark.live

PATIENCE_S = 15.0
HEALTH = b"GET /health/live HTTP/1.1\r\nHost: it\r\n\r\n"
HEALTH_ONCE = HEALTH[:-2] + b"Connection: close\r\n\r\n"


async def test_a_browser_is_answered_while_the_switch_works(
    nursery: trio.Nursery,
) -> None:
    world = World()
    await nursery.start(world.run)
    assert world.switch is not None
    settings = PortalSettings(host="127.0.0.1", port=0)
    port = await nursery.start(partial(serve_portal, settings, world.switch))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        assert (await client.get("/health/ready")).status_code == 200
        assert "isoswitch_ready 1" in (await client.get("/metrics")).text


async def test_a_taken_port_is_an_error(nursery: trio.Nursery) -> None:
    world = World()
    await nursery.start(world.run)
    assert world.switch is not None
    start = partial(serve_portal, switch=world.switch)
    settings = PortalSettings(host="127.0.0.1", port=0)
    port = await nursery.start(start, settings)
    with pytest.raises(OSError, match="in use"):
        await start(PortalSettings(host="127.0.0.1", port=port))


@asynccontextmanager
async def portal_of(**settings: Any) -> AsyncIterator[int]:
    """Run a portal beside a switch; gives its port."""
    world = World()
    async with trio.open_nursery() as nursery:
        await nursery.start(world.run)
        assert world.switch is not None
        told = PortalSettings(host="127.0.0.1", port=0, clients=CLIENTS, **settings)
        yield await nursery.start(partial(serve_portal, told, world.switch))
        nursery.cancel_scope.cancel()


async def ask(port: int, request: bytes, *, own: str = "127.0.0.1") -> bytes:
    """Read until the portal closes, which it has to do soon."""
    stream = await trio.open_tcp_stream("127.0.0.1", port, local_address=own)
    async with stream:
        with trio.fail_after(PATIENCE_S):
            try:
                await stream.send_all(request)
                return b"".join([part async for part in stream])
            except trio.BrokenResourceError:
                return b""


async def wait_let_in(port: int) -> None:
    """Wait until there is room for one more."""
    with trio.fail_after(PATIENCE_S):
        while not await ask(port, HEALTH_ONCE):
            await trio.lowlevel.checkpoint()


async def test_who_connects_above_the_limit_is_closed_and_comes_in_later() -> None:
    # Half of the places are for one address.
    async with portal_of(connections_max=4) as port:
        inside = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(2)]
        for stream in inside:
            await stream.send_all(HEALTH)
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 200")
        assert await ask(port, HEALTH) == b""
        assert await ask(port, HEALTH_ONCE, own="127.0.0.2") != b""
        await inside[0].aclose()
        await wait_let_in(port)
        await inside[1].aclose()


@pytest.mark.parametrize("path", ["/v1/codes", "/health/live"])
async def test_a_body_that_does_not_come_ends_its_connection(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "BODY_TIMEOUT_S", 0.2)
    async with portal_of() as port:
        head = f"POST {path} HTTP/1.1\r\nHost: it\r\nContent-Length: 10000\r\n\r\nx"
        answer = await ask(port, head.encode())
    assert answer.split()[1] == (b"408" if path == "/v1/codes" else b"405")


# HTTP/2 without asking: no window for what is answered, so the answer never gets out.
STUCK_HTTP2 = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x00"
    b"\x00\x00\x0e\x01\x05\x00\x00\x00\x01\x82\x86\x04\x08/metrics\x41\x00"
)
UNREAD = b"GET /metrics HTTP/1.1\r\nHost: it\r\n\r\n" * 1000


@pytest.mark.parametrize("asked", [STUCK_HTTP2, UNREAD], ids=["window", "unread"])
async def test_an_answer_that_nobody_takes_ends_its_connection(
    asked: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "ANSWER_TIMEOUT_S", 1.0)
    async with portal_of(connections_max=1) as port:
        stuck = await trio.open_tcp_stream("127.0.0.1", port)
        await stuck.send_all(asked)
        await wait_let_in(port)
        await stuck.aclose()


GONE = {
    "said nothing": b"",
    "has its answer": HEALTH,
    "stopped in its head": HEALTH[:20],
    "said it speaks HTTP/2": HEALTH[:-2]
    + b"Connection: Upgrade, HTTP2-Settings\r\n"
    + b"Upgrade: h2c\r\nHTTP2-Settings: \r\n\r\n",
}


@pytest.mark.parametrize("said", GONE.values(), ids=GONE)
async def test_who_has_gone_takes_no_place(
    said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Config, "keep_alive_timeout", 10 * PATIENCE_S)
    async with portal_of(connections_max=1) as port:
        for _ in range(3):
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            await stream.send_all(said)
            await stream.aclose()
            await wait_let_in(port)


async def test_an_answer_that_nobody_takes_does_not_keep_the_portal_from_ending() -> (
    None
):
    with trio.fail_after(PATIENCE_S):
        async with portal_of() as port:
            stuck = await trio.open_tcp_stream("127.0.0.1", port)
            await stuck.send_all(UNREAD)
            before, unread = -1, 0
            while before != unread:
                # While others are answered, it goes on until it can write no more.
                for _ in range(10):
                    assert await ask(port, HEALTH_ONCE)
                before, unread = unread, _unread_bytes(stuck)
            assert unread
    await stuck.aclose()


def _unread_bytes(stream: trio.SocketStream) -> int:
    (count,) = array("i", fcntl.ioctl(stream.socket.fileno(), FIONREAD, bytes(4)))
    assert isinstance(count, int)
    return count


async def test_http2_asks_for_little_at_once() -> None:
    begin = STUCK_HTTP2[:24] + b"\x00\x00\x00\x04" + bytes(5)
    async with portal_of() as port:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            await stream.send_all(begin)
            told = b""
            with trio.fail_after(PATIENCE_S):
                while len(told) < 9 or len(told) < 9 + int.from_bytes(told[:3]):
                    told += await stream.receive_some()
    settings = told[9 : 9 + int.from_bytes(told[:3])]
    rows = {
        settings[n : n + 2]: settings[n + 2 : n + 6] for n in range(0, len(settings), 6)
    }
    # SETTINGS_MAX_CONCURRENT_STREAMS (RFC 9113, 6.5.2).
    assert int.from_bytes(rows[b"\x00\x03"]) == 8


async def test_over_tls_strangers_without_a_handshake_do_not_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HANDSHAKE_TIMEOUT_S", 0.2)
    ca = tmp_path / "ca.pem"
    files = TlsFiles(certificate=tmp_path / "it.pem", key=tmp_path / "it.key", ca=ca)
    TestAuthority(ca).sign(files, "it", is_server=True)
    async with portal_of(certificate=files.certificate, key=files.key) as port:
        assert await ask(port, b"\x16\x03\x01") == b""
        trusted = ssl.create_default_context(cafile=ca)
        async with httpx.AsyncClient(verify=trusted) as client:
            health = f"https://127.0.0.1:{port}/health/live"
            assert (await client.get(health)).status_code == 200


async def test_what_fails_in_a_request_is_told_and_the_next_one_answered() -> None:
    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        raise LookupError(scope["path"])

    listener = listen_tcp("127.0.0.1", 0)
    config = Config()
    config.errorlog = None
    portal = connections.Connections(fail, config, connections_max=2)
    with listener, capture_logs() as told:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(portal.accept_forever, listener)
            for _ in range(2):
                answer = await ask(listener.getsockname()[1], HEALTH_ONCE)
                assert answer.startswith(b"HTTP/1.1 500")
            nursery.cancel_scope.cancel()
    failed = [each for each in told if each["event"] == "request_failed"]
    assert [each["path"] for each in failed] == ["/health/live"] * 2
