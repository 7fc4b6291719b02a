"""Where a store is: a SQLite file, or a database of a PostgreSQL server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from isoswitch.codecs.canonical.errors import StoreUnavailable

SCHEMES = ("postgresql", "postgres")
# A password with such a character as it is would end in the middle of itself, and
# programs that then complain quote the rest of it.
_MISUNDERSTOOD = re.compile(r"@.*@|/.*@|%(?![0-9A-Fa-f]{2})")


class DatabaseUrl:
    """The address of a database; prints without the password that it may hold.

    Examples
    --------
    >>> DatabaseUrl("postgresql://switch:secret@db-a,db-b/isoswitch")
    DatabaseUrl('postgresql://db-a,db-b/isoswitch')
    """

    __slots__ = ("_shown", "_url")

    def __init__(self, url: str) -> None:
        """Take an address; a ValueError about it says nothing of what it holds."""
        scheme, _, rest = url.partition("://")
        try:
            parts = urlsplit(url)
        except ValueError:
            parts = urlsplit("")
        if scheme not in SCHEMES or len(parts.path) < 2 or _MISUNDERSTOOD.search(rest):
            msg = (
                "not the address of a database: write postgresql://host/database, "
                "and %40, %2F, %25 for @, / and % in a password"
            )
            raise ValueError(msg)
        self._url = url
        self._shown = f"postgresql://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def reveal(self) -> str:
        """Give the address as it was written."""
        return self._url

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DatabaseUrl) and self._url == other._url

    def __hash__(self) -> int:
        return hash(self._url)

    def __str__(self) -> str:
        return self._shown

    def __repr__(self) -> str:
        return f"DatabaseUrl({str(self)!r})"


Place = Path | DatabaseUrl


@contextmanager
def needing_extra(url: DatabaseUrl) -> Iterator[None]:
    """Say what a database needs that a switch of one process does without.

    Raises
    ------
    StoreUnavailable
        What the block imports is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as exc:
        msg = f"{url} needs {exc.name}: pip install 'isoswitch[postgres]'"
        raise StoreUnavailable(msg) from None
