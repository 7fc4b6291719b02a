"""The fast lane: neighbouring fields fused into one check and one encoding.

A message of eighteen fields is some eight *runs*: fixed fields of one class that stand
side by side, or one variable field. A run of nine numeric fields is one slice and one
``isdigit``. A run only says yes or no: on no it raises ``Refused``, and the same
bytes or values go through the field codecs one by one, which say precisely why.

Positions are kept in *marks*: the start of the body, then the end of each variable
field. A place names a field by the mark it counts from, so that a message needs no
table of offsets of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter

from isoswitch.codecs.iso8583.charsets import FROM_VIEW
from isoswitch.codecs.iso8583.fields import (
    FieldCodec,
    HexField,
    PackedField,
    RawField,
    TextField,
    Value,
    WideTextField,
)

Step = Callable[[bytes, bytes, str, int, list[int]], int]
"""Checks a run: raw, view, nibbles, position, marks; gives its end or raises."""

Put = Callable[[Mapping[int, Value]], bytes]
"""Encodes a run of the given values, or raises."""

Place = tuple[int, int, int, int]
"""Start and end of a field's data: each a mark and what to add to it."""

Accepts = Callable[[bytes], object]


class Refused(LookupError):
    """The fast lane cannot take this; the field codecs decide."""


REFUSALS = (LookupError, TypeError, ValueError, AttributeError)
"""What a run may raise instead of ``Refused``, as Python's own checks do."""


def fuse(fields: Sequence[FieldCodec]) -> tuple[tuple[Step, ...], tuple[Put, ...]]:
    """Give the checks and the encodings of fields that stand in this order."""
    pairs = [_RUNS[kind[0]](list(run)) for kind, run in groupby(fields, _kind)]
    return tuple(step for step, _ in pairs), tuple(put for _, put in pairs)


def places_of(fields: Sequence[FieldCodec]) -> dict[int, Place]:
    """Say where each field stands, counted from the marks of fused runs."""
    places: dict[int, Place] = {}
    mark = offset = 0
    for field in fields:
        if field.lengths is None:
            end = offset + field.size(field.spec.max)
            places[field.de] = (mark, offset, mark, end)
            offset = end
        else:
            places[field.de] = (mark, offset + field.prefix, mark + 1, 0)
            mark, offset = mark + 1, 0
    return places


def _kind(field: FieldCodec) -> tuple[str, str, int]:
    """What fields must share to stand in one run; variable ones share nothing."""
    cls = field.spec.cls
    if field.lengths is not None:
        return _variable_kind(field), cls, field.de
    if isinstance(field, RawField):
        return "raw", cls, 0
    if isinstance(field, HexField):
        return "hex", cls, field.de
    if isinstance(field, PackedField):
        return ("packed", cls, 0) if cls == "n" else ("single", cls, field.de)
    if _is_plain_text(field) and cls != "x+n":
        return "text", cls, 0
    return "single", cls, field.de


def _variable_kind(field: FieldCodec) -> str:
    if isinstance(field, RawField):
        return "raw variable"
    if _is_plain_text(field):
        return "text variable"
    if isinstance(field, PackedField) and not field.counts_bytes:
        return "packed variable"
    return "single variable"


def _is_plain_text(field: FieldCodec) -> bool:
    if not isinstance(field, TextField) or isinstance(field, WideTextField):
        return False
    return field.in_view


def _accepts(field: TextField) -> Accepts:
    """The cheapest exact test of a class on bytes of the view."""
    if field.spec.cls == "n":
        return bytes.isdigit
    if field.spec.cls == "text" and field.charset == "ascii":
        return bytes.isascii
    return field.pattern.fullmatch


def _getter(
    run: Sequence[FieldCodec],
) -> Callable[[Mapping[int, Value]], tuple[Value, ...]]:
    if len(run) > 1:
        return itemgetter(*(field.de for field in run))
    de = run[0].de
    return lambda values: (values[de],)


def _text_run(run: list[FieldCodec]) -> tuple[Step, Put]:
    first = run[0]
    assert isinstance(first, TextField)
    sizes = tuple(field.spec.max for field in run)
    size = sum(sizes)
    accepts = _accepts(first)
    table = FROM_VIEW.get(first.charset)
    values_of = _getter(run)

    def step(raw: bytes, view: bytes, nibbles: str, pos: int, marks: list[int]) -> int:
        end = pos + size
        if accepts(view[pos:end]):
            return end
        raise Refused

    def put(values: Mapping[int, Value]) -> bytes:
        parts = values_of(values)
        if tuple(map(len, parts)) == sizes:
            data = "".join(parts).encode("latin-1")  # type: ignore[arg-type]  # bytes raise
            if accepts(data):
                return data if table is None else data.translate(table)
        raise Refused

    return step, put


def _text_variable(run: list[FieldCodec]) -> tuple[Step, Put]:
    field = run[0]
    assert isinstance(field, TextField)
    assert field.lengths is not None
    de, prefix, top = field.de, field.prefix, field.spec.max
    read, write = field.lengths.read, field.lengths.write
    accepts = _accepts(field)
    table = FROM_VIEW.get(field.charset)

    def step(raw: bytes, view: bytes, nibbles: str, pos: int, marks: list[int]) -> int:
        start = pos + prefix
        size = read(raw[pos:start])
        end = start + size
        if size > 0:
            if not accepts(view[start:end]):
                raise Refused
        elif size:
            raise Refused
        marks.append(end)
        return end

    def put(values: Mapping[int, Value]) -> bytes:
        data = values[de].encode("latin-1")  # type: ignore[union-attr]  # bytes raise
        if len(data) <= top and (accepts(data) or not data):
            return write(len(data)) + (data if table is None else data.translate(table))
        raise Refused

    return step, put


