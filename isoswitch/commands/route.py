"""``isoswitch route``: why a card goes where it goes, and what a change would do."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from isoswitch.commands.options import Config, Json

app = typer.Typer(
    name="route",
    help="Explain where a card goes, and try a change on a day that was.",
    no_args_is_help=True,
)


@app.command()
def explain(
    bin_digits: Annotated[
        str,
        typer.Option(
            "--bin", help="6 to 11 leading digits; never a whole number.", metavar="BIN"
        ),
    ] = "",
    card: Annotated[str, typer.Option(help="A test card by name.")] = "",
    kind: Annotated[str, typer.Option(help="Such as cash_withdrawal.")] = "purchase",
    amount: Annotated[str, typer.Option(help="Major units, such as 12.50.")] = "12.50",
    currency: Annotated[str, typer.Option(help="ISO 4217 numeric.")] = "",
    mcc: Annotated[str, typer.Option(help="What the merchant sells (DE 18).")] = "",
    merchant: Annotated[str, typer.Option(help="The card acceptor (DE 42).")] = "",
    country: Annotated[str, typer.Option(help="The merchant's, ISO 3166.")] = "",
    entry_mode: Annotated[str, typer.Option(help="Such as chip, stripe.")] = "chip",
    at: Annotated[str, typer.Option(help="UTC, such as 22:30.")] = "12:00",
    down: Annotated[
        list[str] | None,
        typer.Option(help="An endpoint taken to be down.", show_default=False),
    ] = None,
    transaction: Annotated[
        str, typer.Option(help="The id that weights are drawn for.")
    ] = "1-1",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Tell step by step where a transaction would go; a BIN is enough of a card."""
    from isoswitch.commands import routes

    wish = routes.Wish(
        bin_digits=bin_digits,
        card=card,
        kind=kind,
        amount=amount,
        currency=currency,
        mcc=mcc,
        merchant=merchant,
        country=country,
        entry_mode=entry_mode,
        at=at,
        down=tuple(down or ()),
        transaction=transaction,
    )
    sys.exit(routes.explain(config, wish, as_json=as_json))


@app.command()
def replay(
    day: Annotated[str, typer.Argument(help="A business day, such as 2026-01-31.")],
    changed: Annotated[
        Path, typer.Option("--with", help="The configuration to try.", metavar="CONFIG")
    ],
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Decide the routes of a day again, and show what another configuration changes."""
    from isoswitch.commands import routes

    sys.exit(routes.replay_day(config, day, changed, as_json=as_json))
