"""Rules, orders and the states of endpoints lead to a route that explains itself."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from decimal import Decimal

import pytest

from isoswitch.codecs.canonical.codes import EntryMode, Kind
from isoswitch.codecs.canonical.secrets import Pan
from isoswitch.routing.bins import EVERYTHING, BinRow, Span, code_prefixes
from isoswitch.routing.facts import Facts, to_facts
from isoswitch.routing.health import BreakerState, EndpointState
from isoswitch.routing.rules import CostRow, Order, Rule, draw, find_unmet
from isoswitch.routing.table import RoutingTable

ROW = BinRow(
    digits="411111", primary="north", alternate="south", country="276", group="debit"
)
FACTS = Facts(
    transaction_id="1-1",
    card=Span.of_card(Pan("4111111111111111")),
    bin="41111111",
    kind=Kind.PURCHASE,
    amount_minor=1250,
    currency="978",
    mcc="5411",
    merchant_id="GROCER",
    country="276",
    entry_mode=EntryMode.CHIP,
    minute=23 * 60,
)
DOWN = EndpointState(is_up=False)
WEIGHTS = {"north": 70, "south": 30}


def rule(**conditions: object) -> Rule:
    """Give a rule that leads to west."""
    return Rule(name="r", candidates=("west",), **conditions)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "unmet"),
    [
        ({}, ""),
        ({"kinds": {Kind.PURCHASE}}, ""),
        ({"kinds": {Kind.CASH_WITHDRAWAL}}, "kind"),
        ({"currencies": {"840"}}, "currency"),
        ({"currencies": {"978"}, "amount_min": 1250, "amount_max": 1250}, ""),
        ({"amount_min": 1251}, "least amount"),
        ({"amount_max": 1249}, "largest amount"),
        ({"amount_max": 0}, "largest amount"),
        ({"mccs": (("3000", "3299"), ("5411", "5411"))}, ""),
        ({"mccs": (("5412", "5499"),)}, "MCC"),
        ({"merchants": {"KIOSK"}}, "merchant"),
        ({"countries": {"826"}}, "country"),
        ({"card_countries": {"276"}, "groups": {"debit"}}, ""),
        ({"card_countries": {"826"}}, "country of the card"),
        ({"groups": {"credit"}}, "group of the card"),
        ({"entry_modes": {EntryMode.STRIPE}}, "entry mode"),
        ({"from_minute": 22 * 60, "until_minute": 6 * 60}, ""),
        ({"from_minute": 23 * 60, "until_minute": 23 * 60 + 1}, ""),
        ({"from_minute": 6 * 60, "until_minute": 22 * 60}, "time of day"),
        ({"from_minute": 23 * 60 + 1, "until_minute": 23 * 60}, "time of day"),
        ({"from_minute": 0, "until_minute": 0}, "time of day"),
    ],
    ids=str,
)
def test_a_rule_asks_what_it_names(asked: dict[str, object], unmet: str) -> None:
    tried = rule(**asked)
    assert find_unmet(tried, FACTS, ROW) == unmet
    route = RoutingTable([ROW], rules=[tried]).find_route(FACTS, {})
    assert route.endpoints == (("north", "south") if unmet else ("west",))


def test_the_first_rule_that_fits_decides() -> None:
    rules = [
        Rule(name="cash", kinds=frozenset({Kind.CASH_WITHDRAWAL}), candidates=("a",)),
        Rule(name="debit", groups=frozenset({"debit"}), candidates=("b",)),
        Rule(name="rest", candidates=("c",)),
    ]
    route = RoutingTable([ROW], rules=rules).find_route(FACTS, {})
    assert route.endpoints == ("b",)
    assert route.reason == "BIN 411111, rule debit: b"


def test_a_card_of_no_bin_goes_nowhere_whatever_the_rules_say() -> None:
    table = RoutingTable([ROW], rules=[Rule(name="all", candidates=("west",))])
    route = table.find_route(replace(FACTS, card=Span.of_digits("5" * 11)), {})
    assert (route.endpoints, route.row) == ((), "")
    assert route.reason == route.words()[0] == "no BIN covers the card"


def test_the_same_transaction_draws_the_same_order() -> None:
    assert draw("1-7", WEIGHTS) == draw("1-7", WEIGHTS)
    assert sorted(draw("1-7", WEIGHTS)) == ["north", "south"]


def test_draws_keep_to_the_weights() -> None:
    first = Counter(draw(f"1-{n}", WEIGHTS)[0] for n in range(10_000))
    assert 6_850 < first["north"] < 7_150


def test_a_weight_of_nothing_is_asked_last() -> None:
    weighted = Rule(name="w", order=Order.WEIGHTS, weights={"north": 0, "south": 1})
    route = RoutingTable([ROW], rules=[weighted]).find_route(FACTS, {})
    assert route.endpoints == ("south", "north")
    assert "by weight, the draw for this transaction: south" in route.words()


@pytest.mark.parametrize(
    ("amount_minor", "first"), [(900, "south"), (1_000, "north"), (50_000, "north")]
)
def test_the_cheapest_is_asked_first(amount_minor: int, first: str) -> None:
    """At 10.00 both cost 20 minor units, and the order of the list decides."""
    costs = {
        "north": {"978": CostRow(fixed_minor=15, rate=Decimal("0.005"))},
        "south": {"978": CostRow(fixed_minor=0, rate=Decimal("0.02"))},
    }
    table = RoutingTable([ROW], rules=[Rule(name="c", order=Order.COST)], costs=costs)
    route = table.find_route(replace(FACTS, amount_minor=amount_minor), {})
    assert route.endpoints[0] == first


def test_an_endpoint_without_a_price_is_asked_last() -> None:
    costs = {"south": {"978": CostRow(fixed_minor=500, rate=Decimal(0))}}
    table = RoutingTable([ROW], rules=[Rule(name="c", order=Order.COST)], costs=costs)
    route = table.find_route(FACTS, {})
    assert route.endpoints == ("south", "north")
    assert "north has no price in this currency: after the others" in route.words()


@pytest.mark.parametrize(
    ("amount_minor", "cost_minor"),
    [(100, 0), (300, 2), (101, 1), (99, 0), (500, 2), (700, 4)],
)
def test_half_a_minor_unit_goes_to_the_even_neighbour(
    amount_minor: int, cost_minor: int
) -> None:
    row = CostRow(fixed_minor=0, rate=Decimal("0.005"))
    assert row.cost_minor(amount_minor) == cost_minor


@pytest.mark.parametrize(
    ("states", "endpoints", "reason"),
    [
        ({}, ("north", "south"), "north, then south"),
        ({"north": DOWN}, ("south",), "north is down, so south"),
        (
            {"north": DOWN, "south": EndpointState(breaker=BreakerState.OPEN)},
            (),
            "north is down, the breaker of south is open, no endpoint can be asked",
        ),
        (
            {"north": EndpointState(breaker=BreakerState.PROBING)},
            ("south",),
            "the breaker of north is probing, so south",
        ),
        (
            {"north": EndpointState(breaker=BreakerState.HALF_OPEN)},
            ("north", "south"),
            "north is probed, so north, then south",
        ),
        (
            {"north": EndpointState(score=799)},
            ("south", "north"),
            "north answers 799 of 1000, so south, then north",
        ),
        ({"north": EndpointState(score=800)}, ("north", "south"), "north, then south"),
    ],
)
def test_who_cannot_be_asked_is_left_out_and_said(
    states: dict[str, EndpointState], endpoints: tuple[str, ...], reason: str
) -> None:
    route = RoutingTable([ROW], score_min=800).find_route(FACTS, states)
    assert route.endpoints == endpoints
    assert route.reason == f"BIN 411111: {reason}"
    assert route.to_data()["states"] == {
        name: state.to_data() for name, state in states.items()
    }


def test_facts_read_back_as_written_but_for_the_card() -> None:
    again = to_facts("1-1", FACTS.to_data())
    assert again == replace(FACTS, card=Span.of_digits("41111111"))


def test_no_more_of_a_card_is_written_down_than_may_be() -> None:
    """PCI DSS 3.4.1: eight digits of sixteen beside the last four, six of fifteen."""
    for number, stored in [
        ("4111111111111111", "41111111"),
        ("378282246310005", "378282"),
        ("411111111111", ""),
    ]:
        assert Pan(number).stored_bin == stored
    data = RoutingTable([replace(ROW, digits="41111111111", name="narrow")]).find_route(
        FACTS, {}
    )
    assert "411111111" not in str(data.to_data())
    assert data.to_data()["row"] == "narrow"


def test_a_code_goes_to_its_wallet_whatever_the_rules_say() -> None:
    wallet = BinRow(digits="25..30", name="purse", primary="purse")
    table = RoutingTable(
        [ROW],
        rules=[Rule(name="all", candidates=("west",))],
        codes=dict.fromkeys(code_prefixes(wallet.digits), wallet),
    )
    route = table.find_route(replace(FACTS, card=EVERYTHING, code="28"), {})
    assert (route.endpoints, route.reason) == (("purse",), "wallet purse: purse")
    lost = table.find_route(replace(FACTS, card=EVERYTHING, code="10"), {})
    assert (lost.endpoints, lost.reason) == ((), "no wallet honours the code")
