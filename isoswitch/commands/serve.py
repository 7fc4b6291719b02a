"""``isoswitch serve``: the switch process of a configuration, or one of its workers."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import trio

from isoswitch.commands.crypto import open_crypto
from isoswitch.commands.processes import check_ports_free
from isoswitch.commands.running import run_trio
from isoswitch.commands.workers import check_shared, run_workers
from isoswitch.config.load import LoadedNetwork, load_network
from isoswitch.config.portal import portal_settings
from isoswitch.config.running import configuration_of, load_configuration
from isoswitch.config.workers import (
    as_worker,
    load_worker,
    portal_of_worker,
    worker_path,
)
from isoswitch.portal.settings import PortalSettings
from isoswitch.store.opening import open_store
from isoswitch.switch.control import control_path
from isoswitch.switch.process import Beside, run_switch
from isoswitch.switch.server import Switch


def serve(
    config: Path | None,
    *,
    store: Path | None = None,
    log: Path | None = None,
    workers: int = 1,
    worker: int = 0,
) -> None:
    """Run the switch until SIGTERM or SIGINT, then finish what is in flight.

    ``store`` and ``log`` stand in for the files that the configuration names. With
    several ``workers`` this process only looks after them; ``worker`` is the number of
    the one to be, 0 for a switch that is alone.

    Raises
    ------
    Failure
        A listener's port is taken, or workers have no store that they can share.
    HsmUnavailable, StoreUnavailable, ConfigError
        What the switch needs is not there.
    """
    loaded = load_network(config)
    if not worker:
        check_ports_free(loaded, issuers=False, workers=workers)
    if workers > 1 or worker:
        check_shared(loaded)
    if workers > 1:
        configuration_of(loaded)
        run_trio(partial(run_workers, loaded, workers))
        return
    _serve(loaded, store=store, log=log, worker=worker)


def _serve(
    loaded: LoadedNetwork, *, store: Path | None, log: Path | None, worker: int
) -> None:
    network = loaded.network
    configuration, load = configuration_of(loaded), load_configuration
    log_path = log or (loaded.file(network.log.path) if network.log.path else None)
    control = control_path(store or loaded.file(network.store.path))
    portal = portal_settings(loaded)
    if worker:
        configuration = as_worker(configuration, worker)
        load = partial(load_worker, worker=worker)
        portal = portal and portal_of_worker(portal, worker)
        log_path = log_path and worker_path(log_path, worker)
        control = worker_path(control, worker)
    beside = [partial(_serve_portal, portal)] if portal is not None else []

    async def main() -> None:
        await run_switch(
            configuration,
            load=partial(trio.to_thread.run_sync, load, loaded.path),
            store=open_store(store or loaded.store),
            control=control,
            crypto=open_crypto(loaded),
            log_path=log_path,
            log_level=network.log.level,
            beside=beside,
        )

    run_trio(main)


async def _serve_portal(
    settings: PortalSettings,
    switch: Switch,
    *,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer HTTP once what that needs is loaded.

    Loading it takes almost as long as all else does, so terminals do not wait for it.
    """
    serve = await trio.to_thread.run_sync(_load_portal)
    await serve(settings, switch, task_status=task_status)


def _load_portal() -> Beside:
    from isoswitch.portal.server import serve_portal

    return serve_portal
