"""``isoswitch hsm``: what the tokens can do, do right, and have done."""

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


@app.command()
def metrics(config: Config = None) -> None:
    """Print what every token was asked since its process started, for Prometheus."""
    from isoswitch.commands.token_metrics import print_metrics

    print_metrics(config)
