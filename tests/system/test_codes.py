"""Merchants' codes paid by instant transfer: once, whole, in time, or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import trio

from isoswitch.clearing.receipt import Receipt, ReceiptState
from isoswitch.clearing.transfer import TransferState
from isoswitch.codecs.canonical.codes import ResponseCode
from isoswitch.codecs.canonical.errors import ConfigError
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.sealing import load_outcome
from isoswitch.codecs.iso20022.messages import build_message
from isoswitch.codecs.qr.mpm import MpmCode, build_mpm, decode_mpm, item
from isoswitch.journal.records import RecordKind
from isoswitch.ledger.entries import balances
from isoswitch.simulators.auditor import audit, view_store
from isoswitch.simulators.house_documents import payment_of
from isoswitch.simulators.rules import Fault, Fixed, Reaction, Rule
from isoswitch.simulators.world import (
    HOUSE,
    MERCHANT,
    MERCHANT_ACCOUNT,
    MERCHANT_BANK,
    PAYER_ACCOUNT,
    PAYER_BANK,
    SHOP_ACCOUNT,
    World,
    house_settings,
)
from isoswitch.store.port import StoredTransaction, TransactionState
from isoswitch.store.rows import Callback, CodeState, PaymentCode
from isoswitch.switch.callbacks import call_back_forever, replay_callback
from isoswitch.switch.codes import Codes, CodeWish, PayWish, RefundWish
from isoswitch.switch.refusals import Refusal, Refused
from isoswitch.switch.settings import PayeeSettings, SwitchSettings
from tests.system.test_transfers import returning

PAYEE = PayeeSettings(
    house=HOUSE,
    account=MERCHANT_ACCOUNT,
    bank=MERCHANT_BANK,
    city="Berlin",
    country="DE",
    callback_url="https://shop.example/hook",
)
WISH = CodeWish(
    merchant_id=MERCHANT.id,
    amount_minor=1250,
    currency="978",
    valid_s=300.0,
    reference="order 7",
)

CLEARING, OWED = ("clearing/house", "978"), (f"merchant/{MERCHANT.id}", "978")


def with_codes(settings: SwitchSettings) -> SwitchSettings:
    """Give the settings of a switch whose merchant is paid over the house."""
    house = house_settings()
    return replace(
        settings,
        houses={HOUSE: house},
        merchants={MERCHANT.id: replace(MERCHANT, payee=PAYEE)},
    )


@pytest.fixture
async def world(nursery: trio.Nursery) -> World:
    """A network with a clearing house and a merchant who shows codes."""
    network = World(change=with_codes)
    await nursery.start(network.run)
    await trio.sleep(1)
    return network


def codes_of(world: World) -> Codes:
    assert world.switch is not None
    assert world.switch.codes is not None
    return world.switch.codes


async def create(world: World, **changes: object) -> PaymentCode:
    made = await codes_of(world).create(replace(WISH, **changes))
    assert isinstance(made, PaymentCode)
    return made


async def pay(
    world: World, text: str, amount: Money | None = None
) -> StoredTransaction | Refused:
    return await codes_of(world).pay(pay_wish(text, amount))


def pay_wish(text: str, amount: Money | None = None) -> PayWish:
    """Give what a wallet says to pay a code."""
    return PayWish(
        text=text,
        wallet="purse",
        debtor="A. Payer",
        debtor_account=PAYER_ACCOUNT,
        debtor_agent=PAYER_BANK,
        amount=amount,
    )


async def paid(world: World, text: str, amount: Money | None = None) -> str:
    """Pay a code and give the id of its payment."""
    row = await pay(world, text, amount)
    assert isinstance(row, StoredTransaction)
    assert row.state is TransactionState.CLOSED
    assert load_outcome(row.outcome).is_approved
    return row.id


async def failed(world: World, text: str) -> str:
    """Pay a code in vain and give the reason."""
    row = await pay(world, text)
    assert isinstance(row, StoredTransaction)
    outcome = load_outcome(row.outcome)
    assert not outcome.is_approved
    return outcome.reason


async def refused(world: World, text: str, amount: Money | None = None) -> Refusal:
    """Have a code refused, see that nothing was sent, and give the reason."""
    house = world.houses[HOUSE]
    sent = len(house.documents)
    answer = await pay(world, text, amount)
    assert isinstance(answer, Refused)
    assert len(house.documents) == sent
    return answer.reason


def state_of(world: World, code: PaymentCode) -> CodeState:
    row = world.disk.rows[PaymentCode, code.id]
    assert isinstance(row, PaymentCode)
    return row.state


def react(world: World, **reaction: object) -> None:
    rule = Rule(name="test", then=Reaction(**reaction), times_max=1)
    world.houses[HOUSE].set_rules([rule])


async def ledger(world: World) -> Mapping[tuple[str, str], int]:
    assert world.store is not None
    sums = balances(await world.store.entries("2026-06-01"))
    return {key: minor for key, minor in sums.items() if minor}


async def assert_audited(world: World) -> None:
    """At rest, ledger and transactions tell the same story."""
    assert world.store is not None
    books = {name: each.bookings for name, each in world.issuers.items()}
    verdict = audit(view=await view_store(world.store), bookings=books)
    assert verdict.is_settled, verdict.describe()


def amended(text: str, path: str, value: str) -> str:
    """Give a code's text with one object changed and a CRC that fits."""
    objects = [each for each in decode_mpm(text).objects if each.id != "63"]
    changed = [item(path, value) if each.id == path else each for each in objects]
    return build_mpm(changed).encode()


