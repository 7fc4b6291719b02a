"""A whole network whose payment commands a simulated payment HSM runs."""

from __future__ import annotations

import json
import re
import socket
import time
from pathlib import Path

import pytest

from isoswitch.hsm.payshield.keys import read_unit_keys
from isoswitch.simulators.payshield import LMK_CHECK_VALUE
from tests.hsm.softhsm import require_softhsm
from tests.live.network import (
    FASTER,
    PATIENCE_S,
    free_ports,
    isoswitch,
    read_until,
    running,
    write_network,
)

pytestmark = pytest.mark.live


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a network whose payment commands go to a unit, without a trickle."""
    require_softhsm()
    (port,) = free_ports(1)
    units = f'''payshield = {{ units = ["127.0.0.1:{port}"], \
keys_file = "var/unit-keys.json", lmk_check_value = "{LMK_CHECK_VALUE}" }}'''
    tables = {"hsm": units, "simulators": "payment_hsm = true"}
    write_network(tmp_path, values=FASTER, tables=tables)
    return tmp_path


@pytest.mark.parametrize("terminal", ["TERM0001", "TERM0002"])
def test_a_purchase_is_decided_with_keys_that_no_token_holds(
    folder: Path, terminal: str
) -> None:
    done = isoswitch("setup", folder=folder)
    assert done.returncode == 0, done.stderr
    stored = {row["name"] for row in keys(folder)}
    assert stored == {"store/pan-hash", "store/seal", "house/signature"}
    held = {key.plan.name for key in read_unit_keys(folder / "var/unit-keys.json")}
    assert {"north/zpk", "south/zak", f"terminal/{terminal.lower()}/tpk"} <= held
    with running(folder, "up", "--no-trickle", mark="payshield") as up:
        read_until(up, "pay")
        for card, approved in (("visa-ok", True), ("mc-ok", True)):
            options = ("--card", card, "--terminal", terminal, "--json")
            paid = isoswitch("pay", "12.50", *options, folder=folder)
            assert json.loads(paid.stdout)["approved"] is approved, paid.stdout
        wrong = isoswitch("pay", "12.50", "--pin", "9999", "--json", folder=folder)
        assert not json.loads(wrong.stdout)["approved"], wrong.stdout
    assert isoswitch("verify", "journal", folder=folder).returncode == 0


def keys(folder: Path) -> list[dict[str, str]]:
    done = isoswitch("keys", "list", "--json", folder=folder)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def units(folder: Path, *arguments: str) -> str:
    done = isoswitch("units", *arguments, folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_operators_make_give_take_and_retire_keys_of_a_unit(folder: Path) -> None:
    assert isoswitch("setup", folder=folder).returncode == 0
    zpk = ("--kind", "ZPK", "--usage", "P0", "--mode", "E")
    zmk = ("--kind", "ZMK", "--usage", "K0", "--mode", "B")
    with running(folder, "simulate", "payshield", mark="units") as unit:
        wait_listening(folder)
        units(folder, "generate", "p/zmk", *zmk, "--yes")
        made = units(folder, "generate", "p/zpk", *zpk, "--exportable", "--yes")
        assert "active" in made
        given = units(folder, "export", "p/zpk", "--under", "p/zmk", "--yes")
        cryptogram, check_value = given.split()
        came = ("--under", "p/zmk", "--check-value", check_value, "--yes")
        taken = units(folder, "import", "p/zpk", cryptogram, *zpk, *came)
        assert "version 2" in taken
        assert "pending" in taken
        assert check_value in taken
        wrong = (*came[:3], "000000", "--yes")
        refused = isoswitch(
            "units", "import", "x", cryptogram, *zpk, *wrong, folder=folder
        )
        assert refused.returncode != 0
        assert "active" in units(folder, "activate", "p/zpk", "2", "--yes")
        assert "removed" in units(folder, "remove", "p/zpk", "1", "--yes")
        assert "check values" in units(folder, "check")
        assert unit.poll() is None
    rows = [json.loads(line) for line in units(folder, "list", "--json").splitlines()]
    mine = {(row["name"], row["version"], row["state"]) for row in rows}
    assert ("p/zpk", 2, "active") in mine
    assert ("p/zpk", 1, "retired") not in mine
    trail = (folder / "var/unit-keys.audit").read_text(encoding="utf-8").splitlines()
    actions = [json.loads(line)["action"] for line in trail]
    wanted = ["generate", "generate", "export", "import", "activate", "remove"]
    assert actions == wanted
    assert isoswitch(
        "units", "activate", "p/zpk", "9", "--yes", folder=folder
    ).returncode


def wait_listening(folder: Path) -> None:
    text = (folder / "network.toml").read_text(encoding="utf-8")
    found = re.search(r'units = \["127\.0\.0\.1:(\d+)"\]', text)
    assert found is not None
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", int(found[1]))) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("the simulated unit does not listen")