def _packed_run(run: list[FieldCodec]) -> tuple[Step, Put]:
    sizes = tuple(field.spec.max for field in run)
    size = sum(field.size(field.spec.max) for field in run)
    template, fillers = _packed_template(run)
    values_of = _getter(run)

    def step(raw: bytes, view: bytes, nibbles: str, pos: int, marks: list[int]) -> int:
        end = pos + size
        digits = nibbles[2 * pos : 2 * end]
        for place, filler in fillers:
            if digits[place] != filler:
                raise Refused
        if digits.isdecimal():
            return end
        raise Refused

    def put(values: Mapping[int, Value]) -> bytes:
        parts = values_of(values)
        if tuple(map(len, parts)) == sizes:
            digits = template % parts
            if digits.isdecimal():
                return bytes.fromhex(digits)
        raise Refused

    return step, put


def _packed_template(
    run: Sequence[FieldCodec],
) -> tuple[str, tuple[tuple[int, str], ...]]:
    template, place = "", 0
    fillers = []
    for field in run:
        assert isinstance(field, PackedField)
        odd = field.spec.max % 2
        left = odd and field.left
        template += f"{field.filler}%s" if left else "%s"
        template += field.filler if odd and not left else ""
        if odd:
            fillers.append((place if left else place + field.spec.max, field.filler))
        place += field.spec.max + odd
    return template, tuple(fillers)


def _packed_variable(run: list[FieldCodec]) -> tuple[Step, Put]:
    field = run[0]
    assert isinstance(field, PackedField)
    assert field.lengths is not None
    prefix, filler, left = field.prefix, field.filler, field.left
    read = field.lengths.read
    numeric = field.spec.cls == "n"

    def step(raw: bytes, view: bytes, nibbles: str, pos: int, marks: list[int]) -> int:
        start = pos + prefix
        size = read(raw[pos:start])
        if size < 0:
            raise Refused
        end = start + (size + 1) // 2
        first = 2 * start
        if size % 2:
            if nibbles[first if left else first + size] != filler:
                raise Refused
            first += left
        if numeric and size and not nibbles[first : first + size].isdecimal():
            raise Refused
        marks.append(end)
        return end

    return step, _single_put(field)


def _raw_run(run: list[FieldCodec]) -> tuple[Step, Put]:
    size = sum(field.spec.max for field in run)
    sizes = tuple(field.spec.max for field in run)
    values_of = _getter(run)

    def step(raw: bytes, view: bytes, nibbles: str, pos: int, marks: list[int]) -> int:
        return pos + size

    def put(values: Mapping[int, Value]) -> bytes:
        parts = values_of(values)
        if tuple(map(len, parts)) == sizes:
            return b"".join(parts)  # type: ignore[arg-type]  # text raises
        raise Refused

    return step, put


def _raw_variable(run: list[FieldCodec]) -> tuple[Step, Put]:
    field = run[0]
    assert field.lengths is not None
    prefix, read = field.prefix, field.lengths.read

    def step(raw: bytes, view: bytes, nibbles: str, pos: int, marks: list[int]) -> int:
        start = pos + prefix
        size = read(raw[pos:start])
        if size < 0:
            raise Refused
        marks.append(start + size)
        return start + size

    return step, _single_put(field)


def _hex_single(run: list[FieldCodec]) -> tuple[Step, Put]:
    field = run[0]
    size = field.spec.max
    unhex = bytes.fromhex

    def step(raw: bytes, view: bytes, nibbles: str, pos: int, marks: list[int]) -> int:
        end = pos + 2 * size
        # Blanks, which fromhex skips, would leave too few bytes.
        if len(unhex(view[pos:end].decode())) == size:
            return end
        raise Refused

    return step, _single_put(field)


def _single(run: list[FieldCodec]) -> tuple[Step, Put]:
    field = run[0]
    check = field.check

    def step(raw: bytes, view: bytes, nibbles: str, pos: int, marks: list[int]) -> int:
        return check(raw, view, pos)[1]

    return step, _single_put(field)


def _single_variable(run: list[FieldCodec]) -> tuple[Step, Put]:
    field = run[0]
    check = field.check

    def step(raw: bytes, view: bytes, nibbles: str, pos: int, marks: list[int]) -> int:
        end = check(raw, view, pos)[1]
        marks.append(end)
        return end

    return step, _single_put(field)


def _single_put(field: FieldCodec) -> Put:
    de, put_value = field.de, field.put

    def put(values: Mapping[int, Value]) -> bytes:
        return put_value(values[de])

    return put


_RUNS: Mapping[str, Callable[[list[FieldCodec]], tuple[Step, Put]]] = {
    "text": _text_run,
    "text variable": _text_variable,
    "packed": _packed_run,
    "packed variable": _packed_variable,
    "raw": _raw_run,
    "raw variable": _raw_variable,
    "hex": _hex_single,
    "single": _single,
    "single variable": _single_variable,
}
