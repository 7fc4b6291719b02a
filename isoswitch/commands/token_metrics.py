"""``isoswitch hsm metrics``: commands, outcomes and times of the crypto process."""

from __future__ import annotations

from pathlib import Path

import trio
import typer

from isoswitch.commands.running import run_trio
from isoswitch.config.load import load_network
from isoswitch.config.settings import hsmd_settings
from isoswitch.hsm.client import open_hsm
from isoswitch.hsm.metrics import merge
from isoswitch.hsm.port import ReadMetrics


def print_metrics(config: Path | None) -> None:
    """Ask every token's worker and print what they count, in one text.

    Raises
    ------
    HsmUnavailable
        One of them does not answer.
    """
    settings = hsmd_settings(load_network(config))
    texts: dict[str, str] = {}

    async def read(label: str, path: Path) -> None:
        async with open_hsm(path) as hsm:
            (text,) = await hsm.run(ReadMetrics())
        texts[label] = text.decode()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for token, path in zip(settings.tokens, settings.sockets, strict=True):
                nursery.start_soon(read, token.label, path)

    run_trio(main)
    labels = [token.label for token in settings.tokens]
    typer.echo(merge({label: texts[label] for label in labels}), nl=False)
