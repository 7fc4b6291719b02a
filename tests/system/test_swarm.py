"""Storms from seeds: nothing is lost or doubled, and planted bugs do not hide."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
import trio

from isoswitch.codecs.canonical.errors import IsoswitchError
from isoswitch.simulators.swarm import simulate
from isoswitch.switch import dispatch, links, numbers, recorder, saf
from isoswitch.switch.flows import authorisation
from isoswitch.switch.mux import Waiting

SEEDS = range(1, 31)
SEEDS_TO_FIND_MAX = 40


@pytest.mark.parametrize("seed", SEEDS)
def test_a_storm_loses_and_doubles_nothing(seed: int) -> None:
    report = simulate(seed)
    assert report.is_good, f"{report.violations} {report.verdict.describe()}"


def test_every_kind_of_fault_strikes_and_every_way_to_end_is_seen() -> None:
    counts: dict[str, int] = {}
    for seed in range(100, 115):
        for name, count in simulate(seed).counts.items():
            counts[name] = counts.get(name, 0) + count
    for name in (
        "crash",
        "cut link",
        "reset stream",
        "lose crypto",
        "fill disk",
        "spoil issuer",
        "bad weather",
        "record late",
        "record repeated",
        "record unmatched",
        "record exception",
        "record reversal_owed",
        "record delivered",
    ):
        assert counts.get(name, 0) > 0, f"no {name} in these storms"


def test_a_seed_tells_the_same_story_in_another_process() -> None:
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            "from isoswitch.simulators.swarm import simulate;print(simulate(7).digest)",
        ],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "123", "PYTHONWARNINGS": "ignore"},
    )
    assert told.stdout.strip() == simulate(7).digest


# Bugs that a switch could have; each must show within a few storms -------------------


def forget_the_reversal(patch: pytest.MonkeyPatch) -> None:
    """A silent issuer is answered for, and nothing is undone there."""
    timed_out = recorder.Recorder.timed_out

    async def forgetful(
        self: Any, job: Any, leg: Any, outcome: Any, **rest: Any
    ) -> Any:
        return await timed_out(self, job, replace(leg, sealed=b""), outcome, **rest)

    patch.setattr(recorder.Recorder, "timed_out", forgetful)


def speak_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    """The terminal hears an approval while it is still being written down."""
    answered = recorder.Recorder.answered

    async def hasty(
        self: Any, job: Any, leg: Any, answer: Any, outcome: Any, *, now: float
    ) -> Any:
        async def later() -> None:
            with suppress(IsoswitchError):
                await answered(self, job, leg, answer, outcome, now=now)

        trio.lowlevel.spawn_system_task(later)
        return outcome

    patch.setattr(recorder.Recorder, "answered", hasty)


def take_silence_for_not_written(patch: pytest.MonkeyPatch) -> None:
    """What may have been seen is treated as if it had never left."""
    patch.setattr(Waiting, "may_be_seen", property(lambda _: False))


def know_no_repeats(patch: pytest.MonkeyPatch) -> None:
    """Every copy of a request is a new transaction."""
    serial = iter(range(1_000_000))
    patch.setattr(dispatch, "dedup_key", lambda *_: str(next(serial)))


def use_numbers_again(patch: pytest.MonkeyPatch) -> None:
    """After a restart the numbers begin anew."""
    begin = numbers.Numbers.__init__

    def forgetful(self: Any, *, boot: int) -> None:
        del boot
        begin(self, boot=1)

    patch.setattr(numbers.Numbers, "__init__", forgetful)


def believe_any_echo(patch: pytest.MonkeyPatch) -> None:
    """An answer over another amount is an answer."""
    patch.setattr(links.Link, "_find_unechoed", lambda *_: ())


def believe_any_mac(patch: pytest.MonkeyPatch) -> None:
    """Whoever stands on the line may turn a decline into an approval."""

    async def trusting(_: Any, job: Any, link: Any, answer: Any) -> Any:
        return link.dialect.to_outcome(answer, job.txn)

    patch.setattr(authorisation, "read_answer", trusting)


def drop_what_is_owed(patch: pytest.MonkeyPatch) -> None:
    """Store and forward calls everything delivered."""

    async def careless(*_: Any) -> Any:
        return saf.SafState.DELIVERED, ""

    patch.setattr(saf.Saf, "_send", careless)


def acknowledge_without_undoing(patch: pytest.MonkeyPatch) -> None:
    """A terminal's reversal is acknowledged and goes nowhere."""

    async def polite(self: Any, job: Any, outcome: Any, _: Any) -> Any:
        return await self.refuse(job, outcome)

    patch.setattr(recorder.Recorder, "undo", polite)


def forget_an_early_reversal(patch: pytest.MonkeyPatch) -> None:
    """A reversal that came before the outcome is forgotten when it is known."""
    answered = recorder.Recorder.answered

    async def forgetful(self: Any, job: Any, *rest: Any, now: float) -> Any:
        job.reversal_wanted = False
        return await answered(self, job, *rest, now=now)

    patch.setattr(recorder.Recorder, "answered", forgetful)


BUGS: tuple[Callable[[pytest.MonkeyPatch], None], ...] = (
    forget_the_reversal,
    speak_before_the_commit,
    take_silence_for_not_written,
    know_no_repeats,
    use_numbers_again,
    believe_any_echo,
    believe_any_mac,
    drop_what_is_owed,
    acknowledge_without_undoing,
    forget_an_early_reversal,
)


@pytest.mark.parametrize("plant", BUGS, ids=lambda plant: plant.__name__)
def test_a_planted_bug_does_not_hide(
    plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    for seed in range(1, SEEDS_TO_FIND_MAX + 1):
        try:
            report = simulate(seed)
        except BaseExceptionGroup:
            return
        if not report.is_good:
            return
    pytest.fail(f"not found in {SEEDS_TO_FIND_MAX} storms")
