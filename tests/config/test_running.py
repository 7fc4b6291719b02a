"""What a running switch is told by a file, and what of it only a restart changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from isoswitch.config.running import load_configuration
from isoswitch.switch.differences import Configuration, find_lasting
from tests.config.packaged import WITHOUT_FILES


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ('host = "127.0.0.2"', "portal (127.0.0.1:8570 -> 127.0.0.2:8570)"),
        ("calls_private = true", "portal.calls_private (False -> True)"),
        ("keep_days = 30.0", "portal.keep_days (7.0 -> 30.0)"),
        ("connections_max = 9", "portal.connections_max (256 -> 9)"),
        ('tls = { certificate = "a.pem", key = "a.key" }', "portal.tls ("),
        ('callback_secrets = { GROCER000000001 = "s" }', "portal.callback_secrets ("),
        ('clients.more = { secret_file = "more.secret" }', "portal.clients ("),
    ],
)
def test_whatever_changes_the_portal_needs_a_restart(
    line: str, key: str, tmp_path: Path
) -> None:
    before, after = load(tmp_path), load(tmp_path, line)
    (told,) = find_lasting(before, after)
    assert told.startswith(key)


def test_a_portal_that_is_gone_needs_a_restart(tmp_path: Path) -> None:
    text, _, rest = WITHOUT_FILES.partition("[portal]")
    _, at, simulators = rest.partition("[simulators]\n")
    without = written(tmp_path, text + at + simulators)
    told = find_lasting(load(tmp_path), without)
    assert "portal (127.0.0.1:8570 -> none)" in told
    assert "portal.calls_private" in find_lasting(without, load(tmp_path))


def load(folder: Path, line: str = "") -> Configuration:
    """Load the packaged network, with one more line about its portal."""
    return written(folder, WITHOUT_FILES.replace("[portal]", f"[portal]\n{line}\n#"))


def written(folder: Path, text: str) -> Configuration:
    path = folder / "network.toml"
    path.write_text(text, encoding="utf-8")
    return load_configuration(path)
