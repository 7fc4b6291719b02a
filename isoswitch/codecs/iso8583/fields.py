"""One data element between its bytes and its value, with precise refusals.

A field codec answers three questions about one field: ``check`` says where it ends
or raises with the first wrong byte, ``read`` gives the value of checked bytes, and
``put`` gives the bytes of a value. How positions lie on the wire is the subclass:

    TextField        one byte per character
    SignedTextField  a sign character, then digit characters
    WideTextField    one byte or more per character
    PackedField      two digits per byte, odd numbers filled up on one side
    SignedField      a sign character, then packed digits
    RawField         bytes
    HexField         two hexadecimal characters per byte
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from isoswitch.codecs.canonical.errors import DecodeError, EncodeError
from isoswitch.codecs.iso8583.charsets import (
    SINGLE_BYTE,
    decode_text,
    encode_text,
)
from isoswitch.codecs.iso8583.classes import (
    WRONG,
    ByteSet,
    bytes_of,
    first_outside,
    packed_set,
)
from isoswitch.codecs.iso8583.lengths import MALFORMED, NO_LENGTH, Lengths, lengths_of
from isoswitch.codecs.iso8583.spec import FieldSpec, wire_bytes

Value = str | bytes


class FieldCodec(ABC):
    """One field of a compiled layout."""

    def __init__(self, spec: FieldSpec) -> None:
        self.spec = spec
        self.de = spec.de
        self.path = str(spec.de)
        self.prefix = spec.length_bytes
        self.lengths = lengths_of(spec) if spec.length else None
        self.fixed_size = 0 if spec.length else wire_bytes(spec, spec.max)
        # What each byte may be, where that is all there is to say.
        self.admitted: ByteSet | None = None

    def check(self, raw: bytes, pos: int) -> int:
        """Give the end of the field at ``pos``; raise at the first wrong byte."""
        start = pos
        size = self.fixed_size
        if self.lengths is not None:
            start += self.prefix
            positions = self.lengths[raw[pos:start]]
            if positions == NO_LENGTH:
                raise self._length_error(self.lengths, raw[pos:start], pos)
            size = self.size(positions)
        end = start + size
        if end > len(raw):
            reason = "message ends inside the field"
            raise DecodeError(reason, field=self.path, offset=start)
        admitted = self.admitted
        if admitted is not None and not raw[start:end].lstrip(admitted):
            return end
        bad = self.first_bad(raw, start, end)
        if bad != end:
            raise DecodeError(WRONG[self.spec.cls], field=self.path, offset=bad)
        return end

    def size(self, positions: int) -> int:
        """The bytes that so many positions of a variable field take."""
        return positions

    def put(self, value: Value) -> bytes:
        """Give the bytes of a value, its length prefix included.

        Raises
        ------
        EncodeError
            The value is of the wrong type, class or length.
        """
        try:
            data, positions = self.pack(value)
        except (TypeError, ValueError):
            # The codec's own error holds the value.
            kind = "bytes" if self.spec.cls == "b" else "text"
            reason = f"not {kind} of the format {self.spec.format}"
            raise EncodeError(reason, field=self.path) from None
        if self.lengths is None:
            if positions != self.spec.max:
                reason = f"has {positions} positions, not {self.spec.max}"
                raise EncodeError(reason, field=self.path)
            return data
        if positions > self.spec.max:
            reason = f"longer than {self.spec.max} positions"
            raise EncodeError(reason, field=self.path)
        return self.lengths.write(positions) + data

    @abstractmethod
    def byte_sets(self, positions: int) -> list[ByteSet | None] | None:
        """What each byte of so many positions may be, None for anything.

        None altogether where one byte alone says nothing.
        """

    def first_bad(self, raw: bytes, start: int, end: int) -> int:
        """The place of the first wrong byte, or ``end``."""
        assert self.admitted is not None
        return first_outside(self.admitted, raw, start, end)

    @abstractmethod
    def read(self, raw: bytes, start: int, end: int) -> Value:
        """The value of bytes that ``check`` has let pass."""

    @abstractmethod
    def pack(self, value: Value) -> tuple[bytes, int]:
        """The bytes of a value and its positions; TypeError or ValueError refuse."""

    def _length_error(self, lengths: Lengths, prefix: bytes, pos: int) -> DecodeError:
        if len(prefix) < self.prefix:
            reason = "message ends inside the length"
        elif lengths.number(prefix) == MALFORMED:
            reason = "length is not a number"
        else:
            reason = f"length is over {self.spec.max}"
        return DecodeError(reason, field=self.path, offset=pos)


class TextField(FieldCodec):
    """Characters of a single-byte charset; positions are bytes."""

    def __init__(self, spec: FieldSpec) -> None:
        super().__init__(spec)
        self.charset = spec.encoding
        self.admitted = bytes_of(spec.cls, spec.encoding)

    def byte_sets(self, positions: int) -> list[ByteSet | None]:
        return [self.admitted] * positions

    def read(self, raw: bytes, start: int, end: int) -> str:
        return decode_text(raw[start:end], self.charset)

    def pack(self, value: Value) -> tuple[bytes, int]:
        data = encode_text(_text(value), self.charset)
        if self.first_bad(data, 0, len(data)) != len(data):
            raise ValueError
        return data, len(data)


class SignedTextField(TextField):
    """A sign character C or D, then digit characters."""

    def __init__(self, spec: FieldSpec) -> None:
        super().__init__(spec)
        self.admitted = None
        self.sign = bytes_of("sign", spec.encoding)
        self.digits = bytes_of("n", spec.encoding)

    def byte_sets(self, positions: int) -> list[ByteSet | None]:
        digits: list[ByteSet | None] = [self.digits] * (positions - 1)
        return [self.sign, *digits]

    def first_bad(self, raw: bytes, start: int, end: int) -> int:
        if start < end and raw[start] not in self.sign:
            return start
        return first_outside(self.digits, raw, min(start + 1, end), end)


class WideTextField(FieldCodec):
    """Characters of a multi-byte charset; positions are bytes."""

    def __init__(self, spec: FieldSpec) -> None:
        super().__init__(spec)
        self.charset = spec.encoding

    def byte_sets(self, positions: int) -> None:
        return None

    def first_bad(self, raw: bytes, start: int, end: int) -> int:
        data = raw[start:end]
        try:
            text = data.decode(self.charset)
            # Some byte strings decode, but are not what would be encoded; a
            # message must mean the same to the next host.
            is_good = text.encode(self.charset) == data and self._has_class(text)
        except UnicodeDecodeError as exc:
            return start + exc.start
        except UnicodeError:
            # Some charsets do not say where.
            is_good = False
        return end if is_good else start

    def read(self, raw: bytes, start: int, end: int) -> str:
        return raw[start:end].decode(self.charset)

    def pack(self, value: Value) -> tuple[bytes, int]:
        data = _text(value).encode(self.charset)
        if data.decode(self.charset) != value or not self._has_class(value):
            raise ValueError
        return data, len(data)

    def _has_class(self, text: str) -> bool:
        if self.spec.cls in {"ans", "text"}:
            return self.spec.cls == "text" or text.isprintable()
        admitted = bytes_of(self.spec.cls, "ascii")
        return text.isascii() and not text.encode().lstrip(admitted)


class PackedField(FieldCodec):
    """Two digits per byte, and a filler nibble beside an odd number of them."""

    def __init__(self, spec: FieldSpec) -> None:
        super().__init__(spec)
        self.filler = spec.filler.lower()
        self.left = spec.pad == "left"
        self.counts_bytes = spec.length > 0 and spec.length_unit == "bytes"
        # In a track the letters stand for the separators of its code set.
        letters = spec.cls == "z"
        self.digits = "0123456789" + "abcdef" * letters
        self.packed = packed_set(letters=letters)
        side = {"left" if self.left else "right": self.filler}
        self.padded = packed_set(letters=letters, **side)
        if not spec.length and spec.max % 2 == 0:
            self.admitted = self.packed

    def size(self, positions: int) -> int:
        return (positions + 1) // 2

    def byte_sets(self, positions: int) -> list[ByteSet | None] | None:
        if self.counts_bytes:
            return None
        sets: list[ByteSet | None] = [self.packed] * (positions // 2)
        if positions % 2:
            sets.insert(0 if self.left else len(sets), self.padded)
        return sets

    def first_bad(self, raw: bytes, start: int, end: int) -> int:
        if not self._is_odd(raw, start, end):
            return first_outside(self.packed, raw, start, end)
        if self.left:
            if raw[start] not in self.padded:
                return start
            return first_outside(self.packed, raw, start + 1, end)
        bad = first_outside(self.packed, raw, start, end - 1)
        return end if bad == end - 1 and raw[bad] in self.padded else bad

    def read(self, raw: bytes, start: int, end: int) -> str:
        nibbles = raw[start:end].hex().upper()
        if not self._is_odd(raw, start, end):
            return nibbles
        return nibbles[1:] if self.left else nibbles[:-1]

    def pack(self, value: Value) -> tuple[bytes, int]:
        digits = _text(value).lower()
        if self.spec.cls == "z":
            digits = digits.replace("=", "d")
        if digits.strip(self.digits):
            raise ValueError
        positions = len(digits)
        if positions % 2:
            digits = self.filler + digits if self.left else digits + self.filler
        return bytes.fromhex(digits), positions

    def _is_odd(self, raw: bytes, start: int, end: int) -> bool:
        if not self.prefix:
            return self.spec.max % 2 == 1
        if self.counts_bytes:
            # The count is lost; only a filler that is no digit tells.
            nibbles = raw[start:end].hex()
            is_telling = self.filler not in self.digits and nibbles != ""
            return is_telling and nibbles[0 if self.left else -1] == self.filler
        # The last bit of a length is that of its last byte in every encoding.
        return raw[start - 1] % 2 == 1


class SignedField(FieldCodec):
    """A sign character C or D, then packed digits, filled up with zero on the left."""

    def __init__(self, spec: FieldSpec, charset: str) -> None:
        super().__init__(spec)
        self.charset = charset
        self.sets: list[ByteSet | None] = [packed_set()] * ((spec.max - 1) // 2)
        if spec.max % 2 == 0:
            self.sets.insert(0, packed_set(left="0"))
        self.sets.insert(0, bytes_of("sign", charset))

    def byte_sets(self, positions: int) -> list[ByteSet | None]:
        return self.sets

    def first_bad(self, raw: bytes, start: int, end: int) -> int:
        for place, admitted in enumerate(self.sets, start):
            if admitted is not None and raw[place] not in admitted:
                return place
        return end

    def read(self, raw: bytes, start: int, end: int) -> str:
        sign = decode_text(raw[start : start + 1], self.charset)
        return sign + raw[start + 1 : end].hex()[1 - self.spec.max % 2 :]

    def pack(self, value: Value) -> tuple[bytes, int]:
        sign, digits = _text(value)[:1], _text(value)[1:]
        if sign not in {"C", "D"} or not frozenset("0123456789").issuperset(digits):
            raise ValueError
        packed = bytes.fromhex("0" * (len(digits) % 2) + digits)
        return encode_text(sign, self.charset) + packed, len(value)


class RawField(FieldCodec):
    """Bytes as they are."""

    def byte_sets(self, positions: int) -> list[ByteSet | None]:
        return [None] * positions

    def first_bad(self, raw: bytes, start: int, end: int) -> int:
        return end

    def read(self, raw: bytes, start: int, end: int) -> bytes:
        return raw[start:end]

    def pack(self, value: Value) -> tuple[bytes, int]:
        data = _octets(value)
        return data, len(data)


class HexField(FieldCodec):
    """Bytes as hexadecimal characters of the message's charset."""

    def __init__(self, spec: FieldSpec, charset: str) -> None:
        super().__init__(spec)
        self.charset = charset
        self.admitted = bytes_of("hex", charset)

    def size(self, positions: int) -> int:
        return 2 * positions

    def byte_sets(self, positions: int) -> list[ByteSet | None]:
        return [self.admitted] * (2 * positions)

    def read(self, raw: bytes, start: int, end: int) -> bytes:
        return bytes.fromhex(decode_text(raw[start:end], self.charset))

    def pack(self, value: Value) -> tuple[bytes, int]:
        data = _octets(value)
        return encode_text(data.hex().upper(), self.charset), len(data)


def compile_field(spec: FieldSpec, charset: str) -> FieldCodec:
    """Give the codec of one field in a layout of the given charset.

    Examples
    --------
    >>> from isoswitch.codecs.iso8583.spec import field_spec
    >>> pan = compile_field(field_spec(2, "PAN", "n..19", encoding="bcd"), "ascii")
    >>> pan.put("123")
    b'03\\x01#'
    """
    if spec.encoding == "raw":
        return RawField(spec)
    if spec.encoding == "hex":
        return HexField(spec, charset)
    if spec.encoding == "bcd":
        return SignedField(spec, charset) if spec.cls == "x+n" else PackedField(spec)
    if spec.encoding not in SINGLE_BYTE:
        return WideTextField(spec)
    return SignedTextField(spec) if spec.cls == "x+n" else TextField(spec)


def _text(value: Value) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _octets(value: Value) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError
    return value
