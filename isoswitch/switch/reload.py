"""Another configuration for a running switch, without losing a transaction.

The new file is read and judged as a whole before anything changes. What is new is
started beside what is old; new transactions begin under the new settings, those in
flight end under their own; then what is gone is drained and ended::

    read -> refuse or describe -> write down -> start new parts -> change shift -> drain

The links of one endpoint never serve new transactions at the same time. Where a partner
takes us only once (it connects to us, or the link is owned or leased by one node), the
old link ends before the new one starts.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

import structlog
import trio

from isoswitch.codecs.canonical.errors import ConfigError
from isoswitch.journal.records import RecordKind
from isoswitch.switch.differences import (
    Configuration,
    describe_changes,
    find_lasting,
)
from isoswitch.switch.links import Link
from isoswitch.switch.server import Switch, wait_attempted
from isoswitch.switch.shifts import Shift
from isoswitch.switch.terminals import Listener

Load = Callable[[], Awaitable[Configuration]]

DRAIN_MARGIN_S = 1.0
LOOK_S = 0.01

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts of another configuration: those that stay, and those that are new."""

    links: Mapping[str, Link]
    listeners: Mapping[str, Listener]
    fresh_links: list[Link] = field(default_factory=list)
    fresh_listeners: list[Listener] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftovers:
    """What ends when the transactions of its shift have: and what waits for that.

    ``replaced`` are the names of the links whose successors are at work already.
    """

    shift: Shift
    listeners: list[Listener]
    links: list[Link]
    late_links: list[Link]
    replaced: frozenset[str]


