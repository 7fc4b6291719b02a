"""The fast lane: neighbouring fields fused into one check, one read, one encoding.

A message is cut into *segments*: a variable field, if any, and the fixed fields up to
the next one. All fixed fields of a segment are checked at once. Every byte of the
layout has a set of values it may take; each distinct set is a bit, a table gives for
each byte value the sets it belongs to, and a whole run is good when

    int(run.translate(table)) & mask == mask

where the mask has, at each place, the bit of the set required there. Fields of one
storage (text, packed digits, bytes) that stand side by side are read and encoded as
one *group*.

The lane only says yes or no: on no it raises ``Refused``, or whatever Python raises,
and the same input goes through the field codecs one by one, which say why.

Positions are kept in *marks*: the start of the body, then the end of each variable
field. A place names a field by the mark it counts from, so that a message needs no
table of offsets of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from isoswitch.codecs.canonical.errors import DecodeError, EncodeError
from isoswitch.codecs.iso8583.charsets import FROM_VIEW
from isoswitch.codecs.iso8583.classes import ByteSet, bytes_of
from isoswitch.codecs.iso8583.fields import (
    FieldCodec,
    HexField,
    PackedField,
    RawField,
    SignedTextField,
    TextField,
)
from isoswitch.codecs.iso8583.lengths import NO_LENGTH

Step = Callable[[bytes, int, list[int]], int]
"""Checks a segment: message, position, marks; gives its end.

To refuse is to end past the message: the fields of the segment know why. A field that
is a segment of its own may say so itself.
"""

NOWHERE = NO_LENGTH
"""Past any message."""

Put = Callable[["Values"], bytes]
"""Encodes a group of the given values, or raises."""

Place = tuple[int, int, int, int]
"""Start and end of a field's data: each a mark and what to add to it."""

Values = Mapping[int, Any]
"""Not checked before: a value of a wrong type raises in the lane."""


class Refused(LookupError):
    """The fast lane cannot take this; the field codecs decide."""


FALLBACKS = (
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    DecodeError,
    EncodeError,
)
"""All that encoding in the fast lane raises; none of it is the verdict."""

_SETS_MAX = 8
_PREFIXES_LISTED_MAX = 999
_NO_BYTE: ByteSet = b""


class ByteClasses:
    """The byte sets of a layout as bits: at most eight, others get none."""

    def __init__(self, fields: Iterable[FieldCodec], charset: str) -> None:
        self.charset = charset
        bits: dict[ByteSet | None, int] = {None: 0}
        for field in fields:
            sets = None if field.lengths else field.byte_sets(field.spec.max)
            for admitted in sets or ():
                if len(bits) <= _SETS_MAX:
                    bits.setdefault(admitted, 1 << (len(bits) - 1))
        self._bits = bits
        self.table = bytes(
            sum(bit for sets, bit in bits.items() if sets and octet in sets)
            for octet in range(256)
        )

    def mask(self, fields: Sequence[FieldCodec]) -> int | None:
        """The mask of fixed fields side by side; None where some set has no bit."""
        bits = [
            self._bits.get(admitted, -1)
            for field in fields
            for admitted in field.byte_sets(field.spec.max) or [_NO_BYTE]
        ]
        return None if -1 in bits else int.from_bytes(bits, "big")


def steps_of(
    fields: Sequence[FieldCodec], classes: ByteClasses
) -> tuple[tuple[Step, Sequence[FieldCodec]], ...]:
    """Give the checks of the segments of a message, each with its fields."""
    steps: list[tuple[Step, Sequence[FieldCodec]]] = []
    for head, tail in _segments(fields):
        segment = tail if head is None else [head, *tail]
        mask = classes.mask(tail)
        if mask is None or (head is not None and not _is_plain(head)):
            steps += [(_precise_step(field), ()) for field in segment]
        elif head is None:
            steps.append((_fixed_step(_Tail(tail, mask, classes.table)), segment))
        elif isinstance(head, PackedField):
            step = _packed_step(head, _Tail(tail, mask, classes.table))
            steps.append((step, segment))
        else:
            step = _plain_step(head, _Tail(tail, mask, classes.table))
            steps.append((step, segment))
    return tuple(steps)


