"""A message keeps its bytes, reads on demand, and splices what changes."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoswitch.codecs.canonical.errors import EncodeError
from isoswitch.codecs.iso8583.codec import Codec, compile_spec
from isoswitch.codecs.iso8583.diff import diff_messages
from isoswitch.codecs.iso8583.masking import mask_value
from isoswitch.codecs.iso8583.message import Message
from isoswitch.codecs.iso8583.specs import get_codec, get_spec, spec_names
from tests.codecs.iso8583.samples import PURCHASE, field_values, messages

CODEC = get_codec("iso87-bcd")


@pytest.fixture(params=["just built", "first sighting", "fused", "of a known shape"])
def message(request: pytest.FixtureRequest) -> Message:
    """The same message in the states it can be in."""
    codec = compile_spec(get_spec("iso87-bcd"))
    built = codec.build("0200", PURCHASE)
    if request.param == "just built":
        return built
    if request.param == "of a known shape":
        codec.teach(built.raw)
    if request.param == "fused":
        codec.teach(built.replace({2: "4111111111111111111"}).raw)
    return codec.decode(built.raw)


def test_values_are_those_that_were_sent(message: Message) -> None:
    assert message.mti == "0200"
    assert message.fields == tuple(sorted(PURCHASE))
    assert list(message) == sorted(PURCHASE)
    assert len(message) == len(PURCHASE)
    assert message.values() == PURCHASE
    assert {de: message[de] for de in PURCHASE} == PURCHASE


def test_an_absent_field_is_a_key_error_or_the_default(message: Message) -> None:
    assert 39 not in message
    assert message.get(39) is None
    assert message.get(39, "96") == "96"
    for read in (message.__getitem__, message.offset, message.end):
        with pytest.raises(KeyError):
            read(39)


def test_offsets_are_those_of_the_data(message: Message) -> None:
    raw = message.raw
    assert raw[message.offset(2) : message.end(2)].hex() == "4761739001010010"
    assert raw[message.offset(2) - 1] == 0x16
    assert raw[message.offset(41) : message.end(41)] == b"TERM0001"
    assert message.offset(64) == len(raw) - 8
    assert message.end(64) == len(raw)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {11: "000099"},
        {37: "123456789012", 7: "0817000000"},
        {2: "4111111111111111111"},
        {55: b"", 11: "000002"},
        {64: bytes(range(8))},
        {39: "00"},
        {52: None, 35: None},
        {64: None, 128: bytes(8), 70: "301"},
        {39: None},
    ],
)
@pytest.mark.parametrize("mti", [None, "0210"])
def test_replacing_is_building_again(
    message: Message, changes: dict[int, str | bytes | None], mti: str | None
) -> None:
    wanted = {de: v for de, v in (PURCHASE | changes).items() if v is not None}
    changed = message.replace(changes, mti=mti)
    assert changed.raw == CODEC.build(mti or "0200", wanted).raw
    assert changed.values() == wanted
    assert [changed.offset(de) for de in changed] == [
        CODEC.decode(changed.raw).offset(de) for de in changed
    ]
    assert message.values() == PURCHASE


@pytest.mark.parametrize(
    ("changes", "field"),
    [({11: "1"}, "11"), ({2: "x"}, "2"), ({39: "ABC"}, "39"), ({199: "1"}, "199")],
)
def test_a_change_that_does_not_fit_is_refused(
    message: Message, changes: dict[int, str | bytes | None], field: str
) -> None:
    with pytest.raises(EncodeError) as refused:
        message.replace(changes)
    assert refused.value.field == field


def test_an_unknown_type_is_refused(message: Message) -> None:
    with pytest.raises(EncodeError):
        message.replace({}, mti="0299")


def test_lower_case_bitmaps_survive_a_splice() -> None:
    raw = b"0200" + b"000000000000c000" + b"978" + b"840"
    message = get_codec("iso87-ascii").decode(raw)
    spliced = message.replace({50: "826"}, mti="0210").raw
    assert spliced == b"0210" + b"000000000000c000" + b"978" + b"826"


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_splice_is_a_build(data: st.DataObject) -> None:
    message = CODEC.decode(CODEC.build("0200", PURCHASE).raw)
    known = st.sampled_from(sorted(CODEC.spec.fields))
    numbers = st.lists(known, unique=True, max_size=4)
    changes = {
        de: data.draw(st.none() | field_values(CODEC.spec.fields[de]))
        for de in data.draw(numbers)
    }
    wanted = {de: v for de, v in (PURCHASE | changes).items() if v is not None}
    assert message.replace(changes).raw == CODEC.build("0200", wanted).raw


def test_any_two_fields_of_a_known_shape_are_spliced() -> None:
    codec = compile_spec(get_spec("iso87-bcd"))
    raw = codec.build("0200", PURCHASE).raw
    codec.teach(raw)
    message = codec.decode(raw)
    zeros: dict[int, str | bytes] = {
        de: type(value)(len(value)) if isinstance(value, bytes) else "0" * len(value)
        for de, value in PURCHASE.items()
    }
    for one, other in permutations(PURCHASE, 2):
        changes = {one: zeros[one], other: zeros[other]}
        assert (
            message.replace(changes).raw == codec.build("0200", PURCHASE | changes).raw
        )


@pytest.mark.parametrize("name", spec_names())
def test_what_is_built_of_a_known_kind_is_shown_as_it_would_be_read(name: str) -> None:
    """It keeps the values it was built of; no reader may see them otherwise."""
    codec = compile_spec(get_spec(name))
    masks = {de: field.masking for de, field in codec.spec.fields.items()}

    @settings(max_examples=20, deadline=None)
    @given(messages(codec.spec))
    def agree(drawn: tuple[str, dict[int, str | bytes]]) -> None:
        mti, drawn_values = drawn
        values = dict(sorted(drawn_values.items()))
        codec.teach(codec.build(mti, values).raw)
        built = codec.build(mti, values)
        fixed = {de: v for de, v in values.items() if not codec.spec.fields[de].length}
        for message in (built, built.replace(fixed)):
            read = codec.decode(message.raw).values()
            assert list(message.values().items()) == list(read.items())
            shown = {str(de): mask_value(read[de], masks[de]) for de in read}
            assert message.masked() == {"mti": mti, **shown}

    agree()


def test_messages_are_equal_by_layout_and_bytes() -> None:
    one, other = (CODEC.build("0800", {11: "000001"}) for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)
    assert one != other.replace({11: "000002"})
    assert one != "0800"


def test_an_empty_message_is_described() -> None:
    assert CODEC.build("0800", {}).describe() == "0800  iso87-bcd, 10 bytes"


def test_a_difference_is_found_across_layouts() -> None:
    ascii_codec: Codec = get_codec("iso87-ascii")
    values = {3: "000000", 11: "000001", 52: bytes(8)}
    left = ascii_codec.build("0200", values)
    right = CODEC.build("0200", values | {11: "000002", 52: bytes(range(8))})
    rows = diff_messages(left, right)
    assert [(row.field, row.left, row.right) for row in rows] == [
        ("11", "000001", "000002"),
        ("52", "*** (8 bytes)", "*** (8 bytes)"),
    ]
    assert diff_messages(left, left) == []
