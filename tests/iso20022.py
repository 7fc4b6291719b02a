"""The published schemas and real messages beside the repository, where they are."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import msgspec
import pytest

from isoswitch.codecs.iso20022.repair import Repaired
from isoswitch.codecs.iso20022.schemas import MANIFEST, Manifest, Origin
from tests.shared import SHARED

FOLDER = SHARED / "iso20022"
_ROW = re.compile(
    r"\| (samples/\S+\.xml) \|.*\| ([^|]+) \|$|\| (samples/\S+) \| (.+) \|$"
)


def published(message_id: str) -> Path:
    """Give the published schema of a message, or skip where it is not there."""
    for folder in ("xsd", "xsd-from-pypi"):
        file = FOLDER / folder / f"{message_id}.xsd"
        if file.exists():
            return file
    return pytest.skip(f"no published schema of {message_id} beside the repository")


def published_into(
    directory: Path,
    *message_ids: str,
    repair: Callable[[bytes], Repaired] | None = None,
) -> Path:
    """Fill a directory of base schemas with published ones, or with all of them."""
    files = [published(each) for each in message_ids] or sorted(
        FOLDER.glob("xsd*/*.xsd")
    )
    if not files:
        pytest.skip("no published schemas beside the repository")
    origins = {}
    for file in files:
        content = file.read_bytes()
        if repair is not None:
            content = repair(content).content
        (directory / file.name).write_bytes(content)
        sha256 = hashlib.sha256(content).hexdigest()
        origins[file.stem] = Origin(source="published", sha256=sha256)
    manifest = msgspec.json.encode(Manifest(schemas=origins))
    (directory / MANIFEST).write_bytes(manifest)
    return directory


@cache
def samples() -> dict[str, str]:
    """Give the known verdict of every sample by its path; nothing where absent."""
    sources = FOLDER / "SOURCES.md"
    if not sources.exists():
        return {}
    rows = map(_ROW.fullmatch, sources.read_text(encoding="utf-8").splitlines())
    return {row[1] or row[3]: (row[2] or row[4]).strip() for row in rows if row}
