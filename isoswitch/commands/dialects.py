"""What ``isoswitch dialect`` does, and how commands find the dialect they are told."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast, get_args

import orjson
from rich.text import Text

from isoswitch.codecs.framing import FRAMINGS
from isoswitch.codecs.headers import HEADERS
from isoswitch.codecs.iso8583.codec import Codec, compile_spec
from isoswitch.codecs.iso8583.imports import import_jpos, import_pyiso8583
from isoswitch.codecs.iso8583.layouts import Edition
from isoswitch.codecs.iso8583.spec import Spec
from isoswitch.codecs.iso8583.specs import ALIASES, get_codec, get_spec, spec_names
from isoswitch.codecs.iso8583.userlayout import read_layout, write_layout
from isoswitch.commands.console import (
    FAILED,
    OK,
    USAGE,
    Failure,
    plain_table,
    print_json,
    say_failure,
    stdout,
)
from isoswitch.commands.conversations import Known
from isoswitch.config.source import ConfigProblems, Problem, Source, read_source

NONE = "none"
SETTINGS_MAX = 500

_PLACE = re.compile(r"(wire|fields)\.([\w.]+): (.*)|field (\d+): (.*)|(\w+): (.*)")
_PACKED = "bcd"


def known_from(framing: str | None, header: str | None, dialect: str | None) -> Known:
    """Give what the options say is known of a message."""
    return Known(
        framing=None if framing is None else check_framing(framing),
        header=None if header is None else check_header(header),
        dialect=None if dialect is None else find_codec(dialect),
    )


def check_framing(name: str) -> str:
    """Give the name of a framing, empty for none."""
    if name in {NONE, ""}:
        return ""
    if name not in FRAMINGS:
        raise _unknown("framing", name, (NONE, *FRAMINGS))
    return name


def check_header(name: str) -> str:
    """Give the name of a header, empty for none."""
    if name in {NONE, ""}:
        return ""
    if name not in HEADERS and re.fullmatch(r"fixed:[0-9]{1,4}", name) is None:
        raise _unknown("header", name, (NONE, *HEADERS, "fixed:N"))
    return name


def find_codec(name: str) -> Codec:
    """Give the codec of a dialect: ours by name, your own by its TOML file."""
    if name in spec_names() or name in ALIASES:
        return get_codec(name)
    path = Path(name)
    if path.suffix == ".toml" or path.is_file():
        return compile_spec(_read_own(read_source(path)))
    raise _unknown("dialect", name, spec_names())


def list_dialects(*, as_json: bool) -> int:
    """Print what is known by name."""
    if as_json:
        names = {"framings": FRAMINGS, "headers": HEADERS, "dialects": spec_names()}
        print_json(names)
        return OK
    console = stdout()
    table = plain_table("dialect", "edition", "what it is")
    for name in spec_names():
        spec = get_spec(name)
        table.add_row(Text(name, style="bold cyan"), spec.edition, spec.description)
    console.print(table)
    console.print(f"framings: {', '.join(FRAMINGS)}", style="dim")
    console.print(f"headers:  {', '.join(HEADERS)}, fixed:N", style="dim")
    return OK


def show(name: str, *, as_json: bool) -> int:
    """Print the fields of a dialect."""
    spec = find_codec(name).spec
    if as_json:
        print_json(_spec_json(spec))
        return OK
    console = stdout()
    console.print(Text.assemble((spec.name, "bold"), f"  {_summary(spec)}"))
    table = plain_table("field", "format", "encoding", "length", "masking", "name")
    for de, field in sorted(spec.fields.items()):
        packed = f"{field.encoding} {field.pad}" if field.encoding == _PACKED else ""
        length = f"{field.length_bytes} {field.length_encoding}" if field.length else ""
        table.add_row(
            Text(str(de), style="bold cyan"),
            field.format,
            packed or field.encoding,
            length,
            field.masking,
            Text(field.name, style="dim"),
        )
    console.print(table)
    return OK


def check(path: Path, *, sample: str, as_json: bool) -> int:
    """Print whether a user's dialect holds, and read a sample with it."""
    try:
        spec = _read_own(read_source(path))
        codec = compile_spec(spec)
    except ConfigProblems as fault:
        if as_json:
            print_json({"ok": False, "problems": [_problem_json(fault)]})
        else:
            say_failure(fault)
        return FAILED
    if as_json and not sample:
        print_json({"ok": True} | _spec_json(spec))
    elif not as_json:
        console = stdout()
        text = f"{spec.name}: {len(spec.fields)} fields, {_summary(spec)}"
        console.print(Text.assemble(("✓ ", "green"), text))
        for line in _changes(spec):
            console.print(f"  {line}", style="dim", markup=False)
    if not sample:
        return OK
    # Reading a message needs everything that decode does.
    from isoswitch.commands.decode import Output, decode

    return decode(sample, Known(dialect=codec), Output(as_json=as_json))


