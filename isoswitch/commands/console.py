"""How commands speak: data on standard output, what goes wrong on standard error.

Exit codes: 0 done, 1 declined or a check failed, 2 wrong usage, 3 not reachable.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from typing import Any

import orjson
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from isoswitch.codecs.canonical.errors import (
    HsmUnavailable,
    IsoswitchError,
    NoConfiguration,
    NoStore,
    OrderUnanswered,
    SwitchUnavailable,
)

OK = 0
FAILED = 1
USAGE = 2
UNREACHABLE = 3


# What mends a fault of the rooms below, which know of no commands, and its exit code.
MENDS: Mapping[type, tuple[str, int]] = {
    SwitchUnavailable: (
        (
            "`isoswitch up` starts a whole network, `isoswitch serve` a switch alone; "
            "the log tells what a running one waits for"
        ),
        UNREACHABLE,
    ),
    OrderUnanswered: (
        (
            "it may have carried the order out: see `isoswitch status` and the log "
            "before ordering again"
        ),
        UNREACHABLE,
    ),
    HsmUnavailable: (
        (
            "`isoswitch hsmd` starts the crypto process; `isoswitch doctor` examines "
            "its token and files"
        ),
        UNREACHABLE,
    ),
    NoStore: (
        "start the network once: isoswitch up; --config names that of another folder",
        FAILED,
    ),
    NoConfiguration: (
        (
            "--config names one; without it network.toml here is read, else the "
            "packaged network"
        ),
        USAGE,
    ),
}


class Failure(IsoswitchError):
    """A command cannot go on: one sentence that says what, and one that mends it."""

    def __init__(self, what: str, *, fix: str = "", exit_code: int = FAILED) -> None:
        self.what = what
        self.fix = fix
        self.exit_code = exit_code
        super().__init__(what)


def stdout() -> Console:
    """Give the console for data; plain when nobody looks."""
    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def stderr() -> Console:
    """Give the console for what goes wrong and for progress."""
    return Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())


def confirm(act: str, *, yes: bool) -> None:
    """Ask the operator before an act.

    Raises
    ------
    Failure
        The answer is no.
    """
    if not yes and not typer.confirm(f"{act[0].upper()}{act[1:]}?", err=True):
        raise Failure("nothing was changed")


def one_of(name: str, names: Collection[str], what: str) -> str:
    """Give a name back that is one of those.

    Raises
    ------
    Failure
        It is none of them.
    """
    if name in names:
        return name
    raise Failure(
        f"there is no {what} {name}",
        fix=f"name one of {', '.join(names)}",
        exit_code=USAGE,
    )


def print_json(value: Any) -> None:
    """Print one JSON object on one line."""
    sys.stdout.write(orjson.dumps(value).decode() + "\n")
    sys.stdout.flush()


def say_failure(fault: IsoswitchError | OSError) -> int:
    """Print what went wrong and the fix; give the exit code."""
    console = stderr()
    text = str(fault)
    if isinstance(fault, OSError):
        # What the system refuses: a folder that cannot be written, a full disk.
        text = f"{fault.strerror or fault}: {fault.filename or 'no file named'}"
    if text.startswith("error:"):
        # A configuration's problems come as a listing of their own.
        console.print(Text(text))
        return USAGE
    console.print(f"[bold red]error:[/] {escape(text)}")
    fix, exit_code = _mend(fault)
    if fix:
        console.print(f"[bold]fix:[/] {escape(fix)}")
    return exit_code


def _mend(fault: IsoswitchError | OSError) -> tuple[str, int]:
    """Give what mends a fault, empty when its text says so, and the exit code."""
    if isinstance(fault, Failure):
        return fault.fix, fault.exit_code
    known = (MENDS[kind] for kind in type(fault).__mro__ if kind in MENDS)
    return next(known, ("", FAILED))


def plain_table(*columns: str, title: str = "") -> Table:
    """Make an empty table in the house style."""
    table = Table(box=None, pad_edge=False, title=title or None, title_justify="left")
    for column in columns:
        table.add_column(column, header_style="dim", overflow="fold")
    return table
