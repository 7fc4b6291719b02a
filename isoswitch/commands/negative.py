"""``isoswitch standin hash``: lines of a negative file, without its card numbers."""

from __future__ import annotations

import sys
from pathlib import Path

from isoswitch.codecs.canonical.codes import ResponseCode
from isoswitch.codecs.canonical.secrets import Pan
from isoswitch.commands.console import OK, USAGE, Failure, one_of
from isoswitch.commands.crypto import open_crypto
from isoswitch.commands.running import run_trio
from isoswitch.config.load import load_network
from isoswitch.config.settings import switch_settings
from isoswitch.hsm.port import HashData

BATCH = 500
REFUSALS = tuple(code.value for code in ResponseCode if not code.is_approval)


def print_hashes(config: Path | None, *, code: str) -> int:
    """Print a line for each card number on standard input; needs the crypto process."""
    one_of(code, REFUSALS, "refusal")
    loaded = load_network(config)
    key = switch_settings(loaded).pan_hash_key
    numbers = [line.strip() for line in sys.stdin if line.strip()]
    pans = [_pan(number, place) for place, number in enumerate(numbers, start=1)]

    async def main() -> None:
        async with open_crypto(loaded) as hsm:
            for start in range(0, len(pans), BATCH):
                hashes = await hsm.run(
                    *(
                        HashData(key=key, data=pan.reveal().encode())
                        for pan in pans[start : start + BATCH]
                    )
                )
                for each in hashes:
                    sys.stdout.write(f"{each.hex()},{code}\n")

    run_trio(main)
    return OK


def _pan(text: str, place: int) -> Pan:
    try:
        return Pan(text)
    except ValueError:
        msg = f"line {place} is no card number"
        raise Failure(msg, fix="one number on each line", exit_code=USAGE) from None
