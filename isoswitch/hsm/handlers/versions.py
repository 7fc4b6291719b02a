"""Trying the versions of a key, as a partner may use the one before or after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from isoswitch.codecs.canonical.errors import VerificationFailed

K = TypeVar("K")
R = TypeVar("R")


def try_each(keys: Sequence[K], attempt: Callable[[K], R]) -> R:
    """Give what the first key makes that verifies; the active one comes first.

    Raises
    ------
    VerificationFailed
        With none of them; what the last one raised.
    """
    for key in keys[:-1]:
        try:
            return attempt(key)
        except VerificationFailed:
            continue
    return attempt(keys[-1])
