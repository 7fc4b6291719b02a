"""The fields of one bitmap: where they stand, how they are read and changed.

Positions are kept in *marks*: the start of the body, then the end of each variable
field. A place names a field by the mark it counts from, so that a message needs no
table of offsets of its own.

An arrangement is made for one message; traffic that keeps coming has its own kinds,
with the same answers sooner: ``Fused`` for a bitmap, ``Shape`` for a bitmap and the
lengths of all fields.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from isoswitch.codecs.iso8583.bitmaps import octets_of
from isoswitch.codecs.iso8583.compiled import CompiledSpec
from isoswitch.codecs.iso8583.fields import FieldCodec, Value
from isoswitch.codecs.iso8583.lengths import Lengths
from isoswitch.codecs.iso8583.masking import Mask
from isoswitch.codecs.iso8583.runs import (
    Place,
    Refused,
    places_of,
    puts_of,
    steps_of,
)

Marks = Sequence[int]


class Arrangement:
    """The fields of one bitmap, in order, and where they stand."""

    def __init__(
        self,
        compiled: CompiledSpec,
        order: Sequence[FieldCodec],
        numbers: Sequence[int],
    ) -> None:
        self.compiled = compiled
        self.order = order
        map_field = compiled.map_field
        self.has_map = map_field is not None and map_field in order
        if self.has_map:
            # A third bitmap that stands in a field is no value.
            numbers = [de for de in numbers if de != 65]
        self.numbers = tuple(numbers)

    @property
    def general(self) -> Arrangement:
        """The arrangement of the same fields whatever their lengths."""
        return self

    @cached_property
    def present(self) -> frozenset[object]:
        """The numbers of its fields, to look one up."""
        return frozenset(self.numbers)

    @cached_property
    def masks(self) -> Sequence[tuple[int, str, Mask | None]]:
        """Each field with its name and its mask; none where the value may be shown."""
        masks = self.compiled.masks
        return [(de, *masks[de]) for de in self.numbers]

    @cached_property
    def places(self) -> Mapping[int, Place]:
        """Where the data of each field starts and ends, counted from marks."""
        places = places_of(self.order)
        return {de: places[de] for de in self.numbers}

    @cached_property
    def hops(self) -> Sequence[tuple[int, FieldCodec, Lengths]]:
        """The variable fields, and the fixed bytes that stand before each."""
        hops, gap = [], 0
        for field in self.order:
            if field.lengths is None:
                gap += field.fixed_size
            else:
                hops.append((gap, field, field.lengths))
                gap = 0
        return hops

    def measure(self, raw: bytes) -> Marks:
        """The marks of a message that is known to be good."""
        compiled = self.compiled
        marks = [pos := compiled.bitmaps.end(raw, compiled.mti_end)]
        for gap, field, lengths in self.hops:
            pos += gap
            start = pos + field.prefix
            pos = start + field.size(lengths[raw[pos:start]])
            marks.append(pos)
        return marks

    def values(self, raw: bytes, marks: Marks) -> dict[int, Value]:
        """The values of all fields of a checked message."""
        values: dict[int, Value] = {}
        mark, pos = 0, marks[0]
        for field in self.order:
            if field.lengths is None:
                start, pos = pos, pos + field.fixed_size
            else:
                mark += 1
                start, pos = pos + field.prefix, marks[mark]
            values[field.de] = field.read(raw, start, pos)
        if self.has_map:
            del values[65]
        return values

    def splice(self, raw: bytes, marks: Marks, changes: Mapping[int, Any]) -> bytes:
        """Give the message with other values in some of its fixed fields, or raise.

        Like all of the fast lane it only says yes or no; see ``FALLBACKS``.
        """
        spliced = bytearray(raw)
        for de in changes:
            mark, start, last, end = self.places[de]
            if mark != last:
                raise Refused
            base = marks[mark]
            spliced[base + start : base + end] = self.compiled.puts[de](changes)
        return bytes(spliced)


class Fused(Arrangement):
    """An arrangement whose fields are checked and encoded many at a time."""

    def __init__(self, loose: Arrangement) -> None:
        super().__init__(loose.compiled, loose.order, loose.numbers)
        classes = self.compiled.classes
        self.steps = steps_of(self.order, classes)
        self.puts = puts_of(self.order, classes)
        self.has_shapes = all(
            field.byte_sets(field.spec.max) is not None for field in self.order
        )


def assemble(
    compiled: CompiledSpec, mti: str, parts: Mapping[int, bytes]
) -> tuple[Arrangement, bytes]:
    """Give a message of fields that are encoded already, prefix included.

    Raises
    ------
    EncodeError
        The type indicator is unknown.
    """
    numbers = sorted(parts)
    order = [compiled.fields[de] for de in numbers]
    bodies = [parts[de] for de in numbers]
    bitmaps = compiled.bitmaps
    if compiled.map_field is not None and numbers and numbers[-1] > 128:
        place = sum(de < 65 for de in numbers)
        order.insert(place, compiled.map_field)
        bodies.insert(place, bitmaps.write_map(octets_of(numbers, 129, 192)))
    raw = compiled.write_mti(mti) + bitmaps.write(numbers) + b"".join(bodies)
    return Arrangement(compiled, order, numbers), raw
