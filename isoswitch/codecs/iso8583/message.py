"""A decoded message: its bytes, where the fields stand, and values read on demand.

Messages are checked before they exist, so reading never fails. They are immutable;
``replace`` splices changed fields into the bytes of the old message and copies the
rest unread.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, overload

from isoswitch.codecs.canonical.errors import EncodeError
from isoswitch.codecs.iso8583.arrangement import Arrangement, Marks, assemble
from isoswitch.codecs.iso8583.compiled import CompiledSpec
from isoswitch.codecs.iso8583.fields import Value
from isoswitch.codecs.iso8583.runs import FALLBACKS


class Message:
    """An ISO 8583 message, from its type indicator to its last field.

    Examples
    --------
    >>> from isoswitch.codecs.iso8583.specs import get_codec
    >>> msg = get_codec("iso87-ascii").build("0800", {11: "000001", 70: "301"})
    >>> msg.mti, msg.fields, msg[11], 39 in msg
    ('0800', (11, 70), '000001', False)
    >>> msg.replace({11: "000002", 39: "00"}, mti="0810")
    <Message 0810 iso87-ascii: 3 fields, 47 bytes>
    """

    __slots__ = ("_arrangement", "_marks", "_read", "raw")

    def __init__(
        self,
        arrangement: Arrangement,
        raw: bytes,
        marks: Marks | None = None,
        read: dict[int, Value] | None = None,
    ) -> None:
        self._arrangement = arrangement
        self._marks = marks
        # The values of all fields, in any order, once somebody knows them.
        self._read = read
        self.raw = raw

    @property
    def codec(self) -> CompiledSpec:
        """The codec this message was made by."""
        return self._arrangement.compiled

    @property
    def mti(self) -> str:
        """The message type indicator, four digits."""
        return self._arrangement.compiled.read_mti(self.raw)

    @property
    def fields(self) -> tuple[int, ...]:
        """The data elements present, in ascending order."""
        return self._arrangement.numbers

    def __contains__(self, de: object) -> bool:
        return de in self._arrangement.present

    def __iter__(self) -> Iterator[int]:
        return iter(self._arrangement.numbers)

    def __len__(self) -> int:
        return len(self._arrangement.numbers)

    def __getitem__(self, de: int) -> Value:
        if self._read is not None:
            return self._read[de]
        arrangement = self._arrangement
        mark, start, last, end = arrangement.places[de]
        marks = self._marks or self._measured()
        read = arrangement.compiled.reads[de]
        return read(self.raw, marks[mark] + start, marks[last] + end)

    @overload
    def get(self, de: int) -> Value | None: ...
    @overload
    def get(self, de: int, default: Value) -> Value: ...
    def get(self, de: int, default: Value | None = None) -> Value | None:
        """The value of a field, or the default where it is absent."""
        if self._read is not None:
            return self._read.get(de, default)
        return self[de] if de in self._arrangement.present else default

    def values(self) -> Mapping[int, Value]:
        """All fields and their values, read in one pass and kept."""
        read = self._read
        if read is None:
            marks = self._marks or self._measured()
            read = self._read = self._arrangement.values(self.raw, marks)
        elif tuple(read) != self._arrangement.numbers:
            read = self._read = {de: read[de] for de in self._arrangement.numbers}
        return read

    def offset(self, de: int) -> int:
        """Where the data of a field starts in ``raw``, after its length prefix."""
        return self._span(de)[0]

    def end(self, de: int) -> int:
        """Where the data of a field ends in ``raw``."""
        return self._span(de)[1]

    def replace(
        self, changes: Mapping[int, Value | None], *, mti: str | None = None
    ) -> Message:
        """Give a message with some fields changed, added, or removed (None).

        Raises
        ------
        EncodeError
            A value does not fit, or a field is not in the layout.
        """
        if mti is None:
            arrangement = self._arrangement
            marks = self._marks or self._measured()
            try:
                spliced = arrangement.splice(self.raw, marks, changes)
            except FALLBACKS:
                pass
            else:
                if self._read is None:
                    return Message(arrangement, spliced, marks)
                # A splice takes values only as they are read.
                read: dict[int, Any] = {**self._read, **changes}
                return Message(arrangement, spliced, marks, read)
        encoded = {de: self._put(de, value) for de, value in changes.items()}
        present = {de: data for de, data in encoded.items() if data is not None}
        if present == encoded and all(de in self for de in present):
            return self._splice(present, mti)
        return self._rebuild(encoded, mti)

    def describe(self) -> str:
        """A table of the fields for people, masked.

        Examples
        --------
        >>> from isoswitch.codecs.iso8583.specs import get_codec
        >>> build = get_codec("iso87-ascii").build
        >>> print(build("0100", {2: "4111111111111111", 4: "000000001250"}).describe())
        0100  iso87-ascii, 50 bytes
          2  n..19     Primary account number (PAN)  411111******1111
          4  n 12      Amount, transaction           000000001250
        """
        rows = [self.codec.spec.fields[de] for de in self.fields]
        masked = self.masked()
        width = max((len(row.name) for row in rows), default=0)
        lines = [f"{self.mti}  {self.codec.name}, {len(self.raw)} bytes"]
        lines += [
            f"{row.de:3}  {row.format:<8}  {row.name:<{width}}  {masked[str(row.de)]}"
            for row in rows
        ]
        return "\n".join(lines)

    def masked(self) -> dict[str, str]:
        """The type indicator and all fields as text that may be shown and stored."""
        shown: dict[str, Any] = {"mti": self.mti}
        values = self.values() if self._read is None else self._read
        for de, name, mask in self._arrangement.masks:
            shown[name] = values[de] if mask is None else mask(values[de])
        return shown

    def __repr__(self) -> str:
        size = f"{len(self.fields)} fields, {len(self.raw)} bytes"
        return f"<Message {self.mti} {self.codec.name}: {size}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Message):
            return NotImplemented
        return self.codec.spec == other.codec.spec and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def _span(self, de: int) -> tuple[int, int]:
        mark, start, last, end = self._arrangement.places[de]
        marks = self._marks or self._measured()
        return marks[mark] + start, marks[last] + end

    def _measured(self) -> Marks:
        """Where the fields stand; found out when first asked."""
        marks = self._marks = self._arrangement.measure(self.raw)
        return marks

    def _put(self, de: int, value: Value | None) -> bytes | None:
        field = self.codec.fields.get(de)
        if field is None:
            raise EncodeError("field is not in this layout", field=str(de))
        return None if value is None else field.put(value)

    def _splice(self, encoded: Mapping[int, bytes], mti: str | None) -> Message:
        """Change fields that are there; bitmaps stay as they came."""
        codec = self.codec
        head = self.raw[: codec.mti_end] if mti is None else codec.write_mti(mti)
        pieces, at = [head], codec.mti_end
        for de in sorted(encoded):
            start, end = self._span(de)
            pieces += self.raw[at : start - codec.fields[de].prefix], encoded[de]
            at = end
        return Message(self._arrangement.general, b"".join((*pieces, self.raw[at:])))

    def _rebuild(self, encoded: Mapping[int, bytes | None], mti: str | None) -> Message:
        """Add and remove fields; the others are copied unread."""
        codec = self.codec
        parts: dict[int, bytes | None] = {}
        for de in self.fields:
            start, end = self._span(de)
            parts[de] = self.raw[start - codec.fields[de].prefix : end]
        parts |= encoded
        present = {de: part for de, part in parts.items() if part is not None}
        wanted = self.mti if mti is None else mti
        return Message(*assemble(codec, wanted, present))
