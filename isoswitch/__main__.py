"""``python -m isoswitch``: the command line."""

from __future__ import annotations

from isoswitch.cli import main

if __name__ == "__main__":
    main()
