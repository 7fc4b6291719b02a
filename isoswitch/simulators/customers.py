"""The customers of a story: who comes when, to which terminal, and what they do.

A row of ``VISITS`` is a kind of visit and how often it is drawn; what a visit does is a
function of a `Visit`. A new kind of transaction is a new row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from random import Random

import trio

from isoswitch.codecs.canonical.codes import Function, Kind, ResponseCode
from isoswitch.codecs.dialects.registry import CARD_TERMINALS
from isoswitch.codecs.dialects.scanned import CODE_FIELDS
from isoswitch.simulators.beliefs import Belief, BeliefState
from isoswitch.simulators.cards import CARDS, TestCard
from isoswitch.simulators.requests import INQUIRIES, Request
from isoswitch.simulators.settlement import MOVES, settle, terminal_totals, upload
from isoswitch.simulators.shoppers import Shoppers
from isoswitch.simulators.terminal import Terminal
from isoswitch.simulators.world import SHOPPER
from isoswitch.switch.numbers import find_transaction_id

GOOD_CARDS = ("visa-ok", "mc-ok")
GOOD_CARD_CHANCE = 0.5
AMOUNT_MINOR_MIN = 100
AMOUNT_MINOR_MAX = 20_000
TAP_MINOR_MAX = 6_000
# How long a shopper thinks at most who is asked to confirm.
CONSIDERED_S = 18.0
# How many codes are shown by a terminal, and how long it is told of them at most.
TILL_CHANCE = 0.4
TOLD_WITHIN_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One customer at one terminal, with the chance that is theirs alone."""

    terminal: Terminal
    card: TestCard
    shoppers: Shoppers
    random: Random
    counts: Counter[str]
    accuse: Callable[[str], None]
    note: Callable[[str], None]

    def ask(
        self, kind: Kind, *, function: Function = Function.REQUEST, cashback: int = 0
    ) -> Request:
        """Build a request of this customer over a random amount."""
        amount_minor = self.random.randint(AMOUNT_MINOR_MIN, AMOUNT_MINOR_MAX)
        return self.terminal.build(
            kind,
            self.card,
            0 if kind in INQUIRIES else amount_minor,
            # An advice tells of what was done without the issuer and its PIN.
            pin=self.card.pin if function is Function.REQUEST else None,
            function=function,
            cashback_minor=cashback,
        )

    def part_of(self, belief: Belief) -> int:
        """Draw a part of what a customer believes to have paid."""
        return self.random.randint(1, max(1, belief.approved_minor - 1))


async def pay(visit: Visit, *, kind: Kind = Kind.PURCHASE) -> Belief:
    """Pay, or take cash, or ask for the balance, and take what comes."""
    return await visit.terminal.pay(visit.ask(kind))


async def ask_for_cash_back(visit: Visit) -> Belief:
    """Pay, and get cash with it."""
    cashback = AMOUNT_MINOR_MIN // 2
    request = visit.ask(Kind.PURCHASE_WITH_CASHBACK, cashback=cashback)
    return await visit.terminal.pay(request)


async def tell_of_a_payment(visit: Visit) -> Belief:
    """Tell of a payment that the terminal has taken without asking."""
    request = visit.ask(Kind.PURCHASE, function=Function.ADVICE)
    return await visit.terminal.tell(request)


async def set_aside_and_complete(visit: Visit) -> Belief:
    """Set an amount aside, perhaps more, take it in one part or two, and regret it."""
    belief = await pay(visit, kind=Kind.PREAUTHORISATION)
    if belief.state is not BeliefState.APPROVED:
        return belief
    if visit.random.random() < 0.3:
        await visit.terminal.increase(belief, AMOUNT_MINOR_MIN)
    taken = []
    if visit.random.random() < 0.3:
        part = visit.part_of(belief) // 2 + 1
        taken += [await visit.terminal.complete(belief, part, is_final=False)]
    taken += [await visit.terminal.complete(belief, visit.part_of(belief))]
    regrets = [bring_back, have_voided, cancel]
    for _ in range(visit.random.choice((0, 0, 1, 2, 3))):
        belief, regret = visit.random.choice(taken), visit.random.choice(regrets)
        if belief.state is BeliefState.APPROVED and belief.approved_minor:
            await regret(visit, belief)
        if regret is bring_back:
            # What was refunded stands although a later cancellation is acknowledged.
            regrets = [bring_back, have_voided]
    return taken[-1]