async def test_a_code_says_what_the_merchant_wants(world: World) -> None:
    code: MpmCode = decode_mpm((await create(world)).text)
    assert code.is_dynamic
    assert str(code.amount) == "12.50"
    assert (code.currency, code.country, code.mcc) == ("978", "DE", "5994")
    assert (code.merchant_name, code.merchant_city) == ("Kiosk", "Berlin")


async def test_a_code_is_paid_and_the_merchant_is_owed(world: World) -> None:
    code = await create(world)
    payment = await paid(world, code.text)
    assert state_of(world, code) is CodeState.PAID
    assert await ledger(world) == {CLEARING: 1250, OWED: -1250}
    assert world.store is not None
    kinds = [each.record.kind for each in await world.store.records(payment)]
    assert kinds == [
        RecordKind.OPENED,
        RecordKind.SENDING,
        RecordKind.ANSWERED,
        RecordKind.CLOSED,
    ]
    await assert_audited(world)


async def test_a_code_is_paid_once(world: World) -> None:
    code = await create(world)
    await paid(world, code.text)
    assert await refused(world, code.text) is Refusal.CODE_PAID


async def test_of_two_who_pay_at_once_one_wins(world: World) -> None:
    code = await create(world)
    answers: list[StoredTransaction | Refused] = []

    async def try_it() -> None:
        answers.append(await pay(world, code.text))

    async with trio.open_nursery() as payers:
        for _ in range(5):
            payers.start_soon(try_it)
    lost = [each.reason for each in answers if isinstance(each, Refused)]
    assert lost == [Refusal.CODE_IN_USE] * 4
    assert len(world.houses[HOUSE].payments) == 1
    assert await ledger(world) == {CLEARING: 1250, OWED: -1250}


async def test_an_expired_code_is_not_paid(world: World) -> None:
    code = await create(world)
    await trio.sleep(WISH.valid_s)
    assert await refused(world, code.text) is Refusal.CODE_EXPIRED


@pytest.mark.parametrize(("place", "value"), [("54", "0.01"), ("59", "Thief")])
async def test_a_code_that_was_altered_is_refused_and_noted(
    world: World, place: str, value: str
) -> None:
    code = await create(world)
    assert (
        await refused(world, amended(code.text, place, value)) is Refusal.CODE_ALTERED
    )
    assert world.store is not None
    kinds = [each.record.kind for each in await world.store.records(code.id)]
    assert kinds == [RecordKind.CODE, RecordKind.EXCEPTION]


