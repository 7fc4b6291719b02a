"""The watch over the whole run sees what it is there for."""

from __future__ import annotations

from pathlib import Path

import pytest

from isoswitch.simulators.cards import get_card
from tests.leak_watch import WRITTEN, OutputWatch, leaks_in_written_files

PAN = get_card("visa-ok").pan.reveal()


def report_of(printed: str) -> pytest.TestReport:
    """Make the report of a test that printed something."""
    return pytest.TestReport(
        nodeid="test",
        location=("test.py", 1, "test"),
        keywords={},
        outcome="passed",
        longrepr=None,
        when="teardown",
        sections=[("Captured stdout call", printed)],
    )


def test_a_card_number_that_a_test_prints_is_told() -> None:
    watch = OutputWatch()
    watch.pytest_runtest_logreport(report_of(f"paid with {PAN}"))
    assert [leak.partition(" at ")[0] for leak in watch.leaks] == [
        "test, Captured stdout call: PAN of visa-ok in clear as text"
    ]


def test_a_masked_card_number_may_be_printed() -> None:
    watch = OutputWatch()
    watch.pytest_runtest_logreport(report_of("paid with 476173******0010"))
    assert watch.leaks == []


@pytest.mark.parametrize("pattern", WRITTEN)
def test_a_card_number_in_a_file_is_told(tmp_path: Path, pattern: str) -> None:
    planted = tmp_path / pattern.replace("*", "planted")
    planted.write_bytes(bytes.fromhex(PAN))
    told = leaks_in_written_files(tmp_path)
    # Or the watch over this run would find it too.
    planted.unlink()
    assert told == [
        f"{planted.name}: PAN of visa-ok in clear as packed digits at byte 0"
    ]
