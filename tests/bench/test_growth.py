"""What grows and what only moves, as the soak decides it."""

from __future__ import annotations

from random import Random

import pytest

from bench.growth import Limit, growth
from bench.soak import LIMITS

MEMORY = LIMITS["switch memory, KiB"]
FILES = LIMITS["switch files"]


def grows(samples: list[float], limit: Limit) -> bool:
    """Tell whether the soak would complain."""
    return growth(samples) > limit.of(samples)


def test_a_leak_shows_through_noise() -> None:
    random = Random(1)
    leak = [100_000 + 200 * n + random.gauss(0, 2_000) for n in range(45)]
    assert grows(leak, MEMORY)


def test_noise_and_single_peaks_are_no_growth() -> None:
    random = Random(2)
    steady = [100_000 + random.gauss(0, 2_000) for _ in range(45)]
    steady[-1] = 300_000
    assert not grows(steady, MEMORY)


@pytest.mark.parametrize(
    ("samples", "is_growing"),
    [
        pytest.param([20.0] * 30, False, id="steady"),
        pytest.param([20.0 + n // 10 for n in range(30)], True, id="one every ten"),
        pytest.param([20.0] * 28 + [22.0] * 2, False, id="a passing one"),
    ],
)
def test_files_are_counted(samples: list[float], is_growing: bool) -> None:
    assert grows(samples, FILES) is is_growing
