"""Exceptions out of nurseries, for callers that know nothing of nurseries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ungrouped() -> Iterator[None]:
    """Raise the one exception in a group of groups as itself.

    Examples
    --------
    >>> with ungrouped():
    ...     raise ExceptionGroup("", [ExceptionGroup("", [KeyError("k")])])
    Traceback (most recent call last):
    KeyError: 'k'
    """
    try:
        yield
    except BaseExceptionGroup as group:
        fault: BaseException = group
        while isinstance(fault, BaseExceptionGroup) and len(fault.exceptions) == 1:
            fault = fault.exceptions[0]
        raise fault from fault.__cause__
