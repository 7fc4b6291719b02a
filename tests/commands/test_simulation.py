"""``isoswitch simulate``: what it prints and how it ends."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from isoswitch.cli import app
from isoswitch.switch import recorder


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["simulate", *arguments])


def forget_refusals(patch: pytest.MonkeyPatch) -> None:
    """Plant a bug: a refusal is answered and not written down."""

    async def forgetful(_: Any, job: Any, outcome: Any) -> Any:
        del job
        return outcome

    patch.setattr(recorder.Recorder, "refuse", forgetful)


def test_good_seeds_are_told_as_lines_of_json() -> None:
    told = run("--seeds", "2", "--first", "7", "--json")
    assert told.exit_code == 0
    lines = [json.loads(line) for line in told.stdout.splitlines()]
    assert [(line["seed"], line["ok"]) for line in lines] == [(7, True), (8, True)]
    assert all(line["transactions"] > 0 for line in lines)


def test_processes_side_by_side_tell_the_same_stories() -> None:
    one = run("--seeds", "2", "--json")
    two = run("--seeds", "2", "--json", "--processes", "2")
    assert one.stdout == two.stdout


def test_a_bad_seed_fails_and_is_cut_down(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_refusals(monkeypatch)
    told = run("--seed", "1")
    assert told.exit_code == 1
    assert "isoswitch simulate --seed 1 --explain" in told.stdout


def test_an_explanation_is_a_timeline() -> None:
    told = run("--seed", "3", "--explain")
    assert told.exit_code == 0
    assert "customer" in told.stdout
    assert "the storm is over" in told.stdout


def test_an_explanation_needs_a_seed() -> None:
    assert run("--explain").exit_code == 2


def test_a_node_dies_at_some_steps() -> None:
    told = run("--crash-points", "--every", "400")
    assert told.exit_code == 0
    assert "0 of them left something wrong" in told.stdout
