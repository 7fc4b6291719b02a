"""Links on real sockets: an endpoint that connects to us, and orders from outside."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.live_network import Site, running_site
from tests.live.network import isoswitch

pytestmark = pytest.mark.live

CALLS_US = """
role = "server"
peers = ["127.0.0.1"]
sign_on = "them"
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A network whose endpoint south connects to the switch."""
    with running_site(
        tmp_path_factory.mktemp("links"),
        tables={"endpoints.south": CALLS_US, "endpoints.north": "connections = 2"},
    ) as running:
        yield running


def links(folder: Path) -> dict[str, dict[str, object]]:
    """Give what ``isoswitch links`` says, by endpoint."""
    done = isoswitch("links", "--json", folder=folder)
    assert done.returncode == 0, done.stderr
    listed = [json.loads(line) for line in done.stdout.splitlines()]
    return {each["endpoint"]: each for each in listed}


def pays(folder: Path, card: str) -> bool:
    """Pay once, and tell whether that was approved."""
    arguments = ("pay", "12.50", "--card", card)
    return isoswitch(*arguments, folder=folder).returncode == 0


def test_an_endpoint_that_connects_to_us_carries_money(site: Site) -> None:
    folder = site.loaded.folder
    told = links(folder)
    for _ in range(20):
        # It calls twice a second; a command takes about as long.
        if told["south"]["state"] == "signed_on":
            break
        told = links(folder)
    assert (told["south"]["role"], told["south"]["state"]) == ("server", "signed_on")
    assert (told["north"]["connections"], told["north"]["signed_on"]) == (2, 2)
    assert pays(folder, "mc-partial")


def test_a_link_is_suspended_and_resumed_from_outside(site: Site) -> None:
    folder = site.loaded.folder
    done = isoswitch("link", "suspend", "south", "--operator", "ann", folder=folder)
    assert done.returncode == 0, done.stderr
    assert links(folder)["south"]["halted_by"] == ["operator"]
    assert not pays(folder, "mc-partial")
    assert isoswitch("link", "resume", "south", folder=folder).returncode == 0
    assert pays(folder, "mc-partial")
    unknown = isoswitch("link", "suspend", "nobody", folder=folder)
    assert unknown.returncode == 1
    assert "there is no endpoint nobody" in unknown.stderr
