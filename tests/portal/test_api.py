"""The API of merchants and wallets, over a network in one process."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
import trio

from isoswitch.portal.app import make_app
from isoswitch.portal.door import BODY_BYTES_MAX
from isoswitch.simulators.world import HOUSE, PAYER_ACCOUNT, PAYER_BANK, World
from tests.portal.signers import CLIENTS, SECRET, Signer
from tests.system.test_codes import with_codes

CODE = {"amount_minor": 1250, "currency": "978", "reference": "order 7"}
PAYER = {"name": "A. Payer", "account": PAYER_ACCOUNT, "bank": PAYER_BANK}


class Api:
    """A running network and the API of its switch."""

    def __init__(self, world: World, client: httpx.AsyncClient) -> None:
        self.world = world
        self.client = client
        self.keys = iter(range(10_000))
        self.signers = {name: Signer(name) for name in CLIENTS}

    async def ask(
        self,
        who: str,
        method: str,
        path: str,
        wanted: object = None,
        *,
        key: str = "",
        nonce: str = "",
        **changes: str,
    ) -> httpx.Response:
        """Send a signed request; ``changes`` are headers that are sent instead."""
        body = b"" if wanted is None else json.dumps(wanted).encode()
        if method == "POST":
            key = key or f"key-{next(self.keys)}"
        signer = self.signers[who]
        signer.now = self.world.now().timestamp()
        url = httpx.URL(f"http://it{path}")
        headers = signer.headers(method, url, body, idempotency_key=key, nonce=nonce)
        headers["Content-Type"] = "application/json"
        headers |= {f"Isoswitch-{name}": value for name, value in changes.items()}
        return await self.client.request(method, path, content=body, headers=headers)

    async def create(self, who: str = "till", **changes: object) -> dict[str, Any]:
        """Make a code."""
        answer = await self.ask(who, "POST", "/v1/codes", CODE | changes)
        assert answer.status_code == 201, answer.text
        told: dict[str, Any] = answer.json()
        return told

    async def pay(
        self, text: str, *, key: str = "", who: str = "purse", **changes: object
    ) -> httpx.Response:
        """Pay a code."""
        wanted = {"code": text, "payer": PAYER} | changes
        return await self.ask(who, "POST", "/v1/wallet/pay", wanted, key=key)


@asynccontextmanager
async def api_of(world: World, **limits: int) -> AsyncIterator[Api]:
    """Open the API of a running network."""
    assert world.switch is not None
    clients = {name: replace(each, **limits) for name, each in CLIENTS.items()}
    transport = httpx.ASGITransport(app=make_app(world.switch, clients))
    async with httpx.AsyncClient(transport=transport, base_url="http://it") as client:
        yield Api(world, client)


@pytest.fixture
async def api(nursery: trio.Nursery) -> AsyncIterator[Api]:
    """A network whose merchant and wallet speak to the API."""
    world = World(change=with_codes)
    await nursery.start(world.run)
    await trio.sleep(1)
    async with api_of(world) as opened:
        yield opened


def assert_problem(answer: httpx.Response, status: int, name: str) -> None:
    """See that an answer is a problem, and says nothing that is secret."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert told["type"] == f"urn:isoswitch:problem:{name}"
    assert told["status"] == status
    assert PAYER_ACCOUNT not in answer.text
    assert SECRET.reveal().decode() not in answer.text


@pytest.mark.parametrize("who", ["till", "till-ec", "till-rsa"])
async def test_a_code_is_made_by_who_signs_for_the_merchant(api: Api, who: str) -> None:
    code = await api.create(who)
    assert (code["state"], code["is_static"]) == ("open", False)
    found = await api.ask(who, "GET", f"/v1/codes/{code['id']}")
    assert (found.status_code, found.json()) == (200, code)


async def test_a_wallet_pays_and_both_sides_can_ask(api: Api) -> None:
    code = await api.create()
    answer = await api.pay(code["text"])
    assert answer.status_code == 201, answer.text
    payment = answer.json()
    assert payment["state"] == "succeeded"
    assert PAYER_ACCOUNT not in answer.text
    for who in ("till", "purse"):
        path = f"/v1/payments/{payment['id']}"
        assert (await api.ask(who, "GET", path)).json() == payment
    found = (await api.ask("till", "GET", f"/v1/codes/{code['id']}")).json()
    assert (found["state"], found["payment_id"]) == ("paid", payment["id"])


