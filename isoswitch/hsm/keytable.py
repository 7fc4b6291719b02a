"""The keys that an engine has loaded, by name, ready for commands.

Usage, mode and state are checked here, before any call of the engine.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from isoswitch.codecs.canonical.errors import KeyRefused
from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.hsm.engine import Algorithm
from isoswitch.hsm.functions.components import with_odd_parity
from isoswitch.hsm.functions.key import Key
from isoswitch.hsm.functions.mac import MacKey, Padding
from isoswitch.hsm.functions.pin import PinFormat, PinKey
from isoswitch.hsm.keys import (
    MAC_ALGORITHMS,
    PERMISSIONS,
    KeyPlan,
    KeyRecord,
    Purpose,
    Role,
    State,
    check_value,
    uses_of,
    value_of,
)
from isoswitch.hsm.vault import Vault


@dataclass(frozen=True, slots=True)
class LoadedKey:
    """One version of a key in the engine, with an object for each of its roles."""

    record: KeyRecord
    objects: Mapping[Role, Key]


class KeyTable:
    """Keys by name and purpose.

    Parameters
    ----------
    vault
        What unwraps the records into its engine.
    records
        The stored keys; of one name at most one version is active.

    Raises
    ------
    KeyRefused
        A record does not unwrap, or two versions of a name are active.
    """

    def __init__(self, vault: Vault, records: Iterable[KeyRecord]) -> None:
        self._versions: dict[str, list[LoadedKey]] = {}
        for record in sorted(records, key=_precedence):
            self._versions.setdefault(record.plan.name, []).append(_load(vault, record))
        for name, versions in self._versions.items():
            active = [key for key in versions if key.record.state is State.ACTIVE]
            if len(active) > 1:
                raise KeyRefused(f"two versions of key {name} are active")
        self._mac_keys: dict[tuple[str, Purpose], tuple[MacKey, ...]] = {}
        self._pin_keys: dict[tuple[str, Purpose, int], tuple[PinKey, ...]] = {}
        self._objects: dict[tuple[str, Purpose], tuple[Key, ...]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._versions.values()))

    @property
    def records(self) -> list[KeyRecord]:
        """What is loaded, active versions first."""
        return [key.record for keys in self._versions.values() for key in keys]

    def get_mac_keys(self, name: str, purpose: Purpose) -> tuple[MacKey, ...]:
        """Give the MAC keys to use or to try, the active one first.

        Raises
        ------
        KeyRefused
            No such key, or none that may be used so.
        """
        keys = self._mac_keys.get((name, purpose))
        if keys is None:
            keys = tuple(map(_mac_key, self._get(name, purpose)))
            self._mac_keys[name, purpose] = keys
        return keys

    def get_pin_keys(
        self, name: str, purpose: Purpose, pin_format: int
    ) -> tuple[PinKey, ...]:
        """Give the PIN keys to use or to try, the active one first.

        Raises
        ------
        KeyRefused
            No such key, none that may be used so, or not for blocks of this format.
        """
        keys = self._pin_keys.get((name, purpose, pin_format))
        if keys is None:
            layout = _pin_format(pin_format)
            objects = self.get_objects(name, purpose)
            keys = tuple(PinKey(key, layout) for key in objects)
            self._pin_keys[name, purpose, pin_format] = keys
        return keys

    def get_objects(self, name: str, purpose: Purpose) -> tuple[Key, ...]:
        """Give the single object that serves a purpose, of each version to try.

        Raises
        ------
        KeyRefused
            No such key, or none that may be used so.
        """
        objects = self._objects.get((name, purpose))
        if objects is None:
            role = _ROLE_OF_PURPOSE[purpose]
            objects = tuple(key.objects[role] for key in self._get(name, purpose))
            self._objects[name, purpose] = objects
        return objects

    def destroy(self) -> None:
        """Forget all session objects; the table is of no use any more."""
        for versions in self._versions.values():
            for key in versions:
                for held in key.objects.values():
                    held.destroy()

    def _get(self, name: str, purpose: Purpose) -> list[LoadedKey]:
        versions = self._versions.get(name)
        if versions is None:
            raise KeyRefused("no such key")
        states = _INCOMING if PERMISSIONS[purpose].is_incoming else _OUTGOING
        keys = [
            key
            for key in versions
            if key.record.state in states and key.record.plan.may(purpose)
        ]
        if not keys:
            raise KeyRefused(f"key {name} may not be used to {purpose}")
        return keys


def form_record(
    vault: Vault, plan: KeyPlan, value: KeyValue, *, created: str
) -> KeyRecord:
    """Make the record of a key of this value.

    Raises
    ------
    KeyRefused
        The value has another length than planned.
    """
    if len(value.reveal()) != plan.length:
        raise KeyRefused(f"key {plan.name}: the value has not {plan.length} bytes")
    return KeyRecord(
        plan=plan,
        kcv=check_value(vault.engine, value, plan.algorithm),
        created=created,
        blocks={
            role: vault.wrap(value_of(role, value), plan.header(role)).hex()
            for role in plan.roles
        },
    )


def random_value(plan: KeyPlan) -> KeyValue:
    """Choose a key value; of TDES keys with odd parity and different parts."""
    value = secrets.token_bytes(plan.length)
    return KeyValue(
        with_odd_parity(value) if plan.algorithm is Algorithm.TDES else value
    )


_INCOMING = frozenset(State)
_OUTGOING = frozenset({State.ACTIVE})
_STATE_ORDER = (State.ACTIVE, State.PENDING, State.RETIRED)
_ROLE_OF_PURPOSE: Mapping[Purpose, Role] = {
    Purpose.DECRYPT_PIN: Role.DECRYPT,
    Purpose.ENCRYPT_PIN: Role.ENCRYPT,
    Purpose.SEAL: Role.ENCRYPT,
    Purpose.OPEN: Role.DECRYPT,
    Purpose.HASH: Role.MAC,
}


def _precedence(record: KeyRecord) -> tuple[str, int, int]:
    state = _STATE_ORDER.index(record.state)
    return record.plan.name, state, -record.plan.version


def _load(vault: Vault, record: KeyRecord) -> LoadedKey:
    plan = record.plan
    if set(record.blocks) != set(plan.roles):
        raise KeyRefused(f"key {plan.name}: its blocks are not those of its usage")
    objects = {
        role: vault.unwrap(
            bytes.fromhex(record.blocks[role]),
            plan.header(role),
            plan.algorithm,
            uses_of(role),
        )
        for role in plan.roles
    }
    return LoadedKey(record, objects)


def _mac_key(loaded: LoadedKey) -> MacKey:
    plan = loaded.record.plan
    objects = loaded.objects
    return MacKey(
        algorithm=MAC_ALGORITHMS[plan.usage],
        key=objects[Role.MAC if Role.MAC in objects else Role.ENCRYPT],
        single=objects.get(Role.SINGLE),
        padding=Padding(plan.mac_padding),
    )


def _pin_format(number: int) -> PinFormat:
    try:
        return PinFormat(number)
    except ValueError:
        raise KeyRefused(f"no PIN block format {number}") from None
