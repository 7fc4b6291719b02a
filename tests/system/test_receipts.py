"""Transfers of others to our customers: booked once, answered, given back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import trio

from isoswitch.clearing.receipt import Receipt, ReceiptState
from isoswitch.clearing.transfer import Event
from isoswitch.codecs.canonical.errors import ConfigError
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.iso20022.document import read_document
from isoswitch.codecs.iso20022.exceptions import Resolution
from isoswitch.codecs.iso20022.messages import build_message, read_message
from isoswitch.codecs.iso20022.schemas import Mode, Schemas
from isoswitch.codecs.iso20022.transfers import StatusReport, Transfer
from isoswitch.codecs.iso20022.values import Account, Agent, Party
from isoswitch.journal.records import RecordKind
from isoswitch.simulators.house_books import Payment
from isoswitch.simulators.house_documents import payment_of
from isoswitch.simulators.rules import Fault, Fixed
from isoswitch.simulators.world import (
    BLOCKED_ACCOUNT,
    HOUSE,
    MERCHANT,
    MERCHANT_BANK,
    PAYER_ACCOUNT,
    PAYER_BANK,
    SHOP_ACCOUNT,
    World,
    house_settings,
)
from isoswitch.switch.control import (
    Desk,
    ReturnReceipt,
    control_path,
    send_order,
    serve_control,
)
from isoswitch.switch.interbank.documents import News
from isoswitch.switch.interbank.house import House
from isoswitch.switch.settings import SwitchSettings
from tests.iso20022 import published_into
from tests.system.test_reload import Desk as Reloading
from tests.system.test_transfers import (
    house_of,
    ledger,
    pay,
    react,
    with_house,
)

OURS = ("settlement/house", "978")
CUSTOMER = (f"customer/{PAYER_ACCOUNT}", "978")
CREDITED = {OURS: 1250, CUSTOMER: -1250}


@pytest.fixture
async def world(nursery: trio.Nursery) -> World:
    """A network with a clearing house."""
    network = World(change=with_house())
    await nursery.start(network.run)
    await trio.sleep(1)
    return network


def transfer(number: int = 1, account: str = PAYER_ACCOUNT, **changed: Any) -> Transfer:
    """Give a transfer of a customer of the other bank."""
    fields: dict[str, Any] = {
        "end_to_end_id": f"E2E{number}",
        "transaction_id": f"TX{number}",
        "uetr": str(UUID(int=number, version=4)),
        "amount": Money(1250, "978"),
        "debtor": Party(name="B. Sender"),
        "debtor_account": Account(iban="DE02120300000000202051"),
        "debtor_agent": Agent(bic=MERCHANT_BANK),
        "creditor": Party(name="A. Payer"),
        "creditor_account": Account(iban=account),
        "creditor_agent": Agent(bic=PAYER_BANK),
    }
    return Transfer(**(fields | changed))


async def send(world: World, sent: Transfer, wait_s: float = 1.0) -> Payment:
    payment = house_of(world).originate(sent)
    await trio.sleep(wait_s)
    return payment


async def find(world: World, number: int = 1) -> Receipt:
    assert world.store is not None
    found = await world.store.find_row(Receipt, f"{HOUSE}/{transfer(number).uetr}")
    assert found is not None
    return found


def said(world: World, kind: type[Any]) -> list[Any]:
    """Give what the switch and the house said of a kind."""
    messages = []
    for data in house_of(world).documents:
        document = read_document(data)
        assert document.body is not None
        if document.header is not None:
            messages.append(read_message(document.body))
    return [each for each in messages if isinstance(each, kind)]


async def positions(world: World) -> Mapping[str, int]:
    window = house_of(world).window
    return {each.participant: each.amount.minor for each in window.positions()}


async def test_a_transfer_is_credited_answered_and_settled(world: World) -> None:
    payment = await send(world, transfer())
    assert payment.status == "ACSC"
    assert (await find(world)).state is ReceiptState.CREDITED
    assert await ledger(world) == CREDITED
    assert await positions(world) == {MERCHANT_BANK: -1250, PAYER_BANK: 1250}


async def test_a_merchant_is_credited_as_a_merchant(world: World) -> None:
    await send(world, transfer(account=SHOP_ACCOUNT))
    assert await ledger(world) == {
        OURS: 1250,
        (f"merchant/{MERCHANT.id}", "978"): -1250,
    }


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"account": "DE68210501700012345678"}, "AC03"),
        ({"account": BLOCKED_ACCOUNT}, "AC06"),
        ({"amount": Money(1250, "840")}, "AM03"),
        ({"amount": Money(0, "978")}, "AM01"),
        ({"creditor_agent": Agent(bic=MERCHANT_BANK)}, "RC04"),
    ],
)
async def test_what_we_cannot_credit_is_refused_with_its_reason(
    world: World, changed: dict[str, Any], reason: str
) -> None:
    payment = await send(world, transfer(**changed))
    assert (payment.status, payment.reason) == ("RJCT", reason)
    assert await ledger(world) == {}


async def test_what_breaks_a_rule_is_refused_as_a_whole(world: World) -> None:
    message = payment_of(
        transfer(account="DE68210501700012345679"), message_id="M1", at=world.now()
    )
    house_of(world).send_nowait(build_message(replace(message, count=2), None))
    await trio.sleep(1)
    (answer,) = said(world, StatusReport)
    (group,) = answer.groups
    assert (group.message_id, group.status) == ("M1", "RJCT")
    assert {each.code for each in group.reasons} == {"AM18", "AC01"}
    assert await ledger(world) == {}


@pytest.mark.parametrize("name", ["end_to_end_id", "instruction_id", "transaction_id"])
async def test_what_could_not_be_said_back_is_not_taken(
    world: World, name: str
) -> None:
    await send(world, transfer(**{name: "X" * 36}))
    assert not said(world, StatusReport)
    assert await ledger(world) == {}
    assert world.store is not None
    kinds = [each.record.kind for each in await world.store.records()]
    assert kinds.count(RecordKind.EXCEPTION) == 1


async def test_the_same_transfer_again_gets_the_same_answer_and_moves_nothing(
    world: World,
) -> None:
    react(world, fault=Fault.DUPLICATE)
    await send(world, transfer())
    first, second = said(world, StatusReport)
    assert first == second
    assert first.statuses[0].status == "ACCC"
    assert await ledger(world) == CREDITED


async def test_the_same_name_with_other_content_is_refused(world: World) -> None:
    await send(world, transfer())
    other = payment_of(
        transfer(amount=Money(9999, "978")), message_id="M2", at=world.now()
    )
    house_of(world).send_nowait(build_message(other, None))
    await trio.sleep(1)
    answer = said(world, StatusReport)[-1].statuses[0]
    assert (answer.status, answer.reasons[0].code) == ("RJCT", "DU03")
    assert await ledger(world) == CREDITED
    assert (await find(world)).amount_minor == 1250


async def test_what_comes_too_late_to_be_answered_is_refused(world: World) -> None:
    react(world, delay=Fixed(delay_s=6.0))
    payment = await send(world, transfer(), wait_s=8.0)
    assert (payment.status, payment.reason) == ("RJCT", "AB05")
    assert (await find(world)).state is ReceiptState.REFUSED
    assert await ledger(world) == {}


async def test_an_answer_that_came_too_late_is_undone(world: World) -> None:
    # The message comes in time, and the answer does not leave in time.
    house = house_of(world)
    payment = house.originate(transfer())
    payment.expires_at = trio.current_time() - 1
    await trio.sleep(1)
    assert (payment.status, payment.reason) == ("RJCT", "AB05")
    receipt = await find(world)
    assert (receipt.state, receipt.reason) == (ReceiptState.CANCELLED, "AB05")
    assert await ledger(world) == {}
    assert await positions(world) == {}


async def test_a_status_request_is_answered_as_it_stands(world: World) -> None:
    await send(world, transfer(1))
    await send(world, transfer(2, account=BLOCKED_ACCOUNT))
    for number in (1, 2, 3):
        house_of(world).ask(transfer(number).uetr)
        await trio.sleep(0.1)
    answers = [each.statuses[0] for each in said(world, StatusReport)[-3:]]
    told = [
        (each.status, "".join(reason.code for reason in each.reasons))
        for each in answers
    ]
    assert told == [("ACCC", ""), ("RJCT", "AC06"), ("RJCT", "AG09")]


async def test_a_recall_is_agreed_to_and_the_money_goes_back_once(world: World) -> None:
    payment = await send(world, transfer())
    for _ in range(2):
        house_of(world).recall(transfer().uetr, "DUPL")
        await trio.sleep(3)
    assert payment.resolution == "IPAY"
    assert payment.returned
    assert (await find(world)).state is ReceiptState.RETURNED
    assert await ledger(world) == {}
    assert await positions(world) == {MERCHANT_BANK: 0, PAYER_BANK: 0}


@pytest.mark.parametrize(
    ("number", "reason", "refusal"), [(1, "FRAD", "CUST"), (2, "DUPL", "NOOR")]
)
async def test_a_recall_that_we_do_not_agree_to_says_why(
    world: World, number: int, reason: str, refusal: str
) -> None:
    await send(world, transfer(1))
    await send(world, transfer(2, account=BLOCKED_ACCOUNT))
    house_of(world).recall(transfer(number).uetr, reason)
    await trio.sleep(3)
    (answer,) = said(world, Resolution)
    assert answer.confirmation == "RJCR"
    assert answer.statuses[0].reasons[0].code == refusal
    assert await ledger(world) == CREDITED


async def test_an_operator_gives_a_received_transfer_back(
    world: World, nursery: trio.Nursery, tmp_path: Path
) -> None:
    payment = await send(world, transfer())
    receipt = await find(world)
    assert world.switch is not None
    path = control_path(tmp_path / "switch.db")
    await nursery.start(serve_control, Desk(switch=world.switch), path)
    order = ReturnReceipt(operator="ann", receipt=receipt.id, reason="AC04")
    assert await send_order(path, order, str) == ReceiptState.RETURNING
    await trio.sleep(5)
    assert await send_order(path, order, str) == ReceiptState.RETURNED
    assert payment.returned
    assert await ledger(world) == {}
    assert world.store is not None
    records = await world.store.records(receipt.transaction_id)
    orders = [each.record for each in records if each.record.body.get("order")]
    assert orders[0].body == {"order": "return", "operator": "ann", "reason": "AC04"}
    unknown = ReturnReceipt(operator="ann", receipt="house/nothing", reason="AC04")
    with pytest.raises(ConfigError, match="no received transfer"):
        await send_order(path, unknown, str)


async def test_a_return_is_told_until_the_house_has_taken_it(world: World) -> None:
    payment = await send(world, transfer())
    house_of(world).recall(transfer().uetr, "DUPL")
    world.cut_link(HOUSE)
    await trio.sleep(5)
    assert world.switch is not None
    assert world.switch.receipts is not None
    await world.switch.receipts.give_back(await find(world), "AC04")
    await trio.sleep(10)
    assert (await find(world)).state is ReceiptState.RETURNING
    assert await ledger(world) == {}
    assert not payment.returned
    world.heal_link(HOUSE)
    await trio.sleep(20)
    assert (await find(world)).state is ReceiptState.RETURNED
    assert payment.returned


async def test_a_restart_between_booking_and_answer_books_once(world: World) -> None:
    house = house_of(world)
    payment = house.originate(transfer())
    while not world.disk.ledger:
        await trio.lowlevel.checkpoint()
    world.crash_switch()
    await trio.sleep(1)
    await world.start_switch()
    await trio.sleep(10)
    # The house heard no answer in time, and says so when it is asked.
    assert payment.status in {"RJCT", "ACSC"}
    house.send_nowait(house._report(replace(payment, message_id=payment.forwarded_id)))
    await trio.sleep(1)
    settled = payment.status == "ACSC"
    assert await ledger(world) == (CREDITED if settled else {})


async def test_a_return_of_what_we_received_is_an_exception(world: World) -> None:
    payment = await send(world, transfer())
    house = house_of(world)
    house.send_nowait(house._give_back(payment, "FOCR"))
    await trio.sleep(1)
    assert world.store is not None
    records = await world.store.records((await find(world)).transaction_id)
    assert records[-1].record.kind is RecordKind.EXCEPTION
    assert await ledger(world) == CREDITED


async def test_what_is_said_follows_our_profile_and_the_published_schema(
    world: World, tmp_path: Path
) -> None:
    await send(world, transfer(1))
    await send(world, transfer(2, account=BLOCKED_ACCOUNT))
    house_of(world).ask(transfer(1).uetr)
    house_of(world).ask(transfer(3).uetr)
    house_of(world).recall(transfer(1).uetr, "DUPL")
    house_of(world).recall(transfer(2).uetr, "DUPL")
    await trio.sleep(5)
    house_of(world).close_window()
    await trio.sleep(1)
    schemas, base = Schemas(), Schemas(published_into(tmp_path))
    told: set[str] = set()
    for data in house_of(world).documents:
        document = read_document(data)
        for part in filter(None, (document.header, document.body)):
            schemas.verify(part, Mode.PROFILE)
            base.verify(part, Mode.BOTH)
            told.add(part.family)
    assert {"pacs.002", "pacs.004", "camt.029", "camt.053", "camt.054"} <= told


@pytest.mark.parametrize(
    ("profile", "taken"),
    [("fednow-like", "ACTC"), ("sct-inst-like", "ACCP"), ("cnaps-like", "ACCC")],
)
async def test_each_profile_says_in_its_own_words_that_it_takes_a_transfer(
    nursery: trio.Nursery, profile: str, taken: str, tmp_path: Path
) -> None:
    world = World(change=with_house(profile))
    await nursery.start(world.run)
    await trio.sleep(1)
    payment = await send(world, transfer())
    assert payment.status == "ACSC"
    assert said(world, StatusReport)[0].statuses[0].status == taken
    assert await pay(world)
    house_of(world).recall(transfer().uetr, "DUPL")
    await trio.sleep(5)
    base = Schemas(published_into(tmp_path))
    for data in house_of(world).documents:
        body = read_document(data).body
        assert body is not None
        base.verify(body, Mode.BOTH)


async def offer(world: World, sent: Transfer, *, over: str = HOUSE) -> House:
    """Have the switch take a transfer that comes over a house, itself."""
    assert world.switch is not None
    assert world.switch.receipts is not None
    house = world.switch.houses[over]
    message = payment_of(sent, message_id=f"M-{over}", at=world.now())
    await world.switch.receipts.take(house, message, "pacs.008.001.08")
    return house


def rejected(**names: str) -> News:
    """Give the word that a transfer to us was not settled."""
    fields = {"uetr": "", "transaction_id": ""} | names
    return News(
        original_message_id="",
        event=Event.REJECTED,
        reason="AB05",
        about="pacs.008.001.08",
        **fields,
    )


async def test_a_transfer_without_a_uetr_is_undone_by_its_own_name(
    world: World,
) -> None:
    house = await offer(world, transfer(uetr=""))
    assert await ledger(world) == CREDITED
    assert world.switch is not None
    assert world.switch.receipts is not None
    await world.switch.receipts.hear(house, rejected(transaction_id="TX1"))
    assert await ledger(world) == {}


async def test_a_house_has_no_say_in_what_came_over_another(
    nursery: trio.Nursery,
) -> None:
    one = house_settings()
    houses = {HOUSE: one, "other": replace(one, name="other")}
    world = World(change=lambda settings: replace(settings, houses=houses))
    world.houses["other"] = world.houses[HOUSE]
    await nursery.start(world.run)
    await offer(world, transfer())
    assert world.switch is not None
    assert world.switch.receipts is not None
    other = await offer(world, transfer(2), over="other")
    before = await ledger(world)
    await world.switch.receipts.hear(other, rejected(uetr=transfer(1).uetr))
    assert await ledger(world) == before
    # The same transfer over another house is another one, and booked there.
    await offer(world, transfer(1), over="other")
    after = await ledger(world)
    assert after["settlement/other", "978"] == 2500


async def test_who_is_paid_at_our_bank_changes_with_the_configuration(
    world: World, nursery: trio.Nursery
) -> None:
    desk = Reloading(world)
    nursery.start_soon(desk.reloader.run)
    account, owner = "DE02100100100006820101", f"merchant/{MERCHANT.id}"

    def move_payee(settings: SwitchSettings) -> SwitchSettings:
        house = settings.houses[HOUSE]
        accounts = {**house.accounts, account: owner}
        del accounts[SHOP_ACCOUNT]
        return replace(settings, houses={HOUSE: replace(house, accounts=accounts)})

    assert len(await desk.change(move_payee)) == 1
    await send(world, transfer(1, account=account))
    await send(world, transfer(2, account=SHOP_ACCOUNT))
    assert (await find(world, 1)).account == owner
    assert (await find(world, 2)).reason == "AC03"
