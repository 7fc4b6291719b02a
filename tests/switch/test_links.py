"""One link and what is at its other end: connecting again, owning, standing by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from random import Random

import pytest
import trio

from isoswitch.codecs.canonical.codes import ResponseCode
from isoswitch.codecs.canonical.errors import LinkDown, NoAnswer
from isoswitch.codecs.canonical.transaction import Outcome
from isoswitch.codecs.dialects.mti import ANSWERS
from isoswitch.codecs.dialects.registry import get_dialect
from isoswitch.codecs.framing import get_framing
from isoswitch.simulators.network import Weather, connect_in_memory
from isoswitch.simulators.wire import Wire
from isoswitch.switch.links import Link
from isoswitch.switch.linkstate import (
    Halt,
    LinkChange,
    LinkState,
    Standing,
    derive_state,
)
from isoswitch.switch.settings import EndpointSettings, SignOn

IS_VIRTUAL = True
DIALECT = get_dialect("iso87-ascii")
BIN2 = get_framing("bin2")
SETTINGS = EndpointSettings(
    name="north",
    host="",
    port=0,
    dialect="iso87-ascii",
    framing="bin2",
    acquirer_id="10001",
    zpk="zpk",
    zak="zak",
)
PURCHASE = DIALECT.codec.build("0200", {11: "000001", 37: "000000000001"})
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


class Noon:
    """A clock that stands still."""

    def now(self) -> datetime:
        """Give noon."""
        return NOON


@dataclass
class Partner:
    """A host that agrees to everything, while it can be reached and is not silent."""

    nursery: trio.Nursery
    is_reachable: bool = True
    connects_in_s: float = 0.0
    heard: list[str] = field(default_factory=list)
    is_silent: bool = False
    called_at: list[float] = field(default_factory=list)
    changes: list[LinkChange] = field(default_factory=list)

    async def connect(self, _: EndpointSettings) -> trio.abc.Stream:
        """Take a connection."""
        self.called_at.append(trio.current_time())
        await trio.sleep(self.connects_in_s)
        if not self.is_reachable:
            raise ConnectionRefusedError
        ours, theirs = connect_in_memory(Weather(random=Random(1)))
        wire = Wire(theirs, BIN2)

        def receive(payload: bytes) -> None:
            request = DIALECT.codec.decode(payload)
            self.heard.append(request.mti)
            if request.mti in ANSWERS and not self.is_silent:
                outcome = Outcome(code=ResponseCode.APPROVED)
                wire.send_nowait(DIALECT.to_response(request, outcome).raw)

        self.nursery.start_soon(wire.run, receive)
        return ours

    def link(
        self,
        settings: EndpointSettings,
        *,
        may_connect: Callable[[], bool] = lambda: True,
        may_send: Callable[[], bool] = lambda: True,
        seed: int = 1,
    ) -> Link:
        """Make a link to it."""
        return Link(
            settings,
            connect=self.connect,
            clock=Noon(),  # type: ignore[arg-type]  # no business date is asked for
            random=Random(seed),
            on_stray=lambda _: None,
            on_key=lambda _: None,
            on_cutover=lambda _: None,
            on_change=self.changes.append,
            may_connect=may_connect,
            may_send=may_send,
        )


async def pauses_of(nursery: trio.Nursery, *, seed: int) -> list[float]:
    """Give the pauses between the first attempts to reach nobody."""
    partner = Partner(nursery, is_reachable=False)
    link = partner.link(SETTINGS, seed=seed)
    with trio.move_on_after(100):
        await link.run()
    at = partner.called_at
    return [later - earlier for earlier, later in pairwise(at)]


async def test_attempts_to_connect_back_off_by_chance_up_to_a_cap(
    nursery: trio.Nursery,
) -> None:
    pauses = await pauses_of(nursery, seed=1)
    base_s = SETTINGS.reconnect_min_s
    assert len(pauses) > 10
    for pause_s in pauses:
        assert 0.5 * base_s <= pause_s + 1e-6
        assert pause_s <= 1.5 * base_s + 1e-6
        base_s = min(2 * base_s, SETTINGS.reconnect_max_s)
    assert pauses != await pauses_of(nursery, seed=2)


async def test_a_connection_that_lasted_begins_the_pauses_anew(
    nursery: trio.Nursery,
) -> None:
    partner = Partner(nursery, is_reachable=False)
    link = partner.link(SETTINGS)
    nursery.start_soon(link.run)
    await trio.sleep(60)
    partner.is_reachable = True
    await trio.sleep(60)
    assert link.state is LinkState.SIGNED_ON
    lost_at = trio.current_time()
    link._upkeep.open[0].close("cut")
    await trio.sleep(1)
    assert partner.called_at[-1] - lost_at <= 1.5 * SETTINGS.reconnect_min_s
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("one_shot", [False, True])
async def test_only_the_holder_of_the_lease_connects(
    nursery: trio.Nursery, *, one_shot: bool
) -> None:
    sign_on = SignOn.NOBODY if one_shot else SignOn.US
    settings = replace(SETTINGS, leased=True, one_shot=one_shot, sign_on=sign_on)
    partner = Partner(nursery)
    is_held = False
    link = partner.link(settings, may_connect=lambda: is_held)
    nursery.start_soon(link.run)
    await trio.sleep(30)
    assert link.state is LinkState.DOWN
    assert partner.called_at == []
    is_held = True
    await trio.sleep(2)
    assert link.state is LinkState.SIGNED_ON
    is_held = False
    await trio.sleep(2)
    with pytest.raises(LinkDown):
        await link.request(PURCHASE, deadline=1e9, transaction_id="1-1")
    assert len(partner.called_at) == (not one_shot)
    nursery.cancel_scope.cancel()


async def test_a_lost_lease_closes_what_is_connected(nursery: trio.Nursery) -> None:
    partner = Partner(nursery)
    is_held = True
    link = partner.link(
        replace(SETTINGS, leased=True, connections=2), may_connect=lambda: is_held
    )
    nursery.start_soon(link.run)
    await trio.sleep(5)
    assert link.status().signed_on == 2
    is_held = False
    await trio.sleep(5)
    assert partner.changes[-1].after is LinkState.DOWN
    assert partner.changes[-1].reason == "another node may connect now"
    assert len(partner.called_at) == 2
    nursery.cancel_scope.cancel()


async def is_sent(link: Link) -> bool:
    """Pay over a link, and tell whether anything may have been sent."""
    try:
        deadline = trio.current_time() + 10
        await link.request(PURCHASE, deadline=deadline, transaction_id="1-1")
    except LinkDown:
        return False
    return True


@pytest.mark.parametrize(
    "loss", ["none", "suspended", "signed off", "lease", "ownership"]
)
async def test_what_must_not_be_sent_once_it_is_connected_is_not_sent(
    nursery: trio.Nursery, loss: str
) -> None:
    partner = Partner(nursery, connects_in_s=4.0)
    lost: set[str] = set()
    link = partner.link(
        replace(SETTINGS, one_shot=True, sign_on=SignOn.NOBODY),
        may_connect=lambda: "ownership" not in lost,
        may_send=lambda: "lease" not in lost,
    )
    nursery.start_soon(link.run)
    await trio.sleep(1)
    orders = {"suspended": link.suspend, "signed off": link.stay_signed_off}

    async def lose() -> None:
        await trio.sleep(2)
        orders.get(loss, partial(lost.add, loss))()

    nursery.start_soon(lose)
    assert await is_sent(link) is (loss == "none")
    assert len(partner.called_at) == 1
    assert partner.heard == ["0200"] * (loss == "none")
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("one_shot", [False, True])
async def test_a_link_that_ends_leaves_nothing_waiting_and_takes_nothing_more(
    nursery: trio.Nursery, *, one_shot: bool
) -> None:
    partner = Partner(nursery)
    sign_on = SignOn.NOBODY if one_shot else SignOn.US
    link = partner.link(replace(SETTINGS, one_shot=one_shot, sign_on=sign_on))
    life = trio.CancelScope()
    ends: list[tuple[float, str]] = []

    async def run() -> None:
        with life:
            await link.run()

    async def ask(stan: str) -> None:
        request = DIALECT.codec.build("0200", {11: stan, 37: f"000000{stan}"})
        try:
            await link.request(request, deadline=60.0, transaction_id="1-1")
        except (LinkDown, NoAnswer) as error:
            ends.append((trio.current_time() - began_at, type(error).__name__))

    began_at = trio.current_time()
    nursery.start_soon(run)
    await trio.sleep(1)
    partner.is_silent = True
    nursery.start_soon(ask, "000001")
    await trio.sleep(1)
    life.cancel()
    await trio.sleep(1)
    await ask("000002")
    assert ends == [(2.0, "NoAnswer"), (3.0, "LinkDown")]
    nursery.cancel_scope.cancel()


UP = Standing(open_count=2, signed_on_count=1)
CONNECTED = Standing(open_count=1, signed_on_count=0)
NONE = Standing(open_count=0, signed_on_count=0)


@pytest.mark.parametrize(
    ("standing", "halts", "state"),
    [
        (NONE, set(), LinkState.DOWN),
        (NONE, {Halt.OPERATOR}, LinkState.DOWN),
        (CONNECTED, set(), LinkState.CONNECTED),
        (CONNECTED, {Halt.PARTNER}, LinkState.SUSPENDED),
        (UP, set(), LinkState.SIGNED_ON),
        (UP, {Halt.SIGNED_OFF}, LinkState.CONNECTED),
        (UP, {Halt.SIGNED_OFF, Halt.OPERATOR}, LinkState.SUSPENDED),
        (UP, {Halt.PARTNER}, LinkState.SUSPENDED),
        (UP, {Halt.OPERATOR}, LinkState.SUSPENDED),
    ],
)
def test_the_state_follows_from_connections_and_holds(
    standing: Standing, halts: set[Halt], state: LinkState
) -> None:
    assert derive_state(standing, halts) is state