async def test_a_code_with_a_wrong_checksum_is_refused(world: World) -> None:
    code = await create(world)
    broken = code.text[:-4] + ("0000" if code.text[-4:] != "0000" else "1111")
    assert await refused(world, broken) is Refusal.UNREADABLE_CODE


async def test_a_code_of_somebody_else_is_unknown(world: World) -> None:
    code = await create(world)
    await world_forgets(world, code)
    assert await refused(world, code.text) is Refusal.UNKNOWN_CODE


async def world_forgets(world: World, code: PaymentCode) -> None:
    """Let the code be one that another switch made."""
    del world.disk.rows[PaymentCode, code.id]


@pytest.mark.parametrize("minor", [1, 1249, 1251])
async def test_a_code_is_paid_whole_or_not_at_all(world: World, minor: int) -> None:
    code = await create(world)
    amount = Money(minor, "978")
    assert await refused(world, code.text, amount) is Refusal.AMOUNT_DIFFERS


async def test_a_code_is_paid_in_its_own_currency(world: World) -> None:
    code = await create(world)
    amount = Money(1250, "840")
    assert await refused(world, code.text, amount) is Refusal.AMOUNT_DIFFERS


async def test_a_static_code_is_paid_often_with_the_amount_typed(world: World) -> None:
    code = await create(world, amount_minor=0, valid_s=0.0)
    assert not decode_mpm(code.text).is_dynamic
    assert await refused(world, code.text) is Refusal.AMOUNT_REQUIRED
    for minor in (500, 700):
        await paid(world, code.text, Money(minor, "978"))
    assert state_of(world, code) is CodeState.OPEN
    assert await ledger(world) == {CLEARING: 1200, OWED: -1200}
    await assert_audited(world)


async def test_a_rejected_code_can_be_paid_by_another_attempt(world: World) -> None:
    code = await create(world)
    react(world, code=ResponseCode.INSUFFICIENT_FUNDS)
    assert await failed(world, code.text) == "rejected with AM04"
    assert state_of(world, code) is CodeState.OPEN
    await paid(world, code.text)
    assert await ledger(world) == {CLEARING: 1250, OWED: -1250}
    await assert_audited(world)


@pytest.mark.parametrize(
    ("said", "reason", "heard"),
    [
        (ResponseCode.INSUFFICIENT_FUNDS, "AM04", ResponseCode.INSUFFICIENT_FUNDS),
        (ResponseCode.ISSUER_UNAVAILABLE, "AB08", ResponseCode.ISSUER_UNAVAILABLE),
        (ResponseCode.STOLEN_CARD, "AC06", ResponseCode.RESTRICTED_CARD),
        (ResponseCode.WRONG_PIN, "MS02", ResponseCode.DO_NOT_HONOUR),
    ],
)
async def test_a_rejection_is_told_as_its_response_code(
    world: World, said: ResponseCode, reason: str, heard: ResponseCode
) -> None:
    react(world, code=said)
    row = await pay(world, (await create(world)).text)
    assert isinstance(row, StoredTransaction)
    outcome = load_outcome(row.outcome)
    assert (outcome.code, outcome.reason) == (heard, f"rejected with {reason}")


async def test_money_that_moves_too_late_goes_back(world: World) -> None:
    code = await create(world)
    react(world, delay=Fixed(delay_s=14.0))
    assert "did not answer in time" in await failed(world, code.text)
    await trio.sleep(60)
    assert await ledger(world) == {}
    await assert_audited(world)


