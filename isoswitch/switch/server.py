"""The running host: recovers, signs on, listens, and drains.

store -> recover -> links -> store and forward -> listeners
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import structlog
import trio

from isoswitch.hsm.port import Hsm
from isoswitch.routing.table import RoutingTable
from isoswitch.store.port import Store
from isoswitch.store.times import CommitTimes
from isoswitch.switch.admission import Buckets
from isoswitch.switch.breakers import Breakers
from isoswitch.switch.businessday import BusinessDays
from isoswitch.switch.counts import Counts
from isoswitch.switch.dispatch import Arrival, dispatch
from isoswitch.switch.health import Health
from isoswitch.switch.incoming import NetworkRequest
from isoswitch.switch.job import Jobs
from isoswitch.switch.keyexchange import KeyExchange
from isoswitch.switch.leases import Leases
from isoswitch.switch.linkjournal import LinkJournal
from isoswitch.switch.linkorders import restore
from isoswitch.switch.links import Link
from isoswitch.switch.numbers import Numbers
from isoswitch.switch.peers import listen_for_peers
from isoswitch.switch.ports import Clock, Random
from isoswitch.switch.reconciliation import reconcile_forever
from isoswitch.switch.recorder import Recorder
from isoswitch.switch.recovery import recover, sweep_forever
from isoswitch.switch.saf import Saf, lease_name
from isoswitch.switch.services import Services
from isoswitch.switch.settings import EndpointSettings, SwitchSettings
from isoswitch.switch.sockets import SocketStream, open_tcp
from isoswitch.switch.strays import Strays
from isoswitch.switch.terminals import Listener
from isoswitch.switch.upkeep import Connect
from isoswitch.switch.watch import WatchedHsm, watch_forever

SIGN_ON_PATIENCE_S = 2.0

log = structlog.get_logger()


async def connect_tcp(endpoint: EndpointSettings) -> trio.abc.Stream:
    """Connect to an endpoint's address."""
    return await open_tcp(endpoint.host, endpoint.port)


def link_lease(endpoint: str) -> str:
    """Name the lease of the node that may connect to an endpoint of one session.

    Examples
    --------
    >>> link_lease("north")
    'link/north'
    """
    return f"link/{endpoint}"


