"""The second engine: pyiso8583 behind the same calls, from the same field table.

It is slower and laxer than ``codec.Codec`` and shares no line with it, which makes it
the reference of differential tests. Some things it cannot express: such fields are left
out, and layouts whose bitmaps it does not know are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import iso8583

from isoswitch.codecs.canonical.errors import DecodeError, EncodeError
from isoswitch.codecs.iso8583.charsets import SINGLE_BYTE
from isoswitch.codecs.iso8583.spec import FieldSpec, Spec

Value = str | bytes


class NotExpressible(ValueError):
    """pyiso8583 has no way to say this."""


class ReferenceMessage:
    """What pyiso8583 makes of a message; reads like a ``Message``."""

    __slots__ = ("_values", "mti", "raw")

    def __init__(self, mti: str, values: Mapping[int, Value], raw: bytes) -> None:
        self.mti = mti
        self.raw = raw
        self._values = dict(sorted(values.items()))

    @property
    def fields(self) -> tuple[int, ...]:
        """The data elements present, in ascending order."""
        return tuple(self._values)

    def __contains__(self, de: object) -> bool:
        return de in self._values

    def __iter__(self) -> Iterator[int]:
        return iter(self._values)

    def __getitem__(self, de: int) -> Value:
        return self._values[de]

    def get(self, de: int, default: Value | None = None) -> Value | None:
        """The value of a field, or the default where it is absent."""
        return self._values.get(de, default)

    def values(self) -> dict[int, Value]:
        """All fields and their values."""
        return dict(self._values)

    def __repr__(self) -> str:
        return f"<ReferenceMessage {self.mti}: {len(self._values)} fields>"


class ReferenceCodec:
    """Decodes and builds the messages of one layout with pyiso8583.

    Examples
    --------
    >>> from isoswitch.codecs.iso8583.specs import get_spec
    >>> codec = compile_reference(get_spec("iso87-bcd"))
    >>> codec.decode(codec.build("0800", {11: "000001"}).raw).values()
    {11: '000001'}
    """

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.fields = {de: f for de, f in spec.fields.items() if is_expressible(f)}
        self.library_spec = pyiso8583_spec(spec)

    def decode(self, raw: bytes) -> ReferenceMessage:
        """Decode a message; raises DecodeError without the library's own values."""
        try:
            texts, _ = iso8583.decode(raw, self.library_spec)
        except iso8583.DecodeError as exc:
            # The library's error holds the decoded fields, card number included.
            raise DecodeError(exc.msg, field=exc.field, offset=exc.pos) from None
        except KeyError:
            # The library looks up a field that its specification does not have.
            raise DecodeError("field is not in this layout") from None
        values = {
            de: _from_text(field, texts[str(de)])
            for de, field in self.fields.items()
            if str(de) in texts
        }
        return ReferenceMessage(texts["t"], values, raw)

    def build(self, mti: str, fields: Mapping[int, Value]) -> ReferenceMessage:
        """Encode a message; raises EncodeError."""
        texts = {"h": "", "t": mti}
        for de, value in fields.items():
            if de not in self.fields:
                raise EncodeError("pyiso8583 cannot express this field", field=str(de))
            texts[str(de)] = value.hex().upper() if isinstance(value, bytes) else value
        try:
            raw, _ = iso8583.encode(texts, self.library_spec)
        except iso8583.EncodeError as exc:
            raise EncodeError(exc.msg, field=exc.field) from None
        return ReferenceMessage(mti, fields, bytes(raw))


def compile_reference(spec: Spec) -> ReferenceCodec:
    """Build the pyiso8583 codec of a layout.

    Raises
    ------
    NotExpressible
        pyiso8583 does not know such bitmaps or such a charset.
    """
    return ReferenceCodec(spec)


def pyiso8583_spec(spec: Spec) -> dict[str, dict[str, Any]]:
    """Give the specification dictionary of pyiso8583, without what it cannot say.

    Examples
    --------
    >>> from isoswitch.codecs.iso8583.specs import get_spec
    >>> pyiso8583_spec(get_spec("iso87-ascii"))["4"]["max_len"]
    12
    """
    if spec.second_bitmap != "when-used" or spec.charset == "cp1047":
        msg = f"pyiso8583 cannot express the bitmaps or charset of {spec.name}"
        raise NotExpressible(msg)
    mti = {"data_enc": "b" if spec.mti == "bcd" else spec.charset, "max_len": 4}
    bitmap: dict[str, Any] = {"data_enc": "b", "max_len": 8}
    if spec.bitmap != "raw":
        charset = "ascii" if spec.bitmap == "hex-ascii" else spec.charset
        bitmap = {"data_enc": charset, "max_len": 16}
    fixed = {"len_enc": "ascii", "len_type": 0, "desc": ""}
    library: dict[str, dict[str, Any]] = {
        "h": {"data_enc": "ascii", "max_len": 0, **fixed},
        "t": mti | fixed,
        "p": bitmap | fixed,
        "1": bitmap | fixed,
    }
    for de, field in spec.fields.items():
        if is_expressible(field):
            library[str(de)] = _library_field(field, spec.charset)
    return library


def is_expressible(field: FieldSpec) -> bool:
    """Whether pyiso8583 can encode such a field.

    Examples
    --------
    >>> from isoswitch.codecs.iso8583.spec import field_spec
    >>> is_expressible(field_spec(28, "Fee", "x+n 8", encoding="bcd"))
    False
    """
    signed_packed = field.encoding == "bcd" and field.cls == "x+n"
    counts_octets = field.encoding == "hex" and field.length_unit == "positions"
    counts_bytes = field.encoding == "bcd" and field.length_unit == "bytes"
    return not (
        # There, 65 is always the third bitmap.
        field.de in {65, *range(129, 193)}
        or signed_packed
        or (field.length > 0 and (counts_octets or counts_bytes))
        or field.length > 4
        or "cp1047" in {field.encoding, field.length_encoding}
        or (field.length > 0 and field.length_encoding not in _LENGTH_ENCODINGS)
    )


_LENGTH_ENCODINGS = {*SINGLE_BYTE, "bcd", "bin"}


def _library_field(field: FieldSpec, charset: str) -> dict[str, Any]:
    library: dict[str, Any] = {
        "data_enc": field.encoding,
        "len_enc": {"bin": "b"}.get(field.length_encoding, field.length_encoding),
        "len_type": field.length_bytes,
        "max_len": field.max,
        "desc": field.name,
    }
    if field.encoding == "raw":
        library["data_enc"] = "b"
    if field.encoding == "hex":
        library |= {"data_enc": charset, "max_len": 2 * field.max}
    if field.encoding == "bcd":
        side = f"{field.pad}_pad"
        library |= {"data_enc": "b", "len_count": "nibbles", side: field.filler}
    return library


def _from_text(field: FieldSpec, text: str) -> Value:
    return bytes.fromhex(text) if field.cls == "b" else text
