"""The newcomer's commands, run as a newcomer does: real processes, sockets, SoftHSM."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
from pathlib import Path

import pytest

from isoswitch.commands.pay import TRIGGERS
from isoswitch.config.load import load_network
from isoswitch.simulators.cards import CARDS
from isoswitch.simulators.keyring import read_keyring
from isoswitch.simulators.leaks import card_secrets, find_clear, key_secrets
from tests.hsm.softhsm import require_softhsm
from tests.live.network import (
    isoswitch,
    marked_processes,
    read_until,
    running,
    wait_gone,
    write_network,
)

pytestmark = pytest.mark.live


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder with a network on free ports."""
    require_softhsm()
    write_network(tmp_path)
    return tmp_path


def secrets_of(folder: Path) -> dict[str, str | bytes]:
    """Give all that must not lie in clear outside the simulators' keyring."""
    keyring = read_keyring(folder / "var/test-keys.json")
    return {**card_secrets(CARDS.values()), **key_secrets(keyring)}


def leaks_in(folder: Path) -> list[str]:
    """Search every file that a network leaves behind, but the simulators' keyring."""
    secrets = secrets_of(folder)
    return [
        f"{path.name}: {leak}"
        for path in sorted((folder / "var").rglob("*"))
        if path.is_file() and path.name != "test-keys.json"
        for leak in find_clear(path.read_bytes(), secrets)
    ]


def test_setup_makes_everything_once(folder: Path) -> None:
    first = isoswitch("setup", folder=folder)
    again = isoswitch("setup", folder=folder)
    assert (first.returncode, again.returncode) == (0, 0), first.stderr + again.stderr
    assert first.stdout.count("made ") == 8
    assert again.stdout == ""
    for private in (
        "token.pin",
        "keys.json",
        "test-keys.json",
        "tls/switch.key",
        "houses/house.key",
    ):
        assert (folder / "var" / private).stat().st_mode & 0o077 == 0, private
    assert leaks_in(folder) == []


def test_doctor_finds_a_folder_that_was_set_up_well(folder: Path) -> None:
    isoswitch("setup", folder=folder)
    done = isoswitch("doctor", "--json", folder=folder)
    assert done.returncode == 0, done.stdout
    assert all(probe["ok"] for probe in json.loads(done.stdout)["probes"])


def test_a_network_runs_pays_and_drains(folder: Path) -> None:
    mark = str(folder)
    with running(folder, "up", mark=mark) as network:
        said = read_until(network, "Ctrl-C stops the network")
        assert "terminals: tls" in said
        assert "visa-ok" in said
        paid = {
            terminal: isoswitch(
                *("pay", "12.50", "--card", card, "--pin", pin, "--json"),
                *("--terminal", terminal),
                folder=folder,
            )
            for terminal, card, pin in (
                ("TERM0001", "visa-ok", "1234"),
                ("TERM0002", "mc-ok", "4321"),
                ("TERM0003", "mc-pin", "0000"),
                ("TERM0005", "visa-ok", "1234"),
            )
        }
        shown = isoswitch("show", "last", "--json", folder=folder)
        network.send_signal(signal.SIGINT)
        rest, _ = network.communicate(timeout=60)
    assert {terminal: done.returncode for terminal, done in paid.items()} == {
        "TERM0001": 0,
        "TERM0002": 0,
        "TERM0003": 1,
        "TERM0005": 0,
    }, paid
    refused = json.loads(paid["TERM0003"].stdout)["steps"][-1]
    assert refused["outcome"] == "wrong_pin"
    assert json.loads(shown.stdout)["legs"][0]["kind"] == "opened"
    assert network.returncode == 0
    assert rest.endswith("stopped\n")
    assert wait_gone(mark) == []
    assert isoswitch("verify", "journal", folder=folder).returncode == 0
    assert leaks_in(folder) == []


def test_a_stay_is_paid_and_partly_refunded_on_the_command_line(folder: Path) -> None:
    steps = (
        ("preauth", "100"),
        ("increment", "20"),
        ("complete", "110"),
        ("refund", "10"),
        ("void", "110"),
    )
    with running(folder, "up", "--no-trickle", mark=str(folder)) as network:
        read_until(network, "Ctrl-C stops the network")
        codes, stay, bill = [], "", ""
        for kind, amount in steps:
            of = bill if kind in {"refund", "void"} else stay
            done = isoswitch(
                *("pay", amount, "--kind", kind, "--json"),
                *(("--of", of) if of else ()),
                folder=folder,
            )
            last = json.loads(done.stdout)["steps"][-1]
            codes.append(last["outcome"])
            stay = stay or last["transaction"]
            bill = last["transaction"] if kind == "complete" else bill
        network.send_signal(signal.SIGINT)
        network.communicate(timeout=60)
    # What was refunded in part is not voided any more.
    assert codes == ["approved"] * 4 + ["invalid_transaction"]