def import_dialect(path: Path, *, name: str, edition: str, variable: str) -> int:
    """Print another program's layout as TOML."""
    if edition not in get_args(Edition):
        raise _unknown("edition", edition, get_args(Edition))
    try:
        data = path.read_bytes()
    except OSError as fault:
        what = f"cannot read {path}: {fault.strerror}"
        fix = "name a jPOS packager or a pyiso8583 specification"
        raise Failure(what, fix=fix, exit_code=USAGE) from None
    chosen = name or path.stem
    base = cast("Edition", edition)
    try:
        if data.lstrip()[:1] == b"<":
            spec = import_jpos(chosen, data, edition=base)
        else:
            settings = _settings_of(data, variable)
            spec = import_pyiso8583(chosen, settings, edition=base)
        text = write_layout(spec)
        read_layout(text)
    except ValueError as fault:
        fix = "correct that field there, or write a TOML file by hand"
        raise Failure(f"{path}: {fault}", fix=fix) from None
    sys.stdout.write(text)
    return OK


def _settings_of(data: bytes, variable: str) -> Mapping[str, Mapping[str, Any]]:
    """Give a specification of pyiso8583; a Python file is read and never run."""
    try:
        found = {"": orjson.loads(data)}
    except orjson.JSONDecodeError:
        found = _dictionaries(data)
    if variable:
        found = {name: each for name, each in found.items() if name == variable}
    usable = {name: each for name, each in found.items() if _is_specification(each)}
    if len(usable) == 1:
        (settings,) = usable.values()
        return cast("Mapping[str, Mapping[str, Any]]", settings)
    if usable:
        fix = f"choose one with --variable: {', '.join(usable)}"
        raise Failure(f"{len(usable)} specifications are there", fix=fix)
    what = "there is no specification of pyiso8583 written out as a dictionary"
    fix = "save it as JSON: json.dump(spec, open('spec.json', 'w'))"
    raise Failure(what, fix=fix)


def _dictionaries(data: bytes) -> dict[str, Any]:
    """Give the dictionaries that a Python file assigns, as far as they are literal."""
    try:
        tree = ast.parse(data)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    found = {}
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign):
            targets = [node.target]
        if not targets or not isinstance(targets[0], ast.Name):
            continue
        value = cast("ast.Assign", node).value
        try:
            found[targets[0].id] = ast.literal_eval(value)
        except (ValueError, TypeError, RecursionError):
            continue
    return found


def _is_specification(found: Any) -> bool:
    """Whether something has the shape of a specification of pyiso8583."""
    if not isinstance(found, dict) or not {"t", "p"} <= found.keys():
        return False
    if len(found) > SETTINGS_MAX:
        return False
    return all(
        isinstance(key, str)
        and isinstance(row, dict)
        and all(type(row.get(each, 0)) is int for each in ("max_len", "len_type"))
        for key, row in found.items()
    )


def _read_own(source: Source) -> Spec:
    """Read a user's dialect; what is wrong is said with file, line and column."""
    try:
        return read_layout("\n".join(source.lines))
    except ValueError as fault:
        raise ConfigProblems(source, [_problem(str(fault))]) from None


def _problem(text: str) -> Problem:
    """Find the key that the reader of layouts speaks of."""
    what, fix = text, "`isoswitch dialect show iso87-bcd` shows the fields of a layout"
    head, _, hint = text.partition("; did you mean ")
    if hint:
        what, fix = head, f"did you mean {hint}"
    found = _PLACE.fullmatch(text)
    if found is None:
        return Problem(location=(), what=what, fix=fix)
    table, rest, _, de, _, top, _ = found.groups()
    if table:
        return Problem(location=(table, *rest.split(".")), what=what, fix=fix)
    location = ("fields", de) if de else (top,)
    return Problem(location=location, what=what, fix=fix)


def _problem_json(fault: ConfigProblems) -> dict[str, Any]:
    problem = fault.problems[0]
    place = fault.source.place(problem.location)
    return {
        "file": str(fault.source.path),
        "line": place.line,
        "column": place.column,
        "what": problem.what,
        "fix": problem.fix,
    }


def _summary(spec: Spec) -> str:
    return (
        f"edition {spec.edition}, type indicator {spec.mti}, bitmap {spec.bitmap}, "
        f"charset {spec.charset}"
    )


def _changes(spec: Spec) -> list[str]:
    """Say in which fields a layout is not as its edition."""
    usual = get_spec(
        {"1987": "iso87-ascii", "1993": "iso93-ascii"}.get(spec.edition)
        or "iso2003-ascii"
    )
    lines = []
    for de in sorted({*spec.fields, *usual.fields}):
        ours = spec.fields.get(de)
        theirs = usual.fields.get(de)
        if ours is None:
            continue
        before = theirs.format if theirs else "not there"
        if ours.format != before:
            lines.append(f"field {de}: {ours.format} instead of {before}")
    missing = len(usual.fields.keys() - spec.fields.keys())
    return [*lines, f"without {missing} fields of the edition"] if missing else lines


def _spec_json(spec: Spec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "edition": spec.edition,
        "mti": spec.mti,
        "bitmap": spec.bitmap,
        "charset": spec.charset,
        "fields": {
            str(de): {
                "name": field.name,
                "format": field.format,
                "encoding": field.encoding,
                "length_encoding": field.length_encoding if field.length else "",
                "pad": field.pad,
                "masking": field.masking,
            }
            for de, field in sorted(spec.fields.items())
        },
    }


def _unknown(kind: str, name: str, names: tuple[str, ...]) -> Failure:
    near = get_close_matches(name, names, 1)
    fix = f"did you mean {near[0]}?" if near else f"one of {', '.join(names)}"
    return Failure(f"no {kind} is called {name[:40]!r}", fix=fix, exit_code=USAGE)
