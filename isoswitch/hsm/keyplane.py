"""Changes of working keys while payments run: import, offer, activate, drop.

A link or a terminal changes a key in steps, each of which may be repeated::

    we offer        OfferKey -> pending, sent -> confirmed -> ActivateKey
    they offer      ImportKey -> pending -> AgreeKey, answered -> ActivateKey
    nobody wants it                      pending -> DropKey

A key travels under another one: in a key block (TR-31, version B or D) under a key
block protection key (K1), or in TDES-ECB under a key encryption key (K0) and then only
with its check value. What was ever in use is not taken again, so that an old message
that is replayed brings back no old key. Several processes may change one key: a number
is given to one key only, and what is agreed on or activated is named by its check value
too, so that nobody uses another key than the partner was told of.

Changes go through the key file and its audit trail. Every worker looks at the file
before it runs a command: what one worker has answered, all others know.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from isoswitch.codecs.canonical.errors import (
    ConfigError,
    DecodeError,
    HsmError,
    KeyPending,
    KeyRefused,
    VerificationFailed,
)
from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.hsm.audit import IMPORT, KnownTrail
from isoswitch.hsm.engine import Algorithm
from isoswitch.hsm.functions import tr31
from isoswitch.hsm.functions.kcv import customary_kcv, verify_kcv
from isoswitch.hsm.functions.tr31 import ProtectionKey
from isoswitch.hsm.functions.zone_key import import_zone_key
from isoswitch.hsm.keychange import (
    CHECK_BYTES_MIN,
    SINGLE_LENGTH,
    KeyStore,
    header_fits,
    partner_header,
    whole_value,
)
from isoswitch.hsm.keyfile import KnownKeyFile
from isoswitch.hsm.keys import (
    KeyPlan,
    KeyRecord,
    Purpose,
    Role,
    State,
    Usage,
    check_value,
)
from isoswitch.hsm.keytable import KeyTable, LoadedKey, random_value
from isoswitch.hsm.port import (
    ActivateKey,
    AgreeKey,
    DropKey,
    ImportKey,
    OfferKey,
    WorkingKey,
)
from isoswitch.hsm.settings import Environment
from isoswitch.hsm.testkeys import check_not_published
from isoswitch.hsm.vault import Vault

RETRY_S = 5.0
"""How long keys that could not be loaded are left alone."""

log = structlog.get_logger()


class KeyPlane:
    """The stored keys as one worker follows and changes them.

    Parameters
    ----------
    path
        The key file.
    open_vault
        Gives the vault of a storage master key, by its label.
    environment
        In production published test keys are refused.
    now
        Gives UTC epoch seconds.
    """

    def __init__(
        self,
        path: Path,
        *,
        open_vault: Callable[[str], Vault],
        environment: Environment,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._open_vault = open_vault
        self._environment = environment
        self._now = now
        self._stamp = _stamp(path)
        # The state of the file that did not load, and when that was.
        self._failure: tuple[tuple[int, int, int], float] | None = None
        self._file = KnownKeyFile(path)
        self._label = self._file.read_storage_key()
        self._vault = open_vault(self._label)
        self.table = KeyTable(self._vault, self._read(), now=now)
        self._trail = KnownTrail(self._store("").trail)
        try:
            # Later it would keep payments waiting.
            self._followed_trail()
        except KeyRefused as fault:
            log.error("keys cannot be imported", reason=str(fault))

    def refresh(self) -> None:
        """Load what was changed since the last look, here or by another worker.

        A file that cannot be used, or a token that does not take its keys, leaves the
        keys as they are, and is logged; it is tried again after a pause.
        """
        stamp = _stamp(self._path)
        if stamp == self._stamp or self._is_too_soon(stamp):
            return
        try:
            self._reopen()
            self.table.load(self._vault, self._read())
        except (ConfigError, HsmError) as fault:
            log.error("keys not loaded", reason=str(fault), again_in_s=RETRY_S)
            self._failure = stamp, self._now()
            return
        self._stamp = stamp
        self._failure = None

    def import_key(self, command: ImportKey) -> WorkingKey:
        """Store a key that the partner sends, pending; see ``ImportKey``."""
        store = self._store(command.cause)
        with store.exclusive():
            plan = _newest(store, command.name).plan
            value = self._open(command, plan)
            plan = msgspec.structs.replace(plan, length=len(value.reveal()))
            kcv = check_value(self._vault.engine, value, plan.algorithm)
            record = _find_repeat(store, plan.name, kcv)
            if record is None:
                self._check_new(store, plan.name, kcv)
                _make_room(store, plan.name)
                plan = msgspec.structs.replace(plan, is_test=False)
                self._check_allowed(plan, kcv)
                record = store.add(plan, value, action=IMPORT)
        self.refresh()
        return WorkingKey(record.plan.version, bytes.fromhex(record.kcv))

    def offer_key(self, command: OfferKey) -> WorkingKey:
        """Make the next version of a key and protect it; see ``OfferKey``."""
        wrapping = self._wrapping_key(command, Purpose.WRAP_KEY)
        store = self._store(command.cause)
        with store.exclusive():
            record = _pending(store, command.name)
            if record is not None and self._gives_way(store, record, command):
                store.remove(command.name, record.plan.version)
                record = None
            if record is None:
                plan = _next_plan(_newest(store, command.name).plan, command.length)
                value = _draw(plan, command.length)
                record = store.add(
                    plan, value, action="offer", offered_under=command.under
                )
            elif record.offered_under != command.under:
                msg = f"key {command.name} version {record.plan.version} is pending"
                raise KeyPending(msg)
        self.refresh()
        value = whole_value(self._vault, record)
        return _protect(wrapping, record, value, command)

    def agree_key(self, command: AgreeKey) -> None:
        """Keep a key that the partner is told we took; see ``AgreeKey``."""
        store = self._store(command.cause)
        with store.exclusive():
            record = _named(store, command)
            if record.state is not State.ACTIVE and not record.is_agreed:
                store.agree(command.name, command.version)
        self.refresh()

    def activate_key(self, command: ActivateKey) -> None:
        """Use a pending version from now on; see ``ActivateKey``."""
        store = self._store(command.cause)
        now = self._now()
        with store.exclusive():
            for record in store.list_versions(command.name):
                if 0 < record.accepted_until <= now:
                    store.remove(command.name, record.plan.version)
            if _named(store, command).state is not State.ACTIVE:
                store.activate(
                    command.name,
                    command.version,
                    accepted_until=now + command.overlap_s,
                )
        self.refresh()

    def drop_key(self, command: DropKey) -> None:
        """Forget a pending version that nobody wants; see ``DropKey``."""
        store = self._store(command.cause)
        with store.exclusive():
            record = _pending(store, command.name)
            if record is not None and record.plan.version == command.version:
                store.remove(command.name, command.version)
        self.refresh()

    def _gives_way(self, store: KeyStore, record: KeyRecord, command: OfferKey) -> bool:
        """Whether a pending version is replaced by what is to be offered now."""
        if not record.offered_under:
            # Nobody told the partner that we have it, or it would be agreed on.
            return self._was_sent(record, command.cause) and not record.is_agreed
        value = whole_value(self._vault, record)
        is_ours = record.offered_under == command.under
        return is_ours and not _has_length(value, record.plan, command.length)

    def _was_sent(self, record: KeyRecord, cause: str) -> bool:
        """Whether a pending version came from the partner, and not from an operator."""
        trail = self._followed_trail()
        return trail.has_imported(record.plan.name, record.kcv, operator=cause)

    def _check_new(self, store: KeyStore, name: str, kcv: str) -> None:
        """Refuse a key that was in use before, as far back as the trail goes."""
        is_stored = any(each.kcv == kcv for each in store.list_versions(name))
        if is_stored or self._followed_trail().has_used(name, kcv):
            raise KeyRefused(f"key {name}: this value was in use before")

    def _followed_trail(self) -> KnownTrail:
        """Give the trail as it is now; one that does not hold tells of no key."""
        try:
            self._trail.follow(head=self._file.read(self._vault).audit_head)
        except (VerificationFailed, OSError) as fault:
            msg = f"the audit trail does not hold: {fault}; restore it from its backup"
            raise KeyRefused(msg) from None
        return self._trail

    def _store(self, cause: str) -> KeyStore:
        return KeyStore(
            self._path,
            self._vault,
            operators=(cause,),
            environment=self._environment,
            file=self._file,
        )

    def _is_too_soon(self, stamp: tuple[int, int, int]) -> bool:
        """Whether this state of the file did not load a moment ago."""
        if self._failure is None:
            return False
        failed, at = self._failure
        return stamp == failed and 0 <= self._now() - at < RETRY_S

    def _reopen(self) -> None:
        """Follow a change of the storage master key."""
        label = self._file.read_storage_key()
        if label != self._label:
            self._vault = self._open_vault(label)
            self._label = label

    def _read(self) -> list[KeyRecord]:
        records = self._file.read(self._vault).records
        if self._environment is Environment.PRODUCTION:
            check_not_published(records)
        return records

    def _open(self, command: ImportKey, plan: KeyPlan) -> KeyValue:
        """Open a key that must fit the plan of the versions before it."""
        wrapping = self._wrapping_key(command, Purpose.UNWRAP_KEY)
        kek = wrapping.record.plan
        if kek.usage is Usage.KEY_ENCRYPTION:
            if len(command.check_value) < CHECK_BYTES_MIN:
                raise KeyRefused("a key without a check value is not taken")
            zmk = wrapping.objects[Role.DECRYPT]
            value = import_zone_key(zmk, command.payload, command.check_value)
            is_single = len(command.payload) == SINGLE_LENGTH
            return KeyValue(value.reveal() * 2) if is_single else value
        protection = ProtectionKey(wrapping.objects[Role.MAC], kek.length)
        try:
            header, value = tr31.unwrap(protection, command.payload.decode("latin-1"))
        except DecodeError as fault:
            raise VerificationFailed(fault.reason) from None
        if not header_fits(header, plan):
            msg = f"key {plan.name}: the key block is for another usage"
            raise KeyRefused(msg)
        if command.check_value:
            verify_kcv(value, plan.algorithm, command.check_value)
        return value

    def _wrapping_key(
        self, command: ImportKey | OfferKey, purpose: Purpose
    ) -> LoadedKey:
        """Give the key that protects the form which the link's profile allows."""
        wrapping = self.table.get_active(command.under, purpose)
        is_legacy = wrapping.record.plan.usage is Usage.KEY_ENCRYPTION
        if is_legacy is not command.is_legacy:
            raise KeyRefused(f"key {command.under} is not for this form of keys")
        return wrapping

    def _check_allowed(self, plan: KeyPlan, kcv: str) -> None:
        if self._environment is Environment.PRODUCTION:
            try:
                check_not_published([KeyRecord(plan=plan, kcv=kcv, blocks={})])
            except ConfigError as fault:
                raise KeyRefused(str(fault)) from None


