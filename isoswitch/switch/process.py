"""A switch as a process: store, crypto client and host, until a signal ends it."""

from __future__ import annotations

import gc
import random
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import structlog
import trio

from isoswitch.hsm.port import Hsm
from isoswitch.routing.table import RoutingTable
from isoswitch.store.sqlite import open_sqlite_store
from isoswitch.switch.control import control_path, serve_control
from isoswitch.switch.logs import configure_logs
from isoswitch.switch.ports import SystemClock
from isoswitch.switch.server import Switch
from isoswitch.switch.settings import SwitchSettings

DRAIN_MARGIN_S = 1.0

# A task that is given the switch and says when it has started.
Beside = Callable[..., Awaitable[None]]

log = structlog.get_logger()


async def run_switch(
    settings: SwitchSettings,
    *,
    routing: RoutingTable,
    store_path: Path,
    crypto: AbstractAsyncContextManager[Hsm],
    log_path: Path | None = None,
    log_level: str = "info",
    beside: Sequence[Beside] = (),
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until SIGTERM or SIGINT, then drain; started when terminals can connect.

    What runs ``beside`` the switch starts before it, so that it can tell that the
    switch is starting.

    Raises
    ------
    StoreUnavailable
        The store cannot be opened, or another process holds it.
    OSError
        A listener's port is taken.
    """
    writer = configure_logs(log_path, level=log_level)
    async with (
        trio.open_nursery() as nursery,
        crypto as hsm,
        open_sqlite_store(store_path) as store,
    ):
        nursery.start_soon(writer.run)
        switch = Switch(
            settings,
            store=store,
            hsm=hsm,
            routing=routing,
            clock=SystemClock(),
            # Jitter needs no secrecy.
            random=random.Random(),  # noqa: S311
        )
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            for part in beside:
                await nursery.start(part, switch)
            await nursery.start(switch.run)
            await nursery.start(serve_control, switch, control_path(store_path))
            # What is loaded stays; collecting it again and again costs 26 ms for each
            # 100,000 terminals.
            gc.collect()
            gc.freeze()
            task_status.started()
            async for number in signals:
                log.info("draining", signal=signal.Signals(number).name)
                break
            with trio.move_on_after(settings.transaction_timeout_s + DRAIN_MARGIN_S):
                await switch.drain()
        log.info("stopped")
        nursery.cancel_scope.cancel()