class Reloader:
    """Reads the configuration again and puts it in the place of the present one.

    ``load`` reads and judges the whole of it; it raises `ConfigError` with everything
    that is wrong. ``run`` must run beside the switch. ``current`` is the configuration
    that the switch is under.
    """

    def __init__(
        self,
        switch: Switch,
        current: Configuration,
        load: Load,
    ) -> None:
        self._switch = switch
        self.current = current
        self._load = load
        self._lock = trio.Lock()
        self._leftovers: Leftovers | None = None
        self._left = trio.Event()

    @property
    def leftovers(self) -> Leftovers | None:
        """What the last reload left to be ended; None when there is nothing."""
        return self._leftovers

    async def run(self) -> None:
        """End what reloads leave behind, until cancelled."""
        while True:
            await self._left.wait()
            assert self._leftovers is not None, "set before the event"
            await self._end(self._leftovers)
            self._leftovers, self._left = None, trio.Event()
            log.info("reload_drained")

    async def reload(self, *, operator: str, dry_run: bool = False) -> list[str]:
        """Change to the configuration as it stands now, and tell what changed.

        Raises
        ------
        ConfigError
            It does not hold, or changes what lasts, or parts cannot be started:
            nothing was changed.
        StoreUnavailable
            The change cannot be written down: nothing was changed.
        """
        async with self._lock:
            after = await self._load()
            lasting = find_lasting(self.current, after)
            if lasting:
                msg = (
                    f"only a restart changes {', '.join(lasting)}; nothing was changed"
                )
                raise ConfigError(msg)
            changes = describe_changes(self.current, after)
            if dry_run or not changes:
                return changes
            if self._leftovers is not None:
                msg = "the last reload is still draining; order again in a moment"
                raise ConfigError(msg)
            # An operator who goes away must not leave it half done.
            with trio.CancelScope(shield=True):
                await self._change(after, changes, operator)
            self.current = after
            log.warning("reloaded", operator=operator, changes=changes)
            return changes

    async def _change(
        self, after: Configuration, changes: list[str], operator: str
    ) -> None:
        switch = self._switch
        try:
            parts = make_parts(switch, after)
            early = [link for link in parts.fresh_links if not self._must_wait(link)]
            try:
                self._open_doors(parts)
                await self._start_early(early)
                await self._note(after, changes, operator)
            except BaseException:
                await self._undo(parts)
                raise
        except OSError as error:
            msg = f"a part cannot be started, so nothing was changed: {error}"
            raise ConfigError(msg) from error
        links, listeners = switch.links, switch.listeners
        late = [each for each in parts.fresh_links if each not in early]
        for listener in listeners.values():
            if listener not in parts.listeners.values():
                listener.close_door()
        for listener in parts.fresh_listeners:
            try:
                await switch.start_listener(listener)
            except OSError as error:
                # The old door was closed a moment ago; health tells that it stays so.
                log.error(
                    "listener_not_open",
                    listener=listener.settings.name,
                    reason=str(error),
                )
        shift = await switch.change_shift(
            after.settings, after.routing, links=parts.links, listeners=parts.listeners
        )
        self._leftovers = Leftovers(
            shift=shift,
            links=[each for each in links.values() if each not in parts.links.values()],
            listeners=[
                each
                for each in listeners.values()
                if each not in parts.listeners.values()
            ],
            late_links=late,
            replaced=frozenset(parts.links) - {each.settings.name for each in late},
        )
        self._left.set()

    def _must_wait(self, link: Link) -> bool:
        """Whether a link can only start when the one it replaces has ended."""
        settings = link.settings
        is_exclusive = settings.is_server or settings.leased or bool(settings.owner)
        return is_exclusive and settings.name in self._switch.links

    def _open_doors(self, parts: Parts) -> None:
        """Take the ports that are new; those of parts that go become free later."""
        switch = self._switch
        listeners, links = switch.listeners.values(), switch.links.values()
        taken = {_address(each) for each in listeners}
        for listener in parts.fresh_listeners:
            if switch.listens and _address(listener) not in taken:
                listener.open()
        ports = {each.settings.port for each in links if each.settings.is_server}
        for link in parts.fresh_links:
            if link.settings.port not in ports:
                switch.open_door(link)

    async def _start_early(self, early: list[Link]) -> None:
        """Start new links beside the old ones."""
        for link in early:
            await self._switch.start_link(link)
        await wait_attempted(early)

    async def _undo(self, parts: Parts) -> None:
        """End what was started of parts that are not to be."""
        for listener in parts.fresh_listeners:
            listener.close_door()
        for link in parts.fresh_links:
            await self._switch.stop(link)
            link.close_door()

    async def _note(
        self, after: Configuration, changes: list[str], operator: str
    ) -> None:
        assert self._switch.services is not None, "orders come to a running switch"
        body = {
            "order": "reload",
            "operator": operator,
            "changes": changes,
            "files": dict(after.digests),
        }
        await self._switch.services.recorder.note(RecordKind.OPERATOR, "", body)

    async def _end(self, leftovers: Leftovers) -> None:
        """Let an earlier shift end, then end what only it used."""
        switch, shift = self._switch, leftovers.shift
        timeout_s = shift.services.settings.transaction_s_max
        with trio.move_on_after(timeout_s + DRAIN_MARGIN_S):
            await shift.wait_empty()
        for listener in leftovers.listeners:
            with trio.move_on_after(DRAIN_MARGIN_S):
                while listener.in_flight_count:  # noqa: ASYNC110 (seldom, short)
                    await trio.sleep(LOOK_S)
            # The last answers are on their way to the wire.
            await trio.sleep(LOOK_S)
            listener.hang_up("another configuration took its place")
            await switch.stop(listener)
        for link in leftovers.links:
            # Where the endpoint has the next session already, a sign-off would end it.
            if link.settings.name not in leftovers.replaced:
                await link.sign_off()
            await switch.stop(link)
        switch.want_leases()
        for link in leftovers.late_links:
            switch.start_link_soon(link)


def make_parts(switch: Switch, after: Configuration) -> Parts:
    """Make the parts that differ from those that run; raises OSError for TLS files."""
    settings = after.settings
    parts = Parts(links={}, listeners={})
    links: dict[str, Link] = {}
    for name, endpoint in settings.endpoints.items():
        link = switch.links.get(name)
        if link is None or link.settings != endpoint:
            link = switch.make_link(endpoint)
            parts.fresh_links.append(link)
        links[name] = link
    listeners: dict[str, Listener] = {}
    for row in settings.listeners:
        listener = switch.listeners.get(row.name)
        if listener is None or listener.settings != row:
            listener = switch.make_listener(row)
            parts.fresh_listeners.append(listener)
        listeners[row.name] = listener
    return replace(parts, links=links, listeners=listeners)


def _address(listener: Listener) -> tuple[str, int]:
    return listener.settings.host, listener.settings.port
