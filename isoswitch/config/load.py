"""Reads a network configuration as a whole, before anything starts."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from isoswitch.codecs.canonical.errors import ConfigError
from isoswitch.config.checks import check_network
from isoswitch.config.model import Network
from isoswitch.config.source import (
    ConfigProblems,
    Location,
    Problem,
    Source,
    read_source,
)
from isoswitch.config.types import PATTERNS
from isoswitch.store.place import DatabaseUrl, Place

LOCAL_NAME = "network.toml"
# The address of a database may hold a password.
STORE_URL = "ISOSWITCH_STORE_URL"

_FIXES = {
    "int_type": "write a whole number, without quotes",
    "float_type": "write a number, without quotes",
    "string_type": "write it in quotes",
    "list_type": "write a list: [ ... ]",
    "dict_type": "write a table: { key = value }",
    "model_type": "write a table: { key = value }",
    "bool_type": "write true or false",
}
"""What to write instead, by the kind of error that pydantic names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedNetwork:
    """A network configuration that holds, and the folder its file names start from."""

    path: Path
    folder: Path
    network: Network

    def file(self, name: Path) -> Path:
        """Give the place of a file that the configuration names."""
        return self.folder / name

    @property
    def store(self) -> Place:
        """Where the store is; ``ISOSWITCH_STORE_URL`` stands in for ``[store] url``."""
        url = os.environ.get(STORE_URL) or self.network.store.url
        if not url:
            return self.file(self.network.store.path)
        try:
            return DatabaseUrl(url)
        except ValueError as error:
            raise ConfigError(f"[store] url or {STORE_URL} is {error}") from None


def packaged_network() -> Path:
    """Give the configuration that comes with isoswitch."""
    return Path(str(files("isoswitch.config") / LOCAL_NAME))


def load_network(path: Path | None = None) -> LoadedNetwork:
    """Load the file named, else ``network.toml`` here, else the packaged network.

    File names in a file of one's own start from its folder; those of the packaged one
    from the current folder.

    Raises
    ------
    ConfigError
        Nothing can be read, or something does not hold; says everything at once.
    """
    here = Path.cwd()
    if path is None:
        path = here / LOCAL_NAME if (here / LOCAL_NAME).exists() else packaged_network()
    folder = here if path == packaged_network() else path.resolve().parent
    network = validate(read_source(path))
    return LoadedNetwork(path=path, folder=folder, network=network)


def validate(source: Source) -> Network:
    """Give the typed network of a TOML source.

    Raises
    ------
    ConfigProblems
        Everything that does not hold, in the order of the file.
    """
    try:
        network = Network.model_validate(source.values)
    except ValidationError as exc:
        problems = _problems(exc.errors(include_input=False))
    else:
        problems = check_network(network)
        if not problems:
            return network
    problems.sort(key=lambda problem: source.place(problem.location).line)
    raise ConfigProblems(source, problems) from None


def _problems(errors: Iterable[Mapping[str, Any]]) -> list[Problem]:
    """Turn the errors of pydantic into problems with fixes; values stay out of them.

    A key that is missing because it is misspelt is one problem, not two.
    """
    problems: list[Problem] = []
    missing: list[Location] = []
    misspelt: set[Location] = set()
    for error in errors:
        location: Location = tuple(part for part in error["loc"] if part != "[key]")
        if error["type"] == "missing":
            missing.append(location)
        elif error["type"] == "extra_forbidden":
            near = _near_keys(location)
            misspelt |= {(*location[:-1], key) for key in near}
            problems.append(_unknown_key(location, near))
        else:
            problems.append(_bad_value(location, error))
    problems += [_missing_key(at) for at in missing if at not in misspelt]
    return problems


def _unknown_key(location: Location, near: Sequence[str]) -> Problem:
    known = ", ".join(sorted(_known_keys(location[:-1])))
    return Problem(
        location=location,
        what=f"unknown key {str(location[-1])!r}",
        fix=f"did you mean {near[0]!r}?" if near else f"keys: {known}",
    )


def _missing_key(location: Location) -> Problem:
    is_table = len(location) == 1
    return Problem(
        location=location,
        what=f"{_dotted(location)} is missing",
        fix=f"add [{location[0]}]" if is_table else f"add {location[-1]} = ... here",
    )


def _bad_value(location: Location, error: Mapping[str, Any]) -> Problem:
    pattern = error.get("ctx", {}).get("pattern")
    reason = error["msg"].removeprefix("Input ").removeprefix("Value error, ")
    if pattern in PATTERNS:
        reason = f"should be {PATTERNS[pattern]}"
    return Problem(
        location=location,
        what=f"{_dotted(location)}: {reason[:1].lower()}{reason[1:]}",
        fix=_FIXES.get(error["type"], ""),
    )


def _dotted(location: Location) -> str:
    return ".".join(str(part) for part in location)


def _near_keys(location: Location) -> list[str]:
    return get_close_matches(str(location[-1]), _known_keys(location[:-1]), n=1)


def _known_keys(location: Location) -> Collection[str]:
    """Give the keys that the table at a location may have."""
    annotation: Any = Network
    for part in location:
        annotation = _value_type(annotation, part)
    table = _bare(annotation)
    if isinstance(table, type) and issubclass(table, BaseModel):
        return table.model_fields
    return ()


def _value_type(annotation: Any, key: str | int) -> Any:
    """Give the type behind one key of a table, of a dict or of a list."""
    holder = _bare(annotation)
    if isinstance(holder, type) and issubclass(holder, BaseModel):
        return holder.model_fields[str(key)].annotation
    arguments = get_args(holder)
    return arguments[-1] if arguments else Any


def _bare(annotation: Any) -> Any:
    """Take ``Annotated`` and ``None`` off a type."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in {Union, UnionType}:
        return _bare(get_args(annotation)[0])
    return annotation
