"""The way from a terminal's initial key to the key of one transaction, remembered.

Both DUKPT standards derive a transaction key in one step for each bit that is set in
the counter, from the highest to the lowest::

    initial --> 1000 --> 1100 --> 1101      (counter 1101)
                          |
                          +-----> 1110      (the next counter shares two keys)

The path of the last transaction stays, so that the next one of the same terminal
mostly costs one step instead of ten.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")


class DerivationPath(Generic[K]):
    """The keys from one initial key to the last counter asked for.

    Parameters
    ----------
    initial
        The terminal's initial key.
    step
        Derives the key of a counter from that of the counter without its lowest bit.
    release
        Called with each key when it is no longer needed.
    """

    def __init__(
        self,
        initial: K,
        *,
        step: Callable[[K, int], K],
        release: Callable[[K], None],
    ) -> None:
        self._step = step
        self._release = release
        self._keys: list[tuple[int, K]] = [(0, initial)]

    def get_key(self, counter: int) -> K:
        """Give the key of a counter; it stays the path's own."""
        reached, key = self._keys[-1]
        # A key leads to the counters that begin with exactly its own bits.
        while reached != counter & -(reached & -reached):
            self._release(self._keys.pop()[1])
            reached, key = self._keys[-1]
        while reached != counter:
            reached |= 1 << ((counter ^ reached).bit_length() - 1)
            key = self._step(key, reached)
            self._keys.append((reached, key))
        return key

    def close(self) -> None:
        """Release every key of the path."""
        while self._keys:
            self._release(self._keys.pop()[1])


class PathCache(Generic[K]):
    """The paths of the terminals heard last, a limited number of them.

    Parameters
    ----------
    start
        Opens the path of a terminal by the identifier of its initial key.
    paths_max
        How many terminals are remembered; the one silent longest is forgotten.
    """

    def __init__(
        self, start: Callable[[bytes], DerivationPath[K]], *, paths_max: int
    ) -> None:
        self._start = start
        self._paths_max = paths_max
        self._paths: OrderedDict[bytes, DerivationPath[K]] = OrderedDict()

    def get_path(self, terminal: bytes) -> DerivationPath[K]:
        """Give a terminal's path, the remembered one or a new one."""
        path = self._paths.get(terminal)
        if path is None:
            path = self._paths[terminal] = self._start(terminal)
            if len(self._paths) > self._paths_max:
                self._paths.popitem(last=False)[1].close()
        self._paths.move_to_end(terminal)
        return path

    def close(self) -> None:
        """Release every key of every path."""
        while self._paths:
            self._paths.popitem()[1].close()