def _stamp(path: Path) -> tuple[int, int, int]:
    """Tell one state of the file from another; it is only ever replaced whole."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0, 0
    return found.st_ino, found.st_mtime_ns, found.st_size


def _newest(store: KeyStore, name: str) -> KeyRecord:
    versions = store.list_versions(name)
    if not versions:
        msg = f"no version of key {name} tells its usage; generate the first one"
        raise KeyRefused(msg)
    return versions[-1]


def _pending(store: KeyStore, name: str) -> KeyRecord | None:
    for record in store.list_versions(name):
        if record.state is State.PENDING:
            return record
    return None


def _named(store: KeyStore, command: AgreeKey | ActivateKey) -> KeyRecord:
    """Find the version that a command means, by its number and its check value.

    Raises
    ------
    KeyRefused
        It is gone, or another key stands in its place.
    """
    told = command.check_value.hex().upper()
    for record in store.list_versions(command.name):
        if record.plan.version == command.version:
            # A terminal's check value has four bytes, where ours has three.
            digits = min(len(told), len(record.kcv))
            if digits < 2 * CHECK_BYTES_MIN or told[:digits] != record.kcv[:digits]:
                msg = f"key {command.name} version {command.version} is another key"
                raise KeyRefused(msg)
            return record
    raise KeyRefused(f"key {command.name} has no version {command.version}")


def _find_repeat(store: KeyStore, name: str, kcv: str) -> KeyRecord | None:
    """Find the version that was made of this very key when it came before.

    Our own offer, sent back to us, is not one.
    """
    for record in store.list_versions(name):
        is_current = record.state is State.ACTIVE or not record.offered_under
        if record.kcv == kcv and record.state is not State.RETIRED and is_current:
            return record
    return None


def _make_room(store: KeyStore, name: str) -> None:
    """Forget an earlier pending version that the partner sent.

    Raises
    ------
    KeyPending
        The pending one is our own: both sides offer at once. Or the partner was told
        that we took it.
    """
    record = _pending(store, name)
    if record is None:
        return
    if record.is_agreed:
        raise KeyPending(f"key {name} version {record.plan.version} is agreed on")
    if record.offered_under:
        raise KeyPending(f"key {name} version {record.plan.version} is offered by us")
    store.remove(name, record.plan.version)


def _next_plan(plan: KeyPlan, length: int) -> KeyPlan:
    """Plan the next version of a key, of as many bytes as shall travel.

    Of TDES a stored key has two parts at least, also where they are equal.
    """
    if plan.algorithm is Algorithm.TDES and length:
        plan = msgspec.structs.replace(plan, length=max(length, 2 * SINGLE_LENGTH))
    return msgspec.structs.replace(plan, is_test=False)


def _has_length(value: KeyValue, plan: KeyPlan, length: int) -> bool:
    """Whether a pending key is of the length that shall travel; see ``OfferKey``."""
    if plan.algorithm is not Algorithm.TDES:
        return True
    left, right = value.reveal()[:SINGLE_LENGTH], value.reveal()[SINGLE_LENGTH:]
    if left == right or length == SINGLE_LENGTH:
        return left == right and length == SINGLE_LENGTH
    return length in {0, plan.length}


def _draw(plan: KeyPlan, length: int) -> KeyValue:
    """Choose a value; single length is the left half twice."""
    value = random_value(plan)
    if length == SINGLE_LENGTH and plan.algorithm is Algorithm.TDES:
        return KeyValue(value.reveal()[:length] * (plan.length // length))
    return value


def _protect(
    wrapping: LoadedKey, record: KeyRecord, value: KeyValue, command: OfferKey
) -> WorkingKey:
    """Encrypt a key for its partner, in the form that the wrapping key stands for."""
    plan, kek = record.plan, wrapping.record.plan
    kcv = customary_kcv(value, plan.algorithm, length=command.check_bytes)
    if kek.usage is Usage.KEY_BLOCK_PROTECTION:
        protection = ProtectionKey(wrapping.objects[Role.MAC], kek.length)
        header = partner_header(plan, kek.algorithm)
        payload = tr31.wrap(protection, header, value).encode()
        return WorkingKey(plan.version, kcv, payload)
    zmk = wrapping.objects[Role.ENCRYPT]
    if plan.algorithm is not Algorithm.TDES or zmk.algorithm is not Algorithm.TDES:
        raise KeyRefused("only TDES keys travel without a key block")
    clear = value.reveal()[: command.length or plan.length]
    return WorkingKey(plan.version, kcv, zmk.ecb(clear))