async def bring_back(visit: Visit, belief: Belief) -> None:
    """Have a part refunded or all of it, which may be more than is left."""
    minor = visit.random.choice((visit.part_of(belief), belief.approved_minor))
    await visit.terminal.refund(belief, minor)


async def have_voided(visit: Visit, belief: Belief) -> None:
    """Have a payment voided, if nothing of it was refunded."""
    await visit.terminal.void(belief)


async def cancel(visit: Visit, belief: Belief) -> None:
    """Undo what was approved."""
    await visit.terminal.reverse(belief)


async def set_aside_and_void(visit: Visit) -> Belief:
    """Set an amount aside, and leave it."""
    belief = await pay(visit, kind=Kind.PREAUTHORISATION)
    if belief.state is BeliefState.APPROVED:
        await visit.terminal.void(belief)
    return belief


async def pay_and_void(visit: Visit) -> Belief:
    """Pay, and have it voided."""
    belief = await pay(visit)
    if belief.state is BeliefState.APPROVED:
        await visit.terminal.void(belief)
    return belief


async def pay_and_bring_back(visit: Visit) -> Belief:
    """Pay, and get a part of it back, perhaps twice."""
    belief = await pay(visit)
    for _ in range(visit.random.randint(1, 2)):
        if belief.state is BeliefState.APPROVED:
            await visit.terminal.refund(belief, visit.part_of(belief))
    return belief


async def pay_and_take_less(visit: Visit) -> Belief:
    """Pay, and have all but a part of it undone."""
    belief = await pay(visit)
    if belief.state is BeliefState.APPROVED and belief.approved_minor > 1:
        await visit.terminal.reverse(belief, remaining_minor=visit.part_of(belief))
    return belief


async def pay_and_cancel(visit: Visit) -> Belief:
    """Pay, and undo what was approved."""
    belief = await pay(visit)
    if belief.state is BeliefState.APPROVED:
        await visit.terminal.reverse(belief)
    return belief


async def lose_patience(visit: Visit) -> Belief:
    """Undo a payment before its outcome is known; some pull the plug first."""
    request = visit.ask(Kind.PURCHASE)
    with trio.move_on_after(visit.random.expovariate(2.0)):
        return await visit.terminal.pay(request)
    belief = _belief(visit, request)
    if visit.random.random() < 0.5:
        visit.terminal.hang_up()
    if belief.state is not BeliefState.REVERSED:
        await visit.terminal.reverse(belief)
    return belief


async def pay_at_a_dying_terminal(visit: Visit) -> Belief:
    """Pay at a terminal that will never ask what became of it."""
    request = visit.ask(Kind.PURCHASE)
    with trio.move_on_after(visit.random.expovariate(2.0)):
        await visit.terminal.pay(request)
    belief = _belief(visit, request)
    visit.terminal.beliefs.remove(belief)
    return belief


async def pay_and_ask_again(visit: Visit) -> Belief:
    """Pay, and send the same request again although it was answered."""
    request = visit.ask(Kind.PURCHASE)
    belief = await visit.terminal.pay(request)
    if belief.outcome is None:
        return belief
    again = await visit.terminal.exchange(visit.terminal.as_repeat(request))
    told = again.outcome.code if again else None
    if told is not None and told not in {belief.outcome.code, *_DOUBTS}:
        visit.accuse(
            f"{belief}: {belief.outcome.code} became {told} when it was asked again"
        )
    return belief


