"""What goes wrong in a story: a table of faults, each striking at times of its own.

A strike hurts one thing for a while and heals it again. ``calm`` heals everything: from
then on whatever is under way must come to rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

import trio

from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.codecs.canonical.errors import (
    HsmUnavailable,
    KeyRefused,
    StoreUnavailable,
)
from isoswitch.codecs.dialects.key_change import KeyPurpose
from isoswitch.hsm.port import AnyCommand, Hsm
from isoswitch.simulators.cards import CARDS
from isoswitch.simulators.clearing_house import ClearingHouse
from isoswitch.simulators.node import Node
from isoswitch.simulators.plan import Plan
from isoswitch.simulators.reloads import Order, carry_out, draw_order
from isoswitch.simulators.rules import Fault, Reaction, Rule, Uniform
from isoswitch.simulators.triggers import standing_rules
from isoswitch.simulators.world import KEKS, LISTENERS, World
from isoswitch.switch.keyexchange import CHANGED
from isoswitch.switch.reload import Reloader
from isoswitch.switch.server import Switch

STORM_S = 240.0
LATE_S = 12.0
DOWN_S_MAX = 12.0
STEPS_MAX = 300
HOUR_S = 3600.0
# DE 39 of an approval, by issuer.
APPROVALS: Mapping[str, str] = {"north": "00", "south": "000", "wallet": "00"}


class MoodyHsm:
    """A crypto service that can be away, slow, or unheard after its work."""

    def __init__(self, hsm: Hsm) -> None:
        self._hsm = hsm
        self.is_away = False
        self.is_unheard = False
        self.delay_s = 0.0

    async def run(self, *commands: AnyCommand) -> list[bytes]:
        """Run commands as the mood allows."""
        if self.delay_s:
            await trio.sleep(self.delay_s)
        if self.is_away:
            await trio.lowlevel.checkpoint()
            msg = "no crypto process answers"
            raise HsmUnavailable(msg)
        results = await self._hsm.run(*commands)
        if self.is_unheard:
            msg = "the crypto process died before it answered"
            raise HsmUnavailable(msg)
        return results


class DeathAtStep(trio.abc.Instrument):
    """Ends a node after so many steps of whatever runs: at any await of anything.

    Nothing happens when the storm is over by then.
    """

    def __init__(
        self, storm: Storm, node: Node, *, steps: int, by_power_cut: bool
    ) -> None:
        self._storm = storm
        self._node = node
        self._steps = steps
        self._by_power_cut = by_power_cut

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count a step."""
        del task
        self._steps -= 1
        if self._steps == 0:
            trio.lowlevel.remove_instrument(self)
            if not self._storm.is_over:
                self._node.die(by_power_cut=self._by_power_cut)


@dataclass(slots=True, eq=False, kw_only=True)
class Storm:
    """A world and what may go wrong in it; ``counts`` tells how often it did."""

    world: World
    plan: Plan
    hsm: MoodyHsm
    note: Callable[[str], None]
    accuse: Callable[[str], None]
    counts: Counter[str] = field(default_factory=Counter)
    is_over: bool = False

    async def blow(self) -> None:
        """Let the faults of the plan strike until the storm is over, then heal all."""
        with trio.move_on_after(STORM_S):
            async with trio.open_nursery() as nursery:
                for name in sorted(self.plan.faults):
                    nursery.start_soon(self._strike_again_and_again, name)
                await trio.sleep_forever()
        self.calm()

    def calm(self) -> None:
        """Heal everything; nodes that are down are started by their supervisors."""
        self.note("the storm is over")
        self.is_over = True
        self.world.weather.clear_up()
        self.hsm.is_away = self.hsm.is_unheard = False
        self.hsm.delay_s = 0.0
        for name, issuer in self.world.issuers.items():
            self.world.heal_link(name)
            issuer.set_rules(standing_rules(late_s=LATE_S))
        for name, house in self.world.houses.items():
            self.world.heal_link(name)
            calm_house(house)
        for node in self.world.nodes:
            node.clock.offset_s = 0.0
            node.stalled_until = 0.0
            if node.store is not None:
                node.store.is_full = node.store.is_sync_failing = False

    async def supervise(self, node: Node) -> None:
        """Start a node again whenever it has died, until cancelled."""
        random = self.plan.source(f"supervisor of {node.name}")
        assert self.world.nursery is not None, "a storm needs a world that runs"
        while True:
            await node.wait_dead()
            self.note(f"{node.name} is dead")
            self.counts["death"] += 1
            await trio.sleep(0.1 if self.is_over else random.uniform(0.0, DOWN_S_MAX))
            self.note(f"{node.name} starts")
            await self.world.nursery.start(node.run)

    async def _strike_again_and_again(self, name: str) -> None:
        random = self.plan.source(f"fault {name}")
        mean_s = 5.0 + 100.0 * random.random() ** 2
        while True:
            await trio.sleep(random.expovariate(1 / mean_s))
            self.counts[name] += 1
            self.note(f"strike: {name}")
            await STRIKES[name](self, random)

    def draw_node(self, random: Random) -> Node:
        """Draw a node."""
        return random.choice(self.world.nodes)


