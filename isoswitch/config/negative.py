"""The negative file: cards that get nothing where the switch stands in.

    hash,code
    5f0c...e1,lost_card
    9a77...03

The keyed hash of a card number, as `isoswitch standin hash` makes it, and what is
said; without a code that is ``restricted_card``. Lines with # are comments.
"""

from __future__ import annotations

import re
from pathlib import Path

from isoswitch.codecs.canonical.codes import ResponseCode
from isoswitch.codecs.canonical.errors import ConfigError

HASH = re.compile(r"[0-9a-f]{64}")
HEADER = "hash,code"
PROBLEMS_MAX = 10


def read_negative(path: Path) -> dict[str, ResponseCode]:
    """Read a negative file as a whole.

    Raises
    ------
    ConfigError
        It cannot be read, or has lines that are none; names at most ten of them.
    """
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as fault:
        reason = fault.strerror if isinstance(fault, OSError) else "it is not ASCII"
        msg = f"cannot read the negative file {path}: {reason}"
        raise ConfigError(msg) from None
    found: dict[str, ResponseCode] = {}
    wrong: list[str] = []
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip()
        if not text or text == HEADER:
            continue
        name, _, code = (part.strip() for part in text.partition(","))
        try:
            found[name] = ResponseCode(code or ResponseCode.RESTRICTED_CARD)
        except ValueError:
            wrong.append(f"line {number}: no response code")
            continue
        if not HASH.fullmatch(name):
            wrong.append(f"line {number}: no hash; `isoswitch standin hash` makes them")
        elif found[name].is_approval:
            wrong.append(f"line {number}: the code approves")
    if wrong:
        msg = f"{path}: {'; '.join(wrong[:PROBLEMS_MAX])}"
        raise ConfigError(msg)
    return found
