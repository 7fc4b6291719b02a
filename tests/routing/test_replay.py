"""A decision can be made again from what was written down, or says that it cannot."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoswitch.codecs.canonical.secrets import Pan
from isoswitch.routing.bins import EVERYTHING, BinRow, Span
from isoswitch.routing.facts import Facts
from isoswitch.routing.health import EndpointState
from isoswitch.routing.replay import Replayed, replay, to_decision
from isoswitch.routing.route import Route, Step, StepKind
from isoswitch.routing.rules import Order, Rule
from isoswitch.routing.table import RoutingTable

WIDE = BinRow(digits="411111", primary="north", alternate="south")
NARROW = BinRow(digits="41111111111", primary="south", name="narrow")
RULES = [Rule(name="halves", order=Order.WEIGHTS, weights={"north": 1, "south": 1})]


def facts(number: str, transaction_id: str = "1-1") -> Facts:
    """Give the facts of a purchase with a card."""
    pan = Pan(number)
    return Facts(
        transaction_id=transaction_id,
        card=Span.of_card(pan),
        bin=pan.stored_bin,
        amount_minor=1250,
        currency="978",
    )


def again(
    number: str,
    old: RoutingTable,
    new: RoutingTable,
    states: dict[str, EndpointState] | None = None,
) -> Replayed:
    """Decide with one table, write down, and decide again with another."""
    known = {"north": EndpointState(), "south": EndpointState(), **(states or {})}
    route = old.find_route(facts(number), known)
    return replay(to_decision("1-1", route.to_data()), old=old, new=new)


@given(st.text("0123456789", min_size=10, max_size=13), st.integers(1, 10**6))
def test_the_same_table_decides_the_same(tail: str, place: int) -> None:
    """Weights included, and rows longer than what is kept of the card."""
    table = RoutingTable([WIDE, NARROW], rules=RULES)
    decided = facts("411111" + tail, f"1-{place}")
    states = {"north": EndpointState(), "south": EndpointState()}
    route = table.find_route(decided, states)
    replayed = replay(
        to_decision(decided.transaction_id, route.to_data()), old=table, new=table
    )
    assert replayed.possible == (route.endpoints,)
    assert not replayed.assumed


def test_a_row_name_tells_more_than_the_kept_digits() -> None:
    """In the old table the card fell into the narrow row, so in the new one too."""
    old = RoutingTable([WIDE, NARROW])
    new = RoutingTable([WIDE, replace(NARROW, primary="west")])
    inside = again("4111111111100000", old, new)
    assert (inside.before, inside.possible) == (("south",), (("west",),))
    assert inside.assumed == {"west"}
    outside = again("4111111111200000", old, new)
    assert outside.possible == (("north", "south"),)


def test_a_new_row_within_the_kept_digits_cannot_be_decided_exactly() -> None:
    replayed = again(
        "4111111111100000", RoutingTable([WIDE]), RoutingTable([WIDE, NARROW])
    )
    assert not replayed.is_exact
    assert set(replayed.possible) == {("north", "south"), ("south",)}


def test_a_new_row_that_leads_to_the_same_endpoints_is_exact() -> None:
    same = replace(NARROW, primary="north", alternate="south")
    replayed = again(
        "4111111111100000", RoutingTable([WIDE]), RoutingTable([WIDE, same])
    )
    assert replayed.possible == (replayed.before,)


def test_a_card_of_no_bin_may_get_one() -> None:
    replayed = again(
        "4111111111100000",
        RoutingTable([replace(WIDE, digits="500000")]),
        RoutingTable([WIDE]),
    )
    assert (replayed.before, replayed.possible) == ((), (("north", "south"),))


def test_a_row_that_is_gone_leaves_the_bin() -> None:
    old = RoutingTable([WIDE, NARROW])
    route = old.find_route(facts("4111111111100000"), {})
    decision = to_decision("1-1", {**route.to_data(), "row": "renamed"})
    replayed = replay(decision, old=old, new=RoutingTable([WIDE]))
    assert replayed.possible == (("north", "south"),)


def test_what_was_down_then_is_down_again() -> None:
    replayed = again(
        "4111110000000000",
        RoutingTable([WIDE]),
        RoutingTable([replace(WIDE, primary="south", alternate="north")]),
        {"north": EndpointState(is_up=False)},
    )
    assert replayed.possible == (("south",),)


def test_what_acts_on_an_earlier_transaction_goes_where_that_one_went() -> None:
    route = Route(
        endpoints=("north",),
        row="",
        steps=(Step(StepKind.ORIGINAL, "north", "1-1"),),
        facts=facts("4111111111111111", "1-2"),
        states={},
    )
    new = RoutingTable([replace(WIDE, primary="south", alternate="")])
    replayed = replay(to_decision("1-2", route.to_data()), old=new, new=new)
    assert (replayed.before, replayed.possible) == (("north",), (("north",),))
    assert route.reason == "north decided 1-1, on which this acts"


@pytest.mark.parametrize(
    "data", [{}, {"facts": {}}, {"facts": {"kind": "no"}, "row": ""}], ids=str
)
def test_what_is_no_decision_is_refused(data: dict[str, object]) -> None:
    with pytest.raises((KeyError, ValueError)):
        to_decision("1-1", data)


def test_a_code_is_decided_again_by_its_prefix() -> None:
    code = replace(facts("4111111111111111"), card=EVERYTHING, bin="", code="28")
    purse = RoutingTable([WIDE], codes={"28": replace(WIDE, primary="purse")})
    moved = RoutingTable([WIDE], codes={"28": replace(WIDE, primary="bag")})
    route = purse.find_route(code, {"purse": EndpointState()})
    replayed = replay(to_decision("1-1", route.to_data()), old=purse, new=moved)
    assert (replayed.is_exact, replayed.possible) == (True, (("bag", "south"),))