async def kill(storm: Storm, random: Random) -> None:
    """Kill a node: its machine keeps what it wrote, its peers see the end."""
    storm.draw_node(random).die()
    await trio.lowlevel.checkpoint()


async def cut_power(storm: Storm, random: Random) -> None:
    """Cut a node's power: what was not synced is lost, and its peers hear nothing."""
    storm.draw_node(random).die(by_power_cut=True)
    await trio.lowlevel.checkpoint()


async def kill_at_any_step(storm: Storm, random: Random) -> None:
    """End a node at a step that nobody chose."""
    death = DeathAtStep(
        storm,
        storm.draw_node(random),
        steps=random.randint(1, STEPS_MAX),
        by_power_cut=random.random() < 0.5,
    )
    trio.lowlevel.add_instrument(death)
    await trio.lowlevel.checkpoint()


async def fail_sync(storm: Storm, random: Random) -> None:
    """Let the next sync of a node's store fail, which ends its process."""
    store = storm.draw_node(random).store
    if store is not None:
        store.is_sync_failing = True
    await trio.lowlevel.checkpoint()


async def fill_disk(storm: Storm, random: Random) -> None:
    """Let a node's store refuse everything for a while."""
    store = storm.draw_node(random).store
    if store is not None:
        store.is_full = True
        await trio.sleep(random.uniform(0.1, 10.0))
        store.is_full = False


async def stall_store(storm: Storm, random: Random) -> None:
    """Cut a node off from the store, or freeze its disk, for a while."""
    node = storm.draw_node(random)
    node.stalled_until = trio.current_time() + random.uniform(0.5, 15.0)
    await trio.lowlevel.checkpoint()


async def lose_crypto(storm: Storm, random: Random) -> None:
    """Let the crypto service be away for a while."""
    storm.hsm.is_away = True
    await trio.sleep(random.uniform(0.1, 10.0))
    storm.hsm.is_away = False


async def slow_crypto(storm: Storm, random: Random) -> None:
    """Let the crypto service be slow for a while."""
    storm.hsm.delay_s = random.uniform(0.1, 6.0)
    await trio.sleep(random.uniform(0.1, 20.0))
    storm.hsm.delay_s = 0.0


async def lose_crypto_answers(storm: Storm, random: Random) -> None:
    """Let the crypto service do its work and not be heard for a while."""
    storm.hsm.is_unheard = True
    await trio.sleep(random.uniform(0.1, 5.0))
    storm.hsm.is_unheard = False


async def cut_link(storm: Storm, random: Random) -> None:
    """Let one issuer refuse connections for a while."""
    name = random.choice([*storm.world.issuers, *storm.world.houses])
    storm.world.cut_link(name)
    await trio.sleep(random.uniform(0.1, 40.0))
    storm.world.heal_link(name)


async def partition(storm: Storm, random: Random) -> None:
    """Let nothing pass to or from an issuer, or the terminals of a listener."""
    party = random.choice([*storm.world.issuers, *storm.world.houses, *LISTENERS])
    storm.world.partition(party, random.uniform(0.5, 40.0))
    await trio.lowlevel.checkpoint()


async def spoil_issuer(storm: Storm, random: Random) -> None:
    """Let one issuer answer some requests badly for a while."""
    name = random.choice(list(storm.world.issuers))
    storm.world.issuers[name].set_rules(_bad_habits(name, random))
    await trio.sleep(random.uniform(5.0, 60.0))
    storm.world.issuers[name].set_rules(standing_rules(late_s=LATE_S))


