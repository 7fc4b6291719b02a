"""``isoswitch day``: the business days, what they come to, and ending one."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from isoswitch.commands.options import Config, Json, Operator, Yes

app = typer.Typer(
    name="day",
    no_args_is_help=True,
    help="Business days: what they come to, and ending the open one.",
)


@app.command("list")
def list_days(config: Config = None, *, as_json: Json = False) -> None:
    """List the business days and where they stand."""
    from isoswitch.commands import days

    sys.exit(days.list_days(config, as_json=as_json))


@app.command()
def show(
    date: Annotated[
        str, typer.Argument(help="A day as YYYY-MM-DD; the open one by default.")
    ] = "",
    config: Config = None,
    *,
    as_json: Json = False,
) -> None:
    """Show the totals of a day by endpoint and terminal, and who confirmed them."""
    from isoswitch.commands import days

    sys.exit(days.show(config, date, as_json=as_json))


@app.command()
def close(config: Config = None, operator: Operator = "", *, yes: Yes = False) -> None:
    """End the open day now; the next takes over at once, and no way leads back."""
    from isoswitch.commands import days

    sys.exit(days.close(config, operator=operator, yes=yes))
