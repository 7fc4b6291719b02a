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

import trio

from isoswitch.codecs.canonical.codes import Kind
from isoswitch.simulators.auditor import Verdict
from isoswitch.simulators.beliefs import BeliefState
from isoswitch.simulators.cards import get_card
from isoswitch.simulators.consistency import check_journal
from isoswitch.simulators.determinism import deterministic
from isoswitch.simulators.node import Node
from isoswitch.simulators.swarm import SETTLE_S, settle
from isoswitch.simulators.terminal import Terminal
from isoswitch.simulators.witness import Witness, listen
from isoswitch.simulators.world import World

DOWN_S = 2.0
LATE_S = 12.0
# Deaths during recovery come so many steps after the start that follows the first.
RECOVERY_STEPS = (1, 2, 4, 7, 11)
# Each card ends its way in its own fashion: approved, declined, silent, late, halved.
PURCHASES: Mapping[str, Sequence[str]] = {
    "TERM0001": ("visa-ok", "mc-silent", "visa-late", "mc-partial", "visa-duplicate"),
    "TERM0002": ("mc-ok", "visa-silent", "mc-late", "visa-insufficient", "mc-ok"),
}


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
    world = World(late_s=LATE_S, on_step=reaper.step)
    witness.watch(world)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_start_again, world)
        await nursery.start(world.run)
        with trio.move_on_after(SETTLE_S) as patience:
            async with trio.open_nursery() as busy:
                for terminal in world.terminals.values():
                    busy.start_soon(_serve, terminal)
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


async def _serve(terminal: Terminal) -> None:
    """Serve the customers of one terminal, one after the other."""
    for name in PURCHASES[terminal.profile.terminal_id]:
        card = get_card(name)
        belief = await terminal.purchase(card, 1250, pin=card.pin)
        if name.endswith("-ok") and belief.state is BeliefState.APPROVED:
            await terminal.reverse(belief)
    card = get_card("visa-ok")
    await terminal.pay(terminal.build(Kind.CASH_WITHDRAWAL, card, 2500, pin=card.pin))
    await terminal.balance(card, pin=card.pin)
