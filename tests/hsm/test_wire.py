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
    FrameBuffer,
    Reply,
    Request,
    Status,
    decode_replies,
    decode_requests,
    encode,
    frame,
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


BYTES_MAX = 1000


def bodies_of(stream: bytes) -> list[bytes]:
    return list(FrameBuffer(bytes_max=BYTES_MAX).feed(stream))


def body_of(*messages: Request | Reply) -> bytes:
    (body,) = bodies_of(frame([*map(encode, messages)], bytes_max=BYTES_MAX))
    return body


def test_requests_and_replies_arrive_as_they_were() -> None:
    assert decode_requests(body_of(REQUEST)) == [REQUEST]
    replies = [Reply(7, Status.OK, [b"", b"mac"]), Reply(8, Status.REFUSED, [], "no")]
    assert decode_replies(body_of(*replies)) == replies


def test_the_layout_of_a_frame() -> None:
    stream = frame([b"\xc0", b"\xc2"], bytes_max=2)
    assert stream.hex() == "00000002" + "dd00000002" + "c0" + "c2"


@given(
    sizes=st.lists(st.integers(min_value=0, max_value=BYTES_MAX - 50), min_size=1),
)
def test_what_is_over_the_limit_together_leaves_in_several_frames(
    sizes: list[int],
) -> None:
    replies = [
        Reply(number, Status.OK, [bytes(size)]) for number, size in enumerate(sizes)
    ]
    stream = frame([*map(encode, replies)], bytes_max=BYTES_MAX)
    arrived = [decode_replies(body) for body in bodies_of(stream)]
    assert [reply for each in arrived for reply in each] == replies


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
    (reply,) = decode_replies(body_of(reply_of(1, error)))
    with pytest.raises(type(error)) as arrived:
        reply.unwrap()
    assert type(arrived.value) is type(error)
    assert str(arrived.value) == str(error)


@given(st.binary())
def test_random_bytes_are_refused_unquoted(body: bytes) -> None:
    for decode in (decode_requests, decode_replies):
        with pytest.raises(HsmError) as caught:
            decode(body)
        assert str(caught.value).startswith("the frame holds no ")


def test_every_truncated_request_is_refused() -> None:
    body = body_of(REQUEST)
    for end in range(len(body)):
        with pytest.raises(HsmError):
            decode_requests(body[:end])


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(HsmError):
        decode_requests(b"\x91\x92\x01" + b"\x91" * 60_000)


def test_an_unknown_command_is_refused() -> None:
    body = body_of(REQUEST).replace(b"VerifyMac", b"ExportKey")
    with pytest.raises(HsmError):
        decode_requests(body)


@given(
    counts=st.lists(st.integers(min_value=1, max_value=4), max_size=6),
    cuts=st.lists(st.integers(min_value=1, max_value=30), max_size=8),
)
def test_frames_are_found_however_the_stream_is_cut(
    counts: list[int], cuts: list[int]
) -> None:
    sent = [frame([b"\xc0"] * count, bytes_max=20) for count in counts]
    stream = b"".join(sent)
    frames = FrameBuffer(bytes_max=20)
    found: list[bytes] = []
    for cut in cuts:
        found += frames.feed(stream[:cut])
        stream = stream[cut:]
    found += frames.feed(stream)
    assert found == [each[4:] for each in sent]


def test_a_frame_over_the_limit_is_refused_before_it_arrives() -> None:
    frames = FrameBuffer(bytes_max=20)
    with pytest.raises(HsmError):
        list(frames.feed(bytes.fromhex("00000015dd00000001")))
