"""Units of work in groups: tasks that sleep, and the one thread that works for them.

A batch is whatever was handed over while the last one was committed, so the group
grows with the load and an idle store commits at once; there is no timer.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from queue import Empty, SimpleQueue

import trio

from isoswitch.store.port import Committed, UnitOfWork

BATCH_MAX = 400


class Waiter:
    """A task that sleeps until its unit of work is durable or refused."""

    __slots__ = ("encoded", "result", "task", "unit")

    def __init__(
        self, task: trio.lowlevel.Task, unit: UnitOfWork, encoded: list[bytes]
    ) -> None:
        self.task = task
        self.unit = unit
        self.encoded = encoded
        self.result: Committed | Exception | None = None


class BatchWriter(ABC):
    """A thread that takes what waits, makes it durable, and delivers it.

    Parameters
    ----------
    deliver
        Called in the writer's thread with a batch whose results are all set.
    on_fatal
        Called in the writer's thread when the store can no longer be trusted. The
        writer stops when it returns.
    """

    def __init__(
        self,
        *,
        deliver: Callable[[list[Waiter]], None],
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        self._deliver = deliver
        self._on_fatal = on_fatal
        self._queue: SimpleQueue[Waiter | None] = SimpleQueue()
        # Why nothing can be stored for the time being; empty while it can.
        self.away = ""
        self.thread = threading.Thread(target=self._run, name="store", daemon=True)

    @abstractmethod
    def commit(self, batch: list[Waiter]) -> None:
        """Make a batch durable and set the result of every waiter."""

    @abstractmethod
    def after_delivery(self) -> None:
        """Do what nobody should wait for."""

    @abstractmethod
    def close(self) -> None:
        """Let go of what the thread works with."""

    def put(self, waiter: Waiter) -> None:
        """Hand over a unit of work."""
        self._queue.put(waiter)

    def stop(self) -> None:
        """Let the thread end after what was handed over so far."""
        self._queue.put(None)

    def _run(self) -> None:
        try:
            while batch := self._take():
                self.commit(batch)
                self._deliver(batch)
                self.after_delivery()
            self.close()
        except trio.RunFinishedError:
            # Nobody is left to be told; what was committed is found at the next start.
            return
        except BaseException as exc:  # noqa: BLE001 (whatever it is, it ends here)
            self._on_fatal(exc)

    def _take(self) -> list[Waiter]:
        """Wait for work and take all of it, up to the limit; nothing means stop."""
        waiter = self._queue.get()
        batch: list[Waiter] = []
        while waiter is not None:
            batch.append(waiter)
            if len(batch) == BATCH_MAX:
                return batch
            try:
                waiter = self._queue.get_nowait()
            except Empty:
                return batch
        if batch:
            self.stop()
        return batch
