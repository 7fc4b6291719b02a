"""What a reload leaves behind: the transactions and parts of earlier settings.

A shift is the time between two reloads. Whatever began in one is finished with its
services, while newer transactions are decided with newer ones already.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import trio

from isoswitch.switch.services import Services


@dataclass(slots=True, eq=False, kw_only=True)
class Shift:
    """Services, and how many transactions are being decided with them."""

    services: Services
    deciding_count: int = 0
    _empty: trio.lowlevel.ParkingLot = field(default_factory=trio.lowlevel.ParkingLot)

    def begin(self) -> None:
        """Count a transaction that begins."""
        self.deciding_count += 1

    def end(self) -> None:
        """Count a transaction that has ended."""
        self.deciding_count -= 1
        if not self.deciding_count:
            self._empty.unpark_all()

    async def wait_empty(self) -> None:
        """Wait until everything that began in it has ended."""
        while self.deciding_count:
            await self._empty.park()


class Running:
    """Something that runs in the switch's nursery and can be ended by itself."""

    def __init__(self) -> None:
        self._scope = trio.CancelScope()
        self._ended = trio.Event()

    async def run(
        self,
        main: Callable[..., Awaitable[None]],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Run it until it ends or is stopped; started when it says so."""
        try:
            with self._scope:
                await main(task_status=task_status)
        finally:
            self._ended.set()

    async def stop(self) -> None:
        """End it and wait until it has ended."""
        self._scope.cancel()
        await self._ended.wait()
