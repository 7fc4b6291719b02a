"""Pieces: the fields of one octet of the bitmaps, fused for any bitmap that has it.

Whatever bitmap a message comes with, it is made of octets of which there are few: 255
for each of eight places in each map. What is worked out for one of them serves all
bitmaps it stands in, so a bitmap never seen before costs little more than one that
keeps coming, and no flood of bitmaps makes more pieces than there are octets.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from isoswitch.codecs.canonical.errors import DecodeError
from isoswitch.codecs.iso8583.arrangement import Arrangement
from isoswitch.codecs.iso8583.bitmaps import numbers_of
from isoswitch.codecs.iso8583.compiled import CompiledSpec
from isoswitch.codecs.iso8583.fields import FieldCodec
from isoswitch.codecs.iso8583.runs import Step, steps_of


class Piece:
    """The fields that one octet names, up to one that is not in the layout."""

    __slots__ = ("has_map", "numbers", "order", "steps")

    def __init__(self, compiled: CompiledSpec, numbers: Sequence[int]) -> None:
        self.numbers = numbers
        self.order: list[FieldCodec] = []
        for de in numbers:
            field = compiled.field(de)
            if field is None:
                break
            self.order.append(field)
        self.has_map = compiled.map_field in self.order
        self.steps = steps_of(self.order, compiled.classes)
        if len(self.order) < len(numbers):
            self.steps += ((_unknown_step(numbers[len(self.order)]), ()),)


class Composed(Arrangement):
    """An arrangement of pieces, worked out when it is asked."""

    def __init__(
        self, compiled: CompiledSpec, pieces: Sequence[Piece], *, has_map: bool
    ) -> None:
        self.compiled = compiled
        self.has_map = has_map
        self._pieces = pieces

    @cached_property
    def order(self) -> Sequence[FieldCodec]:  # type: ignore[override] # may be set
        """The fields, a third bitmap that stands in one included."""
        return [field for piece in self._pieces for field in piece.order]

    @cached_property
    def numbers(self) -> tuple[int, ...]:  # type: ignore[override] # may be set
        """The data elements, in order."""
        numbers = [de for piece in self._pieces for de in piece.numbers]
        if self.has_map:
            numbers.remove(65)
        return tuple(numbers)


class Pieces(dict[int, Piece]):
    """The pieces of one octet of the bitmaps by its value, made when first met."""

    __slots__ = ("_compiled", "_first")

    def __init__(self, compiled: CompiledSpec, index: int) -> None:
        super().__init__()
        self._compiled = compiled
        self._first = 8 * index + 1

    def __missing__(self, octet: int) -> Piece:
        numbers = tuple(numbers_of(bytes([octet]), self._first))
        piece = self[octet] = Piece(self._compiled, numbers)
        return piece


def pieces_of(compiled: CompiledSpec) -> tuple[Pieces, ...]:
    """Give the pieces of each octet of the bitmaps of a layout.

    Examples
    --------
    >>> from isoswitch.codecs.iso8583.specs import get_codec
    >>> pieces_of(get_codec("iso87-ascii"))[1][0b1010_0000].numbers
    (9, 11)
    """
    return tuple(Pieces(compiled, index) for index in range(24))


def _unknown_step(de: int) -> Step:
    def step(raw: bytes, pos: int, marks: list[int]) -> int:
        reason = "field is not in this layout"
        raise DecodeError(reason, field=str(de), offset=pos)

    return step
