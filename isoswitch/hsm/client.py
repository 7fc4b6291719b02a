"""The crypto processes as their clients see them: one port over one or more tokens.

Requests go round the nodes in turn. All commands are functions of their arguments, so
one that a node did not answer is run once more, on the next node, or on the same one
after a restart. Each node has a breaker::

    closed --- a request finds it unavailable ---> open
    open   --- known answers are right again  ---> closed

While every breaker is open, requests still wait for a node that failed within the last
deadline, which bridges a restart; after that they fail at once. A failed verification
is an answer: it neither opens a breaker nor moves on to another node.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import cycle
from pathlib import Path
from typing import NoReturn

import trio

from isoswitch.codecs.canonical.errors import HsmError, HsmUnavailable
from isoswitch.hsm.connection import Connection, ConnectionBusy
from isoswitch.hsm.groups import ungrouped
from isoswitch.hsm.port import AnyCommand, CheckHealth

_PROBE_MIN_S = 0.02
_PROBE_MAX_S = 1.0


class _Node:
    """One crypto process and its breaker."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.failed_at: float | None = None
        self._failed = trio.Event()

    def open_breaker(self, fault: HsmUnavailable) -> None:
        if self.failed_at is None and not isinstance(fault, ConnectionBusy):
            self.failed_at = trio.current_time()
            self._failed.set()

    async def probe(self, deadline_s: float) -> NoReturn:
        """Close the breaker whenever the known answers are right again."""
        while True:
            await self._failed.wait()
            pause_s = _PROBE_MIN_S
            while not await self._is_healthy(deadline_s):
                await trio.sleep(pause_s)
                pause_s = min(2 * pause_s, _PROBE_MAX_S)
            self._failed = trio.Event()
            self.failed_at = None

    async def _is_healthy(self, deadline_s: float) -> bool:
        deadline = trio.current_time() + deadline_s
        try:
            await self.connection.request([CheckHealth()], deadline=deadline)
        except HsmError:
            return False
        return True


class HsmClient:
    """The ``Hsm`` port over the sockets of one or more crypto processes; made in trio.

    ``maintain`` must run in a task of its own for as long as the client is used.

    Parameters
    ----------
    paths
        The sockets, one per token.
    deadline_s
        How long a request may take, the second attempt included.
    """

    def __init__(self, paths: Sequence[Path], *, deadline_s: float = 0.5) -> None:
        if not paths:
            msg = "at least one socket"
            raise ValueError(msg)
        self._nodes = [_Node(Connection(path)) for path in paths]
        self._turn = cycle(self._nodes)
        # Asked directly: ``trio.current_time`` looks for it at every call.
        self._clock = trio.lowlevel.current_clock()
        self._deadline_s = deadline_s
        # Leaves time for the second node when the first does not answer at all.
        self._attempt_s = deadline_s if len(paths) == 1 else deadline_s / 2

    async def run(self, *commands: AnyCommand) -> list[bytes]:
        """Run commands in order in one round trip; see ``Hsm.run``."""
        now = self._clock.current_time()
        node = next(self._turn)
        if node.failed_at is not None:
            node = self._choose(now)
        try:
            return await node.connection.request(
                commands, deadline=now + self._attempt_s
            )
        except HsmUnavailable as fault:
            node.open_breaker(fault)
            if self._clock.current_time() >= now + self._deadline_s:
                raise
        node = self._choose(self._clock.current_time())
        try:
            return await node.connection.request(
                commands, deadline=now + self._deadline_s
            )
        except HsmUnavailable as fault:
            node.open_breaker(fault)
            raise

    async def connect(self) -> None:
        """Connect to every node that listens.

        Raises
        ------
        HsmUnavailable
            None does.
        """
        for node in self._nodes:
            try:
                await node.connection.connect()
            except HsmUnavailable as fault:
                node.open_breaker(fault)
                if node is self._nodes[-1] and not self._is_any_connected():
                    raise

    async def maintain(self) -> NoReturn:
        """Keep all connections, and close breakers when their nodes are healthy."""
        async with trio.open_nursery() as nursery:
            for node in self._nodes:
                nursery.start_soon(node.connection.maintain)
                nursery.start_soon(node.probe, self._deadline_s)
            await trio.sleep_forever()

    def _choose(self, now: float) -> _Node:
        """Give the next node with a closed breaker, or one that has just failed."""
        for _ in self._nodes:
            node = next(self._turn)
            if node.failed_at is None:
                return node
        bridging = [
            node
            for node in self._nodes
            if node.failed_at is not None and now - node.failed_at < self._deadline_s
        ]
        if not bridging:
            raise HsmUnavailable("no crypto process is available")
        return bridging[0]

    def _is_any_connected(self) -> bool:
        return any(node.connection.is_connected for node in self._nodes)


@asynccontextmanager
async def open_hsm(*paths: Path, deadline_s: float = 0.5) -> AsyncIterator[HsmClient]:
    """Connect to crypto processes for the length of a block.

    Raises
    ------
    HsmUnavailable
        Nobody listens on any of the sockets.
    """
    client = HsmClient(paths, deadline_s=deadline_s)
    await client.connect()
    with ungrouped():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.maintain)
            yield client
            nursery.cancel_scope.cancel()
