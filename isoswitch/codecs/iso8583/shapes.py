"""Shapes: messages of one bitmap and one set of lengths, checked in a single look.

When all lengths are known, every field stands at a fixed place and the whole message
is one regular expression: the bytes of type indicator, bitmaps and length prefixes as
they are, and for the data as many bytes of the right class as the prefix says.

    0200\\x60...  16   [0-9]{16}  [0-9]{6}  37  [0-9=D...]{37}  ...  .{8}

No part of it can match in two ways, so a refusal takes no longer than a match. All
values of one storage are cut out by one call, and a change of fixed fields is one cut
of the message beside its new data, joined again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial, reduce
from itertools import groupby
from operator import itemgetter
from types import MappingProxyType
from typing import Any, NamedTuple

from isoswitch.codecs.iso8583.arrangement import Arrangement, Marks
from isoswitch.codecs.iso8583.charsets import TO_VIEW, decode_text
from isoswitch.codecs.iso8583.classes import class_of, spans_of
from isoswitch.codecs.iso8583.fields import (
    FieldCodec,
    PackedField,
    RawField,
    TextField,
    Value,
)
from isoswitch.codecs.iso8583.runs import Place, Put, Refused, puts_of, storage_of

SPLICES_MAX = 64

WHOLE: Marks = (0,)
"""The marks of all messages of a shape: places count from the first byte."""

Cut = Callable[[Any], Sequence[Any]]
"""Cuts several slices out of text or bytes."""

View = Callable[[bytes], str | bytes]
"""Gives a message in a form of which values are slices."""


_VIEWS: Mapping[str, View] = MappingProxyType(
    {
        "octets": bytes,
        "nibbles": bytes.hex,
        # A message in ASCII may hold other bytes between its characters.
        "ascii": partial(str, encoding="latin-1"),
        "latin-1": partial(str, encoding="latin-1"),
        **{name: partial(decode_text, charset=name) for name in TO_VIEW},
    }
)


class _Stand(NamedTuple):
    """A field where it stands in all messages of a shape."""

    field: FieldCodec
    positions: int
    start: int
    end: int


class Shape(Arrangement):
    """The arrangement of messages that agree in all lengths.

    Parameters
    ----------
    model
        The arrangement of a message that came often; each byte can be judged alone.
        raw, marks
        That message.
    """

    def __init__(self, model: Arrangement, raw: bytes, marks: Marks) -> None:
        super().__init__(model.compiled, model.order, model.numbers)
        stands = [
            _stand(field, raw, marks, model.places[field.de]) for field in model.order
        ]
        self.places = {field.de: (0, start, 0, end) for field, _, start, end in stands}
        self.matches = _pattern(raw, stands).fullmatch
        self._model = model
        self._stands = {stand.field.de: stand for stand in stands}
        self._size = len(raw)
        self._blank: dict[int, Value] = dict.fromkeys(self.numbers, "")
        self._cuts, self._singles = _readings(stands)
        self._splices: dict[tuple[int, ...], tuple[Put, Cut]] = {}

    @property
    def general(self) -> Arrangement:
        """The arrangement of the same fields whatever their lengths."""
        return self._model

    def values(self, raw: bytes, marks: Marks) -> dict[int, Value]:
        """The values of all fields of a message of this shape."""
        values = self._blank.copy()
        for numbers, cut, view in self._cuts:
            # Equal in number by construction; to have it checked is not free.
            values.update(zip(numbers, cut(view(raw))))  # noqa: B905
        for field, _, start, end in self._singles:
            values[field.de] = field.read(raw, start, end)
        return values

    def splice(self, raw: bytes, marks: Marks, changes: Mapping[int, Any]) -> bytes:
        """Give the message with other values in some of its fixed fields, or raise."""
        numbers = tuple(changes)
        put, cut = self._splices.get(numbers) or self._learn_splice(numbers)
        return b"".join(cut(raw + put(changes)))

    def _learn_splice(self, numbers: tuple[int, ...]) -> tuple[Put, Cut]:
        """How to encode these fields at once, and how to cut them into the message.

        The data are put behind the message, in the order of their encoding; what is
        cut out of both are the bytes that follow each other there.
        """
        stands = [self._stands[de] for de in numbers]
        stands.sort(key=lambda stand: storage_of(stand.field))
        if any(stand.field.lengths for stand in stands):
            raise Refused
        puts = puts_of([stand.field for stand in stands], self.compiled.classes)
        sources = list(range(self._size))
        at = self._size
        for _, _, start, end in stands:
            sources[start:end] = range(at, at := at + end - start)
        cut = itemgetter(*(slice(first, end) for first, end in spans_of(sources)))
        learnt = reduce(_put_both, puts), cut
        if len(self._splices) < SPLICES_MAX:
            self._splices[numbers] = learnt
        return learnt


def _stand(field: FieldCodec, raw: bytes, marks: Marks, place: Place) -> _Stand:
    mark, begin, last, stop = place
    start, end = marks[mark] + begin, marks[last] + stop
    positions = field.spec.max
    if field.lengths is not None:
        positions = field.lengths[raw[start - field.prefix : start]]
    return _Stand(field, positions, start, end)


def _pattern(raw: bytes, stands: Sequence[_Stand]) -> re.Pattern[bytes]:
    """What every message of a shape matches: a class or its own value for each byte."""
    octets: list[bytes] = []
    for field, positions, start, _ in stands:
        octets += (re.escape(bytes([octet])) for octet in raw[len(octets) : start])
        octets += (
            b"." if admitted is None else class_of(admitted)
            for admitted in field.byte_sets(positions) or ()
        )
    runs = [(octet, len(list(run))) for octet, run in groupby(octets)]
    # A run over several fields is matched as fast as one field.
    pattern = [octet if n == 1 else b"%b{%d}" % (octet, n) for octet, n in runs]
    return re.compile(b"".join(pattern), re.DOTALL)


def _readings(
    stands: Sequence[_Stand],
) -> tuple[list[tuple[list[int], Cut, View]], list[_Stand]]:
    """What is cut out of a view of the message together, and what is read alone."""
    by_view: dict[str, list[_Stand]] = {}
    for stand in stands:
        by_view.setdefault(_view_of(stand.field), []).append(stand)
    singles = by_view.pop("", [])
    cuts: list[tuple[list[int], Cut, View]] = []
    for view, members in by_view.items():
        if len(members) == 1:
            singles += members
            continue
        cut = itemgetter(*map(_slice_of, members))
        cuts.append(([stand.field.de for stand in members], cut, _VIEWS[view]))
    return cuts, singles


def _view_of(field: FieldCodec) -> str:
    if isinstance(field, TextField):
        return field.charset
    if isinstance(field, RawField):
        return "octets"
    return "nibbles" if isinstance(field, PackedField) and field.spec.cls == "n" else ""


def _slice_of(stand: _Stand) -> slice:
    field, positions, start, end = stand
    if not isinstance(field, PackedField):
        return slice(start, end)
    odd = positions % 2
    return slice(2 * start + odd * field.left, 2 * end - odd * (not field.left))


def _put_both(first: Put, second: Put) -> Put:
    return lambda values: first(values) + second(values)
