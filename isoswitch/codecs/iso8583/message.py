"""A decoded message: its bytes, where the fields stand, and values read on demand.

Messages are checked before they exist, so reading never fails. They are immutable;
``replace`` splices changed fields into the bytes of the old message and copies the
rest unread.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, overload

from isoswitch.codecs.canonical.errors import EncodeError
from isoswitch.codecs.iso8583.charsets import decode_text
from isoswitch.codecs.iso8583.masking import mask_value
from isoswitch.codecs.iso8583.runs import FALLBACKS

if TYPE_CHECKING:
    from isoswitch.codecs.iso8583.codec import Codec, Layout

Value = str | bytes


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

    __slots__ = ("_layout", "_marks", "raw")

    def __init__(
        self, layout: Layout, raw: bytes, marks: list[int] | None = None
    ) -> None:
        self._layout = layout
        self._marks = marks
        self.raw = raw

    @property
    def codec(self) -> Codec:
        """The codec this message was made by."""
        return self._layout.codec

    @property
    def layout(self) -> Layout:
        """The fields of this message's bitmap, in order."""
        return self._layout

    @property
    def mti(self) -> str:
        """The message type indicator, four digits."""
        return self._layout.codec.read_mti(self.raw)

    @property
    def fields(self) -> tuple[int, ...]:
        """The data elements present, in ascending order."""
        return self._layout.numbers

    def __contains__(self, de: object) -> bool:
        return de in self._layout.numbers

    def __iter__(self) -> Iterator[int]:
        return iter(self._layout.numbers)

    def __len__(self) -> int:
        return len(self._layout.numbers)

    def __getitem__(self, de: int) -> Value:
        layout, marks = self._layout, self._marks
        if marks is None:
            layout, marks = self._located()
        mark, start, last, end = layout.places[de]
        read = layout.codec.reads[de]
        return read(self.raw, marks[mark] + start, marks[last] + end)

    @overload
    def get(self, de: int) -> Value | None: ...
    @overload
    def get(self, de: int, default: Value) -> Value: ...
    def get(self, de: int, default: Value | None = None) -> Value | None:
        """The value of a field, or the default where it is absent."""
        return self[de] if de in self._layout.numbers else default

    def values(self) -> dict[int, Value]:
        """All fields and their values."""
        layout, marks = self._located()
        if not layout.takes:
            return {de: self[de] for de in layout.numbers}
        raw = self.raw
        text = decode_text(raw, layout.codec.text_charset)
        nibbles = raw.hex() if layout.codec.has_packed else ""
        values: list[Value] = []
        for take, mark, start, last, end in layout.takes:
            values += take(raw, text, nibbles, marks[mark] + start, marks[last] + end)
        return dict(zip(layout.numbers, values, strict=False))

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
        layout, marks = self._located()
        if mti is None:
            spliced = bytearray(self.raw)
            try:
                for de in changes:
                    mark, start, end, put = layout.splices[de]
                    base = marks[mark]
                    spliced[base + start : base + end] = put(changes)
                return Message(layout, bytes(spliced), marks)
            except FALLBACKS:
                pass
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
        rows = [self._layout.codec.spec.fields[de] for de in self.fields]
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
        shown = {"mti": self.mti}
        maskings = self._layout.codec.maskings
        for de, value in self.values().items():
            name, masking = maskings[de]
            shown[name] = mask_value(value, masking)
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
        layout, marks = self._located()
        base, start, last, end = layout.places[de]
        return marks[base] + start, marks[last] + end

    def _located(self) -> tuple[Layout, list[int]]:
        """Where the fields stand; a message of our own is measured when asked."""
        if self._marks is None:
            found = self.codec.decode(self.raw)
            self._layout, self._marks = found._layout, found._marks
        assert self._marks is not None
        return self._layout, self._marks

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
        return Message(self._layout, b"".join((*pieces, self.raw[at:])))

    def _rebuild(self, encoded: Mapping[int, bytes | None], mti: str | None) -> Message:
        """Add and remove fields; the others are copied unread."""
        codec = self.codec
        parts: dict[int, bytes | None] = {}
        for de in self.fields:
            start, end = self._span(de)
            parts[de] = self.raw[start - codec.fields[de].prefix : end]
        parts |= encoded
        present = {de: part for de, part in parts.items() if part is not None}
        return codec.assemble(self.mti if mti is None else mti, present)
