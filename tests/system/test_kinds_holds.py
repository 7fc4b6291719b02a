"""Pre-authorisations and what follows them: more is set aside, it is taken, voided."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio

from isoswitch.codecs.canonical.codes import Function, Kind, ResponseCode
from isoswitch.codecs.canonical.money import Money
from isoswitch.journal.records import RecordKind
from isoswitch.ledger.holds import Hold, HoldState
from isoswitch.simulators.beliefs import Belief, BeliefState
from isoswitch.simulators.bookings import BookingKey, BookingKind
from isoswitch.simulators.cards import get_card
from isoswitch.simulators.rules import Equals, Fault, Reaction, Rule
from isoswitch.simulators.world import MERCHANT, World
from isoswitch.switch.numbers import find_transaction_id
from isoswitch.switch.settings import KindSettings, SwitchSettings, VoidStyle
from tests.system.conftest import Run
from tests.system.test_failures import wait_delivered, world_kinds

# One card of each issuer: 1987 and 1993.
CARDS = pytest.mark.parametrize("card", ["visa-ok", "mc-ok"])
HELD = 10_000


async def preauthorise(world: World, card: str = "visa-ok") -> Belief:
    """Set 100.00 aside at the first terminal."""
    chosen = get_card(card)
    belief = await world.terminals["TERM0001"].preauthorise(
        chosen, HELD, pin=chosen.pin
    )
    assert belief.state is BeliefState.APPROVED
    return belief


async def hold_of(world: World, belief: Belief) -> Hold:
    """Give the hold that a transaction placed."""
    assert world.store is not None
    hold = await world.store.find_hold(find_transaction_id(belief.rrn) or "")
    assert hold is not None
    return hold


def issuer_side(world: World, belief: Belief) -> tuple[int, int]:
    """Give what an issuer has taken and still holds for a transaction."""
    key = BookingKey("10001", belief.rrn)
    books = [each.bookings for each in world.issuers.values()]
    return (
        sum(each.approved_minor(key) for each in books),
        sum(each.held_minor(key) for each in books),
    )


@CARDS
async def test_a_preauthorisation_is_held_on_both_sides_and_takes_nothing(
    world: World, card: str
) -> None:
    belief = await preauthorise(world, card)
    hold = await hold_of(world, belief)
    assert (hold.state, hold.remaining_minor) == (HoldState.OPEN, HELD)
    assert issuer_side(world, belief) == (0, HELD)


@CARDS
async def test_an_incremental_sets_more_aside_and_renews_the_hold(
    world: World, card: str
) -> None:
    belief = await preauthorise(world, card)
    expired_at = (await hold_of(world, belief)).expires_at
    await trio.sleep(3600)
    more = await world.terminals["TERM0001"].increase(belief, 5_000)
    assert more.state is BeliefState.APPROVED
    hold = await hold_of(world, belief)
    assert hold.held_minor == HELD + 5_000
    assert hold.expires_at > expired_at
    assert issuer_side(world, belief) == (0, HELD + 5_000)


@CARDS
async def test_a_completion_takes_less_and_releases_the_rest(
    world: World, card: str
) -> None:
    belief = await preauthorise(world, card)
    done = await world.terminals["TERM0001"].complete(belief, 7_000)
    assert done.state is BeliefState.APPROVED
    hold = await hold_of(world, belief)
    assert (hold.state, hold.captured_minor) == (HoldState.CAPTURED, 7_000)
    assert issuer_side(world, belief) == (0, 0)
    assert issuer_side(world, done) == (7_000, 0)


@CARDS
@pytest.mark.parametrize("function", [Function.REQUEST, Function.ADVICE])
async def test_several_completions_take_what_is_held_and_the_last_one_ends_it(
    world: World, card: str, function: Function
) -> None:
    terminal = world.terminals["TERM0001"]
    belief = await preauthorise(world, card)
    done = []
    for minor, is_final in ((3_000, False), (2_000, False), (4_000, True)):
        request = terminal.build(
            Kind.COMPLETION,
            get_card(card),
            minor,
            original=belief,
            function=function,
            is_final=is_final,
        )
        done.append(await terminal.tell(request))
    assert {each.state for each in done} == {BeliefState.APPROVED}
    late = await terminal.complete(belief, 1_000)
    assert late.state is BeliefState.DECLINED
    await trio.sleep(10)
    assert (await hold_of(world, belief)).captured_minor == 9_000
    assert sum(issuer_side(world, each)[0] for each in done) == 9_000
    assert issuer_side(world, belief) == (0, 0)


@CARDS
async def test_a_completion_told_of_is_taken_before_the_issuer_knows(
    world: World, card: str
) -> None:
    """Accepted when durable; the issuer is told by store and forward (0220)."""
    terminal, chosen = world.terminals["TERM0001"], get_card(card)
    belief = await preauthorise(world, card)
    world.cut_link(chosen.issuer)
    request = terminal.build(
        Kind.COMPLETION, chosen, HELD, original=belief, function=Function.ADVICE
    )
    done = await terminal.tell(request)
    assert done.state is BeliefState.APPROVED
    assert (await hold_of(world, belief)).captured_minor == HELD
    assert issuer_side(world, done) == (0, 0)
    again = await terminal.exchange(terminal.as_repeat(request))
    assert again is not None
    assert again.outcome.is_approved
    world.heal_link(chosen.issuer)
    await trio.sleep(60)
    assert issuer_side(world, done) == (HELD, 0)
    assert await world_kinds(world, RecordKind.ADVICE_OWED) == 1


def tolerant(settings: SwitchSettings) -> SwitchSettings:
    """Let completions exceed by 10 %, hotels by 20 %, and one merchant by 30 %."""
    return replace(
        settings,
        kinds=KindSettings(
            completion_over_percent=10, completion_over_percent_by_mcc={"7011": 20}
        ),
    )


def as_merchant(
    settings: SwitchSettings, *, mcc: str, over_percent: int | None = None
) -> SwitchSettings:
    """Let the world's merchant be another one."""
    merchant = replace(MERCHANT, mcc=mcc, completion_over_percent=over_percent)
    return replace(tolerant(settings), merchants={merchant.id: merchant})


