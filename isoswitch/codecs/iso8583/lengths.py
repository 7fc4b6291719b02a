"""Length prefixes, read strictly: from the bytes on the wire to positions and back.

Python's ``int`` takes ``+7``, ``1_0`` and blanks as numbers; a prefix read by it can
mean one length here and another at the next host. Here a prefix means a length only
when it is the one byte string that encodes that length.
"""

from __future__ import annotations

from functools import lru_cache

from isoswitch.codecs.iso8583.charsets import encode_text, to_view
from isoswitch.codecs.iso8583.spec import FieldSpec

MALFORMED = -1
"""The number of a prefix that shows none."""

NO_LENGTH = 1 << 32
"""The positions of a prefix that is no length or over the limit: past any message."""

_TABLE_MAX = 999


class Lengths(dict[bytes, int]):
    """The length prefixes of a field: wire bytes to the positions they announce.

    Looking up a prefix that is no length, or one over the limit, gives ``NO_LENGTH``.

    Parameters
    ----------
    size
        Bytes of the prefix.
    step
        How many positions stand for how many counted units.
    top
        The limit in positions.

    Examples
    --------
    >>> lengths = Lengths(encoding="ascii", size=2, step=(1, 1), top=19)
    >>> lengths[b"16"], lengths.get(b"+7"), lengths.get(b"20")
    (16, None, None)
    >>> lengths.write(16)
    b'16'
    """

    __slots__ = ("_encoding", "_size", "_step", "_top")

    def __init__(
        self, *, encoding: str, size: int, step: tuple[int, int], top: int
    ) -> None:
        super().__init__()
        self._encoding = encoding
        self._size = size
        self._step = step
        self._top = top
        for positions in range(0, min(top, _TABLE_MAX) + 1, step[0]):
            self[self.write(positions)] = positions

    def __missing__(self, prefix: bytes) -> int:
        if self._top <= _TABLE_MAX:
            return NO_LENGTH
        per, units = self._step
        number = self.number(prefix)
        if number % units or not 0 <= number // units * per <= self._top:
            return NO_LENGTH
        return number // units * per

    def write(self, positions: int) -> bytes:
        """Give the prefix for so many positions, a started unit counting as whole."""
        per, units = self._step
        number = -(-positions // per) * units
        if self._encoding == "bin":
            return number.to_bytes(self._size, "big")
        if self._encoding == "bcd":
            return bytes.fromhex(f"{number:0{2 * self._size}}")
        return encode_text(f"{number:0{self._size}}", self._encoding)

    def number(self, prefix: bytes) -> int:
        """The number that a prefix shows, over the limit or not; else ``MALFORMED``."""
        if len(prefix) != self._size:
            return MALFORMED
        if self._encoding == "bin":
            return int.from_bytes(prefix, "big")
        digits = to_view(prefix, self._encoding)
        if self._encoding == "bcd":
            digits = prefix.hex().encode()
        return int(digits) if digits.isdigit() else MALFORMED


def lengths_of(spec: FieldSpec) -> Lengths:
    """Give the length prefixes of a variable field; equal fields share them."""
    step, top = (1, 1), spec.max
    if spec.length_unit == "bytes" and spec.encoding == "bcd":
        step, top = (2, 1), spec.max + spec.max % 2
    if spec.length_unit == "bytes" and spec.encoding == "hex":
        step = (1, 2)
    return _shared(spec.length_encoding, spec.length_bytes, step, top)


@lru_cache(maxsize=512)
def _shared(encoding: str, size: int, step: tuple[int, int], top: int) -> Lengths:
    return Lengths(encoding=encoding, size=size, step=step, top=top)
