"""Routing tables come from a file and the configuration, checked as a whole."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pytest

from isoswitch.codecs.canonical.codes import EntryMode, Kind, ResponseCode
from isoswitch.codecs.canonical.errors import ConfigError
from isoswitch.config.load import LoadedNetwork, packaged_network, validate
from isoswitch.config.routing import load_routing
from isoswitch.config.settings import stand_in_profiles
from isoswitch.config.source import ConfigProblems, parse_source
from isoswitch.routing.bins import Span
from isoswitch.routing.rules import CostRow, Order, Rule
from isoswitch.switch.settings import StandInSettings

PACKAGED = packaged_network().read_text(encoding="utf-8")
WITH_FILE = '[routing]\nbins_file = "bins.csv"\n'
RULE = """
[[routing.rules]]
name = "night-cash"
kinds = ["cash_withdrawal"]
currencies = ["978"]
amount_min = "50.00"
amount_max = "400"
mccs = ["6011", "3000-3299"]
merchants = ["KIOSK0000000001"]
entry_modes = ["chip"]
between = "22:00-06:30"
candidates = ["south", "north"]
order = "weights"
weights = { north = 70, south = 30 }
"""
COST = """
[[routing.costs]]
endpoint = "north"
currency = "978"
fixed_minor = 5
rate = "0.0125"
"""


def load(text: str, folder: Path, bins: str | None = None) -> LoadedNetwork:
    """Load a network from its text, with a BIN file beside it."""
    if bins is not None:
        (folder / "bins.csv").write_text(bins, encoding="utf-8")
    path = folder / "network.toml"
    return LoadedNetwork(
        path=path, folder=folder, network=validate(parse_source(path, text))
    )


def test_a_rule_means_what_it_says(tmp_path: Path) -> None:
    table = load_routing(load(PACKAGED + RULE, tmp_path))
    assert table.rules == (
        Rule(
            name="night-cash",
            kinds=frozenset({Kind.CASH_WITHDRAWAL}),
            currencies=frozenset({"978"}),
            amount_min=5_000,
            amount_max=40_000,
            mccs=(("6011", "6011"), ("3000", "3299")),
            merchants=frozenset({"KIOSK0000000001"}),
            entry_modes=frozenset({EntryMode.CHIP}),
            from_minute=22 * 60,
            until_minute=6 * 60 + 30,
            candidates=("south", "north"),
            order=Order.WEIGHTS,
            weights={"north": 70, "south": 30},
        ),
    )


def test_costs_are_exact_decimals(tmp_path: Path) -> None:
    table = load_routing(load(PACKAGED + COST, tmp_path))
    assert table.costs == {
        "north": {"978": CostRow(fixed_minor=5, rate=Decimal("0.0125"))}
    }


def test_a_bin_file_joins_the_configuration_which_wins(tmp_path: Path) -> None:
    bins = "bin,primary,group\n411111,south,debit\n411112,south,debit\n"
    loaded = load(PACKAGED + WITH_FILE, tmp_path, bins)
    table = load_routing(loaded)
    own = table.bins.find(Span.of_digits("411111"))
    delivered = table.bins.find(Span.of_digits("411112"))
    assert own is not None
    assert delivered is not None
    assert (own.primary, own.line) == ("north", 0)
    assert (delivered.primary, delivered.line) == ("south", 3)


def test_a_bin_file_alone_will_do(tmp_path: Path) -> None:
    start, end = PACKAGED.index("[bins]"), PACKAGED.index("# Where money moves at once")
    text = PACKAGED[:start] + PACKAGED[end:]
    with pytest.raises(ConfigProblems, match="no BIN leads anywhere"):
        load(text, tmp_path)
    table = load_routing(
        load(text + WITH_FILE, tmp_path, "bin,primary\n411111,south\n")
    )
    assert len(table.bins) == 1


@pytest.mark.parametrize(
    ("bins", "said"),
    [
        pytest.param(
            "bin,primary\n400001,north\n400001,south\n",
            "error: BIN 400001 stands in line 2 too\n --> {folder}/bins.csv:3:1\n"
            "3 | 400001,south",
            id="twice",
        ),
        pytest.param("", "the header has no column bin", id="empty"),
        pytest.param(
            "bin,primary\n400001,nort\n", "did you mean 'north'?", id="endpoint"
        ),
        pytest.param(
            "bin,primary,alternate\n400001,north,north\n",
            "north is primary and alternate",
            id="alternate",
        ),
        pytest.param(
            "bin,primary\n411110..411112,north\n411112..411115,south\n",
            "BIN 411112..411115 overlaps 411110..411112 of line 2",
            id="overlap",
        ),
        pytest.param(
            "bin,primary\n4111111111111111,north\n", "2 | ****,north", id="card number"
        ),
        pytest.param(
            "bin,primary\n" + "x,north\n" * 60, "and 10 problems more", id="many"
        ),
    ],
)
def test_what_is_wrong_in_a_bin_file_is_shown_where_it_stands(
    tmp_path: Path, bins: str, said: str
) -> None:
    loaded = load(PACKAGED + WITH_FILE, tmp_path, bins)
    with pytest.raises(ConfigProblems) as caught:
        load_routing(loaded)
    assert said.format(folder=tmp_path) in str(caught.value)


def test_a_bin_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"bins\.csv: No such file"):
        load_routing(load(PACKAGED + WITH_FILE, tmp_path))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('candidates = ["south"', 'candidates = ["sout"', "did you mean 'south'?"),
        ("south = 30 }", "soth = 30 }", "did you mean 'south'?"),
        ('["KIOSK0000000001"]', '["KIOSK0000000002"]', "KIOSK0000000001"),
        ('"978"', '"978", "840"', "not for one currency"),
        ("50.00", "50.001", "at most 2 decimals"),
        ('order = "weights"', 'order = "cost"', 'both weights and order = "weights"'),
        ('"22:00-06:30"', '"22-6"', "hours such as 22:00-06:00"),
        ('["chip"]', '["chop"]', "routing.rules.0.entry_modes"),
        ('"3000-3299"', '"3000-"', "a range such as 3000-3299"),
        ('"3000-3299"', '"3299-3000"', "its mccs leaves nothing"),
        ('"400"', '"40"', "its amount_min leaves nothing"),
        ('"22:00-06:30"', '"22:00-22:00"', "its between leaves nothing"),
        ('["south", "north"]', '["south"]', "weighs north, which is no candidate"),
        (
            "\n[[routing.rules]]",
            '\n[[routing.rules]]\nname = "all"\n[[routing.rules]]',
            "never applies: all takes everything",
        ),
        (
            "\n[[routing.rules]]",
            (
                '\n[[routing.rules]]\nname = "night-cash"\nkinds = ["refund"]\n'
                "[[routing.rules]]"
            ),
            "two rules are called night-cash",
        ),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert old in RULE
    with pytest.raises(ConfigProblems) as caught:
        load(PACKAGED + RULE.replace(old, new, 1), tmp_path)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            'zpk = "north/zpk"',
            'zpk = "north/zpk"\nnot_processed = ["approved"]',
            "appr",
        ),
        (
            "[bins]",
            (
                '[bins]\n"444440..444443" = { primary = "north" }\n'
                '"444443..444445" = { primary = "south" }\n#'
            ),
            "neither lies in the other",
        ),
        ("476173 =", "476173123 =", "has no name"),
        ('"25..30"', '"30..25"', "25..30"),
        ("[bins]", COST + COST + "[bins]", "north has two prices in currency 978"),
    ],
)
def test_bins_and_profiles_are_checked_too(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert old in PACKAGED
    with pytest.raises(ConfigProblems) as caught:
        load(PACKAGED.replace(old, new, 1), tmp_path)
    assert said in str(caught.value)


def test_the_examples_of_the_guide_hold(tmp_path: Path) -> None:
    guide = Path(__file__).parents[2] / "docs" / "routing.md"
    text = guide.read_text(encoding="utf-8")
    tables = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    bins = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    assert (len(tables), len(bins)) == (6, 1)
    wallets, taps, rules, not_processed, profile, stand_in = tables
    endpoint = not_processed + stand_in.removeprefix("[endpoints.north]\n")
    codes, _, confirming = wallets.partition("\n[endpoints.wallet]")
    whole = PACKAGED.replace("[endpoints.north]\n", endpoint) + profile
    whole = re.sub(r"\[wallets\].*\n.*\n", codes, whole)
    timers = confirming.partition("\n")[2]
    whole = re.sub(r"confirm_s = .*\npoll_s = .*\n", timers, whole)
    whole = re.sub(r"\[contactless\]\n.*?(?=\[merchants)", taps, whole, flags=re.DOTALL)
    whole += rules.replace("# bins_file", "bins_file")
    loaded = load(whole, tmp_path, bins[0])
    (tmp_path / "negative.csv").write_text("0a" * 32 + ",lost_card\n")
    assert stand_in_profiles(loaded)["small"] == StandInSettings(
        name="small",
        currency="978",
        floor_minor=3_000,
        card_count_max=3,
        card_minor_max=6_000,
        total_minor_max=2_000_000,
        cryptogram_key="north/imk",
        negative={"0a" * 32: ResponseCode.LOST_CARD},
    )
    assert loaded.network.contactless.devices["apple-pay-like"].tap_max_minor == 0
    table = load_routing(loaded)
    assert [rule.name for rule in table.rules] == ["night-cash", "halves", "cheapest"]
    found = table.bins.find(Span.of_digits("41111130007"))
    assert found is not None
    assert found.label == "gift-cards"
    assert len(table.codes) == 12
    assert loaded.network.endpoints["wallet"].poll_s == 2.0


STAND_IN = """
[stand_in.small]
currency = "978"
floor = "30.00"
card_count_max = 3
card_max = "60.00"
total_max = "20000.00"
"""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"30.00"', '"30.001"', "at most 2 decimals"),
        ('"978"', '"999"', "stand_in.small.currency: no currency of ISO 4217"),
        (
            "floor =",
            'kinds = ["cash_withdrawal"]\nfloor =',
            "nobody stands in for",
        ),
        ("card_count_max = 3", "card_count_max = 0", "greater than or equal to 1"),
        ("floor =", 'approval_prefix = "s1"\nfloor =', "one or two capital letters"),
        ("[stand_in.small]", "[stand_in.big]", "no stand-in profile"),
    ],
)
def test_a_stand_in_profile_is_bounded(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert old in STAND_IN
    named = '[endpoints.north]\nstand_in = "small"\n'
    whole = PACKAGED.replace("[endpoints.north]\n", named)
    load(whole + STAND_IN, tmp_path)
    with pytest.raises(ConfigProblems) as caught:
        load(whole + STAND_IN.replace(old, new, 1), tmp_path)
    assert said in str(caught.value)


def test_nobody_stands_in_for_a_wallet(tmp_path: Path) -> None:
    named = '[endpoints.wallet]\nstand_in = "small"\n'
    whole = PACKAGED.replace("[endpoints.wallet]\n", named)
    with pytest.raises(ConfigProblems, match="only the wallet knows"):
        load(whole + STAND_IN, tmp_path)


def test_a_bin_file_may_name_a_profile_that_is_there(tmp_path: Path) -> None:
    bins = "bin,primary,stand_in\n400001,north,small\n"
    table = load_routing(load(PACKAGED + STAND_IN + WITH_FILE, tmp_path, bins))
    found = table.bins.find(Span.of_digits("400001"))
    assert found is not None
    assert found.stand_in == "small"
    with pytest.raises(ConfigProblems, match="no stand-in profile 'small'"):
        load_routing(load(PACKAGED + WITH_FILE, tmp_path, bins))


def test_payment_codes_go_to_the_wallet_of_their_prefix(tmp_path: Path) -> None:
    codes = load_routing(load(PACKAGED, tmp_path)).codes
    assert {prefix: row.primary for prefix, row in codes.items()} == dict.fromkeys(
        ["25", "26", "27", "28", "29", "30"], "wallet"
    )
