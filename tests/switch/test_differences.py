"""What differs between two configurations, in words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from isoswitch.routing.bins import BinRow
from isoswitch.routing.rules import Rule
from isoswitch.routing.table import RoutingTable
from isoswitch.simulators.world import MERCHANT, World, bin_rows
from isoswitch.switch.differences import (
    Configuration,
    describe_changes,
    find_lasting,
)
from isoswitch.switch.settings import SwitchSettings


@pytest.fixture
async def before() -> Configuration:
    """The configuration of a simulated network."""
    return Configuration(
        settings=World().settings,
        routing=RoutingTable(bin_rows()),
        lasting={"store.path": "a.db", "portal": "none"},
        digests={},
    )


def with_terminals(settings: SwitchSettings, count: int) -> SwitchSettings:
    """Add terminals."""
    one = settings.terminals["TERM0001"]
    more = {f"NEW{n:05}": replace(one, id=f"NEW{n:05}") for n in range(count)}
    return replace(settings, terminals={**settings.terminals, **more})


async def test_the_same_configuration_has_no_differences(before: Configuration) -> None:
    again = replace(before, routing=RoutingTable(bin_rows()))
    assert describe_changes(before, again) == []
    assert find_lasting(before, again) == []


async def test_rows_are_added_removed_and_changed_by_name(
    before: Configuration,
) -> None:
    settings = before.settings
    south = settings.endpoints["south"]
    after = replace(
        settings,
        endpoints={"south": replace(south, port=8600, zpk="south/new"), "west": south},
        merchants={MERCHANT.id: replace(MERCHANT, mcc="5411")},
        listeners=settings.listeners[:1],
        admission=replace(settings.admission, terminal_burst=3),
        ready_endpoints="all",
    )
    assert describe_changes(before, replace(before, settings=after)) == [
        "changed admission: terminal_burst 1000 -> 3",
        "changed ready_endpoints: any -> all",
        "removed listener bcd",
        "added endpoint west",
        "removed endpoint north",
        "changed endpoint south: port 0 -> 8600, zpk south/zpk -> south/new",
        f"changed merchant {MERCHANT.id}: mcc 5994 -> 5411",
    ]


async def test_many_rows_are_counted(before: Configuration) -> None:
    after = replace(before, settings=with_terminals(before.settings, 500))
    assert describe_changes(before, after) == ["added 500 terminals"]
    assert describe_changes(after, before) == ["removed 500 terminals"]


async def test_routes_rules_and_costs_are_told(before: Configuration) -> None:
    rows = [*bin_rows(), BinRow(digits="999999", primary="north", line=7)]
    rule = Rule(name="night")
    after = replace(before, routing=RoutingTable(rows, rules=[rule]))
    assert describe_changes(before, after) == ["added BIN 999999", "added rule night"]
    moved = RoutingTable([replace(row, line=99) for row in rows], rules=[rule])
    assert describe_changes(after, replace(after, routing=moved)) == []


async def test_the_order_of_rules_is_a_difference(before: Configuration) -> None:
    one, two = Rule(name="one"), Rule(name="two")
    first = replace(before, routing=RoutingTable(bin_rows(), rules=[one, two]))
    second = replace(before, routing=RoutingTable(bin_rows(), rules=[two, one]))
    assert describe_changes(first, second) == ["changed the order of the rules"]


async def test_what_lasts_is_named_with_both_values(before: Configuration) -> None:
    after = replace(
        before,
        settings=replace(before.settings, node="sw2"),
        lasting={"store.path": "b.db", "portal": "none", "extra": "x"},
    )
    assert find_lasting(before, after) == [
        "store.path (a.db -> b.db)",
        "extra",
        "node (sw1 -> sw2)",
    ]