async def test_nobody_else_can_ask(api: Api) -> None:
    code = await api.create()
    payment = (await api.pay(code["text"])).json()["id"]
    for who in ("other", "purse-2"):
        answer = await api.ask(who, "GET", f"/v1/payments/{payment}")
        assert_problem(answer, 404, "unknown_payment")
    answer = await api.ask("other", "GET", f"/v1/codes/{code['id']}")
    assert_problem(answer, 404, "unknown_code")


async def test_each_role_has_its_own_routes(api: Api) -> None:
    code = await api.create()
    assert_problem(await api.pay(code["text"], who="till"), 403, "forbidden")
    answer = await api.ask("purse", "POST", "/v1/codes", CODE)
    assert_problem(answer, 403, "forbidden")


async def test_a_code_that_is_paid_is_a_conflict(api: Api) -> None:
    code = await api.create()
    await api.pay(code["text"])
    assert_problem(await api.pay(code["text"]), 409, "code_paid")


async def test_a_payment_is_given_back(api: Api) -> None:
    code = await api.create()
    payment = (await api.pay(code["text"])).json()["id"]
    wanted = {"payment_id": payment, "amount_minor": 1000}
    answer = await api.ask("till", "POST", "/v1/refunds", wanted)
    assert answer.status_code == 201
    refund = answer.json()
    assert refund["state"] == "succeeded"
    path = f"/v1/refunds/{refund['id']}"
    assert (await api.ask("till", "GET", path)).json() == refund
    assert_problem(await api.ask("other", "GET", path), 404, "unknown_refund")
    found = await api.ask("till", "GET", f"/v1/payments/{payment}")
    assert found.json()["refunded_minor"] == 1000
    answer = await api.ask("till", "POST", "/v1/refunds", wanted)
    assert_problem(answer, 409, "refund_exceeds")


async def test_the_same_key_is_answered_the_same_and_done_once(api: Api) -> None:
    code = await api.create()
    first = await api.pay(code["text"], key="once")
    again = await api.pay(code["text"], key="once")
    assert again.json() == first.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len(api.world.houses[HOUSE].payments) == 1


async def test_a_refusal_is_answered_the_same_too(api: Api) -> None:
    code = await api.create()
    await api.pay(code["text"])
    for _ in range(2):
        answer = await api.pay(code["text"], key="twice")
        assert_problem(answer, 409, "code_paid")


async def test_the_same_key_with_another_body_is_a_conflict(api: Api) -> None:
    await api.ask("till", "POST", "/v1/codes", CODE, key="k")
    other = CODE | {"amount_minor": 1}
    answer = await api.ask("till", "POST", "/v1/codes", other, key="k")
    assert_problem(answer, 409, "key_reused")


async def test_keys_of_two_clients_are_two_keys(api: Api) -> None:
    first = await api.ask("till", "POST", "/v1/codes", CODE, key="k")
    other = await api.ask("till-ec", "POST", "/v1/codes", CODE, key="k")
    assert first.json()["id"] != other.json()["id"]


async def test_the_same_key_at_the_same_time_is_done_once(api: Api) -> None:
    code = await api.create()
    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(lambda: api.pay(code["text"], key="once"))
    assert len(api.world.houses[HOUSE].payments) == 1


async def test_a_key_is_known_after_a_restart(api: Api) -> None:
    code = await api.create()
    first = await api.pay(code["text"], key="once")
    api.world.crash_switch()
    await trio.sleep(1)
    await api.world.start_switch()
    await trio.sleep(1)
    async with api_of(api.world) as later:
        again = await later.pay(code["text"], key="once")
        assert again.json() == first.json()


async def test_an_answer_that_a_crash_lost_is_found_again(api: Api) -> None:
    code = await api.create()
    with trio.move_on_after(0.0):
        await api.pay(code["text"], key="once")
    await trio.sleep(2)
    again = await api.pay(code["text"], key="once")
    assert again.status_code == 201
    assert len(api.world.houses[HOUSE].payments) <= 1


async def test_an_unsigned_request_is_refused(api: Api) -> None:
    for path in ("/v1/codes/1-1", "/v1/nothing"):
        answer = await api.client.get(path)
        assert_problem(answer, 401, "unauthorised")
        assert answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize(
    "changes",
    [
        {"Signature": "AAAA"},
        {"Signature": "not base64"},
        {"Key": "nobody"},
        {"Key": "other"},
        {"Nonce": "another-nonce-of-this-request"},
        {"Nonce": "short"},
        {"Timestamp": "soon"},
        {"Timestamp": "1780315210"},
    ],
    ids=str,
)
@pytest.mark.parametrize("who", ["till", "till-ec", "till-rsa"])
async def test_a_request_that_was_changed_is_refused(
    api: Api, who: str, changes: dict[str, str]
) -> None:
    answer = await api.ask(who, "GET", "/v1/codes/1-1", **changes)
    assert_problem(answer, 401, "unauthorised")


