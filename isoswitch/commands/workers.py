"""``isoswitch serve --workers``: several switch processes under one parent.

SIGTERM, SIGINT   all workers finish what they have in flight, then the parent ends
SIGHUP            every worker reads its configuration again
SIGUSR1           rolling restart: one worker after the other is drained and started
a worker ends     it is started again; meanwhile the others reverse what it left
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import trio

from isoswitch.codecs.canonical.errors import IsoswitchError
from isoswitch.commands.processes import Child, own_command
from isoswitch.config.load import LoadedNetwork
from isoswitch.config.workers import worker_path
from isoswitch.switch.control import ReadStatus, control_path, send_order
from isoswitch.switch.status import Status

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
RESTART_PAUSE_S = 1.0
READY_S = 30.0
POLL_S = 0.1


async def run_workers(loaded: LoadedNetwork, count: int) -> None:
    """Look after workers until SIGTERM or SIGINT, then let them finish."""
    workers = [Worker(loaded, number) for number in range(1, count + 1)]
    with trio.open_signal_receiver(*SIGNALS) as signals:
        async with trio.open_nursery() as nursery:
            for worker in workers:
                nursery.start_soon(worker.run)
            async for number in signals:
                if number == signal.SIGHUP:
                    for worker in workers:
                        worker.send(signal.SIGHUP)
                elif number == signal.SIGUSR1:
                    for worker in workers:
                        await worker.restart()
                else:
                    break
            for worker in workers:
                worker.finish()


class Worker:
    """One worker, started again whenever it ends before it should."""

    def __init__(self, loaded: LoadedNetwork, number: int) -> None:
        self._command = own_command(
            "serve",
            *("--config", str(loaded.path)),
            *("--worker", str(number)),
        )
        self._control: Path = worker_path(
            control_path(loaded.file(loaded.network.store.path)), number
        )
        self._number = number
        self._child: Child | None = None
        self._is_finishing = False
        self._is_expected = False

    async def run(self) -> None:
        """Keep it running until it is told to finish."""
        while not self._is_finishing:
            child = self._child = Child(self._command, sys.stdout.buffer)
            await child.wait()
            if self._is_finishing or self._is_expected:
                self._is_expected = False
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
        self.send(signal.SIGTERM)

    async def restart(self) -> None:
        """Have it finish, start it anew, and wait until it takes money again."""
        before = self._child
        self._is_expected = True
        self.send(signal.SIGTERM)
        with trio.move_on_after(READY_S):
            while True:
                if self._child is not before and await self._is_ready():
                    return
                await trio.sleep(POLL_S)
        self._tell(f"did not get ready in {READY_S:g} s")

    async def _is_ready(self) -> bool:
        order = ReadStatus(operator="workers")
        try:
            found: Status = await send_order(self._control, order, Status)
        except IsoswitchError:
            # Not there yet; who waits has a deadline.
            return False
        return found.is_ready

    def _tell(self, what: str) -> None:
        print(f"worker {self._number} {what}", file=sys.stderr, flush=True)
