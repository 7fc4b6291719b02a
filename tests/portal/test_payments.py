"""Payments by payers' codes that a merchant's server takes: decided, undone, told."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any

import httpx
import pytest
import trio

from isoswitch.codecs.canonical.codes import ResponseCode
from isoswitch.codecs.canonical.sealing import load_outcome
from isoswitch.codecs.canonical.secrets import ScannedCode
from isoswitch.journal.records import RecordKind
from isoswitch.simulators.cards import get_card
from isoswitch.simulators.devices import PROFILES, Device
from isoswitch.simulators.leaks import find_clear
from isoswitch.simulators.rules import Fault, Reaction, Rule
from isoswitch.simulators.swarm import settle
from isoswitch.simulators.world import MERCHANT, SHOPPER, WALLET, World
from isoswitch.store.port import TransactionState
from isoswitch.store.rows import Callback, StoredWish, WishState, row_values
from isoswitch.switch.settings import SwitchSettings, server_terminal
from tests.portal.signers import SERVER
from tests.portal.test_api import Api, api_of, assert_problem
from tests.system.test_codes import with_codes

PAYMENT = {"amount_minor": 1250, "currency": "978", "reference": "order 7"}


def with_server(settings: SwitchSettings) -> SwitchSettings:
    """Give the settings of a switch that a merchant's server asks."""
    terminal = server_terminal(SERVER, MERCHANT.id, "978")
    changed = with_codes(settings)
    return replace(changed, terminals={**changed.terminals, SERVER: terminal})


@pytest.fixture
async def api(nursery: trio.Nursery) -> AsyncIterator[Api]:
    """A network with a wallet, whose merchant's server speaks to the API."""
    world = World(change=with_server, with_wallet=True)
    await nursery.start(world.run)
    await trio.sleep(1)
    async with api_of(world) as opened:
        yield opened
    verdict = await settle(world)
    assert verdict.is_settled, verdict.describe()


async def scan(
    api: Api, code: ScannedCode, *, key: str = "", **changes: object
) -> httpx.Response:
    wanted = PAYMENT | {"payer_code": code.reveal()} | changes
    return await api.ask("till", "POST", "/v1/payments", wanted, key=key)


async def paid(api: Api, code: ScannedCode, **changes: object) -> dict[str, Any]:
    answer = await scan(api, code, **changes)
    assert answer.status_code == 201, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def find(api: Api, what: str, told: dict[str, Any]) -> dict[str, Any]:
    answer = await api.ask("till", "GET", f"/v1/{what}/{told['id']}")
    found: dict[str, Any] = answer.json()
    return found


async def cancel(api: Api, told: dict[str, Any], key: str = "") -> httpx.Response:
    path = f"/v1/payments/{told['id']}/cancel"
    return await api.ask("till", "POST", path, key=key)


async def refund(api: Api, told: dict[str, Any], minor: int | None) -> httpx.Response:
    wanted = {"payment_id": told["id"], "amount_minor": minor}
    return await api.ask("till", "POST", "/v1/refunds", wanted)


def taken(api: Api) -> int:
    account = api.world.wallet.accounts.get_account(SHOPPER)
    return account.card.balance_minor - account.balance_minor


def events(api: Api) -> list[str]:
    rows = [row for row in api.world.disk.rows.values() if isinstance(row, Callback)]
    return [json.loads(row.body)["event"] for row in rows]


async def test_a_payers_code_pays_and_the_merchant_is_called_back(api: Api) -> None:
    payment = await paid(api, api.world.wallet.show_code(SHOPPER))
    assert (payment["state"], payment["code_id"]) == ("succeeded", None)
    assert (payment["reference"], taken(api)) == ("order 7", 1250)
    assert await find(api, "payments", payment) == payment
    assert events(api) == ["payment.succeeded"]


