"""The life of stored keys, and the trail it leaves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from isoswitch.codecs.canonical.errors import (
    ConfigError,
    DecodeError,
    KeyRefused,
    VerificationFailed,
)
from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.hsm.engine import Algorithm
from isoswitch.hsm.functions import tr31
from isoswitch.hsm.functions.mac import generate
from isoswitch.hsm.functions.tr31 import decode_header
from isoswitch.hsm.keychange import KeyStore
from isoswitch.hsm.keyfile import KeyFile, read_key_file, write_key_file
from isoswitch.hsm.keys import KeyPlan, Mode, Purpose, State, Usage
from isoswitch.hsm.keytable import KeyTable
from isoswitch.hsm.software import SoftwareEngine
from isoswitch.hsm.vault import Vault
from tests.hsm.softhsm import AES_KEY, TDES_KEY, VALUES, plan

EXPORTABLE = KeyPlan(
    name="link/zpk",
    usage=Usage.PIN,
    mode=Mode.ENCRYPT,
    algorithm=Algorithm.TDES,
    is_exportable=True,
)


@pytest.fixture
def vault() -> Vault:
    return Vault.of_value(SoftwareEngine(), AES_KEY)


@pytest.fixture
def store(tmp_path: Path, vault: Vault) -> KeyStore:
    path = tmp_path / "keys.json"
    write_key_file(path, KeyFile(storage_key="storage-1", records=[]), vault)
    return KeyStore(path, vault, operators=("ann", "bob"))


def states(store: KeyStore, name: str) -> list[tuple[int, str]]:
    return [
        (record.plan.version, record.state.value)
        for record in store.list_keys()
        if record.plan.name == name
    ]


def test_a_key_lives_from_generation_to_removal(store: KeyStore) -> None:
    store.generate(plan("link/zak", "M6", "C", "aes"))
    assert states(store, "link/zak") == [(1, "active")]
    store.rotate("link/zak")
    assert states(store, "link/zak") == [(1, "active"), (2, "pending")]
    store.activate("link/zak", 2)
    assert states(store, "link/zak") == [(1, "retired"), (2, "active")]
    store.remove("link/zak", 1)
    assert states(store, "link/zak") == [(2, "active")]
    store.retire("link/zak", 2)
    assert states(store, "link/zak") == [(2, "retired")]


def test_every_change_stands_in_the_trail(store: KeyStore) -> None:
    test_a_key_lives_from_generation_to_removal(store)
    changes = store.list_changes()
    assert [(each.action, each.key, each.version) for each in changes] == [
        ("generate", "link/zak", 1),
        ("rotate", "link/zak", 2),
        ("activate", "link/zak", 2),
        ("remove", "link/zak", 1),
        ("retire", "link/zak", 2),
    ]
    assert {each.operators for each in changes} == {("ann", "bob")}
    assert store.trail.stat().st_mode & 0o077 == 0


def _change_a_line(lines: list[bytes]) -> None:
    lines[1] = lines[1].replace(b"ann", b"eve")


def _drop_a_line(lines: list[bytes]) -> None:
    del lines[1]


def _cut_the_end(lines: list[bytes]) -> None:
    del lines[-1]


def _drop_everything(lines: list[bytes]) -> None:
    lines.clear()


def _insert_text(lines: list[bytes]) -> None:
    lines.insert(1, b"hello")


@pytest.mark.parametrize(
    "tamper",
    [_change_a_line, _drop_a_line, _cut_the_end, _drop_everything, _insert_text],
)
def test_a_trail_that_was_changed_is_found_out(
    store: KeyStore, tamper: Callable[[list[bytes]], None]
) -> None:
    test_a_key_lives_from_generation_to_removal(store)
    lines = store.trail.read_bytes().splitlines()
    tamper(lines)
    store.trail.write_bytes(b"".join(line + b"\n" for line in lines))
    with pytest.raises(VerificationFailed):
        store.list_changes()


@pytest.mark.parametrize(
    "act",
    [
        lambda store: store.rotate("nobody"),
        lambda store: store.activate("link/zak", 1),
        lambda store: store.activate("link/zak", 9),
        lambda store: store.remove("link/zak", 1),
        lambda store: store.export_block("link/zak", protection_key="kbpk"),
        lambda store: store.add(plan("link/zak", "P0", "E"), TDES_KEY, action="import"),
        lambda store: store.add(
            plan("other", "P0", "E"), KeyValue(bytes(8)), action="import"
        ),
    ],
)
def test_an_impossible_change_changes_nothing(
    store: KeyStore, act: Callable[[KeyStore], object]
) -> None:
    store.generate(plan("link/zak", "M6", "C", "aes"))
    store.generate(plan("kbpk", "K1", "B", "aes", 32))
    before = store.list_keys(), store.list_changes()
    with pytest.raises(KeyRefused):
        act(store)
    assert (store.list_keys(), store.list_changes()) == before


@pytest.mark.parametrize(
    ("algorithm", "length", "version"), [("aes", 32, "D"), ("tdes", 24, "B")]
)
def test_an_exported_key_comes_back(
    store: KeyStore, vault: Vault, algorithm: str, length: int, version: str
) -> None:
    store.generate(plan("kbpk", "K1", "B", algorithm, length))
    exported = store.generate(EXPORTABLE)
    block = store.export_block("link/zpk", protection_key="kbpk")
    header = decode_header(block)
    assert (header.version, header.usage, header.mode) == (version, "P0", "E")
    imported = store.import_block("copy/zpk", block, protection_key="kbpk")
    assert imported.kcv == exported.kcv
    assert not imported.plan.is_exportable
    table = KeyTable(vault, store.list_keys())
    keys = [
        table.get_objects(name, Purpose.ENCRYPT_PIN)[0]
        for name in ("link/zpk", "copy/zpk")
    ]
    assert keys[0].ecb(bytes(8)) == keys[1].ecb(bytes(8))


def test_a_retail_mac_key_is_exported_whole(store: KeyStore, vault: Vault) -> None:
    store.generate(plan("kbpk", "K1", "B", "aes", 32))
    retail = KeyPlan(
        name="link/zak",
        usage=Usage.MAC_ALGORITHM_3,
        mode=Mode.GENERATE_AND_VERIFY,
        algorithm=Algorithm.TDES,
        is_exportable=True,
    )
    store.add(retail, VALUES["t/tak"], action="form")
    block = store.export_block("link/zak", protection_key="kbpk")
    store.import_block("copy/zak", block, protection_key="kbpk")
    table = KeyTable(vault, store.list_keys())
    macs = {
        generate(table.get_mac_keys(name, Purpose.GENERATE_MAC)[0], b"some message")
        for name in ("link/zak", "copy/zak")
    }
    assert len(macs) == 1


def test_a_block_that_is_none_or_was_changed_is_refused(store: KeyStore) -> None:
    store.generate(plan("kbpk", "K1", "B", "aes", 32))
    store.generate(EXPORTABLE)
    block = store.export_block("link/zpk", protection_key="kbpk")
    with pytest.raises(DecodeError):
        store.import_block("copy", "hello", protection_key="kbpk")
    with pytest.raises(VerificationFailed):
        store.import_block("copy", block.replace("P0TE", "P0TD"), protection_key="kbpk")
    with pytest.raises(KeyRefused):
        store.import_block("copy", block, protection_key="link/zpk")


def test_a_key_that_no_command_serves_is_not_imported(store: KeyStore) -> None:
    store.generate(plan("kbpk", "K1", "B", "aes", 32))
    store.generate(EXPORTABLE)
    block = tr31.wrap(
        store._protection_key("kbpk"),
        tr31.Header(version="D", usage="S0", algorithm="R", mode="S"),
        TDES_KEY,
    )
    with pytest.raises(KeyRefused, match="no command serves"):
        store.import_block("copy", block, protection_key="kbpk")


def test_everything_moves_to_a_new_storage_key(
    store: KeyStore, vault: Vault, tmp_path: Path
) -> None:
    store.generate(plan("link/zak", "M3", "C"))
    store.generate(plan("link/zpk", "P0", "E"))
    before = KeyTable(vault, store.list_keys())
    target = Vault.of_value(vault.engine, TDES_KEY)
    assert store.rewrap(target, storage_key="storage-2") == 2
    path = tmp_path / "keys.json"
    assert read_key_file(path, target).storage_key == "storage-2"
    with pytest.raises(ConfigError):
        read_key_file(path, vault)
    after = KeyTable(target, store.list_keys())
    old, new = (
        table.get_mac_keys("link/zak", Purpose.GENERATE_MAC)[0]
        for table in (before, after)
    )
    assert generate(old, b"data") == generate(new, b"data")
    assert [each.action for each in store.list_changes()][-1] == "rewrap"


def test_a_rotated_test_key_is_a_test_key_no_more(store: KeyStore) -> None:
    test_plan = KeyPlan(
        name="a",
        usage=Usage.CMAC,
        mode=Mode.VERIFY,
        algorithm=Algorithm.AES,
        is_test=True,
    )
    store.add(test_plan, AES_KEY, action="form")
    assert not store.rotate("a").plan.is_test
    assert store.list_keys()[1].state is State.PENDING
