"""``standin`` shows exposure against limits, and no card in clear."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from isoswitch.cli import app
from isoswitch.commands.console import Failure
from isoswitch.commands.negative import print_hashes
from isoswitch.config.load import packaged_network
from isoswitch.store.days import DayMove, DayState
from isoswitch.store.port import UnitOfWork
from isoswitch.store.sqlite import open_sqlite_store
from tests.store.units import AT, standing_in

PROFILE = """
[stand_in.small]
currency = "978"
floor = "30.00"
card_count_max = 3
card_max = "60.00"
total_max = "50.00"
"""


@pytest.fixture
async def network(tmp_path: Path) -> Path:
    """Give a network with a profile, and a store with two approvals of one card."""
    path = tmp_path / "network.toml"
    text = packaged_network().read_text(encoding="utf-8") + PROFILE
    path.write_text(text, encoding="utf-8")
    (tmp_path / "var").mkdir()
    day = DayMove(date="2026-01-31", to=DayState.OPEN, at=AT)
    async with open_sqlite_store(tmp_path / "var" / "isoswitch.db") as store:
        await store.commit(UnitOfWork(records=(), day=day))
        await store.commit(standing_in("1"))
        await store.commit(standing_in("2", amount_minor=1000))
    return path


@pytest.fixture
def without_profile(tmp_path: Path) -> Path:
    """Give the same network without the profile."""
    path = tmp_path / "other.toml"
    path.write_text(packaged_network().read_text(encoding="utf-8"), encoding="utf-8")
    return path


def run(*arguments: str) -> str:
    """Run the command, and give what it prints."""
    result = CliRunner().invoke(app, ["standin", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


async def test_exposure_stands_against_its_limits(network: Path) -> None:
    assert json.loads(run("-c", str(network), "--json")) == {
        "issuers": [
            {
                "endpoint": "alpha",
                "profile": "small",
                "currency": "978",
                "count": 2,
                "owed_minor": 2250,
                "limit_minor": 5000,
                "used_percent": 45,
            }
        ],
        "business_date": "2026-01-31",
        "cards": [
            {
                "pan": "476173******0010",
                "endpoint": "alpha",
                "profile": "small",
                "currency": "978",
                "count": 2,
                "count_limit": 3,
                "minor": 2250,
                "limit_minor": 6000,
            }
        ],
    }


async def test_people_get_a_table(network: Path) -> None:
    told = run("-c", str(network))
    assert "22.50 EUR" in told
    assert "50.00 EUR" in told
    assert "45 %" in told
    assert "476173******0010" in told


async def test_a_profile_that_is_gone_has_no_limit_now(
    network: Path, without_profile: Path
) -> None:
    assert without_profile.parent == network.parent
    assert "none now" in run("-c", str(without_profile))
    told = json.loads(run("-c", str(without_profile), "--json"))
    assert told["issuers"][0]["used_percent"] is None


async def test_nothing_owed_is_said(without_profile: Path) -> None:
    (without_profile.parent / "var").mkdir()
    store = without_profile.parent / "var" / "isoswitch.db"
    async with open_sqlite_store(store):
        pass
    assert "Every issuer knows" in run("-c", str(without_profile))


@pytest.mark.parametrize("code", ["lost", "approved"])
def test_lines_of_a_negative_file_say_what_refuses(
    code: str, without_profile: Path
) -> None:
    with pytest.raises(Failure, match=f"no refusal {code}") as refused:
        print_hashes(without_profile, code=code)
    assert "lost_card" in refused.value.fix
