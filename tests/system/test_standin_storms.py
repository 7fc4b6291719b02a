"""Storms over a switch that stands in for both issuers, and bugs that must show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from isoswitch.codecs.canonical.errors import LinkDown, NoAnswer
from isoswitch.simulators.swarm import Report, simulate
from isoswitch.store import disk, tables
from isoswitch.store.port import SafMessage
from isoswitch.store.standins import StandIn
from isoswitch.switch import links, recorder, standin
from isoswitch.switch.flows import authorisation
from isoswitch.switch.settings import StandInSettings
from tests.system.test_standin import standing_in

PROFILE = StandInSettings(
    name="generous",
    currency="978",
    floor_minor=15_000,
    card_count_max=2,
    card_minor_max=25_000,
    total_minor_max=60_000,
    with_pin=True,
    with_chip=True,
    after_silence=True,
)
SEEDS = range(1, 11)
SEEDS_TO_FIND_MAX = 25


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[StandIn]:
    """Watch the disk: every approval that became durable in place of an issuer."""
    seen: list[StandIn] = []
    apply = disk.MemoryDisk.apply

    def watched(self: Any, unit: Any, encoded: Any) -> Any:
        committed = apply(self, unit, encoded)
        if unit.stand_in is not None:
            seen.append(unit.stand_in)
        return committed

    monkeypatch.setattr(disk.MemoryDisk, "apply", watched)
    return seen


def tell(seed: int) -> Report:
    """Tell a story in which the switch may stand in."""
    return simulate(seed, change=standing_in(PROFILE))


def is_within_limits(given: list[StandIn]) -> bool:
    """Whether no card has got more approvals on a day than its profile allows."""
    counts = Counter((each.pan_hash, each.business_date) for each in given)
    return max(counts.values(), default=0) <= PROFILE.card_count_max and all(
        each.amount_minor <= PROFILE.floor_minor for each in given
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_a_storm_over_stand_in_loses_and_doubles_nothing(
    seed: int, given: list[StandIn]
) -> None:
    report = tell(seed)
    assert report.is_good, f"{report.violations} {report.verdict.describe()}"
    assert is_within_limits(given)


def test_both_ways_into_stand_in_are_taken(given: list[StandIn]) -> None:
    reasons = Counter[bool]()
    for seed in range(1, 6):
        given.clear()
        counts = tell(seed).counts
        assert counts.get("record stood_in", 0) == len(given)
        if given:
            reasons[counts.get("record timed_out", 0) > 0] += 1
    assert reasons[True] > 0


# Bugs of stand-in and of routes; each must show within a few storms ------------------


def ask_another_after_silence(patch: pytest.MonkeyPatch) -> None:
    """What may have been approved is asked for again elsewhere."""
    request = links.Link.request

    async def rash(self: Any, *rest: Any, **named: Any) -> Any:
        try:
            return await request(self, *rest, **named)
        except NoAnswer as error:
            raise LinkDown(str(error)) from error

    patch.setattr(links.Link, "request", rash)


def forget_the_limits(patch: pytest.MonkeyPatch) -> None:
    """Whatever is wanted is approved."""
    patch.setattr(tables, "check_stand_in", lambda *_: None)


def undo_instead_of_telling(patch: pytest.MonkeyPatch) -> None:
    """The issuer gets a reversal of what it has never seen."""
    entry = recorder.advice_entry

    def wrong(*rest: Any) -> Any:
        return replace(entry(*rest), message=SafMessage.REVERSAL, reason="")

    patch.setattr(recorder, "advice_entry", wrong)


def tell_under_the_numbers_of_the_silent_leg(patch: pytest.MonkeyPatch) -> None:
    """The advice names what was reversed just before."""
    prepare = standin._prepare_advice

    async def reused(services: Any, job: Any, *rest: Any) -> Any:
        was_open, job.is_open = job.is_open, False
        try:
            return await prepare(services, job, *rest)
        finally:
            job.is_open = was_open

    patch.setattr(standin, "_prepare_advice", reused)


def forget_what_the_silent_one_may_hold(patch: pytest.MonkeyPatch) -> None:
    """After silence the switch approves, and the silent leg is not reversed."""
    stand_in = standin.stand_in

    async def forgetful(*rest: Any, after: Any = None) -> Any:
        del after
        return await stand_in(*rest)

    patch.setattr(authorisation, "stand_in", forgetful)


BUGS: tuple[Callable[[pytest.MonkeyPatch], None], ...] = (
    ask_another_after_silence,
    forget_the_limits,
    undo_instead_of_telling,
    tell_under_the_numbers_of_the_silent_leg,
    forget_what_the_silent_one_may_hold,
)


@pytest.mark.parametrize("plant", BUGS, ids=lambda plant: plant.__name__)
def test_a_planted_bug_does_not_hide(
    plant: Callable[[pytest.MonkeyPatch], None],
    monkeypatch: pytest.MonkeyPatch,
    given: list[StandIn],
) -> None:
    plant(monkeypatch)
    for seed in range(1, SEEDS_TO_FIND_MAX + 1):
        given.clear()
        try:
            report = tell(seed)
        except BaseExceptionGroup:
            return
        if not (report.is_good and is_within_limits(given)):
            return
    pytest.fail(f"not found in {SEEDS_TO_FIND_MAX} storms")
