"""The kinds of fields within fields, each a frozen value that cuts and builds.

Positional   parts of fixed size one after the other; the last may be missing
Bitmapped    a bitmap, then the parts whose bits are set
TagLength    tag, length, value, again and again; text or binary
BerTlv       BER-TLV with EMV's dictionary, or flat with names of its own
KeyValue     Postilion's structured data: length of length, length, text
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from isoswitch.codecs.canonical.errors import DecodeError, EncodeError
from isoswitch.codecs.composites.model import (
    ELEMENTS_MAX,
    Composite,
    Element,
    Layout,
    Masking,
    Value,
    join,
)
from isoswitch.codecs.emv.contactless import Scheme, find_scheme_in, find_tag
from isoswitch.codecs.emv.tlv import Tlv, TlvList, decode_tlv, primitive
from isoswitch.codecs.iso8583.charsets import decode_text, encode_text

Coding = Literal["decimal", "hex", "binary"]

REST = "+"
BITMAP = "bitmap"

_BASES: Mapping[Coding, int] = {"decimal": 10, "hex": 16}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of a layout by position or bit.

    ``size`` is that of the value, or its maximum where ``prefix`` digits or bytes of
    length stand before it. A size of 0 takes all that is left. A part of bytes with a
    ``charset`` is text.
    """

    name: str
    size: int
    prefix: int = 0
    masking: Masking = "show"
    charset: str = ""
    inner: Layout | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Positional:
    """Parts one after the other; a shorter field ends between two parts.

    Examples
    --------
    >>> layout = Positional(parts={
    ...     "1": Part(name="type", size=2), "2": Part(name="batch", size=6)
    ... })
    >>> layout.decode("22000024").find("2")
    '000024'
    >>> list(layout.decode("22000024999").unknown())
    [('+', 3)]
    """

    parts: Mapping[str, Part]

    def decode(self, value: Value, *, path: str = "", offset: int = 0) -> Composite:
        """Cut a field into its parts; what follows the last is kept as ``+``."""
        cursor = _Cursor(value, path, offset)
        for key, part in self.parts.items():
            if not cursor.is_at_end:
                cursor.take_part(key, part, "decimal", "ascii")
        return cursor.finish(self)

    def build(self, values: Mapping[str, Value]) -> Composite:
        """Join parts in their order; a part may be absent only if all after it are."""
        keys = [*self.parts, REST]
        _refuse_strangers(values, keys)
        present = [key for key in keys if key in values]
        if present != keys[: len(present)]:
            raise EncodeError("a part before the last is missing", field=present[-1])
        return _checked(self, join([values[key] for key in present]), values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bitmapped:
    """A bitmap and the parts that it announces.

    A set bit without a known part makes the rest undividable: it stays one element
    under the key of that bit.

    Examples
    --------
    >>> layout = Bitmapped(size=3, parts={1: Part(name="network", size=2)})
    >>> layout.decode(bytes.fromhex("8000000002")).find("1").hex()
    '0002'
    """

    size: int
    parts: Mapping[int, Part]
    coding: Coding = "binary"
    is_bitmap_hex: bool = False
    charset: str = "ascii"

    def decode(self, value: Value, *, path: str = "", offset: int = 0) -> Composite:
        """Cut a field by its bitmap."""
        cursor = _Cursor(value, path, offset)
        for bit in self._read_bitmap(cursor):
            part = self.parts.get(bit)
            if part is None:
                cursor.take_unknown(str(bit))
                break
            cursor.take_part(str(bit), part, self.coding, self.charset)
        return cursor.finish(self)

    def build(self, values: Mapping[str, Value]) -> Composite:
        """Make the bitmap and put the parts behind it in the order of their bits."""
        _refuse_strangers(values, [BITMAP, *map(str, self.parts)])
        bits = [bit for bit in sorted(self.parts) if str(bit) in values]
        number = sum(1 << (self.size * 8 - bit) for bit in bits)
        octets = number.to_bytes(self.size)
        bitmap: Value = octets
        if self.is_bitmap_hex:
            text = octets.hex().upper()
            is_text = any(isinstance(value, str) for value in values.values())
            bitmap = text if is_text else encode_text(text, self.charset)
        pieces: list[Value] = [bitmap]
        for bit in bits:
            value, part = values[str(bit)], self.parts[bit]
            if part.prefix:
                pieces.append(_length(len(value), part.prefix, self, value))
            pieces.append(value)
        named = {key: value for key, value in values.items() if key != BITMAP}
        return _checked(self, join(pieces), named)

    def _read_bitmap(self, cursor: _Cursor) -> list[int]:
        start = cursor.position
        width = self.size * 2 if self.is_bitmap_hex else self.size
        raw = cursor.take(BITMAP, width)
        cursor.add(BITMAP, raw, "bitmap", at=start)
        if self.is_bitmap_hex:
            number = _to_number(raw, "hex", self.charset)
        else:
            number = _to_number(raw, "binary", self.charset)
        if number is None:
            raise cursor.error("not a bitmap", BITMAP, start)
        bits = self.size * 8
        return [bit for bit in range(1, bits + 1) if number >> (bits - bit) & 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class TagLength:
    """Tags and lengths of fixed size before each value.

    ``lead`` names a part without tag before the first element. ``coding`` is that of
    the length; a binary tag is written in hexadecimal. ``other`` is the name of every
    element without one; where it is empty, they count as unknown.

    Examples
    --------
    >>> layout = TagLength(tag=4, length=3, names={"0001": "indicator"})
    >>> layout.decode("0001001Y").find("0001")
    'Y'
    """

    tag: int
    length: int
    coding: Coding = "decimal"
    charset: str = "ascii"
    names: Mapping[str, str] = field(default_factory=dict)
    other: str = ""
    hidden: frozenset[str] = frozenset()
    inner: Mapping[str, Layout] = field(default_factory=dict)
    lead: Part | None = None
    is_tag_binary: bool = False

    def decode(self, value: Value, *, path: str = "", offset: int = 0) -> Composite:
        """Cut a field into its tagged elements."""
        cursor = _Cursor(value, path, offset)
        if self.lead is not None and not cursor.is_at_end:
            cursor.take_part("lead", self.lead, self.coding, self.charset)
        while not cursor.is_at_end:
            start = cursor.position
            tag = self._to_tag(cursor.take("", self.tag))
            if tag is None:
                raise cursor.error("not a tag", "", start)
            size = cursor.take_length(tag, self.length, self.coding, self.charset)
            head = cursor.since(start)
            taken = cursor.take(tag, size)
            cursor.add(
                tag,
                taken,
                self.names.get(tag, self.other),
                head=head,
                masking="hide" if tag in self.hidden else "show",
                inner=self.inner.get(tag),
                charset="" if self.is_tag_binary else self.charset,
                at=cursor.position - size,
            )
        return cursor.finish(self)

    def build(self, values: Mapping[str, Value]) -> Composite:
        """Write each value behind its tag and length, in the order given."""
        pieces: list[Value] = []
        for key, value in values.items():
            if key != "lead" or self.lead is None:
                pieces.append(self._from_tag(key, value))
                pieces.append(_length(len(value), self.length, self, value))
            pieces.append(value)
        return _checked(self, join(pieces), values)

    def _to_tag(self, raw: Value) -> str | None:
        if self.is_tag_binary:
            return raw.hex().upper() if isinstance(raw, bytes) else None
        text = _to_text(raw, self.charset)
        return text if text.isascii() and text.isalnum() else None

    def _from_tag(self, tag: str, value: Value) -> Value:
        if self.is_tag_binary:
            try:
                return bytes.fromhex(tag)
            except ValueError:
                raise EncodeError("not a binary tag", field=tag) from None
        return tag if isinstance(value, str) else encode_text(tag, self.charset)


@dataclass(frozen=True, slots=True, kw_only=True)
class BerTlv:
    """BER-TLV inside a field, by EMV's dictionary or flat with its own names.

    Examples
    --------
    >>> BerTlv().decode(bytes.fromhex("9F270180")).describe()
    [('9F27', 'Cryptogram Information Data', '80')]
    """

    is_flat: bool = False
    names: Mapping[str, str] = field(default_factory=dict)
    other: str = ""

    def decode(self, value: Value, *, path: str = "", offset: int = 0) -> Composite:
        """Read the objects; padding after the last is an element of its own."""
        if isinstance(value, str):
            raise DecodeError("not bytes", field=path, offset=offset)
        tlv = decode_tlv(value, path=path, offset=offset, is_flat=self.is_flat)
        elements = self._elements(tlv.objects, find_scheme_in(tlv))
        if tlv.trailer:
            at = offset + len(value)
            padding = Element("padding", b"", tlv.trailer, "padding", offset=at)
            elements = (*elements, padding)
        return Composite(self, elements)

    def build(self, values: Mapping[str, Value]) -> Composite:
        """Write each value behind its tag, in the order given."""
        octets = {
            tag: value for tag, value in values.items() if isinstance(value, bytes)
        }
        if len(octets) < len(values):
            raise EncodeError("not bytes")
        objects = [
            primitive(tag, each) for tag, each in octets.items() if tag != "padding"
        ]
        return _checked(self, TlvList(tuple(objects)).encode(), {})

    def _elements(
        self, objects: Sequence[Tlv], scheme: Scheme | None
    ) -> tuple[Element, ...]:
        return tuple(
            Element(
                each.tag,
                each.value,
                each.encode()[: -len(each.value) or None],
                self._name(each.tag, scheme),
                "show" if self.is_flat else "emv",
                self._elements(each.children, scheme),
                offset=each.offset,
            )
            for each in objects
        )

    def _name(self, tag: str, scheme: Scheme | None) -> str:
        if self.is_flat:
            return self.names.get(tag, self.other)
        known = find_tag(tag, scheme)
        return known.name if known else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyValue:
    """Pairs of texts, each behind one digit of length of length and a length.

    Examples
    --------
    >>> KeyValue().decode("14Name15Value").find("Name")
    'Value'
    """

    charset: str = "latin-1"

    def decode(self, value: Value, *, path: str = "", offset: int = 0) -> Composite:
        """Cut a field into its pairs; every key counts as known."""
        cursor = _Cursor(value, path, offset)
        while not cursor.is_at_end:
            start = cursor.position
            key = _to_text(self._take_text(cursor, ""), self.charset)
            after = cursor.position
            text = self._take_text(cursor, key)
            head = value[start : cursor.position - len(text)]
            cursor.add(key, text, key, head=head, masking="hide", at=after)
        return cursor.finish(self)

    def build(self, values: Mapping[str, Value]) -> Composite:
        """Write the pairs in the order given."""
        pieces: list[Value] = []
        for key, value in values.items():
            name = key if isinstance(value, str) else encode_text(key, self.charset)
            for text in (name, value):
                digits = str(len(text))
                head = f"{len(digits)}{digits}"
                is_text = isinstance(text, str)
                pieces += [head if is_text else encode_text(head, self.charset), text]
        return _checked(self, join(pieces), values)

    def _take_text(self, cursor: _Cursor, key: str) -> Value:
        digits = cursor.take_length(key, 1, "decimal", self.charset)
        return cursor.take(
            key, cursor.take_length(key, digits, "decimal", self.charset)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BySize:
    """A layout chosen by the size of the field, as in UnionPay's key download."""

    layouts: Mapping[int, Layout]

    def decode(self, value: Value, *, path: str = "", offset: int = 0) -> Composite:
        """Cut a field by the layout of its size."""
        layout = self.layouts.get(len(value))
        if layout is None:
            raise DecodeError("no layout has this size", field=path, offset=offset)
        return layout.decode(value, path=path, offset=offset)

    def build(self, values: Mapping[str, Value]) -> Composite:
        """Build by the layout of the size that the values have together."""
        size = sum(len(value) for value in values.values())
        layout = self.layouts.get(size)
        if layout is None:
            raise EncodeError("no layout has this size")
        return layout.build(values)


class _Cursor:
    """A place in a field, and the elements found before it."""

    def __init__(self, value: Value, path: str, offset: int) -> None:
        self.value = value
        self.path = path
        self.base = offset
        self.position = 0
        self.elements: list[Element] = []

    @property
    def is_at_end(self) -> bool:
        return self.position == len(self.value)

    def take(self, key: str, size: int) -> Value:
        """Give the next characters or bytes."""
        end = self.position + size
        if end > len(self.value):
            raise self.error("cut off", key, len(self.value))
        taken = self.value[self.position : end]
        self.position = end
        return taken

    def take_length(self, key: str, size: int, coding: Coding, charset: str) -> int:
        """Read a length of so many digits or bytes."""
        start = self.position
        number = _to_number(self.take(key, size), coding, charset)
        if number is None:
            raise self.error("not a length", key, start)
        return number

    def take_part(self, key: str, part: Part, coding: Coding, charset: str) -> None:
        """Read a part of a known layout."""
        start = self.position
        size = part.size or len(self.value) - start
        if part.prefix:
            size = self.take_length(key, part.prefix, coding, charset)
            if size > part.size:
                raise self.error(f"longer than {part.size}", key, start)
        head = self.since(start)
        at = self.position
        taken = self.take(key, size)
        self.add(
            key,
            taken,
            part.name,
            head=head,
            masking=part.masking,
            inner=part.inner,
            charset=part.charset,
            at=at,
        )

    def take_unknown(self, key: str) -> None:
        """Keep all that is left under a key that has no name."""
        at = self.position
        self.add(key, self.take(key, len(self.value) - at), "", at=at)

    def since(self, start: int) -> Value:
        """Give what was taken since a position."""
        return self.value[start : self.position]

    def add(
        self,
        key: str,
        value: Value,
        name: str,
        *,
        at: int,
        head: Value | None = None,
        masking: Masking = "show",
        inner: Layout | None = None,
        charset: str = "",
    ) -> None:
        """Note an element, cut further by its inner layout."""
        if len(self.elements) == ELEMENTS_MAX:
            raise self.error(f"more than {ELEMENTS_MAX} elements", key, at)
        children: tuple[Element, ...] = ()
        if inner is not None:
            nested = inner.decode(value, path=self._join(key), offset=self.base + at)
            children = nested.elements
        empty = self.value[:0]
        self.elements.append(
            Element(
                key,
                value,
                empty if head is None else head,
                name,
                masking,
                children,
                "latin-1" if charset == "ascii" else charset,
                offset=self.base + at,
            )
        )

    def finish(self, layout: Layout) -> Composite:
        """Give the composite; what nothing took is kept without a name."""
        if not self.is_at_end:
            self.take_unknown(REST)
        return Composite(layout, tuple(self.elements), self.value[:0])

    def error(self, reason: str, key: str, position: int) -> DecodeError:
        """Make an error that says where."""
        return DecodeError(reason, field=self._join(key), offset=self.base + position)

    def _join(self, key: str) -> str:
        return ".".join(part for part in (self.path, key) if part)


def _to_text(raw: Value, charset: str) -> str:
    """Give text for structure; bytes of another charset never look like digits."""
    if isinstance(raw, str):
        return raw
    return decode_text(raw, "latin-1" if charset == "ascii" else charset)


def _to_number(raw: Value, coding: Coding, charset: str) -> int | None:
    if coding == "binary":
        return int.from_bytes(raw) if isinstance(raw, bytes) else None
    text = _to_text(raw, charset)
    allowed = "0123456789" if coding == "decimal" else "0123456789ABCDEFabcdef"
    if not text or text.strip(allowed):
        return None
    return int(text, _BASES[coding])


def _length(
    number: int, size: int, layout: Bitmapped | TagLength, value: Value
) -> Value:
    """Write a length as the layout does, as text beside text."""
    if layout.coding == "binary":
        if number >> (8 * size):
            raise EncodeError(f"length does not fit {size} bytes")
        return number.to_bytes(size)
    form = "d" if layout.coding == "decimal" else "X"
    text = f"{number:0{size}{form}}"
    if len(text) > size:
        raise EncodeError(f"length does not fit {size} digits")
    return text if isinstance(value, str) else encode_text(text, layout.charset)


def _refuse_strangers(values: Mapping[str, Value], keys: Sequence[str]) -> None:
    for key in values:
        if key not in keys:
            raise EncodeError("the layout has no such element", field=key)


def _checked(layout: Layout, built: Value, values: Mapping[str, Value]) -> Composite:
    """Decode what was built and make sure that it says what was asked."""
    try:
        composite = layout.decode(built)
    except DecodeError as error:
        raise EncodeError(error.reason, field=error.field) from None
    found = {each.key: each.value for each in composite.elements}
    for key, value in values.items():
        if found.get(key) != value:
            raise EncodeError("does not fit the layout", field=key)
    return composite
