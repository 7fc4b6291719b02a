"""Messages for tests: a full purchase, values for any field table, and a judge."""

from __future__ import annotations

from hypothesis import strategies as st

from isoswitch.codecs.canonical.errors import DecodeError
from isoswitch.codecs.iso8583.bitmaps import numbers_of
from isoswitch.codecs.iso8583.codec import Codec
from isoswitch.codecs.iso8583.compiled import KNOWN_MTIS
from isoswitch.codecs.iso8583.spec import FieldSpec, Spec

Value = str | bytes
Fault = tuple[str, int, str]

PURCHASE: dict[int, Value] = {
    2: "4761739001010010",
    3: "000000",
    4: "000000001250",
    7: "0816170936",
    11: "000011",
    12: "140936",
    13: "0816",
    14: "3112",
    22: "051",
    25: "00",
    35: "4761739001010010D31122011212120531127",
    37: "322817000011",
    41: "TERM0001",
    42: "MERCHANT0000001",
    49: "978",
    52: bytes(range(8)),
    55: bytes.fromhex("9F2608C2C12B098F3DA6E39F270180"),
    64: bytes(8),
}
"""A chip purchase with PIN in a 1987 layout with binary ICC data."""

_ALPHABETS = {
    "n": "0123456789",
    "a": "ABCXYZabcxyz ",
    "an": "0123456789ABCabc ",
    "ans": "0123456789ABCabc .,;-/*#",
    "text": "0123456789ABCabc \x1c|\\",
    "z": "0123456789",
}
_WIDE = "0123456789ABC 墨文哲有限公司成功"


@st.composite
def field_values(draw: st.DrawFn, field: FieldSpec) -> Value:
    """Any value that a field of this format admits."""
    limit = min(field.max, 60) if field.length else field.max
    size = draw(st.integers(0, limit)) if field.length else field.max
    if field.cls == "b":
        return draw(st.binary(min_size=size, max_size=size))
    if field.cls == "x+n":
        digits = st.text("0123456789", min_size=size - 1, max_size=size - 1)
        return draw(st.sampled_from("CD")) + draw(digits)
    if field.encoding in {"gbk", "utf-8"}:
        text = draw(st.text(_WIDE, max_size=size // 3))
        short = size - len(text.encode(field.encoding))
        return text + " " * (0 if field.length else short)
    alphabet = _ALPHABETS[field.cls]
    if field.cls == "z" and field.encoding == "bcd":
        alphabet += "D"
    return draw(st.text(alphabet, min_size=size, max_size=size))


@st.composite
def messages(draw: st.DrawFn, spec: Spec) -> tuple[str, dict[int, Value]]:
    """A type indicator and values for any choice of fields of a layout."""
    chosen = draw(
        st.lists(st.sampled_from(sorted(spec.fields)), unique=True, max_size=12)
    )
    mti = draw(st.sampled_from(sorted(KNOWN_MTIS)))
    return mti, {de: draw(field_values(spec.fields[de])) for de in chosen}


def fault_of_fields(codec: Codec, raw: bytes) -> Fault | None:
    """What the fields say of the body of a message, asked one by one."""
    try:
        numbers, pos = codec.bitmaps.read(raw, codec.mti_end)
        for de in numbers:
            field = codec.field(de)
            if field is None:
                return str(de), pos, "field is not in this layout"
            end = field.check(raw, pos)
            if field is codec.map_field:
                numbers += numbers_of(codec.bitmaps.read_map(raw, pos, 2), 129)
            pos = end
    except DecodeError as fault:
        return fault.field, fault.offset, fault.reason
    return None if pos == len(raw) else ("end", pos, "bytes follow the last field")
