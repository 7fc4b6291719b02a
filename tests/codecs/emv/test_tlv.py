"""BER-TLV: real chip data, hostile bytes, and a second reader."""

from __future__ import annotations

import time
from typing import Any

import pyemv.tlv
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoswitch.codecs.canonical.errors import DecodeError, EncodeError
from isoswitch.codecs.emv.tlv import (
    DEPTH_MAX,
    SIZE_MAX,
    TAGS_MAX,
    Tlv,
    TlvList,
    decode_tlv,
    encode_tlv,
    primitive,
    template,
)
from tests.codecs.vectors import attempt, name_of, vectors
from tests.shared import corpus

POSITIVE = vectors("emv_tlv.json")
NEGATIVE = vectors("emv_negative.json")

primitive_tags = st.sampled_from(
    ["9F02", "95", "9A", "5F2A", "DF8129", "C1", "9F7F", "DF7F", "50"]
)
template_tags = st.sampled_from(["70", "77", "A5", "BF0C", "E1", "FF8105"])
primitives = st.builds(primitive, primitive_tags, st.binary(max_size=300))
trees = st.recursive(
    primitives,
    lambda inner: st.builds(template, template_tags, st.lists(inner, max_size=4)),
    max_leaves=12,
)
tlv_lists = st.lists(trees, max_size=5).filter(lambda o: len(encode_tlv(o)) <= SIZE_MAX)


def tree_of(objects: tuple[Tlv, ...]) -> list[Any]:
    return [
        [
            each.tag,
            tree_of(each.children) if each.children else each.value.hex().upper(),
        ]
        for each in objects
    ]


@pytest.mark.parametrize("case", POSITIVE, ids=name_of)
def test_real_chip_data_decodes_and_encodes_back(case: dict[str, Any]) -> None:
    data = bytes.fromhex(case["hex"])
    tlv = decode_tlv(data)
    assert tree_of(tlv.objects) == case["tlv"]
    assert tlv.encode() == data


@pytest.mark.parametrize("case", NEGATIVE, ids=name_of)
def test_malformed_data_is_refused_with_its_place(case: dict[str, Any]) -> None:
    with pytest.raises(DecodeError) as refused:
        decode_tlv(bytes.fromhex(case["hex"]))
    assert (refused.value.field, refused.value.offset) == (
        case["field"],
        case["offset"],
    )


def test_the_whole_corpus_decodes_and_encodes_back() -> None:
    for case in corpus("emv/tlv.json"):
        data = bytes.fromhex(case["hex"])
        tlv = decode_tlv(data)
        assert tree_of(tlv.objects) == case["tlv"], case["id"]
        assert tlv.encode() == data, case["id"]


def test_the_negative_corpus_is_refused() -> None:
    for case in corpus("emv/negative.json"):
        with pytest.raises(DecodeError):
            decode_tlv(bytes.fromhex(case["hex"]))


def test_a_path_and_an_offset_of_the_message_stand_in_errors() -> None:
    with pytest.raises(DecodeError) as refused:
        decode_tlv(bytes.fromhex("77039F3602"), path="55", offset=100)
    assert str(refused.value) == (
        "field 55.77.9F36, offset 104: value is shorter than its length"
    )


@given(tlv_lists)
def test_what_is_built_reads_back(objects: list[Tlv]) -> None:
    data = encode_tlv(objects)
    tlv = decode_tlv(data)
    assert tlv.encode() == data
    assert tree_of(tlv.objects) == tree_of(tuple(objects))


@given(st.binary(max_size=600))
def test_random_bytes_decode_or_raise_decode_error(data: bytes) -> None:
    tlv = attempt(decode_tlv, data)
    if isinstance(tlv, DecodeError):
        assert 0 <= tlv.offset <= len(data)
    else:
        assert tlv.encode() == data