def puts_of(fields: Sequence[FieldCodec], classes: ByteClasses) -> tuple[Put, ...]:
    """Give the encodings of the groups of these fields."""
    return tuple(put_of(list(run), classes) for _, run in groupby(fields, storage_of))


def places_of(fields: Sequence[FieldCodec]) -> dict[int, Place]:
    """Say where each field stands, counted from the marks."""
    places: dict[int, Place] = {}
    mark = offset = 0
    for field in fields:
        if field.lengths is None:
            end = offset + field.fixed_size
            places[field.de] = (mark, offset, mark, end)
            offset = end
        else:
            places[field.de] = (mark, offset + field.prefix, mark + 1, 0)
            mark, offset = mark + 1, 0
    return places


def put_of(group: Sequence[FieldCodec], classes: ByteClasses) -> Put:
    """Give the encoding of fields of one storage that stand side by side."""
    first = group[0]
    if isinstance(first, TextField):
        if first.lengths is not None:
            return _put_variable_text(first)
        mask = classes.mask(group)
        if mask is None:
            return _put_each(group)
        return _put_text(group, mask, classes.table)
    if first.lengths is None and isinstance(first, RawField):
        return _put_raw(group)
    if first.lengths is None and isinstance(first, PackedField):
        return _put_packed(group)
    if isinstance(first, RawField):
        return _put_variable_raw(first)
    if isinstance(first, PackedField) and not first.counts_bytes:
        return _put_variable_packed(first)
    return _put_hex(first) if isinstance(first, HexField) else _put_precise(first)


def _segments(
    fields: Sequence[FieldCodec],
) -> Iterator[tuple[FieldCodec | None, list[FieldCodec]]]:
    head: FieldCodec | None = None
    tail: list[FieldCodec] = []
    for field in fields:
        if field.lengths is None and field.byte_sets(field.spec.max) is not None:
            tail.append(field)
            continue
        if head is not None or tail:
            yield head, tail
        head, tail = field, []
    if head is not None or tail:
        yield head, tail


def _is_plain(head: FieldCodec) -> bool:
    """Whether the data of a variable field can be checked as one run."""
    if isinstance(head, PackedField):
        return not head.counts_bytes
    return isinstance(head, (TextField, RawField)) and head.lengths is not None


def storage_of(field: FieldCodec) -> tuple[str, str | int]:
    """What fields must share to be one group; variable ones share nothing."""
    if field.lengths is None:
        if isinstance(field, TextField):
            return "text", field.charset
        if isinstance(field, RawField):
            return "raw", ""
        if isinstance(field, PackedField) and field.spec.cls == "n":
            return "packed", ""
    return "single", field.de


class _Tail:
    """The fixed fields of a segment: their bytes, and how to check these."""

    def __init__(self, fields: Sequence[FieldCodec], mask: int, table: bytes) -> None:
        self.size = sum(field.fixed_size for field in fields)
        self.is_digits = _are_digits(fields)
        self.mask = 0 if self.is_digits else mask
        self.table = table


def _are_digits(fields: Sequence[FieldCodec]) -> bool:
    digits = bytes_of("n", "ascii")
    sets = [
        admitted
        for field in fields
        for admitted in field.byte_sets(field.spec.max) or [None]
    ]
    return bool(sets) and all(admitted == digits for admitted in sets)


