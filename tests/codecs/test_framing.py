"""Frames are cut out of any sequence of pieces, bounded, keep-alives included."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoswitch.codecs.canonical.errors import DecodeError, EncodeError
from isoswitch.codecs.framing import FRAMINGS, get_framing

PAYLOAD = b"0800 test"

# Layouts as jPOS channels and moov network headers write them.
FRAMES = {
    "bin2": b"\x00\x09" + PAYLOAD,
    "bin2_incl": b"\x00\x0b" + PAYLOAD,
    "bin2_trailer": b"\x00\x0a" + PAYLOAD + b"\x03",
    "bin2_le": b"\x09\x00" + PAYLOAD,
    "bin4": b"\x00\x00\x00\x09" + PAYLOAD,
    "bin4_vml": b"\x00\x09\x00\x00" + PAYLOAD,
    "bcd2": b"\x00\x09" + PAYLOAD,
    "ascii4": b"0009" + PAYLOAD,
    "hex4": b"0009" + PAYLOAD,
    "etx": PAYLOAD + b"\x03",
    "stx_lrc": b"\x02\x00\x09" + PAYLOAD + b"\x034",
}

KEEP_ALIVES = {
    "bin2": b"\0\0",
    "bin2_incl": b"\0\0",
    "bin2_trailer": b"\0\0",
    "bin2_le": b"\0\0",
    "bin4": bytes(4),
    "bin4_vml": bytes(4),
    "bcd2": b"\0\0",
    "ascii4": b"0000",
    "hex4": b"0000",
    "etx": b"\x03",
    "stx_lrc": b"\x02\0\0\x03\x03",
}


def test_every_framing_is_pinned() -> None:
    assert set(FRAMES) == set(KEEP_ALIVES) == set(FRAMINGS)


@pytest.mark.parametrize(("name", "frame"), FRAMES.items(), ids=list(FRAMES))
def test_a_payload_is_framed_and_found_again(name: str, frame: bytes) -> None:
    framing = get_framing(name)
    assert framing.encode(PAYLOAD) == frame
    assert framing.decoder().feed(frame) == [PAYLOAD]


@pytest.mark.parametrize(("name", "frame"), KEEP_ALIVES.items(), ids=list(KEEP_ALIVES))
def test_a_frame_of_length_zero_is_a_keep_alive(name: str, frame: bytes) -> None:
    decoder = get_framing(name).decoder()
    assert decoder.feed(frame + FRAMES[name]) == [b"", PAYLOAD]
    assert not decoder.has_partial


@pytest.mark.parametrize("name", FRAMINGS)
def test_frames_arrive_in_any_pieces(name: str) -> None:
    framing = get_framing(name)

    @settings(max_examples=40, deadline=None)
    @given(
        st.lists(st.binary(min_size=1, max_size=40).filter(lambda p: b"\x03" not in p)),
        st.lists(st.integers(1, 30), min_size=1),
    )
    def arrive(payloads: list[bytes], cuts: list[int]) -> None:
        stream = b"".join(map(framing.encode, payloads))
        decoder, found, place = framing.decoder(), [], 0
        while place < len(stream):
            cut = cuts[place % len(cuts)]
            found += decoder.feed(stream[place : place + cut])
            place += cut
        assert found == payloads
        assert not decoder.has_partial

    arrive()


@pytest.mark.parametrize(("name", "frame"), FRAMES.items(), ids=list(FRAMES))
def test_an_unfinished_frame_is_partial(name: str, frame: bytes) -> None:
    for size in range(1, len(frame)):
        decoder = get_framing(name).decoder()
        assert decoder.feed(frame[:size]) == []
        assert decoder.has_partial
        assert decoder.feed(frame[size:]) == [PAYLOAD]


@pytest.mark.parametrize(
    ("name", "stream", "offset"),
    [
        ("bin2", b"\xff\xff12", 0),
        ("bin2", FRAMES["bin2"] + b"\x10\x01", 11),
        ("bin2_incl", b"\x00\x01", 0),
        ("bin2_trailer", b"\x00\x02ab", 3),
        ("bin4", b"\x7f\xff\xff\xff", 0),
        ("bin4_vml", b"\x00\x09\x00\x01", 0),
        ("bcd2", b"\x00\x0a", 0),
        ("ascii4", b"+009", 0),
        ("ascii4", b"9999", 0),
        ("hex4", b"0x09", 0),
        ("hex4", b"FFFF", 0),
        ("etx", b"x" * 4097, 0),
        ("stx_lrc", b"x", 0),
        ("stx_lrc", b"\x02\x00\x0a", 1),
        ("stx_lrc", b"\x02\x99\x99", 1),
        ("stx_lrc", b"\x02\x00\x01axx", 4),
        ("stx_lrc", b"\x02\x00\x01a\x03\x00", 5),
    ],
)
def test_a_bad_frame_is_refused_at_its_place(
    name: str, stream: bytes, offset: int
) -> None:
    with pytest.raises(DecodeError) as refused:
        get_framing(name).decoder().feed(stream)
    assert (refused.value.field, refused.value.offset) == ("frame", offset)


@pytest.mark.parametrize(
    ("name", "size"),
    [("bin2", 65_536), ("ascii4", 10_000), ("bcd2", 10_000), ("stx_lrc", 10_000)],
)
def test_a_payload_too_long_for_its_prefix_is_refused(name: str, size: int) -> None:
    with pytest.raises(EncodeError):
        get_framing(name).encode(bytes(size))


def test_a_payload_with_the_end_mark_is_refused() -> None:
    with pytest.raises(EncodeError):
        get_framing("etx").encode(b"a\x03b")


def test_a_payload_of_the_limit_passes() -> None:
    payload = bytes(4096)
    for name in set(FRAMINGS):
        framing = get_framing(name)
        assert framing.decoder(4096).feed(framing.encode(payload)) == [payload]


def test_an_unknown_framing_is_refused_with_those_that_exist() -> None:
    with pytest.raises(LookupError, match="ascii4"):
        get_framing("bin3")
