"""Too much comes at once: refused fast, written down, and nothing else suffers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio

from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.simulators.beliefs import Belief, BeliefState
from isoswitch.simulators.cards import get_card
from isoswitch.simulators.requests import Request
from isoswitch.simulators.rules import Fixed, Reaction, Rule
from isoswitch.simulators.swarm import settle
from isoswitch.simulators.terminal import Answer
from isoswitch.simulators.world import World
from isoswitch.store.port import TransactionState
from isoswitch.switch.settings import SwitchSettings

CARD = get_card("visa-ok")


def limited(
    settings: SwitchSettings, *, code: ResponseCode, **limits: float
) -> SwitchSettings:
    """Give settings with these limits, and what listeners say when they are reached."""
    return replace(
        settings,
        admission=replace(settings.admission, **limits),
        listeners=tuple(
            replace(each, overload_code=code) for each in settings.listeners
        ),
    )


async def start(
    nursery: trio.Nursery,
    *,
    code: ResponseCode = ResponseCode.SYSTEM_MALFUNCTION,
    **limits: float,
) -> World:
    """Start a network with these limits and an issuer that takes three seconds."""
    world = World(change=lambda settings: limited(settings, code=code, **limits))
    await nursery.start(world.run)
    slow = Rule(name="slow", then=Reaction(delay=Fixed(delay_s=3.0)))
    world.issuers["north"].set_rules([slow])
    return world


async def pay_often(world: World, count: int, *, terminal: str) -> list[Belief]:
    """Pay many times at once at a terminal."""
    async with trio.open_nursery() as customers:
        for _ in range(count):
            customers.start_soon(world.terminals[terminal].purchase, CARD, 100)
    return world.terminals[terminal].beliefs


@pytest.mark.parametrize(
    "code", [ResponseCode.SYSTEM_MALFUNCTION, ResponseCode.ISSUER_UNAVAILABLE]
)
@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"terminal_burst": 4, "terminal_per_s": 0.1}, "asks too often"),
        ({"merchant_in_flight_max": 4}, "of this merchant"),
        ({"in_flight_max": 4}, "too many transactions are in flight"),
    ],
)
async def test_what_exceeds_a_limit_is_declined_and_written_down(
    nursery: trio.Nursery, limits: dict[str, float], reason: str, code: ResponseCode
) -> None:
    world = await start(nursery, code=code, **limits)
    beliefs = await pay_often(world, 10, terminal="TERM0001")
    declined = [each for each in beliefs if each.state is BeliefState.DECLINED]
    assert len(declined) == 6
    assert {each.outcome.code for each in declined if each.outcome} == {code}
    assert {each.sends for each in declined} == {1}
    rows = list(world.disk.transactions.values())
    assert {row.state for row in rows} == {TransactionState.CLOSED}
    assert sum(reason in row.outcome for row in rows) == 6
    assert len(rows) == 10
    verdict = await settle(world)
    assert verdict.is_settled, verdict.describe()


async def test_a_refusal_is_repeated_as_it_was(nursery: trio.Nursery) -> None:
    world = await start(nursery, terminal_burst=1, terminal_per_s=0.1)
    terminal = world.terminals["TERM0001"]
    await terminal.purchase(CARD, 100)
    request = terminal.build(Kind.PURCHASE, CARD, 100)
    refused = await terminal.exchange(request)
    # By now its terminal has a token again, and this is no new request.
    await trio.sleep(60)
    repeated = await terminal.exchange(terminal.as_repeat(request))
    assert refused
    assert repeated
    assert refused.outcome.code is ResponseCode.SYSTEM_MALFUNCTION
    assert repeated.outcome == refused.outcome


async def test_a_reversal_is_taken_from_a_terminal_that_asks_too_often(
    nursery: trio.Nursery,
) -> None:
    world = await start(nursery, terminal_burst=1, terminal_per_s=0.001)
    terminal = world.terminals["TERM0001"]
    belief = await terminal.purchase(CARD, 100)
    assert (await terminal.purchase(CARD, 100)).state is BeliefState.DECLINED
    await terminal.reverse(belief)
    assert belief.state is BeliefState.REVERSED
    assert belief.reversal_sends == 1


async def test_even_what_is_never_refused_has_a_limit(nursery: trio.Nursery) -> None:
    world = await start(nursery, arrivals_max=4)
    terminal = world.terminals["TERM0001"]
    requests = [
        terminal.as_repeat(terminal.build(Kind.PURCHASE, CARD, 100 + number))
        for number in range(7)
    ]
    answers: list[Answer | None] = []

    async def ask(request: Request) -> None:
        answers.append(await terminal.exchange(request))

    async with trio.open_nursery() as repeats:
        for request in requests:
            repeats.start_soon(ask, request)
        await trio.sleep(1)
        assert world.switch is not None
        assert world.switch.counts.unheard == 3
        assert len(world.disk.transactions) == 4
    # They came again, and nothing was refused.
    assert [each is not None and each.outcome.is_approved for each in answers] == (
        [True] * len(requests)
    )