async def test_the_code_of_a_card_pays_too_and_is_nowhere_kept(api: Api) -> None:
    card = get_card("visa-ok")
    device = Device(profile=PROFILES["visa-card"], pan=card.pan, master=bytes(16))
    code = device.show_code(random=api.world.random)
    payment = await paid(api, code)
    assert payment["state"] == "succeeded"
    disk = api.world.disk
    kept = [row_values(row) for row in disk.rows.values()]
    text = b"".join(each.encoded for each in disk.links) + repr(kept).encode()
    secrets = {"card": card.pan.reveal(), "code": code.reveal()}
    assert find_clear(text, secrets) == []


async def test_what_the_payer_cannot_pay_has_failed(api: Api) -> None:
    api.world.wallet.accounts.get_account(SHOPPER).balance_minor = 0
    payment = await paid(api, api.world.wallet.show_code(SHOPPER))
    assert payment["state"] == "failed"
    assert payment["reason"]
    assert events(api) == ["payment.failed"]
    api.world.wallet.accounts.get_account(SHOPPER).balance_minor = 100_000


async def test_a_code_pays_once(api: Api) -> None:
    code = api.world.wallet.show_code(SHOPPER)
    await paid(api, code)
    again = await paid(api, code)
    assert (again["state"], taken(api)) == ("failed", 1250)


async def test_it_is_pending_while_the_payer_confirms(api: Api) -> None:
    code = api.world.wallet.show_code(SHOPPER, confirms=True)
    payment = await paid(api, code, key="once")
    assert (payment["state"], events(api)) == ("pending", [])
    assert (await scan(api, code, key="once")).json() == payment
    assert api.world.wallet.confirm() == [ResponseCode.APPROVED]
    await trio.sleep(3)
    assert (await find(api, "payments", payment))["state"] == "succeeded"
    assert (await scan(api, code, key="once")).json()["state"] == "succeeded"
    assert (events(api), taken(api)) == (["payment.succeeded"], 1250)


async def test_what_nobody_confirms_fails(api: Api) -> None:
    payment = await paid(api, api.world.wallet.show_code(SHOPPER, confirms=True))
    await trio.sleep(20)
    assert (await find(api, "payments", payment))["state"] == "failed"
    assert (events(api), taken(api)) == (["payment.failed"], 0)


async def test_a_silent_wallet_fails_it_and_is_told_to_undo(api: Api) -> None:
    rule = Rule(name="s", then=Reaction(fault=Fault.SILENCE), times_max=1)
    api.world.issuers[WALLET].set_rules([rule])
    payment = await paid(api, api.world.wallet.show_code(SHOPPER))
    await trio.sleep(20)
    assert (await find(api, "payments", payment))["state"] == "failed"
    assert taken(api) == 0


async def test_a_pending_payment_is_cancelled(api: Api) -> None:
    payment = await paid(api, api.world.wallet.show_code(SHOPPER, confirms=True))
    answer = await cancel(api, payment)
    assert answer.status_code == 201, answer.text
    await trio.sleep(5)
    assert (await find(api, "payments", payment))["state"] == "cancelled"
    # Whoever confirms now is told that there is nothing to confirm.
    assert api.world.wallet.confirm() == [ResponseCode.DUPLICATE_TRANSACTION]
    assert (events(api), taken(api)) == (["payment.cancelled"], 0)


async def test_a_payment_that_succeeded_is_cancelled_once(api: Api) -> None:
    payment = await paid(api, api.world.wallet.show_code(SHOPPER))
    first = await cancel(api, payment, key="c")
    told = first.json()
    assert (told["state"], told["refunded_minor"]) == ("cancelled", 0)
    assert (await cancel(api, payment, key="c")).json() == first.json()
    assert_problem(await cancel(api, payment), 409, "not_cancellable")
    await trio.sleep(5)
    assert events(api) == ["payment.succeeded", "payment.cancelled"]
    assert taken(api) == 0