async def spoil_house(storm: Storm, random: Random) -> None:
    """Let the clearing house and a bank of it behave badly for a while."""
    (house,) = storm.world.houses.values()
    no = Reaction(code=ResponseCode.INSUFFICIENT_FUNDS)
    habits = {
        "rejects": no,
        "loses payments": Reaction(books=False),
        "is late": Reaction(delay=Uniform(low_s=5.0, high_s=30.0)),
        "is silent": Reaction(fault=Fault.SILENCE),
        "answers twice": Reaction(fault=Fault.DUPLICATE),
        "answers nonsense": Reaction(fault=Fault.GARBAGE),
        "hangs up": Reaction(fault=Fault.DISCONNECT),
    }
    house.set_rules(
        Rule(name=name, then=habits[name], chance=random.uniform(0.05, 0.5))
        for name in random.sample(sorted(habits), 3)
    )
    bank = random.choice(list(house.members.values()))
    bank.posts_later = random.random() < 0.5
    bank.credits_in_the_end = random.random() < 0.5
    bank.agrees_to_recalls = random.random() < 0.8
    await trio.sleep(random.uniform(5.0, 60.0))
    calm_house(house)


def calm_house(house: ClearingHouse) -> None:
    """Let a house and its banks do what they should."""
    house.set_rules(())
    for bank in house.members.values():
        bank.posts_later = False
        bank.credits_in_the_end = bank.agrees_to_recalls = True


async def close_window(storm: Storm, random: Random) -> None:
    """End a settlement window of the clearing house."""
    del random
    for house in storm.world.houses.values():
        house.close_window()
    await trio.lowlevel.checkpoint()


async def change_keys(storm: Storm, random: Random) -> None:
    """Let a node or an issuer change the working keys of a link."""
    name = random.choice(list(KEKS))
    issuer, node = storm.world.issuers[name], storm.draw_node(random)

    async def order(switch: Switch, _: Reloader) -> None:
        assert switch.services is not None, "its process runs"
        # What cannot be done now is tried again, or it was not wanted badly enough.
        try:
            changes = await switch.keys.order(
                switch.services, name, operator="somebody"
            )
        except (StoreUnavailable, HsmUnavailable):
            return
        except KeyRefused as refusal:
            # A key that the issuer has sent is not in use yet.
            if "is pending" not in str(refusal):
                raise
            return
        storm.counts["key change by a node"] += sum(
            each.result == CHANGED for each in changes
        )

    if random.random() < 0.5 and issuer.wires:
        code = await issuer.change_key(random.choice(list(KeyPurpose)))
        storm.counts["key change by an issuer"] += code is ResponseCode.APPROVED
    else:
        await node.have(order)


async def reload(storm: Storm, random: Random) -> None:
    """Give nodes other files, good ones and bad ones, and have them read these."""
    nodes = storm.world.nodes
    async with trio.open_nursery() as nursery:
        for node in random.sample(nodes, random.randint(1, len(nodes))):
            order = draw_order(node.configuration, random)
            nursery.start_soon(_reload, storm, node, order)


async def _reload(storm: Storm, node: Node, order: Order) -> None:
    storm.note(f"{node.name} is given other files: {order}")
    ending = await carry_out(node, order, storm.accuse)
    if ending:
        storm.counts.update(f"reload {ending} {part}" for part in order.parts)


async def move_clock(storm: Storm, random: Random) -> None:
    """Set a node's wall clock forward or back by an hour for a while."""
    clock = storm.draw_node(random).clock
    clock.offset_s = random.choice([-HOUR_S, HOUR_S])
    await trio.sleep(random.uniform(1.0, 30.0))
    clock.offset_s = 0.0


