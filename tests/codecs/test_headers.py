"""Transport headers are parted from the message and turned round for the answer."""

from __future__ import annotations

import pytest

from isoswitch.codecs.canonical.errors import DecodeError
from isoswitch.codecs.headers import HEADERS, join, split, swap
from tests.shared import corpus

MESSAGE = b"0800"
CUPS = b"\x2e\x82005000010344   48020000   \0\0\0\x0100000000\x0000000"
BASE1 = bytes.fromhex("16 01 02 001A 111111 222222 00 0000 000000 00 000000 00")
REJECT = bytes.fromhex(
    "1A 01 02 0034 111111 222222 00 0000 000000 00 000000 00 8000 0541"
)

# name, header, header of the answer
CASES = {
    "none": ("", b"", b""),
    "tpdu": ("tpdu", bytes.fromhex("6001230456"), bytes.fromhex("6004560123")),
    "cup-pos": (
        "cup-pos",
        bytes.fromhex("6000030001603100310100"),
        bytes.fromhex("6000010003603100310100"),
    ),
    "cups": ("cups", CUPS, CUPS[:6] + CUPS[17:28] + CUPS[6:17] + CUPS[28:]),
    "base1": ("base1", BASE1, BASE1[:5] + BASE1[8:11] + BASE1[5:8] + BASE1[11:]),
    "base24": ("base24", b"ISO016000075", b"ISO016000075"),
    "fixed": ("fixed:21", b"ISO8583-1993021000000", b"ISO8583-1993021000000"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_header_is_parted_and_answered(case: str) -> None:
    name, header, answer = CASES[case]
    assert split(name, header + MESSAGE) == (header, MESSAGE)
    assert swap(name, header) == answer
    assert join(name, answer, MESSAGE) == answer + MESSAGE


@pytest.mark.parametrize("case", [case for case in CASES if case != "none"])
def test_a_cut_header_is_refused(case: str) -> None:
    name, header, _ = CASES[case]
    for size in range(len(header)):
        with pytest.raises(DecodeError) as refused:
            split(name, header[:size])
        assert refused.value.field == "h"


def test_a_rejected_message_has_two_headers() -> None:
    header, message = split("base1", REJECT + BASE1 + MESSAGE)
    assert (header, message) == (REJECT + BASE1, MESSAGE)
    assert swap("base1", header)[5:11].hex() == "222222111111"
    assert len(swap("base1", header)) == 22


@pytest.mark.parametrize(
    ("name", "payload", "offset"),
    [
        ("base24", b"OSI016000075" + MESSAGE, 0),
        ("cups", b"\x2f" + CUPS[1:] + MESSAGE, 0),
        ("cups", CUPS + MESSAGE + b"0", 2),
        ("cups", CUPS.replace(b"0050", b"+050") + MESSAGE, 2),
        ("base1", BASE1 + MESSAGE + b"0", 3),
    ],
)
def test_another_header_is_refused(name: str, payload: bytes, offset: int) -> None:
    with pytest.raises(DecodeError) as refused:
        split(name, payload)
    assert (refused.value.field, refused.value.offset) == ("h", offset)


def test_a_total_length_follows_the_message() -> None:
    assert join("cups", CUPS, b"0810" + bytes(100))[2:6] == b"0150"
    assert join("base1", BASE1, b"0810" + bytes(300))[3:5] == (326).to_bytes(2, "big")


@pytest.mark.parametrize("name", ["tdpu", "fixed:", "fixed:x", "fixed:-1"])
def test_an_unknown_header_is_refused_with_those_that_exist(name: str) -> None:
    with pytest.raises(LookupError, match="tpdu"):
        split(name, MESSAGE)


def test_headers_of_real_messages_are_parted() -> None:
    families = {"cup-pos": "cup-pos", "cups": "cups", "visa": "base1"}
    families["pos-bcd"] = "tpdu"
    for family, name in families.items():
        for case in corpus(f"iso8583/{family}.json"):
            header, _ = split(name, bytes.fromhex(case["hex"]))
            assert len(header) == case["header"]["bytes"], case["id"]
    assert set(families.values()) < set(HEADERS)
