"""``isoswitch serve``: the switch process of a configuration."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import trio

from isoswitch.commands.crypto import open_crypto
from isoswitch.commands.processes import check_ports_free
from isoswitch.commands.running import run_trio
from isoswitch.config.load import load_network
from isoswitch.config.portal import portal_settings
from isoswitch.config.running import configuration_of, load_configuration
from isoswitch.portal.settings import PortalSettings
from isoswitch.switch.process import Beside, run_switch
from isoswitch.switch.server import Switch


def serve(
    config: Path | None, *, store: Path | None = None, log: Path | None = None
) -> None:
    """Run the switch until SIGTERM or SIGINT, then finish what is in flight.

    ``store`` and ``log`` stand in for the files that the configuration names.

    Raises
    ------
    Failure
        A listener's port is taken.
    HsmUnavailable, StoreUnavailable, ConfigError
        What the switch needs is not there.
    """
    loaded = load_network(config)
    network = loaded.network
    configuration = configuration_of(loaded)
    check_ports_free(loaded, issuers=False)
    log_path = log or (loaded.file(network.log.path) if network.log.path else None)
    portal = portal_settings(loaded)
    beside = [partial(_serve_portal, portal)] if portal is not None else []

    async def main() -> None:
        await run_switch(
            configuration,
            load=partial(trio.to_thread.run_sync, load_configuration, loaded.path),
            store_path=store or loaded.file(network.store.path),
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
