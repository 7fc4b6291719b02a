"""Fuzz targets of chip data, tracks, payment codes and composite fields.

Each takes bytes and either returns, or raises what must never be raised: anything but
a refusal, a value that does not encode back, a description that shows a card number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from isoswitch.codecs.canonical.errors import DecodeError
from isoswitch.codecs.composites.networks import LAYOUTS
from isoswitch.codecs.emv.contactless import read_tap
from isoswitch.codecs.emv.de55 import decode_de55
from isoswitch.codecs.emv.describe import describe_tlv
from isoswitch.codecs.emv.tlv import decode_tlv
from isoswitch.codecs.emv.tokens import find_pan, find_token
from isoswitch.codecs.emv.tracks import (
    decode_track1,
    decode_track2,
    decode_track2_binary,
    encode_track2_binary,
)
from isoswitch.codecs.qr.cpm import decode_cpm
from isoswitch.codecs.qr.describe import decode_code, describe_code
from isoswitch.codecs.qr.links import decode_upi
from isoswitch.codecs.qr.mpm import checksum, decode_mpm
from isoswitch.codecs.qr.payment_codes import decode_payment_code
from tests.codecs.vectors import attempt
from tests.fuzz.clock import CLOCK

D = TypeVar("D")
R = TypeVar("R")
Target = Callable[[bytes], None]


def fuzz_tlv(data: bytes) -> None:
    """BER-TLV, nested and flat, and DE 55 around it."""
    for decode in (decode_tlv, decode_de55):
        _round_trip(decode, data, lambda decoded: decoded.encode())
    _round_trip(
        lambda given: decode_tlv(given, is_flat=True),
        data,
        lambda decoded: decoded.encode(),
    )


def fuzz_meaning(data: bytes) -> None:
    """What chip data means, for any chip data."""
    tlv = attempt(decode_tlv, data)
    if isinstance(tlv, DecodeError):
        return
    CLOCK.timed(describe_tlv, tlv)
    read_tap(tlv)
    attempt(find_pan, tlv)
    attempt(find_token, tlv)


def fuzz_tracks(data: bytes) -> None:
    """Tracks as text and packed."""
    text = data.decode("latin-1")
    for decode in (decode_track1, decode_track2):
        _round_trip(decode, text, lambda track: track.encode())
    _round_trip(decode_track2_binary, data, encode_track2_binary)


def fuzz_merchant_codes(data: bytes) -> None:
    """Merchant-presented codes, also with their CRC mended."""
    text = data.decode("utf-8", "replace")
    mended = f"000201{text}6304"
    for payload in (text, mended + checksum(mended)):
        _round_trip(decode_mpm, payload, lambda code: code.encode())


def fuzz_other_codes(data: bytes) -> None:
    """Consumer codes, payment codes, links, and their recognition."""
    text = data.decode("latin-1")
    for decode in (decode_cpm, decode_payment_code, decode_upi, decode_code):
        _round_trip(decode, text, lambda code: code.encode())
    code = attempt(decode_code, text)
    if not isinstance(code, DecodeError):
        attempt(describe_code, code)


def fuzz_composites(data: bytes) -> None:
    """The composite field of the network that the first byte chooses."""
    places = sorted(LAYOUTS)
    place = places[data[0] % len(places)] if data else places[0]
    body = data[1:]
    for value in (body, body.decode("latin-1")):
        _round_trip(LAYOUTS[place].decode, value, lambda composite: composite.encode())
        composite = attempt(LAYOUTS[place].decode, value)
        if not isinstance(composite, DecodeError):
            composite.describe()


TARGETS: Mapping[str, Target] = {
    "tlv": fuzz_tlv,
    "meaning": fuzz_meaning,
    "tracks": fuzz_tracks,
    "merchant-codes": fuzz_merchant_codes,
    "other-codes": fuzz_other_codes,
    "composites": fuzz_composites,
}


def _round_trip(decode: Callable[[D], R], given: D, encode: Callable[[R], D]) -> None:
    decoded = CLOCK.timed(lambda data: attempt(decode, data), given)
    is_refused = isinstance(decoded, DecodeError)
    assert is_refused or encode(decoded) == given, "does not encode back"
