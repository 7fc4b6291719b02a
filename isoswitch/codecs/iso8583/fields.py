"""One data element between its bytes and its value, with precise refusals.

A field codec answers three questions about one field: ``check`` says where it ends
or raises with the first wrong byte, ``read`` gives the value of checked bytes, and
``put`` gives the bytes of a value. How positions lie on the wire is the subclass:

    Text      one byte or more per character, in any charset
    Packed    two digits per byte, odd numbers filled up on one side
    Signed    a sign character, then packed digits
    Raw       bytes
    Hex       two hexadecimal characters per byte
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from isoswitch.codecs.canonical.errors import DecodeError, EncodeError
from isoswitch.codecs.iso8583.charsets import (
    SINGLE_BYTE,
    TO_VIEW,
    check_charset,
    decode_text,
    encode_text,
    to_view,
)
from isoswitch.codecs.iso8583.lengths import MALFORMED, lengths_of
from isoswitch.codecs.iso8583.spec import FieldSpec, wire_bytes

Value = str | bytes

_EBCDIC_PRINTABLE = rb"[\x20-\x7e\xa0-\xff]*"

PATTERNS: Mapping[str, re.Pattern[bytes]] = MappingProxyType(
    {
        "n": re.compile(rb"[0-9]*"),
        "a": re.compile(rb"[A-Za-z ]*"),
        "an": re.compile(rb"[0-9A-Za-z ]*"),
        "ans": re.compile(rb"[\x20-\x7e]*"),
        "text": re.compile(rb"[\x00-\x7f]*"),
        # ISO 7811-2 code set, the letters that stand for it in packed form included.
        "z": re.compile(rb"[0-9:;<=>?A-F]*"),
        "x+n": re.compile(rb"[CD][0-9]*"),
    }
)
"""The characters of each class, as a prefix match gives the first wrong one."""

_WIDE_PATTERNS: Mapping[str, re.Pattern[bytes]] = MappingProxyType(
    {"ans": re.compile(_EBCDIC_PRINTABLE), "text": re.compile(rb"[\x00-\xff]*")}
)

_WRONG: Mapping[str, str] = MappingProxyType(
    {
        "n": "not a digit",
        "a": "not a letter",
        "an": "neither letter nor digit",
        "ans": "not a printable character",
        "text": "not a character of the charset",
        "z": "not a character of a track",
        "x+n": "not a sign C or D with digits",
        "b": "not a hexadecimal character",
    }
)

_HEX = re.compile(rb"[0-9A-Fa-f]*")


class FieldCodec(ABC):
    """One field of a compiled layout."""

    wrong: ClassVar[str] = ""

    def __init__(self, spec: FieldSpec) -> None:
        self.spec = spec
        self.de = spec.de
        self.path = str(spec.de)
        self.prefix = spec.length_bytes
        self.lengths = lengths_of(spec) if spec.length else None

    def check(self, raw: bytes, view: bytes, pos: int) -> tuple[int, int]:
        """Give the start of the data and its end; raise at the first wrong byte."""
        positions = self.spec.max
        start = pos
        if self.lengths is not None:
            start += self.prefix
            positions = self.lengths.read(raw[pos:start])
            if positions == MALFORMED:
                raise self._length_error(raw[pos:start], pos)
        end = start + self.size(positions)
        if end > len(raw):
            reason = "message ends inside the field"
            raise DecodeError(reason, field=self.path, offset=start)
        bad = self.first_bad(raw, view, start, end)
        if bad != end:
            raise DecodeError(_WRONG[self.spec.cls], field=self.path, offset=bad)
        return start, end

    def size(self, positions: int) -> int:
        """The bytes that so many positions take."""
        return wire_bytes(self.spec, positions)

    def put(self, value: Value) -> bytes:
        """Give the bytes of a value, its length prefix included.

        Raises
        ------
        EncodeError
            The value is of the wrong type, class or length.
        """
        try:
            data, positions = self.pack(value)
        except (TypeError, ValueError, AttributeError):
            # The codec's own error holds the value.
            raise EncodeError(self._expected(), field=self.path) from None
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
    def first_bad(self, raw: bytes, view: bytes, start: int, end: int) -> int:
        """The place of the first wrong byte, or ``end``."""

    @abstractmethod
    def read(self, raw: bytes, start: int, end: int) -> Value:
        """The value of bytes that ``check`` has let pass."""

    @abstractmethod
    def pack(self, value: Value) -> tuple[bytes, int]:
        """The bytes of a value and its positions; any of three errors refuses it."""

    def _expected(self) -> str:
        kind = "bytes" if self.spec.cls == "b" else "text"
        return f"not {kind} of the format {self.spec.format}"

    def _length_error(self, prefix: bytes, pos: int) -> DecodeError:
        reason = "length is not a number"
        if len(prefix) < self.prefix:
            reason = "message ends inside the length"
        elif self.lengths is not None and self.lengths.number(prefix) >= 0:
            reason = f"length is over {self.spec.max}"
        return DecodeError(reason, field=self.path, offset=pos)


class TextField(FieldCodec):
    """Characters of a single-byte charset; positions are bytes."""

    def __init__(self, spec: FieldSpec, charset: str) -> None:
        super().__init__(spec)
        self.charset = check_charset(spec.encoding)
        self.in_view = spec.encoding == charset
        wide = spec.encoding != "ascii" and spec.cls in _WIDE_PATTERNS
        self.pattern = (_WIDE_PATTERNS if wide else PATTERNS)[spec.cls]

    def first_bad(self, raw: bytes, view: bytes, start: int, end: int) -> int:
        if not self.in_view:
            view = raw[:start] + to_view(raw[start:end], self.charset)
        found = self.pattern.match(view, start, end)
        return found.end() if found else start

    def read(self, raw: bytes, start: int, end: int) -> str:
        return decode_text(raw[start:end], self.charset)

    def pack(self, value: Value) -> tuple[bytes, int]:
        data = encode_text(_text(value), self.charset)
        if self.pattern.fullmatch(to_view(data, self.charset)) is None:
            raise ValueError
        return data, len(data)


class WideTextField(TextField):
    """Characters of a multi-byte charset; positions are bytes."""

    def first_bad(self, raw: bytes, view: bytes, start: int, end: int) -> int:
        try:
            text = raw[start:end].decode(self.charset)
        except UnicodeDecodeError as exc:
            return start + exc.start
        # Some byte strings decode and would be encoded differently; a message
        # must mean the same to the next host.
        same = _safe_encode(text, self.charset) == raw[start:end]
        return end if same and self._has_class(text) else start

    def pack(self, value: Value) -> tuple[bytes, int]:
        data = _text(value).encode(self.charset)
        if not self._has_class(_text(value)) or data.decode(self.charset) != value:
            raise ValueError
        return data, len(data)

    def _has_class(self, text: str) -> bool:
        if self.spec.cls == "text":
            return True
        if self.spec.cls == "ans":
            return text.isprintable()
        return text.isascii() and self.pattern.fullmatch(text.encode()) is not None


class PackedField(FieldCodec):
    """Two digits per byte, and a filler nibble beside an odd number of them."""

    def __init__(self, spec: FieldSpec) -> None:
        super().__init__(spec)
        self.filler = spec.filler.lower()
        self.left = spec.pad == "left"
        self.counts_bytes = spec.length > 0 and spec.length_unit == "bytes"
        self.allowed = frozenset("0123456789" + "abcdef" * (spec.cls == "z"))

    def check(self, raw: bytes, view: bytes, pos: int) -> tuple[int, int]:
        start, end = super().check(raw, view, pos)
        if self._is_odd(raw, start, end) and not self._has_filler(raw, start, end):
            offset = start if self.left else end - 1
            raise DecodeError("wrong filler digit", field=self.path, offset=offset)
        return start, end

    def first_bad(self, raw: bytes, view: bytes, start: int, end: int) -> int:
        nibbles = raw[start:end].hex()
        odd = self._is_odd(raw, start, end)
        pad = (0 if self.left else len(nibbles) - 1) if odd else -1
        for place, nibble in enumerate(nibbles):
            if nibble not in self.allowed and place != pad:
                return start + place // 2
        return end

    def read(self, raw: bytes, start: int, end: int) -> str:
        nibbles = raw[start:end].hex().upper()
        if not self._is_odd(raw, start, end):
            return nibbles
        return nibbles[1:] if self.left else nibbles[:-1]

    def pack(self, value: Value) -> tuple[bytes, int]:
        digits = _text(value).lower()
        if self.spec.cls == "z":
            digits = digits.replace("=", "d")
        if not self.allowed.issuperset(digits):
            raise ValueError
        positions = len(digits)
        if positions % 2:
            digits = self.filler + digits if self.left else digits + self.filler
        elif self.counts_bytes and self._ends_in_filler(digits):
            raise ValueError
        return bytes.fromhex(digits), positions

    def _is_odd(self, raw: bytes, start: int, end: int) -> bool:
        if not self.prefix:
            return self.spec.max % 2 == 1
        if self.counts_bytes:
            # The count is lost; only a filler that is no digit tells.
            return self._ends_in_filler(raw[start:end].hex())
        # The last bit of a length is that of its last byte in every encoding.
        return raw[start - 1] % 2 == 1

    def _ends_in_filler(self, nibbles: str) -> bool:
        if self.filler in self.allowed or not nibbles:
            return False
        return nibbles[0 if self.left else -1] == self.filler

    def _has_filler(self, raw: bytes, start: int, end: int) -> bool:
        return raw[start:end].hex()[0 if self.left else -1] == self.filler


class SignedField(FieldCodec):
    """A sign character C or D, then packed digits, left-filled with zero."""

    def __init__(self, spec: FieldSpec, charset: str) -> None:
        super().__init__(spec)
        self.charset = charset

    def first_bad(self, raw: bytes, view: bytes, start: int, end: int) -> int:
        if view[start : start + 1] not in {b"C", b"D"}:
            return start
        nibbles = raw[start + 1 : end].hex()
        if self.spec.max % 2 == 0 and not nibbles.startswith("0"):
            return start + 1
        for place, nibble in enumerate(nibbles):
            if not nibble.isdecimal():
                return start + 1 + place // 2
        return end

    def read(self, raw: bytes, start: int, end: int) -> str:
        sign = decode_text(raw[start : start + 1], self.charset)
        digits = raw[start + 1 : end].hex()
        return sign + digits[1 - self.spec.max % 2 :]

    def pack(self, value: Value) -> tuple[bytes, int]:
        text = _text(value)
        if not text.isascii() or not PATTERNS["x+n"].fullmatch(text.encode()):
            raise ValueError
        digits = text[1:]
        packed = bytes.fromhex("0" * (len(digits) % 2) + digits)
        return encode_text(text[0], self.charset) + packed, len(text)


class RawField(FieldCodec):
    """Bytes as they are."""

    def first_bad(self, raw: bytes, view: bytes, start: int, end: int) -> int:
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

    def first_bad(self, raw: bytes, view: bytes, start: int, end: int) -> int:
        found = _HEX.match(view, start, end)
        return found.end() if found else start

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
    if spec.encoding in SINGLE_BYTE:
        return TextField(spec, charset)
    return WideTextField(spec, charset)


def is_ebcdic(charset: str) -> bool:
    """Whether a charset is one of the EBCDIC pages."""
    return charset in TO_VIEW


def _text(value: Value) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _octets(value: Value) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError
    return value


def _safe_encode(text: str, charset: str) -> bytes:
    try:
        return text.encode(charset)
    except UnicodeEncodeError:
        return b""
