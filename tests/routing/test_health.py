"""The breaker's table of states, and the window that forgets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoswitch.routing.health import (
    GOOD,
    MAY_BE_ASKED,
    Breaker,
    BreakerState,
    EndpointState,
    HealthPolicy,
    Window,
    to_endpoint_state,
)

POLICY = HealthPolicy(failures_max=3, open_s=30.0, samples_min=4)
OPEN = Breaker(failures=3, opened_at=100.0)
PROBED = Breaker(failures=3, opened_at=100.0, probed_at=131.0)


@pytest.mark.parametrize(
    ("breaker", "now", "state"),
    [
        (Breaker(), 0.0, BreakerState.CLOSED),
        (Breaker(failures=2), 0.0, BreakerState.CLOSED),
        (OPEN, 100.0, BreakerState.OPEN),
        (OPEN, 129.9, BreakerState.OPEN),
        (OPEN, 130.0, BreakerState.HALF_OPEN),
        (PROBED, 131.0, BreakerState.PROBING),
        (PROBED, 160.9, BreakerState.PROBING),
        (PROBED, 161.0, BreakerState.HALF_OPEN),
    ],
)
def test_the_state_follows_from_the_time(
    breaker: Breaker, now: float, state: BreakerState
) -> None:
    assert breaker.state(now, POLICY) is state


@pytest.mark.parametrize(
    ("breaker", "now", "event", "after"),
    [
        pytest.param(Breaker(failures=1), 5.0, "failed", Breaker(failures=2), id="2nd"),
        pytest.param(
            Breaker(failures=2),
            5.0,
            "failed",
            Breaker(failures=3, opened_at=5.0),
            id="one failure too many opens",
        ),
        pytest.param(Breaker(failures=2), 5.0, "succeeded", Breaker(), id="forgiven"),
        pytest.param(OPEN, 110.0, "failed", OPEN, id="a late failure changes nothing"),
        pytest.param(OPEN, 110.0, "succeeded", OPEN, id="nor does a late success"),
        pytest.param(OPEN, 110.0, "asked", OPEN, id="nobody probes an open one"),
        pytest.param(OPEN, 131.0, "asked", PROBED, id="half open, a probe goes out"),
        pytest.param(PROBED, 135.0, "asked", PROBED, id="one probe at a time"),
        pytest.param(PROBED, 135.0, "succeeded", Breaker(), id="a good probe closes"),
        pytest.param(
            PROBED,
            135.0,
            "failed",
            Breaker(failures=4, opened_at=135.0),
            id="a bad probe opens again",
        ),
        pytest.param(Breaker(), 1.0, "asked", Breaker(), id="closed, any may ask"),
    ],
)
def test_the_breaker_moves(
    breaker: Breaker, now: float, event: str, after: Breaker
) -> None:
    assert getattr(breaker, event)(now, POLICY) == after


def test_without_a_limit_it_never_opens() -> None:
    breaker = Breaker()
    for now in range(100):
        breaker = breaker.failed(float(now), HealthPolicy())
    assert breaker.state(100.0, HealthPolicy()) is BreakerState.CLOSED


@given(
    st.lists(
        st.tuples(st.floats(0, 60), st.sampled_from(["asked", "failed", "succeeded"])),
        max_size=40,
    )
)
def test_it_is_asked_again_sooner_or_later(story: list[tuple[float, str]]) -> None:
    """Whatever happened, an endpoint is not spared for ever."""
    breaker, now = Breaker(), 0.0
    for pause, event in story:
        now += pause
        breaker = getattr(breaker, event)(now, POLICY)
    assert breaker.state(now + 2 * POLICY.open_s, POLICY) in MAY_BE_ASKED


def filled(successes: int, failures: int, now: float) -> Window:
    """Give a window after so many outcomes at one time."""
    window = Window()
    for place in range(successes + failures):
        window = window.add(now, POLICY, is_success=place < successes)
    return window


@pytest.mark.parametrize(
    ("successes", "failures", "score"),
    [(0, 3, 1000), (3, 1, 750), (0, 4, 0), (4, 0, 1000), (1, 2, 1000), (1, 3, 250)],
)
def test_a_score_is_told_once_there_is_enough_to_tell(
    successes: int, failures: int, score: int
) -> None:
    assert filled(successes, failures, 50.0).score(51.0, POLICY) == score


def test_what_is_old_is_forgotten() -> None:
    """So an endpoint that nobody asks any more comes back."""
    window = filled(0, 10, 50.0)
    assert window.score(100.0, POLICY) == 0
    assert window.score(121.0, POLICY) == 1000


def test_a_window_does_not_grow() -> None:
    window = Window()
    for now in range(1000):
        window = window.add(float(now), POLICY, is_success=True)
    assert len(window.buckets) == 6


@pytest.mark.parametrize(
    "state",
    [
        GOOD,
        EndpointState(is_up=False),
        EndpointState(breaker=BreakerState.PROBING, score=0),
    ],
)
def test_a_state_reads_back_as_written(state: EndpointState) -> None:
    assert to_endpoint_state(state.to_data()) == state
    assert bool(state.to_data()) == (state != GOOD)
