"""Conditions: told once, and kept until they are over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import structlog

from isoswitch.codecs.canonical.errors import (
    HsmUnavailable,
    IsoswitchError,
    KeyRefused,
    StoreUnavailable,
)
from isoswitch.switch.clockwatch import ClockWatch
from isoswitch.switch.health import CHANGES_MAX, Health, Part


class Noon:
    """A clock that stands."""

    def now(self) -> datetime:
        """Give noon."""
        return datetime(2026, 6, 1, 12, tzinfo=UTC)

    def business_date(self) -> str:
        """Give that day."""
        return "2026-06-01"


@pytest.fixture
async def health() -> Health:
    """A switch in good health."""
    return Health(Noon(), clock_jump_s=30.0)


@pytest.mark.parametrize(
    ("error", "part"),
    [
        (StoreUnavailable("disk full"), Part.STORE),
        (HsmUnavailable("gone"), Part.CRYPTO),
        (KeyRefused("no such key"), None),
    ],
)
async def test_a_fault_that_lasts_is_told_once_and_any_other_each_time(
    health: Health, error: IsoswitchError, part: Part | None
) -> None:
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            health.notice("it_failed", error)
    told = [each["event"] for each in logs if each["log_level"] != "debug"]
    assert told == (["condition_began"] if part else ["it_failed"] * 3)
    assert [each.part for each in health.conditions] == ([part] if part else [])


async def test_a_condition_shows_its_newest_reason_and_its_first_time(
    health: Health,
) -> None:
    health.report(Part.STORE, "locked")
    health.report(Part.STORE, "full")
    (condition,) = health.conditions
    assert (condition.reason, condition.since) == (
        "full",
        "2026-06-01T12:00:00.000000Z",
    )


async def test_what_never_began_is_not_over(health: Health) -> None:
    health.clear(Part.STORE)
    assert not health.unwritten


async def test_changes_that_cannot_be_written_are_kept_up_to_a_number(
    health: Health,
) -> None:
    for _ in range(CHANGES_MAX):
        health.report(Part.CRYPTO, "gone")
        health.clear(Part.CRYPTO)
    assert len(health.unwritten) == CHANGES_MAX


@pytest.mark.parametrize(
    ("walls", "moved"),
    [
        ([100.0, 101.0, 102.0], [0.0, 0.0, 0.0]),
        ([100.0, 3701.0, 3702.0], [0.0, 3600.0, 3600.0]),
        ([100.0, -3499.0, 102.0], [0.0, -3600.0, 0.0]),
        # Steps below the limit are followed, however many.
        ([100.0, 130.0, 160.0], [0.0, 0.0, 0.0]),
        ([100.0, 131.0, 161.0], [0.0, 30.0, 59.0]),
    ],
)
def test_a_jump_is_told_from_a_correction(
    walls: list[float], moved: list[float]
) -> None:
    watch = ClockWatch(jump_s=30.0)
    seen = [watch.look(wall, float(at)) for at, wall in enumerate(walls)]
    assert seen == moved


class Movable(Noon):
    """A clock that somebody sets."""

    hours = 0

    def now(self) -> datetime:
        """Give noon, as it was set."""
        return super().now() + timedelta(hours=self.hours)


async def test_an_operator_confirms_the_time_that_it_is_now() -> None:
    clock = Movable()
    health = Health(clock, clock_jump_s=30.0)
    assert health.trusts_clock()
    clock.hours = 1
    assert not health.trusts_clock()
    # It is set right, or to a third time, before anybody looks again.
    for hours in (0, 2):
        clock.hours = hours
        health.confirm_clock()
        assert health.trusts_clock()
