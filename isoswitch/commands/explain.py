"""``isoswitch explain``: what a value means, for the codes that nobody remembers.

explain DE 22 051                 a field, by edition
explain DE 60 2200072700060 --dialect cup-pos
explain MTI 0421                a message type, digit by digit
explain TVR 8000048000            a chip value, by its short name or tag
explain 9F6E 23880000 --aid A0000000031010
explain TLV 9F2701809505...       chip data, object by object
explain SERVICE 201               a service code of a stripe
explain TRACK2 ";4761...=..."     a stripe
"""

from __future__ import annotations

from typing import Annotated

import typer


def explain(
    what: Annotated[
        str, typer.Argument(help="DE, MTI, TLV, SERVICE, TRACK2, TVR, 9F6E ...")
    ],
    words: Annotated[list[str], typer.Argument(help="The field number and the value.")],
    edition: Annotated[str, typer.Option(help="1987, 1993 or 2003, for DE.")] = "1987",
    dialect: Annotated[str, typer.Option(help="Whose fields and codes, for DE.")] = "",
    aid: Annotated[str, typer.Option(help="The card application, for its tags.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    unsafe: Annotated[
        bool, typer.Option("--unsafe", help="Show card data in clear.")
    ] = False,
) -> None:
    """Say in words what a field, a chip value or a stripe means.

    Such as: explain DE 22 051, explain TVR 8000048000, explain TLV 9F270180.
    """
    from isoswitch.commands import explanations

    question = explanations.Question(
        kind=what.upper(),
        words=tuple(words),
        edition=edition,
        dialect=dialect,
        aid=aid,
        unsafe=unsafe,
    )
    explanations.explain(question, as_json=as_json)
