"""What travels between a client and the crypto process.

Frames in both directions, any number in flight. A frame holds what has gathered, one
message or many, so that all of it is cut out and decoded at once::

    offset  size  meaning
    0       4     length of the messages, big-endian
    4       5     MessagePack's sign of an array: 0xDD and their number, big-endian
    9       n     the messages: [number, [command, ...]] or [number, status, results]

Requests of one connection are answered in their order, grouped in other frames or in
the same, and are to be paired by their number. A reply other than OK has no results;
its reason is prose for the log of the client.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import IntEnum
from struct import Struct

import msgspec

from isoswitch.codecs.canonical.errors import (
    HsmError,
    HsmUnavailable,
    KeyPending,
    KeyRefused,
    MacMismatch,
    NotSupported,
    PinBlockInvalid,
    VerificationFailed,
)
from isoswitch.hsm.port import AnyCommand


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
    KEY_PENDING = 8


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
    KeyPending: Status.KEY_PENDING,
    KeyRefused: Status.KEY_REFUSED,
    HsmUnavailable: Status.UNAVAILABLE,
    NotSupported: Status.NOT_SUPPORTED,
    HsmError: Status.REFUSED,
}
_ERROR_OF = {status: error for error, status in STATUS_OF.items()}

_HEADER = Struct(">IBI")
_LENGTH_BYTES = 4
_ARRAY_32 = 0xDD
_encoder = msgspec.msgpack.Encoder()
_request_decoder = msgspec.msgpack.Decoder(list[Request])
_reply_decoder = msgspec.msgpack.Decoder(list[Reply])


def encode(message: Request | Reply) -> bytes:
    """Give a message as it stands in a frame."""
    return _encoder.encode(message)


def frame(messages: Sequence[bytes], *, bytes_max: int) -> bytes:
    """Give the frames that hold these messages, none of which is over the limit."""
    together = b"".join(messages)
    if len(together) > bytes_max:
        middle = len(messages) // 2
        assert middle, "a message alone fits into a frame"
        return frame(messages[:middle], bytes_max=bytes_max) + frame(
            messages[middle:], bytes_max=bytes_max
        )
    return _HEADER.pack(len(together), _ARRAY_32, len(messages)) + together


def decode_requests(body: bytes) -> list[Request]:
    """Read the requests of a frame.

    Raises
    ------
    HsmError
        The bytes are no requests; the message does not quote them.
    """
    try:
        return _request_decoder.decode(body)
    except (msgspec.MsgspecError, RecursionError):
        raise HsmError("the frame holds no requests") from None


def decode_replies(body: bytes) -> list[Reply]:
    """Read the replies of a frame.

    Raises
    ------
    HsmError
        The bytes are no replies.
    """
    try:
        return _reply_decoder.decode(body)
    except (msgspec.MsgspecError, RecursionError):
        raise HsmError("the frame holds no replies") from None


def reply_of(number: int, error: HsmError | VerificationFailed) -> Reply:
    """Give the reply that carries an error."""
    status = next(
        status for kind, status in STATUS_OF.items() if isinstance(error, kind)
    )
    return Reply(number, status, [], str(error))


class FrameBuffer:
    """Cuts a stream into frame bodies: the array that a frame's messages make.

    Examples
    --------
    >>> frames = FrameBuffer(bytes_max=16)
    >>> list(frames.feed(b"\\0\\0\\0\\2" + b"\\xdd\\0\\0\\0\\2" + b"ab" + b"\\0\\0"))
    [b'\\xdd\\x00\\x00\\x00\\x02ab']
    >>> list(frames.feed(b"\\0\\1" + b"\\xdd\\0\\0\\0\\1" + b"c"))
    [b'\\xdd\\x00\\x00\\x00\\x01c']
    """

    def __init__(self, *, bytes_max: int) -> None:
        self._bytes_max = bytes_max
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
        while (messages := start + _HEADER.size) <= stop:
            length, _, _ = _HEADER.unpack_from(data, start)
            if length > self._bytes_max:
                raise HsmError("a frame announces more bytes than allowed")
            if messages + length > stop:
                break
            body = start + _LENGTH_BYTES
            start = messages + length
            yield data[body:start]
        self._rest = data[start:]
