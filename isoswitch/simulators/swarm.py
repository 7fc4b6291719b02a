"""Storms over the whole network, each drawn from a seed, and the audit afterwards.

A seed draws which kinds of fault there are and how often they strike (a swarm: about
half of them in each story). While the storm lasts, customers pay at every terminal;
then everything is healed, what is under way comes to rest, and the auditor compares all
sides. While it runs a witness checks every step: an issuer sees nothing whose intent is
not durable, a terminal hears no approval that is not. A seed that fails is a complete
report: the same seed tells the same story.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

import structlog
import trio

from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.codecs.canonical.errors import HsmUnavailable
from isoswitch.hsm.port import AnyCommand, Hsm
from isoswitch.journal.chain import decode_record
from isoswitch.journal.records import RecordKind
from isoswitch.simulators.auditor import Verdict, audit, view_store
from isoswitch.simulators.beliefs import UNFINISHED, Belief, BeliefState
from isoswitch.simulators.bookings import Booking
from isoswitch.simulators.cards import CARDS
from isoswitch.simulators.determinism import VirtualClock, deterministic
from isoswitch.simulators.requests import Request
from isoswitch.simulators.rules import (
    Fault,
    Reaction,
    Rule,
    Uniform,
)
from isoswitch.simulators.terminal import Terminal
from isoswitch.simulators.triggers import standing_rules
from isoswitch.simulators.world import World
from isoswitch.store.memory import MemoryStore
from isoswitch.store.port import SafState, StoredTransaction
from isoswitch.switch.numbers import find_transaction_id
from isoswitch.switch.settings import SwitchSettings

STORM_S = 240.0
SETTLE_S = 1200.0
REQUESTS_PER_TERMINAL = 50
REVERSAL_CHANCE = 0.2
BALANCE_CHANCE = 0.1
LATE_S = 12.0
CANCEL_CHANCE = 0.15
DEATH_CHANCE = 0.01
# DE 39 of an approval, by issuer.
APPROVALS: Mapping[str, str] = {"north": "00", "south": "000"}
ALARMS = frozenset(
    {"dispatch_failed", "connection_failed", "late_approval_without_reversal"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a seed came to: the verdict, what happened how often, and a digest of it."""

    seed: int
    verdict: Verdict
    violations: tuple[str, ...]
    counts: Mapping[str, int]
    digest: str

    @property
    def is_good(self) -> bool:
        """Whether nothing was wrong at any time, and nothing is under way."""
        return self.verdict.is_settled and not self.violations


Adapt = Callable[[SwitchSettings], SwitchSettings]


def simulate(seed: int, *, change: Adapt = lambda settings: settings) -> Report:
    """Tell the story of a seed; the same seed always gives the same report.

    ``change`` adapts the switch's settings, and with them the story.
    """
    witness = Witness()
    before = structlog.get_config()
    structlog.configure(
        processors=[witness.hear],
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
    )
    try:
        with deterministic(seed):
            return trio.run(
                _tell,
                seed,
                witness,
                change,
                clock=VirtualClock(),
            )
    finally:
        structlog.configure(**before)


async def settle(world: World, *, limit_s: float = SETTLE_S) -> Verdict:
    """Let everything that is under way come to rest, and audit all sides."""
    deadline = trio.current_time() + limit_s
    while True:
        is_over = trio.current_time() > deadline
        if is_over or not _is_busy(world):
            verdict = await _audit_world(world)
            if is_over or verdict.is_settled:
                return verdict
        await trio.sleep(1.0)


def _is_busy(world: World) -> bool:
    """Tell cheaply whether something is under way that an audit would call pending."""
    if not any(node.switch for node in world.nodes):
        return True
    return any(
        entry.state is SafState.PENDING for entry in world.disk.saf.values()
    ) or any(
        belief.state in UNFINISHED and belief.amount is not None
        for terminal in world.terminals.values()
        for belief in terminal.beliefs
    )


async def _audit_world(world: World) -> Verdict:
    return audit(
        view=await view_store(MemoryStore(world.disk)),
        bookings={name: each.bookings for name, each in world.issuers.items()},
        beliefs=[b for t in world.terminals.values() for b in t.beliefs],
    )


