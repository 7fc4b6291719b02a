"""Endpoints that connect to us: who may, and what they connect to."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Iterable
from ipaddress import IPv6Address, ip_address, ip_network

import trio

from isoswitch.switch.sockets import SocketStream, accept_forever


def is_allowed(peers: Iterable[str], host: str) -> bool:
    """Tell whether an address is one of those, or in one of those networks.

    Examples
    --------
    >>> is_allowed(["192.0.2.7", "198.51.100.0/24"], "::ffff:198.51.100.9")
    True
    >>> is_allowed(["192.0.2.7"], "192.0.2.70")
    False
    """
    try:
        address = ip_address(host)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in ip_network(peer) for peer in peers)


async def accept_peers(
    listener: socket.socket, serve: Callable[[SocketStream, str], Awaitable[None]]
) -> None:
    """Accept an endpoint's connections until cancelled, each with its address."""
    async with trio.open_nursery() as nursery:

        def accepted(sock: socket.socket) -> None:
            stream = SocketStream(sock)
            nursery.start_soon(serve, stream, stream.peer_host)

        await accept_forever(listener, accepted)
