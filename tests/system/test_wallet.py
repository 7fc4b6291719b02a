"""Payers' codes that a merchant scans: wallets, confirmations, and codes of cards."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from random import Random

import pytest
import trio

from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.codecs.canonical.secrets import ScannedCode
from isoswitch.journal.chain import decode_record
from isoswitch.journal.records import RecordKind
from isoswitch.simulators.beliefs import Belief, BeliefState
from isoswitch.simulators.bookings import BookingKind
from isoswitch.simulators.cards import get_card
from isoswitch.simulators.devices import PROFILES, Device
from isoswitch.simulators.leaks import find_clear
from isoswitch.simulators.rules import Fault, Reaction, Rule
from isoswitch.simulators.swarm import settle
from isoswitch.simulators.token_service import CODES, TAPS, TokenService
from isoswitch.simulators.world import SHOPPER, WALLET, World
from tests.system.test_standin import PROFILE, standing_in

Run = Callable[[World], Awaitable[None]]
CONFIRM_S, TERMINAL_S = 15.0, 20.0


@pytest.fixture
async def world(run: Run) -> World:
    """A network with a wallet."""
    network = World(with_wallet=True)
    await run(network)
    return network


async def scan(
    world: World, shown: ScannedCode, minor: int = 1250, *, at: str = "TERM0001"
) -> Belief:
    terminal = world.terminals[at]
    return await terminal.pay(terminal.build_scan(shown, minor))


def code(belief: Belief) -> ResponseCode:
    assert belief.outcome is not None
    return belief.outcome.code


def taken(world: World) -> int:
    """What the wallet has taken from its shopper, on balance."""
    account = world.wallet.accounts.get_account(SHOPPER)
    return account.card.balance_minor - account.balance_minor


def kinds(world: World) -> list[RecordKind]:
    return [decode_record(each.encoded).kind for each in world.disk.links]


@pytest.mark.parametrize("at", ["TERM0001", "TERM0002"])
async def test_a_scanned_code_pays_from_its_shoppers_account(
    world: World, at: str
) -> None:
    belief = await scan(world, world.wallet.show_code(SHOPPER), at=at)
    assert code(belief) is ResponseCode.APPROVED
    assert taken(world) == 1250


async def test_what_the_shopper_cannot_pay_is_declined(world: World) -> None:
    account = world.wallet.accounts.get_account(SHOPPER)
    account.balance_minor = 1000
    belief = await scan(world, world.wallet.show_code(SHOPPER))
    assert code(belief) is ResponseCode.INSUFFICIENT_FUNDS
    account.balance_minor = account.card.balance_minor


async def test_a_code_pays_once_and_a_second_use_is_never_sent(world: World) -> None:
    shown = world.wallet.show_code(SHOPPER)
    assert code(await scan(world, shown)) is ResponseCode.APPROVED
    again = await scan(world, shown, at="TERM0002")
    assert code(again) is ResponseCode.DUPLICATE_TRANSACTION
    assert kinds(world).count(RecordKind.SENDING) == 1
    assert taken(world) == 1250


async def test_a_code_pays_once_also_at_two_tills_at_once(world: World) -> None:
    shown = world.wallet.show_code(SHOPPER)
    beliefs: list[Belief] = []

    async def pay(at: str) -> None:
        beliefs.append(await scan(world, shown, at=at))

    async with trio.open_nursery() as nursery:
        for at in world.terminals:
            nursery.start_soon(pay, at)
    assert {code(each) for each in beliefs} == {
        ResponseCode.APPROVED,
        ResponseCode.DUPLICATE_TRANSACTION,
    }
    assert kinds(world).count(RecordKind.SENDING) == 1


async def test_a_code_stays_spent_when_the_switch_starts_again(world: World) -> None:
    shown = world.wallet.show_code(SHOPPER)
    await scan(world, shown)
    world.crash_switch()
    await world.start_switch()
    await trio.sleep(5)
    assert code(await scan(world, shown)) is ResponseCode.DUPLICATE_TRANSACTION


async def test_a_repeat_gets_the_answer_of_the_first(world: World) -> None:
    terminal = world.terminals["TERM0001"]
    request = terminal.build_scan(world.wallet.show_code(SHOPPER), 1250)
    first = await terminal.pay(request)
    again = await terminal.exchange(terminal.as_repeat(request))
    assert first.outcome is not None
    assert again is not None
    assert again.outcome.approval_code == first.outcome.approval_code
    assert taken(world) == 1250


async def test_the_switch_asks_again_until_the_shopper_has_confirmed(
    world: World, nursery: trio.Nursery
) -> None:
    async def confirm() -> None:
        await trio.sleep(7)
        assert world.wallet.confirm() == [ResponseCode.APPROVED]

    nursery.start_soon(confirm)
    belief = await scan(world, world.wallet.show_code(SHOPPER, confirms=True))
    assert code(belief) is ResponseCode.APPROVED
    assert (belief.sends, taken(world)) == (1, 1250)


async def test_a_shopper_may_say_no(world: World, nursery: trio.Nursery) -> None:
    async def refuse() -> None:
        await trio.sleep(5)
        world.wallet.refuse()

    nursery.start_soon(refuse)
    belief = await scan(world, world.wallet.show_code(SHOPPER, confirms=True))
    assert code(belief) is ResponseCode.DO_NOT_HONOUR
    assert taken(world) == 0


async def test_what_nobody_confirms_is_cancelled_and_answered_in_time(
    world: World,
) -> None:
    began_at = trio.current_time()
    belief = await scan(world, world.wallet.show_code(SHOPPER, confirms=True))
    assert code(belief) is ResponseCode.ANSWER_TOO_LATE
    assert trio.current_time() - began_at <= CONFIRM_S < TERMINAL_S
    await trio.sleep(5)
    assert RecordKind.DELIVERED in kinds(world)
    books = world.wallet.bookings.entries
    assert [each.kind for each in books] == [BookingKind.TOMBSTONE]


async def test_a_confirmation_that_comes_too_late_moves_nothing(world: World) -> None:
    await scan(world, world.wallet.show_code(SHOPPER, confirms=True))
    await trio.sleep(5)
    assert world.wallet.confirm() == [ResponseCode.DUPLICATE_TRANSACTION]
    assert taken(world) == 0


async def test_a_confirmation_before_the_cancellation_arrives_is_undone(
    world: World, nursery: trio.Nursery
) -> None:
    async def cut_then_confirm() -> None:
        await trio.sleep(9)
        world.cut_link(WALLET)
        assert world.wallet.confirm() == [ResponseCode.APPROVED]
        await trio.sleep(20)
        world.heal_link(WALLET)

    nursery.start_soon(cut_then_confirm)
    belief = await scan(world, world.wallet.show_code(SHOPPER, confirms=True))
    assert code(belief) is ResponseCode.ANSWER_TOO_LATE
    verdict = await settle(world)
    assert verdict.is_settled
    assert taken(world) == 0


async def test_a_link_lost_while_the_shopper_is_asked_does_not_end_it(
    world: World, nursery: trio.Nursery
) -> None:
    async def disturb() -> None:
        await trio.sleep(3)
        world.cut_link(WALLET)
        await trio.sleep(3)
        world.heal_link(WALLET)
        world.wallet.confirm()

    nursery.start_soon(disturb)
    belief = await scan(world, world.wallet.show_code(SHOPPER, confirms=True))
    assert code(belief) is ResponseCode.APPROVED
    assert taken(world) == 1250


async def test_a_cashier_may_cancel_while_the_shopper_is_asked(
    world: World, nursery: trio.Nursery
) -> None:
    terminal = world.terminals["TERM0001"]
    request = terminal.build_scan(world.wallet.show_code(SHOPPER, confirms=True), 1250)
    beliefs: list[Belief] = []

    async def pay() -> None:
        beliefs.append(await terminal.pay(request))

    nursery.start_soon(pay)
    await trio.sleep(3)
    await terminal.reverse(terminal.beliefs[-1])
    await trio.sleep(5)
    terminal.beliefs[-1].state = BeliefState.REVERSED
    assert not code(beliefs[0]).is_approval
    assert world.wallet.confirm() == [ResponseCode.DUPLICATE_TRANSACTION]


async def test_a_switch_that_dies_while_the_shopper_is_asked_cancels(
    world: World, nursery: trio.Nursery
) -> None:
    beliefs: list[Belief] = []

    async def pay() -> None:
        shown = world.wallet.show_code(SHOPPER, confirms=True)
        beliefs.append(await scan(world, shown))

    nursery.start_soon(pay)
    await trio.sleep(5)
    world.crash_switch()
    await world.start_switch()
    await trio.sleep(60)
    assert not code(beliefs[0]).is_approval
    assert world.wallet.confirm() == [ResponseCode.DUPLICATE_TRANSACTION]
    assert taken(world) == 0


async def test_a_silent_wallet_is_reversed_like_any_issuer(world: World) -> None:
    world.wallet.set_rules([Rule(name="silent", then=Reaction(fault=Fault.SILENCE))])
    belief = await scan(world, world.wallet.show_code(SHOPPER))
    assert code(belief) is ResponseCode.ISSUER_UNAVAILABLE
    world.wallet.set_rules([])
    await trio.sleep(60)
    assert taken(world) == 0


async def test_a_payment_by_code_is_refunded_up_to_its_amount(world: World) -> None:
    terminal = world.terminals["TERM0001"]
    paid = await scan(world, world.wallet.show_code(SHOPPER))
    first = await terminal.pay(terminal.build_scan_refund(paid, 1000))
    assert code(first) is ResponseCode.APPROVED
    over = await terminal.pay(terminal.build_scan_refund(paid, 500))
    assert code(over) is ResponseCode.INVALID_AMOUNT
    assert taken(world) == 250


async def test_a_payment_by_code_can_be_reversed(world: World) -> None:
    belief = await scan(world, world.wallet.show_code(SHOPPER))
    await world.terminals["TERM0001"].reverse(belief)
    await trio.sleep(5)
    assert taken(world) == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("101234567890123456", ResponseCode.NO_SUCH_ISSUER),
        ("991234567890123456", ResponseCode.FORMAT_ERROR),
        ("2812", ResponseCode.FORMAT_ERROR),
        ("hQVDUFYwMWE=", ResponseCode.FORMAT_ERROR),
        ("upi://pay?pa=shop@bank", ResponseCode.FORMAT_ERROR),
    ],
)
async def test_what_no_wallet_here_honours_is_declined(
    world: World, text: str, expected: ResponseCode
) -> None:
    assert code(await scan(world, ScannedCode(text))) is expected
    assert RecordKind.SENDING not in kinds(world)


async def test_a_code_only_buys(world: World) -> None:
    terminal = world.terminals["TERM0001"]
    shown = world.wallet.show_code(SHOPPER)
    request = terminal.build_scan(shown, 1250, kind=Kind.CASH_WITHDRAWAL)
    assert code(await terminal.pay(request)) is ResponseCode.INVALID_TRANSACTION
    assert code(await scan(world, shown)) is ResponseCode.APPROVED


async def test_another_code_under_the_same_key_is_refused(world: World) -> None:
    terminal = world.terminals["TERM0001"]
    first = terminal.build_scan(world.wallet.show_code(SHOPPER), 1250)
    await terminal.pay(first)
    other = replace(first.transaction, code=world.wallet.show_code(SHOPPER))
    answer = await terminal.exchange(terminal.as_repeat(terminal.build_from(other)))
    assert answer is not None
    assert answer.outcome.code is ResponseCode.DUPLICATE_TRANSACTION


async def test_a_code_is_nowhere_written_down_in_clear(world: World) -> None:
    shown = [world.wallet.show_code(SHOPPER, confirms=each) for each in (False, True)]
    for each in shown:
        await scan(world, each)
    await trio.sleep(5)
    secrets = {f"code {place}": each.reveal() for place, each in enumerate(shown)}
    written = b"\n".join(each.encoded for each in world.disk.links)
    tables = repr((world.disk.transactions, world.disk.rows, world.disk.saf)).encode()
    assert not find_clear(written + tables, secrets)
    (row, _) = world.disk.transactions.values()
    assert row.pan_masked == shown[0].masked


# Codes that hold a card (EMVCo, consumer-presented) ----------------------------------

MASTER = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")


@pytest.fixture
def tokens(world: World) -> TokenService:
    """The token service before the issuer."""
    service = TokenService(MASTER, random=world.random)
    world.issuers["north"].tokens = service
    return service


@pytest.fixture
def phone(tokens: TokenService) -> Device:
    """A telephone that shows codes and may be tapped."""
    profile = PROFILES["apple-pay-like"]
    return tokens.enroll(get_card("visa-ok"), profile, domain=CODES | TAPS)


@pytest.mark.parametrize("at", ["TERM0001", "TERM0002"])
async def test_a_code_of_a_card_pays_as_its_device_does(
    world: World, phone: Device, at: str
) -> None:
    belief = await scan(world, phone.show_code(Random(1)), at=at)
    assert code(belief) is ResponseCode.APPROVED
    (row,) = world.disk.transactions.values()
    assert (row.pan_masked, row.endpoint) == (phone.pan.masked, "north")
    (booking,) = world.issuers["north"].bookings.entries
    assert booking.card == "visa-ok"


async def test_a_code_of_a_card_pays_once_too(
    world: World, phone: Device, tokens: TokenService
) -> None:
    shown = phone.show_code(Random(1))
    await scan(world, shown)
    again = await scan(world, shown)
    assert code(again) is ResponseCode.DUPLICATE_TRANSACTION
    assert kinds(world).count(RecordKind.SENDING) == 1
    assert not tokens.counts


async def test_a_code_of_a_card_belongs_to_its_account(
    world: World, phone: Device
) -> None:
    await scan(world, phone.show_code(Random(1)))
    terminal = world.terminals["TERM0001"]
    await terminal.pay(terminal.build_tap(phone, 100, random=Random(2)))
    scanned, tapped = world.disk.transactions.values()
    assert scanned.pan_hash == tapped.pan_hash
    assert (scanned.verification, tapped.verification) == ("device", "none")


async def test_a_token_for_taps_alone_shows_no_codes(
    world: World, tokens: TokenService
) -> None:
    device = tokens.enroll(get_card("visa-ok"), PROFILES["visa-card"])
    belief = await scan(world, device.show_code(Random(1)))
    assert code(belief) is ResponseCode.CARD_NOT_PERMITTED


async def test_a_code_with_a_made_up_cryptogram_is_refused(
    world: World, phone: Device, tokens: TokenService
) -> None:
    forged = replace(phone, master=bytes(16))
    belief = await scan(world, forged.show_code(Random(1)))
    assert code(belief) is ResponseCode.SECURITY_VIOLATION
    assert tokens.counts["wrong cryptogram"] == 1


async def test_nobody_stands_in_for_a_wallet(run: Run) -> None:
    """Only the wallet knows whose a code is, and whether it is one."""
    world = World(with_wallet=True, change=standing_in(PROFILE))
    await run(world)
    world.cut_link(WALLET)
    await trio.sleep(1)
    belief = await scan(world, world.wallet.show_code(SHOPPER))
    assert code(belief) is ResponseCode.ISSUER_UNAVAILABLE
    assert RecordKind.STOOD_IN not in kinds(world)
    world.heal_link(WALLET)


async def test_a_code_of_a_card_that_was_stood_in_for_is_spent(run: Run) -> None:
    world = World(with_wallet=True, change=standing_in(PROFILE))
    await run(world)
    tokens = TokenService(MASTER, random=world.random)
    world.issuers["north"].tokens = tokens
    phone = tokens.enroll(get_card("visa-ok"), PROFILES["apple-pay-like"], domain=CODES)
    world.cut_link("north")
    world.cut_link("south")
    await trio.sleep(1)
    shown = phone.show_code(Random(1))
    said = [code(await scan(world, shown)) for _ in "ab"]
    assert said == [ResponseCode.APPROVED, ResponseCode.DUPLICATE_TRANSACTION]
    assert kinds(world).count(RecordKind.STOOD_IN) == 1
    world.heal_link("north")
    world.heal_link("south")