@pytest.mark.parametrize("after_ms", [0, 4, 5, 6, 7, 8, 12])
async def test_a_cancel_in_the_moment_of_the_decision_is_not_lost(
    nursery: trio.Nursery, after_ms: int
) -> None:
    world = World(change=with_server, with_wallet=True, store_delay_s=lambda: 0.005)
    await nursery.start(world.run)
    await trio.sleep(1)
    async with api_of(world) as api:
        payment = await paid(api, world.wallet.show_code(SHOPPER, confirms=True))
        world.wallet.confirm()
        row = partial(world.disk.transactions.__getitem__, payment["id"])
        while row().state is not TransactionState.CLOSED:
            await trio.sleep(0.0005)
        await trio.sleep(after_ms / 1000)
        assert (await cancel(api, payment)).json()["state"] == "cancelled"
        assert (events(api)[-1], taken(api)) == ("payment.cancelled", 0)


async def test_what_failed_is_not_cancelled(api: Api) -> None:
    code = api.world.wallet.show_code(SHOPPER)
    await paid(api, code)
    failed = await paid(api, code)
    assert_problem(await cancel(api, failed), 409, "not_cancellable")


async def test_a_payment_is_given_back_in_parts_and_never_more(api: Api) -> None:
    payment = await paid(api, api.world.wallet.show_code(SHOPPER))
    first = (await refund(api, payment, 1000)).json()
    assert (first["state"], first["payment_id"]) == ("succeeded", payment["id"])
    assert await find(api, "refunds", first) == first
    assert_problem(await refund(api, payment, 251), 409, "refund_exceeds")
    assert_problem(await cancel(api, payment), 409, "not_cancellable")
    rest = (await refund(api, payment, None)).json()
    assert (rest["amount_minor"], taken(api)) == (250, 0)
    assert (await find(api, "payments", payment))["refunded_minor"] == 1250
    assert_problem(await refund(api, payment, None), 409, "refund_exceeds")
    assert events(api)[1:] == ["refund.succeeded"] * 2


async def test_two_refunds_at_once_never_exceed_the_payment(api: Api) -> None:
    payment = await paid(api, api.world.wallet.show_code(SHOPPER))
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(refund, api, payment, 1000)
    assert taken(api) == 250


async def test_nobody_else_sees_cancels_or_refunds_it(api: Api) -> None:
    payment = await paid(api, api.world.wallet.show_code(SHOPPER))
    path = f"/v1/payments/{payment['id']}"
    for who, status in (("other", 404), ("purse", 404)):
        answer = await api.ask(who, "GET", path)
        assert_problem(answer, status, "unknown_payment")
    answer = await api.ask("other", "POST", f"{path}/cancel")
    assert_problem(answer, 404, "unknown_payment")
    wanted = {"payment_id": payment["id"]}
    answer = await api.ask("other", "POST", "/v1/refunds", wanted)
    assert_problem(answer, 404, "unknown_payment")


@pytest.mark.parametrize(
    ("text", "status", "name"),
    [
        ("4761739001010010", 404, "no_payers_code"),
        ("000201", 404, "no_payers_code"),
        ("hello", 404, "no_payers_code"),
        ("hQVDUFYwMWEJ", 404, "no_payers_code"),
        ("28 94318693627146", 422, "invalid"),
    ],
)
async def test_what_is_no_payers_code_is_refused_unsaid(
    api: Api, text: str, status: int, name: str
) -> None:
    answer = await scan(api, ScannedCode(text))
    assert_problem(answer, status, name)
    assert text not in answer.text
    assert not [row for row in api.world.disk.rows.values() if type(row) is StoredWish]


async def test_only_a_client_with_a_terminal_takes_payments(api: Api) -> None:
    code = api.world.wallet.show_code(SHOPPER).reveal()
    wanted = PAYMENT | {"payer_code": code}
    answer = await api.ask("till-ec", "POST", "/v1/payments", wanted)
    assert_problem(answer, 403, "not_offered")
    answer = await api.ask("purse", "POST", "/v1/payments", wanted)
    assert_problem(answer, 403, "forbidden")


