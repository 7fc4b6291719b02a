"""The keys that an engine has loaded, by name, ready for commands.

Usage, mode and state are checked here, before any call of the engine.
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from isoswitch.codecs.canonical.errors import HsmError, KeyRefused
from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.hsm.engine import Algorithm, Handle
from isoswitch.hsm.functions.components import with_odd_parity
from isoswitch.hsm.functions.dukpt_tdes import BaseKey, GivenInitialKey
from isoswitch.hsm.functions.key import Key, KeyPair
from isoswitch.hsm.functions.mac import MacKey, Padding
from isoswitch.hsm.functions.pin import PinFormat, PinKey
from isoswitch.hsm.functions.signature import (
    private_length,
    public_of,
    random_private,
)
from isoswitch.hsm.keys import (
    MAC_ALGORITHMS,
    PERMISSIONS,
    KeyPlan,
    KeyRecord,
    Purpose,
    Role,
    State,
    Usage,
    check_value,
    uses_of,
    value_of,
)
from isoswitch.hsm.terminals import (
    AesTerminalKeys,
    TdesTerminalKeys,
    TerminalKeys,
)
from isoswitch.hsm.vault import Vault


@dataclass(frozen=True, slots=True)
class LoadedKey:
    """One version of a key in the engine, with an object for each of its roles."""

    record: KeyRecord
    objects: Mapping[Role, Key]
    terminals: TerminalKeys | None = None

    def destroy(self) -> None:
        """Forget its session objects."""
        if self.terminals is not None:
            self.terminals.close()
        for held in self.objects.values():
            held.destroy()


class KeyTable:
    """Keys by name and purpose.

    Parameters
    ----------
    vault
        What unwraps the records into its engine.
    records
        The stored keys; of one name at most one version is active.
    now
        Gives UTC epoch seconds; retired keys are accepted until then.

    Raises
    ------
    KeyRefused
        A record does not unwrap, or two versions of a name are active.
    """

    def __init__(
        self,
        vault: Vault,
        records: Iterable[KeyRecord],
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._now = now
        self._versions: dict[str, list[LoadedKey]] = {}
        self._mac_keys: dict[tuple[str, Purpose], tuple[MacKey, ...]] = {}
        self._pin_keys: dict[tuple[str, Purpose, int], tuple[PinKey, ...]] = {}
        self._objects: dict[tuple[str, Purpose], tuple[Key, ...]] = {}
        self._terminals: dict[str, Mapping[int, TerminalKeys]] = {}
        self._pending: dict[Handle, int] = {}
        self._stale_at = math.inf
        self.engine = vault.engine
        self.load(vault, records)

    def __len__(self) -> int:
        return sum(map(len, self._versions.values()))

    @property
    def records(self) -> list[KeyRecord]:
        """What is loaded, active versions first."""
        return [key.record for key in self._loaded()]

    def load(self, vault: Vault, records: Iterable[KeyRecord]) -> None:
        """Hold these records from now on; what is loaded already is not loaded again.

        Raises
        ------
        HsmError
            As when the table is made, or the token fails; then it stays as it was.
        """
        held = {id(key.record): key for key in self._loaded()}
        versions: dict[str, list[LoadedKey]] = {}
        changed: list[KeyRecord] = []
        for record in records:
            key = held.pop(id(record), None)
            if key is None:
                changed.append(record)
            else:
                versions.setdefault(record.plan.name, []).append(key)
        former = {_identity(key.record): key for key in held.values()}
        loaded: list[LoadedKey] = []
        try:
            for record in changed:
                key = former.pop(_identity(record), None)
                if key is None:
                    key = _load(vault, record)
                    loaded.append(key)
                key = replace(key, record=record)
                versions.setdefault(record.plan.name, []).append(key)
            _check_active(versions)
        except HsmError:
            for key in loaded:
                key.destroy()
            raise
        self._versions = {
            name: sorted(versions[name], key=_precedence) for name in sorted(versions)
        }
        self._forget_choices()
        for key in former.values():
            key.destroy()

    def get_mac_keys(self, name: str, purpose: Purpose) -> tuple[MacKey, ...]:
        """Give the MAC keys to use or to try, the active one first.

        Raises
        ------
        KeyRefused
            No such key, or none that may be used so.
        """
        if self._now() >= self._stale_at:
            self._forget_choices()
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
        if self._now() >= self._stale_at:
            self._forget_choices()
        keys = self._pin_keys.get((name, purpose, pin_format))
        if keys is None:
            layout = pin_format_of(pin_format)
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
        if self._now() >= self._stale_at:
            self._forget_choices()
        objects = self._objects.get((name, purpose))
        if objects is None:
            role = _ROLE_OF_PURPOSE[purpose]
            objects = tuple(key.objects[role] for key in self._get(name, purpose))
            self._objects[name, purpose] = objects
        return objects

    def get_mac_pairs(self, name: str, purpose: Purpose) -> list[KeyPair]:
        """Give both forms of the keys to try, of those that a retail MAC is made with.

        Raises
        ------
        KeyRefused
            No such key, or none that may be used so.
        """
        return [
            KeyPair(single=key.objects[Role.SINGLE], full=key.objects[Role.ENCRYPT])
            for key in self._get(name, purpose)
        ]

    def get_terminal_keys(self, name: str) -> Mapping[int, TerminalKeys]:
        """Give what derives the keys of transactions, by version, the active one first.

        Raises
        ------
        KeyRefused
            No such key, or not a base derivation key.
        """
        if self._now() >= self._stale_at:
            self._forget_choices()
        terminals = self._terminals.get(name)
        if terminals is None:
            keys = self._get(name, Purpose.DERIVE_TRANSACTION_KEYS)
            terminals = {
                key.record.plan.version: key.terminals for key in keys if key.terminals
            }
            self._terminals[name] = terminals
        return terminals

    def get_terminal_version(self, name: str, version: int) -> TerminalKeys:
        """Give what derives the keys of transactions from one version.

        ``version`` 0 is the only one there is.

        Raises
        ------
        KeyRefused
            No such key or version, or 0 and several that terminals may have.
        """
        versions = self.get_terminal_keys(name)
        if not version and len(versions) > 1:
            msg = f"key {name} has several versions; name the one of the terminal"
            raise KeyRefused(msg)
        terminals = versions.get(version or next(iter(versions)))
        if terminals is None:
            raise KeyRefused(f"key {name} has no version {version} to use")
        return terminals

    def get_records(self, name: str, purpose: Purpose) -> list[KeyRecord]:
        """Give the records of the keys to use or to try, the active one first.

        Raises
        ------
        KeyRefused
            No such key, or none that may be used so.
        """
        return [key.record for key in self._get(name, purpose)]

    def destroy(self) -> None:
        """Forget all session objects; the table is of no use any more."""
        for key in self._loaded():
            key.destroy()

    def get_active(self, name: str, purpose: Purpose) -> LoadedKey:
        """Give the active version with all its objects.

        Raises
        ------
        KeyRefused
            No such key, or none that may be used so.
        """
        return self._get(name, purpose)[0]

    def find_pending(self, key: MacKey) -> int | None:
        """Give the version of a key that is not active yet."""
        return self._pending.get(key.key.handle)

    def _loaded(self) -> Iterator[LoadedKey]:
        for versions in self._versions.values():
            yield from versions

    def _forget_choices(self) -> None:
        """Choose the keys anew, until the next one is accepted no longer."""
        self._mac_keys.clear()
        self._pin_keys.clear()
        self._objects.clear()
        self._terminals.clear()
        self._pending = {
            held.handle: key.record.plan.version
            for key in self._loaded()
            if key.record.state is State.PENDING
            for held in key.objects.values()
        }
        now = self._now()
        ends = (key.record.accepted_until for key in self._loaded())
        self._stale_at = min((end for end in ends if end > now), default=math.inf)

    def _get(self, name: str, purpose: Purpose) -> list[LoadedKey]:
        versions = self._versions.get(name)
        if versions is None:
            raise KeyRefused("no such key")
        states = _INCOMING if PERMISSIONS[purpose].is_incoming else _OUTGOING
        now = self._now()
        keys = [
            key
            for key in versions
            if key.record.state in states
            and key.record.plan.may(purpose)
            and not 0 < key.record.accepted_until <= now
        ]
        if not keys:
            raise KeyRefused(f"key {name} may not be used to {purpose}")
        return keys


def pin_format_of(number: int) -> PinFormat:
    """Give the PIN block format of this number.

    Raises
    ------
    KeyRefused
        No key is for blocks of such a format.
    """
    pin_format = _PIN_FORMATS.get(number)
    if pin_format is None:
        raise KeyRefused(f"no PIN block format {number}")
    return pin_format


def form_record(
    vault: Vault, plan: KeyPlan, value: KeyValue, *, created: str
) -> KeyRecord:
    """Make the record of a key of this value.

    Raises
    ------
    KeyRefused
        The value has another length than planned.
    """
    public = b""
    length = len(value.reveal())
    if plan.usage is Usage.SIGNATURE:
        public, length = public_of(value), private_length(value, plan.algorithm)
    if length != plan.length:
        raise KeyRefused(f"key {plan.name}: the value has not {plan.length} bytes")
    return KeyRecord(
        plan=plan,
        kcv=check_value(vault.engine, value, plan.algorithm),
        created=created,
        blocks={
            role: vault.wrap(value_of(role, value), plan.header(role)).hex()
            for role in plan.roles
        },
        public=public.hex(),
    )


def random_value(plan: KeyPlan) -> KeyValue:
    """Choose a key value; of TDES keys with odd parity and different parts."""
    if plan.usage is Usage.SIGNATURE:
        return random_private(plan.algorithm, plan.length)
    value = secrets.token_bytes(plan.length)
    return KeyValue(
        with_odd_parity(value) if plan.algorithm is Algorithm.TDES else value
    )


_PIN_FORMATS = {each.value: each for each in PinFormat}
_INCOMING = frozenset(State)
_OUTGOING = frozenset({State.ACTIVE})
_STATE_ORDER = (State.ACTIVE, State.PENDING, State.RETIRED)
_ROLE_OF_PURPOSE: Mapping[Purpose, Role] = {
    Purpose.DECRYPT_PIN: Role.DECRYPT,
    Purpose.ENCRYPT_PIN: Role.ENCRYPT,
    Purpose.SEAL: Role.ENCRYPT,
    Purpose.OPEN: Role.DECRYPT,
    Purpose.HASH: Role.MAC,
    Purpose.VERIFY_CRYPTOGRAM: Role.DERIVE,
    Purpose.VERIFY_DYNAMIC_NUMBER: Role.DERIVE,
    Purpose.AUTHENTICATE_SCRIPT: Role.MASTER,
    Purpose.VERIFY_OFFSET: Role.ENCRYPT,
    Purpose.VERIFY_PVV: Role.ENCRYPT,
    Purpose.SIGN: Role.SIGN,
}


def _check_active(versions: Mapping[str, list[LoadedKey]]) -> None:
    for name, keys in versions.items():
        if sum(key.record.state is State.ACTIVE for key in keys) > 1:
            raise KeyRefused(f"two versions of key {name} are active")


def _identity(record: KeyRecord) -> tuple[KeyPlan, str]:
    return record.plan, record.kcv


def _precedence(key: LoadedKey) -> tuple[int, int]:
    record = key.record
    return _STATE_ORDER.index(record.state), -record.plan.version


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
    return LoadedKey(record, objects, _terminal_keys(vault, record, objects))


def _terminal_keys(
    vault: Vault, record: KeyRecord, objects: Mapping[Role, Key]
) -> TerminalKeys | None:
    plan = record.plan
    is_initial = plan.usage is Usage.DUKPT_INITIAL
    if not is_initial and plan.usage is not Usage.DUKPT_BASE:
        return None
    if plan.algorithm is Algorithm.AES:
        return AesTerminalKeys(
            objects[Role.DERIVE], length=plan.length, is_initial=is_initial
        )
    if is_initial:
        block, header = record.blocks[Role.DERIVE], plan.header(Role.DERIVE)
        # The steps from here are computed in this process, as from a base key.
        value = vault.reveal(bytes.fromhex(block), header)
        return TdesTerminalKeys(GivenInitialKey(value))
    base = BaseKey(key=objects[Role.ENCRYPT], variant=objects[Role.VARIANT])
    return TdesTerminalKeys(base)


def _mac_key(loaded: LoadedKey) -> MacKey:
    plan = loaded.record.plan
    objects = loaded.objects
    return MacKey(
        algorithm=MAC_ALGORITHMS[plan.usage],
        key=objects[Role.MAC if Role.MAC in objects else Role.ENCRYPT],
        single=objects.get(Role.SINGLE),
        padding=Padding(plan.mac_padding),
    )