@pytest.mark.parametrize(
    ("mcc", "own", "percent"),
    [("5994", None, 10), ("7011", None, 20), ("7011", 30, 30), ("7011", 0, 0)],
)
async def test_a_completion_may_exceed_what_is_held_within_the_tolerance(
    run: Run,
    mcc: str,
    own: int | None,
    percent: int,
) -> None:
    world = World(change=lambda s: as_merchant(s, mcc=mcc, over_percent=own))
    await run(world)
    terminal = world.terminals["TERM0001"]
    most = HELD * (100 + percent) // 100
    codes = []
    for function in (Function.REQUEST, Function.ADVICE):
        for minor in (most, most + 1):
            belief = await preauthorise(world)
            request = terminal.build(
                Kind.COMPLETION,
                get_card("visa-ok"),
                minor,
                original=belief,
                function=function,
            )
            told = (await terminal.tell(request)).outcome
            assert told is not None
            codes.append(told.code)
    assert codes == [ResponseCode.APPROVED, ResponseCode.INVALID_AMOUNT] * 2
    # What was told of has happened: somebody must look at it.
    assert await world_kinds(world, RecordKind.EXCEPTION) == 1


async def test_a_completion_of_nothing_is_declined_and_told_to_the_operator(
    world: World,
) -> None:
    terminal = world.terminals["TERM0001"]
    card = get_card("visa-ok")
    unknown = terminal.build(Kind.PREAUTHORISATION, card, HELD)
    terminal.requests[unknown.transaction.stan] = unknown
    moment = unknown.transaction.local_at
    assert moment is not None
    original = Belief(
        terminal_id="TERM0001",
        kind=Kind.PREAUTHORISATION,
        stan=unknown.transaction.stan,
        local_at=moment,
        card=card.name,
        amount=unknown.transaction.amount,
    )
    for function in (Function.REQUEST, Function.ADVICE):
        request = terminal.build(
            Kind.COMPLETION, card, HELD, original=original, function=function
        )
        belief = await terminal.tell(request)
        assert belief.outcome is not None
        assert belief.outcome.code is ResponseCode.ORIGINAL_NOT_FOUND
    assert await world_kinds(world, RecordKind.EXCEPTION) == 1
    assert not world.issuers["north"].bookings.entries


@pytest.mark.parametrize(
    ("kind", "function"),
    [
        (Kind.INCREMENTAL, Function.REQUEST),
        (Kind.COMPLETION, Function.REQUEST),
        (Kind.COMPLETION, Function.ADVICE),
    ],
)
async def test_what_follows_in_another_currency_is_declined(
    world: World, kind: Kind, function: Function
) -> None:
    """What is told of has happened: somebody must look at it."""
    belief = await preauthorise(world)
    terminal = world.terminals["TERM0001"]
    request = terminal.build(
        kind, get_card("visa-ok"), 7_000, original=belief, function=function
    )
    yen = replace(request.transaction, amount=Money(7_000, "392"))
    followed = await terminal.tell(terminal.build_from(yen))
    assert followed.outcome is not None
    assert followed.outcome.code is ResponseCode.INVALID_AMOUNT
    assert (await hold_of(world, belief)).remaining_minor == HELD
    exceptions = await world_kinds(world, RecordKind.EXCEPTION)
    assert exceptions == (function is Function.ADVICE)


async def test_what_the_issuer_completed_in_silence_is_reversed(world: World) -> None:
    belief = await preauthorise(world)
    silent = Rule(
        name="silent",
        then=Reaction(fault=Fault.SILENCE),
        when={"kind": Equals(value=Kind.COMPLETION.value)},
    )
    world.issuers["north"].set_rules([silent])
    done = await world.terminals["TERM0001"].complete(belief, 7_000)
    assert done.state is BeliefState.DECLINED
    await wait_delivered(world, "north")
    assert issuer_side(world, done) == (0, 0)
    assert (await hold_of(world, belief)).captured_minor == 0


