"""What travels between a client and the crypto process.

Frames in both directions, any number in flight, answered in the order of requests of
one connection but to be paired by their number::

    offset  size  meaning
    0       4     length of the rest, big-endian
    4       n     MessagePack: [number, [command, ...]] or [number, status, results]

A reply other than OK has no results; its reason is prose for the log of the client.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import IntEnum
from struct import Struct

import msgspec

from isoswitch.codecs.canonical.errors import (
    HsmError,
    HsmUnavailable,
    KeyRefused,
    MacMismatch,
    NotSupported,
    PinBlockInvalid,
    VerificationFailed,
)
from isoswitch.hsm.port import AnyCommand

PREFIX_BYTES = 4


class Status(IntEnum):
    """How a request ended."""

    OK = 0
    VERIFICATION_FAILED = 1
    MAC_MISMATCH = 2
    PIN_BLOCK_INVALID = 3
    KEY_REFUSED = 4
    REFUSED = 5
    UNAVAILABLE = 6
    NOT_SUPPORTED = 7


class Request(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Commands to run in order, and the number that the reply will bear."""

    number: int
    commands: Sequence[AnyCommand]


class Reply(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One result for each command of a request, or why there are none."""

    number: int
    status: Status
    results: list[bytes] = []
    reason: str = ""

    def unwrap(self) -> list[bytes]:
        """Give the results.

        Raises
        ------
        HsmError, VerificationFailed
            What the reply carries instead.
        """
        if self.status is Status.OK:
            return self.results
        raise _ERROR_OF[self.status](self.reason)


# The first class that fits an error decides, so a subclass stands before its base.
STATUS_OF: dict[type[Exception], Status] = {
    MacMismatch: Status.MAC_MISMATCH,
    PinBlockInvalid: Status.PIN_BLOCK_INVALID,
    VerificationFailed: Status.VERIFICATION_FAILED,
    KeyRefused: Status.KEY_REFUSED,
    HsmUnavailable: Status.UNAVAILABLE,
    NotSupported: Status.NOT_SUPPORTED,
    HsmError: Status.REFUSED,
}
_ERROR_OF = {status: error for error, status in STATUS_OF.items()}

_PREFIX = Struct(">I")
_encoder = msgspec.msgpack.Encoder()
_request_decoder = msgspec.msgpack.Decoder(Request)
_reply_decoder = msgspec.msgpack.Decoder(Reply)


def encode(message: Request | Reply) -> bytes:
    """Give the frame of a message."""
    body = _encoder.encode(message)
    return _PREFIX.pack(len(body)) + body


def decode_request(body: bytes) -> Request:
    """Read the body of a request's frame.

    Raises
    ------
    HsmError
        The bytes are no request; the message does not quote them.
    """
    try:
        return _request_decoder.decode(body)
    except (msgspec.MsgspecError, RecursionError):
        raise HsmError("the frame holds no request") from None


def decode_reply(body: bytes) -> Reply:
    """Read the body of a reply's frame.

    Raises
    ------
    HsmError
        The bytes are no reply.
    """
    try:
        return _reply_decoder.decode(body)
    except (msgspec.MsgspecError, RecursionError):
        raise HsmError("the frame holds no reply") from None


def reply_of(number: int, error: HsmError | VerificationFailed) -> Reply:
    """Give the reply that carries an error."""
    status = next(
        status for kind, status in STATUS_OF.items() if isinstance(error, kind)
    )
    return Reply(number, status, [], str(error))


class FrameBuffer:
    """Cuts a stream into frame bodies.

    Examples
    --------
    >>> frames = FrameBuffer(frame_bytes_max=16)
    >>> list(frames.feed(b"\\x00\\x00\\x00\\x02ab\\x00\\x00"))
    [b'ab']
    >>> list(frames.feed(b"\\x00\\x01c"))
    [b'c']
    """

    def __init__(self, *, frame_bytes_max: int) -> None:
        self._frame_bytes_max = frame_bytes_max
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Give the bodies of the frames that data completes.

        Raises
        ------
        HsmError
            A frame announces more than the limit.
        """
        if self._rest:
            data = self._rest + data
        start, stop = 0, len(data)
        while (body := start + PREFIX_BYTES) <= stop:
            (length,) = _PREFIX.unpack_from(data, start)
            if length > self._frame_bytes_max:
                raise HsmError("a frame announces more bytes than allowed")
            if body + length > stop:
                break
            start = body + length
            yield data[body:start]
        self._rest = data[start:]