async def pay_a_code_at_the_till(visit: Visit) -> None:
    """Pay a code on a terminal's screen; it is told, or not, and asks in any case."""
    terminal, random = visit.terminal, visit.random
    minor = random.randint(AMOUNT_MINOR_MIN, AMOUNT_MINOR_MAX)
    shown = await terminal.pay(terminal.build_code_request(minor))
    if shown.outcome is None or not shown.outcome.is_approved:
        return
    code_id = find_transaction_id(shown.rrn) or ""
    text = shown.outcome.code_text
    await visit.shoppers.pay_text(random, text, minor, code_id=code_id)
    told = None
    with trio.move_on_after(TOLD_WITHIN_S):
        told = (await terminal.wait_notice(shown.rrn)).code
    visit.counts[f"notice {told.value if told else 'missing'}"] += 1
    asked = await terminal.pay(terminal.build_code_query(shown.rrn))
    answer = asked.outcome.code if asked.outcome else None
    if told is ResponseCode.APPROVED and answer in _UNPAID:
        visit.accuse(f"{shown}: told that it is paid, and answered {answer}")


async def pay_a_code(visit: Visit, *, payers: int = 1) -> None:
    """Pay a code that the merchant shows, some of them with others at once."""
    carries_codes = visit.terminal.dialect.name in CODE_FIELDS
    if payers == 1 and carries_codes and visit.random.random() < TILL_CHANCE:
        await pay_a_code_at_the_till(visit)
        return
    minor = visit.random.randint(AMOUNT_MINOR_MIN, AMOUNT_MINOR_MAX)
    code = await visit.shoppers.show_code(visit.random, minor)
    if code is not None:
        async with trio.open_nursery() as nursery:
            for _ in range(payers):
                nursery.start_soon(visit.shoppers.pay, visit.random, code, minor)


async def pay_a_code_again(visit: Visit) -> None:
    """Pay a code, and once more whatever came of it."""
    minor = visit.random.randint(AMOUNT_MINOR_MIN, AMOUNT_MINOR_MAX)
    code = await visit.shoppers.show_code(visit.random, minor)
    if code is not None:
        for _ in range(2):
            await visit.shoppers.pay(visit.random, code, minor)
            await trio.sleep(visit.random.uniform(0.0, 20.0))


async def pay_a_static_code(visit: Visit) -> None:
    """Type amounts at a code that has none."""
    code = await visit.shoppers.show_code(visit.random, 0)
    if code is not None:
        for _ in range(2):
            minor = visit.random.randint(AMOUNT_MINOR_MIN, AMOUNT_MINOR_MAX)
            await visit.shoppers.pay(visit.random, code, minor)