class Switch:
    """One switch process: its parts, and the nursery that owns every transaction."""

    def __init__(
        self,
        settings: SwitchSettings,
        *,
        store: Store,
        hsm: Hsm,
        routing: RoutingTable,
        clock: Clock,
        random: Random,
        connect: Connect = connect_tcp,
    ) -> None:
        self.settings = settings
        self.health = Health(clock, clock_jump_s=settings.clock_jump_s)
        self.counts = Counts()
        self._store = store
        self._hsm = WatchedHsm(hsm, self.health, self.counts)
        self._routing = routing
        self._clock = clock
        self._link_journal = LinkJournal()
        self._leases = Leases(store, node=settings.node)
        self.strays = Strays()
        self.links: Mapping[str, Link] = {
            name: Link(
                endpoint,
                connect=connect,
                clock=clock,
                random=random,
                on_stray=self.strays.put,
                on_key=self._take_key,
                on_cutover=self._link_journal.put,
                on_change=self._link_journal.put,
                may_connect=partial(self._may_connect, endpoint),
                may_send=self._may_send,
            )
            for name, endpoint in settings.endpoints.items()
        }
        self.keys = KeyExchange(self.links, random=random)
        self.listeners = {
            listener.name: Listener(listener, accept=self._accept)
            for listener in settings.listeners
        }
        self._nursery: trio.Nursery | None = None
        self.is_draining = False
        self._deciding_count = 0
        self.is_started = False
        self.services: Services | None = None
        self.saf: Saf | None = None

    @property
    def commit_times(self) -> CommitTimes:
        """How long units of work waited until they were durable."""
        return self._store.commit_times

    async def run(
        self,
        *,
        listen: bool = True,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Recover what an earlier run left, then serve until cancelled.

        ``listen=False`` opens no sockets: streams come in through ``listeners``.
        """
        services = self.services = await self._begin()
        await services.days.begin()
        saf = self.saf = Saf(services)
        await self._resume(services, saf)
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(services.leases.run)
            nursery.start_soon(self.strays.run, services)
            nursery.start_soon(self._link_journal.run, services)
            nursery.start_soon(saf.run)
            nursery.start_soon(self.keys.run, services)
            nursery.start_soon(sweep_forever, services)
            nursery.start_soon(services.days.run)
            nursery.start_soon(reconcile_forever, services)
            nursery.start_soon(watch_forever, services)
            for link in self.links.values():
                await restore(self._store, link)
                nursery.start_soon(link.run)
                if listen and link.settings.is_server:
                    await nursery.start(_listen_for, link)
            with trio.move_on_after(SIGN_ON_PATIENCE_S):
                for link in self.links.values():
                    await link.attempted.wait()
            for listener in self.listeners.values():
                if listen:
                    await nursery.start(listener.run)
                else:
                    nursery.start_soon(listener.expire_forever)
                    listener.is_open = True
            self.is_started = True
            log.info("ready", node=self.settings.node, boot=services.numbers.boot)
            task_status.started()

    async def drain(self) -> None:
        """Take no new transactions, finish those in flight, and sign off.

        The caller bounds the time and cancels ``run`` afterwards.
        """
        self.is_draining = True
        assert self.services is not None, "only a running switch drains"
        await self.services.jobs.wait_empty()
        for link in self.links.values():
            await link.sign_off()
        await self.services.leases.release()

    async def _begin(self) -> Services:
        days = BusinessDays(
            self._store,
            self._clock,
            cutover_at=self.settings.cutover_at,
            zone=self.settings.cutover_zone,
            reconciling={
                name: self.settings.default_currency
                for name, endpoint in self.settings.endpoints.items()
                if endpoint.reconciles
            },
        )
        self._store.on_commit(days.follow)
        await self._leases.begin(self._clock)
        for name, link in self.links.items():
            self._leases.want(lease_name(name))
            if link.settings.leased:
                self._leases.want(link_lease(name))
        if self._store.is_shared:
            await self._leases.look()
        return Services(
            settings=self.settings,
            clock=self._clock,
            numbers=Numbers(boot=self._leases.boot),
            hsm=self._hsm,
            store=self._store,
            recorder=Recorder(
                self._store,
                self._clock,
                node=self.settings.node,
                days=days,
                held_days=self.settings.kinds.held_days,
            ),
            routing=self._routing,
            links=self.links,
            breakers=Breakers(self.links, self.settings.endpoint_health),
            jobs=Jobs(),
            days=days,
            buckets=Buckets(),
            health=self.health,
            counts=self.counts,
            leases=self._leases,
        )

    async def _resume(self, services: Services, saf: Saf) -> None:
        await saf.take_over()
        self._store.on_commit(saf.follow)
        self._store.on_commit(self.counts.applied)
        await recover(services)

    def _may_connect(self, endpoint: EndpointSettings) -> bool:
        if endpoint.leased:
            return self._leases.holds(link_lease(endpoint.name))
        return endpoint.owner in {"", self.settings.node}

    def _may_send(self) -> bool:
        return self._leases.is_alive

    def _take_key(self, request: NetworkRequest) -> None:
        self.keys.put(request, self.links[request.endpoint])

    def _accept(self, arrival: Arrival) -> None:
        if self._nursery is None or self.services is None or self.is_draining:
            # Silence: the terminal repeats, here after the restart or elsewhere.
            arrival.done()
            return
        if self._deciding_count >= self.services.settings.admission.arrivals_max:
            # Not even repeats and reversals, which nothing else refuses, may fill
            # the memory. They come again.
            self.counts.unheard += 1
            arrival.done()
            return
        self._deciding_count += 1
        self._nursery.start_soon(self._decide, self.services, arrival)

    async def _decide(self, services: Services, arrival: Arrival) -> None:
        try:
            await dispatch(services, arrival)
        finally:
            self._deciding_count -= 1


async def _listen_for(
    link: Link, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
) -> None:
    async def serve(stream: SocketStream, host: str) -> None:
        await link.serve_stream(stream, host=host)

    settings = link.settings
    await listen_for_peers(settings.host, settings.port, serve, task_status=task_status)
