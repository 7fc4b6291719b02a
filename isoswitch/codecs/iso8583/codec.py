"""The compiled codec of a layout: strict decoding, encoding, splicing.

Decoding has two lanes with the same verdict. The field codecs check a message field by
field and know the exact place of an error; a bitmap that keeps coming gets its
fields fused into runs, which only know yes or no. Whatever the fast lane does
not take goes through the other, so every error is a precise one. Layouts are made
only for bitmaps of good messages, after several sightings, and in bounded number:
inventing bitmaps costs the sender more than the receiver.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from functools import cached_property

from isoswitch.codecs.canonical.errors import DecodeError, EncodeError
from isoswitch.codecs.iso8583.bitmaps import Bitmaps, numbers_of, octets_of
from isoswitch.codecs.iso8583.charsets import encode_text, to_view
from isoswitch.codecs.iso8583.fields import FieldCodec, Value, compile_field
from isoswitch.codecs.iso8583.message import Message
from isoswitch.codecs.iso8583.runs import (
    FALLBACKS,
    ByteClasses,
    Place,
    Put,
    Reading,
    groups_of,
    places_of,
    put_of,
    steps_of,
)
from isoswitch.codecs.iso8583.spec import FieldSpec, Spec

_VERSIONS, _CLASSES, _FUNCTIONS, _ORIGINS = "01289", "123456789", "01234567", "012345"

KNOWN_MTIS = frozenset(
    version + kind + function + origin
    for version in _VERSIONS
    for kind in _CLASSES
    for function in _FUNCTIONS
    for origin in _ORIGINS
)
"""Message type indicators of a known version, class, function and origin.

