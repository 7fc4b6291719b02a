"""``isoswitch transfers``: what was sent and received over clearing houses."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from isoswitch.commands.options import Config, Json, Operator

app = typer.Typer(
    name="transfers",
    help="See instant transfers, and give a received one back.",
    no_args_is_help=True,
)


@app.command("list")
def list_transfers(
    config: Config = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also what is done.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show the transfers of which something is expected still: sent and received."""
    from isoswitch.commands import transfer_views as command

    sys.exit(command.list_transfers(config, everything=everything, as_json=as_json))


@app.command("return")
def give_back(
    transaction: Annotated[
        str, typer.Argument(help="A received transfer, as `list` names it.")
    ],
    reason: Annotated[
        str, typer.Option(help="Why: a return reason of ISO 20022, such as AC04.")
    ],
    config: Config = None,
    operator: Operator = "",
) -> None:
    """Take a received transfer from its customer, and send it back."""
    from isoswitch.commands import transfer_views as command

    sys.exit(command.give_back(config, transaction, reason=reason, operator=operator))