async def pay_a_code_and_bring_back(visit: Visit) -> None:
    """Pay a code, and get it back in parts, perhaps more of them than there is."""
    minor = visit.random.randint(AMOUNT_MINOR_MIN, AMOUNT_MINOR_MAX)
    code = await visit.shoppers.show_code(visit.random, minor)
    if code is None:
        return
    payment = await visit.shoppers.pay(visit.random, code, minor)
    if payment is None or not payment.is_paid:
        return
    async with trio.open_nursery() as nursery:
        for _ in range(visit.random.randint(1, 3)):
            part = visit.random.randint(minor // 3, minor)
            nursery.start_soon(visit.shoppers.give_back, visit.random, payment, part)


async def tap(visit: Visit) -> Belief:
    """Pay with a telephone or a watch."""
    random = visit.random
    request = visit.terminal.build_tap(
        random.choice(visit.shoppers.devices),
        random.randint(AMOUNT_MINOR_MIN, TAP_MINOR_MAX),
        random=random,
        holder_verified=random.random() < 0.5,
    )
    return await visit.terminal.pay(request)


async def tap_and_cancel(visit: Visit) -> Belief:
    """Pay by a tap, and undo it."""
    belief = await tap(visit)
    if belief.state is BeliefState.APPROVED:
        await visit.terminal.reverse(belief)
    return belief


async def show_a_code(visit: Visit, *, confirms: bool = False) -> Belief:
    """Pay by a code on a screen; perhaps the shopper is asked first."""
    wallet, random = visit.shoppers.wallet, visit.random
    shown = wallet.show_code(SHOPPER, confirms=confirms)
    minor = random.randint(AMOUNT_MINOR_MIN, AMOUNT_MINOR_MAX)
    async with trio.open_nursery() as nursery:
        if confirms:
            nursery.start_soon(_decide, visit)
        return await visit.terminal.pay(visit.terminal.build_scan(shown, minor))


async def show_a_code_twice(visit: Visit) -> None:
    """Have one code scanned at two tills at once, and once more."""
    shown = visit.shoppers.wallet.show_code(SHOPPER)

    async def pay_here() -> None:
        till = visit.shoppers.draw_till(visit.random)
        minor = visit.random.randint(AMOUNT_MINOR_MIN, AMOUNT_MINOR_MAX)
        await till.pay(till.build_scan(shown, minor))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(pay_here)
        nursery.start_soon(pay_here)
    await pay_here()


async def show_a_code_and_cancel(visit: Visit) -> Belief:
    """Pay by a code, and undo it."""
    belief = await show_a_code(visit)
    if belief.state is BeliefState.APPROVED:
        await visit.terminal.reverse(belief)
    return belief


async def show_a_code_and_bring_back(visit: Visit) -> Belief:
    """Pay by a code, and get a part of it back."""
    belief = await show_a_code(visit)
    if belief.state is BeliefState.APPROVED:
        refund = visit.terminal.build_scan_refund(belief, visit.part_of(belief))
        await visit.terminal.pay(refund)
    return belief


async def sign_in(visit: Visit) -> None:
    """Have a terminal fetch new keys; it asks until it is answered."""
    terminal = visit.terminal
    async with visit.shoppers.tills[terminal.profile.terminal_id]:
        outcome = None
        while outcome is None:
            outcome = await terminal.sign_in()
    visit.counts[f"sign-in {outcome.code.value}"] += 1


async def settle_the_batch(visit: Visit) -> None:
    """Have a terminal close its batch; where the totals differ, one by one.

    While others pay at the same terminal they often differ.
    """
    terminal = visit.terminal
    name = terminal.profile.terminal_id
    async with visit.shoppers.tills[name]:
        begun = visit.shoppers.settled.get(name, 0)
        batch = list(terminal.beliefs[begun:])
        answer = await settle(terminal, terminal_totals(batch))
        if answer is not None and not answer.outcome.is_approved:
            for belief in batch:
                if belief.approved_minor and belief.kind in MOVES:
                    await upload(terminal, belief)
            totals = terminal_totals(batch)
            answer = await settle(terminal, totals, is_after_upload=True)
        if answer is not None and answer.outcome.is_approved:
            visit.shoppers.settled[name] = begun + len(batch)
    visit.counts[f"batch {answer.outcome.code.value if answer else 'unheard'}"] += 1


@dataclass(frozen=True, slots=True)
class Row:
    """What a visit does, and how often it is drawn."""

    act: Callable[[Visit], Awaitable[Belief | None]]
    weight: int


VISITS: Mapping[str, Row] = {
    "pays": Row(pay, 50),
    "pays and cancels": Row(pay_and_cancel, 12),
    "loses patience": Row(lose_patience, 12),
    "pays at a dying terminal": Row(pay_at_a_dying_terminal, 2),
    "pays and asks again": Row(pay_and_ask_again, 6),
    "takes cash": Row(partial(pay, kind=Kind.CASH_WITHDRAWAL), 8),
    "asks for the balance": Row(partial(pay, kind=Kind.BALANCE_INQUIRY), 5),
    "asks for a statement": Row(partial(pay, kind=Kind.MINI_STATEMENT), 3),
    "has a card verified": Row(partial(pay, kind=Kind.ACCOUNT_VERIFICATION), 3),
    "asks for cash back": Row(ask_for_cash_back, 5),
    "tells of a payment": Row(tell_of_a_payment, 5),
    "sets aside and completes": Row(set_aside_and_complete, 10),
    "sets aside and voids": Row(set_aside_and_void, 4),
    "pays and voids": Row(pay_and_void, 6),
    "pays and brings back": Row(pay_and_bring_back, 6),
    "pays and takes less": Row(pay_and_take_less, 5),
    "pays a code": Row(pay_a_code, 12),
    "pays a code with others": Row(partial(pay_a_code, payers=3), 4),
    "pays a code again": Row(pay_a_code_again, 5),
    "pays a static code": Row(pay_a_static_code, 4),
    "pays a code and brings back": Row(pay_a_code_and_bring_back, 8),
    "taps": Row(tap, 10),
    "taps and cancels": Row(tap_and_cancel, 4),
    "shows a code": Row(show_a_code, 6),
    "shows a code and is asked": Row(partial(show_a_code, confirms=True), 6),
    "shows a code twice": Row(show_a_code_twice, 3),
    "shows a code and cancels": Row(show_a_code_and_cancel, 3),
    "shows a code and brings back": Row(show_a_code_and_bring_back, 3),
    "signs a terminal in": Row(sign_in, 4),
    "settles a batch": Row(settle_the_batch, 4),
}


# What caaa has no message for.
_BEYOND_CAAA = frozenset(
    {
        "asks for a statement",
        "pays and takes less",
        "signs a terminal in",
        "settles a batch",
        *(name for name in VISITS if name.startswith("shows")),
    }
)


def _possible(terminal: Terminal, visits: Mapping[str, Row]) -> Mapping[str, Row]:
    if terminal.dialect.name not in CARD_TERMINALS:
        return visits
    return {name: row for name, row in visits.items() if name not in _BEYOND_CAAA}


async def come(
    visit: Visit, within_s: float, *, visits: Mapping[str, Row] = VISITS
) -> None:
    """Come at a random time, and do what is drawn of the ``visits`` that can be."""
    await trio.sleep(visit.random.uniform(0.0, within_s))
    possible = _possible(visit.terminal, visits)
    (name,) = visit.random.choices(
        list(possible), [row.weight for row in possible.values()]
    )
    visit.counts[f"customer {name}"] += 1
    terminal_id = visit.terminal.profile.terminal_id
    visit.note(f"customer {name} with {visit.card.name} at {terminal_id}")
    belief = await visits[name].act(visit)
    if belief is not None:
        visit.counts[f"belief {belief.state.value}"] += 1
        visit.note(f"customer {name}: {belief}")


def draw_card(random: Random) -> TestCard:
    """Draw a card: often one that nothing is wrong with, else any."""
    if random.random() < GOOD_CARD_CHANCE:
        return CARDS[random.choice(GOOD_CARDS)]
    return random.choice(list(CARDS.values()))


async def _decide(visit: Visit) -> None:
    """Think, and confirm; or say no; or forget it."""
    await trio.sleep(visit.random.uniform(0.0, CONSIDERED_S))
    wallet = visit.shoppers.wallet
    visit.random.choice([wallet.confirm, wallet.confirm, wallet.refuse, list])()


def _belief(visit: Visit, request: Request) -> Belief:
    stan = request.transaction.stan
    return next(each for each in visit.terminal.beliefs if each.stan == stan)


# What an answer says of a code that nobody has paid.
_UNPAID = frozenset(
    {
        ResponseCode.REQUEST_IN_PROGRESS,
        ResponseCode.ANSWER_TOO_LATE,
        ResponseCode.ORIGINAL_NOT_FOUND,
    }
)
# What may become of an answered request without a contradiction: it was reversed, or
# the switch could not tell and declined without a record of its own.
_DOUBTS = frozenset({ResponseCode.ANSWER_TOO_LATE})
