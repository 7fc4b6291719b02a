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

from isoswitch.codecs.canonical.errors import IsoswitchError
from isoswitch.hsm.port import Hsm
from isoswitch.store.port import Store
from isoswitch.switch.control import Desk, serve_control
from isoswitch.switch.differences import Configuration
from isoswitch.switch.logs import configure_logs
from isoswitch.switch.ports import SystemClock
from isoswitch.switch.reload import Load, Reloader
from isoswitch.switch.server import Switch

# Payments leave few cycles behind; looking for them often costs each a fiftieth.
GC_THRESHOLDS = (20_000, 20, 50)
DRAIN_MARGIN_S = 1.0
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

# A task that is given the switch and says when it has started.
Beside = Callable[..., Awaitable[None]]

log = structlog.get_logger()


async def run_switch(
    configuration: Configuration,
    *,
    load: Load,
    store: AbstractAsyncContextManager[Store],
    control: Path,
    crypto: AbstractAsyncContextManager[Hsm],
    log_path: Path | None = None,
    log_level: str = "info",
    beside: Sequence[Beside] = (),
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until SIGTERM or SIGINT, then drain; started when terminals can connect.

    SIGHUP reads the configuration again by ``load``. What runs ``beside`` the switch
    starts with it, so that it can tell that the switch is starting; it is ready as well
    when the switch counts as started. Orders of operators come in by the socket
    ``control``.

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
        store as opened,
    ):
        nursery.start_soon(writer.run)
        switch = Switch(
            configuration.settings,
            store=opened,
            hsm=hsm,
            routing=configuration.routing,
            clock=SystemClock(),
            # Jitter needs no secrecy.
            random=random.Random(),  # noqa: S311
        )
        reloader = Reloader(switch, configuration, load)
        nursery.start_soon(reloader.run)
        with trio.open_signal_receiver(*SIGNALS) as signals:
            async with trio.open_nursery() as starting:
                for part in beside:
                    starting.start_soon(nursery.start, part, switch)
                starting.start_soon(nursery.start, switch.run)
            desk = Desk(switch=switch, reloader=reloader)
            await nursery.start(serve_control, desk, control)
            # What is loaded stays; collecting it again and again costs 26 ms for each
            # 100,000 terminals.
            gc.collect()
            gc.freeze()
            gc.set_threshold(*GC_THRESHOLDS)
            task_status.started()
            async for number in signals:
                if number == signal.SIGHUP:
                    await _reload(reloader)
                    continue
                log.info("draining", signal=signal.Signals(number).name)
                break
            timeout_s = switch.settings.transaction_s_max
            with trio.move_on_after(timeout_s + DRAIN_MARGIN_S):
                await switch.drain()
        log.info("stopped")
        nursery.cancel_scope.cancel()


async def _reload(reloader: Reloader) -> None:
    try:
        await reloader.reload(operator="SIGHUP")
    except IsoswitchError as error:
        log.error("reload_refused", reason=str(error))
    except Exception:
        # The edge of an order, as at the control socket: a fault of ours ends only it.
        log.exception("reload_failed")
