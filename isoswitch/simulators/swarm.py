"""A seed tells a story: a network under faults, then at rest, audited on all sides.

A seed draws which kinds of fault there are and how often they strike (a swarm: some of
them in each story), and whether one node or two share the store. While the storm lasts,
customers come; then everything is healed, what is under way comes to rest, and the
auditor compares all sides. A seed that fails is a complete report: the same seed tells
the same story, and ``shrink.py`` finds the smallest part of it that still fails.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import trio

from isoswitch.hsm.port import Hsm
from isoswitch.simulators.accounts import DEBITS
from isoswitch.simulators.auditor import (
    Finding,
    Verdict,
    audit,
    view_store,
)
from isoswitch.simulators.beliefs import UNFINISHED
from isoswitch.simulators.cards import CARDS
from isoswitch.simulators.consistency import check_journal
from isoswitch.simulators.customers import Visit, come, draw_card
from isoswitch.simulators.determinism import deterministic
from isoswitch.simulators.features import draw_features, equip
from isoswitch.simulators.interbank_audit import (
    Interbank,
    audit_interbank,
    pending_transfers,
)
from isoswitch.simulators.last_orders import awaits_totals, give_last_orders
from isoswitch.simulators.leaks import Leak, card_secrets, find_clear, key_secrets
from isoswitch.simulators.ledger_audit import standing_minor
from isoswitch.simulators.plan import Plan, draw_plan
from isoswitch.simulators.shoppers import Shoppers
from isoswitch.simulators.storm import LATE_S, STORM_S, STRIKES, MoodyHsm, Storm
from isoswitch.simulators.witness import Witness, listen
from isoswitch.simulators.world import EPOCH, HOUSE, World
from isoswitch.store.disk import read_record
from isoswitch.store.memory import MemoryStore
from isoswitch.store.port import SafState
from isoswitch.store.rows import StoredWish
from isoswitch.switch.settings import SwitchSettings
from isoswitch.switch.wishes import UNDECIDED

SETTLE_S = 1200.0
REST_S = 60.0
LOOK_AGAIN_S = 4.0
# Every so manieth story is searched for secrets in clear, log lines included.
LEAK_SEARCH_EVERY = 16
# Stories of these seeds begin shortly before midnight and cross a business day.
CUTOVER_EVERY = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a story came to: the verdict, what happened how often, and a digest of it.

    ``timeline`` is what happened, when somebody asked for it.
    """

    plan: Plan
    verdict: Verdict
    violations: tuple[str, ...]
    counts: Mapping[str, int]
    digest: str
    timeline: tuple[str, ...] = ()

    @property
    def seed(self) -> int:
        """The seed of the story."""
        return self.plan.seed

    @property
    def is_good(self) -> bool:
        """Whether nothing was wrong at any time, and nothing is under way."""
        return self.verdict.is_settled and not self.violations

    @property
    def transactions(self) -> int:
        """How many transactions were opened."""
        return self.counts.get("record opened", 0)


Adapt = Callable[[SwitchSettings], SwitchSettings]


def simulate(seed: int, *, change: Adapt = lambda settings: settings) -> Report:
    """Tell the story of a seed; the same seed always gives the same report.

    ``change`` adapts the switch's settings, and with them the story.
    """
    return tell(draw_plan(seed, STRIKES), change=change)


def tell(
    plan: Plan,
    *,
    change: Adapt = lambda settings: settings,
    with_timeline: bool = False,
) -> Report:
    """Tell a story; what the switch itself trips over is a violation like another."""
    is_searched = plan.seed % LEAK_SEARCH_EVERY == 0
    witness = Witness(
        takes_notes=with_timeline or is_searched,
        knows_repeats=not plan.faults & {"replay", "repeated pieces"},
    )
    level = logging.DEBUG if witness.takes_notes else logging.ERROR
    restore = listen(witness, level=level)
    try:
        with deterministic(plan.seed) as clock:
            return trio.run(_tell, plan, witness, change, clock=clock)
    except BaseExceptionGroup as faults:
        witness.violations.append(f"the story broke: {_innermost(faults)!r}")
        return Report(
            plan=plan,
            verdict=Verdict(findings=(), pending=(), compared=0),
            violations=tuple(witness.violations),
            counts={},
            digest="",
            timeline=tuple(witness.timeline),
        )
    finally:
        restore()


async def settle(world: World, *, limit_s: float = SETTLE_S) -> Verdict:
    """Let everything that is under way come to rest, and audit all sides."""
    deadline = trio.current_time() + limit_s
    while True:
        is_over = trio.current_time() > deadline
        if not _is_busy(world):
            # What is wrong although nothing is under way stays wrong, but for what a
            # sweeper or another node still finds.
            deadline = min(deadline, trio.current_time() + REST_S)
        if is_over or not _is_busy(world):
            verdict = await _audit_world(world)
            if is_over or verdict.is_settled:
                return verdict
            await trio.sleep(LOOK_AGAIN_S)
        await trio.sleep(1.0)


def _is_busy(world: World) -> bool:
    """Tell cheaply whether something is under way that an audit would call pending."""
    if not any(node.switch for node in world.nodes):
        return True
    houses = world.settings.houses
    if (
        any(row.endpoint in houses for row in world.disk.unclosed.values())
        or any(pending_transfers(world.disk))
        or awaits_totals(world)
    ):
        return True
    wishes = world.disk.by_kind[StoredWish].values()
    if any(row.state in UNDECIDED for row in wishes):
        return True
    return any(
        entry.state is SafState.PENDING for entry in world.disk.saf.values()
    ) or any(
        belief.state in UNFINISHED and belief.amount is not None
        for terminal in world.terminals.values()
        for belief in terminal.beliefs
    )


