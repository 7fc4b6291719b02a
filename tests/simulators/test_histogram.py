"""Latencies in buckets, beside the sorted list of all."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoswitch.simulators.histogram import Histogram

LATENCIES = st.lists(
    st.floats(min_value=0.0, max_value=3_600.0, allow_nan=False), min_size=1
)
SHARES = st.floats(min_value=0.001, max_value=1.0)


def recorded(latencies_s: list[float]) -> Histogram:
    """Give a histogram of latencies."""
    histogram = Histogram()
    for latency_s in latencies_s:
        histogram.record(latency_s)
    return histogram


@given(latencies_s=LATENCIES, share=SHARES)
def test_a_percentile_is_that_of_the_sorted_list_to_one_part_in_128(
    latencies_s: list[float], share: float
) -> None:
    place = math.ceil(share * len(latencies_s)) - 1
    exact_ms = sorted(latencies_s)[place] * 1000
    given_ms = recorded(latencies_s).percentile_ms(share)
    # Below a quarter of a millisecond the buckets are a microsecond wide.
    assert given_ms == pytest.approx(exact_ms, rel=1 / 128, abs=0.001)


@given(first=LATENCIES, second=LATENCIES, share=SHARES)
def test_two_added_are_one_of_both(
    first: list[float], second: list[float], share: float
) -> None:
    added = recorded(first)
    added.add(recorded(second))
    both = recorded(first + second)
    assert added.percentile_ms(share) == both.percentile_ms(share)
    assert list(added.spectrum()) == list(both.spectrum())


@given(latencies_s=LATENCIES)
def test_the_spectrum_rises_to_all_and_the_last_is_the_largest(
    latencies_s: list[float],
) -> None:
    histogram = recorded(latencies_s)
    spectrum = list(histogram.spectrum())
    assert spectrum == sorted(spectrum)
    assert spectrum[-1][0] == 1.0
    assert histogram.percentile_ms(1.0) == max(latencies_s) * 1000
    assert histogram.count == len(latencies_s)


def test_nothing_recorded_is_nothing_measured() -> None:
    histogram = Histogram()
    assert (histogram.count, histogram.mean_ms, histogram.percentile_ms(0.99)) == (
        *(0, 0.0),
        0.0,
    )
    assert list(histogram.spectrum()) == []


def test_the_mean_is_that_of_the_list() -> None:
    latencies_s = [0.001, 0.002, 0.006, 1.5]
    mean_ms = sum(latencies_s) / 4 * 1000
    assert recorded(latencies_s).mean_ms == pytest.approx(mean_ms, rel=1 / 128)
