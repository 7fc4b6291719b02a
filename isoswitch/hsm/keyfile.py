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

import msgspec

from isoswitch.codecs.canonical.errors import ConfigError
from isoswitch.hsm.keys import KeyRecord
from isoswitch.hsm.vault import Vault

FORMAT = 2


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


def read_key_file(path: Path, vault: Vault) -> KeyFile:
    """Read a key file and prove it.

    Raises
    ------
    ConfigError
        There is no such file, it is no key file, it was changed by hand, or it belongs
        to another storage master key.
    """
    stored = _read(path)
    if not hmac.compare_digest(_authenticate(stored, vault), stored.mac):
        msg = (
            f"{path} was changed outside isoswitch or belongs to another storage "
            f"master key than {stored.storage_key}; restore it from its backup"
        )
        raise ConfigError(msg)
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
    try:
        stored = msgspec.json.decode(path.read_bytes(), type=_Stored)
    except FileNotFoundError:
        msg = f"no key file {path}; make one with 'isoswitch keys' or 'make setup'"
        raise ConfigError(msg) from None
    except OSError as fault:
        msg = f"the key file {path} cannot be read: {fault.strerror}"
        raise ConfigError(msg) from fault
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


def _authenticate(stored: _Stored, vault: Vault) -> str:
    head = f"{stored.storage_key}\n{stored.audit_head}\n".encode()
    return vault.authenticate(head + bytes(stored.keys)).hex()
