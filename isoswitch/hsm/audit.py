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
    """Write an entry at the end of the trail, durably, and give its digest."""
    lines = _lines(path)
    previous = _digest(lines[-1]) if lines else ""
    line = msgspec.json.encode(msgspec.structs.replace(entry, previous=previous))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "ab") as file:
        file.write(line + b"\n")
        file.flush()
        os.fsync(file.fileno())
    return _digest(line)


def read_entries(path: Path, *, head: str) -> list[Entry]:
    """Read the trail and prove it against the digest that the key file names.

    An act that was written down but interrupted may stand after that entry.

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
    return path.read_bytes().splitlines() if path.exists() else []


def _digest(line: bytes) -> str:
    return sha256(line).hexdigest()
