"""``isoswitch serve --workers``: several switch processes under one parent.

SIGTERM, SIGINT   all workers finish what they have in flight, then the parent ends
SIGHUP            every worker reads its configuration again
SIGUSR1           rolling restart: one worker after the other is drained and started
a worker ends     it is started again; meanwhile the others reverse what it left

A stop waits for nothing; the others wait until the one before is carried out. A rolling
restart leaves the workers alone that are still to come when one does not get ready.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import trio

from isoswitch.codecs.canonical.errors import IsoswitchError
from isoswitch.commands.console import Failure
from isoswitch.commands.processes import Child, answers, own_command
from isoswitch.config.load import LoadedNetwork, load_network
from isoswitch.config.portal import portal_settings
from isoswitch.config.running import configuration_of
from isoswitch.config.workers import paths_of_workers, worker_path
from isoswitch.store.place import DatabaseUrl
from isoswitch.switch.control import ReadStatus, control_path, send_order
from isoswitch.switch.status import Status

STOPS = (signal.SIGTERM, signal.SIGINT)
ORDERS = (signal.SIGHUP, signal.SIGUSR1)
RESTART_PAUSE_S = 1.0
READY_S = 30.0
POLL_S = 0.1


async def run_workers(loaded: LoadedNetwork, count: int) -> None:
    """Look after workers until SIGTERM or SIGINT, then let them finish."""
    workers = [Worker(loaded.path, number) for number in range(1, count + 1)]
    # An order that still waits at the end is raised again, and would kill this process.
    for order in ORDERS:
        signal.signal(order, signal.SIG_IGN)
    with (
        trio.open_signal_receiver(*STOPS) as stops,
        trio.open_signal_receiver(*ORDERS) as orders,
    ):
        await _clear_sockets(loaded)
        async with trio.open_nursery() as nursery:
            for worker in workers:
                nursery.start_soon(worker.run)
            async with trio.open_nursery() as ordered:
                ordered.start_soon(_carry_out, orders, loaded.path, workers)
                await anext(stops)
                ordered.cancel_scope.cancel()
            for worker in workers:
                worker.finish()


def check_shared(loaded: LoadedNetwork) -> None:
    """Find out before anything starts whether workers can share the store.

    Raises
    ------
    Failure
        They cannot.
    """
    if not isinstance(loaded.store, DatabaseUrl):
        raise Failure(
            "several workers need a store that they can share, and SQLite serves one",
            fix='set [store] url = "postgresql://...", or ISOSWITCH_STORE_URL',
        )


class Worker:
    """One worker, started again whenever it ends before it should."""

    def __init__(self, config: Path, number: int) -> None:
        self._command = own_command(
            "serve", "--config", str(config), "--worker", str(number)
        )
        self._number = number
        self._child: Child | None = None
        self._started = trio.Event()
        self._is_finishing = False
        self._is_told_to_end = False

    async def run(self) -> None:
        """Keep it running until it is told to finish."""
        while not self._is_finishing:
            self._is_told_to_end = False
            child = self._child = Child(self._command, sys.stdout.buffer)
            self._started.set()
            await child.wait()
            if self._is_finishing or self._is_told_to_end:
                continue
            self._tell(f"ended ({child.exit_text}); it is started again")
            await trio.sleep(RESTART_PAUSE_S)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        if self._child is not None:
            self._child.send(number)

    def finish(self) -> None:
        """Have it finish what is in flight, and not come back."""
        self._is_finishing = True
        self._end()

    async def restart(self, control: Path) -> bool:
        """Have it finish and start it anew; gives whether it takes money then.

        ``control`` is the socket of a switch that is alone.
        """
        self._tell("finishes what it has in flight, and is started anew")
        self._started = trio.Event()
        self._end()
        # It bounds by itself how long it finishes.
        await self._started.wait()
        assert self._child is not None, "it has just been started"
        trouble = await self._trouble(self._child, worker_path(control, self._number))
        if trouble:
            self._tell(f"does not get ready: {trouble}")
        return not trouble

    def _end(self) -> None:
        # Told twice, it would end before it has tidied up.
        if not self._is_told_to_end:
            self._is_told_to_end = True
            self.send(signal.SIGTERM)

    async def _trouble(self, child: Child, control: Path) -> str:
        """Wait until a worker takes money; gives what keeps it from that, else ""."""
        trouble = ""
        with trio.move_on_after(READY_S):
            while not child.has_ended:
                try:
                    order = ReadStatus(operator="workers")
                    status: Status = await send_order(control, order, Status)
                except IsoswitchError as error:
                    trouble = str(error)
                else:
                    if status.is_ready:
                        return ""
                    trouble = "; ".join(status.problems)
                await trio.sleep(POLL_S)
            return f"it ended ({child.exit_text})"
        return f"{trouble}, after {READY_S:g} s"

    def _tell(self, what: str) -> None:
        _tell(f"worker {self._number} {what}")


async def _carry_out(
    orders: AsyncIterator[int], config: Path, workers: Sequence[Worker]
) -> None:
    async for number in orders:
        if number == signal.SIGHUP:
            for worker in workers:
                worker.send(signal.SIGHUP)
        else:
            await _restart_all(config, workers)


async def _restart_all(config: Path, workers: Sequence[Worker]) -> None:
    """Restart one worker after the other, as long as each gets ready."""
    try:
        loaded = load_network(config)
        check_shared(loaded)
        configuration_of(loaded)
        portal_settings(loaded)
    except (IsoswitchError, OSError) as error:
        _tell(f"no worker is restarted: {error}\nmend it, then send SIGUSR1 again")
        return
    control = control_path(loaded.file(loaded.network.store.path))
    for worker in workers:
        if not await worker.restart(control):
            _tell(
                "the rolling restart ends here, and later workers run on as they are; "
                "mend what is said above, then send SIGUSR1 again"
            )
            return


async def _clear_sockets(loaded: LoadedNetwork) -> None:
    """Remove what more workers than there are now left when they were killed."""
    control = control_path(loaded.file(loaded.network.store.path))
    for path in paths_of_workers(control).values():
        if not await answers(path):
            path.unlink(missing_ok=True)


def _tell(what: str) -> None:
    print(what, file=sys.stderr, flush=True)
