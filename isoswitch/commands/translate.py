"""``isoswitch translate``: a card message of one standard in the other."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from isoswitch.commands.options import Json
from isoswitch.commands.wire import MESSAGE, Dialect, Framing, Header, Unsafe


def translate(
    message: Annotated[str, typer.Argument(help=MESSAGE + " XML too.")],
    to: Annotated[
        str,
        typer.Option(
            "--to", help="cain.001, caaa.001 ... or a dialect such as iso87-ascii."
        ),
    ],
    report: Annotated[
        bool, typer.Option("--report", help="List what the other cannot carry.")
    ] = False,
    currency: Annotated[
        str, typer.Option(help="ISO 4217 number of amounts that name none.")
    ] = "978",
    framing: Framing = None,
    header: Header = None,
    dialect: Dialect = None,
    as_json: Json = False,
    unsafe: Unsafe = False,
) -> None:
    """Say a card message of ISO 8583 in ISO 20022, or the other way round.

    Card data is masked; `--unsafe` gives the message as it would be sent.
    """
    from isoswitch.commands import translation
    from isoswitch.commands.dialects import known_from

    wish = translation.Wish(
        to=to, currency=currency, report=report, as_json=as_json, unsafe=unsafe
    )
    known = known_from(framing, header, dialect)
    sys.exit(translation.translate(message, known, wish))
