"""Watches a whole test run for card numbers in clear: in output, logs and stores.

What tests print is searched report by report; the files are searched when the session
is over. Test numbers are published, but where they show a real one would show too.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from isoswitch.simulators.cards import CARDS
from isoswitch.simulators.leaks import card_secrets, find_clear

WRITTEN = ("*.log", "*.out", "*.db", "*.db-wal")
SECRETS = card_secrets(CARDS.values())


class OutputWatch:
    """A plugin that fails the session when a test printed a card number."""

    def __init__(self) -> None:
        self.leaks: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Search what a test printed and logged, once it is over."""
        if report.when != "teardown":
            return
        for title, text in report.sections:
            self.leaks += [
                f"{report.nodeid}, {title}: {leak}"
                for leak in find_clear(text.encode(), SECRETS)
            ]

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Let the session fail."""
        if self.leaks:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter
    ) -> None:
        """Tell what was found where."""
        if self.leaks:
            terminalreporter.section("card numbers in clear", red=True)
        for leak in self.leaks:
            terminalreporter.line(leak)


def leaks_in_written_files(folder: Path) -> list[str]:
    """Search the logs, stores and outputs that tests left under a folder."""
    return [
        f"{path.relative_to(folder)}: {leak}"
        for path in written_files(folder)
        for leak in find_clear(path.read_bytes(), SECRETS)
    ]


def written_files(folder: Path) -> Iterable[Path]:
    """Give the logs, stores and outputs under a folder."""
    for pattern in WRITTEN:
        yield from (path for path in folder.rglob(pattern) if path.is_file())
