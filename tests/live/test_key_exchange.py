"""Keys change on SoftHSM: two tokens stay equal, and a network of processes pays on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from isoswitch.codecs.canonical.errors import HsmUnavailable, MacMismatch
from isoswitch.hsm.client import open_hsm
from isoswitch.hsm.port import (
    ActivateKey,
    GenerateMac,
    ListKeys,
    OfferKey,
    VerifyMac,
    WorkingKey,
)
from isoswitch.hsm.provision import provision
from isoswitch.simulators.cards import get_card
from tests.hsm.softhsm import plan, provisioned, require_softhsm
from tests.live.network import isoswitch, read_until, running, wait_gone, write_network
from tests.live.test_hsm_processes import hsmd

pytestmark = pytest.mark.live

DATA = b"Now is the time for all "
EXCHANGES = {
    "endpoints.north": 'key_exchange = { under = "north/zmk", legacy = true }',
    "endpoints.south": 'key_exchange = { under = "south/kbpk" }',
}


async def test_two_tokens_change_a_key_as_one(tmp_path: Path) -> None:
    """What one worker has answered, the other knows at its next command."""
    settings = provisioned(tmp_path, tokens=2)
    provision(settings, [plan("n/kbpk", "K1", "B", "aes", 32)], test_values={})
    generate = GenerateMac(key="n/zak", data=DATA)
    with hsmd(settings):
        first_path, second_path = settings.sockets
        async with open_hsm(first_path) as first, open_hsm(second_path) as second:
            (old,) = await first.run(generate)
            offer = OfferKey(name="n/zak", under="n/kbpk", cause="test")
            key = WorkingKey.decode((await first.run(offer))[0])
            activate = ActivateKey(
                name="n/zak",
                version=key.version,
                check_value=key.check_value,
                overlap_s=300,
                cause="test",
            )
            await second.run(activate)
            (new,) = await first.run(generate)
            assert new != old
            assert await second.run(generate) == [new]
            for each in (first, second):
                for mac in (old, new):
                    verify = VerifyMac(key="n/zak", data=DATA, mac=mac)
                    assert await each.run(verify) == [b""]
            assert await first.run(ListKeys()) == await second.run(ListKeys())
            with pytest.raises((MacMismatch, HsmUnavailable)):
                await first.run(VerifyMac(key="n/zak", data=DATA, mac=bytes(8)))


def test_a_running_network_changes_its_keys_and_pays_on(tmp_path: Path) -> None:
    require_softhsm()
    write_network(tmp_path, tables=EXCHANGES)
    mark = tmp_path.name
    with running(tmp_path, "up", mark=mark) as network:
        read_until(network, "Ctrl-C")
        for endpoint in ("north", "south"):
            done = isoswitch("keys", "exchange", endpoint, "--yes", folder=tmp_path)
            assert done.returncode == 0, done.stdout + done.stderr
            assert done.stdout.count("changed") == 2
        for card in ("visa-ok", "mc-ok"):
            pin = get_card(card).pin.reveal()
            paid = isoswitch(
                *("pay", "12.50", "--card", card, "--pin", pin), folder=tmp_path
            )
            assert paid.returncode == 0, paid.stdout + paid.stderr
        listed = isoswitch("keys", "list", "--json", folder=tmp_path)
        unknown = isoswitch("keys", "exchange", "nobody", "--yes", folder=tmp_path)
    assert not wait_gone(mark)
    states = {
        (each["name"], each["version"]): each["state"]
        for each in map(json.loads, listed.stdout.splitlines())
    }
    for name in ("north/zpk", "north/zak", "south/zpk", "south/zak"):
        assert (states[name, 1], states[name, 2]) == ("retired", "active")
    assert unknown.returncode != 0
    assert "key_exchange" in unknown.stderr
    absent = isoswitch("keys", "exchange", "north", "--yes", folder=tmp_path)
    assert absent.returncode != 0
    assert "isoswitch serve" in absent.stderr
