"""A configuration holds as a whole, or says everything that is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from isoswitch.codecs.canonical.errors import ConfigError
from isoswitch.config.load import load_network, packaged_network, validate
from isoswitch.config.source import ConfigProblems, parse_source

PACKAGED = packaged_network().read_text(encoding="utf-8")


def complaint(old: str, new: str) -> str:
    """Give what is said about the packaged network after one change to its text."""
    assert old in PACKAGED
    text = PACKAGED.replace(old, new, 1)
    with pytest.raises(ConfigProblems) as caught:
        validate(parse_source(Path("network.toml"), text))
    return str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        pytest.param(
            "port = 8583",
            "prot = 8583",
            "unknown key 'prot'\n  --> network.toml:42:1\n42 | prot = 8583\n"
            "   | ^^^^\n   = fix: did you mean 'port'?",
            id="misspelt key",
        ),
        pytest.param(
            "certificate =",
            "certificat =",
            "network.toml:56:9",
            id="misspelt key in an inline table",
        ),
        pytest.param("[store]", "[stor]", "did you mean 'store'?", id="table"),
        pytest.param(
            "label =", "colour =", "keys: label, module, pin_file", id="no near key"
        ),
        pytest.param(
            'keyring = "var/test-keys.json"',
            "",
            "simulators.keyring is missing",
            id="missing key",
        ),
        pytest.param(
            "port = 8584",
            "port = 70010",
            "listeners.bcd.port: should be less than or equal to 65535",
            id="port out of range",
        ),
        pytest.param(
            "port = 8584", 'port = "8584"', "without quotes", id="number as text"
        ),
        pytest.param("476173 =", "47617 =", "a BIN of 6 to 11 digits", id="short BIN"),
        pytest.param(
            'cutover = "00:00"', 'cutover = "24:00"', "from 00:00 to 23:59", id="time"
        ),
        pytest.param(
            'currency = "978"',
            'currency = "999"',
            'currency: no currency of ISO 4217 has this number, as the euro has "978"',
            id="currency",
        ),
        pytest.param(
            'listener = "ascii"',
            'listener = "ascii"\ncurrency = "999"',
            "terminals.TERM0001.currency: no currency",
            id="currency of a terminal",
        ),
        pytest.param('zone = "UTC"', 'zone = "Mars"', "no time zone", id="time zone"),
        pytest.param(
            'primary = "south" }',
            'primary = "suoth" }',
            "there is no endpoint 'suoth'",
            id="route to nowhere",
        ),
        pytest.param(
            'primary = "north", alternate = "south"',
            'primary = "north", alternate = "north"',
            "names north as primary and as alternate",
            id="alternate is primary",
        ),
        pytest.param(
            'merchant = "KIOSK0000000001"',
            'merchant = "KIOSK000000001"',
            "did you mean 'KIOSK0000000001'?",
            id="terminal without merchant",
        ),
        pytest.param(
            'listener = "ascii"',
            'listener = "tls"',
            "has no certificate",
            id="TLS listener, terminal without certificate",
        ),
        pytest.param(
            'tak = "terminal/term0001/tak"',
            'tmk = "terminal/term0001/tmk"',
            "has no MAC key",
            id="terminal that gets keys without a MAC key",
        ),
        pytest.param(
            "port = 8584", "port = 8583", "ascii and bcd share port 8583", id="port"
        ),
        pytest.param(
            "terminal_s = 20.0",
            "terminal_s = 8.5",
            "fix: terminal_s = 9 or more",
            id="terminal timer within the switch's",
        ),
        pytest.param(
            "port = 8583", "port = 8570", "portal and ascii share port", id="portal"
        ),
        pytest.param(
            "issuer_s = 4.0",
            "issuer_s = 7.5",
            "fix: 7 or less, or raise timers.switch_s",
            id="issuer timer within the margin",
        ),
        pytest.param(
            'zak = "north/zak"',
            'zak = "north/zak"\nrequest_timeout_s = 30',
            "the switch waits 30 s for north",
            id="issuer timer of one endpoint",
        ),
        pytest.param(
            'zak = "north/zak"',
            'zak = "north/zak"\nmatch_fields = []',
            "match_fields",
            id="nothing that pairs answers with requests",
        ),
        pytest.param(
            "confirm_s = 15.0",
            "confirm_s = 19.5",
            "fix: confirm_s = 19 or less",
            id="payers who confirm when their terminal has given up",
        ),
        pytest.param(
            '"25..30" = { primary = "wallet" }',
            '"25..30" = { primary = "walet" }',
            "did you mean 'wallet'?",
            id="wallet that does not exist",
        ),
        pytest.param(
            '"25..30" = { primary = "wallet" }',
            '"25..30" = { primary = "wallet" }\n28 = { primary = "north" }',
            "28 and 25..30 both cover 28",
            id="two wallets of one prefix",
        ),
        pytest.param(
            'zak = "north/zak"',
            'zak = "north/zak"\nsaf_retry_s = 30\nsaf_retry_max_s = 3',
            "saf_retry_s is above saf_retry_max_s",
            id="first pause above the cap",
        ),
        pytest.param(
            "[simulators.issuers.south]",
            '[[simulators.issuers.south.rules]]\nname = "x"\nthen = { fualt = "no" }',
            "not a rule",
            id="rule of an issuer",
        ),
        pytest.param(
            '"visa-ok", "mc-ok"',
            '"visa-okay", "mc-ok"',
            "there is no card 'visa-okay'",
            id="card of the trickle",
        ),
        pytest.param(
            'framing = "ascii4"',
            'framing = "ascii5"',
            "there is no framing 'ascii5'",
            id="framing",
        ),
        pytest.param(
            'header = "tpdu"', 'header = "tpud"', "did you mean 'tpdu'?", id="header"
        ),
        pytest.param(
            'dialect = "iso93-bcd"',
            'dialect = "iso93-bdc"',
            "did you mean 'iso93-bcd'?",
            id="dialect",
        ),
        pytest.param(
            "[simulators]\n",
            "[simulators]\npayment_hsm = true\n",
            "uses no payment HSM that could be simulated",
            id="simulated payment HSM that nobody asks",
        ),
        pytest.param(
            'zak = "north/zak"',
            'zak = "north/zak"\nkey_exchange = { under = "north/kbpk" }\n'
            "[hsm.payshield]\n"
            'units = ["127.0.0.1:1500"]\n'
            'keys_file = "u.json"\n'
            'lmk_check_value = "112233"\n',
            "payment HSMs change no keys by message",
            id="key exchange with payment HSMs",
        ),
        pytest.param(
            'country = "276"', 'country = "276', "not TOML", id="broken syntax"
        ),
    ],
)
def test_what_does_not_hold_is_said_with_its_fix(old: str, new: str, said: str) -> None:
    assert said in complaint(old, new)


def test_everything_wrong_is_said_at_once_in_the_order_of_the_file() -> None:
    text = PACKAGED.replace('node = "sw1"', 'nod = "sw1"').replace("8592", "99999")
    with pytest.raises(ConfigProblems) as caught:
        validate(parse_source(Path("network.toml"), text))
    said = str(caught.value)
    assert said.index("unknown key 'nod'") < said.index("endpoints.south.port")
    assert said.count("error:") == 2


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no configuration file .*nowhere\.toml"):
        load_network(tmp_path / "nowhere.toml")


def test_a_file_of_brackets_in_brackets_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "network.toml"
    path.write_text("x = " + "[" * 5000 + "]" * 5000, encoding="utf-8")
    with pytest.raises(ConfigError, match="too deeply"):
        load_network(path)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "network.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_network(path)


def test_the_network_in_this_folder_comes_before_the_packaged_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_network().network.switch.node == "sw1"
    Path("network.toml").write_text(PACKAGED.replace('"sw1"', '"mine"'))
    assert load_network().network.switch.node == "mine"


def test_file_names_start_from_the_folder_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "etc").mkdir()
    monkeypatch.chdir(tmp_path)
    path = Path("etc/network.toml")
    path.write_text(PACKAGED)
    loaded = load_network(path)
    assert loaded.file(loaded.network.store.path) == tmp_path / "etc/var/isoswitch.db"