@pytest.mark.parametrize("answered", [True, False])
async def test_a_restart_loses_no_result(world: World, *, answered: bool) -> None:
    code = await create(world)
    react(world, delay=Fixed(delay_s=3.0), fault=None if answered else Fault.SILENCE)
    async with trio.open_nursery() as payers:
        payers.start_soon(pay, world, code.text)
        await trio.sleep(1)
        payers.cancel_scope.cancel()
    world.crash_switch()
    await trio.sleep(1)
    await world.start_switch()
    await trio.sleep(60)
    callbacks = [
        each for each in world.disk.rows.values() if isinstance(each, Callback)
    ]
    assert len(callbacks) == 1
    # Nobody was told in time: what was settled meanwhile has gone back.
    assert '"event":"payment.failed"' in callbacks[0].body
    assert state_of(world, code) is CodeState.OPEN
    assert await ledger(world) == {}
    await assert_audited(world)


async def test_whoever_stops_waiting_stops_no_payment(world: World) -> None:
    code = await create(world)
    react(world, delay=Fixed(delay_s=3.0))
    with trio.move_on_after(1):
        await pay(world, code.text)
    await trio.sleep(5)
    assert state_of(world, code) is CodeState.PAID


async def test_money_that_the_bank_gives_back_is_told_and_not_owed(
    world: World,
) -> None:
    bank = world.houses[HOUSE].members[MERCHANT_BANK]
    bank.posts_later, bank.credits_in_the_end = True, False
    payment = await paid(world, (await create(world)).text)
    await trio.sleep(30)
    assert world.disk.transactions[payment].reversed
    assert await ledger(world) == {}
    callbacks = [
        each for each in world.disk.rows.values() if isinstance(each, Callback)
    ]
    assert [each.id for each in callbacks] == [
        f"{payment}.succeeded",
        f"{payment}.returned",
    ]
    await assert_audited(world)


async def refund(world: World, payment: str, minor: int = 0) -> object:
    wish = RefundWish(merchant_id=MERCHANT.id, payment_id=payment, amount_minor=minor)
    return await codes_of(world).refund(wish)


async def test_a_payment_is_given_back_in_parts_and_never_more(world: World) -> None:
    payment = await paid(world, (await create(world)).text)
    for minor in (500, 750):
        row = await refund(world, payment, minor)
        assert isinstance(row, StoredTransaction)
        assert load_outcome(row.outcome).is_approved
        more = await refund(world, payment, 751)
        assert isinstance(more, Refused)
        assert more.reason is Refusal.REFUND_EXCEEDS
    assert await ledger(world) == {}
    positions = world.houses[HOUSE].window.positions()
    assert {each.amount.minor for each in positions} == {0}
    await assert_audited(world)


async def test_what_comes_back_after_a_refund_was_given_back_twice(
    world: World,
) -> None:
    payment = await paid(world, (await create(world)).text)
    row = await refund(world, payment, 500)
    assert isinstance(row, StoredTransaction)
    assert load_outcome(row.outcome).is_approved
    uetr = next(
        each.uetr for each in world.disk.transfers.values() if each.id == payment
    )
    for _ in range(2):
        world.houses[HOUSE].send_nowait(returning(1250, "R1", uetr))
        await trio.sleep(1)
    assert world.disk.transactions[payment].reversed
    # The house has moved 5.00 of ours, for which the merchant has nothing.
    assert await ledger(world) == {CLEARING: -500, OWED: 500}
    assert world.store is not None
    records = [each.record for each in await world.store.records(payment)]
    (told,) = [each for each in records if each.kind is RecordKind.EXCEPTION]
    assert "5.00 EUR of it by refunds too" in told.body["reason"]
    more = await refund(world, payment, 1)
    assert isinstance(more, Refused)
    await assert_audited(world)


async def test_refunds_at_once_give_back_no_more_than_was_paid(world: World) -> None:
    payment = await paid(world, (await create(world)).text)
    async with trio.open_nursery() as merchants:
        for _ in range(4):
            merchants.start_soon(refund, world, payment, 700)
    assert await ledger(world) == {CLEARING: 550, OWED: -550}
    await assert_audited(world)


