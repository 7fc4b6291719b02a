"""``isoswitch decode``, ``encode`` and ``diff``: messages as they are on the wire."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from isoswitch.commands.options import Json

Framing = Annotated[
    str | None,
    typer.Option(help="bin2, ascii4 ... or none.", show_default="found out"),
]
Header = Annotated[
    str | None,
    typer.Option(help="tpdu, cup-pos, fixed:12 ... or none.", show_default="found out"),
]
Dialect = Annotated[
    str | None,
    typer.Option(
        help="A name of `isoswitch dialect list`, or a TOML file of your own.",
        show_default="found out",
    ),
]
Unsafe = Annotated[
    bool, typer.Option("--unsafe", help="Show card data in clear; nothing is masked.")
]
Verbose = Annotated[
    bool, typer.Option("-v", "--verbose", help="Show the bytes too, secrets hidden.")
]
MESSAGE = "Hexadecimal, a file (bytes, hexadecimal, pcap, pcapng), or - for a pipe."


def decode(
    message: Annotated[str, typer.Argument(help=MESSAGE)],
    framing: Framing = None,
    header: Header = None,
    dialect: Dialect = None,
    verbose: Verbose = False,
    as_json: Json = False,
    unsafe: Unsafe = False,
) -> None:
    """Say what messages mean, field by field; find out how they were sent.

    Framing, header and dialect are guessed, and how sure the guess is is said.
    """
    from isoswitch.commands import decode as command
    from isoswitch.commands.dialects import known_from

    output = command.Output(as_json=as_json, unsafe=unsafe, with_bytes=verbose)
    known = known_from(framing, header, dialect)
    sys.exit(command.decode(message, known, output))


def encode(
    message: Annotated[
        str, typer.Argument(help="A JSON object, a file with one, or - for a pipe.")
    ],
    dialect: Annotated[
        str | None, typer.Option(help="Instead of that in the JSON.")
    ] = None,
    framing: Annotated[
        str | None, typer.Option(help="Instead of that in the JSON.")
    ] = None,
    is_binary: Annotated[
        bool, typer.Option("--binary", help="Write bytes instead of hexadecimal.")
    ] = False,
) -> None:
    """Make the bytes of a message from JSON, such as `decode --json --unsafe` prints.

    {"dialect": "iso87-ascii", "mti": "0800", "fields": {"11": "000001", "70": "301"}}
    """
    from isoswitch.commands import encode as command

    sys.exit(
        command.encode(message, dialect=dialect, framing=framing, is_binary=is_binary)
    )


def diff(
    left: Annotated[str, typer.Argument(help=MESSAGE)],
    right: Annotated[str, typer.Argument(help="The same of the other message.")],
    framing: Framing = None,
    header: Header = None,
    dialect: Dialect = None,
    as_json: Json = False,
    unsafe: Unsafe = False,
) -> None:
    """Show the fields in which two messages differ, also across dialects.

    Exits with 0 where no field differs, else with 1.
    """
    from isoswitch.commands import diff as command
    from isoswitch.commands.dialects import known_from

    known = known_from(framing, header, dialect)
    sys.exit(command.diff(left, right, known, as_json=as_json, unsafe=unsafe))
