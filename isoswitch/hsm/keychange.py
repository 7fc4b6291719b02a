"""Changes of the stored keys: each reads the key file, changes it, writes it whole.

A key lives through states; of each name at most one version is active::

    generate, import, form --> active ---------> retired --> removed
                                 ^   (next one     ^
    rotate, import ... --> pending   activated)    |
                                 '--- retire ------'

The crypto process keeps serving the keys it has loaded until it reads the file again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from isoswitch.codecs.canonical.errors import HsmError, KeyRefused, VerificationFailed
from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.hsm.audit import (
    IMPORT,
    Entry,
    append_entry,
    drop_interrupted,
    read_entries,
)
from isoswitch.hsm.engine import Algorithm, Use
from isoswitch.hsm.functions import tr31
from isoswitch.hsm.functions.ibm3624 import Ibm3624Rule
from isoswitch.hsm.functions.key import DECRYPT, MAC, Key
from isoswitch.hsm.functions.tr31 import Header, ProtectionKey
from isoswitch.hsm.functions.zone_key import import_zone_key
from isoswitch.hsm.handlers.data import decrypt_data
from isoswitch.hsm.keyfile import KeyFile, KnownKeyFile, locked
from isoswitch.hsm.keys import KeyPlan, KeyRecord, Mode, Role, State, Usage
from isoswitch.hsm.keytable import KeyTable, form_record, random_value
from isoswitch.hsm.port import DecryptData
from isoswitch.hsm.settings import Environment
from isoswitch.hsm.testkeys import check_not_published
from isoswitch.hsm.vault import Vault

UNRESTRICTED = "N"
"""The mode of use of a block that may be used in any way its usage permits."""

# Networks send three bytes; fewer are guessed too easily.
CHECK_BYTES_MIN = 3
SINGLE_LENGTH = 8

_LETTERS = {Algorithm.TDES: "T", Algorithm.AES: "A", Algorithm.HMAC: "H"}
_ALGORITHMS = {letter: algorithm for algorithm, letter in _LETTERS.items()}
_VERSIONS = {Algorithm.TDES: "B", Algorithm.AES: "D"}
# What we may not do with a key, the partner does.
_OTHER_SIDE = {
    Mode.ENCRYPT: Mode.DECRYPT,
    Mode.DECRYPT: Mode.ENCRYPT,
    Mode.GENERATE: Mode.VERIFY,
    Mode.VERIFY: Mode.GENERATE,
}
_BOTH_SIDES = {
    Mode.ENCRYPT: Mode.BOTH,
    Mode.DECRYPT: Mode.BOTH,
    Mode.GENERATE: Mode.GENERATE_AND_VERIFY,
    Mode.VERIFY: Mode.GENERATE_AND_VERIFY,
}
# The object of a key that holds its whole value.
_WHOLE = (Role.ENCRYPT, Role.DECRYPT, Role.MAC, Role.DERIVE, Role.MASTER)


class KeyStore:
    """A key file, the vault that protects it, and the audit trail of its changes.

    Parameters
    ----------
    path
        The key file; it exists. The trail lies beside it as ``<name>.audit``.
    vault
        The vault of the storage master key that the file names.
    operators
        Who makes the changes; they stand in the trail.
    environment
        In production published test keys are refused.
    file
        What is known of the key file, where it is read more often.
    """

    def __init__(
        self,
        path: Path,
        vault: Vault,
        *,
        operators: tuple[str, ...],
        environment: Environment,
        file: KnownKeyFile | None = None,
    ) -> None:
        self._path = path
        self._file = file or KnownKeyFile(path)
        self._environment = environment
        self._vault = vault
        self._operators = operators
        self._is_exclusive = False

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep all other writers away; a block of several changes may hold others.

        Raises
        ------
        HsmError
            The disk does not take the change; the key file is as it was.
        """
        if self._is_exclusive:
            yield
            return
        try:
            with locked(self._path):
                self._is_exclusive = True
                yield
        except OSError as fault:
            msg = f"{self._path} cannot be changed: {fault.strerror}"
            raise HsmError(msg) from fault
        finally:
            self._is_exclusive = False

    @property
    def trail(self) -> Path:
        """The file of the audit trail."""
        return self._path.with_suffix(".audit")

    def list_keys(self) -> list[KeyRecord]:
        """Give all records, by name and version."""
        records = self._file.read(self._vault).records
        return sorted(records, key=lambda each: (each.plan.name, each.plan.version))

    def list_versions(self, name: str) -> list[KeyRecord]:
        """Give the records of one name, by version."""
        records = self._file.read(self._vault).records
        versions = [each for each in records if each.plan.name == name]
        return sorted(versions, key=lambda each: each.plan.version)

    def list_changes(self) -> list[Entry]:
        """Give the audit trail after proving it.

        Raises
        ------
        VerificationFailed
            An entry was changed or is missing.
        """
        head = self._file.read(self._vault).audit_head
        return read_entries(self.trail, head=head)

    def generate(self, plan: KeyPlan) -> KeyRecord:
        """Store a new random key; see ``add``."""
        return self.add(plan, random_value(plan), action="generate")

    def add(
        self, plan: KeyPlan, value: KeyValue, *, action: str, offered_under: str = ""
    ) -> KeyRecord:
        """Store a key: active if it is the first of its name, else pending.

        ``offered_under`` names the key under which it will be given to the partner.

        Raises
        ------
        KeyRefused
            The versions of this name have another usage, or the plan contradicts the
            value.
        ConfigError
            A published test key, in production.
        """
        with self.exclusive():
            records = self.list_keys()
            present = [each for each in records if each.plan.name == plan.name]
            if any(each.plan.usage is not plan.usage for each in present):
                raise KeyRefused(f"key {plan.name} exists with another usage")
            version = max(map(_newest_number, present), default=0) + 1
            record = form_record(
                self._vault,
                msgspec.structs.replace(plan, version=version),
                value,
                created=_now(),
            )
            if self._environment is Environment.PRODUCTION:
                check_not_published([record])
            if present:
                record = msgspec.structs.replace(
                    record, state=State.PENDING, offered_under=offered_under
                )
            self._write([*records, record], action, record)
        return record

    def rotate(self, name: str) -> KeyRecord:
        """Store a new random version of a key, pending until it is activated.

        Raises
        ------
        KeyRefused
            No such key.
        """
        newest = max(self._versions(name), key=lambda each: each.plan.version)
        plan = msgspec.structs.replace(newest.plan, is_test=False)
        return self.add(plan, random_value(plan), action="rotate")

    def activate(
        self, name: str, version: int, *, accepted_until: float = 0.0
    ) -> KeyRecord:
        """Make a pending version the active one; the present one retires.

        ``accepted_until`` ends what the retired one is still good for, in UTC epoch
        seconds; 0 sets no end.

        Raises
        ------
        KeyRefused
            No such version, or it is not pending.
        """
        with self.exclusive():
            pending = self._get(name, version, {State.PENDING})
            records = [
                _retired(each, name, accepted_until) for each in self.list_keys()
            ]
            activated = msgspec.structs.replace(pending, state=State.ACTIVE)
            records[records.index(pending)] = activated
            self._write(records, "activate", activated)
        return activated

    def agree(self, name: str, version: int) -> KeyRecord:
        """Mark a pending version as the one that the partner is told we took.

        Raises
        ------
        KeyRefused
            No such version, or it is not pending.
        """
        with self.exclusive():
            pending = self._get(name, version, {State.PENDING})
            records = self.list_keys()
            agreed = msgspec.structs.replace(pending, is_agreed=True)
            records[records.index(pending)] = agreed
            self._write(records, "agree", agreed)
        return agreed

    def retire(self, name: str, version: int) -> KeyRecord:
        """Stop using a version; what the partner still sends under it is accepted.

        Raises
        ------
        KeyRefused
            No such version, or it has retired already.
        """
        with self.exclusive():
            current = self._get(name, version, {State.ACTIVE, State.PENDING})
            records = self.list_keys()
            retired = msgspec.structs.replace(current, state=State.RETIRED)
            records[records.index(current)] = retired
            self._write(records, "retire", retired)
        return retired

    def remove(self, name: str, version: int) -> KeyRecord:
        """Forget a version that is not in use.

        Raises
        ------
        KeyRefused
            No such version, or it is active.
        """
        with self.exclusive():
            removed = self._get(name, version, {State.PENDING, State.RETIRED})
            newest = _newest_number(removed)
            records = [
                _after_removal(each, name, newest)
                for each in self.list_keys()
                if each != removed
            ]
            self._write(records, "remove", removed)
        return removed

    def verify_unneeded(self, name: str, version: int, sealed: Iterable[bytes]) -> None:
        """Raise if a version of a key has sealed something of this.

        ``sealed`` is not read for a key that seals nothing.

        Raises
        ------
        KeyRefused
            No such version, or without it some of this would not open any more.
        """
        record = self._get(name, version, set(State))
        if record.plan.usage is not Usage.DATA:
            return
        table = KeyTable(self._vault, [record])
        count = sum(_opens(table, name, each) for each in sealed)
        if count:
            raise KeyRefused(
                f"key {name} version {version} has sealed what is still owed, {count} "
                "in number, and nothing else opens it; see `isoswitch saf list`"
            )

    def import_block(
        self,
        name: str,
        block: str,
        *,
        protection_key: str,
        mode: str = "",
        is_exportable: bool = False,
        pin_rule: Ibm3624Rule | None = None,
    ) -> KeyRecord:
        """Store the key of a TR-31 block; usage, algorithm and mode are the block's.

        ``mode`` narrows a mode that permits more; a block without special restrictions
        (N) needs it.

        Raises
        ------
        DecodeError, VerificationFailed
            The text is no key block, or not one under this protection key.
        KeyRefused
            The block names a usage that no command serves, or does not permit the mode.
        """
        header, value = tr31.unwrap(self._protection_key(protection_key), block)
        try:
            plan = KeyPlan(
                name=name,
                usage=Usage(header.usage),
                mode=Mode(narrowed_mode(header.mode, mode)),
                algorithm=_ALGORITHMS[header.algorithm],
                length=len(value.reveal()),
                is_exportable=is_exportable and header.exportability != "N",
                pin_rule=pin_rule,
            )
        except (ValueError, KeyError):
            codes = f"{header.usage} {header.algorithm} {header.mode}"
            raise KeyRefused(f"no command serves a key of {codes}") from None
        return self.add(plan, value, action=IMPORT)

    def import_cryptogram(
        self,
        plan: KeyPlan,
        cryptogram: bytes,
        check_value: bytes,
        *,
        key_encryption_key: str,
    ) -> KeyRecord:
        """Store a TDES key that came encrypted in ECB mode; nothing tells its usage.

        The caller answers for the link's profile allowing this form. A single-length
        key becomes its double-length equal; so the plan's length is the key's.

        Raises
        ------
        VerificationFailed
            The key does not have this check value of at least three bytes.
        KeyRefused
            The protecting key is none for this (K0), or the plan fits no TDES key.
        """
        if len(check_value) < CHECK_BYTES_MIN:
            raise VerificationFailed("a key without a check value is not taken")
        record = self._active(key_encryption_key)
        if record.plan.usage is not Usage.KEY_ENCRYPTION:
            raise KeyRefused(f"key {key_encryption_key} is not for this form of keys")
        if plan.algorithm is not Algorithm.TDES:
            raise KeyRefused("only TDES keys travel without a key block")
        if Role.DECRYPT not in record.blocks:
            raise KeyRefused(f"key {key_encryption_key} opens no keys")
        with self._unwrapped(record, Role.DECRYPT, DECRYPT) as zmk:
            value = import_zone_key(zmk, cryptogram, check_value)
        if len(cryptogram) == SINGLE_LENGTH:
            value = KeyValue(value.reveal() * 2)
        plan = msgspec.structs.replace(plan, length=len(value.reveal()))
        return self.add(plan, value, action=IMPORT)

    def export_block(self, name: str, *, protection_key: str) -> str:
        """Give the active version of a key as a TR-31 block of version B or D.

        Raises
        ------
        KeyRefused
            The key is not exportable, or no such key.
        """
        record = self._active(name)
        plan = record.plan
        if not plan.is_exportable:
            raise KeyRefused(f"key {name} is not exportable")
        value = whole_value(self._vault, record)
        kbpk = self._protection_key(protection_key)
        header = Header(
            version=_VERSIONS[kbpk.key.algorithm],
            usage=plan.usage,
            algorithm=_LETTERS[plan.algorithm],
            mode=plan.mode,
            key_version=f"{plan.version % 100:02}",
        )
        block = tr31.wrap(kbpk, header, value)
        with self.exclusive():
            self._write(self.list_keys(), "export", record)
        return block

    def rewrap(self, target: Vault, *, storage_key: str) -> int:
        """Wrap every key under another storage master key; gives their number.

        Raises
        ------
        KeyRefused
            A block is damaged; then nothing was changed.
        """
        with self.exclusive():
            records = [self._rewrapped(record, target) for record in self.list_keys()]
            file = KeyFile(storage_key=storage_key, records=records)
            self._replace(file, target, self._entry("rewrap"))
        self._vault = target
        return len(records)

    def _rewrapped(self, record: KeyRecord, target: Vault) -> KeyRecord:
        plan = record.plan
        blocks = {
            role: self._vault.rewrap(
                bytes.fromhex(block), plan.header(role), plan.algorithm, target
            ).hex()
            for role, block in record.blocks.items()
        }
        return msgspec.structs.replace(record, blocks=blocks)

    def _protection_key(self, name: str) -> ProtectionKey:
        record = self._active(name)
        plan = record.plan
        if plan.usage is not Usage.KEY_BLOCK_PROTECTION:
            raise KeyRefused(f"key {name} protects no key blocks")
        return ProtectionKey(self._unwrapped(record, Role.MAC, MAC), plan.length)

    def _unwrapped(self, record: KeyRecord, role: Role, uses: frozenset[Use]) -> Key:
        """Load the object of a stored key that plays a role."""
        block, plan = bytes.fromhex(record.blocks[role]), record.plan
        return self._vault.unwrap(block, plan.header(role), plan.algorithm, uses)

    def _versions(self, name: str) -> list[KeyRecord]:
        versions = self.list_versions(name)
        if not versions:
            raise KeyRefused(f"no key named {name}")
        return versions

    def _active(self, name: str) -> KeyRecord:
        for record in self._versions(name):
            if record.state is State.ACTIVE:
                return record
        raise KeyRefused(f"no version of key {name} is active")

    def _get(self, name: str, version: int, states: set[State]) -> KeyRecord:
        for record in self._versions(name):
            if record.plan.version == version:
                if record.state not in states:
                    raise KeyRefused(f"key {name} version {version} is {record.state}")
                return record
        raise KeyRefused(f"key {name} has no version {version}")

    def _write(self, records: list[KeyRecord], action: str, record: KeyRecord) -> None:
        entry = msgspec.structs.replace(
            self._entry(action),
            key=record.plan.name,
            version=record.plan.version,
            kcv=record.kcv,
        )
        file = self._file.read(self._vault)
        file = msgspec.structs.replace(file, records=records)
        self._replace(file, self._vault, entry)

    def _replace(self, file: KeyFile, vault: Vault, entry: Entry) -> None:
        """Write down the act, then what it changes; both, or neither.

        What happened is what the key file holds: an entry beyond the one that it names
        is left of a crash, and gives way.
        """
        before = self._file.read(self._vault).audit_head
        drop_interrupted(self.trail, head=before)
        head = append_entry(self.trail, entry)
        present = self._path.stat().st_ino
        try:
            self._file.write(msgspec.structs.replace(file, audit_head=head), vault)
        except OSError:
            if self._path.stat().st_ino == present:
                drop_interrupted(self.trail, head=before)
            raise

    def _entry(self, action: str) -> Entry:
        return Entry(time=_now(), action=action, operators=self._operators)