async def test_a_refund_that_is_rejected_can_be_wished_again(world: World) -> None:
    payment = await paid(world, (await create(world)).text)
    react(world, code=ResponseCode.DO_NOT_HONOUR)
    row = await refund(world, payment)
    assert isinstance(row, StoredTransaction)
    assert not load_outcome(row.outcome).is_approved
    row = await refund(world, payment)
    assert isinstance(row, StoredTransaction)
    assert load_outcome(row.outcome).is_approved
    assert await ledger(world) == {}


async def test_what_failed_is_not_refunded_while_its_late_money_goes_back(
    world: World,
) -> None:
    react(world, delay=Fixed(delay_s=14.0))
    world.houses[HOUSE].members[MERCHANT_BANK].agrees_to_recalls = False
    row = await pay(world, (await create(world)).text)
    assert isinstance(row, StoredTransaction)
    await trio.sleep(20)
    stands_aside = {CLEARING: 1250, ("recalls/house", "978"): -1250}
    assert await ledger(world) == stands_aside
    answer = await refund(world, row.id)
    assert isinstance(answer, Refused)
    assert answer.reason is Refusal.NOT_REFUNDABLE
    assert await ledger(world) == stands_aside


async def test_another_merchant_refunds_nothing(world: World) -> None:
    payment = await paid(world, (await create(world)).text)
    wish = RefundWish(merchant_id="OTHER", payment_id=payment)
    answer = await codes_of(world).refund(wish)
    assert isinstance(answer, Refused)
    assert answer.reason is Refusal.NOT_OFFERED


class Shop:
    """A merchant's server; ``reasons`` is why it does not take the next callbacks."""

    def __init__(self, *reasons: str) -> None:
        self.reasons = list(reasons)
        self.heard: list[tuple[float, Callback]] = []

    async def deliver(self, callback: Callback) -> str:
        """Take a callback, or not."""
        self.heard.append((trio.current_time(), callback))
        return self.reasons.pop(0) if self.reasons else ""


async def serve(world: World, nursery: trio.Nursery, shop: Shop) -> None:
    assert world.store is not None
    nursery.start_soon(call_back_forever, world.store, world, shop.deliver)


async def test_a_merchant_hears_of_a_payment_once(
    world: World, nursery: trio.Nursery
) -> None:
    shop = Shop()
    await serve(world, nursery, shop)
    payment = await paid(world, (await create(world)).text)
    await trio.sleep(3600)
    ((_, callback),) = shop.heard
    assert callback.id == f"{payment}.succeeded"
    assert '"event":"payment.succeeded"' in callback.body
    assert PAYER_ACCOUNT not in callback.body


async def test_an_operator_has_a_callback_sent_again(
    world: World, nursery: trio.Nursery
) -> None:
    shop = Shop()
    await serve(world, nursery, shop)
    payment = await paid(world, (await create(world)).text)
    await trio.sleep(5)
    assert world.switch is not None
    assert world.switch.services is not None
    services = world.switch.services
    await replay_callback(services, f"{payment}.succeeded", operator="ann")
    await trio.sleep(5)
    assert [callback.attempts for _, callback in shop.heard] == [0, 1]
    with pytest.raises(ConfigError, match="no callback"):
        await replay_callback(services, "nothing", operator="ann")


def with_own_payee(settings: SwitchSettings) -> SwitchSettings:
    """Give the settings of a switch whose merchant has its account at our bank."""
    payee = replace(PAYEE, account=SHOP_ACCOUNT, bank=PAYER_BANK)
    merchant = replace(MERCHANT, payee=payee)
    return replace(with_codes(settings), merchants={MERCHANT.id: merchant})


async def forward(world: World, **changed: Any) -> Receipt:
    """Let the house hand the last transfer to the payee's bank, which is ours."""
    house = world.houses[HOUSE]
    sent = replace(list(house.payments.values())[-1].transfer, **changed)
    forwarded = payment_of(sent, message_id="FORWARD1", at=world.now())
    house.send_nowait(build_message(forwarded, None))
    await trio.sleep(0.5)
    assert world.store is not None
    receipt = await world.store.find_row(Receipt, f"{HOUSE}/{sent.uetr}")
    assert receipt is not None
    return receipt


