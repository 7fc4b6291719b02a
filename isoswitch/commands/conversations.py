"""From an input to what was said in it: conversations, how they speak, their payloads.

A message typed in is a conversation of one payload. A recording holds one for each
server; both sides of it speak alike, whoever began.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from isoswitch.codecs.canonical.errors import DecodeError
from isoswitch.codecs.captures import Capture, Stretch, is_capture, read_capture
from isoswitch.codecs.detection import (
    Detection,
    Profile,
    Undetected,
    cut_stream,
    detect,
)
from isoswitch.codecs.framing import FRAME_BYTES_MAX, FrameDecoder, get_framing
from isoswitch.codecs.iso8583.codec import Codec
from isoswitch.commands.console import Failure
from isoswitch.commands.inputs import interpretations

LATE_STARTS_MAX = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the user says about how the messages were sent; None is unknown."""

    framing: str | None = None
    header: str | None = None
    dialect: Codec | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One payload, and where it was heard; or what became of the stream there."""

    payload: bytes = field(default=b"", repr=False)
    packet: int = 0
    time_s: float = 0.0
    source: str = ""
    destination: str = ""
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """Payloads in the order they were sent, and how they were read, if at all."""

    heard: tuple[Heard, ...]
    detection: Detection | None
    fault: Undetected | None = None


def find_conversations(
    data: bytes, known: Known
) -> tuple[list[Conversation], list[str]]:
    """Give the conversations of an input, and what was left out of it."""
    if is_capture(data):
        try:
            capture = read_capture(data)
        except DecodeError as fault:
            fix = "save it again with Wireshark or editcap, as pcap"
            raise Failure(f"the recording is broken: {fault}", fix=fix) from None
        found = [
            _overhear(stretches, known) for stretches in _by_server(capture.stretches)
        ]
        return found, list(_notes(capture))
    return [_read(data, known)], []


def _read(data: bytes, known: Known) -> Conversation:
    """Read typed or piped bytes as the first thing that makes sense."""
    faults = []
    for may_skip in (False, True):
        for streams in interpretations(data):
            try:
                found = _detect(streams, known, may_skip=may_skip)
            except Undetected as fault:
                faults.append(fault)
                continue
            profile = found.best.profile
            heard = [each for stream in streams for each in _typed(profile, stream)]
            return Conversation(heard=tuple(heard), detection=found)
    nearest = next((each for each in faults if each.near), Undetected(near=()))
    return Conversation(heard=(), detection=None, fault=nearest)


def _overhear(stretches: Sequence[Stretch], known: Known) -> Conversation:
    """Read the stretches of one server's connections."""
    samples = [each.octets for each in stretches if not each.begins_late]
    for stretch in stretches:
        if stretch.begins_late:
            samples += _late_starts(stretch)
    try:
        found = _detect(samples, known)
    except Undetected as fault:
        return Conversation(heard=(), detection=None, fault=fault)
    profile = found.best.profile
    heard = [each for stretch in stretches for each in _frames(profile, stretch)]
    heard.sort(key=lambda each: each.packet)
    return Conversation(heard=tuple(heard), detection=found)


def _detect(
    streams: Sequence[bytes], known: Known, *, may_skip: bool = True
) -> Detection:
    return detect(
        streams,
        framing=known.framing,
        header=known.header,
        dialect=known.dialect,
        may_skip=may_skip,
    )


def _typed(profile: Profile, stream: bytes) -> Iterator[Heard]:
    """Cut what was typed or piped into payloads."""
    if not profile.framing:
        yield Heard(payload=stream)
        return
    payloads, fault = cut_stream(profile.framing, stream)
    yield from (Heard(payload=payload) for payload in payloads)
    if fault is not None:
        yield Heard(fault=str(fault))


def _frames(profile: Profile, stretch: Stretch) -> Iterator[Heard]:
    """Cut a stretch into payloads, from where the first of them can be read."""
    first = _first_chunk(profile, stretch) if stretch.begins_late else 0
    decoder = _decoder(profile)
    place = Heard(source=stretch.source, destination=stretch.destination)
    for chunk in stretch.chunks[first:]:
        place = replace(place, packet=chunk.packet, time_s=chunk.time_s)
        try:
            payloads = decoder.feed(chunk.octets)
        except DecodeError as fault:
            yield replace(place, fault=f"the stream is lost here: {fault.reason}")
            return
        for payload in filter(None, payloads):
            yield replace(place, payload=payload)
    if decoder.has_partial:
        yield replace(place, fault="the recording ends inside a frame")


def _first_chunk(profile: Profile, stretch: Stretch) -> int:
    """Find the packet with which a message begins, after a gap."""
    for first in range(min(LATE_STARTS_MAX, len(stretch.chunks))):
        rest = b"".join(chunk.octets for chunk in stretch.chunks[first:])
        try:
            payloads = _decoder(profile).feed(rest[:FRAME_BYTES_MAX])
            profile.read(next(filter(None, payloads), b""))
        except DecodeError:
            continue
        return first
    return 0


def _late_starts(stretch: Stretch) -> list[bytes]:
    """The places at which a message may begin when the beginning is missing."""
    chunks = stretch.chunks
    return [
        b"".join(chunk.octets for chunk in chunks[first:])
        for first in range(min(3, len(chunks)))
    ]


def _decoder(profile: Profile) -> FrameDecoder:
    # In a recording every packet is a frame where the bytes have no framing.
    if not profile.framing:
        return _EveryChunk(FRAME_BYTES_MAX)
    return get_framing(profile.framing).decoder(FRAME_BYTES_MAX)


class _EveryChunk(FrameDecoder):
    """Takes all that is fed at once for one payload."""

    def _cut(self, buffer: bytes, pos: int) -> tuple[bytes, int] | None:
        return buffer[pos:], len(buffer)


def _by_server(stretches: Iterable[Stretch]) -> Iterator[list[Stretch]]:
    """Put together what was said with one server: the end with the lower port."""
    servers: dict[str, list[Stretch]] = {}
    for stretch in stretches:
        server = min(stretch.source, stretch.destination, key=_port)
        servers.setdefault(server, []).append(stretch)
    yield from servers.values()


def _port(end: str) -> tuple[int, str]:
    return int(end.rpartition(":")[2]), end


def _notes(capture: Capture) -> Iterator[str]:
    if not capture.stretches:
        yield "no TCP payload in this recording"
    for why, count in capture.skipped.items():
        yield f"{count} packets left out: {why}"


def failure_of(fault: Undetected) -> Failure:
    """Say what came closest and what to try."""
    fix = "name what you know: --framing, --header, --dialect; `isoswitch dialect list`"
    return Failure(str(fault), fix=fix)
