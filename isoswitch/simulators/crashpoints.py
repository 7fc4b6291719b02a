"""Dying at every step: before and after each write, sync, send and connect.

A short story without chance is told once to count the steps of its node. Then it is
told again for every step, with a death right there, by kill and by power cut; and again
with a second death in the middle of the recovery from the first.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random

import trio

from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.simulators.auditor import Verdict
from isoswitch.simulators.beliefs import BeliefState
from isoswitch.simulators.cards import get_card
from isoswitch.simulators.consistency import check_journal
from isoswitch.simulators.determinism import deterministic
from isoswitch.simulators.features import equip
from isoswitch.simulators.node import Node
from isoswitch.simulators.rules import Fault, Fixed, Reaction, Rule
from isoswitch.simulators.shoppers import Shoppers
from isoswitch.simulators.storm import calm_house
from isoswitch.simulators.swarm import SETTLE_S, settle
from isoswitch.simulators.terminal import Terminal
from isoswitch.simulators.wallet import Wallet
from isoswitch.simulators.witness import Witness, listen
from isoswitch.simulators.world import MERCHANT_BANK, SHOPPER, World

DOWN_S = 2.0
LATE_S = 12.0
# Deaths during recovery come so many steps after the start that follows the first.
RECOVERY_STEPS = (1, 2, 4, 7, 11)
# Each card ends its way in its own fashion: approved, declined, silent, late, halved.
PURCHASES: Mapping[str, Sequence[str]] = {
    "TERM0001": ("visa-ok", "mc-silent", "visa-late", "mc-partial", "visa-duplicate"),
    "TERM0002": ("mc-ok", "visa-silent", "mc-late", "visa-insufficient", "mc-ok"),
}
# How the clearing house treats one payment after the other; does its bank post later.
HOUSE_HABITS = (
    (Reaction(), False),
    (Reaction(fault=Fault.SILENCE), False),
    (Reaction(delay=Fixed(delay_s=LATE_S)), False),
    (Reaction(code=ResponseCode.INSUFFICIENT_FUNDS), False),
    (Reaction(books=False), False),
    (Reaction(), True),
)
FLOWS = ("clearing house", "key exchange")


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """The node dies after so many steps, and perhaps again after its restart."""

    step: int
    by_power_cut: bool
    again_after: int = 0

    def __str__(self) -> str:
        how = "power cut" if self.by_power_cut else "kill"
        again = f", again {self.again_after} steps later" if self.again_after else ""
        return f"{how} at step {self.step}{again}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What a story with a death came to."""

    death: Death | None
    steps: Counter[str]
    verdict: Verdict
    violations: tuple[str, ...]

    @property
    def is_good(self) -> bool:
        """Whether nothing was lost and nothing doubled."""
        return self.verdict.is_settled and not self.violations


def all_deaths(steps: int) -> Iterator[Death]:
    """Give every death that a story of so many steps can have."""
    for step in range(1, steps + 1):
        for by_power_cut in (False, True):
            for again_after in (0, *RECOVERY_STEPS):
                yield Death(
                    step=step, by_power_cut=by_power_cut, again_after=again_after
                )


def tell_with(death: Death | None) -> Ending:
    """Tell the story with a death, or to its end without one."""
    witness = Witness(knows_repeats=True)
    restore = listen(witness, level=logging.ERROR)
    try:
        with deterministic(1) as clock:
            return trio.run(_tell, death, witness, clock=clock)
    finally:
        restore()


class _Reaper:
    """Counts the steps of a node and ends it at the right ones."""

    def __init__(self, death: Death | None) -> None:
        self.steps: Counter[str] = Counter()
        self._by_power_cut = death is not None and death.by_power_cut
        self._left = (
            [each for each in (death.step, death.again_after) if each] if death else []
        )

    def step(self, node: Node, what: str) -> None:
        """Count a step, and end the node if it is time."""
        self.steps[what] += 1
        if not self._left:
            return
        self._left[0] -= 1
        if not self._left[0]:
            del self._left[0]
            node.die(by_power_cut=self._by_power_cut)


async def _tell(death: Death | None, witness: Witness) -> Ending:
    reaper = _Reaper(death)
    world = World(
        late_s=LATE_S,
        on_step=reaper.step,
        with_wallet=True,
        change=lambda settings: equip(settings, FLOWS),
    )
    shoppers = Shoppers(world, Random(1))  # noqa: S311 it guards nothing
    witness.watch(world)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_start_again, world)
        await nursery.start(world.run)
        with trio.move_on_after(SETTLE_S) as patience:
            async with trio.open_nursery() as busy:
                for terminal in world.terminals.values():
                    busy.start_soon(_serve, terminal, shoppers)
                busy.start_soon(_shop, world, shoppers)
        if patience.cancelled_caught:
            witness.accuse("a terminal asks for ever and is not answered")
        verdict = await settle(world)
        nursery.cancel_scope.cancel()
    for finding in check_journal(world.disk):
        witness.accuse(str(finding))
    return Ending(
        death=death,
        steps=reaper.steps,
        verdict=verdict,
        violations=tuple(witness.violations),
    )


async def _start_again(world: World) -> None:
    (node,) = world.nodes
    while True:
        await node.wait_dead()
        await trio.sleep(DOWN_S)
        await world.start_switch()


async def _serve(terminal: Terminal, shoppers: Shoppers) -> None:
    """Serve the customers of one terminal, one after the other."""
    device = shoppers.devices[0]
    await terminal.pay(terminal.build_tap(device, 1250, random=Random(2)))  # noqa: S311
    shown = shoppers.wallet.show_code(SHOPPER, confirms=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_confirm, shoppers.wallet)
        belief = await terminal.pay(terminal.build_scan(shown, 700))
    if belief.state is BeliefState.APPROVED:
        await terminal.pay(terminal.build_scan_refund(belief, 300))
    for name in PURCHASES[terminal.profile.terminal_id]:
        card = get_card(name)
        belief = await terminal.purchase(card, 1250, pin=card.pin)
        if name.endswith("-ok") and belief.state is BeliefState.APPROVED:
            await terminal.reverse(belief)
    card = get_card("visa-ok")
    await terminal.pay(terminal.build(Kind.CASH_WITHDRAWAL, card, 2500, pin=card.pin))
    await terminal.balance(card, pin=card.pin)
    held = await terminal.preauthorise(card, 900, pin=card.pin)
    if held.state is BeliefState.APPROVED:
        await terminal.complete(held, 800)


async def _confirm(wallet: Wallet) -> None:
    """Let a shopper think for a moment."""
    await trio.sleep(3.0)
    wallet.confirm()


async def _shop(world: World, shoppers: Shoppers) -> None:
    """Pay codes over the house: at once, too late, posted later and then returned."""
    (house,) = world.houses.values()
    random = Random(3)  # noqa: S311
    for reaction, posts_later in HOUSE_HABITS:
        while world.switch is None:  # noqa: ASYNC110 (seldom, short)
            await trio.sleep(1.0)
        house.set_rules([Rule(name="habit", then=reaction)])
        bank = house.members[MERCHANT_BANK]
        bank.posts_later, bank.credits_in_the_end = posts_later, False
        code = await shoppers.show_code(random, 1250)
        paid = await shoppers.pay(random, code, 1250) if code else None
        if paid and paid.is_paid:
            await shoppers.give_back(random, paid, 400)
    calm_house(house)
