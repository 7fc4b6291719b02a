"""What of a layout is worked out once: field codecs, type indicators, byte classes."""

from __future__ import annotations

from isoswitch.codecs.canonical.errors import EncodeError
from isoswitch.codecs.iso8583.bitmaps import Bitmaps
from isoswitch.codecs.iso8583.charsets import encode_text
from isoswitch.codecs.iso8583.fields import FieldCodec, compile_field
from isoswitch.codecs.iso8583.masking import mask_of
from isoswitch.codecs.iso8583.runs import ByteClasses, put_of
from isoswitch.codecs.iso8583.spec import FieldSpec, Spec

_VERSIONS, _CLASSES, _FUNCTIONS, _ORIGINS = "01289", "123456789", "01234567", "012345"

KNOWN_MTIS = frozenset(
    version + kind + function + origin
    for version in _VERSIONS
    for kind in _CLASSES
    for function in _FUNCTIONS
    for origin in _ORIGINS
)
"""Message type indicators of a known version, class, function and origin.

Class 9 is reserved by the standard and used by UnionPay terminals all the same.
"""


class CompiledSpec:
    """The parts of a layout that do not depend on the message."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.map_field: FieldCodec | None = None
        self.fields: dict[int, FieldCodec] = {
            de: compile_field(field, spec.charset) for de, field in spec.fields.items()
        }
        if spec.third_bitmap == "in-65":
            self.map_field = compile_field(_map_spec(spec), spec.charset)
        self.classes = ByteClasses(self.fields.values(), spec.charset)
        self.reads = {de: field.read for de, field in self.fields.items()}
        self.puts = {de: put_of([f], self.classes) for de, f in self.fields.items()}
        self.masks = {de: (str(de), mask_of(f)) for de, f in spec.fields.items()}
        self.bitmaps = Bitmaps(spec)
        # A message in ASCII may hold other bytes between its characters.
        self.text_charset = "latin-1" if spec.charset == "ascii" else spec.charset
        self.mti_end = 2 if spec.mti == "bcd" else 4
        self._mti_bytes = {mti: self._encode_mti(mti) for mti in KNOWN_MTIS}
        self._mtis = {octets: mti for mti, octets in self._mti_bytes.items()}

    @property
    def name(self) -> str:
        """The name of the layout."""
        return self.spec.name

    def field(self, de: int) -> FieldCodec | None:
        """What stands at a bit of the bitmaps, a third map in a field included."""
        return self.map_field if de == 65 and self.map_field else self.fields.get(de)

    def has_mti(self, raw: bytes) -> bool:
        """Whether bytes start with a known type indicator."""
        return raw[: self.mti_end] in self._mtis

    def read_mti(self, raw: bytes) -> str:
        """The type indicator of a checked message."""
        return self._mtis[raw[: self.mti_end]]

    def write_mti(self, mti: str) -> bytes:
        """The bytes of a known type indicator; raises EncodeError for others."""
        octets = self._mti_bytes.get(mti)
        if octets is None:
            raise EncodeError("unknown message type indicator", field="t")
        return octets

    def _encode_mti(self, mti: str) -> bytes:
        if self.spec.mti == "bcd":
            return bytes.fromhex(mti)
        return encode_text(mti, self.spec.charset)


def _map_spec(spec: Spec) -> FieldSpec:
    encoding = "raw" if spec.bitmap == "raw" else "hex"
    return FieldSpec(de=65, name="Bitmap, third", cls="b", max=8, encoding=encoding)
