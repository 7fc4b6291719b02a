"""Storms over the whole network, each drawn from a seed, and the audit afterwards.

A seed draws which kinds of fault there are and how often they strike (a swarm: about
half of them in each story). While the storm lasts, customers pay at every terminal;
then everything is healed, what is under way comes to rest, and the auditor compares all
sides. A seed that fails is a complete report: the same seed tells the same story.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from random import Random

import trio
from trio.testing import MockClock

from isoswitch.codecs.canonical.codes import Kind
from isoswitch.codecs.canonical.errors import HsmUnavailable
from isoswitch.hsm.port import AnyCommand, Hsm
from isoswitch.journal.chain import decode_record
from isoswitch.simulators.auditor import Verdict, audit, view_store
from isoswitch.simulators.beliefs import BeliefState
from isoswitch.simulators.cards import CARDS
from isoswitch.simulators.determinism import deterministic
from isoswitch.simulators.rules import (
    Fault,
    Reaction,
    Rule,
    Uniform,
)
from isoswitch.simulators.terminal import Request, Terminal
from isoswitch.simulators.triggers import standing_rules
from isoswitch.simulators.world import World

STORM_S = 240.0
SETTLE_S = 1200.0
REQUESTS_PER_TERMINAL = 25
REVERSAL_CHANCE = 0.2
BALANCE_CHANCE = 0.1
LATE_S = 12.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a seed came to: the verdict, what happened how often, and a digest of it."""

    seed: int
    verdict: Verdict
    counts: Mapping[str, int]
    digest: str


def simulate(seed: int) -> Report:
    """Tell the story of a seed; the same seed always gives the same report."""
    with deterministic(seed):
        return trio.run(_tell, seed, clock=MockClock(autojump_threshold=0))


async def settle(world: World, *, limit_s: float = SETTLE_S) -> Verdict:
    """Let everything that is under way come to rest, and audit all sides."""
    deadline = trio.current_time() + limit_s
    while True:
        assert world.store is not None, "only a started world settles"
        verdict = audit(
            view=await view_store(world.store),
            bookings={name: each.bookings for name, each in world.issuers.items()},
            beliefs=[b for t in world.terminals.values() for b in t.beliefs],
        )
        if verdict.is_settled or trio.current_time() > deadline:
            return verdict
        await trio.sleep(1.0)


@dataclass(slots=True, eq=False)
class Storm:
    """A world, what may go wrong in it, and how often it did."""

    world: World
    random: Random
    hsm: MoodyHsm
    counts: Counter[str] = field(default_factory=Counter)

    async def blow(self) -> None:
        """Let drawn faults strike until the storm is over."""
        enabled = [name for name in STRIKES if self.random.random() < 0.5]
        mean_s = 5.0 + 40.0 * self.random.random()
        end = trio.current_time() + STORM_S
        while enabled and trio.current_time() < end:
            await trio.sleep(self.random.expovariate(1 / mean_s))
            name = self.random.choice(enabled)
            self.counts[name] += 1
            await STRIKES[name](self)

    async def crash(self) -> None:
        """Kill the switch and start it again."""
        if self.world.switch is None:
            return
        self.world.crash_switch()
        await trio.sleep(self.random.uniform(0.0, 5.0))
        await self.world.start_switch()

    async def cut_link(self) -> None:
        """Let one issuer be unreachable for a while."""
        name = self.random.choice(list(self.world.issuers))
        self.world.cut_link(name)
        await trio.sleep(self.random.uniform(0.1, 40.0))
        self.world.heal_link(name)

    async def reset_stream(self) -> None:
        """Break one connection somewhere, with what is under way on it."""
        if self.world.streams:
            self.random.choice(self.world.streams).reset()
        await trio.lowlevel.checkpoint()

    async def lose_crypto(self) -> None:
        """Let the crypto service be away for a while."""
        self.hsm.is_away = True
        await trio.sleep(self.random.uniform(0.1, 10.0))
        self.hsm.is_away = False

    async def fill_disk(self) -> None:
        """Let the store refuse everything for a while."""
        store = self.world.store
        if store is not None:
            store.is_full = True
            await trio.sleep(self.random.uniform(0.1, 10.0))
            store.is_full = False

    async def spoil_issuer(self) -> None:
        """Let one issuer answer some requests badly for a while."""
        name = self.random.choice(list(self.world.issuers))
        self.world.issuers[name].set_rules(self._bad_habits())
        await trio.sleep(self.random.uniform(5.0, 60.0))
        self.world.issuers[name].set_rules(standing_rules(late_s=LATE_S))

    async def bad_weather(self) -> None:
        """Let the network be slow and deliver in pieces for a while."""
        self.world.weather.latency_s = self.random.uniform(0.0, 3.0)
        self.world.weather.chop_chance = self.random.random()
        await trio.sleep(self.random.uniform(1.0, 60.0))
        self.world.weather.latency_s = 0.0
        self.world.weather.chop_chance = 0.0

    def _bad_habits(self) -> tuple[Rule, ...]:
        """Draw rules for every kind of message, reversals included."""
        reactions = {
            "loses requests": Reaction(books=False),
            "is slow": Reaction(delay=Uniform(low_s=0.0, high_s=LATE_S)),
            **{fault.value: Reaction(fault=fault) for fault in Fault},
        }
        names = self.random.sample(sorted(reactions), 3)
        return tuple(
            Rule(name=name, then=reactions[name], chance=self.random.uniform(0.05, 0.5))
            for name in names
        )


