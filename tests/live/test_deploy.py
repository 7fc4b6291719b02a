"""What is shipped for operators holds: checked by the programs that read it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from isoswitch.config.load import load_network, packaged_network

pytestmark = pytest.mark.live

DEPLOY = Path(__file__).parents[2] / "deploy"


def test_haproxy_takes_its_configuration() -> None:
    program = shutil.which("haproxy", path="/usr/sbin:/usr/bin")
    if program is None:
        pytest.skip("no haproxy here: .ci/packages haproxy installs it")
    done = subprocess.run(
        [program, "-c", "-f", DEPLOY / "haproxy.cfg"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr


def test_haproxy_has_a_way_to_every_listener_and_asks_the_portal() -> None:
    text = (DEPLOY / "haproxy.cfg").read_text(encoding="utf-8")
    network = load_network(packaged_network()).network
    assert network.portal is not None
    for name, listener in network.listeners.items():
        assert f"frontend {name}\n    bind :{listener.port}\n" in text
        assert (
            len(
                re.findall(
                    rf"server node-\w [\d.]+:{listener.port}$", text, re.MULTILINE
                )
            )
            == 3
        )
    assert f"check port {network.portal.port} " in text
    assert "GET /health/ready" in text


@pytest.mark.parametrize("unit", ["isoswitch", "isoswitch-hsmd"])
def test_systemd_units_call_commands_that_exist(unit: str) -> None:
    from typer.main import get_command

    from isoswitch.cli import app

    text = (DEPLOY / f"{unit}.service").read_text(encoding="utf-8")
    (line,) = re.findall(
        r"^ExecStart=/opt/isoswitch/bin/isoswitch (.*)$", text, re.MULTILINE
    )
    name, *arguments = line.split()
    command = get_command(app).get_command(None, name)  # type: ignore[attr-defined]
    known = {option for each in command.params for option in each.opts}
    assert {each for each in arguments if each.startswith("--")} <= known
