"""The audit trail of key changes: who did what with which key, and when.

One JSON object per line, chained: each names the digest of the line before it, and the
key file, which is authenticated, names the digest of the last. No line can be changed,
removed or put in between, and none cut off, without the key file telling.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

import msgspec

from isoswitch.codecs.canonical.errors import VerificationFailed

IMPORT = "import"
"""The action of an entry about a key that came to us."""

# Where the last line is looked for first; most are a tenth as long.
_TAIL_BYTES = 4096


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One act on a key; ``operators`` are all who took part."""

    time: str
    action: str
    operators: tuple[str, ...]
    key: str = ""
    version: int = 0
    kcv: str = ""
    previous: str = ""


def append_entry(path: Path, entry: Entry) -> str:
    """Write an entry at the end of the trail, durably, and give its digest.

    A write that fails leaves the trail as it was. What a crash left of a line is cut
    off first: nobody was told that it happened.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        last, end = _last_line(descriptor)
        previous = _digest(last) if last else ""
        line = msgspec.json.encode(msgspec.structs.replace(entry, previous=previous))
        os.ftruncate(descriptor, end)
        try:
            _write_all(descriptor, line + b"\n")
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, end)
            raise
    finally:
        os.close(descriptor)
    return _digest(line)


def drop_interrupted(path: Path, *, head: str) -> None:
    """Cut off the entry of an act that did not come about.

    It is the one line after the entry that the key file names, ``head``. Where more
    follow, an earlier key file was put back, and what they tell of did happen.
    """
    if not path.exists():
        return
    with path.open("r+b") as file:
        last, end = _last_line(file.fileno())
        if last and _digest(last) != head and _previous(last) == head:
            os.ftruncate(file.fileno(), end - len(last) - 1)
            os.fsync(file.fileno())


def read_entries(path: Path, *, head: str) -> list[Entry]:
    """Read the trail and prove it against the digest that the key file names.

    An act that was written down but interrupted may stand after that entry; of a line
    that was, nothing counts.

    Raises
    ------
    VerificationFailed
        A line is not as it was written, or the trail ends too early.
    """
    entries: list[Entry] = []
    digests = [""]
    for entry, digest in _proved(path, _lines(path), previous="", first=1):
        entries.append(entry)
        digests.append(digest)
    _check_head(path, head, digests)
    return entries


class KnownTrail:
    """Which values of keys a trail tells of, as one process knows it.

    What was proved once is not read again.

    Parameters
    ----------
    path
        The trail.
    """

    # How far it was read, in bytes and lines.
    _inode: int
    _end: int
    _count: int
    # Of the last entry that the key file named, and of those after it.
    _digests: list[str]
    # Those after it; what they tell of has not happened yet, or never will.
    _waiting: list[Entry]
    _used: dict[str, set[str]]
    _imported: set[tuple[str, str, tuple[str, ...]]]

    def __init__(self, path: Path) -> None:
        self._path = path
        self._forget()

    def follow(self, *, head: str) -> None:
        """Read and prove what was added; ``head`` is what the key file names.

        Raises
        ------
        VerificationFailed
            As of ``read_entries``.
        """
        try:
            self._read_on(head)
        except VerificationFailed:
            # Another trail or an earlier key file may have been put back.
            self._forget()
            try:
                self._read_on(head)
            except VerificationFailed:
                self._forget()
                raise

    def has_used(self, key: str, kcv: str) -> bool:
        """Whether a value was ever a version of a key."""
        return kcv in self._used.get(key, ())

    def has_imported(self, key: str, kcv: str, *, operator: str) -> bool:
        """Whether a value came to us in the name of this operator alone."""
        return (key, kcv, (operator,)) in self._imported

    def _read_on(self, head: str) -> None:
        if self._path.exists():
            with self._path.open("rb") as file:
                found = os.fstat(file.fileno())
                if found.st_ino != self._inode or found.st_size < self._end:
                    self._forget()
                self._inode = found.st_ino
                file.seek(self._end)
                self._take(self._whole_lines(file))
        else:
            self._forget()
        _check_head(self._path, head, self._digests)
        known = self._digests.index(head)
        self._count_in(self._waiting[:known])
        self._digests = self._digests[known:]
        self._waiting = self._waiting[known:]

    def _take(self, lines: Iterator[bytes]) -> None:
        proved = _proved(
            self._path, lines, previous=self._digests[-1], first=self._count + 1
        )
        for entry, digest in proved:
            self._digests.append(digest)
            self._waiting.append(entry)

    def _count_in(self, entries: list[Entry]) -> None:
        for entry in entries:
            self._used.setdefault(entry.key, set()).add(entry.kcv)
            if entry.action == IMPORT:
                self._imported.add((entry.key, entry.kcv, entry.operators))

    def _whole_lines(self, file: BinaryIO) -> Iterator[bytes]:
        for line in file:
            if line.endswith(b"\n"):
                self._end += len(line)
                self._count += 1
                yield line[:-1]

    def _forget(self) -> None:
        self._inode = 0
        self._end = 0
        self._count = 0
        self._digests = [""]
        self._waiting = []
        self._used = {}
        self._imported = set()


def _check_head(path: Path, head: str, digests: list[str]) -> None:
    if head not in digests:
        msg = f"{path}: the last entry that the key file names is missing"
        raise VerificationFailed(msg)


def _proved(
    path: Path, lines: Iterable[bytes], *, previous: str, first: int
) -> Iterator[tuple[Entry, str]]:
    """Give entries with their digests; each names the one before it."""
    for number, line in enumerate(lines, start=first):
        try:
            entry = msgspec.json.decode(line, type=Entry)
        except msgspec.MsgspecError:
            raise VerificationFailed(f"{path}: line {number} is no entry") from None
        if entry.previous != previous:
            msg = f"{path}: the line before line {number} is not as it was written"
            raise VerificationFailed(msg)
        previous = _digest(line)
        yield entry, previous


def _lines(path: Path) -> list[bytes]:
    """Give the whole lines; what follows the last line end is none."""
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []


def _last_line(descriptor: int) -> tuple[bytes, int]:
    """Give the last whole line and where it ends."""
    size, reach = os.fstat(descriptor).st_size, _TAIL_BYTES
    while True:
        start = max(0, size - reach)
        tail = os.pread(descriptor, size - start, start)
        end = tail.rfind(b"\n") + 1
        begin = tail.rfind(b"\n", 0, max(0, end - 1)) + 1
        if begin or not start:
            return tail[begin:end].rstrip(b"\n"), start + end
        reach *= 2


def _previous(line: bytes) -> str | None:
    """Give what a line names as the one before it; None where it is no entry."""
    try:
        return msgspec.json.decode(line, type=Entry).previous
    except msgspec.MsgspecError:
        return None


def _write_all(descriptor: int, octets: bytes) -> None:
    """Write to the last byte; a disk that fills up takes a part first."""
    while octets:
        octets = octets[os.write(descriptor, octets) :]


def _digest(line: bytes) -> str:
    return sha256(line).hexdigest()
