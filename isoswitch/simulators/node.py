"""One switch node of a world: started, killed, cut from power, and started again.

A process that is killed runs no ``finally`` block. Cancelling its tasks does, so each
incarnation acts through things that die with it: its store refuses, its streams are
gone, and what those blocks still do reaches nobody.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import trio

from isoswitch.codecs.canonical.errors import StoreUnavailable
from isoswitch.hsm.port import Hsm
from isoswitch.routing.table import RoutingTable
from isoswitch.simulators.network import MemoryStream
from isoswitch.store.disk import MemoryDisk
from isoswitch.store.memory import MemoryStore, Step
from isoswitch.switch.differences import Configuration
from isoswitch.switch.leases import FencedOut
from isoswitch.switch.ports import Clock, Random
from isoswitch.switch.reload import Reloader
from isoswitch.switch.server import Switch
from isoswitch.switch.settings import Address, SwitchSettings

# By these a process ends itself.
FAIL_STOPS = (FencedOut, StoreUnavailable)


@dataclass(slots=True, kw_only=True)
class NodeClock:
    """The wall clock of one machine, which may be wrong by ``offset_s``."""

    true: Clock
    offset_s: float = 0.0

    def now(self) -> datetime:
        """Give what this machine takes for the time."""
        now = self.true.now()
        return now + timedelta(seconds=self.offset_s) if self.offset_s else now


@dataclass(slots=True, eq=False)
class Incarnation:
    """One process of a node, from its start to its death."""

    store: MemoryStore
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    streams: list[MemoryStream] = field(default_factory=list)
    nursery: trio.Nursery | None = None
    switch: Switch | None = None
    reloader: Reloader | None = None
    is_dead: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a node finds around it in a world.

    ``on_step`` is told of every step after which a process may have died: what it does
    to its store, to a stream or to a connection, and each twice, before and after.
    """

    disk: MemoryDisk
    is_shared: bool
    hsm: Hsm
    routing: RoutingTable
    clock: Clock
    random: Random
    connect: Callable[[Address], Awaitable[MemoryStream]]
    store_delay_s: Callable[[], float]
    on_step: Callable[[Node, str], None]


class Node:
    """A machine that runs one switch process at a time.

    ``switch`` is that of the process that runs, None when none is ready; ``store`` is
    what the last one had. ``configuration`` is what its files say: a process reads it
    when it starts, and again when it is told to. ``stalled_until`` is when its way to
    the store works again.
    """

    def __init__(self, settings: SwitchSettings, around: Surroundings) -> None:
        self.configuration = Configuration(
            settings=settings, routing=around.routing, lasting={}, digests={}
        )
        self.clock = NodeClock(true=around.clock)
        self.stalled_until = 0.0
        self._around = around
        self._life: Incarnation | None = None
        self._died = trio.Event()

    @property
    def name(self) -> str:
        """The name of the node."""
        return self.configuration.settings.node

    @property
    def switch(self) -> Switch | None:
        """The switch that runs and can be connected to."""
        return self._life.switch if self.is_running and self._life else None

    @property
    def store(self) -> MemoryStore | None:
        """The store of the process that runs, or ran last."""
        return self._life.store if self._life else None

    @property
    def is_running(self) -> bool:
        """Whether there is a process, ready or not."""
        return self._life is not None and not self._life.is_dead

    async def run(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Run one process to its end; started when terminals can connect, or dead."""
        assert not self.is_running, "a node runs one process at a time"
        store = MemoryStore(
            self._around.disk,
            is_shared=self._around.is_shared,
            delay_s=self._store_delay_s,
            on_step=self._store_step,
            on_fatal=self._end_by_sync_error,
        )
        life = self._life = Incarnation(store)
        if self._died.is_set():
            self._died = trio.Event()
        switch = Switch(
            self.configuration.settings,
            store=life.store,
            hsm=self._around.hsm,
            routing=self.configuration.routing,
            clock=self.clock,
            random=self._around.random,
            connect=self._connect,
        )
        life.reloader = Reloader(switch, self.configuration, self._read_files)
        try:
            with life.scope:
                async with trio.open_nursery() as life.nursery:
                    life.nursery.start_soon(life.reloader.run)
                    await life.nursery.start(_run_quietly, switch)
                    life.switch = switch
                    task_status.started()
        except* Exception as faults:
            # Fail-stop: whoever supervises the node starts it again. What a dead
            # process trips over while it is taken down never happened.
            if not life.is_dead and faults.subgroup(FAIL_STOPS) is None:
                raise
            self.die()
        if life.switch is None:
            task_status.started()

    async def have(self, act: Callable[[Switch, Reloader], Awaitable[None]]) -> None:
        """Have the process do something; return when it has, or has died, or is none.

        What a process does ends with it.
        """
        life, switch = self._life, self.switch
        if switch is None or life is None:
            await trio.lowlevel.checkpoint()
            return
        assert life.nursery is not None, "its switch is ready"
        assert life.reloader is not None, "made before the switch was started"
        done = trio.Event()

        async def run(reloader: Reloader) -> None:
            try:
                await act(switch, reloader)
            finally:
                done.set()

        life.nursery.start_soon(run, life.reloader)
        await done.wait()

    def die(self, *, by_power_cut: bool = False) -> None:
        """End the process at once.

        What it had written and not synced survives a kill and not a power cut; a kill
        closes its connections, a power cut leaves the other ends waiting.
        """
        life = self._life
        if life is None or life.is_dead:
            return
        life.is_dead = True
        self._died.set()
        # After a failed sync the written pages may be there or not.
        is_lost = life.store.is_sync_failing and self._around.random.random() < 0.5
        life.store.crash(keeps_written=not (by_power_cut or is_lost))
        for stream in life.streams:
            stream.die(silently=by_power_cut)
        life.scope.cancel()

    async def wait_dead(self) -> None:
        """Wait until no process runs."""
        await self._died.wait()

    def accept(self, listener: str, stream: MemoryStream) -> None:
        """Take a connection of a terminal; raises OSError when nobody listens."""
        life = self._life
        if self.switch is None or life is None or life.nursery is None:
            msg = f"{self.name} does not listen"
            raise OSError(msg)
        door = self.switch.listeners.get(listener)
        if door is None:
            msg = f"{self.name} has no listener {listener}"
            raise OSError(msg)
        self._adopt(life, stream)
        life.nursery.start_soon(door.serve_stream, stream)

    async def _connect(self, endpoint: Address) -> MemoryStream:
        life = self._life
        assert life is not None, "only a running node connects"
        self._around.on_step(self, "before a connect")
        stream = await self._around.connect(endpoint)
        self._adopt(life, stream)
        self._around.on_step(self, "after a connect")
        return stream

    def _adopt(self, life: Incarnation, stream: MemoryStream) -> None:
        """Let a stream live and die with a process."""
        life.streams = [each for each in life.streams if not each.is_closed]
        life.streams.append(stream)
        stream.on_send = self._stream_step
        if life.is_dead:
            stream.die(silently=False)

    async def _read_files(self) -> Configuration:
        await trio.lowlevel.checkpoint()
        return self.configuration

    def _store_delay_s(self) -> float:
        stalled_s = max(0.0, self.stalled_until - trio.current_time())
        return stalled_s + self._around.store_delay_s()

    def _end_by_sync_error(self) -> None:
        self.die()

    def _store_step(self, step: Step) -> None:
        self._around.on_step(self, step.value)

    def _stream_step(self, moment: str) -> None:
        self._around.on_step(self, moment)


async def _run_quietly(
    switch: Switch, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    await switch.run(listen=False, task_status=task_status)
