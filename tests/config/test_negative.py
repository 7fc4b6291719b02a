"""Negative files: read as a whole, told by line, and reloaded with the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from isoswitch.codecs.canonical.codes import ResponseCode
from isoswitch.codecs.canonical.errors import ConfigError
from isoswitch.commands.check import check
from isoswitch.config.load import load_network
from isoswitch.config.negative import read_negative
from isoswitch.config.settings import stand_in_profiles
from tests.config.packaged import WITHOUT_FILES

HASH, OTHER = "0a" * 32, "1b" * 32
PROFILE = """
[stand_in.small]
currency = "978"
floor = "30.00"
card_count_max = 3
card_max = "60.00"
total_max = "2000.00"
cryptogram_key = "north/imk"
cryptogram_version = "visa-18"
negative_file = "negative.csv"
"""


def write(folder: Path, *lines: str) -> Path:
    path = folder / "negative.csv"
    path.write_text("\n".join(lines))
    return path


def test_cards_are_read_with_what_is_said(tmp_path: Path) -> None:
    path = write(tmp_path, "hash,code", "# lost", f"{HASH},lost_card", f"{OTHER} # x")
    assert read_negative(path) == {
        HASH: ResponseCode.LOST_CARD,
        OTHER: ResponseCode.RESTRICTED_CARD,
    }


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("4761739001010010", "no hash"),
        (f"{HASH},nonsense", "no response code"),
        (f"{HASH},approved", "approves"),
        (HASH.upper(), "no hash"),
    ],
)
def test_a_wrong_line_is_told_by_number_and_not_shown(
    tmp_path: Path, line: str, said: str
) -> None:
    path = write(tmp_path, "hash,code", line)
    with pytest.raises(ConfigError, match=f"line 2: .*{said}") as caught:
        read_negative(path)
    assert line not in str(caught.value)


def test_a_file_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the negative file"):
        read_negative(tmp_path / "negative.csv")


def configured(folder: Path, profile: str = PROFILE) -> Path:
    path = folder / "network.toml"
    path.write_text(load_network(None).path.read_text() + profile)
    return path


def test_the_profile_gets_its_key_and_its_cards(tmp_path: Path) -> None:
    write(tmp_path, f"{HASH},stolen_card")
    profile = stand_in_profiles(load_network(configured(tmp_path)))["small"]
    assert profile.negative == {HASH: ResponseCode.STOLEN_CARD}
    assert (profile.cryptogram_key, profile.cryptogram_version) == (
        "north/imk",
        "visa-18",
    )
    assert HASH not in repr(profile)


def test_a_version_that_nobody_knows_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no cryptogram version 'visa-19'"):
        load_network(configured(tmp_path, PROFILE.replace("visa-18", "visa-19")))


def test_a_file_that_is_missing_does_not_pass_a_check(tmp_path: Path) -> None:
    path = tmp_path / "network.toml"
    path.write_text(WITHOUT_FILES + PROFILE, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"negative\.csv: No such file"):
        check(path, as_json=False)
    write(tmp_path, f"{HASH},lost_card")
    assert check(path, as_json=False) == 0
