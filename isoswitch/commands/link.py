"""``isoswitch link``: what an operator orders one link of the running switch to do."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from isoswitch.commands.options import Config, Json, Operator

app = typer.Typer(
    name="link",
    help="Suspend and resume a link of the running switch.",
    no_args_is_help=True,
)

Endpoint = Annotated[str, typer.Argument(help="The endpoint, such as north.")]


@app.command()
def suspend(endpoint: Endpoint, config: Config = None, operator: Operator = "") -> None:
    """Send no new money and nothing stored; echoes go on, also after a restart."""
    _order(config, endpoint, "suspend", operator)


@app.command()
def resume(endpoint: Endpoint, config: Config = None, operator: Operator = "") -> None:
    """Lift a suspension."""
    _order(config, endpoint, "resume", operator)


@app.command("sign-off")
def sign_off(
    endpoint: Endpoint, config: Config = None, operator: Operator = ""
) -> None:
    """Finish what is in flight, then tell the endpoint that no more comes."""
    _order(config, endpoint, "sign-off", operator)


@app.command("sign-on")
def sign_on(endpoint: Endpoint, config: Config = None, operator: Operator = "") -> None:
    """Sign on again after a sign-off, ours or the endpoint's."""
    _order(config, endpoint, "sign-on", operator)


def links(config: Config = None, as_json: Json = False) -> None:
    """Show every link: its state, connections, echoes, and what went wrong on it."""
    from isoswitch.commands import links as command

    sys.exit(command.links(config, as_json=as_json))


def _order(config: Path | None, endpoint: str, act: str, operator: str) -> None:
    from isoswitch.commands import links as command

    sys.exit(command.order(config, endpoint, act, operator=operator))