def whole_value(vault: Vault, record: KeyRecord) -> KeyValue:
    """Give the value of a stored key, for wrapping it under another key.

    Raises
    ------
    KeyRefused
        A block is damaged.
    """
    role = next(role for role in _WHOLE if role in record.blocks)
    return vault.reveal(bytes.fromhex(record.blocks[role]), record.plan.header(role))


def partner_header(plan: KeyPlan, protection: Algorithm) -> Header:
    """Give the header of a key block that tells the partner its side of a key."""
    return Header(
        version=_VERSIONS[protection],
        usage=plan.usage,
        algorithm=_LETTERS[plan.algorithm],
        mode=_OTHER_SIDE.get(plan.mode, plan.mode),
        key_version=f"{plan.version % 100:02}",
    )


def header_fits(header: Header, plan: KeyPlan) -> bool:
    """Whether a block's key may be the next version of a key with this plan."""
    return (
        header.usage == plan.usage
        and header.algorithm == _LETTERS[plan.algorithm]
        and header.mode in {plan.mode, _BOTH_SIDES.get(plan.mode), UNRESTRICTED}
    )


def narrowed_mode(given: str, wanted: str) -> str:
    """Give the mode of use of an imported key: the block's, or a part of it.

    Raises
    ------
    KeyRefused
        The block does not permit it, or leaves the choice and none was made.

    Examples
    --------
    >>> narrowed_mode("N", "E"), narrowed_mode("B", "D"), narrowed_mode("X", "")
    ('E', 'D', 'X')
    """
    if given == UNRESTRICTED and not wanted:
        raise KeyRefused("the block leaves the mode of use open; say which it shall be")
    if wanted in {"", given} or given in {UNRESTRICTED, _both_sides_of(wanted)}:
        return wanted or given
    raise KeyRefused(f"the block's mode {given} does not permit mode {wanted}")


def _both_sides_of(mode: str) -> str | None:
    return _BOTH_SIDES.get(Mode(mode)) if mode in list(Mode) else None


def _opens(table: KeyTable, name: str, sealed: bytes) -> bool:
    try:
        decrypt_data(table, DecryptData(key=name, data=sealed), b"")
    except VerificationFailed:
        return False
    return True


def _retired(record: KeyRecord, name: str, accepted_until: float) -> KeyRecord:
    """Retire an active record of this name."""
    if record.plan.name != name or record.state is not State.ACTIVE:
        return record
    return msgspec.structs.replace(
        record, state=State.RETIRED, accepted_until=accepted_until
    )


def _newest_number(record: KeyRecord) -> int:
    """Give the highest version of its name that a record knows of."""
    return max(record.plan.version, record.newest_removed)


def _after_removal(record: KeyRecord, name: str, newest: int) -> KeyRecord:
    """Have the other records of a name remember a number that is not free again."""
    if record.plan.name != name or newest <= record.newest_removed:
        return record
    return msgspec.structs.replace(record, newest_removed=newest)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
