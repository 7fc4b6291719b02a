"""Running an async program so that a fault comes out as one sentence."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from isoswitch.codecs.canonical.errors import IsoswitchError


def run_trio(main: Callable[[], Awaitable[None]]) -> None:
    """Run an async program; a fault of ours comes out of all nurseries as itself."""
    try:
        trio.run(main)
    except BaseExceptionGroup as group:
        fault = _first_fault(group)
        if fault is None:
            raise
        raise fault from None


def _first_fault(group: BaseExceptionGroup[BaseException]) -> IsoswitchError | None:
    for error in group.exceptions:
        if isinstance(error, IsoswitchError):
            return error
        if isinstance(error, BaseExceptionGroup):
            found = _first_fault(error)
            if found is not None:
                return found
    return None
