"""The audit trail of key changes: who did what with which key, and when.

One JSON object per line, chained: each names the digest of the line before it, and the
key file, which is authenticated, names the digest of the last. No line can be changed,
removed or put in between, and none cut off, without the key file telling.
"""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

import msgspec

from isoswitch.codecs.canonical.errors import VerificationFailed

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
    for number, line in enumerate(_lines(path), start=1):
        try:
            entry = msgspec.json.decode(line, type=Entry)
        except msgspec.MsgspecError:
            raise VerificationFailed(f"{path}: line {number} is no entry") from None
        if entry.previous != digests[-1]:
            msg = f"{path}: the line before line {number} is not as it was written"
            raise VerificationFailed(msg)
        entries.append(entry)
        digests.append(_digest(line))
    if head not in digests:
        msg = f"{path}: the last entry that the key file names is missing"
        raise VerificationFailed(msg)
    return entries


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


def _write_all(descriptor: int, octets: bytes) -> None:
    """Write to the last byte; a disk that fills up takes a part first."""
    while octets:
        octets = octets[os.write(descriptor, octets) :]


def _digest(line: bytes) -> str:
    return sha256(line).hexdigest()
