"""Finding out how somebody speaks: framing, header and dialect of unknown bytes.

Every combination that reads the bytes strictly and to the last byte is a candidate.
Candidates are weighed by how surprising what they read is (``surprise``), together
with what their framing and header leave open. The best is believed as far as it is
ahead of the next one that reads something else, and of mere noise; dialects that read
the same fields and values are a tie, and are told as one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import islice, zip_longest
from typing import Literal

from isoswitch.codecs.canonical.errors import DecodeError
from isoswitch.codecs.framing import FRAME_BYTES_MAX, FRAMINGS, get_framing
from isoswitch.codecs.headers import split
from isoswitch.codecs.iso8583.codec import Codec
from isoswitch.codecs.iso8583.compiled import KNOWN_MTIS
from isoswitch.codecs.iso8583.message import Message
from isoswitch.codecs.iso8583.specs import get_codec, get_spec, spec_names
from isoswitch.codecs.surprise import DOUBT_BITS, OCTET_BITS, surprise_of

Confidence = Literal["sure", "likely", "unsure"]

STREAM_BYTES_MAX = 1_000_000
SAMPLES_MAX = 4
SKIPPED_BYTES_MAX = 64
NEAR_MISSES_MAX = 5

_SURE_BITS = 20.0
_LIKELY_BITS = 7.0

_PRIOR_BITS: Mapping[str, float] = {
    "iso87-ascii": 0.0,
    "iso87-ascii-raw": 0.5,
    "iso87-bcd": 0.0,
    "iso87-bcd-right": 0.5,
    "iso87-bcd-mixed": 1.0,
    "iso87-ebcdic": 1.0,
    "iso93-ascii": 0.0,
    "iso93-ascii-raw": 0.5,
    "iso93-bcd": 0.0,
    "iso93-bcd-right": 0.5,
    "iso93-ebcdic": 1.0,
    "iso2003": 1.0,
    "iso2003-ascii": 1.0,
}
"""How rare a dialect is, where it is not the usual ``_OTHER_BITS``."""

_OTHER_BITS = 2.0

_FRAMING_BITS: Mapping[str, float] = {"": 1.0, "bin2": 1.0, "ascii4": 2.0}
_OTHER_FRAMING_BITS = 4.0

# The headers of the networks, and who sends them; a TPDU comes with anything.
_HOMES: Mapping[str, str] = {
    "cup-pos": "cup-pos",
    "cups": "cups-interchange",
    "base1": "visa-vip-like",
    "base24": "base24-like",
}
_STRANGE_HOME_BITS = 12.0
_SKIPPED_BITS = 12.0

# Half octets of a header: a zero is to be expected, a letter is not.
_HEADER_DIGIT_BITS: Mapping[str, float] = {"0": 1.0, **dict.fromkeys("123456789", 4.0)}

# What the first octet of a header is, where the layout of the header is no check.
_FIRST_OCTETS: Mapping[str, bytes] = {"tpdu": b"\x60\x68", "cup-pos": b"\x60\x68"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One payload, read: its header, and the message after it."""

    header: bytes
    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How somebody speaks; empty names stand for no framing and no header."""

    framing: str
    header: str
    codec: Codec = field(repr=False)

    @property
    def dialect(self) -> str:
        """The name of the layout of messages."""
        return self.codec.name

    def read(self, payload: bytes) -> Reading:
        """Read one payload strictly; raises DecodeError."""
        header, raw = split(self.header, payload)
        first = _FIRST_OCTETS.get(self.header)
        if first is not None and header[0] not in first:
            raise DecodeError("not this kind of header", field="h")
        return Reading(header=header, message=self.codec.decode(raw))

    def __str__(self) -> str:
        return " + ".join(part for part in self._parts() if part)

    def _parts(self) -> tuple[str, ...]:
        return self.framing, self.header, self.dialect


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A profile that reads the samples, and how well it suits them.

    ``saved_bits`` is how much shorter the samples are to tell in this profile than as
    mere bytes.
    """

    profile: Profile
    saved_bits: float
    evidence: tuple[str, ...]
    doubts: tuple[str, ...]
    meaning: tuple[object, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class NearMiss:
    """A profile that reads the beginning of a payload, and where it fails."""

    profile: Profile
    header: bytes
    message: Message
    fault: DecodeError
    saved_bits: float


@dataclass(frozen=True, kw_only=True)
class Detection:
    """What was found: the candidates that read something else, the best first.

    ``ties`` are profiles that read the same as the best one.
    """

    candidates: tuple[Candidate, ...]
    ties: tuple[Profile, ...]

    @property
    def best(self) -> Candidate:
        """The candidate to believe."""
        return self.candidates[0]

    @cached_property
    def margin_bits(self) -> float:
        """How far the best candidate is ahead of the next, or of mere noise."""
        rivals = [each.saved_bits for each in self.candidates[1:2]]
        return self.best.saved_bits - max([0.0, *rivals])

    @property
    def confidence(self) -> Confidence:
        """The margin in a word."""
        if self.margin_bits >= _SURE_BITS:
            return "sure"
        return "likely" if self.margin_bits >= _LIKELY_BITS else "unsure"


class Undetected(DecodeError):
    """No profile reads the bytes; ``near`` says which came closest, and how far."""

    def __init__(self, near: Sequence[NearMiss]) -> None:
        self.near = tuple(near)
        if not near:
            super().__init__("nothing in it looks like an ISO 8583 message")
            return
        first = near[0]
        reason = f"no dialect reads it; {first.profile} comes closest: "
        super().__init__(
            reason + first.fault.reason,
            field=first.fault.field,
            offset=len(first.header) + first.fault.offset,
        )


def detect(
    streams: Sequence[bytes],
    *,
    framing: str | None = None,
    header: str | None = None,
    dialect: Codec | str | None = None,
    may_skip: bool = True,
) -> Detection:
    """Find out how the sender of some bytes speaks.

    A stream may end inside a frame, as recordings do, where no other way is found.

    Parameters
    ----------
    streams
        Each one a message or some, as they were sent one after the other; both sides
        of a conversation are two streams.
    framing, header, dialect
        What is known already; ``""`` is none.
    may_skip
        Whether some bytes of no known kind may stand before a message.

    Raises
    ------
    Undetected
        Nothing reads any of it.

    Examples
    --------
    >>> from isoswitch.codecs.framing import get_framing
    >>> message = get_codec("iso87-ascii").build("0800", {11: "000001", 70: "301"})
    >>> found = detect([get_framing("bin2").encode(message.raw)])
    >>> str(found.best.profile), found.confidence
    ('bin2 + iso87-ascii', 'sure')
    """
    streams = [stream[:STREAM_BYTES_MAX] for stream in streams if stream]
    framings = ("", *FRAMINGS) if framing is None else (framing,)
    headers = ("", "tpdu", *_HOMES) if header is None else (header,)
    skips = tuple(f"fixed:{size}" for size in range(1, SKIPPED_BYTES_MAX + 1))
    whole, begun = (
        {
            name: payloads
            for name in framings
            if (payloads := _samples(streams, name, may_be_cut=may_be_cut))
        }
        for may_be_cut in (False, True)
    )
    attempts = [(whole, headers), (begun, headers)]
    if header is None and may_skip:
        attempts.append((begun, skips))
    for cuts, names in attempts:
        found = [
            candidate
            for profile, payloads in _profiles(cuts, names, dialect)
            if (candidate := _weigh(profile, payloads)) is not None
        ]
        if found:
            return _rank(found)
    raise Undetected(
        _near_misses(_profiles(whole, headers, dialect))
        or [
            each
            for each in _near_misses(_profiles(whole, skips, dialect))
            if each.saved_bits > _SURE_BITS
        ]
    )


def cut_stream(framing: str, stream: bytes) -> tuple[list[bytes], DecodeError | None]:
    """Give the payloads of a stream without keep-alives, and what is wrong after them.

    Examples
    --------
    >>> payloads, fault = cut_stream("ascii4", b"00040800" b"!!!!")
    >>> payloads, str(fault)
    ([b'0800'], 'field frame, offset 8: length prefix is malformed')
    """
    decoder = get_framing(framing).decoder(FRAME_BYTES_MAX)
    fault = None
    try:
        found = decoder.feed(stream)
    except DecodeError as refused:
        fault = refused
        decoder = get_framing(framing).decoder(FRAME_BYTES_MAX)
        # Up to there the stream is good.
        found = decoder.feed(stream[: refused.offset])
    if fault is None and decoder.has_partial:
        reason = "the input ends inside a frame"
        fault = DecodeError(reason, field="frame", offset=len(stream))
    return [payload for payload in found if payload], fault


def _samples(
    streams: Sequence[bytes], framing: str, *, may_be_cut: bool
) -> list[bytes]:
    """Give the first payloads of the streams, in turns.

    None where a stream is not framed so; where streams may be cut, others count.
    """
    if not framing:
        return list(streams[:SAMPLES_MAX])
    by_stream: list[list[bytes]] = []
    for stream in streams:
        payloads, fault = cut_stream(framing, stream)
        if fault is not None and not may_be_cut:
            return []
        by_stream.append(payloads[:SAMPLES_MAX])
    turns = (payload for turn in zip_longest(*by_stream) for payload in turn if payload)
    return list(islice(turns, SAMPLES_MAX))


def _profiles(
    cuts: Mapping[str, Sequence[bytes]],
    headers: Iterable[str],
    wanted: Codec | str | None,
) -> Iterator[tuple[Profile, Sequence[bytes]]]:
    """Give the profiles in which at least one of the samples begins as it should."""
    for framing, payloads in cuts.items():
        for header in headers:
            starts = {start for each in payloads if (start := _start(header, each))}
            for codec in _codecs(starts, wanted):
                yield Profile(framing=framing, header=header, codec=codec), payloads


def _start(header: str, payload: bytes) -> str:
    """Give how the type indicator after a header is written; empty where none is."""
    first = _FIRST_OCTETS.get(header)
    if first is not None and payload[0] not in first:
        return ""
    try:
        raw = split(header, payload)[1]
    except DecodeError:
        return ""
    for form, mti in (
        ("ascii", raw[:4].decode("latin-1")),
        ("ebcdic", raw[:4].decode("cp500")),
        ("bcd", raw[:2].hex()),
    ):
        if mti in KNOWN_MTIS:
            return form
    return ""


def _codecs(starts: Collection[str], wanted: Codec | str | None) -> Iterator[Codec]:
    """Give the codecs that may be meant; each is compiled when it is needed."""
    if isinstance(wanted, Codec):
        yield wanted
        return
    for name in spec_names() if wanted is None else (wanted,):
        if starts and (wanted is not None or _start_of(name) in starts):
            yield get_codec(name)


@cache
def _start_of(dialect: str) -> str:
    spec = get_spec(dialect)
    if spec.mti == "bcd":
        return "bcd"
    return "ascii" if spec.charset in {"ascii", "latin-1"} else "ebcdic"


def _weigh(profile: Profile, payloads: Sequence[bytes]) -> Candidate | None:
    """Weigh what a profile makes of the samples; None where it reads none of them."""
    saved_bits = -_prior_bits(profile)
    meaning: list[object] = []
    evidence: list[str] = []
    doubts: list[str] = []
    for payload in payloads:
        try:
            reading = profile.read(payload)
        except DecodeError:
            # In a conversation one message may be broken; it tells nothing.
            meaning.append(None)
            saved_bits -= DOUBT_BITS
            continue
        found = surprise_of(reading.message)
        meaning.append((reading.message.mti, reading.message.values()))
        saved_bits += OCTET_BITS * (len(payload) + _overhead(profile, payload))
        saved_bits -= found.bits + _header_bits(reading.header)
        evidence += found.evidence
        doubts += found.doubts
    if not any(meaning):
        return None
    return Candidate(
        profile=profile,
        saved_bits=saved_bits,
        evidence=(*_structure(profile), *dict.fromkeys(evidence)),
        doubts=tuple(dict.fromkeys(doubts)),
        meaning=tuple(meaning),
    )


def _prior_bits(profile: Profile) -> float:
    bits = _PRIOR_BITS.get(profile.dialect, _OTHER_BITS)
    bits += _FRAMING_BITS.get(profile.framing, _OTHER_FRAMING_BITS)
    if profile.header.startswith("fixed:"):
        bits += _SKIPPED_BITS
    elif _HOMES.get(profile.header, profile.dialect) != profile.dialect:
        bits += _STRANGE_HOME_BITS
    return bits


def _overhead(profile: Profile, payload: bytes) -> int:
    """The bytes that the framing adds; what they say follows from the payload."""
    if not profile.framing:
        return 0
    return len(get_framing(profile.framing).encode(payload)) - len(payload)


def _header_bits(header: bytes) -> float:
    """Headers are made of packed digits mostly, and of zeros."""
    digits = header.hex()
    return sum(_HEADER_DIGIT_BITS.get(digit, OCTET_BITS / 2 + 1) for digit in digits)


def _structure(profile: Profile) -> Iterator[str]:
    if profile.framing:
        yield f"framing {profile.framing} ends where the bytes end"
    if profile.header.startswith("fixed:"):
        yield f"{profile.header[6:]} bytes before the message are of no known kind"
    elif profile.header:
        yield f"it begins with a header of the kind {profile.header}"


def _rank(found: Iterable[Candidate]) -> Detection:
    """Order candidates, one for each meaning."""
    ranked = sorted(found, key=lambda each: -each.saved_bits)
    best = ranked[0]
    same = [each for each in ranked[1:] if each.meaning == best.meaning]
    others = [each for each in ranked[1:] if each.meaning != best.meaning]
    ties = tuple(each.profile for each in same)
    return Detection(candidates=(best, *others), ties=ties)


def _near_misses(
    profiles: Iterable[tuple[Profile, Sequence[bytes]]],
) -> list[NearMiss]:
    """Give the profiles that get farthest in the first payload."""
    found = [
        miss
        for profile, payloads in profiles
        if (miss := _near_miss(profile, payloads[0])) is not None
    ]
    found.sort(key=lambda each: -each.saved_bits)
    return found[:NEAR_MISSES_MAX]


def _near_miss(profile: Profile, payload: bytes) -> NearMiss | None:
    try:
        header, raw = split(profile.header, payload)
        message, fault = profile.codec.salvage(raw)
        announced, _ = profile.codec.bitmaps.read(raw, profile.codec.mti_end)
    except DecodeError:
        return None
    if fault is None:
        return None
    bits = surprise_of(message, announced).bits
    bits += _prior_bits(profile) + _header_bits(header)
    return NearMiss(
        profile=profile,
        header=header,
        message=message,
        fault=fault,
        saved_bits=OCTET_BITS * (len(header) + len(message.raw)) - bits,
    )
