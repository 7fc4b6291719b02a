"""The crypto service in this process; for tests and simulated worlds."""

from __future__ import annotations

import trio

from isoswitch.hsm.port import AnyCommand
from isoswitch.hsm.service import CryptoService


class LocalHsm:
    """The ``Hsm`` port over a service in this process."""

    def __init__(self, service: CryptoService) -> None:
        self._service = service

    async def run(self, *commands: AnyCommand) -> list[bytes]:
        """Run commands in order; see ``Hsm.run``."""
        await trio.lowlevel.checkpoint()
        return self._service.execute(commands)