class Witness:
    """Sees every booking and every approval of a story in the moment it happens.

    ``violations`` are told in words; what the switch itself calls a fault of its own
    counts as one.
    """

    def __init__(self) -> None:
        self.violations: list[str] = []
        self._world: World | None = None

    def watch(self, world: World) -> None:
        """Begin to watch a world."""
        self._world = world
        for name, issuer in world.issuers.items():
            issuer.bookings.on_booking = partial(self._check_intent, name)
        for terminal in world.terminals.values():
            terminal.on_approval = self._check_approval

    def hear(
        self, _: object, __: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """Take a log line; nothing of it is printed."""
        if event.get("event") in ALARMS:
            self.violations.append(f"the switch raised the alarm {event['event']}")
        raise structlog.DropEvent

    def _check_intent(self, issuer: str, booking: Booking) -> None:
        row = self._row(booking.rrn)
        if row is None and not self._is_advice(booking.rrn):
            self.violations.append(
                f"{issuer} saw {booking.rrn} before its intent was durable"
            )

    def _check_approval(self, belief: Belief) -> None:
        row = self._row(belief.rrn)
        if row is None or not row.outcome:
            self.violations.append(f"{belief} heard an approval that was not durable")

    def _is_advice(self, rrn: str) -> bool:
        """Whether an approval in the issuer's place is told under this number."""
        assert self._world is not None, "only a watched world is asked"
        records = (decode_record(link.encoded) for link in self._world.disk.links)
        return any(
            record.kind is RecordKind.STOOD_IN and record.body["rrn"] == rrn
            for record in records
        )

    def _row(self, rrn: str) -> StoredTransaction | None:
        assert self._world is not None, "only a watched world is asked"
        return self._world.disk.transactions.get(find_transaction_id(rrn) or "")


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
        mean_s = 1.0 + 40.0 * self.random.random() ** 2
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
        self.world.issuers[name].set_rules(self._bad_habits(name))
        await trio.sleep(self.random.uniform(5.0, 60.0))
        self.world.issuers[name].set_rules(standing_rules(late_s=LATE_S))

    async def bad_weather(self) -> None:
        """Let the network be slow and deliver in pieces for a while."""
        self.world.weather.latency_s = self.random.uniform(0.0, 3.0)
        self.world.weather.chop_chance = self.random.random()
        await trio.sleep(self.random.uniform(1.0, 60.0))
        self.world.weather.latency_s = 0.0
        self.world.weather.chop_chance = 0.0

    def _bad_habits(self, issuer: str) -> tuple[Rule, ...]:
        """Draw rules for every kind of message, reversals included."""
        no = ResponseCode.DO_NOT_HONOUR
        yes = APPROVALS[issuer]
        reactions = {
            "loses requests": Reaction(books=False),
            # Somebody on the way turns a decline into an approval.
            "is tampered with": Reaction(
                code=no, fields={39: yes}, fault=Fault.WRONG_MAC
            ),
            "answers for another": Reaction(code=no, fields={39: yes, 11: "999999"}),
            "confuses amounts": Reaction(code=no, fields={39: yes, 4: "000000000001"}),
            "is slow": Reaction(delay=Uniform(low_s=0.0, high_s=LATE_S)),
            **{fault.value: Reaction(fault=fault) for fault in Fault},
        }
        names = self.random.sample(sorted(reactions), 4)
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


async def _tell(seed: int, witness: Witness, change: Adapt) -> Report:
    # Chance decides the story; it guards nothing.
    random = Random(seed)  # noqa: S311
    moody: list[MoodyHsm] = []

    def wrap(hsm: Hsm) -> Hsm:
        moody.append(MoodyHsm(hsm))
        return moody[0]

    slowest_s = random.choice([0.0, 0.001, 0.05, 0.5])
    world = World(
        seed=seed,
        late_s=LATE_S,
        store_delay_s=lambda: random.random() * slowest_s,
        wrap_hsm=wrap,
        change=change,
    )
    storm = Storm(world, random, moody[0])
    witness.watch(world)
    async with trio.open_nursery() as nursery:
        await nursery.start(world.run)
        async with trio.open_nursery() as busy:
            busy.start_soon(storm.blow)
            for terminal in world.terminals.values():
                busy.start_soon(_shop, terminal, random, storm.counts)
        verdict = await settle(world)
        report = _report(seed, world, verdict, storm.counts, witness)
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

            nursery.start_soon(_pay, terminal, request, undo, random, counts)


async def _pay(
    terminal: Terminal,
    request: Request,
    undo: bool,
    random: Random,
    counts: Counter[str],
) -> None:
    belief = await _pay_or_cancel(terminal, request, random)
    if belief is None:
        return
    is_paid = belief.state is BeliefState.APPROVED and belief.amount is not None
    if undo and is_paid:
        await terminal.reverse(belief)
    counts[belief.state.value] += 1


async def _pay_or_cancel(
    terminal: Terminal, request: Request, random: Random
) -> Belief | None:
    """Pay; some customers change their mind, and some terminals die for good."""
    patience_s = math.inf
    chance = random.random()
    if chance < CANCEL_CHANCE:
        patience_s = random.expovariate(2.0)
    with trio.move_on_after(patience_s):
        return await terminal.pay(request)
    belief = next(b for b in terminal.beliefs if b.stan == request.transaction.stan)
    if chance < DEATH_CHANCE:
        # Nobody will ever ask what became of it.
        terminal.beliefs.remove(belief)
        return None
    if random.random() < 0.5:
        terminal.hang_up()
    if belief.amount is not None and belief.state is not BeliefState.REVERSED:
        await terminal.reverse(belief)
    return belief


def _report(
    seed: int,
    world: World,
    verdict: Verdict,
    counts: Counter[str],
    witness: Witness,
) -> Report:
    digest = hashlib.sha256(world.disk.links[-1].hash)
    for issuer in world.issuers.values():
        for booking in issuer.bookings.entries:
            digest.update(repr(booking).encode())
    for link in world.disk.links:
        counts[f"record {decode_record(link.encoded).kind}"] += 1
    return Report(
        seed=seed,
        verdict=verdict,
        violations=tuple(witness.violations),
        counts=dict(counts),
        digest=digest.hexdigest(),
    )
