"""Search the output of a whole test run for card numbers in clear.

``python -m tests.scan FILE`` ends with 1 and names them when it finds any.
"""

from __future__ import annotations

import sys
from pathlib import Path

from isoswitch.simulators.cards import CARDS
from isoswitch.simulators.leaks import card_secrets, find_clear


def main(path: Path) -> int:
    """Search one file."""
    leaks = find_clear(path.read_bytes(), {**card_secrets(CARDS.values())})
    for leak in leaks:
        sys.stderr.write(f"{path}: {leak}\n")
    return 1 if leaks else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
