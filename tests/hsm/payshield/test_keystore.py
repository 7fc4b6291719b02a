"""Changes of the keys of payment HSMs, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from isoswitch.codecs.canonical.errors import KeyRefused
from isoswitch.hsm.payshield.keys import UnitKey
from isoswitch.hsm.payshield.keystore import UnitKeyStore
from isoswitch.hsm.payshield.layouts import KeyKind
from isoswitch.simulators.payshield_keys import wrap_test_key
from tests.hsm.softhsm import OTHER_TDES_KEY, TDES_KEY, plan

FIRST = wrap_test_key(plan("n/zpk", "P0", "E"), KeyKind.ZPK, TDES_KEY)
NEXT = wrap_test_key(plan("n/zpk", "P0", "E"), KeyKind.ZPK, OTHER_TDES_KEY)
OTHER = wrap_test_key(plan("n/zpk", "M3", "C"), KeyKind.ZAK, TDES_KEY)


@pytest.fixture
def store(tmp_path: Path) -> UnitKeyStore:
    return UnitKeyStore(tmp_path / "unit-keys.json", operator="ann")


def states(store: UnitKeyStore) -> list[tuple[int, str, str]]:
    return sorted(
        (key.plan.version, str(key.state), key.kcv) for key in store.list_keys()
    )


def test_a_key_is_followed_by_the_next_one(store: UnitKeyStore, tmp_path: Path) -> None:
    assert store.list_keys() == []
    store.add(FIRST, action="import")
    store.add(NEXT, action="import")
    assert states(store) == [(1, "active", FIRST.kcv), (2, "pending", NEXT.kcv)]
    store.activate("n/zpk", 2)
    assert store.get_active("n/zpk").kcv == NEXT.kcv
    assert states(store) == [(1, "retired", FIRST.kcv), (2, "active", NEXT.kcv)]
    store.remove("n/zpk", 1)
    assert states(store) == [(2, "active", NEXT.kcv)]
    trail = (tmp_path / "unit-keys.audit").read_text(encoding="utf-8")
    entries = [json.loads(line) for line in trail.splitlines()]
    assert [each["action"] for each in entries] == [
        "import",
        "import",
        "activate",
        "remove",
    ]
    assert {each["operators"][0] for each in entries} == {"ann"}


def add_other(store: UnitKeyStore) -> UnitKey:
    return store.add(OTHER, action="import")


def test_what_makes_no_sense_changes_nothing(store: UnitKeyStore) -> None:
    store.add(FIRST, action="import")
    before = states(store)
    for act in (
        add_other,
        lambda store: store.activate("n/zpk", 1),
        lambda store: store.activate("n/zpk", 2),
        lambda store: store.remove("n/zpk", 1),
        lambda store: store.remove("nobody", 1),
        lambda store: store.get_active("nobody"),
    ):
        with pytest.raises(KeyRefused):
            act(store)
    assert states(store) == before


def test_only_its_owner_reads_the_file(store: UnitKeyStore, tmp_path: Path) -> None:
    store.add(FIRST, action="import")
    assert (tmp_path / "unit-keys.json").stat().st_mode & 0o077 == 0
