"""Changes of the keys that payment HSMs wrapped for us, each written down.

The states are those of keys in tokens (``hsm.keychange``). The trail beside the file is
chained; nothing here could authenticate its end, as the values open in the units only.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec

from isoswitch.codecs.canonical.errors import KeyRefused
from isoswitch.hsm.audit import Entry, append_entry
from isoswitch.hsm.keyfile import locked
from isoswitch.hsm.keys import State
from isoswitch.hsm.payshield.keys import UnitKey, read_unit_keys, write_unit_keys


class UnitKeyStore:
    """The key file of payment HSMs, and the trail of its changes.

    Parameters
    ----------
    path
        The key file; without one there are no keys yet.
    operator
        Who makes the changes.
    """

    def __init__(self, path: Path, *, operator: str) -> None:
        self._path = path
        self._operator = operator

    def list_keys(self) -> list[UnitKey]:
        """Give all keys, by name."""
        return read_unit_keys(self._path) if self._path.exists() else []

    def get_active(self, name: str) -> UnitKey:
        """Give the active version of a key.

        Raises
        ------
        KeyRefused
            There is none.
        """
        for key in self.list_keys():
            if key.plan.name == name and key.state is State.ACTIVE:
                return key
        raise KeyRefused(f"no version of key {name} is active")

    def add(self, key: UnitKey, *, action: str) -> UnitKey:
        """Store a key: active if it is the first of its name, else pending.

        Raises
        ------
        KeyRefused
            The versions of this name have another usage.
        """
        with locked(self._path):
            keys = self.list_keys()
            present = [each for each in keys if each.plan.name == key.plan.name]
            if any(each.plan.usage is not key.plan.usage for each in present):
                raise KeyRefused(f"key {key.plan.name} exists with another usage")
            version = max((each.plan.version for each in present), default=0) + 1
            added = msgspec.structs.replace(
                key,
                plan=msgspec.structs.replace(key.plan, version=version),
                state=State.PENDING if present else State.ACTIVE,
            )
            self._write([*keys, added], added, action)
        return added

    def activate(self, name: str, version: int) -> UnitKey:
        """Make a pending version the active one; the present one retires.

        Raises
        ------
        KeyRefused
            There is no such pending version.
        """
        with locked(self._path):
            pending = self._get(name, version, State.PENDING)
            activated = msgspec.structs.replace(pending, state=State.ACTIVE)
            keys = [_retired(each, name) for each in self.list_keys()]
            keys[keys.index(pending)] = activated
            self._write(keys, activated, "activate")
        return activated

    def remove(self, name: str, version: int) -> UnitKey:
        """Forget a version that is not in use.

        Raises
        ------
        KeyRefused
            There is no such version, or it is active.
        """
        with locked(self._path):
            removed = self._get(name, version, State.PENDING, State.RETIRED)
            keys = [each for each in self.list_keys() if each != removed]
            self._write(keys, removed, "remove")
        return removed

    def note(self, key: UnitKey, action: str) -> None:
        """Write down an act that changes no key, such as an export."""
        entry = Entry(
            time=datetime.now(UTC).isoformat(timespec="seconds"),
            action=action,
            operators=(self._operator,),
            key=key.plan.name,
            version=key.plan.version,
            kcv=key.kcv,
        )
        append_entry(self._path.with_suffix(".audit"), entry)

    def _write(self, keys: list[UnitKey], changed: UnitKey, action: str) -> None:
        """Write down the act, then what it changes."""
        self.note(changed, action)
        write_unit_keys(self._path, keys)

    def _get(self, name: str, version: int, *states: State) -> UnitKey:
        for key in self.list_keys():
            if (key.plan.name, key.plan.version) == (name, version):
                if key.state not in states:
                    raise KeyRefused(f"key {name} version {version} is {key.state}")
                return key
        raise KeyRefused(f"there is no key {name} of version {version}")


def _retired(key: UnitKey, name: str) -> UnitKey:
    if key.plan.name != name or key.state is not State.ACTIVE:
        return key
    return msgspec.structs.replace(key, state=State.RETIRED)
