"""``isoswitch standin``: approvals in issuers' places, and cards that get none."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from isoswitch.commands.options import Config, Json

app = typer.Typer(
    name="standin",
    help="See what was approved in issuers' places; make a negative file.",
    invoke_without_command=True,
)


@app.callback()
def show(
    context: typer.Context,
    config: Config = None,
    cards: Annotated[int, typer.Option(min=0, help="At most so many cards.")] = 10,
    as_json: Json = False,
) -> None:
    """Show what was approved in issuers' places, and how much more may be."""
    if context.invoked_subcommand is not None:
        return
    from isoswitch.commands import exposure

    sys.exit(exposure.show_exposure(config, cards_max=cards, as_json=as_json))


@app.command("hash")
def hash_cards(
    config: Config = None,
    code: Annotated[
        str, typer.Option(help="What is said, such as lost_card.")
    ] = "restricted_card",
) -> None:
    """Turn card numbers, one a line, into lines of a negative file."""
    from isoswitch.commands import negative

    sys.exit(negative.print_hashes(config, code=code))
