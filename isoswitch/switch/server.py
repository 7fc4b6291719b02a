"""The running host: recovers, signs on, listens, and drains.

store, leases -> recover -> links -> store and forward -> listeners
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial

import structlog
import trio

from isoswitch.codecs.canonical.errors import StoreUnavailable
from isoswitch.hsm.port import Hsm
from isoswitch.routing.table import RoutingTable
from isoswitch.store.port import Committed, Store, UnitOfWork
from isoswitch.store.times import CommitTimes
from isoswitch.switch.admission import Buckets
from isoswitch.switch.breakers import Breakers
from isoswitch.switch.businessday import BusinessDays
from isoswitch.switch.codes import Codes
from isoswitch.switch.codewatch import CodeWatch
from isoswitch.switch.counts import Counts
from isoswitch.switch.dispatch import Arrival, Wait, dispatch
from isoswitch.switch.door import Door
from isoswitch.switch.expiry import expire_forever
from isoswitch.switch.health import Health
from isoswitch.switch.incoming import NetworkRequest
from isoswitch.switch.interbank.house import House
from isoswitch.switch.interbank.inbox import Inbox
from isoswitch.switch.interbank.receipts import Receipts
from isoswitch.switch.interbank.reports import Reports
from isoswitch.switch.interbank.transfers import Transfers
from isoswitch.switch.job import Jobs
from isoswitch.switch.keyexchange import KeyExchange
from isoswitch.switch.leases import ONCE, Leases, drain_lease
from isoswitch.switch.linkjournal import LinkJournal
from isoswitch.switch.linkorders import restore
from isoswitch.switch.links import Link
from isoswitch.switch.notices import Notices
from isoswitch.switch.numbers import Numbers
from isoswitch.switch.ports import Clock, Random
from isoswitch.switch.reconciliation import reconcile_forever
from isoswitch.switch.recorder import Recorder
from isoswitch.switch.recovery import recover, sweep_forever
from isoswitch.switch.saf import Saf
from isoswitch.switch.services import Services
from isoswitch.switch.settings import (
    Address,
    EndpointSettings,
    ListenerSettings,
    SwitchSettings,
)
from isoswitch.switch.shifts import Running, Shift
from isoswitch.switch.sockets import open_tcp
from isoswitch.switch.strays import Strays
from isoswitch.switch.terminals import Listener
from isoswitch.switch.upkeep import Connect
from isoswitch.switch.watch import WatchedHsm, watch_forever
from isoswitch.switch.wishes import Wishes

SIGN_ON_PATIENCE_S = 2.0
LET_GO_TICK_S = 0.05
# How often a link is tried to be opened that takes the place of another.
REOPEN_S = 1.0

log = structlog.get_logger()


async def connect_tcp(address: Address) -> trio.abc.Stream:
    """Connect to a counterparty's address."""
    return await open_tcp(address.host, address.port)


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
        self._random = random
        self._connect = connect
        self.links: Mapping[str, Link] = {
            name: self.make_link(endpoint)
            for name, endpoint in settings.endpoints.items()
        }
        self.houses: Mapping[str, House] = {
            name: House(house, connect=connect, random=random, hsm=self._hsm)
            for name, house in settings.houses.items()
        }
        self.transfers: Transfers | None = None
        self.codes: Codes | None = None
        self.wishes: Wishes | None = None
        self.receipts: Receipts | None = None
        self.keys = KeyExchange(self.links, random=random)
        self.listeners: Mapping[str, Listener] = {
            listener.name: self.make_listener(listener)
            for listener in settings.listeners
        }
        self._nursery: trio.Nursery | None = None
        self.listens = True
        self._running: dict[Link | Listener, Running] = {}
        self._working = Running()
        self._shift: Shift | None = None
        self._door = Door(self._current, decide=self._begin_decision)
        self.is_started = False
        self.is_draining = False
        self.saf: Saf | None = None

    @property
    def services(self) -> Services | None:
        """What new transactions are decided with; None before the switch has begun."""
        return None if self._shift is None else self._shift.services

    @property
    def store(self) -> Store:
        """What it writes down; there before it serves."""
        return self._store

    @property
    def clock(self) -> Clock:
        """The time of what it writes down."""
        return self._clock

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
        self.listens = listen
        services = await self._begin()
        self._shift = Shift(services=services)
        async with trio.open_nursery() as nursery:
            # Others must not take a node for dead that has much to recover.
            nursery.start_soon(services.leases.run)
            await services.days.begin()
            await self._resume(services)
            self._nursery = nursery
            nursery.start_soon(self.strays.run, self._current)
            nursery.start_soon(self._link_journal.run, self._current)
            nursery.start_soon(services.days.run)
            nursery.start_soon(self._door.run)
            await self._start_work()
            transfers = self.transfers = Transfers(services, self.houses)
            codes = self.codes = Codes(self._current, transfers)
            nursery.start_soon(codes.run)
            nursery.start_soon(Notices(self._current).run)
            wishes = self.wishes = Wishes(self._current, self._accept)
            nursery.start_soon(wishes.run)
            self._start_houses(nursery, services, transfers)
            for link in self.links.values():
                await self.start_link(link)
            await wait_attempted(self.links.values())
            for listener in self.listeners.values():
                await self.start_listener(listener)
            self.is_started = True
            log.info("ready", node=self.settings.node, boot=services.numbers.boot)
            task_status.started()

    def _start_houses(
        self, nursery: trio.Nursery, services: Services, transfers: Transfers
    ) -> None:
        """Connect to the clearing houses, and follow what is under way there."""
        nursery.start_soon(transfers.run)
        if not self.houses:
            return
        receipts = self.receipts = Receipts(self._current, self.houses)
        reports = Reports(services, self.houses)
        inbox = Inbox(services, transfers=transfers, receipts=receipts, reports=reports)
        nursery.start_soon(receipts.run)
        nursery.start_soon(reports.run)
        for house in self.houses.values():
            nursery.start_soon(house.run, inbox.receive)

    def make_link(self, endpoint: EndpointSettings) -> Link:
        """Make the link to an endpoint; it does nothing before it is started."""
        return Link(
            endpoint,
            connect=self._connect,
            clock=self._clock,
            random=self._random,
            on_stray=self.strays.put,
            on_key=self._take_key,
            on_cutover=self._link_journal.put,
            on_change=self._link_journal.put,
            may_connect=partial(self._may_connect, endpoint),
            may_send=self._may_send,
        )

    def make_listener(self, settings: ListenerSettings) -> Listener:
        """Make a listener; raises OSError when its TLS files are not there."""
        return Listener(settings, accept=self._accept, clock=self._clock)

    async def start_link(self, link: Link) -> None:
        """Let a link connect, or be connected to; raises OSError for a taken port."""
        assert self._nursery is not None, "only a running switch has links"
        await self._prepare(link)
        running = self._running[link] = Running()
        await self._nursery.start(running.run, link.run)

    def start_link_soon(self, link: Link) -> None:
        """Let a link connect, or be connected to, once its port and the store allow."""
        assert self._nursery is not None, "only a running switch has links"
        running = self._running[link] = Running()
        self._nursery.start_soon(running.run, partial(self._run_late, link))

    def open_door(self, link: Link) -> None:
        """Take a link's port, if it has one; raises OSError when it is taken."""
        if self.listens:
            link.open_door()

    async def start_listener(self, listener: Listener) -> None:
        """Let a listener take connections; raises OSError when its port is taken."""
        assert self._nursery is not None, "only a running switch listens"
        running = self._running[listener] = Running()
        run = listener.run if self.listens else listener.run_without_door
        await self._nursery.start(running.run, run)

    async def stop(self, part: Link | Listener) -> None:
        """End a part at once, if it was started, and wait until it has ended."""
        if part in self._running:
            await self._running.pop(part).stop()

    def want_leases(self, *ending: Link) -> None:
        """Want the leases that the links need, and those that are ending, alone."""
        endpoints = [link.settings for link in (*self.links.values(), *ending)]
        # Who may never connect could only keep what is owed from going out.
        mine = filter(self._leases.may_own, endpoints)
        self._leases.want([ONCE, *map(drain_lease, mine)])

    async def change_shift(
        self,
        settings: SwitchSettings,
        routing: RoutingTable,
        *,
        links: Mapping[str, Link],
        listeners: Mapping[str, Listener],
    ) -> Shift:
        """Decide what comes from now on with other parts; give the shift before.

        What began in the shift before goes on with its own settings and links.
        """
        before = self._shift
        assert before is not None, "only a running switch changes"
        self.settings, self.links, self.listeners = settings, links, listeners
        self.health.retune(clock_jump_s=settings.clock_jump_s)
        before.services.days.retune(reconciling=settings.reconciling)
        breakers = Breakers(links, settings.endpoint_health)
        breakers.adopt(before.services.breakers)
        # Those of the links before are given up when these have ended.
        self.want_leases(*before.services.links.values())
        services = replace(
            before.services,
            settings=settings,
            routing=routing,
            links=links,
            breakers=breakers,
        )
        self._shift = Shift(services=services)
        # As after a restart: what is owed is read from the store, and goes out again.
        self.saf = Saf(services)
        keys = KeyExchange(links, random=self._random)
        keys.adopt(self.keys)
        self.keys = keys
        await self._working.stop()
        await self._start_work()
        return before

    async def drain(self) -> None:
        """Take no new transactions, finish those in flight, and sign off.

        The caller bounds the time and cancels ``run`` afterwards.
        """
        self.is_draining = True
        assert self.services is not None, "only a running switch drains"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._let_terminals_go)
            await self._finish(self.services)
            nursery.cancel_scope.cancel()

    async def _let_terminals_go(self) -> None:
        """Have terminals connect elsewhere as soon as they have their answers."""
        for listener in self.listeners.values():
            listener.close_door()
        while True:
            for listener in self.listeners.values():
                listener.let_go("the switch is stopping")
            await trio.sleep(LET_GO_TICK_S)

    async def _finish(self, services: Services) -> None:
        if self.wishes is not None:
            self.wishes.close()
        await services.jobs.wait_empty()
        if self.wishes is not None:
            await self.wishes.wait_empty()
        if self.codes is not None:
            await self.codes.drain()
        others = await services.leases.live_boots() - {str(services.numbers.boot)}
        for link in self.links.values():
            # To an endpoint of several sessions one sign-off may speak for all of them.
            if link.settings.leased or not others:
                await link.sign_off()
        await services.leases.release()

    async def _begin(self) -> Services:
        days = BusinessDays(
            self._store,
            self._clock,
            cutover_at=self.settings.cutover_at,
            zone=self.settings.cutover_zone,
            reconciling=self.settings.reconciling,
            trusts_clock=self.health.trusts_clock,
        )
        watch = CodeWatch()
        self._store.on_commit(days.follow)
        self._store.on_commit(watch.follow)
        await self._leases.begin(self._clock)
        self.want_leases()
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
            code_watch=watch,
        )

    async def _run_late(
        self, link: Link, *, task_status: trio.TaskStatus[None]
    ) -> None:
        while True:
            try:
                await self._prepare(link)
                break
            except (OSError, StoreUnavailable) as error:
                link.postpone(f"cannot be opened: {error}")
                await trio.sleep(REOPEN_S)
        await link.run(task_status=task_status)

    async def _prepare(self, link: Link) -> None:
        await restore(self._store, link)
        self.open_door(link)

    async def _resume(self, services: Services) -> None:
        saf = self.saf = Saf(services)
        await saf.take_over()
        self._store.on_commit(self._follow)
        self._store.on_commit(self.counts.applied)
        await recover(services)

    def _follow(self, unit: UnitOfWork, committed: Committed) -> None:
        assert self.saf is not None, "set before the first commit is followed"
        self.saf.follow(unit, committed)

    def _current(self) -> Services:
        assert self._shift is not None, "only what runs in the switch asks"
        return self._shift.services

    async def _start_work(self) -> None:
        """Start what serves the endpoints and settings of the current services."""
        assert self.saf is not None, "made before it works"
        assert self._nursery is not None, "only a running switch works"
        self._working = Running()
        work = partial(self._work, self._current(), self.saf, self.keys)
        await self._nursery.start(self._working.run, work)

    async def _work(
        self,
        services: Services,
        saf: Saf,
        keys: KeyExchange,
        *,
        task_status: trio.TaskStatus[None],
    ) -> None:
        async with trio.open_nursery() as nursery:
            task_status.started()
            nursery.start_soon(saf.run)
            nursery.start_soon(keys.run, services)
            nursery.start_soon(sweep_forever, services)
            nursery.start_soon(expire_forever, services)
            nursery.start_soon(reconcile_forever, services)
            nursery.start_soon(watch_forever, services)

    def _may_connect(self, endpoint: EndpointSettings) -> bool:
        if endpoint.leased:
            return self._leases.holds(drain_lease(endpoint))
        return self._leases.may_own(endpoint)

    def does_once(self) -> bool:
        """Whether it is this node that does what one node does for all."""
        return self._leases.holds(ONCE)

    @property
    def is_fenced(self) -> bool:
        """Whether others may have declared this node dead: it sends nothing."""
        return self.is_started and not self._leases.is_alive

    def _may_send(self) -> bool:
        return self._leases.is_alive

    def _take_key(self, request: NetworkRequest) -> None:
        self.keys.put(request)

    def _accept(self, arrival: Arrival) -> Wait | None:
        shift = self._shift
        if self._nursery is None or shift is None or self.is_draining:
            # Silence: the terminal repeats, here after the restart or elsewhere.
            arrival.done()
            return None
        limits = shift.services.settings.admission
        if self.counts.deciding + len(self._door) >= limits.arrivals_max:
            # Not even repeats and reversals, which nothing else refuses, may fill
            # the memory. They come again.
            self.counts.unheard += 1
            arrival.done()
            return None
        if self.counts.deciding < limits.in_flight_max:
            self._begin_decision(arrival)
            return None
        return self._door.put(arrival)

    def _begin_decision(self, arrival: Arrival) -> None:
        """Decide a message in a task of its own."""
        shift = self._shift
        assert self._nursery is not None, "only a running switch decides"
        assert shift is not None, "only a running switch decides"
        self.counts.deciding += 1
        shift.begin()
        self._nursery.start_soon(self._decide, shift, arrival, self.counts.deciding)

    async def _decide(self, shift: Shift, arrival: Arrival, in_hand: int) -> None:
        try:
            await dispatch(shift.services, arrival, in_hand=in_hand)
        finally:
            self.counts.deciding -= 1
            shift.end()
            self._fill_place()

    def _fill_place(self) -> None:
        """Let in who waits to be turned away, where there is a place after all."""
        shift = self._shift
        assert shift is not None, "only a running switch decides"
        limit = shift.services.settings.admission.in_flight_max
        if self.counts.deciding < limit and (arrival := self._door.let_in()):
            self._begin_decision(arrival)


async def wait_attempted(links: Iterable[Link]) -> None:
    """Give links a moment to sign on."""
    with trio.move_on_after(SIGN_ON_PATIENCE_S):
        for link in links:
            await link.attempted.wait()
