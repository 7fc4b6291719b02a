"""A TOML file that remembers where each key stands, so that errors can point at it.

``tomllib`` gives values without positions. This scanner reads the same text line by
line and notes the place of every table header and of every key at the start of a
line, which is where people write them; a key inside an inline table is looked for in
the line of the key that holds it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isoswitch.codecs.canonical.errors import ConfigError, NoConfiguration

Location = tuple[str | int, ...]

_HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(
    r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"))*)\s*="""
)
_PART = re.compile(r"""[\w-]+|"[^"]*"|'[^']*'""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong in a configuration: where it stands, what it is, the fix."""

    location: Location
    what: str
    fix: str = ""


class ConfigProblems(ConfigError):
    """Everything wrong with one configuration file, each with file, line and fix."""

    def __init__(self, source: Source, problems: Sequence[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        super().__init__("\n".join(source.render(problem) for problem in problems))


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A position in a file, counted from one."""

    line: int
    column: int
    width: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The text of a configuration file, its values and the places of its keys."""

    path: Path
    lines: tuple[str, ...]
    values: Mapping[str, Any]
    places: Mapping[Location, Place]

    def place(self, location: Location) -> Place:
        """Give the place of a key, or of the nearest thing that holds it."""
        for size in range(len(location), 0, -1):
            found = self.places.get(location[:size])
            if found is not None:
                return self._inside(found, location[size:])
        return Place(line=1, column=1, width=1)

    def render(self, problem: Problem) -> str:
        """Give a problem as text: what, file and line, the line itself, the fix."""
        place = self.place(problem.location)
        text = self.lines[place.line - 1] if self.lines else ""
        margin = " " * len(str(place.line))
        rows = [
            f"error: {problem.what}",
            f"{margin}--> {self.path}:{place.line}:{place.column}",
            f"{place.line} | {text}",
            f"{margin} | {' ' * (place.column - 1)}{'^' * place.width}",
        ]
        if problem.fix:
            rows.append(f"{margin} = fix: {problem.fix}")
        return "\n".join(rows)

    def _inside(self, holder: Place, rest: Location) -> Place:
        """Look for a key of an inline table in the line of its holder."""
        text = self.lines[holder.line - 1]
        for part in rest:
            match = re.search(rf"""["']?\b{re.escape(str(part))}\b["']?\s*=""", text)
            if match:
                width = len(match.group().rstrip("= "))
                return Place(line=holder.line, column=match.start() + 1, width=width)
        return holder


def read_source(path: Path) -> Source:
    """Read a TOML file.

    Raises
    ------
    ConfigError
        The file cannot be read or is not TOML; says where.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        msg = f"there is no configuration file {path}"
        raise NoConfiguration(msg) from None
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8 text"
        msg = f"cannot read {path}: {reason}"
        raise ConfigError(msg) from None
    return parse_source(path, text)


def parse_source(path: Path, text: str) -> Source:
    """Parse TOML text that was read from ``path``.

    Examples
    --------
    >>> source = parse_source(Path("x.toml"), "[store]\\npath = 'x.db'\\n")
    >>> source.place(("store", "path")).line
    2
    """
    lines = tuple(text.splitlines())
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        what, _, where = str(exc).rpartition(" (at ")
        found = re.match(r"line (\d+), column (\d+)", where)
        line, column = (int(n) for n in found.groups()) if found else (len(lines), 1)
        place = Place(line=max(min(line, len(lines)), 1), column=column, width=1)
        broken = Source(path=path, lines=lines, values={}, places={("",): place})
        problem = Problem(location=("",), what=f"not TOML: {what or exc}")
        raise ConfigProblems(broken, [problem]) from None
    except RecursionError:
        msg = f"{path} nests its brackets too deeply to be read"
        raise ConfigError(msg) from None
    return Source(path=path, lines=lines, values=values, places=_scan(lines))


def _scan(lines: Sequence[str]) -> dict[Location, Place]:
    """Note the place of every table header and of every key that begins a line."""
    places: dict[Location, Place] = {}
    elements: dict[Location, int] = {}
    table: Location = ()
    for number, line in enumerate(lines, start=1):
        header = _HEADER.match(line)
        if header:
            table = _open_table(_parts(header[2]), elements, array=header[1] == "[[")
            _note(places, table, number, header.start(2), header[2])
            continue
        key = _KEY.match(line)
        if key:
            _note(places, table + _parts(key[1]), number, key.start(1), key[1])
    return places


def _note(
    places: dict[Location, Place], location: Location, line: int, start: int, text: str
) -> None:
    place = Place(line=line, column=start + 1, width=len(text))
    for size in range(1, len(location) + 1):
        places.setdefault(location[:size], place)


def _open_table(
    parts: Location, elements: dict[Location, int], *, array: bool
) -> Location:
    """Give the location of a table, with the index of each array of tables in it."""
    table: Location = ()
    for part in parts[:-1]:
        table = (*table, part)
        if table in elements:
            table = (*table, elements[table])
    table = (*table, parts[-1])
    if not array:
        return table
    elements[table] = elements.get(table, -1) + 1
    return (*table, elements[table])


def _parts(dotted: str) -> Location:
    return tuple(part.strip("\"'") for part in _PART.findall(dotted))
