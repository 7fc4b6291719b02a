"""Test keys shared between simulators and switch."""

from __future__ import annotations

from pathlib import Path

import pytest

from isoswitch.codecs.canonical.errors import ConfigError
from isoswitch.hsm.engine import Algorithm
from isoswitch.simulators.keyring import (
    Keyring,
    read_keyring,
    update_keyring,
    write_keyring,
)

KEY = "0123456789ABCDEFFEDCBA9876543210"


def test_keys_survive_their_file(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    write_keyring(path, {"a": KEY, "b": f"aes:{KEY}"})
    ring = read_keyring(path)
    assert ring.get_key("a").cipher is Algorithm.TDES
    assert ring.get_key("b").cipher is Algorithm.AES
    assert ring.clear_values()["b"] == bytes.fromhex(KEY)
    assert path.stat().st_mode & 0o077 == 0


def test_a_key_is_replaced_beside_the_others(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    write_keyring(path, {"a": KEY, "b": f"aes:{KEY}"})
    other = Keyring({"new": f"aes:{KEY[::-1]}"}).get_key("new")
    update_keyring(path, "b", other)
    ring = read_keyring(path)
    assert ring.get_key("b") == other
    assert ring.clear_values()["a"] == bytes.fromhex(KEY)
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "text", ["", "xyz", KEY[:-2], f"des:{KEY}", f"aes:{KEY}00", KEY * 2]
)
def test_what_is_no_key_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Keyring({"a": text})
    assert str(caught.value).startswith("test key a is not")
    assert not text or text not in str(caught.value)


@pytest.mark.parametrize("content", ["", "[]", '{"a": 1}', '{"a": "' + KEY])
def test_a_broken_key_file_is_one_clear_error(tmp_path: Path, content: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        read_keyring(path)
    assert KEY not in str(caught.value)


def test_an_absent_key_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="make the test keys first"):
        read_keyring(tmp_path / "absent.json")
