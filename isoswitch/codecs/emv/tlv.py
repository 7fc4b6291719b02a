"""BER-TLV as EMV uses it (Book 3, Annex B): strict, bounded, byte for byte.

    tag     1 to 3 bytes; low five bits 11111 = more follow; bit 6 = template
    length  00-7F, or 81 and 82 with one or two bytes; three in issuer scripts
    value   bytes, or objects in a template

What a sender wrote is kept: the order, unknown tags, lengths longer than they need
to be, and padding between objects (00, and FF where it starts no tag). So
``decode_tlv(data).encode() == data`` for everything that decodes. The parser keeps
its own stack and three limits, so hostile nesting costs nothing.

A template of the private class belongs to whoever defined it and may hold anything:
UnionPay puts GBK text into FF00. Where its content is not TLV it stays one opaque
value; every other template must parse.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from isoswitch.codecs.canonical.errors import DecodeError, EncodeError

DEPTH_MAX = 8
TAGS_MAX = 128
SIZE_MAX = 4096
TAG_SIZE_MAX = 3

# Payment cards use no tags of the universal class.
_FIRST_TAG = 0x40
_LENGTH_SIZE_MAX = 2
_SCRIPT_LENGTH_SIZE_MAX = 3
_SCRIPT_TAGS = frozenset({"71", "72", "86"})


@dataclass(frozen=True, slots=True, repr=False)
class Tlv:
    """One object: a tag in upper-case hexadecimal and its value.

    ``children`` are the objects of a template, whose ``value`` stays the bytes they
    came from. ``length_size`` and ``padding`` keep how the sender wrote the length
    (0 = the shortest form) and which padding stood in front.

    Examples
    --------
    >>> Tlv("9F02", bytes.fromhex("000000001000"))
    Tlv(9F02, 6 bytes)
    """

    tag: str
    value: bytes
    children: tuple[Tlv, ...] = ()
    length_size: int = field(default=0, compare=False)
    padding: bytes = field(default=b"", compare=False)
    offset: int = field(default=0, compare=False)

    @property
    def is_template(self) -> bool:
        """Whether the tag announces nested objects."""
        return _is_template(bytes.fromhex(self.tag)[0])

    def encode(self) -> bytes:
        """Give the bytes of this object, padding in front included."""
        head = bytes.fromhex(self.tag) + _encode_length(
            len(self.value), self.length_size
        )
        return self.padding + head + self.value

    def __repr__(self) -> str:
        return f"Tlv({self.tag}, {len(self.value)} bytes)"


@dataclass(frozen=True, slots=True, repr=False)
class TlvList:
    """Objects in the order in which they came, and the padding behind the last.

    Examples
    --------
    >>> tlv = decode_tlv(bytes.fromhex("9F2701805F2A020978"))
    >>> tlv
    TlvList(9F27, 5F2A)
    >>> tlv.find("5F2A").hex()
    '0978'
    >>> tlv.replace({"9F27": bytes([64]), "9C": bytes(1)}).encode().hex()
    '9f2701405f2a0209789c0100'
    """

    objects: tuple[Tlv, ...]
    trailer: bytes = field(default=b"", compare=False)

    def encode(self) -> bytes:
        """Give back the bytes; the received ones where nothing was changed."""
        return b"".join(each.encode() for each in self.objects) + self.trailer

    def walk(self) -> Iterator[tuple[str, Tlv]]:
        """Visit each object with its path, parents before their children.

        Examples
        --------
        >>> [path for path, _ in decode_tlv(bytes.fromhex("77039C0100")).walk()]
        ['77', '77.9C']
        """
        pending = [(each.tag, each) for each in reversed(self.objects)]
        while pending:
            path, each = pending.pop()
            yield path, each
            pending.extend(
                (f"{path}.{child.tag}", child) for child in reversed(each.children)
            )

    def find(self, tag: str) -> bytes | None:
        """Give the value of the first object with this tag at any depth."""
        return next((each.value for _, each in self.walk() if each.tag == tag), None)

    def replace(self, values: Mapping[str, bytes | None]) -> TlvList:
        """Set top-level values; None removes, an absent tag is added at the end."""
        pending = dict(values)
        changed = []
        for each in self.objects:
            if each.tag not in values:
                changed.append(each)
            elif (value := pending.pop(each.tag, None)) is not None:
                changed.append(primitive(each.tag, value))
        changed += [
            primitive(tag, value) for tag, value in pending.items() if value is not None
        ]
        return TlvList(tuple(changed), self.trailer)

    def __repr__(self) -> str:
        return f"TlvList({', '.join(each.tag for each in self.objects)})"


def decode_tlv(
    data: bytes, *, path: str = "", offset: int = 0, is_flat: bool = False
) -> TlvList:
    """Read objects until the data ends.

    Parameters
    ----------
    data
        At most ``SIZE_MAX`` bytes.
    path, offset
        Where the data stands in its message, for the path and offset of errors.
    is_flat
        Take templates as plain values: some networks' own tags only look like them.

    Raises
    ------
    DecodeError
        The data is not TLV, nests deeper than ``DEPTH_MAX`` or holds more than
        ``TAGS_MAX`` objects.

    Examples
    --------
    >>> decode_tlv(bytes.fromhex("77099F2701809F36020042")).find("9F36").hex()
    '0042'
    >>> try:
    ...     decode_tlv(bytes.fromhex("9F02"), path="55")
    ... except DecodeError as error:
    ...     print(error)
    field 55.9F02, offset 2: length is missing
    """
    return _Decoder(data, path, offset, is_flat=is_flat).run()


def primitive(tag: str, value: bytes) -> Tlv:
    """Make an object from a tag in hexadecimal and its value.

    Raises
    ------
    EncodeError
        The tag is not one tag, or the value is too long.

    Examples
    --------
    >>> primitive("9C", bytes(1)).encode().hex()
    '9c0100'
    """
    _check_tag(tag)
    if len(value) > SIZE_MAX:
        raise EncodeError(f"longer than {SIZE_MAX} bytes", field=tag)
    return Tlv(tag, value)


def template(tag: str, children: Iterable[Tlv]) -> Tlv:
    """Make a template from its objects.

    Examples
    --------
    >>> template("77", [primitive("9C", bytes(1))]).encode().hex()
    '77039c0100'
    """
    nested = tuple(children)
    made = primitive(tag, encode_tlv(nested))
    if not made.is_template:
        raise EncodeError("the tag announces no nested objects", field=tag)
    return Tlv(tag, made.value, nested)


def encode_tlv(objects: Iterable[Tlv]) -> bytes:
    """Join the bytes of objects.

    Examples
    --------
    >>> encode_tlv([primitive("9C", bytes(1)), primitive("9F27", bytes([128]))]).hex()
    '9c01009f270180'
    """
    return b"".join(each.encode() for each in objects)


class _Template:
    """A template being read, and where it started."""

    __slots__ = (
        "children",
        "count",
        "end",
        "length_size",
        "padding",
        "path",
        "start",
        "tag",
        "value_start",
    )

    def __init__(self, path: str, end: int) -> None:
        self.path = path
        self.end = end
        self.children: list[Tlv] = []
        self.tag = ""
        self.padding = b""
        self.start = self.value_start = self.length_size = self.count = 0

    @property
    def may_be_opaque(self) -> bool:
        """Whether the tag is of the private class, so that anything may be inside."""
        return self.tag >= "E0"


class _Decoder:
    """One pass over the data with a stack of open templates."""

    def __init__(self, data: bytes, path: str, offset: int, *, is_flat: bool) -> None:
        self.data = data
        self.is_flat = is_flat
        self.base = offset
        self.position = 0
        self.count = 0
        self.open = [_Template(path, len(data))]

    def run(self) -> TlvList:
        if len(self.data) > SIZE_MAX:
            raise self._error(
                f"longer than {SIZE_MAX} bytes", self.open[0].path, SIZE_MAX
            )
        while True:
            inner = self.open[-1]
            padding = self._skip_padding(inner.end)
            if self.position < inner.end:
                self._read_or_give_up(inner, padding)
            elif len(self.open) > 1:
                self._close(inner.children)
            else:
                return TlvList(tuple(inner.children), padding)

    def _read_or_give_up(self, inner: _Template, padding: bytes) -> None:
        """Read an object; what does not parse makes its private template opaque."""
        try:
            self._read_object(inner, padding)
        except DecodeError:
            while len(self.open) > 1 and not self.open[-1].may_be_opaque:
                self.open.pop()
            if len(self.open) == 1:
                raise
            self.count = self.open[-1].count
            self._close([])

    def _read_object(self, inner: _Template, padding: bytes) -> None:
        start = self.position
        self.count += 1
        if self.count > TAGS_MAX:
            raise self._error(f"more than {TAGS_MAX} objects", inner.path, start)
        tag = self._read_tag(inner)
        path = f"{inner.path}.{tag}" if inner.path else tag
        length, length_size = self._read_length(tag, path, inner.end)
        value_start = self.position
        if self.is_flat or not _is_template(self.data[start]):
            self.position += length
            value = self.data[value_start : self.position]
            inner.children.append(
                Tlv(tag, value, (), length_size, padding, self.base + start)
            )
            return
        if len(self.open) == DEPTH_MAX:
            raise self._error(f"nested deeper than {DEPTH_MAX}", path, start)
        opened = _Template(path, value_start + length)
        opened.tag, opened.padding = tag, padding
        opened.start, opened.value_start = start, value_start
        opened.length_size, opened.count = length_size, self.count
        self.open.append(opened)

    def _close(self, children: list[Tlv]) -> None:
        done = self.open.pop()
        self.position = done.end
        self.open[-1].children.append(
            Tlv(
                done.tag,
                self.data[done.value_start : done.end],
                tuple(children),
                done.length_size,
                done.padding,
                self.base + done.start,
            )
        )

    def _skip_padding(self, end: int) -> bytes:
        data, start = self.data, self.position
        while self.position < end and data[self.position] in (0x00, 0xFF):
            after = self._end_of_padding(end)
            if after == self.position:
                break
            self.position = after
        return data[start : self.position]

    def _end_of_padding(self, end: int) -> int:
        """Find where padding ends; FF also starts the tags of the private class.

        A single FF is a tag unless nothing follows. Of several, the last is a tag only
        where what follows could not start one of its own.
        """
        data, start = self.data, self.position
        if data[start] == 0x00:
            return start + 1
        after = start
        while after < end and data[after] == 0xFF:
            after += 1
        if after == end:
            return end
        if after == start + 1:
            return start
        return after if data[after] >= _FIRST_TAG else after - 1

    def _read_tag(self, inner: _Template) -> str:
        data, start = self.data, self.position
        after = start + 1
        if data[start] & 0x1F == 0x1F:
            while True:
                if after - start == TAG_SIZE_MAX:
                    reason = f"tag longer than {TAG_SIZE_MAX} bytes"
                    raise self._error(reason, inner.path, start)
                if after == inner.end:
                    raise self._error("tag is cut off", inner.path, after)
                after += 1
                if data[after - 1] < 0x80:
                    break
        self.position = after
        return data[start:after].hex().upper()

    def _read_length(self, tag: str, path: str, end: int) -> tuple[int, int]:
        """Give the length and how many bytes it took."""
        data, start = self.data, self.position
        if start == end:
            raise self._error("length is missing", path, start)
        first = data[start]
        size_max = _SCRIPT_LENGTH_SIZE_MAX if tag in _SCRIPT_TAGS else _LENGTH_SIZE_MAX
        more = first - 0x80 if first >= 0x80 else 0
        if first == 0x80:
            raise self._error("indefinite length", path, start)
        if more > size_max:
            raise self._error(f"length of more than {size_max} bytes", path, start)
        self.position = start + 1 + more
        if self.position > end:
            raise self._error("length is cut off", path, end)
        length = int.from_bytes(data[start + 1 : self.position]) if more else first
        if length > end - self.position:
            raise self._error("value is shorter than its length", path, start)
        return length, 1 + more

    def _error(self, reason: str, path: str, position: int) -> DecodeError:
        return DecodeError(reason, field=path, offset=self.base + position)


def _is_template(first: int) -> bool:
    return bool(first & 0x20)


def _encode_length(length: int, size: int) -> bytes:
    shortest = 1 if length < 0x80 else 2 if length < 0x100 else 3
    size = max(size, shortest)
    if size == 1:
        return bytes([length])
    return bytes([0x80 + size - 1]) + length.to_bytes(size - 1)


def _check_tag(tag: str) -> None:
    try:
        octets = bytes.fromhex(tag)
        only = decode_tlv(octets + bytes(1)).objects
    except (ValueError, DecodeError):
        only = ()
    if len(only) != 1 or only[0].tag != tag:
        raise EncodeError("not a tag in upper-case hexadecimal", field=tag)
