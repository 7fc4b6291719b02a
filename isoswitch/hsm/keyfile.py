"""The file of stored keys: JSON with one wrapped block per key object.

It holds no clear value. A CMAC under a key derived from the storage master key covers
the records as they are written, so that nobody reactivates a retired key or removes
one unseen; putting back an older file as a whole is not seen.
"""

from __future__ import annotations

import fcntl
import hmac
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from isoswitch.codecs.canonical.errors import ConfigError
from isoswitch.hsm.keys import KeyRecord
from isoswitch.hsm.vault import Vault

FORMAT = 2

_BEGINNING_BYTES = 512
_RAW = list[msgspec.Raw]


class KeyFile(msgspec.Struct, frozen=True, kw_only=True):
    """All stored keys.

    ``storage_key`` is the label of the storage master key that wraps them,
    ``audit_head`` the digest of the last entry in the audit trail of key changes.
    """

    storage_key: str
    records: list[KeyRecord]
    audit_head: str = ""


class _Stored(msgspec.Struct, frozen=True, kw_only=True):
    format: int
    storage_key: str
    audit_head: str
    mac: str
    keys: msgspec.Raw


class KnownKeyFile:
    """A key file as one process knows it; parsed again only where it was replaced.

    Parameters
    ----------
    path
        The key file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mark: tuple[object, ...] | None = None
        self._file: KeyFile | None = None
        self._records: dict[bytes, KeyRecord] = {}

    def read(self, vault: Vault) -> KeyFile:
        """Give what the file holds; see ``read_key_file``."""
        with _opened(self._path) as file:
            mark = (*_mark(file), vault)
            if self._file is None or mark != self._mark:
                stored = _decode(file.read(), self._path)
                _verify(stored, self._path, vault)
                self._file = self._parse(stored)
                self._mark = mark
        return self._file

    def read_storage_key(self) -> str:
        """Give the label of its storage master key; see ``read_storage_key``."""
        with _opened(self._path) as file:
            if self._file and self._mark and _mark(file) == self._mark[:-1]:
                return self._file.storage_key
            return _decode(file.read(), self._path).storage_key

    def write(self, file: KeyFile, vault: Vault) -> None:
        """Replace the file; see ``write_key_file``. Other writers are kept away."""
        write_key_file(self._path, file, vault)
        with _opened(self._path) as written:
            self._mark = (*_mark(written), vault)
        self._file = file

    def _parse(self, stored: _Stored) -> KeyFile:
        """Decode the records that are not known from before."""
        known = self._records
        self._records = {
            octets: known.get(octets) or msgspec.json.decode(octets, type=KeyRecord)
            for octets in map(bytes, msgspec.json.decode(stored.keys, type=_RAW))
        }
        return KeyFile(
            storage_key=stored.storage_key,
            records=list(self._records.values()),
            audit_head=stored.audit_head,
        )


def read_key_file(path: Path, vault: Vault) -> KeyFile:
    """Read a key file and prove it.

    Raises
    ------
    ConfigError
        There is no such file, it is no key file, it was changed by hand, or it belongs
        to another storage master key.
    """
    stored = _read(path)
    _verify(stored, path, vault)
    return KeyFile(
        storage_key=stored.storage_key,
        records=msgspec.json.decode(stored.keys, type=list[KeyRecord]),
        audit_head=stored.audit_head,
    )


def read_storage_key(path: Path) -> str:
    """Read which storage master key a key file belongs to, by its label.

    Raises
    ------
    ConfigError
        There is no such file, or it is no key file.
    """
    return _read(path).storage_key


def write_key_file(path: Path, file: KeyFile, vault: Vault) -> None:
    """Replace a key file as a whole; readers see the old or the new one."""
    listing = msgspec.json.format(msgspec.json.encode(file.records), indent=1)
    stored = _Stored(
        format=FORMAT,
        storage_key=file.storage_key,
        audit_head=file.audit_head,
        mac="",
        keys=msgspec.Raw(listing),
    )
    stored = msgspec.structs.replace(stored, mac=_authenticate(stored, vault))
    content = msgspec.json.encode(stored)
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as output:
        output.write(content + b"\n")
        output.flush()
        os.fsync(output.fileno())
    partial.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other writers away from a key file while it is read, changed and written."""
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _read(path: Path) -> _Stored:
    with _opened(path) as file:
        return _decode(file.read(), path)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as file:
            yield file
    except FileNotFoundError:
        msg = f"no key file {path}; make one with 'isoswitch keys' or 'make setup'"
        raise ConfigError(msg) from None
    except OSError as fault:
        msg = f"the key file {path} cannot be read: {fault.strerror}"
        raise ConfigError(msg) from fault


def _mark(file: BinaryIO) -> tuple[object, ...]:
    """Tell one state of the file from any other.

    It begins with the digest of the last entry of the trail and the MAC, which no two
    states share; a file that was changed in its place is told by time and size.
    """
    found = os.fstat(file.fileno())
    beginning = os.pread(file.fileno(), _BEGINNING_BYTES, 0)
    return found.st_ino, found.st_mtime_ns, found.st_size, beginning


def _decode(content: bytes, path: Path) -> _Stored:
    try:
        stored = msgspec.json.decode(content, type=_Stored)
    except msgspec.MsgspecError:
        msg = f"{path} is no key file; restore it from its backup"
        raise ConfigError(msg) from None
    if stored.format != FORMAT:
        msg = (
            f"{path} has format {stored.format}, this version reads {FORMAT}; "
            "make test keys anew: remove the file and run make setup"
        )
        raise ConfigError(msg)
    return stored


def _verify(stored: _Stored, path: Path, vault: Vault) -> None:
    """Raise if the MAC is not that of the records."""
    if not hmac.compare_digest(_authenticate(stored, vault), stored.mac):
        msg = (
            f"{path} was changed outside isoswitch or belongs to another storage "
            f"master key than {stored.storage_key}; restore it from its backup"
        )
        raise ConfigError(msg)


def _authenticate(stored: _Stored, vault: Vault) -> str:
    head = f"{stored.storage_key}\n{stored.audit_head}\n".encode()
    return vault.authenticate(head + bytes(stored.keys)).hex()