def _fixed_step(tail: _Tail) -> Step:
    size, mask, table = tail.size, tail.mask, tail.table
    number = int.from_bytes

    def check_digits(raw: bytes, pos: int, marks: list[int]) -> int:
        end = pos + size
        return end if raw[pos:end].isdigit() else NOWHERE

    def check_classes(raw: bytes, pos: int, marks: list[int]) -> int:
        end = pos + size
        is_good = number(raw[pos:end].translate(table), "big") & mask == mask
        return end if is_good else NOWHERE

    def skip(raw: bytes, pos: int, marks: list[int]) -> int:
        return pos + size

    if tail.is_digits:
        return check_digits
    return check_classes if mask else skip


def _plain_step(head: FieldCodec, tail: _Tail) -> Step:
    assert head.lengths is not None
    prefix, sizes = head.prefix, head.lengths
    admitted = head.admitted
    size, is_digits, mask, table = tail.size, tail.is_digits, tail.mask, tail.table
    number = int.from_bytes

    def step(raw: bytes, pos: int, marks: list[int]) -> int:
        start = pos + prefix
        pos = start + sizes[raw[pos:start]]
        if admitted is not None and raw[start:pos].lstrip(admitted):
            return NOWHERE
        marks.append(pos)
        end = pos + size
        if is_digits:
            if not raw[pos:end].isdigit():
                return NOWHERE
        elif mask and number(raw[pos:end].translate(table), "big") & mask != mask:
            return NOWHERE
        return end

    return step


def _packed_step(head: PackedField, tail: _Tail) -> Step:
    assert head.lengths is not None
    prefix, sizes = head.prefix, head.lengths
    filler, left, is_track = head.filler, head.left, head.spec.cls == "z"
    size, is_digits, mask, table = tail.size, tail.is_digits, tail.mask, tail.table
    number = int.from_bytes

    def step(raw: bytes, pos: int, marks: list[int]) -> int:
        start = pos + prefix
        digits = sizes[raw[pos:start]]
        pos = start + (digits + 1) // 2
        nibbles = raw[start:pos].hex()
        if digits % 2:
            if (nibbles[:1] if left else nibbles[-1:]) != filler:
                return NOWHERE
            nibbles = nibbles[1:] if left else nibbles[:-1]
        if not (is_track or nibbles.isdecimal() or digits == 0):
            return NOWHERE
        marks.append(pos)
        end = pos + size
        if is_digits:
            if not raw[pos:end].isdigit():
                return NOWHERE
        elif mask and number(raw[pos:end].translate(table), "big") & mask != mask:
            return NOWHERE
        return end

    return step


def _precise_step(field: FieldCodec) -> Step:
    check, is_variable = field.check, field.lengths is not None

    def step(raw: bytes, pos: int, marks: list[int]) -> int:
        end = check(raw, pos)
        if is_variable:
            marks.append(end)
        return end

    return step


def _values_of(group: Sequence[FieldCodec]) -> Callable[[Values], tuple[Any, ...]]:
    if len(group) > 1:
        return itemgetter(*(field.de for field in group))
    de = group[0].de
    return lambda values: (values[de],)


def _put_text(group: Sequence[FieldCodec], mask: int, table: bytes) -> Put:
    first = group[0]
    assert isinstance(first, TextField)
    if len(group) == 1:
        return _put_one_text(first)
    values_of = _values_of(group)
    template = "".join(f"%{field.spec.max}s" for field in group)
    size = sum(field.spec.max for field in group)
    is_digits = _are_digits(group)
    to_charset = FROM_VIEW.get(first.charset)
    number = int.from_bytes

    def put(values: Values) -> bytes:
        parts = values_of(values)
        text = template % parts
        # None is too long, for the template fills up; none is too short, for joined
        # alone they are as long.
        if not len(text) == size == len("".join(parts)):
            raise Refused
        data = text.encode("latin-1")
        if to_charset is not None:
            data = data.translate(to_charset)
        if is_digits:
            if not data.isdigit():
                raise Refused
        elif number(data.translate(table), "big") & mask != mask:
            raise Refused
        return data

    return put


