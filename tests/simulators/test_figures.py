"""Thresholds as people type them, and the figures they ask for."""

from __future__ import annotations

import pytest

from isoswitch.codecs.canonical.codes import ResponseCode
from isoswitch.codecs.canonical.errors import ConfigError
from isoswitch.simulators.figures import measure, parse_threshold
from isoswitch.simulators.load import Tally


def tally() -> Tally:
    """Ninety approvals in 10 ms, nine declines in 20 ms, one that never came."""
    told = Tally(begins_at=100.0, ends_at=110.0)
    for number in range(90):
        due_at = 100.0 + number / 10
        told.take(ResponseCode.APPROVED, due_at=due_at, now=due_at + 0.010)
    for _ in range(9):
        told.take(ResponseCode.LOST_CARD, due_at=105.0, now=105.020)
    told.lose(due_at=109.0, waited_s=2.0)
    return told


@pytest.mark.parametrize(
    ("text", "is_met"),
    [
        ("p50<11ms", True),
        ("p50<9ms", False),
        ("p95<=25ms", True),
        ("p99.5<1s", False),
        ("max<=2s", True),
        ("mean<50ms", True),
        ("approved>=90%", True),
        ("approved>90%", False),
        ("declined<10%", True),
        ("unanswered<=0.5%", False),
        ("refused<=0%", True),
        ("rate>8.9/s", True),
        ("rate>9/s", False),
        ("wrong<1", True),
    ],
)
def test_a_threshold_is_met_or_not(text: str, is_met: bool) -> None:
    threshold = parse_threshold(text)
    figures = measure(tally(), (threshold,))
    assert threshold.is_met(figures.get(threshold.figure)) is is_met


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("p99", "is no threshold", id="no comparison"),
        pytest.param("p99<fast", "is no threshold", id="no number"),
        pytest.param("p99=5ms", "is no threshold", id="no order"),
        pytest.param("p101<5ms", "no figure 'p101'", id="above all"),
        pytest.param("latency<5ms", "no figure 'latency'", id="unknown"),
        pytest.param("p99<5", "measured in ms or s", id="no unit"),
        pytest.param("approved>1ms", "measured in %", id="another's unit"),
        pytest.param("wrong<1%", "measured in no unit", id="a count"),
    ],
)
def test_what_is_no_threshold_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_threshold(text)


def test_what_was_due_before_or_after_does_not_count() -> None:
    told = Tally(begins_at=100.0, ends_at=110.0)
    for due_at in (99.99, 110.0):
        told.take(ResponseCode.APPROVED, due_at=due_at, now=due_at + 1)
    assert measure(told).due == 0
    # The first of them came in time, though.
    assert told.approved_in_time == 1


def test_the_course_of_a_run_is_told_by_the_second() -> None:
    seconds = tally().seconds
    assert sorted(seconds) == [*list(range(9)), 9]
    assert seconds[5].fates == {"approved": 10, "declined": 9}
    assert seconds[9].latencies.percentile_ms(1.0) == 2000
