"""``isoswitch schemas``: the published schemas of ISO 20022, built or imported."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from isoswitch.commands.options import Json

app = typer.Typer(
    name="schemas",
    help="Build or import the published schemas of ISO 20022 messages.",
    no_args_is_help=True,
)

Directory = Annotated[Path, typer.Option("--to", help="Where the schemas lie.")]
HERE = Path("var/schemas")


@app.command()
def build(
    messages: Annotated[
        list[str] | None,
        typer.Argument(
            help="Such as pacs.008 or cain.001.001.04; else all that are understood."
        ),
    ] = None,
    directory: Directory = HERE,
    as_json: Json = False,
) -> None:
    """Build schemas from the packages pyiso20022 and python-iso20022."""
    from isoswitch.commands import schema_files

    sys.exit(schema_files.build(directory, messages or [], as_json=as_json))


@app.command("import")
def import_schemas(
    archive: Annotated[Path, typer.Argument(help="The ZIP of www.iso20022.org.")],
    directory: Directory = HERE,
    as_json: Json = False,
) -> None:
    """Take the schemas of an official download, and tell what was mended in them."""
    from isoswitch.commands import schema_files

    sys.exit(schema_files.import_archive(directory, archive, as_json=as_json))


@app.command("list")
def list_schemas(directory: Directory = HERE, as_json: Json = False) -> None:
    """List the messages with a schema: our profile, a published one, its origin."""
    from isoswitch.commands import schema_files

    sys.exit(schema_files.list_schemas(directory, as_json=as_json))