def test_nothing_outlives_a_parent_that_is_killed(folder: Path) -> None:
    mark = str(folder)
    with running(folder, "up", "--no-trickle", mark=mark) as network:
        read_until(network, "Ctrl-C stops the network")
        network.kill()
        network.wait(timeout=10)
        assert wait_gone(mark) == []


def test_the_tour_shows_fifteen_things_and_the_auditor_agrees(folder: Path) -> None:
    mark = str(folder)
    done = isoswitch("demo", "--json", folder=folder, mark=mark)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [step for step in told[:-1] if not step["ok"]] == []
    assert len(told) == 16
    assert told[-1] == {
        "ok": True,
        "compared": told[-1]["compared"],
        "findings": [],
        "pending": [],
        "failures": [],
    }
    assert told[-1]["compared"] >= 9
    assert done.returncode == 0, done.stderr
    assert wait_gone(mark) == []
    assert find_clear(done.stdout.encode(), secrets_of(folder)) == []


def test_a_port_in_use_is_named_with_the_fix(folder: Path) -> None:
    network = load_network(folder / "network.toml").network
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", network.listeners["bcd"].port))
        squatter.listen()
        done = isoswitch("up", folder=folder, mark=str(folder))
    assert done.returncode == 3
    assert f"127.0.0.1:{network.listeners['bcd'].port}" in done.stderr
    assert "[listeners.bcd]" in done.stderr
    assert "fix: " in done.stderr
    assert "Traceback" not in done.stderr
    assert wait_gone(str(folder)) == []


def test_a_broken_token_is_said_with_the_fix(folder: Path) -> None:
    isoswitch("setup", folder=folder)
    shutil.rmtree(folder / "var/tokens")
    done = isoswitch("up", folder=folder, mark=str(folder))
    assert done.returncode != 0
    assert done.stderr.startswith("error: ")
    assert "fix: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_lost_keyring_is_noticed_every_time(folder: Path) -> None:
    isoswitch("setup", folder=folder)
    (folder / "var/test-keys.json").unlink()
    for _ in range(2):
        done = isoswitch("setup", folder=folder)
        assert done.returncode == 1
        assert "lacks 16 keys that the token has" in done.stderr
        assert "fix: rm -r " in done.stderr


def test_a_store_that_is_none_is_said_with_the_fix(folder: Path) -> None:
    isoswitch("setup", folder=folder)
    (folder / "var/isoswitch.db").write_text("not a database")
    done = isoswitch("up", "--no-trickle", folder=folder, mark=str(folder))
    assert done.returncode == 1
    assert "error: switch could not start: store" in done.stderr
    assert "Traceback" not in done.stderr
    assert wait_gone(str(folder)) == []


def test_a_network_starts_again_after_everything_was_killed(folder: Path) -> None:
    mark = str(folder)
    for _ in range(2):
        with running(folder, "up", "--no-trickle", mark=mark) as network:
            read_until(network, "Ctrl-C stops the network")
            for pid in marked_processes(mark):
                os.kill(pid, signal.SIGKILL)
            network.wait(timeout=10)
        assert wait_gone(mark) == []
    assert isoswitch("verify", "journal", folder=folder).returncode == 0


def test_a_tour_that_goes_another_way_fails_and_says_where(folder: Path) -> None:
    """An issuer's own rule, from the configuration, refuses what the tour expects."""
    path = folder / "network.toml"
    rule = """[[simulators.issuers.north.rules]]
name = "a bad day"
when = { card = { op = "equals", value = "visa-ok" } }
then = { code = "do_not_honour" }
"""
    path.write_text(path.read_text() + rule)
    done = isoswitch("demo", "--json", folder=folder, mark=str(folder))
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1
    assert told[0]["ok"] is False
    assert told[0]["said"] == "expected approved, got do_not_honour"
    assert told[-1]["ok"] is False
    assert told[-1]["findings"] == []


def test_every_trigger_ends_as_it_must(folder: Path) -> None:
    with running(folder, "up", "--no-trickle", mark=str(folder)) as network:
        read_until(network, "Ctrl-C stops the network")
        # The one after which a link needs time to come back stands last.
        names = sorted(TRIGGERS, key=lambda name: name == "link-down")
        done = {name: isoswitch("trigger", name, folder=folder) for name in names}
    assert {name: each.returncode for name, each in done.items()} == dict.fromkeys(
        TRIGGERS, 0
    ), {name: each.stderr for name, each in done.items()}
    assert "the repeat got the stored answer" in done["duplicate"].stdout
    assert leaks_in(folder) == []