async def pay_own(world: World) -> None:
    """Pay a merchant at our bank from an account at another."""
    bank = world.houses[HOUSE].members[PAYER_BANK]
    bank.accounts = frozenset({*bank.accounts, SHOP_ACCOUNT})
    wish = pay_wish((await create(world)).text)
    await codes_of(world).pay(replace(wish, debtor_agent=MERCHANT_BANK))


@pytest.fixture
async def own(nursery: trio.Nursery) -> World:
    """A network with a merchant whose account is at our bank."""
    network = World(change=with_own_payee)
    await nursery.start(network.run)
    await trio.sleep(1)
    return network


SETTLEMENT = ("settlement/house", "978")


async def test_a_merchant_at_our_bank_is_credited_once(own: World) -> None:
    await pay_own(own)
    assert (await forward(own)).state is ReceiptState.CREDITED
    assert await ledger(own) == {SETTLEMENT: 1250, OWED: -1250}
    own.houses[HOUSE].close_window()
    await trio.sleep(1)
    assert await breaks(own) == []


async def breaks(world: World) -> list[str]:
    assert world.store is not None
    records = [each.record for each in await world.store.records()]
    return [
        str(each.body["reason"])
        for each in records
        if each.kind is RecordKind.EXCEPTION
    ]


@pytest.mark.parametrize("first", ["sender", "receiver"])
async def test_what_is_not_settled_with_ourselves_is_told_to_both_our_sides(
    own: World, nursery: trio.Nursery, first: str
) -> None:
    house = own.houses[HOUSE]
    react(own, fault=Fault.SILENCE)
    nursery.start_soon(pay_own, own)
    await trio.sleep(1)
    await forward(own)
    (payment,) = house.payments.values()
    answers = [
        house._report(replace(payment, status="RJCT", reason="AB05", message_id=name))
        for name in (payment.message_id, "FORWARD1")
    ]
    for answer in answers if first == "sender" else answers[::-1]:
        house.send_nowait(answer)
        await trio.sleep(0.5)
    (transfer,) = own.disk.transfers.values()
    assert transfer.state is TransferState.REJECTED
    assert (await forward(own)).state is ReceiptState.CANCELLED
    assert await ledger(own) == {}
    assert await breaks(own) == []


async def test_something_else_under_the_name_of_our_transfer_is_refused(
    own: World,
) -> None:
    await pay_own(own)
    receipt = await forward(own, amount=Money(1, "978"))
    assert (receipt.state, receipt.reason) == (ReceiptState.REFUSED, "DU03")
    assert await ledger(own) == {CLEARING: 1250, OWED: -1250}


async def test_a_refund_to_a_customer_of_ours_is_credited(world: World) -> None:
    payment = await paid(world, (await create(world)).text)
    await refund(world, payment)
    await forward(world)
    customer = (f"customer/{PAYER_ACCOUNT}", "978")
    assert await ledger(world) == {SETTLEMENT: 1250, customer: -1250}


async def test_a_payer_hears_soon_what_another_node_has_fetched(
    nursery: trio.Nursery,
) -> None:
    def over_https(settings: SwitchSettings) -> SwitchSettings:
        house = replace(house_settings(), transport="https")
        return replace(with_codes(settings), houses={HOUSE: house})

    # Both nodes ask for what lies in the one mailbox.
    world = World(change=over_https, nodes=2, store_delay_s=lambda: 0.005)
    await nursery.start(world.run)
    await trio.sleep(1)
    for number in range(10):
        switch = world.nodes[number % 2].switch
        assert switch is not None
        assert switch.codes is not None
        code = await switch.codes.create(WISH)
        assert isinstance(code, PaymentCode)
        began_at = trio.current_time()
        row = await switch.codes.pay(pay_wish(code.text))
        assert isinstance(row, StoredTransaction)
        assert load_outcome(row.outcome).is_approved
        assert trio.current_time() - began_at < 1
