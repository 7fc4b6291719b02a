"""The codec is strict, exact, bounded, and has one verdict in both lanes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isoswitch.codecs.canonical.errors import DecodeError, EncodeError
from isoswitch.codecs.iso8583 import codec as codec_module
from isoswitch.codecs.iso8583.codec import Codec, compile_spec
from isoswitch.codecs.iso8583.layouts import Override, Wire, build_layout
from isoswitch.codecs.iso8583.spec import Spec, field_spec
from isoswitch.codecs.iso8583.specs import ALIASES, get_codec, get_spec, spec_names
from tests.codecs.iso8583.samples import PURCHASE, messages

QUICK = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def verdict(codec: Codec, raw: bytes) -> object:
    """What a codec says of bytes: values, or the place of the error."""
    try:
        message = codec.decode(raw)
    except DecodeError as exc:
        return exc.field, exc.offset, exc.reason
    return message.mti, message.values(), [message.offset(de) for de in message]


@pytest.mark.parametrize("name", spec_names())
def test_what_is_built_is_read_back(name: str) -> None:
    codec = get_codec(name)

    @QUICK
    @given(messages(codec.spec))
    def round_trip(drawn: tuple[str, dict[int, str | bytes]]) -> None:
        mti, values = drawn
        values = dict(sorted(values.items()))
        for _ in range(2):
            built = codec.build(mti, values)
            read = codec.decode(built.raw)
            assert (read.mti, read.values()) == (mti, values)
            assert list(read.values()) == list(values)
            assert built == read
            assert all(read[de] == values[de] for de in values)
            codec.teach(built.raw)

    round_trip()


@pytest.mark.parametrize("name", spec_names())
def test_random_bytes_are_read_or_refused(name: str) -> None:
    codec = get_codec(name)

    @QUICK
    @given(st.binary(max_size=300))
    def decode(raw: bytes) -> None:
        verdict(codec, raw)
        verdict(codec, codec.write_mti("0200") + raw)

    decode()


@pytest.mark.parametrize("size", ["of one length", "of another length"])
@pytest.mark.parametrize("name", ["iso87-ascii-raw", "iso87-bcd", "visa-vip-like"])
def test_all_lanes_have_one_verdict(name: str, size: str) -> None:
    values = dict(PURCHASE)
    if name == "iso87-ascii-raw":
        values[35] = str(values[35]).replace("D", "=")
    if name == "visa-vip-like":
        values[22] = "0510"
    raw = get_codec(name).build("0200", values).raw
    taught = compile_spec(get_spec(name))
    taught.teach(raw)
    if size == "of another length":
        raw = taught.decode(raw).replace({2: "4111111111111111111"}).raw
    precise = compile_spec(get_spec(name))

    @settings(QUICK, max_examples=300)
    @given(
        st.integers(0, len(raw) - 1),
        st.binary(min_size=0, max_size=3),
        st.integers(0, 3),
    )
    def mutate(place: int, inserted: bytes, removed: int) -> None:
        mutant = raw[:place] + inserted + raw[place + removed :]
        precise.forget()
        assert verdict(taught, mutant) == verdict(precise, mutant)

    mutate()


@pytest.mark.parametrize("name", ["iso87-ascii-raw", "iso87-bcd", "iso87-ebcdic"])
def test_every_cut_is_refused_in_the_fast_lane_too(name: str) -> None:
    values = dict(PURCHASE)
    if name != "iso87-bcd":
        values[35] = str(values[35]).replace("D", "=")
    raw = get_codec(name).build("0200", values).raw
    codec = compile_spec(get_spec(name))
    codec.teach(raw)
    for size in range(len(raw)):
        with pytest.raises(DecodeError):
            codec.decode(raw[:size])
    with pytest.raises(DecodeError) as trailing:
        codec.decode(raw + b"0")
    assert (trailing.value.field, trailing.value.offset) == ("end", len(raw))


@pytest.mark.parametrize(
    ("mti", "field", "offset"),
    [
        (b"02O0", "t", 2),
        (b"4200", "t", 0),
        (b"0280", "t", 0),
        (b"0206", "t", 0),
        (b"0000", "t", 0),
        (b"\xb22000", "t", 0),
    ],
    ids=["letter", "version", "function", "origin", "class", "superscript"],
)
def test_an_unknown_type_is_refused(mti: bytes, field: str, offset: int) -> None:
    with pytest.raises(DecodeError) as refused:
        get_codec("iso87-ascii").decode(mti + b"2" + b"0" * 15 + b"000000")
    assert (refused.value.field, refused.value.offset) == (field, offset)


def test_a_packed_type_is_refused_at_its_byte() -> None:
    with pytest.raises(DecodeError) as refused:
        get_codec("iso87-bcd").decode(bytes.fromhex("020F") + bytes(8))
    assert (refused.value.field, refused.value.offset) == ("t", 1)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({4: "12"}, "4"),
        ({4: "00000000125X"}, "4"),
        ({4: "00000000125٣"}, "4"),
        ({4: b"000000001250"}, "4"),
        ({4: 1250}, "4"),
        ({2: "4" * 20}, "2"),
        ({37: "12345678901\x00"}, "37"),
        ({41: "TERM\t001"}, "41"),
        ({52: "0011223344556677"}, "52"),
        ({52: bytes(7)}, "52"),
        ({28: "E00000001"}, "28"),
        ({35: "4761739001010010|"}, "35"),
        ({1: bytes(8)}, "1"),
        ({129: "x"}, "129"),
    ],
)
@pytest.mark.parametrize("name", ["iso87-ascii", "iso87-ascii-raw", "iso87-bcd"])
def test_a_value_that_does_not_fit_is_refused(
    name: str, fields: dict[int, str | bytes], path: str
) -> None:
    codec = compile_spec(get_spec(name))
    values = dict(PURCHASE) | {28: "C00000001"}
    if name != "iso87-bcd":
        values[35] = "4761739001010010=3112"
    if name == "iso87-ascii":
        values[55] = "9F2701"
    values = dict(sorted(values.items()))
    codec.teach(codec.build("0200", values).raw)
    for mapping in (fields, values | fields):
        with pytest.raises(EncodeError) as refused:
            codec.build("0200", mapping)
        assert refused.value.field == path


@pytest.mark.parametrize(
    ("fmt", "encoding", "good", "bad"),
    [
        ("n..4", "ascii", "12", "1x"),
        ("n..4", "bcd", "12", "1x"),
        ("n..4", "bcd", "123", "12345"),
        ("ans..4", "ascii", "12", "1\n"),
        ("z..4", "bcd", "12", "12345"),
        ("b..4", "raw", b"12", b"12345"),
        ("b..4", "raw", b"12", "12"),
        ("b 2", "raw", b"12", b"1"),
        ("ans 4", "cp037", "12ab", "12a"),
        ("ans 4", "cp037", "12ab", "12a\n"),
    ],
)
def test_a_learnt_encoding_refuses_like_the_field(
    fmt: str, encoding: str, good: str | bytes, bad: str | bytes
) -> None:
    digits = {de: field_spec(de, "Digits", "n 3") for de in (49, 50)}
    any_field = field_spec(48, "Any", fmt, encoding=encoding)
    fields = {48: any_field, **digits}
    codec = compile_spec(Spec(name="two", edition="1987", fields=fields, bitmap="raw"))
    values: dict[int, str | bytes] = {48: good, 49: "123", 50: "456"}
    raw = codec.build("0200", values).raw
    codec.teach(raw)
    for de, wrong in ((48, bad), (49, "12x"), (50, "1234")):
        with pytest.raises(EncodeError, match=f"field {de}"):
            codec.build("0200", values | {de: wrong})
    with pytest.raises(DecodeError) as refused:
        codec.decode(raw[:-1] + b"x")
    assert (refused.value.field, refused.value.offset) == ("50", len(raw) - 1)
    shorter = values | ({48: good[:1]} if any_field.length else {})
    raw = codec.build("0200", shorter).raw
    assert codec.decode(raw).values() == shorter


def test_an_unknown_type_is_not_built() -> None:
    with pytest.raises(EncodeError) as refused:
        get_codec("iso87-ascii").build("0299", {})
    assert refused.value.field == "t"


def test_a_field_outside_the_layout_is_refused_at_its_place() -> None:
    spec = get_spec("iso87-ascii")
    small = replace(spec, fields={de: spec.fields[de] for de in (3, 11)})
    with pytest.raises(DecodeError) as refused:
        compile_spec(small).decode(b"0800" + b"3020000000000000" + b"000000")
    assert (refused.value.field, refused.value.offset) == ("4", 26)


def test_traffic_teaches_in_bounded_number(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("ARRANGEMENTS_MAX", "SHAPES_MAX", "SIGHTINGS_MAX"):
        monkeypatch.setattr(codec_module, limit, 4)
    codec = compile_spec(get_spec("iso87-ascii"))
    often = codec_module.SIGHTINGS_TO_FUSE + codec_module.SIGHTINGS_TO_SHAPE
    for de in (3, 4, 7, 11, 12, 13, 14, 15, 16, 17):
        value = "0" * codec.spec.fields[de].max
        for _ in range(often):
            message = codec.decode(codec.build("0200", {de: value}).raw)
            assert message.values() == {de: value}
        codec.decode(codec.build("0200", {de: value, 18: "5999"}).raw)
    for taught in (codec._by_head, codec._by_numbers, codec._shapes):
        assert len(taught.known) == 4
        assert len(taught._sightings) <= 4


def test_a_good_message_teaches_nothing_at_first() -> None:
    codec = compile_spec(get_spec("iso87-ascii"))
    raw = codec.build("0200", {2: "4111111111111111", 3: "000000"}).raw
    for _ in range(codec_module.SIGHTINGS_TO_FUSE - 1):
        codec.decode(raw)
    assert not codec._by_head.known


def test_two_splits_of_one_length_are_both_read() -> None:
    codec = compile_spec(get_spec("iso87-ascii"))
    one: dict[int, str | bytes] = {2: "4111111111111", 32: "123456"}
    other: dict[int, str | bytes] = {2: "4111111111111111", 32: "123"}
    codec.teach(codec.build("0200", one).raw)
    for values in (one, other) * codec_module.SIGHTINGS_TO_SHAPE:
        assert codec.decode(codec.build("0200", values).raw).values() == values


def test_only_a_good_message_teaches() -> None:
    codec = compile_spec(get_spec("iso87-ascii"))
    with pytest.raises(DecodeError):
        codec.teach(codec.build("0200", {3: "000000"}).raw[:-1])


@pytest.mark.parametrize("alias", sorted(ALIASES))
def test_an_alias_is_the_same_codec(alias: str) -> None:
    assert get_codec(alias) is get_codec(ALIASES[alias])


def test_an_unknown_layout_is_refused_with_those_that_exist() -> None:
    with pytest.raises(LookupError, match="iso87-ascii"):
        get_spec("iso88")


THIRD_MAPS = {
    "after-second": "c000000000000001" + "8000000000000000" + "2000000000000001",
    "in-65": "c000000000000001" + "8000000000000000",
}


@pytest.mark.parametrize("third", ["after-second", "in-65"])
@pytest.mark.parametrize("bitmap", ["raw", "hex"])
def test_a_third_bitmap_names_fields_above_128(third: str, bitmap: str) -> None:
    wire = Wire(third_bitmap=third, bitmap=bitmap)  # type: ignore[arg-type]
    above: dict[int, Override] = {131: {"format": "ans..20"}, 192: {"format": "n 4"}}
    codec = compile_spec(build_layout("third", "1987", wire, above))
    values: dict[int, str | bytes] = {2: "41", 64: bytes(8), 131: "x", 192: "0001"}
    message = codec.build("0100", values)
    assert codec.decode(message.raw).values() == values
    maps = message.raw[4:].hex()
    if bitmap == "hex":
        maps = message.raw[4:].decode("latin-1").lower()
    assert maps.startswith(THIRD_MAPS[third])
    changed = codec.decode(message.replace({131: "longer", 2: None}).raw)
    assert changed.values() == {64: bytes(8), 131: "longer", 192: "0001"}
    assert codec.decode(message.replace({131: None, 192: None}).raw).fields == (2, 64)


def test_a_third_bitmap_in_a_field_teaches_nothing() -> None:
    above: dict[int, Override] = {131: {"format": "ans..20"}}
    wire = Wire(third_bitmap="in-65", bitmap="raw")
    codec = compile_spec(build_layout("third", "1987", wire, above))
    message = codec.build("0100", {2: "41", 131: "x"})
    codec.teach(message.raw)
    assert codec.decode(message.raw).fields == (2, 131)
    assert codec.decode(message.raw).values() == {2: "41", 131: "x"}


def test_a_message_is_salvaged_up_to_a_field_that_is_not_in_the_layout() -> None:
    spec = get_spec("iso87-ascii")
    small = replace(spec, fields={de: spec.fields[de] for de in (3, 11)})
    raw = b"0800" + b"3020000000000000" + b"000000" + b"12"
    message, fault = compile_spec(small).salvage(raw)
    assert message.values() == {3: "000000"}
    assert fault is not None
    assert (fault.field, fault.offset) == ("4", 26)


def test_without_a_third_bitmap_field_65_is_a_field() -> None:
    codec = get_codec("iso87-bcd")
    message = codec.build("0200", {65: bytes(8), 70: "301"})
    assert codec.decode(message.raw)[65] == bytes(8)


@pytest.mark.parametrize(
    ("second", "maps"),
    [
        ("when-used", "4000000000000000"),
        ("always", "c000000000000000" + "0" * 16),
        ("always-unflagged", "4000000000000000" + "0" * 16),
    ],
)
def test_the_second_bitmap_can_always_be_sent(second: str, maps: str) -> None:
    wire = Wire(second_bitmap=second, bitmap="raw")  # type: ignore[arg-type]
    codec = compile_spec(build_layout("maps", "1987", wire))
    message = codec.build("0100", {2: "4111111111111111"})
    assert message.raw[4 : 4 + len(maps) // 2].hex() == maps
    assert codec.decode(message.raw).fields == (2,)


def pad_layout(**settings: str) -> Spec:
    field = field_spec(
        23,
        "Odd",
        "n 3",
        encoding="bcd",
        **settings,  # type: ignore[arg-type]
    )
    return Spec(name="pad", edition="1987", fields={23: field}, bitmap="raw")


@pytest.mark.parametrize(
    ("settings", "wire"),
    [
        ({"pad": "left"}, "0071"),
        ({"pad": "right"}, "0710"),
        ({"pad": "left", "filler": "F"}, "f071"),
        ({"pad": "right", "filler": "F"}, "071f"),
    ],
    ids=["left 0", "right 0", "left F", "right F"],
)
def test_an_odd_digit_is_filled_up_as_the_layout_says(
    settings: dict[str, str], wire: str
) -> None:
    codec = compile_spec(pad_layout(**settings))
    message = codec.build("0200", {23: "071"})
    assert message.raw[12:].hex() == wire
    assert codec.decode(message.raw)[23] == "071"
    codec.teach(message.raw)
    assert codec.decode(message.raw)[23] == "071"
    with pytest.raises(DecodeError, match="field 23"):
        codec.decode(message.raw[:12] + bytes.fromhex("5715"))


@pytest.mark.parametrize(
    ("fmt", "settings", "value", "wire"),
    [
        ("n..19", {"encoding": "bcd", "length_encoding": "bcd"}, "123", "030123"),
        ("n..19", {"encoding": "bcd", "length_encoding": "bin"}, "123", "030123"),
        ("n..19", {"encoding": "bcd", "length_encoding": "cp500"}, "123", "f0f30123"),
        (
            "n..19",
            {
                "encoding": "bcd",
                "length_encoding": "bcd",
                "length_unit": "bytes",
                "pad": "right",
                "filler": "F",
            },
            "123",
            "02123f",
        ),
        ("n..19", {"encoding": "cp1047"}, "12", "3032f1f2"),
        ("an 3", {"encoding": "cp500"}, "A12", "c1f1f2"),
        ("b..19", {"encoding": "hex"}, b"\xab", "30314142"),
        ("b..19", {"encoding": "hex", "length_unit": "bytes"}, b"\xab", "30324142"),
        ("b...999", {"encoding": "raw", "length_encoding": "bin"}, b"\xab", "0001ab"),
        ("b....9999", {"encoding": "raw", "length_encoding": "bcd"}, b"\xab", "0001ab"),
        ("b......99999", {"encoding": "raw"}, b"\xab", "303030303031ab"),
        ("z..37", {"encoding": "bcd", "length_encoding": "bcd"}, "1D2", "0301d2"),
        ("x+n 8", {"encoding": "bcd"}, "D00000120", "4400000120"),
        ("x+n 7", {"encoding": "bcd"}, "C0000120", "4300000120"),
        ("ans..20", {"encoding": "gbk"}, "成功", "3034b3c9b9a6"),
    ],
)
def test_encoding_length_and_unit_are_independent(
    fmt: str, settings: dict[str, str], value: str | bytes, wire: str
) -> None:
    field = field_spec(48, "Any", fmt, **settings)  # type: ignore[arg-type]
    spec = Spec(name="any", edition="1987", fields={48: field}, bitmap="raw")
    codec = compile_spec(spec)
    for _ in range(2):
        message = codec.build("0200", {48: value})
        assert message.raw[12:].hex() == wire
        assert codec.decode(message.raw)[48] == value
        assert codec.decode(message.raw).values() == {48: value}
        codec.teach(message.raw)


def one_field(fmt: str, **settings: str) -> Codec:
    """A codec of a layout with DE 48 only."""
    field = field_spec(48, "Any", fmt, **settings)  # type: ignore[arg-type]
    spec = Spec(name="one", edition="1987", fields={48: field}, bitmap="raw")
    return compile_spec(spec)


HEAD_48 = b"0200" + bytes.fromhex("0000000000010000")


@pytest.mark.parametrize(
    ("fmt", "charset", "data", "offset"),
    [
        ("ans 2", "gbk", b"\xff\xff", 12),
        ("ans 3", "gbk", b"a\xb3", 12),
        ("ans 3", "gbk", b"ab\xb3", 14),
        ("ans 2", "gbk", b"a\n", 12),
        ("n 2", "gbk", b"1a", 12),
        ("text 6", "utf-7", b"+AGE-x", 12),
        ("text 3", "utf-8", b"\xed\xa0\x80", 12),
        ("text 2", "iso2022_jp", b"\x1b\x80", 12),
        ("text 2", "punycode", b"\0\0", 12),
    ],
)
def test_multi_byte_text_that_is_not_text_is_refused(
    fmt: str, charset: str, data: bytes, offset: int
) -> None:
    with pytest.raises(DecodeError) as refused:
        one_field(fmt, encoding=charset).decode(HEAD_48 + data)
    assert (refused.value.field, refused.value.offset) == ("48", offset)


@pytest.mark.parametrize(
    ("fmt", "charset", "value"),
    [
        ("ans 2", "gbk", "\U0001f4b3"),
        ("ans 2", "gbk", "a\n"),
        ("n 2", "gbk", "1a"),
        ("ans 2", "ascii", "é1"),
    ],
)
def test_text_outside_its_charset_or_class_is_not_built(
    fmt: str, charset: str, value: str
) -> None:
    with pytest.raises(EncodeError):
        one_field(fmt, encoding=charset).build("0200", {48: value})


def test_text_of_any_character_may_hold_controls() -> None:
    codec = one_field("text 2", encoding="gbk")
    assert codec.decode(HEAD_48 + b"a\n")[48] == "a\n"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"000", "ends inside the length"),
        (b"99999", "ends inside the field"),
        (b"0000x", "not a number"),
        (b"+0001a", "not a number"),
        (b"60000a", "over 50000"),
    ],
)
def test_a_wide_length_is_read_strictly(data: bytes, reason: str) -> None:
    codec = one_field("b.....50000", encoding="raw")
    if data == b"99999":
        data = b"49999"
    with pytest.raises(DecodeError, match=reason):
        codec.decode(HEAD_48 + data)


def test_more_byte_sets_than_bits_make_no_difference() -> None:
    rows = [
        ("n 3", {"encoding": "bcd"}),
        ("n 3", {"encoding": "bcd", "pad": "right"}),
        ("n 3", {"encoding": "bcd", "filler": "F"}),
        ("n 3", {"encoding": "bcd", "filler": "F", "pad": "right"}),
        ("n 3", {"encoding": "cp500"}),
        ("an 3", {"encoding": "cp500"}),
        ("ans 3", {"encoding": "cp500"}),
        ("n 3", {}),
        ("an 3", {}),
        ("ans 3", {}),
        ("text 3", {}),
        ("a 3", {}),
    ]
    fields = {
        de: field_spec(de, "Any", fmt, **settings)  # type: ignore[arg-type]
        for de, (fmt, settings) in enumerate(rows, 2)
    }
    spec = Spec(name="many", edition="1987", fields=fields, bitmap="raw")
    codec = compile_spec(spec)
    values: dict[int, str | bytes] = dict.fromkeys(fields, "123") | {13: "abc"}
    for _ in range(2):
        message = codec.decode(codec.build("0200", values).raw)
        assert message.values() == values
        with pytest.raises(DecodeError, match="field 13"):
            codec.decode(message.raw[:-1] + b"1")
        with pytest.raises(EncodeError, match="field 12"):
            codec.build("0200", values | {12: "12é"})
        codec.teach(message.raw)


def test_a_third_map_of_the_default_engine_is_found_in_the_fast_lane() -> None:
    codec = compile_spec(get_spec("visa-vip-like"))
    for values in ({70: "301"}, {70: "301", 130: b"x"}):
        built = codec.build("0800", values)  # type: ignore[arg-type]
        assert codec.decode(built.raw).values() == values
        codec.teach(built.raw)
        assert codec.decode(built.raw).values() == values
        with pytest.raises(DecodeError):
            codec.decode(built.raw[:11])


def test_an_unknown_charset_is_refused() -> None:
    for charset in ("cp999", "hex_codec"):
        with pytest.raises(ValueError, match="unknown encoding"):
            one_field("ans 2", encoding=charset)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"fmt": "q 3"}, "no field format"),
        ({"fmt": "ans 3", "encoding": "bcd"}, "only digits are packed"),
        ({"fmt": "n 3", "encoding": "raw"}, "binary and its encoding"),
        ({"fmt": "n..999"}, "cannot hold the limit"),
        ({"fmt": "n 3", "encoding": "bcd", "filler": "XX"}, "filler"),
        ({"fmt": "x+n..20"}, "signed amount is fixed"),
        ({"fmt": "ans..20", "length_encoding": "utf-16"}, "prefix"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(
    wrong: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        field_spec(48, "Any", **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"charset": "utf-8"}, "not in the charset"),
        ({"fields": {3: field_spec(4, "Four", "n 1")}}, "not a data element"),
        ({"fields": {193: field_spec(193, "Far", "n 1")}}, "not a data element"),
        (
            {"third_bitmap": "in-65", "fields": {65: field_spec(65, "Map", "n 1")}},
            "third bitmap stands here",
        ),
    ],
)
def test_a_layout_that_contradicts_itself_is_refused(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        replace(get_spec("iso87-ascii"), **changes)  # type: ignore[arg-type]


def test_what_the_fast_lane_cannot_put_is_refused_precisely() -> None:
    codec = compile_spec(get_spec("iso87-bcd"))
    values = dict(PURCHASE)
    raw = codec.build("0200", values).raw
    codec.teach(raw)
    place = codec.decode(raw).offset(2)
    with pytest.raises(DecodeError) as refused:
        codec.decode(raw[:place] + b"\x4a" + raw[place + 1 :])
    assert (refused.value.field, refused.value.offset) == ("2", place)
    with pytest.raises(EncodeError, match="field 41"):
        codec.build("0200", values | {41: "TERM001"})