@CARDS
@pytest.mark.parametrize("style", VoidStyle)
async def test_a_void_undoes_a_preauthorisation(
    run: Run, card: str, style: VoidStyle
) -> None:
    world = await a_world(run, style)
    belief = await preauthorise(world, card)
    await world.terminals["TERM0001"].increase(belief, 500)
    assert belief.amount is not None
    belief.amount = replace(belief.amount, minor=HELD + 500)
    assert (await world.terminals["TERM0001"].void(belief)).state is (
        BeliefState.APPROVED
    )
    await trio.sleep(10)
    assert issuer_side(world, belief) == (0, 0)
    assert (await hold_of(world, belief)).state is HoldState.RELEASED


async def a_world(run: Run, style: VoidStyle) -> World:
    """Start a world whose endpoints get voids in one style."""

    def change(settings: SwitchSettings) -> SwitchSettings:
        endpoints = {
            name: replace(each, void_style=style)
            for name, each in settings.endpoints.items()
        }
        return replace(settings, endpoints=endpoints)

    world = World(change=change)
    await run(world)
    return world


@CARDS
@pytest.mark.parametrize("style", VoidStyle)
@pytest.mark.parametrize("terminal", ["TERM0001", "TERM0002"])
async def test_a_void_undoes_a_purchase_once(
    run: Run,
    card: str,
    style: VoidStyle,
    terminal: str,
) -> None:
    world = await a_world(run, style)
    till, chosen = world.terminals[terminal], get_card(card)
    belief = await till.purchase(chosen, 1250, pin=chosen.pin)
    assert (await till.void(belief)).state is BeliefState.APPROVED
    again = await till.void(belief)
    assert again.outcome is not None
    assert again.outcome.code is ResponseCode.DUPLICATE_TRANSACTION
    # A reversal of what is voided finds nothing to undo.
    await till.reverse(belief)
    await trio.sleep(10)
    assert issuer_side(world, belief) == (0, 0)
    books = world.issuers[chosen.issuer].bookings.entries
    assert len(books) == 2
    is_asked = style is VoidStyle.VOID
    assert await world_kinds(world, RecordKind.VOIDED) == int(is_asked)
    assert books[1].kind is (BookingKind.APPROVED if is_asked else BookingKind.REVERSED)


@CARDS
@pytest.mark.parametrize("style", VoidStyle)
async def test_a_void_undoes_a_completion_and_a_refund(
    run: Run, card: str, style: VoidStyle
) -> None:
    world = await a_world(run, style)
    terminal = world.terminals["TERM0001"]
    belief = await preauthorise(world, card)
    done = await terminal.complete(belief, 7_000)
    back = await terminal.refund(done, 2_000)
    assert back.state is BeliefState.APPROVED
    # Part of it was refunded: only when that is undone it is whole again.
    assert (await terminal.void(done)).state is BeliefState.DECLINED
    assert (await terminal.void(back)).state is BeliefState.APPROVED
    assert (await terminal.void(done)).state is BeliefState.APPROVED
    await trio.sleep(10)
    assert issuer_side(world, done) == issuer_side(world, back) == (0, 0)


async def test_a_void_over_another_amount_is_refused(world: World) -> None:
    terminal, card = world.terminals["TERM0001"], get_card("visa-ok")
    belief = await terminal.purchase(card, 1250, pin=card.pin)
    request = terminal.build(Kind.VOID, card, 1249, original=belief)
    refused = (await terminal.tell(request)).outcome
    assert refused is not None
    assert refused.code is ResponseCode.INVALID_AMOUNT


async def test_a_preauthorisation_with_a_completion_is_not_voided(
    world: World,
) -> None:
    terminal = world.terminals["TERM0001"]
    belief = await preauthorise(world)
    await terminal.complete(belief, 1_000, is_final=False)
    assert (await terminal.void(belief)).state is BeliefState.DECLINED


async def test_a_void_is_never_undone_but_told_to_the_operator(world: World) -> None:
    terminal, card = world.terminals["TERM0001"], get_card("visa-ok")
    belief = await terminal.purchase(card, 1250, pin=card.pin)
    void = await terminal.void(belief)
    await terminal.reverse(void)
    assert await world_kinds(world, RecordKind.EXCEPTION) == 1
    assert issuer_side(world, belief) == (0, 0)


async def test_a_void_that_the_issuer_answers_with_silence_is_taken_back(
    run: Run,
) -> None:
    world = await a_world(run, VoidStyle.VOID)
    terminal, card = world.terminals["TERM0001"], get_card("visa-ok")
    belief = await terminal.purchase(card, 1250, pin=card.pin)
    world.issuers["north"].set_rules(
        [
            Rule(
                name="silent",
                then=Reaction(fault=Fault.SILENCE),
                when={"kind": Equals(value=Kind.VOID.value)},
            )
        ]
    )
    assert (await terminal.void(belief)).state is BeliefState.DECLINED
    await wait_delivered(world, "north")
    assert issuer_side(world, belief) == (1250, 0)
