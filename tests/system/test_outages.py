"""The crypto service or the store is gone, or too much comes at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import trio

from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.codecs.canonical.errors import HsmUnavailable
from isoswitch.hsm.port import AnyCommand, Hsm, VerifyMac
from isoswitch.journal.records import RecordKind
from isoswitch.simulators.beliefs import BeliefState
from isoswitch.simulators.cards import get_card
from isoswitch.simulators.rules import Fixed, Reaction, Rule
from isoswitch.simulators.swarm import settle
from isoswitch.simulators.world import World
from isoswitch.switch.settings import SwitchSettings
from tests.system.test_failures import world_kinds


class FlakyHsm:
    """A crypto service that is away while the named keys are used."""

    def __init__(self, hsm: Hsm) -> None:
        self._hsm = hsm
        self.away_for: frozenset[str] = frozenset()

    async def run(self, *commands: AnyCommand) -> list[bytes]:
        """Run commands, or say that nobody answers."""
        if any(str(getattr(c, "key", "")) in self.away_for for c in commands):
            msg = "no crypto process answers"
            raise HsmUnavailable(msg)
        return await self._hsm.run(*commands)


@pytest.fixture
async def flaky(nursery: trio.Nursery) -> AsyncIterator[tuple[World, FlakyHsm]]:
    """A network whose crypto service can be sent away."""
    made: list[FlakyHsm] = []

    def wrap(hsm: Hsm) -> Hsm:
        made.append(FlakyHsm(hsm))
        return made[0]

    network = World(wrap_hsm=wrap)
    await nursery.start(network.run)
    yield network, made[0]
    made[0].away_for = frozenset()
    verdict = await settle(network)
    assert verdict.is_settled, verdict.describe()


@pytest.mark.parametrize("key", ["store/pan-hash", "north/zak", "store/seal"])
async def test_without_crypto_a_request_is_declined_and_nothing_is_sent(
    flaky: tuple[World, FlakyHsm], key: str
) -> None:
    world, hsm = flaky
    hsm.away_for = frozenset({key})
    card = get_card("visa-ok")
    belief = await world.terminals["TERM0001"].purchase(card, 1250, pin=card.pin)
    assert belief.outcome is not None
    assert belief.outcome.code is ResponseCode.SYSTEM_MALFUNCTION
    assert not world.issuers["north"].bookings.entries


async def test_an_answer_that_cannot_be_verified_is_reversed_when_crypto_returns(
    flaky: tuple[World, FlakyHsm],
) -> None:
    world, hsm = flaky
    card = get_card("visa-ok")
    slow = Rule(name="slow", then=Reaction(delay=Fixed(delay_s=2.0)), times_max=1)
    world.issuers["north"].set_rules([slow])
    terminal = world.terminals["TERM0001"]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: terminal.purchase(card, 1250, pin=card.pin))
        await trio.sleep(1)
        hsm.away_for = frozenset({"north/zak"})
    assert terminal.beliefs[0].state is BeliefState.DECLINED
    await trio.sleep(20)
    assert await world_kinds(world, RecordKind.DELIVERED) == 0
    hsm.away_for = frozenset()
    await trio.sleep(120)
    assert await world_kinds(world, RecordKind.DELIVERED) == 1


async def test_a_reversal_refused_for_want_of_crypto_is_taken_when_repeated(
    flaky: tuple[World, FlakyHsm],
) -> None:
    world, hsm = flaky
    terminal = world.terminals["TERM0001"]
    card = get_card("visa-ok")
    belief = await terminal.purchase(card, 1250, pin=card.pin)
    hsm.away_for = frozenset({"store/pan-hash"})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(terminal.reverse, belief)
        await trio.sleep(5)
        hsm.away_for = frozenset()
    assert belief.state is BeliefState.REVERSED
    assert belief.reversal_sends > 1
    await trio.sleep(10)
    assert await world_kinds(world, RecordKind.DELIVERED) == 1


class FailingFirst:
    """A crypto service that is away for the first request of a terminal."""

    def __init__(self, hsm: Hsm) -> None:
        self._hsm = hsm
        self._has_failed = False

    async def run(self, *commands: AnyCommand) -> list[bytes]:
        """Run commands, but for the first that verify a request."""
        if not self._has_failed and isinstance(commands[0], VerifyMac):
            self._has_failed = True
            msg = "the crypto process died"
            raise HsmUnavailable(msg)
        return await self._hsm.run(*commands)


async def test_a_copy_gets_the_answer_of_one_that_crypto_could_not_read(
    nursery: trio.Nursery,
) -> None:
    """Without its card's hash the first copy has no content to be compared with."""
    world = World(wrap_hsm=FailingFirst, store_delay_s=lambda: 1.0)
    await nursery.start(world.run)
    terminal = world.terminals["TERM0001"]
    card = get_card("visa-ok")
    request = terminal.build(Kind.PURCHASE, card, 1250, pin=card.pin)
    nursery.start_soon(terminal.exchange, request)
    # The decline of the first copy is still being written down.
    await trio.sleep(0.5)
    answer = await terminal.exchange(terminal.as_repeat(request))
    assert answer is not None
    assert answer.outcome.code is ResponseCode.SYSTEM_MALFUNCTION
    assert await world_kinds(world, RecordKind.EXCEPTION) == 0


async def test_what_cannot_be_recorded_is_not_answered(world: World) -> None:
    """Silence, then the repeat is served when the store is back (money rule 12)."""
    assert world.store is not None
    world.store.is_full = True
    terminal = world.terminals["TERM0001"]
    card = get_card("visa-ok")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: terminal.purchase(card, 1250, pin=card.pin))
        await trio.sleep(10)
        assert not world.issuers["north"].bookings.entries
        world.store.is_full = False
    assert terminal.beliefs[0].state is BeliefState.APPROVED
    assert terminal.beliefs[0].sends == 2


async def test_an_outcome_that_cannot_be_recorded_is_reversed_by_the_sweeper(
    world: World,
) -> None:
    slow = Rule(name="slow", then=Reaction(delay=Fixed(delay_s=2.0)), times_max=1)
    world.issuers["north"].set_rules([slow])
    terminal = world.terminals["TERM0001"]
    card = get_card("visa-ok")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: terminal.purchase(card, 1250, pin=card.pin))
        await trio.sleep(1)
        assert world.store is not None
        world.store.is_full = True
        await trio.sleep(5)
        world.store.is_full = False
    assert terminal.beliefs[0].state is not BeliefState.APPROVED
    assert await world_kinds(world, RecordKind.REVERSAL_OWED) == 1


async def test_overload_is_declined_at_once_and_recorded(nursery: trio.Nursery) -> None:
    def change(settings: SwitchSettings) -> SwitchSettings:
        return replace(settings, admission=replace(settings.admission, in_flight_max=4))

    network = World(change=change)
    await nursery.start(network.run)
    slow = Rule(name="slow", then=Reaction(delay=Fixed(delay_s=3.0)))
    network.issuers["north"].set_rules([slow])
    terminal = network.terminals["TERM0001"]
    card = get_card("visa-ok")
    declined_after_s: list[float] = []

    async def pay() -> None:
        began_at = trio.current_time()
        belief = await terminal.purchase(card, 100)
        if belief.state is BeliefState.DECLINED:
            declined_after_s.append(trio.current_time() - began_at)

    async with trio.open_nursery() as customers:
        for _ in range(10):
            customers.start_soon(pay)
    assert len(declined_after_s) == 6
    assert max(declined_after_s) < 1.0
    stored = network.disk.transactions.values()
    assert len(stored) == 10
    verdict = await settle(network)
    assert verdict.is_settled, verdict.describe()