def _put_one_text(field: TextField) -> Put:
    if isinstance(field, SignedTextField):
        return _put_precise(field)
    de, size, admitted = field.de, field.spec.max, field.admitted
    to_charset = FROM_VIEW.get(field.charset)

    def put(values: Values) -> bytes:
        data: bytes = values[de].encode("latin-1")
        if to_charset is not None:
            data = data.translate(to_charset)
        if len(data) == size and not data.lstrip(admitted):
            return data
        raise Refused

    return put


def _put_variable_text(field: TextField) -> Put:
    assert field.lengths is not None
    de, size = field.de, field.spec.max
    admitted = field.admitted
    write = _writer(field)
    to_charset = FROM_VIEW.get(field.charset)

    def put(values: Values) -> bytes:
        data: bytes = values[de].encode("latin-1")
        if to_charset is not None:
            data = data.translate(to_charset)
        if len(data) <= size and not data.lstrip(admitted):
            return write(len(data)) + data
        raise Refused

    return put


def _put_packed(group: Sequence[FieldCodec]) -> Put:
    values_of = _values_of(group)
    template = "".join(map(_packed_template, group))
    size = sum(field.spec.max for field in group)
    unhex = bytes.fromhex

    def put(values: Values) -> bytes:
        parts = values_of(values)
        # The template fills a short value with blanks, which are no digits; a long
        # one makes the whole too long.
        if len("".join(parts)) == size and (digits := template % parts).isdecimal():
            return unhex(digits)
        raise Refused

    return put


def _packed_template(field: FieldCodec) -> str:
    assert isinstance(field, PackedField)
    place = f"%{field.spec.max}s"
    if field.spec.max % 2 == 0:
        return place
    return field.filler + place if field.left else place + field.filler


def _put_raw(group: Sequence[FieldCodec]) -> Put:
    values_of = _values_of(group)
    sizes = tuple(field.spec.max for field in group)

    def put(values: Values) -> bytes:
        parts = values_of(values)
        if tuple(map(len, parts)) != sizes:
            raise Refused
        return b"".join(parts)

    return put


def _put_variable_raw(field: FieldCodec) -> Put:
    de, size, write = field.de, field.spec.max, _writer(field)

    def put(values: Values) -> bytes:
        data = values[de]
        if len(data) > size or not isinstance(data, bytes):
            raise Refused
        return write(len(data)) + data

    return put


def _put_variable_packed(field: PackedField) -> Put:
    de, size, write = field.de, field.spec.max, _writer(field)
    is_track = field.spec.cls == "z"
    before, after = (field.filler, "") if field.left else ("", field.filler)
    unhex = bytes.fromhex

    def put(values: Values) -> bytes:
        digits = values[de]
        count = len(digits)
        plain = digits.replace("D", "0", 1) if is_track else digits
        if count > size or not plain.isdecimal():
            raise Refused
        data = unhex(before + digits + after if count % 2 else digits)
        return write(count) + data

    return put


def _put_hex(field: HexField) -> Put:
    if field.lengths is not None or field.charset != "ascii":
        return _put_precise(field)
    de, size = field.de, field.spec.max

    def put(values: Values) -> bytes:
        data = values[de]
        if len(data) != size or not isinstance(data, bytes):
            raise Refused
        return data.hex().upper().encode()

    return put


def _writer(field: FieldCodec) -> Callable[[int], bytes]:
    """Length prefixes by number of positions, from a list where there are few."""
    assert field.lengths is not None
    if field.spec.max > _PREFIXES_LISTED_MAX or field.spec.length_unit == "bytes":
        return field.lengths.write
    return list(field.lengths).__getitem__


def _put_each(group: Sequence[FieldCodec]) -> Put:
    puts = [_put_precise(field) for field in group]
    return lambda values: b"".join(put(values) for put in puts)


def _put_precise(field: FieldCodec) -> Put:
    de, put_value = field.de, field.put

    def put(values: Values) -> bytes:
        return put_value(values[de])

    return put
