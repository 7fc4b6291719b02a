"""What somebody types to load a network, and what is said of it when it cannot be."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest

from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.commands.console import USAGE, Failure
from isoswitch.commands.load import Plan, Run, make_plan
from isoswitch.config.load import load_network, packaged_network
from isoswitch.simulators.load import Tally

TYPED: dict[str, Any] = {
    "rates": [10.0],
    "duration": "30s",
    "ramp": "5s",
    "mix": "purchase",
    "cards": ["visa-ok"],
    "terminals": [],
    "thresholds": [],
    "seed": 1,
}


def plan(**changed: Any) -> Plan:
    """Make the plan of a load on the packaged network."""
    return make_plan(load_network(packaged_network()), **{**TYPED, **changed})


def test_steps_rise_and_are_held() -> None:
    made = plan(rates=[10.0, 30.0])
    assert [each.seconds for each in made.stages] == [5.0, 30.0, 5.0, 30.0]
    assert made.seconds == 70.0


def test_a_mix_is_drawn_by_its_weights_and_again_by_the_same_seed() -> None:
    made = plan(mix="purchase=3,balance=1", cards=["visa-ok", "mc-ok"])
    first, second = made.draw(Random(1)), made.draw(Random(1))
    drawn = [first() for _ in range(1000)]
    assert drawn == [second() for _ in range(1000)]
    purchases = sum(each.kind is Kind.PURCHASE for each in drawn)
    assert 700 < purchases < 800
    assert {each.card.name for each in drawn} == {"visa-ok", "mc-ok"}


def test_a_terminal_without_a_message_for_a_kind_stays_away() -> None:
    assert "TERM0005" in plan().terminals
    made = plan(mix="purchase=9,statement=1")
    assert "TERM0001" in made.terminals
    assert "TERM0005" not in made.terminals
    with pytest.raises(Failure, match="no message for a kind"):
        plan(mix="statement", terminals=["TERM0005"])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"duration": "soon"}, "'soon' is no duration"),
        ({"ramp": "-1s"}, "'-1s' is no duration"),
        ({"mix": "purchase=0"}, "'purchase=0' is no part of a mix"),
        ({"mix": "void"}, "'void' is no part of a mix"),
        ({"mix": ""}, "'' is no part of a mix"),
        ({"cards": ["gold"]}, "no test card 'gold'"),
        ({"terminals": ["TERM9999"]}, "no terminal 'TERM9999'"),
        ({"thresholds": ["p99<1"]}, "measured in ms or s"),
    ],
)
def test_what_cannot_be_is_wrong_usage(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(Failure, match=said) as caught:
        plan(**changed)
    assert caught.value.exit_code == USAGE


@pytest.mark.parametrize(
    ("wrong", "is_good"), [pytest.param(0, True, id="none"), pytest.param(1, False)]
)
def test_a_wrong_answer_fails_a_run_whatever_its_thresholds(
    wrong: int,
    is_good: bool,
) -> None:
    tally = Tally(begins_at=0.0, ends_at=1.0)
    tally.take(ResponseCode.APPROVED, due_at=0.5, now=0.6)
    tally.wrong = wrong
    run = Run(
        plan=plan(thresholds=["approved>=100%"]),
        tally=tally,
        began=datetime(2026, 3, 1, tzinfo=UTC),
    )
    assert run.is_good is is_good
    assert run.as_json()["met"] is is_good


def test_a_network_of_terminals_that_must_sign_in_cannot_be_loaded(
    tmp_path: Path,
) -> None:
    text = packaged_network().read_text(encoding="utf-8")
    config = tmp_path / "network.toml"
    head, caaa, tail = text.partition("[terminals.TERM0005]")
    assert caaa, "its terminals have no messages to sign in with: none in this network"
    signing = head.replace("tak = ", 'tmk = "tmk"\ntak = ')
    config.write_text(signing + tail[tail.index("[admission]") :], encoding="utf-8")
    with pytest.raises(Failure, match="sign in first"):
        make_plan(load_network(config), **TYPED)
