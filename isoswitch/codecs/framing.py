"""Framings: where one message ends and the next begins in a stream of bytes.

    name          on the wire
    bin2          length 2 | payload
    bin2_incl     length 2 | payload                   the length counts itself
    bin2_trailer  length 2 | payload | 03              the length counts the trailer
    bin2_le       length 2, little endian | payload
    bin4          length 4 | payload
    bin4_vml      length 2 | 0000 | payload
    bcd2          length 2, packed digits | payload
    ascii4        length 4, digits | payload
    hex4          length 4, hexadecimal digits | payload
    etx           payload | 03
    stx_lrc       02 | length 2, packed digits | payload | 03 | LRC

A decoder is fed whatever arrives and gives back whole payloads; a frame of length
zero is a keep-alive and comes back as ``b""``. It raises at once when a prefix
announces more than the limit, so it never holds more than one frame of bytes.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import reduce
from operator import xor
from types import MappingProxyType
from typing import Literal

from isoswitch.codecs.canonical.errors import DecodeError, EncodeError

FRAME_BYTES_MAX = 65_535
"""The hard limit of a payload, whatever a caller allows."""

_STX, _ETX = b"\x02", b"\x03"


class FrameDecoder(ABC):
    """Cuts one stream into payloads; after an error the stream is lost.

    Examples
    --------
    >>> decoder = get_framing("bin2").decoder()
    >>> decoder.feed(b"\\x00\\x0408"), decoder.has_partial
    ([], True)
    >>> decoder.feed(b"00\\x00\\x00"), decoder.has_partial
    ([b'0800', b''], False)
    """

    def __init__(self, frame_bytes_max: int) -> None:
        self._limit = min(frame_bytes_max, FRAME_BYTES_MAX)
        self._buffer = bytearray()
        self._consumed = 0

    @property
    def has_partial(self) -> bool:
        """Whether bytes of an unfinished frame are waiting."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """Take what has arrived and give the payloads that it completes.

        Raises
        ------
        DecodeError
            A malformed prefix or trailer, or a frame over the limit. The offset
            counts from the first byte of the stream.
        """
        self._buffer += data
        buffer, pos = bytes(self._buffer), 0
        payloads = []
        while pos < len(buffer):
            found = self._cut(buffer, pos)
            if found is None:
                break
            payload, pos = found
            payloads.append(payload)
        del self._buffer[:pos]
        self._consumed += pos
        return payloads

    @abstractmethod
    def _cut(self, buffer: bytes, pos: int) -> tuple[bytes, int] | None:
        """Give the payload of the frame at ``pos`` and its end, if it is complete."""

    def _refuse(self, reason: str, pos: int) -> DecodeError:
        return DecodeError(reason, field="frame", offset=self._consumed + pos)


class Framing(ABC):
    """One way to frame payloads.

    Examples
    --------
    >>> get_framing("ascii4").encode(b"0800")
    b'00040800'
    """

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def encode(self, payload: bytes) -> bytes:
        """Give the frame of a payload.

        Raises
        ------
        EncodeError
            The payload is too long for the prefix, or holds the end mark.
        """

    @abstractmethod
    def decoder(self, frame_bytes_max: int = 4096) -> FrameDecoder:
        """Give a decoder for one stream."""


def get_framing(name: str) -> Framing:
    """Give the framing of that name.

    Raises
    ------
    LookupError
        There is no such framing; the message lists those that exist.

    Examples
    --------
    >>> decoder = get_framing("bin2").decoder()
    >>> decoder.feed(bytes.fromhex("000430383030 0001")), decoder.feed(b"x")
    ([b'0800'], [b'x'])
    """
    framing = _FRAMINGS.get(name)
    if framing is None:
        msg = f"no framing {name!r}; there are {', '.join(sorted(_FRAMINGS))}"
        raise LookupError(msg)
    return framing


class _Prefixed(Framing):
    """A length, then the payload, then perhaps a trailer that the length counts."""

    def __init__(
        self,
        name: str,
        *,
        size: int,
        read: Callable[[bytes], int],
        write: Callable[[int], bytes],
        counts_itself: bool = False,
        trailer: bytes = b"",
    ) -> None:
        super().__init__(name)
        self.size = size
        self.read = read
        self.write = write
        self.extra = (size if counts_itself else 0) + len(trailer)
        self.trailer = trailer

    def encode(self, payload: bytes) -> bytes:
        try:
            prefix = self.write(len(payload) + self.extra)
        except (OverflowError, ValueError):
            prefix = b""
        if len(prefix) != self.size:
            reason = "payload is too long for its length prefix"
            raise EncodeError(reason, field="frame")
        return prefix + payload + self.trailer

    def decoder(self, frame_bytes_max: int = 4096) -> FrameDecoder:
        return _PrefixedDecoder(self, frame_bytes_max)


class _PrefixedDecoder(FrameDecoder):
    def __init__(self, framing: _Prefixed, frame_bytes_max: int) -> None:
        super().__init__(frame_bytes_max)
        self._framing = framing

    def _cut(self, buffer: bytes, pos: int) -> tuple[bytes, int] | None:
        framing = self._framing
        start = pos + framing.size
        if len(buffer) < start:
            return None
        try:
            announced = framing.read(buffer[pos:start])
        except ValueError:
            raise self._refuse("length prefix is malformed", pos) from None
        if announced == 0:
            return b"", start
        size = announced - framing.extra
        if size < 0:
            raise self._refuse("length prefix is shorter than itself", pos)
        if size > self._limit:
            raise self._refuse(f"frame is over {self._limit} bytes", pos)
        end = start + size
        stop = end + len(framing.trailer)
        if len(buffer) < stop:
            return None
        if buffer[end:stop] != framing.trailer:
            raise self._refuse("trailer is missing", end)
        return buffer[start:end], stop


class _EtxFraming(Framing):
    """No length: the payload ends at ETX, which it therefore cannot hold."""

    def encode(self, payload: bytes) -> bytes:
        if _ETX in payload:
            raise EncodeError("payload holds the end mark", field="frame")
        return payload + _ETX

    def decoder(self, frame_bytes_max: int = 4096) -> FrameDecoder:
        return _EtxDecoder(frame_bytes_max)


class _EtxDecoder(FrameDecoder):
    def _cut(self, buffer: bytes, pos: int) -> tuple[bytes, int] | None:
        end = buffer.find(_ETX, pos, pos + self._limit + 1)
        if end >= 0:
            return buffer[pos:end], end + 1
        if len(buffer) - pos > self._limit:
            raise self._refuse(f"frame is over {self._limit} bytes", pos)
        return None


class _SerialFraming(Framing):
    """STX, packed length, payload, ETX, and the XOR of all after STX."""

    def encode(self, payload: bytes) -> bytes:
        if len(payload) > 9999:
            reason = "payload is too long for its length prefix"
            raise EncodeError(reason, field="frame")
        checked = _write_bcd(len(payload)) + payload + _ETX
        return _STX + checked + bytes([reduce(xor, checked)])

    def decoder(self, frame_bytes_max: int = 4096) -> FrameDecoder:
        return _SerialDecoder(frame_bytes_max)


class _SerialDecoder(FrameDecoder):
    def _cut(self, buffer: bytes, pos: int) -> tuple[bytes, int] | None:
        if buffer[pos : pos + 1] != _STX:
            raise self._refuse("frame does not start with STX", pos)
        start = pos + 3
        if len(buffer) < start:
            return None
        try:
            size = _read_bcd(buffer[pos + 1 : start])
        except ValueError:
            raise self._refuse("length prefix is malformed", pos + 1) from None
        if size > self._limit:
            raise self._refuse(f"frame is over {self._limit} bytes", pos + 1)
        end = start + size
        if len(buffer) < end + 2:
            return None
        if buffer[end : end + 1] != _ETX:
            raise self._refuse("ETX is missing", end)
        if reduce(xor, buffer[pos + 1 : end + 1]) != buffer[end + 1]:
            raise self._refuse("LRC does not match", end + 1)
        return buffer[start:end], end + 2


def _binary(
    name: str, size: int, order: Literal["big", "little"] = "big", **more: object
) -> _Prefixed:
    return _Prefixed(
        name,
        size=size,
        read=lambda prefix: int.from_bytes(prefix, order),
        write=lambda length: length.to_bytes(size, order),
        **more,  # type: ignore[arg-type]  # the two options of _Prefixed
    )


def _read_bcd(prefix: bytes) -> int:
    digits = prefix.hex()
    if not digits.isdecimal():
        raise ValueError
    return int(digits)


def _write_bcd(length: int) -> bytes:
    return bytes.fromhex(f"{length:04}")


def _read_ascii(prefix: bytes) -> int:
    if not prefix.isdigit():
        raise ValueError
    return int(prefix)


def _read_hex(prefix: bytes) -> int:
    if re.fullmatch(rb"[0-9A-Fa-f]{4}", prefix) is None:
        raise ValueError
    return int(prefix, 16)


def _read_vml(prefix: bytes) -> int:
    # The second half is reserved; other values are session control.
    if prefix[2:] != b"\0\0":
        raise ValueError
    return int.from_bytes(prefix[:2], "big")


_FRAMINGS: Mapping[str, Framing] = MappingProxyType(
    {
        framing.name: framing
        for framing in (
            _binary("bin2", 2),
            _binary("bin2_incl", 2, counts_itself=True),
            _binary("bin2_trailer", 2, trailer=_ETX),
            _binary("bin2_le", 2, "little"),
            _binary("bin4", 4),
            _Prefixed(
                "bin4_vml",
                size=4,
                read=_read_vml,
                write=lambda length: length.to_bytes(2, "big") + b"\0\0",
            ),
            _Prefixed("bcd2", size=2, read=_read_bcd, write=_write_bcd),
            _Prefixed(
                "ascii4",
                size=4,
                read=_read_ascii,
                write=lambda length: b"%04d" % length,
            ),
            _Prefixed(
                "hex4", size=4, read=_read_hex, write=lambda length: b"%04X" % length
            ),
            _EtxFraming("etx"),
            _SerialFraming("stx_lrc"),
        )
    }
)

FRAMINGS: tuple[str, ...] = tuple(_FRAMINGS)
"""The names of all framings."""
