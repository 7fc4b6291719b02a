"""Messages on a screen show no secret, neither as fields nor as bytes."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from isoswitch.codecs.dialects.card_link import CardLinkMessage
from isoswitch.codecs.dialects.registry import get_dialect
from isoswitch.codecs.iso8583.specs import get_codec
from isoswitch.commands.messages import hex_lines, message_table, wire_lines
from tests.codecs.dialects.test_dialect import LEG, PURCHASE

PAN = "4761739001010010"
PIN_BLOCK = bytes.fromhex("0412AC89ABCDEF67")
FIELDS = {
    2: PAN,
    3: "000000",
    4: "000000001250",
    11: "000007",
    41: "TERM0001",
    52: PIN_BLOCK,
}


def columns(lines: list[str]) -> tuple[str, str]:
    """Split a dump into its octets and its characters."""
    octets = "".join(line[6:54].replace(" ", "") for line in lines)
    return octets, "".join(line[55:] for line in lines)


@pytest.mark.parametrize("name", ["iso87-ascii", "iso87-bcd", "iso93-bcd"])
def test_the_bytes_of_secrets_are_hidden(name: str) -> None:
    mti = "1200" if name.startswith("iso93") else "0200"
    message = get_codec(name).build(mti, FIELDS)
    octets, characters = columns(list(hex_lines(message)))
    for secret in (PAN, PAN.encode().hex(), PIN_BLOCK.hex()):
        assert secret.lower() not in octets
        assert secret not in characters


def test_all_other_bytes_are_shown() -> None:
    message = get_codec("iso87-ascii").build("0200", FIELDS)
    octets, characters = columns(list(hex_lines(message)))
    assert octets.startswith("30323030")
    assert characters.startswith("0200")
    assert "000000001250" in characters
    assert octets.count("\N{MIDDLE DOT}\N{MIDDLE DOT}") == len(PAN) + 16
    shown = octets.replace("\N{MIDDLE DOT}", "")
    assert len(octets) == 2 * len(message.raw) == len(shown) + 2 * (len(PAN) + 16)


def test_a_card_number_where_none_belongs_is_hidden_too() -> None:
    message = get_codec("iso87-ascii").build("0200", {11: "000007", 43: PAN.ljust(40)})
    octets, characters = columns(list(hex_lines(message)))
    assert PAN.encode().hex() not in octets
    assert PAN not in characters


def test_fields_stand_in_their_order_with_their_names() -> None:
    masked = get_codec("iso93-bcd").build("1200", FIELDS).masked()
    shuffled = dict(sorted(masked.items()))
    file = io.StringIO()
    Console(file=file, width=100).print(message_table(shuffled))
    rows = [line.split() for line in file.getvalue().splitlines()]
    assert [row[0] for row in rows if row] == [
        *("field", "mti", "2", "3", "4", "11", "41", "52")
    ]
    assert "476173******0010" in file.getvalue()


def test_a_card_message_is_shown_by_its_elements_masked() -> None:
    message = get_dialect("caaa").to_request(PURCHASE, LEG, mac=True)
    assert isinstance(message, CardLinkMessage)
    lines = list(wire_lines(message))
    assert lines[0] == "caaa.001.001.13"
    assert "AuthstnReq/Envt/Card/PlainCardData/PAN  476173******0010" in lines
    assert list(wire_lines(message.view)) == list(hex_lines(message.view))
