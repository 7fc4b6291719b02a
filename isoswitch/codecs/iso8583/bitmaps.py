"""Bitmaps: which data elements a message says it carries.

    first map   bits 1-64     bit 1: a second map follows
    second map  bits 65-128   bit 65: a third map follows, in some layouts
    third map   bits 129-192

Each map is 8 bytes or 16 hexadecimal characters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from isoswitch.codecs.canonical.errors import DecodeError
from isoswitch.codecs.iso8583.charsets import from_view, to_view
from isoswitch.codecs.iso8583.classes import bytes_of, first_outside
from isoswitch.codecs.iso8583.spec import Spec

_MAP_NAMES = ("p", "1", "65")
_BITS = tuple(
    tuple(bit for bit in range(8) if octet & (0x80 >> bit)) for octet in range(256)
)
_HEX = bytes_of("hex", "ascii")


class Bitmaps:
    """The bitmaps of a layout, between wire bytes and numbers of data elements."""

    __slots__ = (
        "_always",
        "_charset",
        "_flagged",
        "_goes_on",
        "_has_first_bit",
        "_hex",
        "_third",
        "width",
    )

    def __init__(self, spec: Spec) -> None:
        self._hex = spec.bitmap != "raw"
        self._charset = spec.charset if spec.bitmap == "hex" else "ascii"
        self._always = spec.second_bitmap != "when-used"
        self._flagged = spec.second_bitmap != "always-unflagged"
        self._third = spec.third_bitmap
        self.width = 16 if self._hex else 8
        high = from_view(b"89ABCDEFabcdef", self._charset)
        if not self._hex:
            high = bytes(range(0x80, 0x100))
        self._has_first_bit = [octet in high for octet in range(256)]
        self._goes_on = [True] * 256 if self._always else self._has_first_bit

    def end(self, raw: bytes, pos: int) -> int:
        """Where maps that start at ``pos`` end; IndexError if they are cut short."""
        end = pos + self.width
        if self._goes_on[raw[pos]]:
            if self._third == "after-second" and self._has_first_bit[raw[end]]:
                end += self.width
            end += self.width
        return end

    def read(self, raw: bytes, pos: int) -> tuple[list[int], int]:
        """Give the data elements named by the maps, and where the maps end.

        Raises
        ------
        DecodeError
            A map is cut short or holds something else than hexadecimal digits.
        """
        octets, end = self.read_octets(raw, pos)
        return list(numbers_of(octets, 1)), end

    def read_octets(self, raw: bytes, pos: int) -> tuple[bytearray, int]:
        """Give the octets of the maps without the bits for further maps, or raise."""
        octets = bytearray(self.read_map(raw, pos, 0))
        pos += self.width
        if self._always or octets[0] >= 0x80:
            octets += self.read_map(raw, pos, 1)
            pos += self.width
            if self._third == "after-second" and octets[8] >= 0x80:
                octets += self.read_map(raw, pos, 2)
                octets[8] &= 0x7F
                pos += self.width
        octets[0] &= 0x7F
        return octets, pos

    def read_map(self, raw: bytes, pos: int, index: int) -> bytes:
        """Give the eight octets of one map, 0 to 2, or raise."""
        part = raw[pos : pos + self.width]
        if len(part) < self.width:
            reason = "message ends inside the bitmap"
            raise DecodeError(reason, field=_MAP_NAMES[index], offset=pos)
        if not self._hex:
            return part
        digits = to_view(part, self._charset)
        bad = first_outside(_HEX, digits, 0, self.width)
        if bad < self.width:
            reason = "not a hexadecimal character"
            raise DecodeError(reason, field=_MAP_NAMES[index], offset=pos + bad)
        return bytes.fromhex(digits.decode("ascii"))

    def write(self, numbers: Sequence[int]) -> bytes:
        """Give the maps that stand in front of the fields.

        Examples
        --------
        >>> from isoswitch.codecs.iso8583.spec import Spec
        >>> Bitmaps(Spec(name="", edition="1987", fields={})).write([2, 70])
        b'C0000000000000000400000000000000'
        """
        maps = bytearray(octets_of(numbers, 1, 192))
        count = 1 + (self._always or any(maps[8:]))
        if self._third != "none" and any(maps[16:]):
            maps[8] |= 0x80
            count = 3 if self._third == "after-second" else 2
        if count > 1 and self._flagged:
            maps[0] |= 0x80
        return self.write_map(bytes(maps[: 8 * count]))

    def write_map(self, octets: bytes) -> bytes:
        """Give the wire form of whole maps."""
        if not self._hex:
            return octets
        return from_view(octets.hex().upper().encode(), self._charset)


def numbers_of(octets: Iterable[int], first: int) -> Iterable[int]:
    """Give the number of each bit that is set, the first bit being ``first``.

    Examples
    --------
    >>> list(numbers_of(bytes.fromhex("C001"), 1))
    [1, 2, 16]
    """
    for index, octet in enumerate(octets):
        if octet:
            for bit in _BITS[octet]:
                yield first + 8 * index + bit


def octets_of(numbers: Iterable[int], first: int, last: int) -> bytes:
    """Give octets in which the bits of the given numbers are set.

    Examples
    --------
    >>> octets_of([2, 16], 1, 16).hex()
    '4001'
    """
    octets = bytearray((last - first + 1) // 8)
    for number in numbers:
        if first <= number <= last:
            octets[(number - first) // 8] |= 0x80 >> (number - first) % 8
    return bytes(octets)
