"""``isoswitch serve``: the switch process, from its configuration to its drain."""

from __future__ import annotations

import errno
import gc
import signal
from pathlib import Path
from random import SystemRandom

import structlog
import trio

from isoswitch.commands.console import UNREACHABLE, Failure
from isoswitch.commands.running import configure_logs, run_trio
from isoswitch.config.load import LoadedNetwork, load_network
from isoswitch.config.settings import bin_rows, switch_settings
from isoswitch.hsm.client import open_hsm
from isoswitch.routing.table import RoutingTable
from isoswitch.store.sqlite import open_sqlite_store
from isoswitch.switch.ports import SystemClock
from isoswitch.switch.server import Switch

DRAIN_TIMEOUT_S = 20.0

log = structlog.get_logger()


def serve(config: Path | None) -> None:
    """Run the switch until SIGTERM or SIGINT, then finish what is in flight."""
    run_trio(lambda: run_switch(load_network(config)))


async def run_switch(loaded: LoadedNetwork) -> None:
    """Run one switch process.

    Raises
    ------
    Failure
        A listener's port is taken.
    HsmUnavailable, StoreUnavailable, ConfigError
        What the switch needs is not there.
    """
    settings = switch_settings(loaded)
    network = loaded.network
    log_path = loaded.file(network.log.path) if network.log.path else None
    log_file = configure_logs(log_path, network.log.level)
    async with trio.open_nursery() as logs:
        logs.start_soon(log_file.flush_forever)
        async with (
            open_sqlite_store(loaded.file(network.store.path)) as store,
            open_hsm(loaded.file(network.hsm.socket)) as hsm,
        ):
            switch = Switch(
                settings,
                store=store,
                hsm=hsm,
                routing=RoutingTable(bin_rows(network)),
                clock=SystemClock(),
                random=SystemRandom(),
            )
            # One full collection would stop everything for milliseconds; what was
            # loaded so far lives as long as the process.
            gc.collect()
            gc.freeze()
            await _serve_until_asked_to_stop(switch)
        logs.cancel_scope.cancel()


async def _serve_until_asked_to_stop(switch: Switch) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            try:
                await nursery.start(switch.run)
            except OSError as fault:
                raise _port_failure(fault) from None
            print("switch ready", flush=True)
            async for _ in signals:
                break
            log.info("draining")
            with trio.move_on_after(DRAIN_TIMEOUT_S):
                await switch.drain()
            nursery.cancel_scope.cancel()


def _port_failure(fault: OSError) -> Exception:
    if fault.errno != errno.EADDRINUSE:
        return fault
    return Failure(
        "the port of a listener is in use",
        fix="`isoswitch doctor` names it; stop what listens there or change it",
        exit_code=UNREACHABLE,
    )