Class 9 is reserved by the standard and used by UnionPay terminals all the same.
"""

LAYOUTS_MAX = 512
SIGHTINGS_MAX = 2048
SIGHTINGS_TO_FUSE = 3

_DIGITS = frozenset("0123456789")


class Layout:
    """The fields of one bitmap, in order, and where they stand.

    A loose layout, made for one message, counts places from the start of the body
    and the end of every field. A fused one counts from the marks of segments.
    """

    def __init__(
        self, codec: Codec, order: Sequence[FieldCodec], numbers: Sequence[int]
    ) -> None:
        self.codec = codec
        self.order = order
        self.numbers = tuple(numbers)
        self.takes: tuple[Reading, ...] = ()
        self.splices: Mapping[int, tuple[int, int, int, Put]] = {}

    @cached_property
    def places(self) -> Mapping[int, Place]:
        """Where the data of each field starts and ends, counted from marks."""
        return {
            field.de: (index, field.prefix, index + 1, 0)
            for index, field in enumerate(self.order)
            if field is not self.codec.map_field
        }


class FusedLayout(Layout):
    """A layout whose fields are checked, read and encoded many at a time."""

    def __init__(self, loose: Layout) -> None:
        super().__init__(loose.codec, loose.order, loose.numbers)
        classes = self.codec.classes
        self.steps = steps_of(self.order, classes)
        self.puts, self.takes = groups_of(self.order, classes)
        self.splices = {
            de: (mark, start, end, self.codec.puts[de])
            for de, (mark, start, last, end) in self.places.items()
            if mark == last
        }

    @cached_property
    def places(self) -> Mapping[int, Place]:
        """Where the data of each field starts and ends, counted from marks."""
        return places_of(self.order)


class Codec:
    """Decodes and builds the messages of one layout.

    Examples
    --------
    >>> from isoswitch.codecs.iso8583.specs import get_codec
    >>> codec = get_codec("iso87-ascii")
    >>> codec.build("0800", {11: "000001", 70: "301"}).raw
    b'080080200000000000000400000000000000000001301'
    >>> codec.decode(b"0800002000000000000000000A")
    Traceback (most recent call last):
    ...
    isoswitch.codecs.canonical.errors.DecodeError: field 11, offset 25: not a digit
    """

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.map_field: FieldCodec | None = None
        self.fields: dict[int, FieldCodec] = {
            de: compile_field(field, spec.charset) for de, field in spec.fields.items()
        }
        if spec.third_bitmap == "in-65":
            self.map_field = compile_field(_map_spec(spec), spec.charset)
        self.classes = ByteClasses(self.fields.values(), spec.charset)
        self.reads = {de: field.read for de, field in self.fields.items()}
        self.puts = {de: put_of([f], self.classes) for de, f in self.fields.items()}
        self.maskings = {de: (str(de), f.masking) for de, f in spec.fields.items()}
        self.bitmaps = Bitmaps(spec)
        # A message in ASCII may hold other bytes between its characters.
        self.text_charset = "latin-1" if spec.charset == "ascii" else spec.charset
        self.has_packed = any(f.encoding == "bcd" for f in spec.fields.values())
        self.mti_end = 2 if spec.mti == "bcd" else 4
        self._body = self.bitmaps.ends(self.mti_end)
        self._mti_bytes = {mti: self._encode_mti(mti) for mti in KNOWN_MTIS}
        self._mtis = {octets: mti for mti, octets in self._mti_bytes.items()}
        self.forget()

    @property
    def name(self) -> str:
        """The name of the layout."""
        return self.spec.name

    def decode(self, raw: bytes) -> Message:
        """Check a whole message and give it, its values still unread.

        Raises
        ------
        DecodeError
            Anything in it is not as the layout says, trailing bytes included. The
            field is ``t`` for the type indicator, ``p``, ``1`` and ``65`` for the
            bitmaps, ``end`` for what follows the last field.
        """
        layout, marks = None, []
        try:
            pos = self._body[raw[self.mti_end]] or self.bitmaps.end_of_three(
                raw, self.mti_end
            )
            layout, _ = self._by_head.layouts[raw[:pos]]
            marks = [pos]
            for step in layout.steps:
                pos = step(raw, pos, marks)
            if pos == len(raw):
                return Message(layout, raw, marks)
        except FALLBACKS:
            pass
        if layout is not None:
            raise self._explain(raw, layout, marks)
        return self._decode_precisely(raw)

    def salvage(self, raw: bytes) -> tuple[Message, DecodeError | None]:
        """Read a message as far as it is good, and say what is wrong then.

        The message holds the fields before the fault and is for showing only: its
        bitmap still names the others.

        Raises
        ------
        DecodeError
            The type indicator or the bitmap is wrong already.

        Examples
        --------
        >>> from isoswitch.codecs.iso8583.specs import get_codec
        >>> codec = get_codec("iso87-ascii")
        >>> message, fault = codec.salvage(b"08000020000000800000000001TERM")
        >>> message.fields, str(fault)
        ((11,), 'field 41, offset 26: message ends inside the field')
        """
        try:
            return self.decode(raw), None
        except DecodeError as fault:
            if raw[: self.mti_end] not in self._mtis:
                raise
            numbers, pos = self.bitmaps.read(raw, self.mti_end)
            order, marks = [], [pos]
            for de in numbers:
                if de not in self.fields:
                    break
                try:
                    _, pos = self.fields[de].check(raw, pos)
                except DecodeError:
                    break
                order.append(self.fields[de])
                marks.append(pos)
            layout = Layout(self, order, numbers[: len(order)])
            return Message(layout, raw[:pos], marks), fault

    def build(self, mti: str, fields: Mapping[int, Value]) -> Message:
        """Encode a message.

        Raises
        ------
        EncodeError
            The type indicator is unknown, a field is not in the layout, or a value
            does not fit its field; fixed fields must have their exact length.
        """
        known = self._by_numbers.layouts.get(tuple(fields))
        if known is not None and mti in KNOWN_MTIS:
            layout, bitmap = known
            try:
                body = [put(fields) for put in layout.puts]
            except FALLBACKS:
                pass
            else:
                return Message(layout, self._mti_bytes[mti] + bitmap + b"".join(body))
        return self._build_precisely(mti, fields)

    def forget(self) -> None:
        """Drop the layouts that traffic has taught; they come back by themselves."""
        self._by_head = _LayoutCache()
        self._by_numbers = _LayoutCache()

    def read_mti(self, raw: bytes) -> str:
        """The type indicator of a checked message."""
        return self._mtis[raw[: self.mti_end]]

    def write_mti(self, mti: str) -> bytes:
        """The bytes of a known type indicator; raises EncodeError for others."""
        octets = self._mti_bytes.get(mti)
        if octets is None:
            raise EncodeError("unknown message type indicator", field="t")
        return octets

    def assemble(self, mti: str, parts: Mapping[int, bytes]) -> Message:
        """Give the message of fields that are encoded already, prefix included."""
        numbers = sorted(parts)
        order = [self.fields[de] for de in numbers]
        bodies = [parts[de] for de in numbers]
        if self.map_field is not None and numbers and numbers[-1] > 128:
            place = sum(de < 65 for de in numbers)
            order.insert(place, self.map_field)
            bodies.insert(place, self.bitmaps.write_map(octets_of(numbers, 129, 192)))
        raw = self.write_mti(mti) + self.bitmaps.write(numbers) + b"".join(bodies)
        return Message(Layout(self, order, numbers), raw)

    def _build_precisely(self, mti: str, fields: Mapping[int, Value]) -> Message:
        self.write_mti(mti)
        parts = {}
        for de in sorted(fields):
            field = self.fields.get(de)
            if field is None:
                raise EncodeError("field is not in this layout", field=str(de))
            parts[de] = field.put(fields[de])
        message = self.assemble(mti, parts)
        if self.map_field not in message.layout.order:
            bitmap = self.bitmaps.write(message.fields)
            self._by_numbers.note(tuple(fields), message.layout, bitmap)
        return message

    def _decode_precisely(self, raw: bytes) -> Message:
        start = self.mti_end
        if raw[:start] not in self._mtis:
            raise self._mti_error(raw)
        numbers, pos = self.bitmaps.read(raw, start)
        head = raw[:pos]
        order: list[FieldCodec] = []
        marks = [pos]
        for de in numbers:
            field = (
                self.map_field if de == 65 and self.map_field else self.fields.get(de)
            )
            if field is None:
                reason = "field is not in this layout"
                raise DecodeError(reason, field=str(de), offset=pos)
            begin, pos = field.check(raw, pos)
            order.append(field)
            marks.append(pos)
            if field is self.map_field:
                # The list grows while it is read: the third map names what follows.
                numbers += numbers_of(self.bitmaps.read_map(raw, begin, 2), 129)
        if pos < len(raw):
            raise DecodeError("bytes follow the last field", field="end", offset=pos)
        if self.map_field in order:
            numbers.remove(65)
        layout = Layout(self, order, numbers)
        if self.map_field not in order:
            self._by_head.note(head, layout, b"")
        return Message(layout, raw, marks)

    def _explain(
        self, raw: bytes, layout: FusedLayout, marks: list[int]
    ) -> DecodeError:
        """Say why the fast lane has refused a message, from where it was good."""
        good = [mark for mark in marks if mark <= len(raw)]
        ends = [place for place, field in enumerate(layout.order, 1) if field.prefix]
        pos = good[-1]
        for field in layout.order[[0, *ends][len(good) - 1] :]:
            _, pos = field.check(raw, pos)
        assert pos < len(raw)
        return DecodeError("bytes follow the last field", field="end", offset=pos)

    def _mti_error(self, raw: bytes) -> DecodeError:
        part = raw[: self.mti_end]
        if len(part) < self.mti_end:
            reason = "message ends inside the type indicator"
            return DecodeError(reason, field="t", offset=0)
        digits = part.hex() if self.spec.mti == "bcd" else _latin(part, self.spec)
        wrong = [place for place, digit in enumerate(digits) if digit not in _DIGITS]
        if wrong:
            reason = "not a digit in the type indicator"
            offset = wrong[0] * self.mti_end // 4
            return DecodeError(reason, field="t", offset=offset)
        return DecodeError("unknown message type indicator", field="t", offset=0)

    def _encode_mti(self, mti: str) -> bytes:
        if self.spec.mti == "bcd":
            return bytes.fromhex(mti)
        return encode_text(mti, self.spec.charset)


class _LayoutCache:
    """Layouts of keys that keep coming, in bounded number, the oldest leaving first."""

    __slots__ = ("_sightings", "layouts")

    def __init__(self) -> None:
        self.layouts: dict[Hashable, tuple[FusedLayout, bytes]] = {}
        self._sightings: dict[Hashable, int] = {}

    def note(self, key: Hashable, layout: Layout, bitmap: bytes) -> None:
        """Count a good message; fuse its layout when its key has come often."""
        count = self._sightings.get(key, 0) + 1
        if count < SIGHTINGS_TO_FUSE:
            if len(self._sightings) >= SIGHTINGS_MAX:
                self._sightings.clear()
            self._sightings[key] = count
            return
        self._sightings.pop(key, None)
        if len(self.layouts) >= LAYOUTS_MAX:
            del self.layouts[next(iter(self.layouts))]
        self.layouts[key] = FusedLayout(layout), bitmap


def compile_spec(spec: Spec) -> Codec:
    """Build the codec of a layout; do it once and keep it."""
    return Codec(spec)


def _map_spec(spec: Spec) -> FieldSpec:
    encoding = "raw" if spec.bitmap == "raw" else "hex"
    return FieldSpec(de=65, name="Bitmap, third", cls="b", max=8, encoding=encoding)


def _latin(part: bytes, spec: Spec) -> str:
    return to_view(part, spec.charset).decode("latin-1")