STRIKES: Mapping[str, Callable[[Storm], Awaitable[None]]] = {
    "crash": Storm.crash,
    "cut link": Storm.cut_link,
    "reset stream": Storm.reset_stream,
    "lose crypto": Storm.lose_crypto,
    "fill disk": Storm.fill_disk,
    "spoil issuer": Storm.spoil_issuer,
    "bad weather": Storm.bad_weather,
}


class MoodyHsm:
    """A crypto service that can be away."""

    def __init__(self, hsm: Hsm) -> None:
        self._hsm = hsm
        self.is_away = False

    async def run(self, *commands: AnyCommand) -> list[bytes]:
        """Run commands unless the service is away."""
        if self.is_away:
            await trio.lowlevel.checkpoint()
            msg = "no crypto process answers"
            raise HsmUnavailable(msg)
        return await self._hsm.run(*commands)


async def _tell(seed: int) -> Report:
    # Chance decides the story; it guards nothing.
    random = Random(seed)  # noqa: S311
    moody: list[MoodyHsm] = []

    def wrap(hsm: Hsm) -> Hsm:
        moody.append(MoodyHsm(hsm))
        return moody[0]

    slowest_s = random.choice([0.0, 0.001, 0.05])
    world = World(
        seed=seed,
        late_s=LATE_S,
        store_delay_s=lambda: random.random() * slowest_s,
        wrap_hsm=wrap,
    )
    storm = Storm(world, random, moody[0])
    async with trio.open_nursery() as nursery:
        await nursery.start(world.run)
        async with trio.open_nursery() as busy:
            busy.start_soon(storm.blow)
            for terminal in world.terminals.values():
                busy.start_soon(_shop, terminal, random, storm.counts)
        verdict = await settle(world)
        report = _report(seed, world, verdict, storm.counts)
        nursery.cancel_scope.cancel()
    return report


async def _shop(terminal: Terminal, random: Random, counts: Counter[str]) -> None:
    """Send customer after customer to a terminal, some of them two at a time."""
    cards = list(CARDS.values())
    async with trio.open_nursery() as nursery:
        for _ in range(REQUESTS_PER_TERMINAL):
            await trio.sleep(random.expovariate(REQUESTS_PER_TERMINAL / STORM_S))
            card = random.choice(cards)
            kind = Kind.PURCHASE
            if random.random() < BALANCE_CHANCE:
                kind = Kind.BALANCE_INQUIRY
            amount = 0 if kind is Kind.BALANCE_INQUIRY else random.randint(1, 20_000)
            request = terminal.build(kind, card, amount, pin=card.pin)
            undo = random.random() < REVERSAL_CHANCE

            nursery.start_soon(_pay, terminal, request, undo, counts)


async def _pay(
    terminal: Terminal,
    request: Request,
    undo: bool,
    counts: Counter[str],
) -> None:
    belief = await terminal.pay(request)
    is_paid = belief.state is BeliefState.APPROVED and belief.amount is not None
    if undo and is_paid:
        await terminal.reverse(belief)
    counts[belief.state.value] += 1


def _report(seed: int, world: World, verdict: Verdict, counts: Counter[str]) -> Report:
    digest = hashlib.sha256(world.disk.links[-1].hash)
    for issuer in world.issuers.values():
        for booking in issuer.bookings.entries:
            digest.update(repr(booking).encode())
    for link in world.disk.links:
        counts[f"record {decode_record(link.encoded).kind}"] += 1
    return Report(
        seed=seed, verdict=verdict, counts=dict(counts), digest=digest.hexdigest()
    )
