"""``isoswitch saf`` and ``isoswitch exceptions``: what they take."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from isoswitch.commands.options import Config, Json, Operator

saf_app = typer.Typer(
    name="saf", help="What is owed to endpoints.", no_args_is_help=True
)
exceptions_app = typer.Typer(
    name="exceptions", help="What waits for an operator.", no_args_is_help=True
)

Everything = Annotated[bool, typer.Option("--all", help="Also what is done.")]
Entry = Annotated[int, typer.Argument(help="Its number in `saf list`.", min=1)]
Seq = Annotated[int, typer.Argument(help="Its number in `exceptions list`.", min=1)]


@saf_app.command("list")
def list_saf(
    config: Config = None, *, everything: Everything = False, as_json: Json = False
) -> None:
    """Show what waits to be delivered and what was set aside: age, amount, attempts."""
    from isoswitch.commands import owed

    sys.exit(owed.list_saf(config, everything=everything, as_json=as_json))


@saf_app.command()
def retry(entry: Entry, config: Config = None, operator: Operator = "") -> None:
    """Send an entry now, also one that was set aside."""
    from isoswitch.commands import owed

    sys.exit(owed.retry(config, entry, operator=operator))


@saf_app.command()
def park(
    entry: Entry,
    reason: Annotated[str, typer.Option(help="Why it is set aside.")],
    config: Config = None,
    operator: Operator = "",
) -> None:
    """Set an entry aside, so that what waits behind it goes on."""
    from isoswitch.commands import owed

    sys.exit(owed.park(config, entry, reason=reason, operator=operator))


@exceptions_app.command("list")
def list_exceptions(
    config: Config = None, *, everything: Everything = False, as_json: Json = False
) -> None:
    """Show what nobody has resolved yet."""
    from isoswitch.commands import owed

    sys.exit(owed.list_exceptions(config, everything=everything, as_json=as_json))


@exceptions_app.command()
def resolve(
    exception: Seq,
    note: Annotated[str, typer.Option(help="What was done about it.")],
    config: Config = None,
    operator: Operator = "",
) -> None:
    """Write down that an exception was dealt with."""
    from isoswitch.commands import owed

    sys.exit(owed.resolve(config, exception, note=note, operator=operator))
