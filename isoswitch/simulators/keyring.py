"""Keys that simulators share with the switch, read from a file of test values.

The file is JSON, name to hexadecimal value, for test environments only: in production
nobody outside the crypto process holds a key in clear.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from isoswitch.codecs.canonical.errors import ConfigError
from isoswitch.codecs.canonical.secrets import KeyValue


class Keyring:
    """Test keys by name.

    Examples
    --------
    >>> ring = Keyring({"north/zak": "0123456789ABCDEFFEDCBA9876543210"})
    >>> ring.get_key("north/zak")
    KeyValue(***)
    >>> ring.get_key("north/zpk")
    Traceback (most recent call last):
    isoswitch.codecs.canonical.errors.ConfigError: no test key named north/zpk
    """

    def __init__(self, hex_by_name: Mapping[str, str]) -> None:
        self._keys = {
            name: _parse_key(name, text) for name, text in hex_by_name.items()
        }

    def get_key(self, name: str) -> KeyValue:
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
        return {name: key.reveal() for name, key in self._keys.items()}


def read_keyring(path: Path) -> Keyring:
    """Read a simulator key file.

    Raises
    ------
    ConfigError
        The file is absent, or is not a JSON object of hexadecimal strings.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        msg = f"{path}: cannot be read ({exc.strerror}); make the keys first"
        raise ConfigError(msg) from None
    except ValueError:
        # The parser's error would quote the file, keys included.
        msg = f"{path}: not JSON"
        raise ConfigError(msg) from None
    if not isinstance(content, dict):
        msg = f"{path}: not a JSON object of key names and values"
        raise ConfigError(msg)
    return Keyring(content)


def write_keyring(path: Path, hex_by_name: Mapping[str, str]) -> None:
    """Write a simulator key file that only its owner may read."""
    Keyring(hex_by_name)
    path.touch(mode=0o600)
    path.write_text(json.dumps(dict(hex_by_name), indent=2) + "\n", encoding="utf-8")


def _parse_key(name: str, text: object) -> KeyValue:
    try:
        value = bytes.fromhex(text if isinstance(text, str) else "?")
    except ValueError:
        value = b""
    if len(value) not in {16, 24, 32}:
        msg = f"test key {name} is not 16, 24 or 32 bytes in hexadecimal"
        raise ConfigError(msg)
    return KeyValue(value)