async def test_nobody_speaks_for_a_merchants_server_on_the_wire(api: Api) -> None:
    terminal = api.world.terminals["TERM0001"]
    request = terminal.build_scan(api.world.wallet.show_code(SHOPPER), 1250)
    forged = terminal.build_from(replace(request.transaction, terminal_id=SERVER))
    await terminal.exchange(forged)
    (row,) = api.world.disk.transactions.values()
    assert load_outcome(row.outcome).code is ResponseCode.TERMINAL_NOT_PERMITTED
    assert taken(api) == 0


@pytest.mark.parametrize("after_s", [0.0, 0.001, 0.01, 0.05, 0.1, 1.0])
async def test_a_switch_that_dies_loses_no_result(api: Api, after_s: float) -> None:
    world = api.world
    code = world.wallet.show_code(SHOPPER, confirms=after_s > 0.5)
    with trio.move_on_after(after_s):
        await scan(api, code, key="once")
    world.crash_switch()
    await trio.sleep(1)
    await world.start_switch()
    await trio.sleep(30)
    async with api_of(world) as later:
        answer = await scan(later, code, key="once")
        assert answer.status_code == 201, answer.text
        payment = answer.json()
        assert payment["state"] in {"succeeded", "failed"}
        assert await find(later, "payments", payment) == payment
        assert events(later) == [f"payment.{payment['state']}"]
        assert taken(later) == (1250 if payment["state"] == "succeeded" else 0)


async def test_another_node_tells_what_a_dead_one_began(nursery: trio.Nursery) -> None:
    world = World(change=with_server, with_wallet=True, nodes=2)
    await nursery.start(world.run)
    await trio.sleep(1)
    async with api_of(world) as dying:
        payment = await paid(dying, world.wallet.show_code(SHOPPER, confirms=True))
    assert payment["state"] == "pending"
    world.crash_switch()
    await trio.sleep(60)
    other = world.nodes[1].switch
    assert other is not None
    assert other.wishes is not None
    found = await other.wishes.find(payment["id"], merchant_id=MERCHANT.id)
    assert found is not None
    assert found.wish.state is WishState.ENDED
    assert events(dying) == ["payment.failed"]
    assert world.wallet.confirm() == [ResponseCode.DUPLICATE_TRANSACTION]
    assert taken(dying) == 0


async def test_survivors_who_end_the_same_end_it_once(nursery: trio.Nursery) -> None:
    random = Random(1)
    world = World(
        change=with_server,
        with_wallet=True,
        nodes=3,
        store_delay_s=lambda: random.uniform(0.001, 0.02),
    )
    await nursery.start(world.run)
    await trio.sleep(1)
    async with api_of(world) as dying, trio.open_nursery() as shoppers:
        for _ in range(5):
            code = world.wallet.show_code(SHOPPER, confirms=True)
            shoppers.start_soon(paid, dying, code)
    world.crash_switch()
    await trio.sleep(60)
    assert [each.is_running for each in world.nodes] == [False, True, True]
    assert events(dying) == ["payment.failed"] * 5


async def test_a_live_node_is_not_disturbed_by_another(nursery: trio.Nursery) -> None:
    world = World(change=with_server, with_wallet=True, nodes=2)
    await nursery.start(world.run)
    await trio.sleep(1)
    async with api_of(world) as one:
        payment = await paid(one, world.wallet.show_code(SHOPPER, confirms=True))
        await trio.sleep(5)
        assert (await find(one, "payments", payment))["state"] == "pending"
        world.wallet.confirm()
        await trio.sleep(3)
        assert (await find(one, "payments", payment))["state"] == "succeeded"
        assert events(one) == ["payment.succeeded"]


