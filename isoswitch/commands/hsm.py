"""``isoswitch hsm``: what the tokens can do, and whether they compute right."""

from __future__ import annotations

import sys

import typer

from isoswitch.commands.options import Config, Json

app = typer.Typer(name="hsm", help="Examine the tokens.", no_args_is_help=True)


@app.callback()
def hsm() -> None:
    """Examine the tokens."""


@app.command()
def selftest(config: Config = None, as_json: Json = False) -> None:
    """Run all published vectors on every token; say what stays in it, what does not."""
    from isoswitch.commands.selftest import selftest as command

    sys.exit(command(config, as_json=as_json))
