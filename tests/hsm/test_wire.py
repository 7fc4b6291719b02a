"""Frames between client and crypto process."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoswitch.codecs.canonical.errors import (
    HsmError,
    HsmUnavailable,
    KeyRefused,
    MacMismatch,
    NotSupported,
    PinBlockInvalid,
    VerificationFailed,
)
from isoswitch.hsm.port import CheckHealth, GenerateMac, Splice, VerifyMac
from isoswitch.hsm.wire import (
    PREFIX_BYTES,
    FrameBuffer,
    Reply,
    Request,
    Status,
    decode_reply,
    decode_request,
    encode,
    reply_of,
)

REQUEST = Request(
    7,
    [
        VerifyMac(key="a", data=b"data", mac=bytes(8)),
        GenerateMac(key="b", data=b"data", splice=Splice(offset=3, as_hex=True)),
        CheckHealth(),
    ],
)


def body_of(frame: bytes) -> bytes:
    assert int.from_bytes(frame[:PREFIX_BYTES]) == len(frame) - PREFIX_BYTES
    return frame[PREFIX_BYTES:]


def test_requests_and_replies_arrive_as_they_were() -> None:
    assert decode_request(body_of(encode(REQUEST))) == REQUEST
    reply = Reply(7, Status.OK, [b"", b"mac"])
    assert decode_reply(body_of(encode(reply))) == reply


@pytest.mark.parametrize(
    "error",
    [
        MacMismatch("m"),
        PinBlockInvalid("p"),
        VerificationFailed("v"),
        KeyRefused("k"),
        HsmUnavailable("u"),
        NotSupported("n"),
        HsmError("e"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_arrives_as_its_own_class(error: HsmError) -> None:
    reply = decode_reply(body_of(encode(reply_of(1, error))))
    with pytest.raises(type(error)) as arrived:
        reply.unwrap()
    assert type(arrived.value) is type(error)
    assert str(arrived.value) == str(error)


@given(st.binary())
def test_random_bytes_are_refused_unquoted(body: bytes) -> None:
    for decode in (decode_request, decode_reply):
        with pytest.raises(HsmError) as caught:
            decode(body)
        assert str(caught.value).startswith("the frame holds no ")


def test_every_truncated_request_is_refused() -> None:
    body = body_of(encode(REQUEST))
    for end in range(len(body)):
        with pytest.raises(HsmError):
            decode_request(body[:end])


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(HsmError):
        decode_request(b"\x92\x01" + b"\x91" * 60_000)


def test_an_unknown_command_is_refused() -> None:
    body = body_of(encode(REQUEST)).replace(b"VerifyMac", b"ExportKey")
    with pytest.raises(HsmError):
        decode_request(body)


@given(
    bodies=st.lists(st.binary(max_size=20), max_size=6),
    cuts=st.lists(st.integers(min_value=1, max_value=30), max_size=8),
)
def test_frames_are_found_however_the_stream_is_cut(
    bodies: list[bytes], cuts: list[int]
) -> None:
    stream = b"".join(len(body).to_bytes(PREFIX_BYTES) + body for body in bodies)
    frames = FrameBuffer(frame_bytes_max=20)
    found: list[bytes] = []
    for cut in cuts:
        found += frames.feed(stream[:cut])
        stream = stream[cut:]
    found += frames.feed(stream)
    assert found == bodies


def test_a_frame_over_the_limit_is_refused_before_it_arrives() -> None:
    frames = FrameBuffer(frame_bytes_max=20)
    with pytest.raises(HsmError):
        list(frames.feed(b"\x00\x00\x00\x15"))
