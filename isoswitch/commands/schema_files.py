"""What ``isoswitch schemas`` does: fill a directory of published schemas, and list it.

The manifest is written last and names the hash of every file, so that a directory that
was left half filled, or changed by hand, is noticed before anything is judged by it.
"""

from __future__ import annotations

import hashlib
import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from isoswitch.codecs.canonical.errors import DecodeError
from isoswitch.codecs.iso20022.generation import find_top, generate_schema
from isoswitch.codecs.iso20022.messages import BY_FAMILY
from isoswitch.codecs.iso20022.official import ARCHIVE_BYTES_MAX, read_download
from isoswitch.codecs.iso20022.schemas import (
    MANIFEST,
    PROFILES,
    Manifest,
    Origin,
    compile_schema,
    read_manifest,
)
from isoswitch.commands.console import (
    OK,
    USAGE,
    Failure,
    plain_table,
    print_json,
    stderr,
    stdout,
)

OFFICIAL = "official download"
_CARDS = ("cain.00", "caaa.00", "canm.00", "caad.00")


class _Package(NamedTuple):
    """A package that has messages as data classes, and what its modules are called."""

    name: str
    distribution: str
    module: str


# Where both have a message the first is taken: it is the older and has all versions.
_PACKAGES = (
    _Package("pyiso20022", "pyiso20022", ""),
    _Package("python_iso20022", "python-iso20022", ".models"),
)


def build(directory: Path, messages: list[str], *, as_json: bool) -> int:
    """Build the schemas of these messages, or of all that are understood."""
    wanted = tuple(messages) or (*BY_FAMILY, *_CARDS)
    found = dict(_find_modules(wanted))
    for each in messages:
        if not any(message_id.startswith(each) for message_id in found):
            fix = "pip install 'isoswitch[schemas]', or `isoswitch schemas import`"
            raise Failure(f"no installed package has {each}", fix=fix, exit_code=USAGE)
    if not found:
        fix = "pip install 'isoswitch[schemas]', or `isoswitch schemas import`"
        raise Failure("no package with messages is installed", fix=fix)
    kept = {
        message_id
        for message_id, origin in read_manifest(directory).schemas.items()
        if origin.source.startswith(OFFICIAL)
    }
    made: dict[str, tuple[bytes, Origin]] = {}
    for message_id, (package, module) in found.items():
        if message_id in kept:
            continue
        top = find_top(vars(importlib.import_module(module)), message_id)
        if top is None:
            stderr().print(f"{message_id}: no such message in {module}", style="yellow")
            continue
        schema = generate_schema(message_id, top)
        compile_schema(schema.content)
        source = f"{package.distribution} {version(package.distribution)}"
        made[message_id] = (
            schema.content,
            _origin(source, schema.content, schema.changes),
        )
    return _put(directory, made, as_json=as_json)


def import_archive(directory: Path, archive: Path, *, as_json: bool) -> int:
    """Take every schema of an official download."""
    if archive.stat().st_size > ARCHIVE_BYTES_MAX:
        raise Failure(
            f"{archive} is over {ARCHIVE_BYTES_MAX >> 20} MiB",
            fix="import the download of one business area after the other",
        )
    try:
        download = read_download(archive.read_bytes())
    except DecodeError as fault:
        fix = "download it again from www.iso20022.org; nothing was taken"
        raise Failure(f"{archive}: {fault}", fix=fix) from None
    for name in download.left_out:
        stderr().print(f"left out: {name}", style="yellow", markup=False)
    made = {
        each.message_id: (
            each.content,
            _origin(f"{OFFICIAL} {archive.name}", each.content, each.changes),
        )
        for each in download.schemas
    }
    return _put(directory, made, as_json=as_json)


def list_schemas(directory: Path, *, as_json: bool) -> int:
    """List the messages that have a schema."""
    origins = read_manifest(directory).schemas
    profiles = {each.stem for each in PROFILES.glob("*.*.*.*.xsd")}
    table = plain_table("message", "profile", "published", "mended")
    for message_id in sorted(profiles | origins.keys()):
        origin = origins.get(message_id)
        has_profile = message_id in profiles
        if as_json:
            print_json(_row(message_id, origin) | {"profile": has_profile})
        else:
            table.add_row(
                message_id,
                "yes" if has_profile else "",
                origin.source if origin else "",
                "; ".join(origin.changes) if origin else "",
            )
    if not as_json:
        stdout().print(table)
    return OK


def _find_modules(
    wanted: tuple[str, ...],
) -> Iterator[tuple[str, tuple[_Package, str]]]:
    """Find the modules of messages, by name and without importing them."""
    seen = set()
    for package in _PACKAGES:
        spec = find_spec(package.name)
        if spec is None or not spec.submodule_search_locations:
            continue
        for folder in spec.submodule_search_locations:
            for area in sorted({each[:4] for each in wanted}):
                for module in pkgutil.iter_modules([str(Path(folder) / area)]):
                    message_id = module.name.replace("_", ".")
                    if message_id.startswith(wanted) and message_id not in seen:
                        seen.add(message_id)
                        path = f"{package.name}.{area}.{module.name}{package.module}"
                        yield message_id, (package, path)


def _origin(source: str, content: bytes, changes: tuple[str, ...]) -> Origin:
    sha256 = hashlib.sha256(content).hexdigest()
    return Origin(source=source, sha256=sha256, changes=changes)


def _put(
    directory: Path, made: Mapping[str, tuple[bytes, Origin]], *, as_json: bool
) -> int:
    """Write schemas, then the manifest that makes them count."""
    directory.mkdir(parents=True, exist_ok=True)
    schemas = dict(read_manifest(directory).schemas)
    for message_id, (content, origin) in made.items():
        _write(directory / f"{message_id}.xsd", content)
        schemas[message_id] = origin
    manifest = Manifest(schemas=dict(sorted(schemas.items())))
    _write(directory / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))
    for message_id, (_, origin) in sorted(made.items()):
        if as_json:
            print_json(_row(message_id, origin))
        elif origin.changes:
            stdout().print(f"{message_id}: {'; '.join(origin.changes)}", markup=False)
    if not as_json:
        stdout().print(f"{len(made)} schemas in {directory}", markup=False)
    return OK


def _write(file: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    beside = file.with_suffix(".new")
    beside.write_bytes(content)
    beside.replace(file)


def _row(message_id: str, origin: Origin | None) -> dict[str, Any]:
    row: dict[str, Any] = {"message": message_id}
    return row | (msgspec.to_builtins(origin) if origin else {})