@pytest.mark.parametrize("case", POSITIVE, ids=name_of)
def test_every_truncation_decodes_or_raises_decode_error(case: dict[str, Any]) -> None:
    data = bytes.fromhex(case["hex"])
    for size in range(len(data)):
        tlv = attempt(decode_tlv, data[:size])
        if isinstance(tlv, DecodeError):
            assert tlv.offset <= size
        else:
            assert tlv.encode() == data[:size]


@given(st.binary(max_size=80), st.integers(0, 79), st.integers(0, 255))
def test_a_second_reader_agrees_where_both_accept(
    noise: bytes, place: int, octet: int
) -> None:
    """pyemv is laxer on lengths and refuses padding; otherwise it must agree."""
    data = bytearray(bytes.fromhex(POSITIVE[5]["hex"])[:80] + noise)
    data[place] = octet
    try:
        tlv = decode_tlv(bytes(data))
        theirs = pyemv.tlv.decode(bytes(data))
    except (DecodeError, pyemv.tlv.DecodeError):
        return
    assert {each.tag for each in tlv.objects} == set(theirs)
    for each in tlv.objects:
        is_repeated = sum(other.tag == each.tag for other in tlv.objects) > 1
        if isinstance(theirs[each.tag], bytes) and not is_repeated:
            assert theirs[each.tag] == each.value


@given(st.lists(primitives, max_size=8, unique_by=lambda each: each.tag))
def test_a_second_writer_gives_the_same_bytes(objects: list[Tlv]) -> None:
    values = {each.tag: each.value for each in objects}
    assert encode_tlv(objects) == pyemv.tlv.encode(values)


@pytest.mark.parametrize(
    "text",
    [
        "9C8101009C820001009A03250101",
        "00009C010000FFFF9A0325010100FF",
        "7707009C010000FFFF9A03250101",
        "710786830000028404",
        "FF20 03 9C0100 FFFF FF21 00",
        "FFFF 20 03 9C0100",
        "FF9A0100",
        "9F5C00",
        "",
    ],
)
def test_a_senders_own_forms_are_kept(text: str) -> None:
    data = bytes.fromhex(text)
    assert decode_tlv(data).encode() == data


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("9C0100FF9A0325010100", ["9C", "FF9A03"]),
        ("9C0100FFFF9A03250101", ["9C", "9A"]),
        ("9C0100FFFF20029A00", ["9C", "FF20"]),
        ("9C010000FF", ["9C"]),
        ("FFFF00019AFF", ["FF00"]),
    ],
)
def test_padding_and_private_tags_are_told_apart(text: str, tags: list[str]) -> None:
    data = bytes.fromhex(text)
    tlv = attempt(decode_tlv, data)
    if isinstance(tlv, DecodeError):
        assert tlv.field == tags[-1]
    else:
        assert [each.tag for each in tlv.objects] == tags
        assert tlv.encode() == data


def test_issuer_scripts_may_use_three_length_bytes() -> None:
    script = bytes.fromhex("7183000003860100")
    assert decode_tlv(script).find("86") == b"\x00"
    with pytest.raises(DecodeError, match="length of more than 2 bytes"):
        decode_tlv(bytes.fromhex("7083000003860100"))


@pytest.mark.parametrize(
    ("content", "children"),
    [
        ("BAD3C4CFCAA1D2F8", 0),  # GBK text
        ("9C01009A03250101", 2),
        ("70009F", 0),  # a good start and a bad end
        ("70039F3602", 0),  # the error is one level further in
    ],
)
def test_a_private_template_may_hold_anything(content: str, children: int) -> None:
    value = bytes.fromhex(content)
    data = b"\xff\x00" + bytes([len(value)]) + value + b"\x9c\x01\x00"
    tlv = decode_tlv(data)
    assert [each.tag for each in tlv.objects] == ["FF00", "9C"]
    assert len(tlv.objects[0].children) == children
    assert tlv.objects[0].value == value
    assert tlv.encode() == data


def test_a_public_template_must_hold_tlv() -> None:
    with pytest.raises(DecodeError):
        decode_tlv(bytes.fromhex("7003BAD3C4"))


