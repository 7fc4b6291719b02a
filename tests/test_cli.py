"""The command line starts fast, knows its commands, and fails in one sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = (
    *("apsw", "cryptography", "msgspec", "pkcs11", "psec", "pydantic"),
    *("rich.console", "segno", "structlog", "trio"),
)
COMMANDS = (
    *("setup", "up", "demo", "check", "doctor", "pay", "trigger", "show", "tail"),
    *("verify", "serve", "hsmd", "simulate", "explain", "qr", "keys"),
    *("decode", "encode", "diff", "dialect", "schemas", "links", "link"),
)


def isoswitch(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the command line in a folder, as people do."""
    return subprocess.run(
        [sys.executable, "-m", "isoswitch", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_command_line_starts_without_what_commands_need(tmp_path: Path) -> None:
    """Heavy imports, not the clock: a busy machine is no reason to fail."""
    loaded = loaded_by("isoswitch.cli", folder=tmp_path)
    assert loaded & set(HEAVY) == set()
    assert "typer" in loaded


def test_a_switch_starts_without_what_its_portal_needs(tmp_path: Path) -> None:
    """Terminals that wait after a kill do not wait for HTTP."""
    loaded = loaded_by("isoswitch.commands.serve", folder=tmp_path)
    assert loaded & {"fastapi", "hypercorn", "httpx", "jinja2"} == set()
    assert "isoswitch.switch.server" in loaded


def loaded_by(module: str, *, folder: Path) -> set[str]:
    """Give what a fresh interpreter has loaded once it has loaded a module."""
    code = f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(done.stdout))


def test_help_names_every_command(tmp_path: Path) -> None:
    done = isoswitch("--help", folder=tmp_path)
    assert done.returncode == 0
    for command in COMMANDS:
        assert f" {command} " in done.stdout


def test_a_misspelt_command_is_wrong_usage_with_a_suggestion(tmp_path: Path) -> None:
    done = isoswitch("trigegr", folder=tmp_path)
    assert done.returncode == 2
    assert "Did you mean 'trigger'?" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said", "fix"),
    [
        pytest.param(
            ["show", "1-1"],
            1,
            "no store",
            "start the network once",
            id="no store yet",
        ),
        pytest.param(
            ["status"],
            3,
            "no switch takes orders at",
            "`isoswitch up` starts",
            id="no switch runs",
        ),
        pytest.param(
            ["pay", "12.50", "--card", "visa-okay"],
            2,
            "there is no test card 'visa-okay'",
            "one of visa-ok",
            id="unknown card",
        ),
        pytest.param(
            ["pay", "12.50", "--pin", "12"],
            2,
            "a PIN has 4 to 12 digits",
            "",
            id="short PIN",
        ),
        pytest.param(
            ["pay", "12.50", "--kind", "refnd"],
            2,
            "there is no kind 'refnd'",
            "one of purchase",
            id="unknown kind",
        ),
        pytest.param(
            ["pay", "12.50", "--kind", "cash", "--cash", "5"],
            2,
            "--cash is no part of cash",
            "pay 20.00 --kind cashback",
            id="cash back of no purchase",
        ),
        pytest.param(
            ["pay", "12.50", "--kind", "void"],
            2,
            "void acts on an earlier transaction",
            "name it with --of",
            id="void of nothing",
        ),
        pytest.param(
            ["pay", "12.50", "--kind", "refund", "--of", "yesterday"],
            2,
            "'yesterday' is no transaction",
            "such as 1-7",
            id="refund of no transaction",
        ),
        pytest.param(
            ["decode", "nowhere.pcap"],
            2,
            "nowhere.pcap is neither a file nor hexadecimal nor a message",
            "give hexadecimal, a file",
            id="nothing to decode",
        ),
        pytest.param(
            ["encode", '{"mti": "0800", "fields": {"11": "1"}}'],
            1,
            "field 11: has 1 positions, not 6",
            "`isoswitch dialect show NAME`",
            id="a field that does not fit",
        ),
        pytest.param(
            ["trigger", "earthquake"],
            2,
            "there is no event 'earthquake'",
            "one of timeout, late",
            id="unknown event",
        ),
        pytest.param(
            ["doctor", "--config", "nowhere.toml"],
            2,
            "no configuration file nowhere.toml",
            "--config names one",
            id="no configuration",
        ),
        pytest.param(
            ["pay", "12.50"],
            1,
            "test-keys.json",
            "",
            id="not set up",
        ),
    ],
)
def test_what_goes_wrong_is_one_sentence_and_no_traceback(
    arguments: list[str], exit_code: int, said: str, fix: str, tmp_path: Path
) -> None:
    done = isoswitch(*arguments, folder=tmp_path)
    assert (done.returncode, done.stdout) == (exit_code, "")
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert f"fix: {fix}" in done.stderr or not fix
    assert "Traceback" not in done.stderr


def test_a_configuration_that_does_not_hold_is_listed(tmp_path: Path) -> None:
    (tmp_path / "network.toml").write_text("[swich]\nnode = 1\n")
    done = isoswitch("check", folder=tmp_path)
    assert done.returncode == 1
    assert "unknown key 'swich'" in done.stderr
    assert "network.toml:1:2" in done.stderr
    assert "did you mean 'switch'?" in done.stderr


def test_check_speaks_json(tmp_path: Path) -> None:
    (tmp_path / "network.toml").write_text("[swich]\n")
    done = isoswitch("check", "--json", folder=tmp_path)
    problems = json.loads(done.stdout)["problems"]
    assert {"line": 1, "column": 2}.items() <= problems[0].items()
    assert done.returncode == 1


def test_the_packaged_network_holds(tmp_path: Path) -> None:
    done = isoswitch("check", "--json", folder=tmp_path)
    assert done.returncode == 0
    assert json.loads(done.stdout)["ok"] is True


def test_triggers_are_listed(tmp_path: Path) -> None:
    done = isoswitch("trigger", "list", folder=tmp_path)
    assert done.returncode == 0
    for event in (
        *("timeout", "late", "duplicate", "wrong-mac", "wrong-pin"),
        *("link-down", "garbage"),
    ):
        assert event in done.stdout
