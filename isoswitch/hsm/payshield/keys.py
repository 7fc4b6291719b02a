"""The keys that a payment HSM wrapped for us, as the switch keeps them.

A record holds what the unit gave: ``U...`` under a variant of its local master key, or
a key block ``S...``. The value is opaque to us and opens in that unit only. Usage, mode
and state are checked here, before the unit is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from isoswitch.codecs.canonical.errors import ConfigError, KeyRefused
from isoswitch.hsm.keys import PERMISSIONS, KeyPlan, Purpose, State, Usage
from isoswitch.hsm.payshield.fields import KEY_BLOCK, key_length
from isoswitch.hsm.payshield.layouts import KEY_BLOCK_TYPE, KEY_TYPES, KeyKind


class UnitKey(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a key.

    Raises
    ------
    KeyRefused
        ``wrapped`` is in no scheme of a wrapped key, or no unit calls a key of this
        usage so.

    Examples
    --------
    >>> plan = KeyPlan(name="n/zpk", usage="P0", mode="E", algorithm="tdes")
    >>> wrapped = "U34E2FC8EAD7CD07BFA2B7ED5FE4D8212"
    >>> UnitKey(plan=plan, kind=KeyKind.ZPK, wrapped=wrapped).key_type
    '001'
    """

    plan: KeyPlan
    kind: KeyKind
    wrapped: str
    kcv: str = ""
    state: State = State.ACTIVE

    def __post_init__(self) -> None:
        is_text = self.wrapped.isascii() and self.wrapped.isalnum()
        if not is_text or key_length(self.wrapped) != len(self.wrapped):
            raise KeyRefused(f"key {self.plan.name}: not a key that a unit wrapped")
        if self.kind not in _KINDS.get(self.plan.usage, frozenset()):
            raise KeyRefused(
                f"key {self.plan.name}: its kind does not go with its usage"
            )

    def __repr__(self) -> str:
        return f"UnitKey({self.plan.describe()})"

    @property
    def key_type(self) -> str:
        """What the unit calls the key's type in commands that ask for it."""
        is_block = self.wrapped.startswith(KEY_BLOCK)
        return KEY_BLOCK_TYPE if is_block else KEY_TYPES[self.kind]


class UnitKeys:
    """Keys by name and purpose.

    Raises
    ------
    KeyRefused
        Two versions of a name are active.
    """

    def __init__(self, records: Iterable[UnitKey]) -> None:
        self.records = sorted(records, key=_precedence)
        self._versions: dict[str, list[UnitKey]] = {}
        for record in self.records:
            self._versions.setdefault(record.plan.name, []).append(record)
        for name, versions in self._versions.items():
            if [key.state for key in versions].count(State.ACTIVE) > 1:
                raise KeyRefused(f"two versions of key {name} are active")

    def get_keys(self, name: str, purpose: Purpose) -> list[UnitKey]:
        """Give the keys to use or to try, the active one first.

        Raises
        ------
        KeyRefused
            No such key, or none that may be used so.
        """
        versions = self._versions.get(name)
        if versions is None:
            raise KeyRefused("no such key")
        is_incoming = PERMISSIONS[purpose].is_incoming
        keys = [
            key
            for key in versions
            if key.plan.may(purpose) and (is_incoming or key.state is State.ACTIVE)
        ]
        if not keys:
            raise KeyRefused(f"key {name} may not be used to {purpose}")
        return keys


def read_unit_keys(path: Path) -> list[UnitKey]:
    """Read the records of a key file: a JSON list of them.

    Raises
    ------
    ConfigError
        The file cannot be read or holds something else; the error does not quote it.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[UnitKey])
    except OSError as fault:
        msg = f"the key file {path} cannot be read: {fault.strerror}"
        raise ConfigError(msg) from fault
    except (msgspec.MsgspecError, KeyRefused):
        msg = f"{path} does not hold the keys of a payment HSM"
        raise ConfigError(msg) from None


def write_unit_keys(path: Path, keys: Iterable[UnitKey]) -> None:
    """Write a key file as a whole, for its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.touch(mode=0o600)
    encoded = msgspec.json.encode(sorted(keys, key=_precedence))
    partial.write_bytes(msgspec.json.format(encoded, indent=1) + b"\n")
    partial.replace(path)


_MACS = frozenset({KeyKind.TAK, KeyKind.ZAK})
_KINDS: Mapping[Usage, frozenset[KeyKind]] = {
    Usage.DUKPT_BASE: frozenset({KeyKind.BDK}),
    Usage.CARD_VERIFICATION: frozenset({KeyKind.CVK}),
    Usage.EMV_CRYPTOGRAM: frozenset({KeyKind.MK_AC}),
    Usage.IBM_OFFSET: frozenset({KeyKind.PVK}),
    Usage.PVV: frozenset({KeyKind.PVK}),
    Usage.PIN: frozenset({KeyKind.TPK, KeyKind.ZPK}),
    Usage.KEY_ENCRYPTION: frozenset({KeyKind.ZMK}),
    Usage.MAC_ALGORITHM_1: _MACS,
    Usage.MAC_ALGORITHM_3: _MACS,
    Usage.CMAC: _MACS,
}
_STATE_ORDER = (State.ACTIVE, State.PENDING, State.RETIRED)


def _precedence(key: UnitKey) -> tuple[str, int, int]:
    return key.plan.name, _STATE_ORDER.index(key.state), -key.plan.version
