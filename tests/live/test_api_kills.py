"""The switch is killed while a merchant's server pays: every result is told, once true.

Codes of a wallet are paid over HTTP; the switch gets SIGKILL at each stage between the
request and the callback. The same request again, and the callbacks, must tell what the
wallet has booked in the end.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

import httpx
import pytest
import trio

from isoswitch.commands.bank_app import api_client
from isoswitch.simulators.rules import NORMAL, Fault, Fixed, Reaction, Rule
from isoswitch.simulators.wallet import Wallet
from isoswitch.store.reader import open_reader
from isoswitch.store.rows import Callback, StoredWish
from tests.live.live_network import PATIENCE_S, LiveNetwork, live_network, wait_until
from tests.live.network import free_ports

pytestmark = pytest.mark.live

CLIENT, MERCHANT, SHOPPER = "grocer", "GROCER000000001", "shopper"
MINOR = 700


@dataclass(slots=True)
class Hook:
    """A merchant's server that hears callbacks; it refuses each for the first time."""

    heard: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    refused: set[str] = field(default_factory=set)

    async def serve(self, stream: trio.SocketStream) -> None:
        """Answer one callback: 503 when it is new, 200 when it comes again."""
        request = b""
        while not request.endswith(b"}}"):
            more = await stream.receive_some(65_536)
            if not more:
                return
            request += more
        told = json.loads(request.partition(b"\r\n\r\n")[2])
        status = b"200 OK" if told["id"] in self.refused else b"503 Busy"
        if told["id"] in self.refused:
            self.heard[told["data"]["id"]].append(told["data"]["state"])
        self.refused.add(told["id"])
        head = b"HTTP/1.1 %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        await stream.send_all(head % status)


def tables(port: int) -> dict[str, str]:
    hook = f'callback_url = "http://127.0.0.1:{port}/hook"'
    secret = f'callback_secrets = {{ {MERCHANT} = "var/api/{CLIENT}.secret" }}'
    return {
        f"merchants.{MERCHANT}.payee": hook,
        "portal": f"calls_private = true\n{secret}",
    }


def count(network: LiveNetwork, kind: type[StoredWish | Callback]) -> int:
    with open_reader(network.store_path) as reader:
        return len(reader.find_rows(kind))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """How far a payment is when the switch is killed, what holds it there, its end.

    ``seen`` counts what there is more of from then on.
    """

    seen: Callable[[LiveNetwork, Wallet], int]
    reaction: Reaction = NORMAL
    confirms: bool = False
    state: str


STAGES = {
    "kept, the wallet thinks": Stage(
        seen=lambda network, _: count(network, StoredWish),
        reaction=Reaction(delay=Fixed(delay_s=0.4)),
        state="failed",
    ),
    "booked, nobody has heard": Stage(
        seen=lambda _, wallet: len(wallet.bookings.entries),
        reaction=Reaction(fault=Fault.SILENCE),
        state="failed",
    ),
    "the payer is asked": Stage(
        seen=lambda _, wallet: len(wallet.accounts.waiting),
        confirms=True,
        state="failed",
    ),
    "decided, the merchant was called in vain": Stage(
        seen=lambda network, _: count(network, Callback), state="succeeded"
    ),
}


async def pay_and_kill(
    network: LiveNetwork, wallet: Wallet, stage: Stage, key: str
) -> tuple[str, str]:
    """Pay a code, kill the switch at a stage, and ask again until it is decided."""
    server = api_client(network.loaded, CLIENT)
    code = wallet.show_code(SHOPPER, confirms=stage.confirms)
    wallet.set_rules([Rule(name="stage", then=stage.reaction)])
    before = stage.seen(network, wallet)
    wanted = {
        "payer_code": code.reveal(),
        "amount_minor": MINOR,
        "currency": "978",
    }

    async def ask() -> httpx.Response | None:
        try:
            return await server.post("/v1/payments", wanted, key=key)
        except httpx.HTTPError:
            # Killed before it answered.
            return None

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await wait_until(lambda: stage.seen(network, wallet) > before, "stage")
        await network.kill_switch()
    wallet.set_rules([])
    await network.start_switch()
    with trio.fail_after(PATIENCE_S):
        while True:
            answer = await ask()
            if answer is not None and answer.status_code == HTTPStatus.CREATED:
                told = answer.json()
                if told["state"] != "pending":
                    return told["id"], told["state"]
            await trio.sleep(0.2)


async def test_no_result_is_lost_when_the_switch_is_killed(tmp_path: Path) -> None:
    hook = Hook()
    (port,) = free_ports(1)
    async with (
        live_network(tmp_path, tables=tables(port)) as network,
        trio.open_nursery() as nursery,
    ):
        listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, hook.serve, listeners)
        wallet = network.issuers["wallet"]
        assert isinstance(wallet, Wallet)
        told = {}
        for name, stage in STAGES.items():
            payment, state = await pay_and_kill(
                network, wallet, stage, key=name.replace(" ", "-").replace(",", "")
            )
            assert state == stage.state, name
            told[payment] = state
        assert [each.partition("-")[0] for each in told] == ["1", "2", "3", "4"]
        await wait_until(lambda: hook.heard.keys() >= told.keys(), "callback for each")
        assert {key: set(states) for key, states in hook.heard.items()} == {
            key: {state} for key, state in told.items()
        }
        verdict = await network.settled()
        assert verdict.is_settled, verdict.describe()
        account = wallet.accounts.get_account(SHOPPER)
        succeeded = list(told.values()).count("succeeded")
        taken = account.card.balance_minor - account.balance_minor
        assert taken == succeeded * MINOR
        nursery.cancel_scope.cancel()
