"""What is asked for when everything is at rest: what a story leaves must work.

1.  Each terminal hears from each issuer, with a PIN: all their keys fit still. Where
    one node has the only link to an issuer, the others cannot ask it; and a node may
    ask an alternate instead.
2.  Each terminal closes its batch over totals that agree.
3.  Each issuer has confirmed the totals of every closed day, or of something that day
    came late.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

import trio

from isoswitch.codecs.canonical.codes import Kind
from isoswitch.codecs.dialects.registry import CARD_TERMINALS
from isoswitch.simulators.beliefs import Belief
from isoswitch.simulators.cards import get_card
from isoswitch.simulators.network import SILENCE_MAX_S
from isoswitch.simulators.settlement import MOVES, settle, terminal_totals
from isoswitch.simulators.terminal import Terminal
from isoswitch.simulators.world import World
from isoswitch.store.port import Reconciliation, Verdict

# What a link needs besides to connect again: its share of a busy store and network.
LINKS_UP_S = 10.0
CARD_NAMES = ("visa-ok", "mc-ok")
_UNDOING = frozenset({Kind.REVERSAL, Kind.VOID})


async def give_last_orders(world: World, counts: Counter[str]) -> list[str]:
    """Use everything once more, and give what does not work."""
    for node in world.nodes:
        if node.switch is not None:
            # Its clock is right again; only an operator can say so.
            node.switch.health.confirm_clock()
    await trio.sleep(LINKS_UP_S + _until_missed_s(world))
    wrong = list(_unconfirmed(world, counts))
    for name, terminal in world.terminals.items():
        for card_name in CARD_NAMES:
            card = get_card(card_name)
            is_leased = world.settings.endpoints[card.issuer].leased
            if is_leased and len(world.nodes) > 1:
                continue
            belief = await terminal.balance(card, pin=card.pin)
            if _asked(world, belief) not in {"", card.issuer}:
                # An issuer on probation has an alternate by another file.
                counts["asked elsewhere at the end"] += 1
                continue
            if belief.outcome is None or not belief.outcome.is_approved:
                told = belief.outcome.code if belief.outcome else "no answer"
                wrong.append(f"{name} hears {told} from {card.issuer} at the end")
        has_totals = terminal.dialect.name not in CARD_TERMINALS
        batch = _find_batch(world, terminal) if has_totals else None
        if batch is None:
            continue
        counts["batch closed at the end"] += 1
        answer = await settle(terminal, terminal_totals(batch))
        if answer is None or not answer.outcome.is_approved:
            told = answer.outcome.code if answer else "no answer"
            wrong.append(f"{name} hears {told} to the totals of its batch")
    return wrong


def _until_missed_s(world: World) -> float:
    """Give how long an end may take to miss the other one and to connect again."""
    times_s = (
        each.echo_idle_s
        + each.echo_misses_max * each.request_timeout_s
        + each.connect_timeout_s
        + each.reconnect_max_s
        for node in world.nodes
        for each in node.configuration.settings.endpoints.values()
    )
    return max(SILENCE_MAX_S, *times_s)


def _asked(world: World, belief: Belief) -> str:
    """Name the endpoint that decided; empty where none was asked."""
    rows = world.disk.transactions.values()
    return next((row.endpoint for row in rows if row.rrn == belief.rrn), "")


def awaits_totals(world: World) -> bool:
    """Whether an issuer has not said yet what it thinks of a day's totals."""
    found = world.disk.reconciliations.values()
    return any(each.verdict is Verdict.OWED for each in found)


def _find_batch(world: World, terminal: Terminal) -> list[Belief] | None:
    """Give what a terminal believes of its open batch; None if it has forgotten any."""
    name = terminal.profile.terminal_id
    number = world.disk.batches.get(name, 1)
    beliefs = {
        (each.stan, each.local_at.isoformat()): each for each in terminal.beliefs
    }
    batch: list[Belief] = []
    rows = world.disk.transactions
    for row in rows.values():
        if (row.terminal_id, row.batch) != (name, number):
            continue
        original = rows.get(row.original_id)
        if row.kind in _UNDOING and original and original.batch != number:
            # It undid what an earlier batch counts; the terminal forgot that.
            return None
        if row.kind in MOVES:
            belief = beliefs.get((row.stan, row.local_at[:19]))
            if belief is None or belief.rrn not in ("", row.rrn):
                return None
            batch.append(belief)
    return batch


def _unconfirmed(world: World, counts: Counter[str]) -> Iterator[str]:
    """Give the days that an issuer has not confirmed, or denies without a reason."""
    for each in world.disk.reconciliations.values():
        counts[f"totals {each.verdict.value}"] += 1
        is_late = each.verdict is Verdict.DIFFERS and _came_late(world, each)
        if each.verdict is not Verdict.AGREED and not is_late:
            day, endpoint = each.business_date, each.endpoint
            yield f"the totals of {day} with {endpoint} are {each.verdict.value}"


def _came_late(world: World, of: Reconciliation) -> bool:
    """Whether something of a day was booked, or undone, on another one.

    What its owner lost shortly before the end of the day is reversed after it.
    """
    books = world.issuers[of.endpoint].bookings.entries
    days: dict[str, set[str]] = defaultdict(set)
    for booking in books:
        days[booking.taken_key.rrn].add(booking.business_date)
    for entry in world.disk.ledger.values():
        row = world.disk.transactions.get(entry.transaction_id)
        if row is not None:
            days[row.rrn].add(entry.business_date)
    return any(of.business_date in each and len(each) > 1 for each in days.values())
