"""The connection to a clearing house: documents in frames, kept up, never waited for.

Nothing is asked and answered on it as on a link of ISO 8583: a document goes out, and
what comes back comes when it comes. What was not written raises ``LinkDown``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog
import trio

from isoswitch.codecs.canonical.errors import LinkDown
from isoswitch.codecs.framing import get_framing
from isoswitch.switch.connection import Connection
from isoswitch.switch.ports import Random
from isoswitch.switch.settings import HouseSettings
from isoswitch.switch.upkeep import Connect

log = structlog.get_logger()


class House:
    """One clearing house and the connection to it; ``run`` keeps it up."""

    def __init__(
        self, settings: HouseSettings, *, connect: Connect, random: Random
    ) -> None:
        self.settings = settings
        self._connect = connect
        self._random = random
        self._connection: Connection | None = None
        self._log = log.bind(endpoint=settings.name)
        self.attempted = trio.Event()

    @property
    def is_up(self) -> bool:
        """Whether documents can be sent."""
        return self._connection is not None and self._connection.is_open

    def send_nowait(self, document: bytes) -> None:
        """Queue one document.

        Raises
        ------
        LinkDown
            Nothing was written and nothing will be.
        """
        if self._connection is None:
            msg = f"{self.settings.name} is not connected"
            raise LinkDown(msg)
        self._connection.send_nowait(document)

    async def run(self, receive: Callable[[House, bytes], Awaitable[None]]) -> None:
        """Stay connected and hand over documents until cancelled."""
        pause_s = self.settings.reconnect_min_s
        while True:
            began_at = trio.current_time()
            reason = await self._serve(receive)
            self.attempted.set()
            self._log.info("house_down", reason=reason)
            if trio.current_time() - began_at > self.settings.reconnect_max_s:
                pause_s = self.settings.reconnect_min_s
            await trio.sleep(pause_s * (0.5 + self._random.random()))
            pause_s = min(pause_s * 2, self.settings.reconnect_max_s)

    async def _serve(self, receive: Callable[[House, bytes], Awaitable[None]]) -> str:
        settings = self.settings
        try:
            with trio.fail_after(settings.connect_timeout_s):
                stream = await self._connect(settings)
        except (OSError, trio.TooSlowError) as error:
            return f"cannot connect: {type(error).__name__}"
        self._connection = Connection(
            stream,
            get_framing(settings.framing),
            frame_bytes_max=settings.frame_bytes_max,
            frame_timeout_s=settings.frame_timeout_s,
            idle_timeout_s=settings.idle_timeout_s,
        )
        self.attempted.set()
        self._log.info("house_up")

        async def handle(document: bytes) -> None:
            await receive(self, document)

        try:
            return await self._connection.run(handle)
        finally:
            self._connection.close("the house's task stopped")
            self._connection = None