@pytest.mark.parametrize("outage_s", [0.0, 5.0])
async def test_a_disk_that_is_slow_and_then_full_loses_no_result(
    nursery: trio.Nursery, outage_s: float
) -> None:
    delays = {True: 1.5, False: 0.005}
    world = World(
        change=with_server,
        with_wallet=True,
        store_delay_s=lambda: delays[1.0 < trio.current_time() - began_at < 2.0],
    )
    began_at = trio.current_time()
    await nursery.start(world.run)
    await trio.sleep(1.1)
    assert world.store is not None
    async with api_of(world) as api, trio.open_nursery() as shoppers:
        # The sweep looks before the wish is kept, and the store fails when it ends.
        shoppers.start_soon(scan, api, world.wallet.show_code(SHOPPER))
        transactions = world.disk.transactions
        while not [row for row in transactions.values() if row.outcome]:
            await trio.sleep(0.001)
        world.store.is_full = True
        await trio.sleep(0.02)
        world.store.is_unreadable = outage_s > 0
        await trio.sleep(outage_s)
        world.store.is_full = world.store.is_unreadable = False
        await trio.sleep(10)
        assert (events(api), taken(api)) == (["payment.succeeded"], 1250)


async def test_a_switch_that_drains_keeps_no_cancellation_that_it_refuses(
    api: Api,
) -> None:
    payment = await paid(api, api.world.wallet.show_code(SHOPPER))
    assert api.world.switch is not None
    assert api.world.switch.wishes is not None
    api.world.switch.wishes.close()
    assert (await cancel(api, payment)).status_code == 503
    assert (await find(api, "payments", payment))["state"] == "succeeded"
    api.world.crash_switch()
    await trio.sleep(1)
    await api.world.start_switch()
    await trio.sleep(10)
    assert (events(api), taken(api)) == (["payment.succeeded"], 1250)


async def test_a_cancellation_kept_while_the_switch_begins_to_drain_is_told(
    nursery: trio.Nursery,
) -> None:
    delay_s = 0.005
    world = World(change=with_server, with_wallet=True, store_delay_s=lambda: delay_s)
    await nursery.start(world.run)
    await trio.sleep(1)
    async with api_of(world) as api:
        payment = await paid(api, world.wallet.show_code(SHOPPER))

        async def drain() -> None:
            await trio.sleep(0.5)
            assert world.switch is not None
            assert world.switch.wishes is not None
            world.switch.wishes.close()

        delay_s = 1.0
        nursery.start_soon(drain)
        answer = await cancel(api, payment)
        assert (answer.status_code, answer.json()["state"]) == (201, "pending")
    delay_s = 0.005
    world.crash_switch()
    await trio.sleep(1)
    await world.start_switch()
    await trio.sleep(10)
    assert events(api) == ["payment.succeeded", "payment.cancelled"]
    assert taken(api) == 0


async def test_a_cancellation_outlives_the_switch(api: Api) -> None:
    world = api.world
    payment = await paid(api, world.wallet.show_code(SHOPPER))
    with trio.move_on_after(0.0):
        await cancel(api, payment, key="c")
    world.crash_switch()
    await trio.sleep(1)
    await world.start_switch()
    await trio.sleep(10)
    async with api_of(world) as later:
        answer = await cancel(later, payment, key="c")
        assert answer.json()["state"] == "cancelled", answer.text
    assert taken(api) == 0


async def test_what_a_server_wants_is_recorded_as_of_its_terminal(api: Api) -> None:
    payment = await paid(api, api.world.wallet.show_code(SHOPPER))
    row = api.world.disk.transactions[payment["id"]]
    assert (row.terminal_id, row.merchant_id) == (SERVER, MERCHANT.id)
    assert api.world.store is not None
    records = await api.world.store.records(payment["id"])
    opened, *_, closed = (each.record for each in records)
    assert (opened.kind, closed.kind) == (RecordKind.OPENED, RecordKind.CLOSED)