async def _audit_world(world: World) -> Verdict:
    verdict = audit(
        view=await view_store(MemoryStore(world.disk)),
        bookings={name: each.bookings for name, each in world.issuers.items()},
        beliefs=[b for t in world.terminals.values() for b in t.beliefs],
    )
    sides = Interbank(world.disk, world.houses[HOUSE], world.receipts)
    return replace(
        verdict,
        findings=(*verdict.findings, *audit_interbank(sides)),
        pending=(*verdict.pending, *pending_transfers(world.disk)),
    )


async def _tell(plan: Plan, witness: Witness, change: Adapt) -> Report:
    random = plan.source("world")
    moody: list[MoodyHsm] = []

    def wrap(hsm: Hsm) -> Hsm:
        moody.append(MoodyHsm(hsm))
        return moody[0]

    features = draw_features(plan)
    slowest_s = random.choice([0.0, 0.001, 0.05, 0.5])
    world = World(
        seed=plan.seed,
        nodes=plan.nodes,
        epoch=_epoch(plan),
        late_s=LATE_S,
        store_delay_s=lambda: random.random() * slowest_s,
        wrap_hsm=wrap,
        with_wallet=True,
        change=lambda settings: change(equip(settings, features)),
    )
    storm = Storm(
        world=world,
        plan=plan,
        hsm=moody[0],
        note=witness.note,
        accuse=witness.accuse,
    )
    witness.watch(world)
    async with trio.open_nursery() as nursery:
        await nursery.start(world.run)
        for node in world.nodes:
            nursery.start_soon(storm.supervise, node)
        with trio.move_on_after(STORM_S + SETTLE_S) as patience:
            async with trio.open_nursery() as busy:
                busy.start_soon(storm.blow)
                _invite(busy, storm, witness)
        if patience.cancelled_caught:
            witness.accuse("a terminal asks for ever and is not answered")
        verdict = await settle(world)
        if verdict.is_settled:
            for wrong in await give_last_orders(world, storm.counts):
                witness.accuse(wrong)
        report = _report(storm, verdict, witness)
        nursery.cancel_scope.cancel()
    return report


def _epoch(plan: Plan) -> datetime:
    if plan.seed % CUTOVER_EVERY:
        return EPOCH
    return EPOCH + timedelta(hours=11, minutes=58)


def _invite(nursery: trio.Nursery, storm: Storm, witness: Witness) -> None:
    """Let the customers of a plan come, each on their own."""
    terminals = list(storm.world.terminals.values())
    shoppers = Shoppers(storm.world, storm.plan.source("shoppers"))
    for number in storm.plan.customers:
        random = storm.plan.source(f"customer {number}")
        visit = Visit(
            terminal=random.choice(terminals),
            card=draw_card(random),
            shoppers=shoppers,
            random=random,
            counts=storm.counts,
            accuse=witness.accuse,
            note=witness.note,
        )
        nursery.start_soon(come, visit, STORM_S)


def _report(storm: Storm, verdict: Verdict, witness: Witness) -> Report:
    world, counts = storm.world, storm.counts
    counts.update(world.weather.counts)
    counts.update(f"feature {name}" for name in draw_features(storm.plan))
    digest = hashlib.sha256(world.disk.links[-1].hash)
    for issuer in world.issuers.values():
        for booking in issuer.bookings.entries:
            digest.update(repr(booking).encode())
    for link in world.disk.links:
        counts[f"record {read_record(link.encoded).kind}"] += 1
    found = (*check_journal(world.disk), *_forged(world), *_search(storm, witness))
    for finding in found:
        witness.accuse(str(finding))
    if world.wallet.accounts.spent_again:
        witness.accuse("a payer's code was sent to its wallet for two payments")
    return Report(
        plan=storm.plan,
        verdict=verdict,
        violations=tuple(witness.violations),
        counts=dict(counts),
        digest=digest.hexdigest(),
        timeline=tuple(witness.timeline),
    )


def _forged(world: World) -> list[Finding]:
    """Look for approvals of what no terminal has ever asked for."""
    asked = {
        (name, stan)
        for name, terminal in world.terminals.items()
        for stan in terminal.requests
    }
    return [
        Finding(transaction=row.id, what="approved, and no terminal asked for it")
        for row in world.disk.transactions.values()
        if row.kind in DEBITS
        and row.endpoint not in world.houses
        and standing_minor(row)
        and (row.terminal_id, row.stan) not in asked
    ]


def _search(storm: Storm, witness: Witness) -> list[Leak]:
    """Search what the nodes stored and logged for card numbers and keys in clear."""
    if storm.plan.seed % LEAK_SEARCH_EVERY:
        return []
    storm.counts["search for secrets"] += 1
    world = storm.world
    secrets: dict[str, str | bytes] = {
        **card_secrets(CARDS.values()),
        **key_secrets(world.keyring),
    }
    for terminal in world.terminals.values():
        for stan, request in terminal.requests.items():
            if request.transaction.pin_block is not None:
                name = f"PIN block of {terminal.profile.terminal_id} {stan}"
                secrets[name] = request.transaction.pin_block.reveal()
    written = b"\n".join(
        [
            *(link.encoded for link in world.disk.links),
            *(repr(row).encode() for row in world.disk.transactions.values()),
            *(repr(entry).encode() for entry in world.disk.saf.values()),
            *(line.encode() for line in witness.said),
        ]
    )
    return find_clear(written, secrets)


def _innermost(faults: BaseExceptionGroup[BaseException]) -> BaseException:
    fault: BaseException = faults
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    return fault
