"""Keys that simulators share with the switch, read from a file of test values.

The file is JSON for test environments only: in production nobody outside the crypto
process holds a key in clear. A value is hexadecimal; ``aes:`` before it names its
cipher, else it is a triple DES key::

    {"north/zak": "0123456789ABCDEFFEDCBA9876543210",
     "south/zak": "aes:2B7E151628AED2A6ABF7158809CF4F3C"}

A triple DES key makes retail MACs (X9.19), an AES key makes CMACs.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from isoswitch.codecs.canonical.errors import ConfigError
from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.hsm.engine import Algorithm

_SIZES = {Algorithm.TDES: {16, 24}, Algorithm.AES: {16, 24, 32}}


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedKey:
    """A test key and the cipher it is for."""

    cipher: Algorithm
    value: KeyValue


class Keyring:
    """Test keys by name.

    Examples
    --------
    >>> ring = Keyring({"north/zak": "0123456789ABCDEFFEDCBA9876543210"})
    >>> ring.get_key("north/zak").value
    KeyValue(***)
    >>> ring.get_key("north/zpk")
    Traceback (most recent call last):
    isoswitch.codecs.canonical.errors.ConfigError: no test key named north/zpk
    """

    def __init__(self, values: Mapping[str, str]) -> None:
        self._keys = {name: _parse_key(name, text) for name, text in values.items()}

    def get_key(self, name: str) -> SharedKey:
        """Give a key.

        Raises
        ------
        ConfigError
            The keyring has no key of this name.
        """
        try:
            return self._keys[name]
        except KeyError:
            msg = f"no test key named {name}"
            raise ConfigError(msg) from None

    def clear_values(self) -> dict[str, bytes]:
        """Give every value by name, for the auditor's search for leaks."""
        return {name: key.value.reveal() for name, key in self._keys.items()}


def read_keyring(path: Path) -> Keyring:
    """Read a simulator key file.

    Raises
    ------
    ConfigError
        The file cannot be read, or is not a JSON object of key values.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as exc:
        msg = f"{path}: cannot be read ({exc.strerror}); make the test keys first"
        raise ConfigError(msg) from None
    except ValueError:
        # The parser's error would quote the file, keys included.
        msg = f"{path}: not JSON"
        raise ConfigError(msg) from None
    if not isinstance(content, dict):
        msg = f"{path}: not a JSON object of key names and values"
        raise ConfigError(msg)
    return Keyring(content)


def write_keyring(path: Path, values: Mapping[str, str]) -> None:
    """Write a simulator key file that only its owner may read.

    Raises
    ------
    ConfigError
        A value is not a key.
    """
    Keyring(values)
    path.touch(mode=0o600)
    path.write_text(json.dumps(dict(values), indent=2) + "\n", encoding="utf-8")


def update_keyring(path: Path, name: str, key: SharedKey) -> None:
    """Replace one key in a file that several simulators share.

    Raises
    ------
    ConfigError
        The file cannot be read.
    """
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        read_keyring(path)
        values: dict[str, str] = json.loads(path.read_bytes())
        partial = path.with_suffix(".partial")
        write_keyring(partial, {**values, name: _format_key(key)})
        partial.replace(path)


def _format_key(key: SharedKey) -> str:
    prefix = "" if key.cipher is Algorithm.TDES else f"{key.cipher}:"
    return prefix + key.value.reveal().hex().upper()


def _parse_key(name: str, text: object) -> SharedKey:
    prefix, _, digits = str(text).rpartition(":")
    try:
        cipher = Algorithm(prefix or Algorithm.TDES)
        value = bytes.fromhex(digits)
    except ValueError:
        value = b""
    if not value or len(value) not in _SIZES.get(cipher, ()):
        msg = f"test key {name} is not a hexadecimal triple DES or AES key"
        raise ConfigError(msg)
    return SharedKey(cipher=cipher, value=KeyValue(value))
