"""What ``isoswitch doctor`` says of the store that is configured."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from isoswitch.commands.database import LocalServer
from isoswitch.commands.doctor import PROBES, Finding, doctor
from isoswitch.config.load import STORE_URL, load_network, packaged_network
from isoswitch.store.place import DatabaseUrl
from isoswitch.store.postgres.connection import connect
from isoswitch.store.postgres.store import open_postgres_store
from tests.postgres import new_database
from tests.store.units import opening


def probe(url: DatabaseUrl, monkeypatch: pytest.MonkeyPatch) -> Finding:
    """Look at the store of a network whose store is a database."""
    monkeypatch.setenv(STORE_URL, url.reveal())
    return PROBES["store"](load_network())


async def test_a_store_in_postgresql_is_looked_at_there(
    postgres: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = new_database(postgres)
    none = probe(url, monkeypatch)
    assert (none.ok, none.text) == (True, f"no store {url} yet; the switch makes it")
    async with open_postgres_store(url) as store:
        await store.commit(opening("1"))
    sound = probe(url, monkeypatch)
    assert (sound.ok, sound.text) == (True, f"{url}: 2 records, all sound")
    with connect(url) as connection:
        connection.execute("UPDATE transactions SET state = 'closed' WHERE id = '1'")
    assert not probe(url, monkeypatch).ok


def test_a_database_that_cannot_be_reached_is_a_fault_that_setup_does_not_mend(
    postgres: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = probe(DatabaseUrl(postgres.url("nowhere")), monkeypatch)
    assert not found.ok
    assert "cannot be reached" in found.text
    assert "[store]" in found.fix


def test_what_is_not_installed_for_a_database_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "isoswitch.store.postgres.reading", None)
    found = probe(DatabaseUrl("postgresql:///isoswitch"), monkeypatch)
    assert not found.ok
    assert "pip install 'isoswitch[postgres]'" in found.text


def test_a_probe_that_the_machine_refuses_is_one_finding_of_many(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "network.toml"
    # Nobody makes files there, not even root.
    elsewhere = 'path = "/sys/kernel/isoswitch.db"'
    text = packaged_network().read_text(encoding="utf-8")
    path.write_text(text.replace('path = "var/isoswitch.db"', elsewhere))
    assert doctor(path, as_json=True) == 1
    found = {
        each["probe"]: each for each in json.loads(capsys.readouterr().out)["probes"]
    }
    assert list(found) == list(PROBES)
    assert not found["disk"]["ok"]
    assert "/sys/kernel" in found["disk"]["text"]
    assert found["disk"]["fix"]
