"""The search for secrets in clear."""

from __future__ import annotations

import base64

import pytest

from isoswitch.simulators.cards import CARDS, get_card
from isoswitch.simulators.keyring import Keyring
from isoswitch.simulators.leaks import card_secrets, find_clear, key_secrets

PAN = "4761739001010010"
BLOCK = bytes.fromhex("24b5254f5321bbc2")


@pytest.mark.parametrize(
    ("data", "form"),
    [
        pytest.param(b"pan " + PAN.encode(), "text", id="text"),
        pytest.param(b"x" + PAN.encode().hex().encode(), "hexadecimal", id="hex"),
        pytest.param(bytes.fromhex("16" + PAN), "packed digits", id="bcd"),
        pytest.param(bytes.fromhex("0" + PAN + "f"), "packed digits", id="odd nibble"),
        pytest.param(PAN.encode("cp500"), "EBCDIC", id="ebcdic"),
        pytest.param(PAN.encode("utf-16"), "UTF-16", id="utf-16"),
        pytest.param(b"4761 7390 0101 0010", "text in groups", id="grouped"),
        pytest.param(base64.b64encode(PAN.encode()), "base64", id="base64"),
        pytest.param(base64.b64encode(b"a" + PAN.encode()), "base64", id="base64 + 1"),
        pytest.param(
            base64.b64encode(b"ab" + PAN.encode() + b"z"), "base64", id="base64 + 2"
        ),
    ],
)
def test_a_card_number_is_found_in_every_form(data: bytes, form: str) -> None:
    leaks = find_clear(b"before " + data + b" after", {"card": PAN})
    assert form in {leak.form for leak in leaks}


@pytest.mark.parametrize(
    ("page", "leaks"),
    [("0254" + "00" * 7 + "2b", 0), ("02" + "4" + "0" * 14 + "22b", 1)],
)
def test_zeros_between_nibbles_are_no_card_number(page: str, leaks: int) -> None:
    """A page of a database that was freed, and the card packed into bytes."""
    found = find_clear(bytes.fromhex(page), card_secrets([get_card("visa-declined")]))
    assert len(found) == leaks


def test_a_masked_card_number_is_not_a_leak() -> None:
    data = b"476173******0010 and 4761739001010011"
    assert find_clear(data, card_secrets(CARDS.values())) == []


@pytest.mark.parametrize(
    "data", [BLOCK, BLOCK.hex().encode(), BLOCK.hex().upper().encode()]
)
def test_a_pin_block_is_found(data: bytes) -> None:
    (leak,) = find_clear(b"12" + data, {"block": BLOCK})
    assert leak.offset == 2


def test_half_a_key_is_found() -> None:
    ring = Keyring({"north/zak": "0123456789ABCDEFFEDCBA9876543210"})
    data = bytes.fromhex("fedcba9876543210")
    (leak,) = find_clear(data, key_secrets(ring))
    assert leak.secret == "key north/zak part 8"


def test_a_leak_does_not_tell_the_secret() -> None:
    leaks = find_clear(PAN.encode(), card_secrets([get_card("visa-ok")]))
    assert leaks
    assert PAN not in repr(leaks)


def test_a_secret_found_everywhere_by_chance_is_refused() -> None:
    with pytest.raises(ValueError, match="too short"):
        find_clear(b"1234", {"PIN": "1234"})
