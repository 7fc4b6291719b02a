"""Both stores against one contract, and the SQLite store against its disk."""
