"""``isoswitch dialect``: the layouts of messages, ours and your own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from isoswitch.commands.options import Json

app = typer.Typer(
    name="dialect",
    help="Show, check and import layouts of messages.",
    no_args_is_help=True,
)


@app.command("list")
def list_dialects(as_json: Json = False) -> None:
    """List the dialects, framings and headers that are known."""
    from isoswitch.commands import dialects

    sys.exit(dialects.list_dialects(as_json=as_json))


@app.command()
def show(
    dialect: Annotated[str, typer.Argument(help="A name, or a TOML file.")],
    as_json: Json = False,
) -> None:
    """Show every field of a dialect: format, encodings, how it is masked."""
    from isoswitch.commands import dialects

    sys.exit(dialects.show(dialect, as_json=as_json))


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="Your dialect, a TOML file.")],
    sample: Annotated[
        str, typer.Option(help="A message of yours to read with it.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Tell whether a dialect of your own holds, and what to change where not."""
    from isoswitch.commands import dialects

    sys.exit(dialects.check(file, sample=sample, as_json=as_json))


@app.command("import")
def import_dialect(
    file: Annotated[
        Path,
        typer.Argument(
            help="A jPOS generic packager (XML), or a pyiso8583 specification "
            "(JSON, or Python with the dictionary written out)."
        ),
    ],
    name: Annotated[str, typer.Option(help="The new name; else the file's.")] = "",
    edition: Annotated[str, typer.Option(help="1987, 1993 or 2003.")] = "1987",
    variable: Annotated[
        str, typer.Option(help="Which dictionary, where a Python file has some.")
    ] = "",
) -> None:
    """Print another program's layout as a dialect; write it to a file, then check."""
    from isoswitch.commands import dialects

    sys.exit(
        dialects.import_dialect(file, name=name, edition=edition, variable=variable)
    )
