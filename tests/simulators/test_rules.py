"""The rule language."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from isoswitch.codecs.canonical.codes import Function, Kind, ResponseCode
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.transaction import Transaction
from isoswitch.simulators.cards import get_card
from isoswitch.simulators.rules import (
    NORMAL,
    Between,
    Condition,
    Equals,
    Fault,
    Fixed,
    Normal,
    OneOf,
    Reaction,
    Rule,
    RuleBook,
    Spike,
    StartsWith,
    Uniform,
    parse_rules,
)
from isoswitch.simulators.triggers import standing_rules

PURCHASE = Transaction(
    kind=Kind.PURCHASE,
    function=Function.REQUEST,
    stan="000001",
    pan=get_card("visa-ok").pan,
    amount=Money(1250, "978"),
    terminal_id="TERM0001",
)
SILENCE = Reaction(fault=Fault.SILENCE)


@pytest.mark.parametrize(
    ("field", "condition", "holds"),
    [
        ("card", Equals(value="visa-ok"), True),
        ("card", Equals(value="mc-ok"), False),
        ("amount_minor", Between(low=1000, high=1250), True),
        ("amount_minor", Between(low=1251, high=2000), False),
        ("bin", StartsWith(prefix="4761"), True),
        ("bin", StartsWith(prefix="5"), False),
        ("kind", OneOf(values=("refund", "purchase")), True),
        ("is_repeat", Equals(value=True), False),
        ("has_pin", Equals(value=False), True),
        ("terminal_id", Equals(value="TERM0001"), True),
        ("currency", Equals(value="978"), True),
    ],
)
def test_a_condition_on_a_canonical_field(
    field: str, condition: Condition, *, holds: bool
) -> None:
    book = RuleBook(
        [Rule(name="r", when={field: condition}, then=SILENCE)], random=Random(1)
    )
    assert book.react(PURCHASE) is (SILENCE if holds else NORMAL)


def test_the_first_rule_that_matches_decides() -> None:
    """Also across rules that are found by card or amount and rules that are not."""
    reactions = [Reaction(away_s=float(place)) for place in range(3)]
    by_terminal = {"terminal_id": Equals(value="TERM0001")}
    by_card = {"card": Equals(value="visa-ok")}
    by_amount = {"amount_minor": Equals(value=1250)}
    for when in ([by_terminal, by_card], [by_card, by_terminal], [by_amount, by_card]):
        rules = [
            Rule(name="r", when=conditions, then=reaction)
            for conditions, reaction in zip(when, reactions, strict=False)
        ]
        book = RuleBook(rules, random=Random(1))
        assert book.react(PURCHASE) is reactions[0]


def test_all_conditions_must_hold() -> None:
    when: dict[str, Condition] = {
        "card": Equals(value="visa-ok"),
        "kind": Equals(value="refund"),
    }
    book = RuleBook([Rule(name="r", when=when, then=SILENCE)], random=Random(1))
    assert book.react(PURCHASE) is NORMAL


def test_chance_comes_from_the_seed() -> None:
    rule = Rule(name="r", then=SILENCE, chance=0.25)
    runs = [
        [book.react(PURCHASE).fault for _ in range(400)]
        for book in (RuleBook([rule], random=Random(7)) for _ in range(2))
    ]
    assert runs[0] == runs[1]
    assert 60 < runs[0].count(Fault.SILENCE) < 140


def test_delays_stay_in_their_range() -> None:
    random = Random(1)
    for _ in range(200):
        assert Fixed(delay_s=2).sample_s(random) == 2
        assert 1 <= Uniform(low_s=1, high_s=2).sample_s(random) <= 2
        assert Normal(mean_s=0.1, deviation_s=1).sample_s(random) >= 0
        assert Spike(usual_s=1, spike_s=9, chance=0.5).sample_s(random) in {1, 9}


def test_rules_are_read_from_json() -> None:
    (rule,) = parse_rules(
        """[{"name": "slow", "chance": 0.1,
             "when": {"card": {"op": "equals", "value": "visa-ok"},
                      "amount_minor": {"op": "between", "low": 1, "high": 5000}},
             "then": {"delay": {"op": "uniform", "low_s": 0.5, "high_s": 2.0},
                      "code": "do_not_honour", "fields": {"44": "x"}}}]"""
    )
    assert rule.when["amount_minor"] == Between(low=1, high=5000)
    assert rule.then.delay == Uniform(low_s=0.5, high_s=2.0)
    assert rule.then.code is ResponseCode.DO_NOT_HONOUR
    assert rule.then.fields == {44: "x"}


@pytest.mark.parametrize(
    "text",
    [
        '[{"name": "r", "then": {"falt": "silence"}}]',
        '[{"name": "r", "then": {}, "when": {"pan": {"op": "equals", "value": "1"}}}]',
        '[{"name": "r", "then": {}, "when": {"card": {"op": "like", "value": "1"}}}]',
        '[{"then": {}}]',
    ],
)
def test_a_misspelt_rule_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_rules(text)


@pytest.mark.parametrize(
    ("amount_minor", "reaction"),
    [
        (900_51, Reaction(code=ResponseCode.INSUFFICIENT_FUNDS)),
        (901_01, SILENCE),
        (901_02, Reaction(delay=Fixed(delay_s=9.0))),
        (1250, NORMAL),
    ],
)
def test_test_amounts_cause_what_their_table_says(
    amount_minor: int, reaction: Reaction
) -> None:
    book = RuleBook(standing_rules(late_s=9.0), random=Random(1))
    txn = replace(PURCHASE, amount=Money(amount_minor, "978"))
    assert book.react(txn) == reaction
    assert book.react(replace(txn, kind=Kind.REVERSAL)) is NORMAL
