"""Endpoints that connect to us, on real sockets."""

from __future__ import annotations

import pytest
import trio

from isoswitch.switch.peers import accept_peers, is_allowed
from isoswitch.switch.sockets import SocketStream, listen_tcp, open_tcp


@pytest.mark.parametrize(
    ("peers", "host", "allowed"),
    [
        (["192.0.2.7"], "192.0.2.7", True),
        (["192.0.2.7"], "192.0.2.8", False),
        (["192.0.2.0/24"], "192.0.2.255", True),
        (["192.0.2.0/24"], "192.0.3.0", False),
        (["2001:db8::/32"], "2001:db8::1", True),
        (["2001:db8::/32"], "2001:db9::1", False),
        (["192.0.2.7"], "::ffff:192.0.2.7", True),
        (["::/0"], "192.0.2.7", False),
        ([], "192.0.2.7", False),
        (["192.0.2.7"], "", False),
        (["192.0.2.7"], "fe80::1%eth0", False),
    ],
)
def test_an_address_is_allowed_by_itself_or_by_its_network(
    peers: list[str], host: str, *, allowed: bool
) -> None:
    assert is_allowed(peers, host) is allowed


async def test_who_connects_is_handed_over_with_its_address(
    nursery: trio.Nursery,
) -> None:
    hosts: list[str] = []

    async def serve(stream: SocketStream, host: str) -> None:
        hosts.append(host)
        await stream.send_all(b"hello")
        await stream.aclose()
        assert stream.peer_host == ""

    with listen_tcp("127.0.0.1", 0) as listener:
        nursery.start_soon(accept_peers, listener, serve)
        stream = await open_tcp(*listener.getsockname())
        assert await stream.receive_some() == b"hello"
        await stream.aclose()
        nursery.cancel_scope.cancel()
    assert hosts == ["127.0.0.1"]
