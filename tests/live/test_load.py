"""``isoswitch load`` against a running network, over plain TCP, TPDU and TLS."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from isoswitch.commands.ends import keyring_of
from isoswitch.simulators.leaks import find_clear
from tests.live.live_network import Site, running_site
from tests.live.network import isoswitch
from tests.live.secrets import all_secrets

pytestmark = pytest.mark.live

RATE = 20
SECONDS = 3
TERMINALS = 5


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A network for all tests of this module."""
    with running_site(tmp_path_factory.mktemp("load")) as running:
        yield running


def load(folder: Path, *options: str) -> tuple[int, str]:
    """Pay for a few seconds on every terminal; give the exit code and all that came."""
    typed = ("--rate", str(RATE), "--duration", f"{SECONDS}s", "--ramp", "0")
    done = isoswitch("load", *typed, *options, folder=folder)
    return done.returncode, done.stdout + done.stderr


def test_a_run_that_meets_its_thresholds_ends_well(site: Site, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    code, said = load(
        site.loaded.path.parent,
        *("--mix", "purchase=2,balance=1,preauth=1,cash=1,statement=1", "--json"),
        *("--threshold", "approved>=100%", "--threshold", "p99<5s"),
        *("--threshold", "wrong<1", "--report", str(report)),
    )
    assert code == 0, said
    told = json.loads(said.splitlines()[0])
    assert told["due"] == RATE * SECONDS
    assert told["codes"] == {"approved": RATE * SECONDS}
    assert sum(second["approved"] for second in told["course"]) == RATE * SECONDS
    assert [each["met"] for each in told["thresholds"]] == [True, True, True]
    page = report.read_text(encoding="utf-8")
    assert page.count("<svg") == 3
    assert not re.search(r"<script|https?:|src=", page)
    secrets = all_secrets(keyring_of(site.loaded))
    assert find_clear((said + page).encode(), secrets) == []


def test_a_missed_threshold_fails_the_run(site: Site) -> None:
    code, said = load(
        site.loaded.path.parent,
        *("--card", "visa-ok", "--card", "visa-insufficient", "--mix", "purchase"),
        *("--threshold", "approved>99%", "--threshold", "unanswered<1%"),
    )
    assert code == 1, said
    assert "✗ approved>99%" in said
    assert "✓ unanswered<1%: 0.00 %" in said
    assert "insufficient_funds" in said


def test_who_asks_more_than_is_admitted_is_warned(site: Site, tmp_path: Path) -> None:
    text = site.loaded.path.read_text(encoding="utf-8")
    config = site.loaded.path.with_name("strict.toml")
    config.write_text(
        text.replace("terminal_per_s = 1000.0", "terminal_per_s = 1.0"),
        encoding="utf-8",
    )
    code, said = load(tmp_path, "--config", str(config))
    assert code == 0, said
    asked = f"will ask {RATE / TERMINALS:g} times a second and may ask 1 times"
    assert asked in " ".join(said.split())


def test_without_a_network_it_says_how_to_start_one(tmp_path: Path) -> None:
    config = tmp_path / "network.toml"
    text = (Path(__file__).parents[2] / "isoswitch/config/network.toml").read_text()
    config.write_text(text.replace("port = 8583", "port = 1"))
    (tmp_path / "var").mkdir()
    done = isoswitch("setup", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    code, said = load(tmp_path)
    assert code == 3
    assert "no switch listens on 127.0.0.1:1" in said
    assert "make up" in said
