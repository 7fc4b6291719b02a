"""A decoded message: its bytes, where the fields stand, and values read on demand.

Messages are checked before they exist, so reading never fails. They are immutable;
``replace`` splices changed fields into the bytes of the old message and copies the
rest unread.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, overload

from isoswitch.codecs.canonical.errors import EncodeError
from isoswitch.codecs.iso8583.masking import mask_value

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
        start, end = self._span(de)
        return self._layout.codec.fields[de].read(self.raw, start, end)

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
        fields, places, raw = layout.codec.fields, layout.places, self.raw
        values = {}
        for de in layout.numbers:
            base, start, last, end = places[de]
            values[de] = fields[de].read(raw, marks[base] + start, marks[last] + end)
        return values

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
        fields, places, raw = layout.codec.fields, layout.places, self.raw
        pieces = []
        at = 0
        if mti is not None:
            head = layout.codec.write_mti(mti)
            pieces.append(head)
            at = len(head)
        for de in sorted(changes):
            value = changes[de]
            place = places.get(de)
            if place is None or value is None or de not in fields:
                return self._rebuild(changes, mti)
            field = fields[de]
            base, start, last, end = place
            pieces.append(raw[at : marks[base] + start - field.prefix])
            pieces.append(field.put(value))
            at = marks[last] + end
        pieces.append(raw[at:])
        spliced = b"".join(pieces)
        return Message(layout, spliced, self._marks_after(changes, spliced))

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
        for de in self.fields:
            masking = self._layout.codec.spec.fields[de].masking
            shown[str(de)] = mask_value(self[de], masking)
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
        if de not in layout.numbers:
            raise KeyError(de)
        base, start, last, end = layout.places[de]
        return marks[base] + start, marks[last] + end

    def _located(self) -> tuple[Layout, list[int]]:
        """Where the fields stand; a message of our own is measured when asked."""
        if self._marks is None:
            self._layout, self._marks = self._layout.codec.locate(self.raw)
        return self._layout, self._marks

    def _marks_after(
        self, changes: Mapping[int, Value | None], spliced: bytes
    ) -> list[int] | None:
        """The marks still hold when no variable field has changed."""
        fields = self._layout.codec.fields
        if len(spliced) == len(self.raw) and not any(
            fields[de].prefix for de in changes
        ):
            return self._marks
        return None

    def _rebuild(self, changes: Mapping[int, Value | None], mti: str | None) -> Message:
        codec = self._layout.codec
        parts = {}
        for de in self.fields:
            start, end = self._span(de)
            parts[de] = self.raw[start - codec.fields[de].prefix : end]
        for de, value in changes.items():
            if value is None:
                parts.pop(de, None)
            elif de in codec.fields:
                parts[de] = codec.fields[de].put(value)
            else:
                raise EncodeError("field is not in this layout", field=str(de))
        return codec.assemble(self.mti if mti is None else mti, parts)
