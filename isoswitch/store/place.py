"""Where a store is: a SQLite file, or a database of a PostgreSQL server."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

SCHEMES = ("postgresql", "postgres")


class DatabaseUrl:
    """The address of a database; prints without the password that it may hold.

    Examples
    --------
    >>> DatabaseUrl("postgresql://switch:secret@db-a,db-b/isoswitch")
    DatabaseUrl('postgresql://db-a,db-b/isoswitch')
    """

    __slots__ = ("_url",)

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in SCHEMES or len(parts.path) < 2:
            # The text itself may hold a password.
            msg = "not the address of a database: write postgresql://host/database"
            raise ValueError(msg)
        self._url = url

    def reveal(self) -> str:
        """Give the address as it was written."""
        return self._url

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DatabaseUrl) and self._url == other._url

    def __hash__(self) -> int:
        return hash(self._url)

    def __str__(self) -> str:
        parts = urlsplit(self._url)
        return f"postgresql://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def __repr__(self) -> str:
        return f"DatabaseUrl({str(self)!r})"


Place = Path | DatabaseUrl
