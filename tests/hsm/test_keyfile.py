"""The key file: complete, unchanged, without a clear value."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from isoswitch.codecs.canonical.errors import ConfigError
from isoswitch.hsm.keyfile import (
    KeyFile,
    KnownKeyFile,
    locked,
    read_key_file,
    read_storage_key,
    write_key_file,
)
from isoswitch.hsm.keys import State
from isoswitch.hsm.keytable import form_record
from isoswitch.hsm.software import SoftwareEngine
from isoswitch.hsm.testkeys import PUBLISHED, check_not_published
from isoswitch.hsm.vault import Vault
from tests.hsm.softhsm import AES_KEY, PLANS, TDES_KEY, VALUES, plan

VAULT = Vault.of_value(SoftwareEngine(), AES_KEY)
RECORDS = [form_record(VAULT, plan, VALUES[plan.name], created="") for plan in PLANS]

FILE = KeyFile(storage_key="storage-1", records=RECORDS, audit_head="abc")


def replaced(**changes: Any) -> KeyFile:
    return msgspec.structs.replace(FILE, **changes)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "keys.json"
    write_key_file(path, FILE, VAULT)
    return path


def test_what_was_written_is_read(path: Path) -> None:
    assert read_key_file(path, VAULT) == FILE
    assert read_storage_key(path) == "storage-1"


def test_only_the_owner_reads_it_and_it_shows_no_key(path: Path) -> None:
    assert path.stat().st_mode & 0o077 == 0
    content = path.read_bytes().lower()
    for value in VALUES.values():
        assert value.reveal() not in content
        assert value.reveal().hex().encode() not in content
        assert value.reveal()[:8].hex().encode() not in content


def test_a_new_version_replaces_the_file_as_a_whole(path: Path) -> None:
    before = path.stat().st_ino
    with locked(path):
        write_key_file(path, KeyFile(storage_key="s", records=RECORDS[:1]), VAULT)
    assert path.stat().st_ino != before
    assert read_key_file(path, VAULT).records == RECORDS[:1]
    assert {each.name for each in path.parent.iterdir()} == {"keys.json", "keys.lock"}


def test_only_what_was_changed_is_decoded_again(path: Path) -> None:
    known = KnownKeyFile(path)
    before = known.read(VAULT)
    assert before == FILE
    assert known.read(VAULT) is before
    changed = msgspec.structs.replace(RECORDS[0], state=State.RETIRED)
    write_key_file(path, replaced(records=[changed, *RECORDS[1:]]), VAULT)
    after = known.read(VAULT)
    assert after.records == [changed, *RECORDS[1:]]
    kept = zip(before.records[1:], after.records[1:], strict=True)
    assert all(new is old for old, new in kept)


def test_what_this_process_wrote_is_not_read_again(path: Path) -> None:
    known = KnownKeyFile(path)
    file = replaced(records=RECORDS[1:], storage_key="storage-2")
    known.write(file, VAULT)
    assert known.read(VAULT) is file
    assert known.read_storage_key() == read_storage_key(path) == "storage-2"
    assert read_key_file(path, VAULT) == file


def test_no_two_states_of_a_file_are_taken_for_one(path: Path) -> None:
    """Not even of one size, in one place and of one time."""
    known = KnownKeyFile(path)
    assert known.read(VAULT).audit_head == "abc"
    other = path.with_name("other.json")
    write_key_file(other, replaced(audit_head="abd"), VAULT)
    found = path.stat()
    path.write_bytes(other.read_bytes())
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert path.stat().st_size == found.st_size
    assert known.read(VAULT).audit_head == "abd"
    write_key_file(path, replaced(storage_key="storage-3"), VAULT)
    assert known.read_storage_key() == "storage-3"


def test_a_known_file_is_proved_under_every_storage_key(path: Path) -> None:
    known = KnownKeyFile(path)
    known.read(VAULT)
    with pytest.raises(ConfigError, match="another storage master key"):
        known.read(Vault.of_value(SoftwareEngine(), VALUES["store/seal"]))
    path.write_bytes(path.read_bytes().replace(b'"active"', b'"retire"', 1))
    with pytest.raises(ConfigError, match="changed outside"):
        known.read(VAULT)


def _reactivate(content: dict[str, Any]) -> None:
    content["keys"][0]["state"] = "retired"


def _drop(content: dict[str, Any]) -> None:
    del content["keys"][0]


def _change_block(content: dict[str, Any]) -> None:
    content["keys"][0]["blocks"]["decrypt"] = "00" * 24


def _forget_trail(content: dict[str, Any]) -> None:
    content["audit_head"] = ""


def _rename_storage_key(content: dict[str, Any]) -> None:
    content["storage_key"] = "storage-2"


@pytest.mark.parametrize(
    "change", [_reactivate, _drop, _change_block, _forget_trail, _rename_storage_key]
)
def test_a_file_changed_by_hand_is_refused(
    path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    content = json.loads(path.read_bytes())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match="changed outside"):
        read_key_file(path, VAULT)


def test_the_file_of_another_storage_key_is_refused(path: Path) -> None:
    with pytest.raises(ConfigError, match="storage"):
        read_key_file(path, Vault.of_value(SoftwareEngine(), VALUES["store/hash"]))


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 1}', "\x00\xff"])
def test_another_file_is_refused_in_one_sentence(tmp_path: Path, content: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(ConfigError, match="no key file"):
        read_key_file(path, VAULT)


def test_an_unknown_format_is_refused(path: Path) -> None:
    path.write_text(path.read_text().replace('"format":2', '"format":9'))
    with pytest.raises(ConfigError, match="format 9"):
        read_key_file(path, VAULT)


def test_a_missing_file_names_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="isoswitch keys"):
        read_key_file(tmp_path / "keys.json", VAULT)


def test_a_folder_in_the_place_of_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_key_file(tmp_path, VAULT)


def test_production_refuses_published_keys() -> None:
    published = form_record(VAULT, plan("a", "M6", "C"), TDES_KEY, created="")
    assert published.kcv in PUBLISHED
    with pytest.raises(ConfigError, match="key a comes from"):
        check_not_published([published])


def test_production_refuses_keys_formed_for_tests() -> None:
    value = VALUES["store/seal"]
    own = plan("a", "D0", "B", "aes", 32)
    check_not_published([form_record(VAULT, own, value, created="")])
    for_tests = type(own)(
        name="a",
        usage=own.usage,
        mode=own.mode,
        algorithm=own.algorithm,
        length=32,
        is_test=True,
    )
    with pytest.raises(ConfigError, match="test values"):
        check_not_published([form_record(VAULT, for_tests, value, created="")])
