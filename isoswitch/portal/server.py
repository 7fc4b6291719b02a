"""The portal's HTTP server, in the process and the event loop of its switch."""

from __future__ import annotations

from functools import partial

import trio
from hypercorn.config import Config

from isoswitch.portal.app import make_app
from isoswitch.portal.connections import Connections
from isoswitch.portal.settings import PortalSettings
from isoswitch.portal.webhooks import Caller
from isoswitch.switch.callbacks import call_back_forever, forget_forever
from isoswitch.switch.server import Switch
from isoswitch.switch.sockets import listen_tcp

REQUEST_BYTES_MAX = 16 * 1024
# Of one connection at once, over HTTP/2.
REQUESTS_MAX = 8


async def serve_portal(
    settings: PortalSettings,
    switch: Switch,
    *,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer HTTP until cancelled; started with the port that is open.

    Raises
    ------
    OSError
        The port is taken.
    """
    sock = listen_tcp(settings.host, settings.port)
    port: int = sock.getsockname()[1]
    config = Config()
    # What fails is told by the log of the switch.
    config.errorlog = None
    if settings.certificate is not None:
        config.certfile = str(settings.certificate)
        config.keyfile = str(settings.key)
    config.h11_max_incomplete_size = REQUEST_BYTES_MAX
    config.h2_max_concurrent_streams = REQUESTS_MAX
    with sock:
        connections = Connections(
            make_app(switch, settings.clients),
            config,
            connections_max=settings.connections_max,
        )
        async with trio.open_nursery() as nursery:
            if settings.callback_secrets:
                caller = Caller(
                    settings, lambda: switch.settings.merchants, switch.clock
                )
                nursery.start_soon(
                    partial(
                        call_back_forever,
                        switch.store,
                        switch.clock,
                        caller.deliver,
                        may_send=switch.does_once,
                    )
                )
            if settings.clients:
                nursery.start_soon(
                    partial(
                        forget_forever,
                        switch.store,
                        switch.clock,
                        kept_s=settings.kept_s,
                    )
                )
            nursery.start_soon(connections.accept_forever, sock)
            task_status.started(port)