async def test_a_replayed_request_is_refused(api: Api) -> None:
    nonce = "0123456789abcdef"
    first = await api.ask("till", "GET", "/v1/codes/1-1", nonce=nonce)
    assert first.status_code == 404
    again = await api.ask("till", "GET", "/v1/codes/1-1", nonce=nonce)
    assert_problem(again, 401, "unauthorised")


@pytest.mark.parametrize("offset_s", [-302, 302])
async def test_a_skewed_request_is_refused(api: Api, offset_s: int) -> None:
    signer = Signer("till", now=api.world.now().timestamp() + offset_s)
    url = httpx.URL("http://it/v1/codes/1-1")
    headers = signer.headers("GET", url, b"")
    assert_problem(await api.client.get(url, headers=headers), 401, "unauthorised")


async def test_an_oversized_request_is_refused(api: Api) -> None:
    wanted = CODE | {"reference": "x" * BODY_BYTES_MAX}
    answer = await api.ask("till", "POST", "/v1/codes", wanted)
    assert_problem(answer, 413, "too_large")


async def test_who_asks_too_often_is_told_when_to_come_back(api: Api) -> None:
    async with api_of(api.world, per_minute=3) as narrow:
        answers = [await narrow.ask("till", "GET", "/v1/codes/1-1") for _ in range(4)]
        assert [each.status_code for each in answers] == [404, 404, 404, 429]
        assert_problem(answers[-1], 429, "too_many_requests")
        assert answers[-1].headers["Retry-After"] == "20"
        # The rate of one is not that of another.
        other = await narrow.ask("till-ec", "GET", "/v1/codes/1-1")
        assert other.status_code == 404
        await trio.sleep(20)
        later = await narrow.ask("till", "GET", "/v1/codes/1-1")
        assert later.status_code == 404


async def test_what_comes_too_often_leaves_nothing_behind(api: Api) -> None:
    """Else a client that is refused would fill the memory for all."""
    nonce = "0123456789abcdef"
    async with api_of(api.world, per_minute=3) as narrow:
        for _ in range(3):
            await narrow.ask("till", "GET", "/v1/codes/1-1")
        answer = await narrow.ask("till", "GET", "/v1/codes/1-1", nonce=nonce)
        assert answer.status_code == 429
        await trio.sleep(20)
        answer = await narrow.ask("till", "GET", "/v1/codes/1-1", nonce=nonce)
        assert answer.status_code == 404


async def test_who_replays_does_not_use_up_the_rate_of_a_client(api: Api) -> None:
    nonce = "0123456789abcdef"
    async with api_of(api.world, per_minute=2) as narrow:
        asked = [
            await narrow.ask("till", "GET", "/v1/codes/1-1", nonce=each)
            for each in (nonce, nonce, nonce, "")
        ]
        assert [each.status_code for each in asked] == [404, 401, 401, 404]


async def test_what_is_wrong_is_told_without_its_value(api: Api) -> None:
    payer = PAYER | {"account": "not-an-account"}
    wanted = {"code": "x", "payer": payer, "more": 1}
    answer = await api.ask("purse", "POST", "/v1/wallet/pay", wanted)
    assert_problem(answer, 422, "invalid")
    assert "not-an-account" not in answer.text
    places = {each["at"] for each in answer.json()["errors"]}
    assert places == {"body.payer.account", "body.more"}


async def test_a_post_needs_an_idempotency_key(api: Api) -> None:
    body = json.dumps(CODE).encode()
    url = httpx.URL("http://it/v1/codes")
    signer = Signer("till", now=api.world.now().timestamp())
    headers = signer.headers("POST", url, body)
    answer = await api.client.post(url, content=body, headers=headers)
    assert_problem(answer, 422, "invalid")


async def test_other_methods_and_places_are_problems(api: Api) -> None:
    answer = await api.ask("till", "DELETE", "/v1/codes/1-1")
    assert_problem(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"] == "GET"
    assert_problem(await api.ask("till", "GET", "/v1/no"), 404, "not_found")
    assert_problem(await api.client.get("/no"), 404, "not_found")


async def test_the_document_is_openapi_3_1(api: Api) -> None:
    document = (await api.client.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    assert set(document["paths"]) == {
        "/v1/codes",
        "/v1/codes/{code_id}",
        "/v1/payments",
        "/v1/payments/{payment_id}",
        "/v1/payments/{payment_id}/cancel",
        "/v1/refunds",
        "/v1/refunds/{refund_id}",
        "/v1/wallet/pay",
    }
