"""When requests are due, beside the area under the rate."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoswitch.simulators.schedule import Stage, due_times, make_stages

RATES = st.floats(min_value=0.0, max_value=500.0)
STAGES = st.lists(
    st.builds(
        Stage,
        seconds=st.floats(min_value=0.01, max_value=5.0),
        begin_per_s=RATES,
        end_per_s=RATES,
    ),
    max_size=4,
)


def area(stages: list[Stage], until_s: float) -> float:
    """Sum the rate up to a time: how many should be due by then."""
    total = 0.0
    for stage in stages:
        share = min(max(until_s, 0.0) / stage.seconds, 1.0)
        reached = stage.begin_per_s + share * (stage.end_per_s - stage.begin_per_s)
        total += share * stage.seconds * (stage.begin_per_s + reached) / 2
        until_s -= stage.seconds
    return total


@given(stages=STAGES)
def test_each_is_due_when_the_rate_sums_up_to_its_number(stages: list[Stage]) -> None:
    due = list(due_times(stages))
    assert due == sorted(due)
    assert len(due) == pytest.approx(area(stages, 1e9), abs=1.0)
    for number, at in enumerate(due):
        assert area(stages, at) == pytest.approx(number, abs=1e-3)


def test_a_ramp_begins_slowly_and_ends_at_its_rate() -> None:
    stages = make_stages([100.0], hold_s=1.0, ramp_s=2.0)
    due = list(due_times(stages))
    assert len(due) == 200
    assert sum(at < 1.0 for at in due) == 25
    assert sum(1.0 <= at < 2.0 for at in due) == 75
    assert due[-1] - due[-2] == pytest.approx(0.01)


def test_without_a_ramp_the_rate_is_there_at_once() -> None:
    stages = make_stages([10.0, 20.0], hold_s=1.0, ramp_s=0.0)
    due = list(due_times(stages))
    assert due[:3] == pytest.approx([0.0, 0.1, 0.2])
    assert due[10:12] == pytest.approx([1.0, 1.05])
