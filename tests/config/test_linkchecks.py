"""What contradicts itself in the way an endpoint is connected to is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from isoswitch.config.load import LoadedNetwork, validate
from isoswitch.config.settings import switch_settings
from isoswitch.config.source import ConfigProblems, parse_source
from isoswitch.switch.settings import (
    EndpointSettings,
    Role,
    SignOn,
    SwitchSettings,
)
from tests.config.packaged import WITHOUT_FILES


def north_with(lines: str) -> EndpointSettings:
    """Load the packaged network with more said of the endpoint north."""
    text = WITHOUT_FILES.replace("[endpoints.north]", f"[endpoints.north]\n{lines}", 1)
    path = Path("network.toml")
    network = validate(parse_source(path, text))
    loaded = LoadedNetwork(path=path, folder=Path(), network=network)
    return switch_settings(loaded).endpoints["north"]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ('role = "server"', "no address is its own"),
        ('host = "127.0.0..1"', r"endpoints\.north\.host: not a host, such as"),
        ('host = "bank .example"', r"endpoints\.north\.host: not a host, such as"),
        ('peers = ["192.0.2.7"]', "so nobody is let in"),
        ('role = "server"\npeers = ["192.0.2.300"]', "not an address or network"),
        ('role = "server"\npeers = ["192.0.2.7/24"]', "not an address or network"),
        ('role = "server"\npeers = ["::1"]\none_shot = true', "never connects"),
        ("one_shot = true\nconnections = 2", "has no connections"),
        ('one_shot = true\nsign_on = "us"', "has no sign_on"),
        ('owner = "sw1"\nleased = true', "and to who has the lease"),
        ('header = "tpdu"', "one is missing"),
        ('header_value = "6000010002"', "one is missing"),
        ('header = "tpdu"\nheader_value = "600001"', "no header of the layout tpdu"),
        ('header = "tpdu"\nheader_value = "60000"', "pairs of hexadecimal digits"),
    ],
)
def test_a_link_that_contradicts_itself_is_refused(lines: str, said: str) -> None:
    with pytest.raises(ConfigProblems, match=said):
        north_with(lines)


def with_terminals_of_cards(lines: str, *, tmk: str = "") -> SwitchSettings:
    """Load the packaged network with a listener for caaa and a terminal at it."""
    more = (
        f'[listeners.cards]\nport = 8599\ndialect = "caaa"\nframing = "bin4"\n{lines}\n'
        '[terminals.TERM0099]\nmerchant = "KIOSK0000000001"\nlistener = "cards"\n'
        f'tpk = "term0001/tpk"\ntak = "term0001/tak"\n{tmk}\n'
    )
    path = Path("network.toml")
    network = validate(parse_source(path, WITHOUT_FILES + "\n" + more))
    loaded = LoadedNetwork(path=path, folder=Path(), network=network)
    return switch_settings(loaded)


def test_terminals_may_speak_caaa_in_larger_frames() -> None:
    settings = with_terminals_of_cards("")
    (cards,) = (each for each in settings.listeners if each.name == "cards")
    assert (cards.dialect, cards.frame_bytes_max) == ("caaa", 16_384)
    smaller = with_terminals_of_cards("frame_bytes_max = 8192").listeners
    assert [each.frame_bytes_max for each in smaller if each.name == "cards"] == [8192]


@pytest.mark.parametrize(
    ("lines", "tmk", "said"),
    [
        ('header = "tpdu"', "", "caaa has no header"),
        ("", 'tmk = "term0001/tmk"', "caaa has no messages that bring keys"),
    ],
)
def test_terminals_of_cards_that_contradict_themselves_are_refused(
    lines: str, tmk: str, said: str
) -> None:
    with pytest.raises(ConfigProblems, match=said):
        with_terminals_of_cards(lines, tmk=tmk)


@pytest.mark.parametrize(
    ("table", "dialect"), [("endpoints.north", "caaa"), ("listeners.ascii", "cain")]
)
def test_each_side_speaks_its_own_card_messages(table: str, dialect: str) -> None:
    head, _, tail = WITHOUT_FILES.partition(f"[{table}]")
    ours, _, rest = tail.partition('dialect = "')
    text = f'{head}[{table}]{ours}dialect = "{dialect}{rest[rest.index(chr(34)) :]}'
    with pytest.raises(ConfigProblems, match=f"no dialect '{dialect}'"):
        validate(parse_source(Path("network.toml"), text))


def test_a_port_where_an_endpoint_connects_is_its_own() -> None:
    text = WITHOUT_FILES.replace(
        "port = 8591", 'port = 8583\nrole = "server"\npeers = ["::1"]'
    )
    with pytest.raises(ConfigProblems, match="ascii and endpoint north share port"):
        validate(parse_source(Path("network.toml"), text))


def test_a_link_is_told_what_the_file_says() -> None:
    north = north_with(
        'role = "server"\npeers = ["192.0.2.0/24", "2001:db8::1"]\nsign_on = "them"\n'
        'fail_fast = true\nowner = "sw1"\ncuts_day = true\n'
        'header = "tpdu"\nheader_value = "6000010002"'
    )
    assert (north.role, north.is_server) == (Role.SERVER, True)
    assert north.peers == ("192.0.2.0/24", "2001:db8::1")
    assert north.sign_on is SignOn.THEM
    assert (north.fail_fast, north.owner, north.cuts_day) == (True, "sw1", True)
    assert north.header_value == bytes.fromhex("6000010002")
    assert north_with("leased = true").leased


def test_a_link_of_one_shots_has_nobody_sign_on() -> None:
    north = north_with("one_shot = true")
    assert (north.one_shot, north.sign_on) == (True, SignOn.NOBODY)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("", "keep a link signed on"),
        ("one_shot = true\nreconciles = true", "no messages for reconciles"),
    ],
)
def test_a_link_of_card_messages_asks_for_nothing_that_they_have_not(
    lines: str, said: str
) -> None:
    with pytest.raises(ConfigProblems, match=said):
        cain_with(lines)


def test_a_link_of_card_messages_takes_longer_frames() -> None:
    north = cain_with("one_shot = true")
    assert (north.dialect, north.frame_bytes_max) == ("cain", 16_384)


def cain_with(lines: str) -> EndpointSettings:
    """Load the packaged network with a north that speaks cain."""
    before, at, after = WITHOUT_FILES.partition("[endpoints.north]")
    after = after.replace('dialect = "iso87-ascii"', f'dialect = "cain"\n{lines}', 1)
    path = Path("network.toml")
    network = validate(parse_source(path, before + at + after))
    loaded = LoadedNetwork(path=path, folder=Path(), network=network)
    return switch_settings(loaded).endpoints["north"]
