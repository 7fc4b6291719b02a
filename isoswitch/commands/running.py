"""Running an async program so that a fault comes out as one sentence."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from isoswitch.codecs.canonical.errors import IsoswitchError


def run_trio(main: Callable[[], Awaitable[None]]) -> None:
    """Run an async program; what people can mend comes out of nurseries as itself."""
    try:
        trio.run(main)
    except BaseExceptionGroup as group:
        for kind in (KeyboardInterrupt, IsoswitchError, OSError):
            found = _first(group, kind)
            if found is not None:
                raise found from None
        raise


def _first(
    group: BaseExceptionGroup[BaseException], kind: type[BaseException]
) -> BaseException | None:
    matching: BaseException | None = group.subgroup(kind)
    while isinstance(matching, BaseExceptionGroup):
        matching = matching.exceptions[0]
    return matching
