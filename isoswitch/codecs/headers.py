"""Transport headers: what stands between the frame and the type indicator.

    name      bytes  layout
    tpdu      5      60 | destination 2 | source 2
    cup-pos   11     TPDU 5 | application, version, state, request 6
    cups      46     2E | version 1 | total length 4 digits | destination 11 |
                     source 11 | reserved 3 | batch 1 | transaction 8 | user 1 |
                     reject code 5
    base1     22     16 | format 1 | text format 1 | total length 2 | destination 3 |
                     source 3 | control 1 | flags 2 | status 3 | batch 1 | reserved 3 |
                     user 1; a rejected message: 1A ... bitmap 2, code 2, then the
                     22 bytes of the message that was rejected
    base24    12     ISO | product 2 | release 2 | status 3 | originator 1 | responder 1
    fixed:N   N      anything, agreed between two parties

An answer carries the header of its request with destination and source exchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from isoswitch.codecs.canonical.errors import DecodeError

Span = tuple[int, int]


def split(name: str, payload: bytes) -> tuple[bytes, bytes]:
    """Part a payload into its header and its message; the empty name has no header.

    Raises
    ------
    DecodeError
        The payload does not start with such a header; the field is ``h``.

    Examples
    --------
    >>> header, message = split("tpdu", bytes.fromhex("6001230456") + b"0800")
    >>> header.hex(), message
    ('6001230456', b'0800')
    """
    if not name:
        return b"", payload
    layout = _get_layout(name)
    size = layout.size_of(payload)
    if len(payload) < size:
        raise DecodeError("message ends inside the header", field="h", offset=0)
    for offset, constant in layout.constants:
        if payload[offset : offset + len(constant)] != constant:
            raise DecodeError("not this kind of header", field="h", offset=offset)
    if layout.total is not None:
        _check_total(layout.total, payload)
    return payload[:size], payload[size:]


def swap(name: str, header: bytes) -> bytes:
    """Give the header of the answer: destination and source exchanged.

    Examples
    --------
    >>> swap("tpdu", bytes.fromhex("6001230456")).hex()
    '6004560123'
    """
    if not name:
        return b""
    layout = _get_layout(name)
    if layout.parties is None:
        return header[: layout.size]
    (a, b), (c, d) = layout.parties
    answer = header[:a] + header[c:d] + header[b:c] + header[a:b] + header[d:]
    return answer[: layout.size]


def join(name: str, header: bytes, message: bytes) -> bytes:
    """Put a header before a message, its total length corrected where it has one.

    Examples
    --------
    >>> join("tpdu", bytes.fromhex("6004560123"), b"0810").hex()
    '600456012330383130'
    """
    layout = _get_layout(name) if name else None
    if layout is not None and layout.total is not None:
        start, end = layout.total.span
        total = layout.total.write(len(header) + len(message))
        header = header[:start] + total + header[end:]
    return header + message


@dataclass(frozen=True, slots=True)
class _Total:
    """A header's own statement of the length of header and message."""

    span: Span
    read: Callable[[bytes], int]
    write: Callable[[int], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    size: int
    constants: tuple[tuple[int, bytes], ...] = ()
    parties: tuple[Span, Span] | None = None
    total: _Total | None = None
    rejected: bytes = b""

    def size_of(self, payload: bytes) -> int:
        """A rejected message has two headers: the longer one, then its own."""
        if self.rejected and payload.startswith(self.rejected):
            return self.rejected[0] + self.size
        return self.size


def _read_digits(octets: bytes) -> int:
    return int(octets) if octets.isdigit() else -1


_LAYOUTS: Mapping[str, _Layout] = MappingProxyType(
    {
        "tpdu": _Layout(size=5, parties=((1, 3), (3, 5))),
        "cup-pos": _Layout(size=11, parties=((1, 3), (3, 5))),
        "cups": _Layout(
            size=46,
            constants=((0, b"\x2e"),),
            parties=((6, 17), (17, 28)),
            total=_Total((2, 6), _read_digits, lambda total: b"%04d" % total),
        ),
        "base1": _Layout(
            size=22,
            parties=((5, 8), (8, 11)),
            total=_Total(
                (3, 5),
                lambda octets: int.from_bytes(octets, "big"),
                lambda total: total.to_bytes(2, "big"),
            ),
            rejected=b"\x1a",
        ),
        "base24": _Layout(size=12, constants=((0, b"ISO"),)),
    }
)

HEADERS: tuple[str, ...] = tuple(_LAYOUTS)
"""The names of all headers with a layout."""


def _get_layout(name: str) -> _Layout:
    layout = _LAYOUTS.get(name)
    if layout is not None:
        return layout
    kind, _, size = name.partition(":")
    if kind != "fixed" or not (size.isascii() and size.isdecimal()):
        msg = f"no header {name!r}; there are {', '.join(_LAYOUTS)} and fixed:N"
        raise LookupError(msg)
    return _Layout(size=int(size))


def _check_total(total: _Total, payload: bytes) -> None:
    start, end = total.span
    if total.read(payload[start:end]) != len(payload):
        reason = "length in the header is not that of the message"
        raise DecodeError(reason, field="h", offset=start)
