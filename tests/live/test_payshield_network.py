"""A whole network whose payment commands a simulated payment HSM runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from isoswitch.hsm.payshield.keys import read_unit_keys
from isoswitch.simulators.payshield import LMK_CHECK_VALUE
from tests.hsm.softhsm import require_softhsm
from tests.live.network import (
    FASTER,
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
    assert stored == {"store/pan-hash", "store/seal"}
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
