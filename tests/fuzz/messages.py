"""Fuzz targets of ISO 8583 messages, framings and transport headers.

Each takes bytes and returns, or raises what must never be raised: anything but a
refusal, a message that is not built again as it came, two lanes that disagree. Run one
with coverage guidance, for a while::

    python -m tests.fuzz.messages iso8583 -max_total_time=60 var/fuzz/iso8583

The folder collects what reached new code. ``test_messages.py`` runs all of them
shortly, on the seeds and on mutations of the seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache

from isoswitch.codecs import headers
from isoswitch.codecs.canonical.codes import ResponseCode
from isoswitch.codecs.canonical.errors import DecodeError, EncodeError, PeerError
from isoswitch.codecs.canonical.transaction import Outcome
from isoswitch.codecs.dialects.registry import CARD_LINKS, CARD_TERMINALS, get_dialect
from isoswitch.codecs.framing import FRAMINGS, get_framing
from isoswitch.codecs.iso8583.codec import Codec
from isoswitch.codecs.iso8583.specs import get_codec, get_spec, spec_names
from isoswitch.switch.keys import dedup_key
from tests.codecs.iso8583.samples import fault_of_fields
from tests.fuzz.clock import CLOCK

Target = Callable[[bytes], None]

NAMES = spec_names()
CARD_NAMES = (*CARD_LINKS, *CARD_TERMINALS)
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
REFUSED = Outcome.declined(ResponseCode.FORMAT_ERROR, "fuzzed")
HEADER_NAMES = (*headers.HEADERS, "fixed:21")


def fuzz_iso8583(data: bytes) -> None:
    """The first byte chooses the layout; a good message is built again."""
    if not data:
        return
    name = NAMES[data[0] % len(NAMES)]
    _check_message(get_codec(name), data[1:])


def fuzz_lanes(data: bytes) -> None:
    """A codec that was taught, a new one, and the fields one by one say the same."""
    if not data:
        return
    name = NAMES[data[0] % len(NAMES)]
    taught, new = get_codec(name), _untaught(name)
    new.forget()
    verdict = _verdict(new, data[1:])
    assert _verdict(taught, data[1:]) == verdict, name
    if new.has_mti(data[1:]):
        fault = None if len(verdict) == 2 else verdict
        assert fault_of_fields(new, data[1:]) == fault, name
    if len(verdict) == 2:
        taught.teach(data[1:])
        assert _verdict(taught, data[1:]) == verdict, name


def fuzz_framing(data: bytes) -> None:
    """The first byte chooses the framing, the second where the stream is cut."""
    if len(data) < 2:
        return
    framing = get_framing(FRAMINGS[data[0] % len(FRAMINGS)])
    stream, cut = data[2:], data[1]
    whole = _frames(framing.decoder().feed, [stream])
    pieces = _frames(framing.decoder().feed, [stream[:cut], stream[cut:]])
    assert whole == pieces


def fuzz_headers(data: bytes) -> None:
    """The first byte chooses the header; what is parted is joined again."""
    if not data:
        return
    name = HEADER_NAMES[data[0] % len(HEADER_NAMES)]
    try:
        header, message = headers.split(name, data[1:])
    except PeerError:
        return
    assert header + message == data[1:]
    headers.swap(name, header)


def fuzz_cards(data: bytes) -> None:
    """The first byte chooses cain or caaa; what cannot be read is told so."""
    if not data:
        return
    dialect = get_dialect(CARD_NAMES[data[0] % len(CARD_NAMES)])
    try:
        message = CLOCK.timed(dialect.codec.decode, data[1:])
    except DecodeError as fault:
        if dialect.rejection is not None:
            dialect.rejection(data[1:], fault, created_at=NOW)
        return
    message.describe()
    message.masked()
    with suppress(DecodeError):
        txn = dialect.to_transaction(message, reference=NOW, currency="978")
        dedup_key(message.mti, txn)
    with suppress(EncodeError):
        answer = dialect.to_response(message, REFUSED, extra={37: "000100000002"})
        dialect.codec.decode(answer.raw)


TARGETS: Mapping[str, Target] = {
    "iso8583": fuzz_iso8583,
    "cards": fuzz_cards,
    "lanes": fuzz_lanes,
    "framing": fuzz_framing,
    "headers": fuzz_headers,
}


@cache
def _untaught(name: str) -> Codec:
    return Codec(get_spec(name))


def _verdict(codec: Codec, raw: bytes) -> tuple[object, ...]:
    """Type and values of a message, or the place of the error and its reason."""
    try:
        message = CLOCK.timed(codec.decode, raw)
    except DecodeError as exc:
        return exc.field, exc.offset, exc.reason
    return message.mti, message.values()


def _check_message(codec: Codec, raw: bytes) -> None:
    try:
        message = CLOCK.timed(codec.decode, raw)
    except DecodeError:
        return
    values = message.values()
    again = codec.build(message.mti, values)
    # Bitmaps may be sent though empty, and hexadecimal in either case.
    assert codec.decode(again.raw).values() == values
    for de in message:
        ours = again.raw[again.offset(de) : again.end(de)]
        assert ours.upper() == raw[message.offset(de) : message.end(de)].upper(), de
    message.describe()
    message.masked()


def _frames(
    feed: Callable[[bytes], list[bytes]], pieces: list[bytes]
) -> list[bytes] | tuple[str, int]:
    found = []
    try:
        for piece in pieces:
            found += CLOCK.timed(feed, piece)
    except DecodeError as exc:
        return exc.reason, exc.offset
    return found
