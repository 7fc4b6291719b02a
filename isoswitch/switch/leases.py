"""Which node may do what: leases in a shared store, and a node that fences itself.

    node/<name>       held by one boot and renewed by it: that boot lives
    saf/<endpoint>    held by the boot that drains what is owed to that endpoint
    link/<endpoint>   held by the boot that may connect to a partner of one session, and
                      drains what is owed to it
    once              held by the boot that does what one node does for all

Only a node's own lease is renewed; the others are worth as much as their holder's. Who
waits for a lease reads no clock but its own: a beat that has not changed for
``DEAD_AFTER_S`` means a dead node, and taking its lease away by compare-and-set makes
sure of it. The holder gives up earlier, counting from before it asked for a renewal::

    holder    renewal asked |---- FENCE_AFTER_S ----| sends nothing to issuers
    others        beat seen    |------- DEAD_AFTER_S -------| reverse what it left open

What a reload makes a node want no more it gives up when the links before have ended.
A store that is not shared has one node, which may do everything and writes no leases.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import structlog
import trio

from isoswitch.codecs.canonical.errors import IsoswitchError, StoreUnavailable
from isoswitch.journal.records import Record, RecordKind
from isoswitch.store.port import (
    Lease,
    LeaseChange,
    OwnershipLost,
    Store,
    UnitOfWork,
)
from isoswitch.switch.ports import Clock, iso_time
from isoswitch.switch.settings import EndpointSettings

# With the sweep of what a dead node left open, others take over within five seconds.
RENEW_EVERY_S = 0.5
FENCE_AFTER_S = 2.5
DEAD_AFTER_S = 3.5
BOOT = "boot"
NODE = "node/"
ONCE = "once"

log = structlog.get_logger()


def drain_lease(endpoint: EndpointSettings) -> str:
    """Name the lease of the node that drains what is owed to an endpoint.

    Of a partner of one session that is who may connect to it.
    """
    return f"{'link' if endpoint.leased else 'saf'}/{endpoint.name}"


class FencedOut(IsoswitchError):
    """Another node has declared this one dead; only a new boot may go on."""


class Leases:
    """What one boot of a node may do alone.

    ``boot`` is its number, unique in the store, once ``begin`` has drawn it.
    """

    def __init__(self, store: Store, *, node: str) -> None:
        self._store = store
        self._name = f"{NODE}{node}"
        self._node = node
        self._own: Lease | None = None
        # One change of what is held at a time: each expects the one before.
        self._changing = trio.Lock()
        self._renewed_at = -math.inf
        self._wanted: frozenset[str] = frozenset()
        self._held: dict[str, Lease] = {}
        self._seen: dict[str, tuple[Lease, float]] = {}
        self.boot = 0

    @property
    def is_alive(self) -> bool:
        """Whether nobody can have declared this node dead yet."""
        if not self._store.is_shared:
            return True
        return trio.current_time() - self._renewed_at < FENCE_AFTER_S

    def holds(self, name: str) -> bool:
        """Whether this node, and no other, may do now what a lease stands for."""
        return self.is_alive and (not self._store.is_shared or name in self._held)

    def may_own(self, endpoint: EndpointSettings) -> bool:
        """Whether this node is one of those that may connect to an endpoint."""
        return endpoint.owner in {"", self._node}

    def drains(self, endpoint: EndpointSettings) -> bool:
        """Whether this node, and no other, sends now what is owed to an endpoint.

        Who may connect to it no more has its lease for a while, and sends nothing.
        """
        is_ours = not self._store.is_shared or self.may_own(endpoint)
        return is_ours and self.holds(drain_lease(endpoint))

    async def begin(self, clock: Clock) -> None:
        """Write down that a node starts, under the next boot number of the store.

        A node of the same name cannot be alive any more: its lease is taken at once.
        """
        while self.boot == 0:
            now = trio.current_time()
            found = {lease.name: lease for lease in await self._store.leases()}
            last = found.get(BOOT)
            boot = 1 + (int(last.holder) if last else await self._last_boot())
            changes = [LeaseChange(name=BOOT, expect=last, holder=str(boot))]
            if self._store.is_shared:
                before = found.get(self._name)
                changes.append(
                    LeaseChange(name=self._name, expect=before, holder=str(boot))
                )
                self._own = _next(self._name, before, str(boot))
            record = Record(
                kind=RecordKind.BOOT,
                transaction_id=BOOT,
                at=iso_time(clock.now()),
                body={"number": boot, "node": self._node},
            )
            unit = UnitOfWork(records=(record,), leases=tuple(changes))
            try:
                await self._store.commit(unit)
            except OwnershipLost:
                # Another node began in the same moment.
                continue
            self.boot, self._renewed_at = boot, now

    async def live_boots(self) -> frozenset[str]:
        """Give the numbers of the boots whose transactions are their own affair.

        Ask after reading the transactions: a boot takes its lease before it opens any.
        """
        if not self._store.is_shared:
            return frozenset({str(self.boot)})
        leases = await self._store.leases()
        return frozenset(each.holder for each in leases if each.name.startswith(NODE))

    def want(self, names: Iterable[str]) -> None:
        """Take these leases as soon as nobody alive holds them; give up all others."""
        self._wanted = frozenset(names)

    async def run(self) -> None:
        """Stay alive and take what is wanted, until cancelled.

        Raises
        ------
        FencedOut
            This node was silent for too long and others have taken over.
        """
        while self._store.is_shared:
            began_at = trio.current_time()
            if not self.is_alive:
                # What stood still while we could not renew says nothing of others.
                self._seen.clear()
            try:
                await self._renew()
                await self.look()
            except StoreUnavailable as error:
                log.error("lease_not_renewed", reason=str(error))
            # At once where the store took that long.
            await trio.sleep_until(began_at + RENEW_EVERY_S)
        await trio.sleep_forever()

    async def look(self) -> None:
        """Declare dead who is, take what is wanted and free, give up what is not."""
        leases = await self._store.leases()
        live = {
            lease.holder
            for lease in leases
            if lease.name.startswith(NODE) and not await self._declare_dead(lease)
        }
        found = {lease.name: lease for lease in leases}
        # In an order that every run of a simulation repeats.
        for name in sorted(self._wanted):
            lease = found.get(name)
            if name not in self._held and (lease is None or lease.holder not in live):
                await self._take(name, lease)
        for name in sorted(self._held.keys() - self._wanted):
            await self._give_up(name)

    async def commit_as_holder(self, name: str, unit: UnitOfWork) -> None:
        """Store a unit before another node can take a lease, or not at all.

        Raises
        ------
        OwnershipLost
            Others may have it already; or the unit is refused for what it is.
        StoreUnavailable
            Nothing was stored.
        """
        if not self._store.is_shared:
            await self._store.commit(unit)
            return
        async with self._changing:
            if self._own is None or name not in self._held:
                raise OwnershipLost(f"{self._node} has given up {name}")
            await self._renew_with(unit, self._own)

    async def release(self) -> None:
        """Give up everything in one step, so that others need not wait."""
        async with self._changing:
            if self._own is None:
                return
            held = (*self._held.values(), self._own)
            self._renewed_at = -math.inf
            self._held.clear()
            self._wanted = frozenset()
            self._own = None
            changes = tuple(
                LeaseChange(name=lease.name, expect=lease, holder="") for lease in held
            )
            await self._store.commit(UnitOfWork(records=(), leases=changes))

    async def _renew(self) -> None:
        async with self._changing:
            if self._own is None:
                return
            try:
                await self._renew_with(UnitOfWork(records=()), self._own)
            except OwnershipLost:
                msg = f"another node has taken over from {self._node}; start it again"
                raise FencedOut(msg) from None

    async def _renew_with(self, unit: UnitOfWork, own: Lease) -> None:
        now = trio.current_time()
        change = LeaseChange(name=self._name, expect=own, holder=own.holder)
        await self._store.commit(replace(unit, leases=(change,)))
        self._own = _next(self._name, own, own.holder)
        self._renewed_at = now

    async def _declare_dead(self, lease: Lease) -> bool:
        """Take a node's lease away when its beat has stood still for too long."""
        if lease.name == self._name:
            return False
        now = trio.current_time()
        seen, since = self._seen.get(lease.name, (None, now))
        if seen != lease:
            self._seen[lease.name] = lease, now
            return False
        if now - since < DEAD_AFTER_S or not await self._change(lease.name, lease, ""):
            return False
        log.warning("node_declared_dead", node=lease.name, boot=lease.holder)
        return True

    async def _take(self, name: str, before: Lease | None) -> None:
        holder = str(self.boot)
        if await self._change(name, before, holder):
            self._held[name] = _next(name, before, holder)
            log.info("lease_taken", lease=name, boot=self.boot)

    async def _give_up(self, name: str) -> None:
        async with self._changing:
            # Unless all has been released meanwhile.
            if name in self._held:
                await self._change(name, self._held[name], "")
                del self._held[name]
                log.info("lease_given_up", lease=name, boot=self.boot)

    async def _change(self, name: str, expect: Lease | None, holder: str) -> bool:
        """Compare and set; False when somebody else was faster."""
        change = LeaseChange(name=name, expect=expect, holder=holder)
        try:
            await self._store.commit(UnitOfWork(records=(), leases=(change,)))
        except OwnershipLost:
            return False
        return True

    async def _last_boot(self) -> int:
        """Give the last boot that was written down before boots had a lease."""
        boot = after_seq = 0
        while records := await self._store.records(BOOT, after_seq=after_seq):
            boot, after_seq = records[-1].record.body["number"], records[-1].seq
        return boot


def _next(name: str, before: Lease | None, holder: str) -> Lease:
    return Lease(name=name, holder=holder, beat=before.beat + 1 if before else 1)
