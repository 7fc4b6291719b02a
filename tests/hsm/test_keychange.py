"""The life of stored keys, and the trail it leaves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from isoswitch.codecs.canonical.errors import (
    ConfigError,
    DecodeError,
    HsmError,
    KeyRefused,
    VerificationFailed,
)
from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.hsm.engine import Algorithm
from isoswitch.hsm.functions import tr31
from isoswitch.hsm.functions.mac import generate
from isoswitch.hsm.functions.tr31 import decode_header
from isoswitch.hsm.handlers.data import encrypt_data
from isoswitch.hsm.keychange import KeyStore
from isoswitch.hsm.keyfile import KeyFile, read_key_file, write_key_file
from isoswitch.hsm.keys import KeyPlan, Mode, Purpose, State, Usage
from isoswitch.hsm.keytable import KeyTable
from isoswitch.hsm.port import EncryptData
from isoswitch.hsm.settings import Environment
from isoswitch.hsm.software import SoftwareEngine
from isoswitch.hsm.vault import Vault
from tests.hsm.full_disk import full_disk
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
    return KeyStore(path, vault, operators=("ann", "bob"), environment=Environment.TEST)


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


def test_a_version_is_needed_while_something_is_sealed_with_it(
    store: KeyStore, vault: Vault
) -> None:
    store.generate(plan("store/seal", "D0", "B", "aes"))
    sealing = EncryptData(key="store/seal", data=b"leg")
    sealed = encrypt_data(KeyTable(vault, store.list_keys()), sealing, b"")
    store.rotate("store/seal")
    store.activate("store/seal", 2)
    with pytest.raises(KeyRefused, match="version 1 has sealed what is still owed, 2"):
        store.verify_unneeded("store/seal", 1, [sealed, sealed])
    store.verify_unneeded("store/seal", 1, [])
    store.verify_unneeded("store/seal", 2, [sealed])
    store.generate(plan("link/zak", "M6", "C", "aes"))
    store.verify_unneeded("link/zak", 1, [sealed])


def test_a_key_without_an_active_version_does_not_leave(store: KeyStore) -> None:
    store.generate(plan("link/kbpk", "K1", "B", "aes"))
    exportable = msgspec.structs.replace(
        plan("link/zpk", "P0", "E"), is_exportable=True
    )
    store.generate(exportable)
    store.rotate("link/zpk")
    store.retire("link/zpk", 1)
    assert states(store, "link/zpk") == [(1, "retired"), (2, "pending")]
    with pytest.raises(KeyRefused, match="no version of key link/zpk is active"):
        store.export_block("link/zpk", protection_key="link/kbpk")


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


def test_a_disk_that_is_full_changes_nothing(store: KeyStore) -> None:
    store.generate(plan("link/zak", "M6", "C", "aes"))
    changes = store.list_changes()
    for room in (store.trail.stat().st_size + 20, 500):
        with full_disk(at=room), pytest.raises(HsmError, match="cannot be changed"):
            store.rotate("link/zak")
        assert states(store, "link/zak") == [(1, "active")]
        assert store.list_changes() == changes
    store.rotate("link/zak")
    assert states(store, "link/zak") == [(1, "active"), (2, "pending")]
    assert store.list_changes()[-1].action == "rotate"


def test_a_disk_that_is_full_keeps_the_storage_key(
    store: KeyStore, vault: Vault
) -> None:
    store.generate(plan("link/zak", "M6", "C", "aes"))
    changes = store.list_changes()
    target = Vault.of_value(vault.engine, TDES_KEY)
    with full_disk(at=500), pytest.raises(HsmError, match="cannot be changed"):
        store.rewrap(target, storage_key="storage-2")
    assert store.list_changes() == changes
    assert store.rewrap(target, storage_key="storage-2") == 1


def test_a_change_that_a_crash_interrupted_leaves_the_trail_with_the_next(
    store: KeyStore, tmp_path: Path
) -> None:
    store.generate(plan("link/zak", "M6", "C", "aes"))
    keys = (tmp_path / "keys.json").read_bytes()
    store.rotate("link/zak")
    (tmp_path / "keys.json").write_bytes(keys)
    assert states(store, "link/zak") == [(1, "active")]
    store.retire("link/zak", 1)
    actions = [each.action for each in store.list_changes()]
    assert actions == ["generate", "retire"]


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


ZMK = KeyValue(bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"))
# That key under itself (github nickntg/thalessimulatorlibrary), and its check value.
CRYPTOGRAM = bytes.fromhex("1A4D672DCA6CB3351FD1B02B237AF9AE")
CHECK_VALUE = bytes.fromhex("08D7B4")
ZPK = plan("partner/zpk", "P0", "D")


def take(
    store: KeyStore,
    cryptogram: bytes = CRYPTOGRAM,
    check_value: bytes = CHECK_VALUE,
    under: str = "partner/zmk",
    wanted: KeyPlan = ZPK,
) -> str:
    return store.import_cryptogram(
        wanted, cryptogram, check_value, key_encryption_key=under
    ).kcv


def test_a_key_without_a_block_is_taken_by_its_check_value(store: KeyStore) -> None:
    store.add(plan("partner/zmk", "K0", "B"), ZMK, action="form")
    assert take(store) == "08D7B4"
    assert states(store, "partner/zpk") == [(1, "active")]
    assert store.list_changes()[-1].action == "import"


def test_a_single_length_key_becomes_its_double_length_equal(store: KeyStore) -> None:
    store.add(plan("partner/zmk", "K0", "B"), ZMK, action="form")
    # Single DES under 0123456789ABCDEF encrypts zeros to D5D44FF720683D0D.
    assert take(store, CRYPTOGRAM[:8], bytes.fromhex("D5D44F")) == "D5D44F"
    assert store.list_keys()[-1].plan.length == 16


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"check_value": b""}, VerificationFailed),
        ({"check_value": CHECK_VALUE[:2]}, VerificationFailed),
        ({"check_value": bytes.fromhex("08D7B5")}, VerificationFailed),
        ({"cryptogram": CRYPTOGRAM[:-1] + b"\0"}, VerificationFailed),
        ({"cryptogram": CRYPTOGRAM[:-1]}, VerificationFailed),
        ({"under": "partner/kbpk"}, KeyRefused),
        ({"under": "partner/out"}, KeyRefused),
        ({"under": "nobody"}, KeyRefused),
        ({"wanted": plan("partner/zak", "M6", "C", "aes")}, KeyRefused),
    ],
)
def test_a_key_without_a_block_that_is_not_proved_is_refused(
    store: KeyStore, more: dict[str, Any], error: type[Exception]
) -> None:
    store.add(plan("partner/zmk", "K0", "B"), ZMK, action="form")
    store.add(plan("partner/out", "K0", "E"), ZMK, action="form")
    store.generate(plan("partner/kbpk", "K1", "B", "aes", 32))
    with pytest.raises(error):
        take(store, **more)
    assert states(store, "partner/zpk") == []


@pytest.mark.parametrize(
    ("given", "wanted", "mode"),
    [
        ("N", "E", "E"),
        ("N", "B", "B"),
        ("B", "D", "D"),
        ("B", "", "B"),
        ("D", "D", "D"),
    ],
)
def test_a_block_is_narrowed_to_the_mode_that_was_asked_for(
    store: KeyStore, given: str, wanted: str, mode: str
) -> None:
    """X9.143, table 8: N is a key without special restrictions."""
    store.generate(plan("kbpk", "K1", "B", "aes", 32))
    block = block_of_mode(store, given)
    record = store.import_block("copy", block, protection_key="kbpk", mode=wanted)
    assert record.plan.mode == mode


@pytest.mark.parametrize(
    ("given", "wanted"),
    [("N", ""), ("N", "C"), ("N", "Z"), ("D", "E"), ("D", "B"), ("B", "X"), ("D", "N")],
)
def test_a_mode_that_a_block_does_not_permit_is_refused(
    store: KeyStore, given: str, wanted: str
) -> None:
    store.generate(plan("kbpk", "K1", "B", "aes", 32))
    block = block_of_mode(store, given)
    with pytest.raises(KeyRefused):
        store.import_block("copy", block, protection_key="kbpk", mode=wanted)


def block_of_mode(store: KeyStore, mode: str) -> str:
    header = tr31.Header(version="D", usage="P0", algorithm="T", mode=mode)
    return tr31.wrap(store._protection_key("kbpk"), header, TDES_KEY)


def test_a_published_key_is_not_stored_in_production(
    tmp_path: Path, vault: Vault
) -> None:
    path = tmp_path / "keys.json"
    write_key_file(path, KeyFile(storage_key="storage-1", records=[]), vault)
    store = KeyStore(
        path, vault, operators=("ann",), environment=Environment.PRODUCTION
    )
    with pytest.raises(ConfigError, match="key"):
        store.add(plan("partner/zmk", "K0", "B"), ZMK, action="form")
    assert store.list_keys() == []
