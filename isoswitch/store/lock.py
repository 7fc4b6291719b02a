"""One process per store: an exclusive lock that dies with its holder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from isoswitch.codecs.canonical.errors import StoreUnavailable


class StoreInUse(StoreUnavailable):
    """Another process writes to this store."""


@contextmanager
def exclusive_store(path: Path) -> Iterator[None]:
    """Hold the store at ``path`` for as long as the block runs.

    The lock lies on a file of its own: closing any descriptor of the database file
    would drop the locks that SQLite holds on it.

    Raises
    ------
    StoreInUse
        Another process holds it; the message says which.
    """
    try:
        descriptor = os.open(
            path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600
        )
    except OSError as exc:
        msg = f"store {path} cannot be locked: {exc.strerror}"
        raise StoreUnavailable(msg) from exc
    try:
        _lock(descriptor, path)
        yield
    finally:
        os.close(descriptor)


def create_private(path: Path) -> None:
    """Create the store's file, readable by its owner only, so that it survives."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 20).decode("ascii", "replace").strip()
        msg = (
            f"store {path} is in use by process {holder or 'unknown'}; "
            "stop that one, or give this one a store of its own"
        )
        raise StoreInUse(msg) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