async def send_nonsense(storm: Storm, random: Random) -> None:
    """Connect as nobody: garbage, half frames, spoilt and forged requests."""
    listener = random.choice(list(LISTENERS))
    terminal = storm.world.terminals[{"ascii": "TERM0001", "bcd": "TERM0002"}[listener]]
    card = CARDS["visa-ok"]
    forged = terminal.frame(
        terminal.with_wrong_mac(terminal.build(Kind.PURCHASE, card, 1250))
    )
    spoilt = bytearray(terminal.frame(terminal.build(Kind.PURCHASE, card, 1250)))
    # What comes before is length and transport header, which no MAC covers. The bit
    # that tells small letters from capitals changes no hexadecimal digit.
    spoilt[random.randrange(8, len(spoilt))] ^= 1 << random.randrange(5)
    nonsense = [random.randbytes(60), forged[: len(forged) // 2], forged, bytes(spoilt)]
    with suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
        stream = await storm.world.connect(listener)
        for data in random.sample(nonsense, 2):
            await stream.send_all(data)
        await trio.sleep(random.uniform(0.0, 15.0))
        await stream.aclose()


async def reset_stream(storm: Storm, random: Random) -> None:
    """Break one connection somewhere, with what is under way on it."""
    if storm.world.streams:
        random.choice(storm.world.streams).reset()
    await trio.lowlevel.checkpoint()


async def silence_stream(storm: Storm, random: Random) -> None:
    """Lose everything on one connection, without telling its ends."""
    if storm.world.streams:
        random.choice(storm.world.streams).fall_silent()
    await trio.lowlevel.checkpoint()


async def close_half(storm: Storm, random: Random) -> None:
    """Close one direction of a connection."""
    if storm.world.streams:
        random.choice(storm.world.streams).end_half()
    await trio.lowlevel.checkpoint()


async def replay(storm: Storm, random: Random) -> None:
    """Send what one connection carried last once more, in both directions."""
    if storm.world.streams:
        random.choice(storm.world.streams).replay()
    await trio.lowlevel.checkpoint()


async def bad_weather(storm: Storm, random: Random) -> None:
    """Let the network be slow, so that connections overtake each other, and chop."""
    weather = storm.world.weather
    weather.latency_s, weather.chop_chance = random.uniform(0.0, 3.0), random.random()
    await trio.sleep(random.uniform(1.0, 60.0))
    weather.latency_s = weather.chop_chance = 0.0


async def repeat_pieces(storm: Storm, random: Random) -> None:
    """Let somebody on the way send pieces twice for a while."""
    storm.world.weather.repeat_chance = random.uniform(0.05, 0.5)
    await trio.sleep(random.uniform(1.0, 60.0))
    storm.world.weather.repeat_chance = 0.0


async def break_writes(storm: Storm, random: Random) -> None:
    """Let writes be slow and break off in their middle for a while."""
    weather = storm.world.weather
    weather.slow_write_s, weather.cut_chance = random.uniform(0.0, 2.0), 0.1
    await trio.sleep(random.uniform(1.0, 30.0))
    weather.slow_write_s = weather.cut_chance = 0.0


STRIKES: Mapping[str, Callable[[Storm, Random], Awaitable[None]]] = {
    "kill": kill,
    "power cut": cut_power,
    "death at any step": kill_at_any_step,
    "sync error": fail_sync,
    "full disk": fill_disk,
    "stalled store": stall_store,
    "crypto away": lose_crypto,
    "crypto slow": slow_crypto,
    "crypto unheard": lose_crypto_answers,
    "cut link": cut_link,
    "partition": partition,
    "spoilt issuer": spoil_issuer,
    "spoilt house": spoil_house,
    "settlement window": close_window,
    "clock moved": move_clock,
    "key change": change_keys,
    "nonsense": send_nonsense,
    "reset stream": reset_stream,
    "silent stream": silence_stream,
    "half closed": close_half,
    "replay": replay,
    "bad weather": bad_weather,
    "repeated pieces": repeat_pieces,
    "broken writes": break_writes,
    "reload": reload,
}


def _bad_habits(issuer: str, random: Random) -> tuple[Rule, ...]:
    """Draw rules for every kind of message, reversals included."""
    no = ResponseCode.DO_NOT_HONOUR
    yes = APPROVALS[issuer]
    reactions = {
        "loses requests": Reaction(books=False),
        # Somebody on the way turns a decline into an approval.
        "is tampered with": Reaction(code=no, fields={39: yes}, fault=Fault.WRONG_MAC),
        "answers for another": Reaction(code=no, fields={39: yes, 11: "999999"}),
        "confuses amounts": Reaction(code=no, fields={39: yes, 4: "000000000001"}),
        "is slow": Reaction(delay=Uniform(low_s=0.0, high_s=LATE_S)),
        **{fault.value: Reaction(fault=fault) for fault in Fault},
    }
    names = random.sample(sorted(reactions), 4)
    return tuple(
        Rule(name=name, then=reactions[name], chance=random.uniform(0.05, 0.5))
        for name in names
    )
