"""Options that several commands take, so that they are called and explained alike."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        envvar="ISOSWITCH_CONFIG",
        help="Network configuration; else network.toml here, else the packaged one.",
        show_default=False,
    ),
]
Operator = Annotated[
    str, typer.Option(help="Who does it; else the user.", show_default=False)
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object per line.")]
