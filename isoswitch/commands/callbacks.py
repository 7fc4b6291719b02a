"""``isoswitch callbacks``: results that merchants must hear, and whether they did."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from isoswitch.commands.options import Config, Json, Operator

app = typer.Typer(
    name="callbacks",
    help="See what merchants are called back with, and send it again.",
    no_args_is_help=True,
)

CallbackId = Annotated[str, typer.Argument(help="A callback's id, as `list` has it.")]


@app.command("list")
def list_callbacks(
    config: Config = None,
    state: Annotated[
        str, typer.Option(help="Only pending, delivered or given_up ones.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Show the callbacks: to whom, how often tried, what went wrong."""
    from isoswitch.commands import callback_views as command

    sys.exit(command.list_callbacks(config, state=state, as_json=as_json))


@app.command()
def show(callback: CallbackId, config: Config = None) -> None:
    """Show one callback with what it says."""
    from isoswitch.commands import callback_views as command

    sys.exit(command.show(config, callback))


@app.command()
def replay(
    callback: CallbackId, config: Config = None, operator: Operator = ""
) -> None:
    """Have the running switch send a callback again, also one that was delivered."""
    from isoswitch.commands import callback_views as command

    sys.exit(command.replay(config, callback, operator=operator))
