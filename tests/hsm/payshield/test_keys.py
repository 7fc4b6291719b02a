"""The keys of payment HSMs as the switch keeps them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from isoswitch.codecs.canonical.errors import ConfigError, KeyRefused
from isoswitch.hsm.keys import Purpose, State
from isoswitch.hsm.payshield.keys import UnitKey, UnitKeys, read_unit_keys
from isoswitch.hsm.payshield.layouts import KeyKind
from tests.hsm.softhsm import plan

# Published: jPOS's zone PIN key under the test master key, a key block of a real unit.
VARIANT = "U34E2FC8EAD7CD07BFA2B7ED5FE4D8212"
BLOCK = "S00072P0TB00E0001EA421618B34F5FA1A77F7CF6480111B97CF0FAE7BD77D589EC921EF9"


def key(
    wrapped: str = VARIANT, *, version: int = 1, state: State = State.ACTIVE
) -> UnitKey:
    planned = msgspec.structs.replace(plan("n/zpk", "P0", "B"), version=version)
    return UnitKey(plan=planned, kind=KeyKind.ZPK, wrapped=wrapped, state=state)


def test_a_variant_key_goes_with_the_type_of_its_kind() -> None:
    assert key().key_type == "001"


def test_a_key_block_says_itself_what_it_is_for() -> None:
    assert key(BLOCK).key_type == "FFF"


@pytest.mark.parametrize(
    "wrapped", ["", "U", VARIANT[:-1], VARIANT + "0", "W" + VARIANT[1:], BLOCK + "0"]
)
def test_what_no_unit_wrapped_is_refused_unrepeated(wrapped: str) -> None:
    with pytest.raises(KeyRefused) as caught:
        key(wrapped)
    assert len(wrapped) < 2 or wrapped not in str(caught.value)


def test_a_key_prints_without_what_the_unit_wrapped() -> None:
    assert VARIANT not in f"{key()!r} {key()} {[key()]}"


def test_two_active_versions_are_refused() -> None:
    with pytest.raises(KeyRefused):
        UnitKeys([key(), key(version=2)])


def test_what_comes_in_may_be_under_any_version_and_the_active_one_is_tried_first() -> (
    None
):
    keys = UnitKeys(
        [key(state=State.RETIRED), key(version=2), key(version=3, state=State.PENDING)]
    )
    incoming = keys.get_keys("n/zpk", Purpose.DECRYPT_PIN)
    assert [each.plan.version for each in incoming] == [2, 3, 1]
    (outgoing,) = keys.get_keys("n/zpk", Purpose.ENCRYPT_PIN)
    assert outgoing.plan.version == 2


def test_a_key_that_only_arrives_encrypts_nothing() -> None:
    keys = UnitKeys([key(state=State.PENDING)])
    with pytest.raises(KeyRefused):
        keys.get_keys("n/zpk", Purpose.ENCRYPT_PIN)


def test_keys_are_read_from_their_file(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(msgspec.json.encode([key(), key(BLOCK, version=2)]))
    assert read_unit_keys(path) == [key(), key(BLOCK, version=2)]


@pytest.mark.parametrize(
    "content", [b"", b"[1]", b'[{"wrapped": "secret"}]', b"\xff", b"{}"]
)
def test_a_file_of_something_else_is_refused_unquoted(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_unit_keys(path)
    assert "secret" not in str(caught.value)


def test_a_missing_file_is_a_fault_of_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_unit_keys(tmp_path / "none.json")
