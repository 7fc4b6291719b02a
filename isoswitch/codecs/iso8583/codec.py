"""The compiled codec of a layout: strict decoding, encoding, splicing.

Decoding has three lanes with the same verdict. A message of any bitmap is checked
piece by piece, a piece being what one octet of the bitmap names. A bitmap that keeps
coming gets all its fields fused, and when the lengths keep coming too, the message is
checked in a single look by its shape. The lanes only know that a run of fields is not
good; the codecs of these fields are then asked one by one for the exact place, so every
error is a precise one.

Fused arrangements and shapes are made only of good messages, after many sightings,
and in bounded number, and there are few pieces: whatever bitmaps and lengths a sender
invents, the benchmark holds a refusal to twice a normal decode.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Generic, NoReturn, TypeVar

from isoswitch.codecs.canonical.errors import DecodeError, EncodeError
from isoswitch.codecs.iso8583.arrangement import Arrangement, Fused, assemble
from isoswitch.codecs.iso8583.charsets import to_view
from isoswitch.codecs.iso8583.compiled import KNOWN_MTIS, CompiledSpec
from isoswitch.codecs.iso8583.fields import FieldCodec, Value
from isoswitch.codecs.iso8583.message import Message
from isoswitch.codecs.iso8583.pieces import Composed, Piece, pieces_of
from isoswitch.codecs.iso8583.runs import FALLBACKS
from isoswitch.codecs.iso8583.shapes import WHOLE, Shape
from isoswitch.codecs.iso8583.spec import Spec

K = TypeVar("K")
V = TypeVar("V")

ARRANGEMENTS_MAX = 512
SHAPES_MAX = 512
SIGHTINGS_MAX = 2048
SIGHTINGS_TO_FUSE = 50
SIGHTINGS_TO_SHAPE = 200

_DIGITS = frozenset("0123456789")


class Codec(CompiledSpec):
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
        super().__init__(spec)
        self._pieces = pieces_of(self)
        # Type indicator and first bitmap: enough to guess the shape by.
        self._guess_end = self.mti_end + self.bitmaps.width
        self.forget()

    def decode(self, raw: bytes) -> Message:
        """Check a whole message and give it, its values still unread.

        Raises
        ------
        DecodeError
            Anything in it is not as the layout says, trailing bytes included. The
            field is ``t`` for the type indicator, ``p``, ``1`` and ``65`` for the
            bitmaps, ``end`` for what follows the last field.
        """
        guess = raw[: self._guess_end], len(raw)
        shape = self._shapes.known.get(guess)
        if shape is not None and shape.matches(raw):
            return Message(shape, raw, WHOLE)
        try:
            pos = self.bitmaps.end(raw, self.mti_end)
        except IndexError:
            # Cut short in its bitmaps; what it is now will be refused.
            pos = len(raw)
        head = raw[:pos]
        fused = self._by_head.known.get(head)
        if fused is not None:
            marks = self._check(raw, pos, fused)
            if fused.has_shapes and self._shapes.is_due(guess):
                self._shapes.learn(guess, Shape(fused, raw, marks))
            return Message(fused, raw, marks)
        composed, marks = self._compose(raw)
        if not composed.has_map and self._by_head.is_due(head):
            self._by_head.learn(head, Fused(composed))
        return Message(composed, raw, marks)

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
            if not self.has_mti(raw):
                raise
            numbers, pos = self.bitmaps.read(raw, self.mti_end)
            order = []
            for de in numbers:
                if de not in self.fields:
                    break
                try:
                    pos = self.fields[de].check(raw, pos)
                except DecodeError:
                    break
                order.append(self.fields[de])
            arrangement = Arrangement(self, order, numbers[: len(order)])
            return Message(arrangement, raw[:pos]), fault

    def build(self, mti: str, fields: Mapping[int, Value]) -> Message:
        """Encode a message.

        Raises
        ------
        EncodeError
            The type indicator is unknown, a field is not in the layout, or a value
            does not fit its field; fixed fields must have their exact length.
        """
        known = self._by_numbers.known.get(tuple(fields))
        if known is not None and mti in KNOWN_MTIS:
            fused, bitmap = known
            try:
                body = [put(fields) for put in fused.puts]
            except FALLBACKS:
                pass
            else:
                raw = self.write_mti(mti) + bitmap + b"".join(body)
                # The fast lane takes values only as they are read.
                return Message(fused, raw, None, dict(fields))
        return self._build_precisely(mti, fields)

    def teach(self, raw: bytes) -> None:
        """Learn from a good message at once what its kind teaches by coming often.

        Raises
        ------
        DecodeError
            The message is not good.
        """
        composed, marks = self._compose(raw)
        if composed.has_map:
            return
        fused = Fused(composed)
        bitmap = self.bitmaps.write(fused.numbers)
        self._by_head.learn(raw[: marks[0]], fused)
        self._by_numbers.learn(fused.numbers, (fused, bitmap))
        if fused.has_shapes:
            shape = Shape(fused, raw, marks)
            self._shapes.learn((raw[: self._guess_end], len(raw)), shape)

    def forget(self) -> None:
        """Drop all that traffic has taught; it comes back by itself."""
        self._shapes: _Taught[tuple[bytes, int], Shape] = _Taught(
            SHAPES_MAX, SIGHTINGS_TO_SHAPE
        )
        self._by_head: _Taught[bytes, Fused] = _Taught(
            ARRANGEMENTS_MAX, SIGHTINGS_TO_FUSE
        )
        self._by_numbers: _Taught[tuple[int, ...], tuple[Fused, bytes]] = _Taught(
            ARRANGEMENTS_MAX, SIGHTINGS_TO_FUSE
        )

    def _build_precisely(self, mti: str, fields: Mapping[int, Value]) -> Message:
        self.write_mti(mti)
        parts = {}
        for de in sorted(fields):
            field = self.fields.get(de)
            if field is None:
                raise EncodeError("field is not in this layout", field=str(de))
            parts[de] = field.put(fields[de])
        arrangement, raw = assemble(self, mti, parts)
        numbers = tuple(fields)
        if not arrangement.has_map and self._by_numbers.is_due(numbers):
            bitmap = self.bitmaps.write(arrangement.numbers)
            self._by_numbers.learn(numbers, (Fused(arrangement), bitmap))
        return Message(arrangement, raw)

    def _check(self, raw: bytes, pos: int, fused: Fused) -> list[int]:
        """Check a message of a known bitmap, whose body starts at ``pos``."""
        marks, size = [pos], len(raw)
        for step, fields in fused.steps:
            end = step(raw, pos, marks)
            if end > size:
                _refuse(raw, pos, fields)
            pos = end
        if pos < size:
            raise DecodeError("bytes follow the last field", field="end", offset=pos)
        return marks

    def _compose(self, raw: bytes) -> tuple[Composed, list[int]]:
        """Check a message of any bitmap, octet by octet of it."""
        if not self.has_mti(raw):
            raise self._mti_error(raw)
        octets, pos = self.bitmaps.read_octets(raw, self.mti_end)
        marks, size = [pos], len(raw)
        found: list[Piece] = []
        has_map = False
        # The bitmaps end first, and may grow by one while they are read.
        for octet, pieces in zip(octets, self._pieces):  # noqa: B905
            if octet:
                piece, start = pieces[octet], pos
                for step, fields in piece.steps:
                    end = step(raw, pos, marks)
                    if end > size:
                        _refuse(raw, pos, fields)
                    pos = end
                found.append(piece)
                if piece.has_map:
                    has_map = True
                    octets += self.bitmaps.read_map(raw, start, 2)
        if pos < size:
            raise DecodeError("bytes follow the last field", field="end", offset=pos)
        return Composed(self, found, has_map=has_map), marks

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


class _Taught(Generic[K, V]):
    """What has been worked out for keys that keep coming.

    Both what is kept and what is counted are bounded; the oldest leaves first.
    """

    __slots__ = ("_sightings", "_sightings_needed", "_size_max", "known")

    def __init__(self, size_max: int, sightings_needed: int) -> None:
        self.known: dict[K, V] = {}
        self._sightings: dict[K, int] = {}
        self._size_max = size_max
        self._sightings_needed = sightings_needed

    def is_due(self, key: K) -> bool:
        """Count a good message of an unknown key; True when it has come often."""
        count = self._sightings.get(key, 0) + 1
        if count >= self._sightings_needed:
            return key not in self.known
        if len(self._sightings) >= SIGHTINGS_MAX:
            self._sightings.clear()
        self._sightings[key] = count
        return False

    def learn(self, key: K, value: V) -> None:
        """Keep what was worked out."""
        self._sightings.pop(key, None)
        if len(self.known) >= self._size_max:
            del self.known[next(iter(self.known))]
        self.known[key] = value


def compile_spec(spec: Spec) -> Codec:
    """Build the codec of a layout; do it once and keep it."""
    return Codec(spec)


def _refuse(raw: bytes, pos: int, fields: Sequence[FieldCodec]) -> NoReturn:
    """Raise what is wrong with the first bad one of these fields; there is one."""
    following = iter(fields)
    while True:
        pos = next(following).check(raw, pos)


def _latin(part: bytes, spec: Spec) -> str:
    return to_view(part, spec.charset).decode("latin-1")
