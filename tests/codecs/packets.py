"""Recordings for tests: packets and files, as the standards draw them."""

from __future__ import annotations

import struct
from dataclasses import dataclass

SYN, ACK = 0x02, 0x10


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A TCP segment from the client (or from the server) of one connection."""

    payload: bytes = b""
    sequence: int = 1
    flags: int = ACK
    from_server: bool = False
    client_port: int = 40000


CLIENT, SERVER, SERVER_PORT = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]), 8583


def tcp(segment: Segment) -> bytes:
    """Give the TCP part of a packet."""
    ports = (segment.client_port, SERVER_PORT)
    source, destination = ports[::-1] if segment.from_server else ports
    fixed = (source, destination, segment.sequence, 0, 0x50, segment.flags, 1024, 0, 0)
    return struct.pack(">HHIIBBHHH", *fixed) + segment.payload


def ipv4(segment: Segment, *, protocol: int = 6, fragment: int = 0) -> bytes:
    """Give a packet of IPv4 (RFC 791)."""
    body = tcp(segment)
    ends = (CLIENT, SERVER)
    source, destination = ends[::-1] if segment.from_server else ends
    head = (0x45, 0, 20 + len(body), 1, fragment, 64, protocol, 0, source, destination)
    return struct.pack(">BBHHHBBH4s4s", *head) + body


def ipv6(segment: Segment, *, options: bool = False, following: int = 6) -> bytes:
    """Give a packet of IPv6 (RFC 8200), perhaps with hop-by-hop options."""
    body = tcp(segment)
    if options:
        body = bytes([following, 0]) + bytes(6) + body
    ends = (CLIENT.rjust(16, b"\0"), SERVER.rjust(16, b"\0"))
    source, destination = ends[::-1] if segment.from_server else ends
    first = 0 if options else following
    head = struct.pack(">IHBB", 0x60000000, len(body), first, 64)
    return head + source + destination + body


def ethernet(packet: bytes, *, kind: int = 0x0800, vlan: bool = False) -> bytes:
    """Give an Ethernet frame, filled up to its least size."""
    tag = struct.pack(">HH", 0x8100, 7) if vlan else b""
    return (bytes(12) + tag + struct.pack(">H", kind) + packet).ljust(60, b"\0")


def linux_cooked(packet: bytes) -> bytes:
    """Give a frame of the any interface of Linux."""
    return bytes(14) + struct.pack(">H", 0x0800) + packet


def pcap(packets: list[bytes], *, link_type: int = 101, order: str = "<") -> bytes:
    """Give a classic recording; packet n is n milliseconds after the first second."""
    head = struct.pack(order + "IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, link_type)
    return head + b"".join(
        struct.pack(order + "IIII", 1, 1000 * n, len(each), len(each)) + each
        for n, each in enumerate(packets)
    )


def pcapng(
    packets: list[bytes],
    *,
    link_type: int = 101,
    order: str = "<",
    options: bytes = b"",
    simple: bool = False,
) -> bytes:
    """Give a recording of the next generation, with enhanced or simple blocks."""

    def block(kind: int, body: bytes) -> bytes:
        body += bytes(-len(body) % 4)
        size = struct.pack(order + "I", len(body) + 12)
        return struct.pack(order + "I", kind) + size + body + size

    section = struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1)
    interface = struct.pack(order + "HHI", link_type, 0, 65535) + options
    blocks = [block(0x0A0D0D0A, section), block(1, interface)]
    for number, each in enumerate(packets):
        size = len(each)
        head = struct.pack(order + "IIIII", 0, 0, number, size, size)
        kind, head = (3, struct.pack(order + "I", size)) if simple else (6, head)
        blocks.append(block(kind, head + each))
    return b"".join(blocks)
