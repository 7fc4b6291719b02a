"""Composite fields: real ones of each network, broken ones, built ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoswitch.codecs.canonical.errors import DecodeError, EncodeError
from isoswitch.codecs.composites import networks
from isoswitch.codecs.composites.drift import DriftCounter
from isoswitch.codecs.composites.layouts import (
    BerTlv,
    Bitmapped,
    BySize,
    KeyValue,
    Part,
    Positional,
    TagLength,
)
from isoswitch.codecs.composites.model import ELEMENTS_MAX, Layout, Value, join
from isoswitch.codecs.composites.networks import LAYOUTS, find_layout
from tests.codecs.vectors import attempt
from tests.shared import corpus

octets = bytes.fromhex
TEST_PAN = "4761739001010010"

# Samples of public test data; sources in the notes of each.
SAMPLES: list[tuple[str, str, int, Value, dict[str, Value]]] = [
    # starkbank/iso8583 test messages (MIT)
    ("visa-62", "visa-vip-like", 62, octets("8000000000000000E8"), {"1": b"\xe8"}),
    ("visa-63", "visa-vip-like", 63, octets("8000000002"), {"1": b"\x00\x02"}),
    ("visa-126", "visa-vip-like", 126, octets("0008000000000000C9"), {"13": b"\xc9"}),
    (
        "visa-104",
        "visa-vip-like",
        104,
        octets("56000C0102F1F20203F1F2F30301F1"),
        {"56.01": octets("F1F2"), "56.03": b"\xf1"},
    ),
    (
        "visa-55",
        "visa-vip-like",
        55,
        octets("01000B9F27018095050000000000"),
        {"01.9F27": b"\x80", "01.95": bytes(5)},
    ),
    (
        "mastercard-48",
        "mastercard-cis-like",
        48,
        octets("D9F3F8F0F1E9"),
        {"lead": b"\xd9", "38": b"\xe9"},
    ),
    # adelosa/cardutil tests (MIT)
    ("ipm-48", "mastercard-ipm-like", 48, "0001001Y", {"0001": "Y"}),
    # vfwz/iso8583-parser tests (Apache-2.0)
    (
        "unionpay-46",
        "cup-pos",
        46,
        "PI06404020205140000240210687000000106060000690708D3903F390808V0.0.3.0",
        {"PI.05": "00002402106870000001", "PI.08": "V0.0.3.0"},
    ),
    ("unionpay-53", "cup-pos", 53, "2600000000000000", {"1": "2", "2": "6"}),
    (
        "unionpay-60-13",
        "cup-pos",
        60,
        "2200072700060",
        {"1": "22", "2": "000727", "3": "000", "4": "6", "5": "0"},
    ),
    ("unionpay-60-8", "cup-pos", 60, "07000727", {"1": "07", "2": "000727"}),
    (
        "unionpay-61",
        "cup-pos",
        61,
        "0000010000020408",
        {"1": "000001", "2": "000002", "3": "0408"},
    ),
    ("unionpay-63", "cup-pos", 63, octets("534D303136CDC4"), {"1": b"SM0"}),
    # danil/iso8583 tests (BSD-3-Clause)
    (
        "host-120",
        "ascii-host-like",
        120,
        "UD062CI045010100201003010040100501006010070100801009010IR000CS00241",
        {"UD.CI.09": "0", "UD.IR": "", "UD.CS": "41"},
    ),
    # nikmes sample of a Way4 host
    (
        "way4-48",
        "way4-like",
        48,
        octets("C00703303030C0090100C0100108"),
        {"C007": b"000", "C010": b"\x08"},
    ),
    # made of the layout: switch key, CVV2, structured data
    (
        "postilion-127",
        "postilion-like",
        127,
        octets("4040040000000000") + b"04KEY1123" + b"0001314Name15Value",
        {"2": b"KEY1", "10": b"123", "22.Name": b"Value"},
    ),
    (
        "unionpay-104",
        "cups-interchange",
        104,
        b"PI010\x01\x03109\x02\x0334.",
        {"PI.01": b"109", "PI.02": b"34."},
    ),
]
IDS = [sample[0] for sample in SAMPLES]


@pytest.mark.parametrize(("_", "dialect", "de", "value", "parts"), SAMPLES, ids=IDS)
def test_samples_are_cut_and_put_together(
    _: str, dialect: str, de: int, value: Value, parts: Mapping[str, Value]
) -> None:
    layout = find_layout(dialect, de)
    assert layout is not None
    composite = layout.decode(value, path=str(de))
    assert composite.encode() == value
    for path, part in parts.items():
        assert composite.find(path) == part
    assert list(composite.unknown()) == []


@pytest.mark.parametrize(("_", "dialect", "de", "value", "parts"), SAMPLES, ids=IDS)
def test_samples_are_built_again_from_their_elements(
    _: str, dialect: str, de: int, value: Value, parts: Mapping[str, Value]
) -> None:
    del parts
    layout = find_layout(dialect, de)
    assert layout is not None
    composite = layout.decode(value)
    assert composite.replace({}).encode() == value


@pytest.mark.parametrize(("_", "dialect", "de", "value", "parts"), SAMPLES, ids=IDS)
def test_truncated_samples_are_refused_or_kept(
    _: str, dialect: str, de: int, value: Value, parts: Mapping[str, Value]
) -> None:
    del parts
    layout = find_layout(dialect, de)
    assert layout is not None
    for size in range(len(value)):
        composite = attempt(layout.decode, value[:size])
        if isinstance(composite, DecodeError):
            assert composite.offset <= size
        else:
            assert composite.encode() == value[:size]


@pytest.mark.parametrize("place", LAYOUTS, ids=lambda place: f"{place[0]}-{place[1]}")
@given(data=st.binary(max_size=120), text=st.text("0123456789ABPIUDCS", max_size=80))
def test_random_fields_decode_or_raise_decode_error(
    place: tuple[str, int], data: bytes, text: str
) -> None:
    for value in (data, text):
        composite = attempt(LAYOUTS[place].decode, value)
        assert isinstance(composite, DecodeError) or composite.encode() == value


# A blog's sample whose device information was anonymised by hand: 07 has 8 characters
# and the next length is a piece of text.
SLIPS = {("cups-0200-purchase", 104)}


@pytest.mark.parametrize(
    ("name", "dialect"),
    [("visa", "visa-vip-like"), ("cup-pos", "cup-pos"), ("cups", "cups-interchange")],
)
def test_the_composites_of_the_corpus_are_cut(name: str, dialect: str) -> None:
    binary = {55, 104, 123, 126, *((62, 63) if name != "cups" else ())}
    seen = 0
    for case in corpus(f"iso8583/{name}.json"):
        for number, text in case["fields"].items():
            layout = find_layout(dialect, int(number))
            if layout is None or (case["id"], int(number)) in SLIPS:
                continue
            value = octets(text) if int(number) in binary else text
            assert layout.decode(value, path=number).encode() == value, case["id"]
            seen += 1
    assert seen > 1


def test_a_slip_inside_a_data_set_is_refused_with_its_place() -> None:
    case = next(
        c for c in corpus("iso8583/cups.json") if c["id"] == "cups-0200-purchase"
    )
    layout = networks.UNIONPAY_INTERCHANGE_104
    with pytest.raises(DecodeError) as refused:
        layout.decode(octets(case["fields"]["104"]), path="104")
    assert refused.value.field == "104.PI.08"


PAIR = Positional(parts={"1": Part(name="one", size=2), "2": Part(name="two", size=3)})
TEXT = TagLength(tag=2, length=2, names={"01": "one"})
HEX = TagLength(tag=2, length=2, coding="hex", other="other")
BINARY = TagLength(tag=1, length=1, coding="binary", is_tag_binary=True)
LED = TagLength(tag=2, length=2, lead=Part(name="lead", size=1))
MAP = Bitmapped(
    size=1,
    parts={1: Part(name="one", size=2), 2: Part(name="two", size=4, prefix=1)},
)
HEX_MAP = Bitmapped(
    size=1,
    coding="decimal",
    is_bitmap_hex=True,
    parts={1: Part(name="one", size=2), 2: Part(name="two", size=4, prefix=1)},
)
FLAT = BerTlv(is_flat=True, names={"20": "text"})


@pytest.mark.parametrize(
    ("layout", "value", "field", "offset"),
    [
        (PAIR, "1", "60.1", 1),
        (PAIR, "123", "60.2", 3),
        (TEXT, "0", "60", 1),
        (TEXT, "01", "60.01", 2),
        (TEXT, "01+1A", "60.01", 2),
        (TEXT, "01 1A", "60.01", 2),
        (TEXT, "0102A", "60.01", 5),
        (TEXT, "\u0661102AB", "60", 0),
        (TEXT, "--02AB", "60", 0),
        (TEXT, b"\xff102AB", "60", 0),
        (HEX, "01G1", "60.01", 2),
        (BINARY, "0102AB", "60", 0),
        (BINARY, b"\x01", "60.01", 1),
        (LED, "R01", "60.01", 3),
        (MAP, b"", "60.bitmap", 0),
        (MAP, "\x80", "60.bitmap", 0),
        (MAP, b"\x80A", "60.1", 2),
        (MAP, b"\x40\x05ABCDE", "60.2", 1),
        (HEX_MAP, "X0", "60.bitmap", 0),
        (HEX_MAP, "405ABCDE", "60.2", 2),
        (HEX_MAP, "40+", "60.2", 2),
        (BerTlv(), "9C0100", "60", 0),
        (BerTlv(), b"\x9c\x02", "60.9C", 1),
        (KeyValue(), "0", "60", 1),
        (KeyValue(), "x", "60", 0),
        (KeyValue(), "14Name", "60.Name", 6),
        (KeyValue(), "14Name1", "60.Name", 7),
        (BySize(layouts={5: PAIR}), "1234", "60", 0),
    ],
)
def test_broken_fields_are_refused_with_their_place(
    layout: Layout, value: Value, field: str, offset: int
) -> None:
    with pytest.raises(DecodeError) as refused:
        layout.decode(value, path="60", offset=10)
    assert (refused.value.field, refused.value.offset) == (field, offset + 10)


def test_the_number_of_elements_has_a_limit() -> None:
    TEXT.decode("0100" * ELEMENTS_MAX)
    with pytest.raises(DecodeError, match="more than"):
        TEXT.decode("0100" * (ELEMENTS_MAX + 1))


def test_what_no_layout_knows_is_kept_and_counted() -> None:
    composite = PAIR.decode("1234567")
    assert list(composite.unknown()) == [("+", 2)]
    mapped = MAP.decode(b"\xa0ABrest")
    assert mapped.find("3") == b"rest"
    assert list(mapped.unknown()) == [("3", 4)]
    assert mapped.encode() == b"\xa0ABrest"
    assert list(TEXT.decode("0101A9902BC").unknown()) == [("99", 2)]
    assert list(HEX.decode("990aABCDEFGHIJ").unknown()) == []
    assert list(FLAT.decode(octets("2001410101AA")).unknown()) == [("01", 1)]
    assert list(BerTlv().decode(octets("DF7F0100")).unknown()) == [("DF7F", 1)]


def test_padding_behind_chip_data_is_kept() -> None:
    value = octets("9C01000000")
    composite = BerTlv().decode(value)
    assert composite.encode() == value
    assert list(composite.unknown()) == []


def test_templates_in_chip_data_are_cut_further() -> None:
    composite = BerTlv().decode(octets("77079F2701809C0100"))
    assert composite.find("77.9C") == b"\x00"
    assert composite.describe()[0] == ("77", "Response Message Template Format 2", "")


@pytest.mark.parametrize(
    ("layout", "values", "built"),
    [
        (PAIR, {"1": "12"}, "12"),
        (PAIR, {"1": "12", "2": "345", "+": "6"}, "123456"),
        (PAIR, {}, b""),
        (TEXT, {"01": "A", "99": ""}, "0101A9900"),
        (TEXT, {"01": b"A"}, b"0101A"),
        (HEX, {"01": "A" * 20}, "0114" + "A" * 20),
        (BINARY, {"C1": b"AB"}, b"\xc1\x02AB"),
        (LED, {"lead": "R", "01": "A"}, "R0101A"),
        (MAP, {"2": b"ABC", "1": b"XY"}, b"\xc0XY\x03ABC"),
        (MAP, {}, b"\x00"),
        (HEX_MAP, {"2": "ABC"}, "403ABC"),
        (HEX_MAP, {"2": b"ABC"}, b"403ABC"),
        (BerTlv(), {"9C": b"\x00"}, b"\x9c\x01\x00"),
        (KeyValue(), {"Name": "V" * 12}, "14Name212" + "V" * 12),
        (KeyValue(), {"Name": b"V"}, b"14Name11V"),
        (BySize(layouts={5: PAIR}), {"1": "12", "2": "345"}, "12345"),
    ],
)
def test_fields_are_built(
    layout: Layout, values: Mapping[str, Value], built: Value
) -> None:
    assert layout.build(values).encode() == built


@pytest.mark.parametrize(
    ("layout", "values"),
    [
        (PAIR, {"2": "345"}),
        (PAIR, {"9": "345"}),
        (PAIR, {"1": "1"}),
        (PAIR, {"1": "1234"}),
        (PAIR, {"1": "12", "2": b"345"}),
        (TEXT, {"01": "A" * 100}),
        (TEXT, {"1": "A"}),
        (BINARY, {"C1": bytes(256)}),
        (BINARY, {"XX": b"A"}),
        (MAP, {"3": b"A"}),
        (MAP, {"1": b"ABC"}),
        (MAP, {"2": b"ABCDE"}),
        (BerTlv(), {"9C": "A"}),
        (BerTlv(), {"XX": b"A"}),
        (BySize(layouts={5: PAIR}), {"1": "12"}),
    ],
)
def test_what_does_not_fit_is_not_built(
    layout: Layout, values: Mapping[str, Value]
) -> None:
    with pytest.raises(EncodeError):
        layout.build(values)


def test_replace_sets_adds_and_removes() -> None:
    composite = TEXT.decode("0101A9902BC")
    assert composite.replace({"01": "XY", "99": None, "50": "Z"}).encode() == (
        "0102XY5001Z"
    )


def test_text_and_bytes_do_not_mix() -> None:
    assert join([]) == b""
    with pytest.raises(EncodeError):
        join(["a", b"b"])


@pytest.mark.parametrize("size", [24, 40, 56, 60, 84])
def test_working_keys_of_a_sign_in_are_cut_and_hidden(size: int) -> None:
    composite = networks.UNIONPAY_SIGN_IN_KEYS.decode(bytes(range(size)), path="62")
    assert composite.encode() == bytes(range(size))
    shown = {path: value for path, _, value in composite.describe()}
    assert shown["PIN key"] == "***"
    assert len(shown["PIN key check"]) == 8


HIDING: list[tuple[str, int, Callable[[bytes], Value]]] = [
    ("visa-vip-like", 55, lambda pan: b"\x01\x00\x0a\x5a\x08" + pan[:8]),
    ("visa-vip-like", 126, lambda pan: octets("0040000000000000") + b"  9123"),
    ("mastercard-cis-like", 48, lambda pan: octets("D9F3F3F1F6") + pan),
    ("cup-pos", 60, lambda pan: "22" + TEST_PAN),
    ("cup-pos", 63, lambda pan: b"SM0" + TEST_PAN.encode()),
    ("cup-pos", 46, lambda pan: "PI0200510" + TEST_PAN),
    ("mastercard-ipm-like", 48, lambda pan: "9999016" + TEST_PAN),
    ("way4-like", 48, lambda pan: b"\xc0\x07\x10" + TEST_PAN.encode()),
    ("way4-like", 48, lambda pan: b"\xc0\x07\x10" + TEST_PAN.encode("cp500")),
    ("way4-like", 48, lambda pan: b"\xc0\x07\x08" + octets(TEST_PAN)),
    (
        "postilion-like",
        127,
        lambda pan: bytes(8) + TEST_PAN.encode(),
    ),
]


@pytest.mark.parametrize(("dialect", "de", "make"), HIDING)
def test_card_data_hidden_in_a_field_does_not_show(
    dialect: str, de: int, make: Callable[[bytes], Value]
) -> None:
    layout = find_layout(dialect, de)
    assert layout is not None
    packed = octets(TEST_PAN)
    value = make(TEST_PAN.encode("cp500") if "mastercard" in dialect else packed)
    composite = layout.decode(value)
    shown = str(composite.describe()) + repr(composite) + repr(composite.elements)
    for spelled in (TEST_PAN, TEST_PAN.encode().hex(), TEST_PAN.encode("cp500").hex()):
        assert spelled.upper() not in shown
    assert "9123" not in shown


def test_developers_may_see_values_in_clear() -> None:
    composite = networks.VISA_62.decode(octets("8000000000000000E8"))
    assert composite.describe(unsafe=True)[1][2] == "Y"
    hidden = networks.MASTERCARD_48.decode(octets("D9F9F2F0F3F1F2F3"))
    assert hidden.describe()[1][2] == "***"
    assert hidden.describe(unsafe=True)[1][2] == "123"
    chip = BerTlv().decode(octets("5A084761739001010010"))
    assert chip.describe(unsafe=True)[0][2] == TEST_PAN
    assert "unknown" in str(TEXT.decode("9902BC").describe())


def test_a_long_run_of_digits_is_hidden_without_judging_it() -> None:
    shown = networks.UNIONPAY_60.decode("22" + "1" * 900).describe()
    assert shown[-1][2].startswith("111111****")
    assert networks.UNIONPAY_60.decode("0" * 900).describe()[-1][2] == "0" * 883


def test_drift_is_counted_by_peer_and_element() -> None:
    counter = DriftCounter(rows_max=2)
    counter.observe("b", 5, [("55.DF7F", 4)])
    counter.observe("a", 7, [("55.DF7F", 2), ("55.E9", 1)])
    counter.observe("b", 9, [("55.DF7F", 1)])
    rows = counter.report()
    assert [(row.peer, row.path) for row in rows] == [
        ("a", "55.DF7F"),
        ("b", "55.DF7F"),
    ]
    last = rows[1]
    assert (last.first, last.last, last.count) == (5, 9, 2)
    assert (last.length_min, last.length_max) == (1, 4)
    assert counter.overflow == 1
