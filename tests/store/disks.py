"""Disks that fail as real ones do, as SQLite file systems."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import apsw


class Disk(apsw.VFS):
    """The file system below, where faults can be switched on and off.

    Every write, truncation and sync is noted down, and so is what a test says in
    between (`note`): the order of the two is the order in which they happened.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_full = False
        self.is_broken = False
        self.events: list[Event] = []
        super().__init__(name, "")

    def xOpen(  # noqa: N802 (SQLite's name)
        self, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> apsw.VFSFile:
        """Open a file of the file system below."""
        return _File(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802 (SQLite's)
        """Delete a file."""
        self.events.append(Event(file=Path(filename).name, what="delete"))
        super().xDelete(filename, syncdir)

    def note(self, text: str) -> None:
        """Note down what a test saw happen."""
        self.events.append(Event(file="", what=text))


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened: to a file, or in the test."""

    file: str
    what: str
    offset: int = 0
    data: bytes = field(default=b"", repr=False)


class _File(apsw.VFSFile):
    def __init__(
        self, disk: Disk, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> None:
        self._disk = disk
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._name = Path(path or "").name
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 (SQLite's name)
        if self._disk.is_full:
            raise apsw.FullError
        self._note("write", offset=offset, data=bytes(data))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 (SQLite's name)
        self._note("truncate", offset=newsize)
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802 (SQLite's name)
        if self._disk.is_broken:
            error = apsw.IOError("injected")
            error.extendedresult = apsw.SQLITE_IOERR_FSYNC
            raise error
        super().xSync(flags)
        self._note("sync")

    def _note(self, what: str, *, offset: int = 0, data: bytes = b"") -> None:
        event = Event(file=self._name, what=what, offset=offset, data=data)
        self._disk.events.append(event)


@contextmanager
def mounted(name: str) -> Iterator[Disk]:
    """Give a disk under a name that SQLite knows for as long as the block runs."""
    disk = Disk(name)
    try:
        yield disk
    finally:
        disk.unregister()


def after_power_cut(events: list[Event], random: Random) -> dict[str, bytes]:
    """Build the files that a power cut after these events may have left.

    What was synced is there. Of what was not, any part may be: each write survives,
    is lost, or is torn at a sector, whatever its neighbours do.
    """
    durable: dict[str, bytearray] = {}
    pending: dict[str, list[Event]] = {}
    for event in events:
        if event.what == "sync":
            for write in pending.pop(event.file, []):
                _write(durable.setdefault(event.file, bytearray()), write)
        elif event.what == "delete":
            durable.pop(event.file, None)
            pending.pop(event.file, None)
        elif event.file:
            pending.setdefault(event.file, []).append(event)
    for file, writes in pending.items():
        image = durable.setdefault(file, bytearray())
        for write in writes:
            fate = random.choice(["kept", "lost", "torn"])
            if fate == "kept":
                _write(image, write)
            elif fate == "torn" and write.what == "write":
                sectors = random.randrange(len(write.data) // 512 + 1)
                _write_bytes(image, write.offset, write.data[: sectors * 512])
    return {file: bytes(image) for file, image in durable.items()}


def _write(image: bytearray, event: Event) -> None:
    if event.what == "truncate":
        del image[event.offset :]
        image.extend(bytes(event.offset - len(image)))
    else:
        _write_bytes(image, event.offset, event.data)


def _write_bytes(image: bytearray, offset: int, data: bytes) -> None:
    image.extend(bytes(max(offset - len(image), 0)))
    image[offset : offset + len(data)] = data
