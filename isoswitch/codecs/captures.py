"""Recordings of a network: from a pcap or pcapng file to what each side said.

    pcap      24 bytes of file header | per packet: 16 bytes, then the packet
    pcapng    blocks: type 4 | length 4 | body | length 4
    packet    link layer | IPv4 or IPv6 | TCP | payload

Payloads are put in the order of their sequence numbers. What was not recorded leaves a
gap, and the bytes after it begin a new stretch. Other packets (UDP, fragments, other
link layers) are counted and left out.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from struct import unpack_from
from types import MappingProxyType
from typing import NamedTuple

from isoswitch.codecs.canonical.errors import DecodeError

CAPTURE_BYTES_MAX = 256 * 1024 * 1024
PACKETS_MAX = 1_000_000
FLOWS_MAX = 10_000
"""A recording over these limits is refused, flows beyond the last one are skipped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Bytes of one packet: its number in the file, and its time since 1970."""

    packet: int
    time_s: float
    octets: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Bytes that one side sent without a gap.

    ``begins_late`` tells that the beginning of the connection was not recorded.
    """

    source: str
    destination: str
    chunks: tuple[Chunk, ...]
    begins_late: bool

    @property
    def octets(self) -> bytes:
        """All bytes, in order."""
        return b"".join(chunk.octets for chunk in self.chunks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """The stretches of a recording, by their first packet, and what was left out."""

    stretches: tuple[Stretch, ...]
    skipped: Mapping[str, int]


def is_capture(data: bytes) -> bool:
    """Whether bytes begin like a pcap or pcapng file.

    Examples
    --------
    >>> is_capture(bytes.fromhex("D4C3B2A1")), is_capture(b"0800")
    (True, False)
    """
    return data[:4] in _BYTE_ORDERS or data[:4] == _SECTION


def read_capture(data: bytes) -> Capture:
    """Read a pcap or pcapng file and put its TCP streams together.

    Raises
    ------
    DecodeError
        Not such a file, larger than the limit, or broken; a last packet that is cut
        off ends the recording.

    Examples
    --------
    >>> header = bytes.fromhex("D4C3B2A1020004000000000000000000FFFF000065000000")
    >>> read_capture(header).stretches
    ()
    """
    if len(data) > CAPTURE_BYTES_MAX:
        raise DecodeError(f"recording is over {CAPTURE_BYTES_MAX} bytes")
    if data[:4] == _SECTION:
        packets = _pcapng_packets(data)
    elif data[:4] in _BYTE_ORDERS:
        packets = _pcap_packets(data)
    else:
        raise DecodeError("neither pcap nor pcapng")
    flows = _Flows()
    for number, packet in enumerate(packets, start=1):
        if number > PACKETS_MAX:
            raise DecodeError(f"recording has over {PACKETS_MAX} packets")
        flows.take(number, packet)
    return flows.finish()


_BYTE_ORDERS: Mapping[bytes, tuple[str, float]] = MappingProxyType(
    {
        b"\xa1\xb2\xc3\xd4": (">", 1e-6),
        b"\xd4\xc3\xb2\xa1": ("<", 1e-6),
        b"\xa1\xb2\x3c\x4d": (">", 1e-9),
        b"\x4d\x3c\xb2\xa1": ("<", 1e-9),
    }
)
"""The first octets of pcap files: byte order, and the unit of fractions of seconds."""

_SECTION = b"\x0a\x0d\x0d\x0a"
_INTERFACE, _SIMPLE, _ENHANCED = 1, 3, 6
_RESOLUTION_OPTION = 9


class _Packet(NamedTuple):
    link_type: int
    time_s: float
    octets: bytes


def _pcap_packets(data: bytes) -> Iterator[_Packet]:
    order, unit_s = _BYTE_ORDERS[data[:4]]
    if len(data) < 24:
        raise DecodeError("recording ends inside its header", offset=len(data))
    # The upper half tells about check sequences.
    link_type = unpack_from(f"{order}I", data, 20)[0] & 0xFFFF
    pos = 24
    while pos + 16 <= len(data):
        seconds, fraction, size, _ = unpack_from(f"{order}IIII", data, pos)
        pos += 16
        yield _Packet(link_type, seconds + fraction * unit_s, data[pos : pos + size])
        pos += size


def _pcapng_packets(data: bytes) -> Iterator[_Packet]:
    order, pos = "<", 0
    interfaces: list[tuple[int, float]] = []
    while pos + 12 <= len(data):
        if data[pos : pos + 4] == _SECTION:
            order = ">" if data[pos + 8 : pos + 12] == b"\x1a\x2b\x3c\x4d" else "<"
            interfaces = []
        kind, size = unpack_from(f"{order}II", data, pos)
        if size < 12 or size % 4:
            raise DecodeError("length of a block is malformed", offset=pos + 4)
        body = data[pos + 8 : pos + size - 4]
        if kind == _INTERFACE and len(body) >= 8:
            interfaces.append((unpack_from(f"{order}H", body)[0], _unit(body, order)))
        elif kind == _ENHANCED and len(body) >= 20:
            index, high, low, kept, _ = unpack_from(f"{order}IIIII", body)
            if index >= len(interfaces):
                raise DecodeError("packet of an unknown interface", offset=pos + 8)
            link_type, unit_s = interfaces[index]
            time_s = ((high << 32) | low) * unit_s
            yield _Packet(link_type, time_s, body[20 : 20 + kept])
        elif kind == _SIMPLE and len(body) >= 4 and interfaces:
            original = unpack_from(f"{order}I", body)[0]
            yield _Packet(interfaces[0][0], 0.0, body[4 : 4 + original])
        pos += size


def _unit(body: bytes, order: str) -> float:
    """The unit of time of an interface, from its options."""
    pos = 8
    while pos + 4 <= len(body):
        code, size = unpack_from(f"{order}HH", body, pos)
        if code == _RESOLUTION_OPTION and size == 1 and pos + 4 < len(body):
            power = body[pos + 4]
            base = 2.0 if power & 0x80 else 10.0
            return float(base ** -(power & 0x7F))
        pos += 4 + size + -size % 4
    return 1e-6


class _Segment(NamedTuple):
    source: tuple[bytes, int]
    destination: tuple[bytes, int]
    sequence: int
    is_syn: bool
    payload: bytes


def _ethernet(packet: bytes) -> tuple[int, bytes]:
    pos = 12
    kind = unpack_from(">H", packet, pos)[0]
    while kind in {0x8100, 0x88A8}:
        pos += 4
        kind = unpack_from(">H", packet, pos)[0]
    return kind, packet[pos + 2 :]


def _raw(packet: bytes) -> tuple[int, bytes]:
    return (0x86DD if packet[:1] and packet[0] >> 4 == 6 else 0x0800), packet


def _linux_cooked(packet: bytes) -> tuple[int, bytes]:
    return unpack_from(">H", packet, 14)[0], packet[16:]


_LINK_LAYERS: Mapping[int, Callable[[bytes], tuple[int, bytes]]] = {
    1: _ethernet,
    101: _raw,
    113: _linux_cooked,
}


def _segment_of(packet: _Packet) -> _Segment | str:
    """Give the TCP segment of a packet, or why it has none."""
    unpack_link = _LINK_LAYERS.get(packet.link_type)
    if unpack_link is None:
        return f"link layer {packet.link_type} is not known"
    try:
        kind, octets = unpack_link(packet.octets)
        if kind == 0x0800:
            return _ipv4(octets)
        return _ipv6(octets) if kind == 0x86DD else "not IP"
    except (struct.error, IndexError):
        return "cut short"


def _ipv4(octets: bytes) -> _Segment | str:
    total, fragment = unpack_from(">H2xH", octets, 2)
    if octets[9] != 6:
        return "not TCP"
    if fragment & 0x3FFF:
        return "fragment"
    header = (octets[0] & 0x0F) * 4
    # Offloading leaves the total empty; short frames are filled up.
    return _tcp(octets[12:16], octets[16:20], octets[header : total or None])


def _ipv6(octets: bytes) -> _Segment | str:
    size, following = unpack_from(">HB", octets, 4)
    pos, end = 40, 40 + size if size else len(octets)
    # Hop-by-hop, routing and destination options stand before the segment.
    while following in {0, 43, 60}:
        following, units = unpack_from(">BB", octets, pos)
        pos += 8 * (units + 1)
    if following == 44:
        return "fragment"
    if following != 6:
        return "not TCP"
    return _tcp(octets[8:24], octets[24:40], octets[pos:end])


def _tcp(source: bytes, destination: bytes, octets: bytes) -> _Segment:
    source_port, destination_port, sequence = unpack_from(">HHI", octets)
    offset, flags = unpack_from(">BB", octets, 12)
    return _Segment(
        (source, source_port),
        (destination, destination_port),
        sequence,
        bool(flags & 0x02),
        octets[(offset >> 4) * 4 :],
    )


@dataclass(slots=True)
class _Flow:
    """What one side of one connection sent, by place in the stream."""

    source: str
    destination: str
    first_packet: int
    base: int
    has_syn: bool
    pieces: list[tuple[int, Chunk]] = field(default_factory=list)

    def place(self, sequence: int) -> int:
        """The place of a sequence number, which counts in 32 bits and starts over."""
        near = self.pieces[-1][0] if self.pieces else 0
        ahead = (sequence - self.base - near + 2**31) % 2**32 - 2**31
        return near + ahead

    def stretches(self) -> Iterator[Stretch]:
        """Put the pieces together; what was sent twice is kept once."""
        chunks: list[Chunk] = []
        is_late, at = not self.has_syn, 0
        for place, chunk in sorted(self.pieces, key=lambda each: each[0]):
            if place > at:
                if chunks:
                    yield self._stretch(chunks, is_late)
                chunks, is_late = [], True
            begin = max(at - place, 0) if chunks else 0
            fresh = chunk.octets[begin:]
            at = max(at, place + len(chunk.octets)) if chunks else place + len(fresh)
            if fresh:
                chunks.append(
                    Chunk(packet=chunk.packet, time_s=chunk.time_s, octets=fresh)
                )
        if chunks:
            yield self._stretch(chunks, is_late)

    def _stretch(self, chunks: list[Chunk], is_late: bool) -> Stretch:
        return Stretch(
            source=self.source,
            destination=self.destination,
            chunks=tuple(chunks),
            begins_late=is_late,
        )


class _Flows:
    """The connections of a recording, each side apart."""

    def __init__(self) -> None:
        self._open: dict[tuple[tuple[bytes, int], tuple[bytes, int]], _Flow] = {}
        self._all: list[_Flow] = []
        self._skipped: dict[str, int] = {}

    def take(self, number: int, packet: _Packet) -> None:
        """Add a packet to its flow."""
        segment = _segment_of(packet)
        if isinstance(segment, str):
            self._skip(segment)
            return
        key = (segment.source, segment.destination)
        flow = self._open.get(key)
        # The sequence number of the first byte is one after that of the SYN.
        base = (segment.sequence + segment.is_syn) % 2**32
        if flow is None or (segment.is_syn and flow.base != base):
            if len(self._all) >= FLOWS_MAX:
                self._skip(f"of more than {FLOWS_MAX} flows")
                return
            flow = _Flow(
                _address(segment.source),
                _address(segment.destination),
                number,
                base,
                segment.is_syn,
            )
            self._open[key] = flow
            self._all.append(flow)
        if segment.payload:
            chunk = Chunk(packet=number, time_s=packet.time_s, octets=segment.payload)
            flow.pieces.append((flow.place(base), chunk))

    def finish(self) -> Capture:
        """Give the stretches of all flows."""
        stretches = [each for flow in self._all for each in flow.stretches()]
        stretches.sort(key=lambda each: min(c.packet for c in each.chunks))
        return Capture(stretches=tuple(stretches), skipped=self._skipped)

    def _skip(self, why: str) -> None:
        self._skipped[why] = self._skipped.get(why, 0) + 1


def _address(end: tuple[bytes, int]) -> str:
    host, port = end
    text = str(ip_address(host)) if len(host) in {4, 16} else "?"
    return f"[{text}]:{port}" if ":" in text else f"{text}:{port}"
