"""Tracks 1 and 2: forms seen in the field, and nothing shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoswitch.codecs.canonical.errors import DecodeError
from isoswitch.codecs.emv.tracks import (
    decode_track1,
    decode_track2,
    decode_track2_binary,
    encode_track2_binary,
    explain_service_code,
)
from tests.codecs.vectors import attempt

PAN = "4761739001010010"
TRACK1 = f"%B{PAN}^CARDHOLDER/TEST^31122011234567?"

digits = st.text("0123456789", max_size=13)


@pytest.mark.parametrize(
    ("text", "expiry", "service"),
    [
        (f"{PAN}=31122011234567800000", "3112", "201"),
        (f"{PAN}D31122011234567800000", "3112", "201"),
        (f";{PAN}=3112201?", "3112", "201"),
        (f"{PAN}==2011234", "", "201"),
        (f"{PAN}=3112=1234", "3112", ""),
        (f"{PAN}===", "", ""),
        ("12345678=3112201", "3112", "201"),
    ],
    ids=["equals", "D", "sentinels", "no-expiry", "no-service", "neither", "short"],
)
def test_track_2_forms_decode(text: str, expiry: str, service: str) -> None:
    """ISO/IEC 7813, 5.2: a separator stands where a part is absent."""
    track = decode_track2(text)
    assert (track.expiry, track.service_code) == (expiry, service)
    assert track.encode() == text


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("", 0),
        ("476173900101001", 15),
        (f"{PAN}*3112201", 16),
        (f"{PAN}=3112201X", 24),
        (f"{PAN}=3112201?;", 25),
        ("4761739001010010123456=3112201", 22),
        (f"{PAN}=311", 16),
        (f"{PAN}=3112201" + "0" * 30, 0),
    ],
)
def test_what_is_no_track_2_is_refused(text: str, offset: int) -> None:
    with pytest.raises(DecodeError) as refused:
        decode_track2(text)
    assert (refused.value.field, refused.value.offset) == ("35", offset)
    assert PAN not in str(refused.value)


def test_track_1_decodes() -> None:
    track = decode_track1(TRACK1)
    assert track.pan.reveal() == PAN
    assert track.name.reveal() == "CARDHOLDER/TEST"
    assert (track.expiry, track.service_code) == ("3112", "201")
    assert track.discretionary.reveal() == "1234567"
    assert track.encode() == TRACK1
    bare = decode_track1(f"B{PAN}^CARDHOLDER/TEST^^^")
    assert (bare.expiry, bare.service_code) == ("", "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"%B{PAN}^A^3112201",
        f"%B{PAN}^NAME",
        f"{PAN}^NAME^3112201",
        TRACK1 + "X" * 60,
    ],
)
def test_what_is_no_track_1_is_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        decode_track1(text)


@given(st.text("0123456789", min_size=8, max_size=19), digits)
def test_packed_tracks_read_back(pan: str, discretionary: str) -> None:
    text = f"{pan}D3112201{discretionary}"[:37]
    data = bytes.fromhex(text + "F" * (len(text) % 2))
    track = decode_track2_binary(data)
    assert track.pan.reveal() == pan
    assert encode_track2_binary(track) == data


def test_a_text_track_packs() -> None:
    track = decode_track2(f";{PAN}=31122019?")
    assert encode_track2_binary(track).hex().upper() == f"{PAN}D31122019F"


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        (f"{PAN}D3112201FF", 12),
        (f"{PAN}A3112201", 8),
        ("", 0),
        (PAN * 3, 0),
    ],
)
def test_what_is_no_packed_track_is_refused(text: str, offset: int) -> None:
    with pytest.raises(DecodeError) as refused:
        decode_track2_binary(bytes.fromhex(text))
    assert (refused.value.field, refused.value.offset) == ("57", offset)


@given(st.binary(max_size=40))
def test_random_bytes_are_refused_or_read_back(data: bytes) -> None:
    track = attempt(decode_track2_binary, data)
    assert isinstance(track, DecodeError) or encode_track2_binary(track) == data


@given(st.text(max_size=90))
def test_random_text_raises_nothing_else(text: str) -> None:
    for decode in (decode_track1, decode_track2):
        track = attempt(decode, text)
        assert isinstance(track, DecodeError) or track.encode() == text


def test_every_truncation_is_refused_or_reads_back() -> None:
    for size in range(len(TRACK1)):
        track = attempt(decode_track1, TRACK1[:size])
        if isinstance(track, DecodeError):
            assert track.offset <= size
        else:
            assert track.encode() == TRACK1[:size]


def test_a_track_never_shows_clear() -> None:
    track = decode_track1(TRACK1)
    for text in (repr(track), str(track)):
        assert PAN not in text
        assert "CARDHOLDER" not in text


def test_service_codes_are_explained() -> None:
    assert explain_service_code("201") == [
        ("digit 1 = 2", "international, use the chip where possible"),
        ("digit 2 = 0", "normal authorisation"),
        ("digit 3 = 1", "no restrictions"),
    ]
    assert explain_service_code("3")[0][1] == "reserved"