def nested(depth: int, tag: str) -> bytes:
    data = b""
    for _ in range(depth):
        data = primitive(tag, data).encode()
    return data


def test_nesting_has_a_limit() -> None:
    decode_tlv(nested(DEPTH_MAX - 1, "70"))
    with pytest.raises(DecodeError, match="nested deeper"):
        decode_tlv(nested(DEPTH_MAX, "70"))


def test_a_private_template_beyond_the_depth_stays_opaque() -> None:
    data = nested(DEPTH_MAX + 5, "E1")
    assert decode_tlv(data).encode() == data


def test_the_number_of_objects_has_a_limit() -> None:
    one = bytes.fromhex("9C0100")
    assert len(decode_tlv(one * TAGS_MAX).objects) == TAGS_MAX
    with pytest.raises(DecodeError, match="more than 128 objects"):
        decode_tlv(one * (TAGS_MAX + 1))


def test_the_size_has_a_limit() -> None:
    with pytest.raises(DecodeError, match="longer than 4096"):
        decode_tlv(bytes(SIZE_MAX + 1))


@pytest.mark.parametrize(
    "hostile",
    [
        bytes(SIZE_MAX),
        b"\xff" * SIZE_MAX,
        nested(1000, "70"),
        nested(1000, "E1"),
        (b"\xe1\x02\x9c\x01" * 2000)[:SIZE_MAX],
    ],
    ids=["zeros", "ones", "deep", "deep-private", "many-opaque"],
)
def test_hostile_bytes_cost_little(hostile: bytes) -> None:
    best_s = 1.0
    for _ in range(3):
        start = time.perf_counter()
        attempt(decode_tlv, hostile)
        best_s = min(best_s, time.perf_counter() - start)
    assert best_s < 0.02


def test_flat_data_takes_templates_as_values() -> None:
    data = bytes.fromhex("2003414243")
    assert decode_tlv(data, is_flat=True).find("20") == b"ABC"
    with pytest.raises(DecodeError):
        decode_tlv(data)


def test_replace_changes_removes_and_adds() -> None:
    tlv = decode_tlv(bytes.fromhex("9F2701809C01009F2701405F2A020978"))
    changed = tlv.replace({"9F27": b"\x00", "5F2A": None, "9A": b"\x25\x01\x01"})
    assert changed.encode().hex().upper() == "9F2701009C01009A03250101"
    assert tlv.replace({"9B": None}) == tlv


def test_find_reaches_into_templates() -> None:
    tlv = decode_tlv(bytes.fromhex(POSITIVE[4]["hex"]))
    assert tlv.find("4F") == bytes.fromhex("A0000000041010")
    assert tlv.find("9F99") is None


def test_a_long_value_gets_a_long_length() -> None:
    assert primitive("50", bytes(200)).encode()[:3].hex() == "5081c8"
    assert primitive("50", bytes(300)).encode()[:4].hex() == "5082012c"


@pytest.mark.parametrize("tag", ["", "9F", "9f02", "ZZ", "9C9A", "00", "9FFFFFFF"])
def test_what_is_no_tag_is_not_written(tag: str) -> None:
    with pytest.raises(EncodeError):
        primitive(tag, b"")


def test_what_is_no_template_holds_no_objects() -> None:
    with pytest.raises(EncodeError, match="announces no nested"):
        template("9F02", [])
    with pytest.raises(EncodeError, match="longer than 4096"):
        primitive("50", bytes(SIZE_MAX + 1))


def test_values_do_not_show() -> None:
    tlv = decode_tlv(bytes.fromhex("5A084761739001010010"))
    assert repr(tlv) == "TlvList(5A)"
    assert repr(tlv.objects) == "(Tlv(5A, 8 bytes),)"
    assert (
        tlv.objects[0] == TlvList((primitive("5A", tlv.find("5A") or b""),)).objects[0]
    )
    assert not tlv.objects[0].is_template
