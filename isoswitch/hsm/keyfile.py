"""The file of stored keys: JSON with one wrapped block per key object.

It holds no clear value. A CMAC under a key derived from the storage master key covers
all records, so that nobody reactivates a retired key or removes one unseen; putting
back an older file as a whole is not seen.
"""

from __future__ import annotations

import fcntl
import hmac
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from isoswitch.codecs.canonical.errors import ConfigError
from isoswitch.hsm.keys import KeyRecord
from isoswitch.hsm.vault import Vault

FORMAT = 1


class _KeyFile(msgspec.Struct, frozen=True, kw_only=True):
    format: int
    storage_key: str
    keys: list[KeyRecord]
    mac: str


def read_keys(path: Path, vault: Vault) -> list[KeyRecord]:
    """Read the records of a key file.

    Raises
    ------
    ConfigError
        There is no such file, it is no key file, it was changed by hand, or it belongs
        to another storage master key.
    """
    stored = _read(path)
    if not hmac.compare_digest(_authenticate(stored.keys, vault), stored.mac):
        msg = (
            f"{path} was changed outside isoswitch or belongs to another storage "
            f"master key than {stored.storage_key}; restore it from its backup"
        )
        raise ConfigError(msg)
    return stored.keys


def read_storage_key(path: Path) -> str:
    """Read which storage master key a key file belongs to, by its label.

    Raises
    ------
    ConfigError
        There is no such file, or it is no key file.
    """
    return _read(path).storage_key


def write_keys(
    path: Path, records: Sequence[KeyRecord], vault: Vault, *, storage_key: str
) -> None:
    """Replace a key file as a whole; readers see the old or the new one."""
    stored = _KeyFile(
        format=FORMAT,
        storage_key=storage_key,
        keys=list(records),
        mac=_authenticate(records, vault),
    )
    content = msgspec.json.format(msgspec.json.encode(stored), indent=2)
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content + b"\n")
        file.flush()
        os.fsync(file.fileno())
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


def _read(path: Path) -> _KeyFile:
    try:
        stored = msgspec.json.decode(path.read_bytes(), type=_KeyFile)
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
        msg = f"{path} has format {stored.format}, this version reads {FORMAT}"
        raise ConfigError(msg)
    return stored


def _authenticate(records: Sequence[KeyRecord], vault: Vault) -> str:
    content = msgspec.json.encode(records, order="sorted")
    return vault.authenticate(content).hex()
