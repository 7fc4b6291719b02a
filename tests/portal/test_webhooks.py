"""Callbacks over HTTP: signed, and never to where they may not go."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import trio

from isoswitch.codecs.canonical.secrets import Secret
from isoswitch.portal.settings import PortalSettings
from isoswitch.portal.signing import Signable, make_signature
from isoswitch.portal.webhooks import Caller, is_public
from isoswitch.simulators.world import MERCHANT
from isoswitch.store.rows import Callback
from isoswitch.switch.ports import SystemClock
from tests.system.test_codes import PAYEE

pytestmark = pytest.mark.live

SECRET = Secret(b"a secret of thirty-two characters")
OWED = Callback(
    id="1-2.succeeded",
    merchant_id=MERCHANT.id,
    transaction_id="1-2",
    body='{"event":"payment.succeeded"}',
    created_at=0.0,
    next_at=0.0,
    expires_at=1.0,
)


def caller(url: str, *, calls_private: bool = True) -> Caller:
    """Make a caller of a merchant at an address."""
    settings = PortalSettings(
        host="",
        port=0,
        callback_secrets={MERCHANT.id: SECRET},
        calls_private=calls_private,
    )
    merchant = replace(MERCHANT, payee=replace(PAYEE, callback_url=url))
    return Caller(settings, lambda: {MERCHANT.id: merchant}, SystemClock())


async def call(
    nursery: trio.Nursery, answer: bytes, *, calls_private: bool = True
) -> tuple[str, bytes]:
    """Call a merchant's server that answers so; give the verdict and what it read."""
    heard = bytearray()

    async def serve(stream: trio.SocketStream) -> None:
        while not heard.endswith(OWED.body.encode()):
            heard.extend(await stream.receive_some(4096))
        await stream.send_all(answer)
        await stream.aclose()

    listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
    port = listeners[0].socket.getsockname()[1]
    url = f"http://localhost:{port}/hook?shop=7"
    verdict = await caller(url, calls_private=calls_private).deliver(OWED)
    nursery.cancel_scope.cancel()
    return verdict, bytes(heard)


async def test_a_merchant_can_verify_who_calls(nursery: trio.Nursery) -> None:
    verdict, heard = await call(nursery, b"HTTP/1.1 204 No Content\r\n\r\n")
    assert verdict == ""
    head, _, body = heard.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    pairs = [each.partition(": ") for each in lines]
    headers = {name.lower(): value for name, _, value in pairs}
    assert first == "POST /hook?shop=7 HTTP/1.1"
    assert headers["host"].startswith("localhost:")
    request = Signable(
        key=MERCHANT.id,
        method="POST",
        path="/hook",
        query="shop=7",
        body=body,
        idempotency_key=OWED.id,
        timestamp=headers["isoswitch-timestamp"],
        nonce=headers["isoswitch-nonce"],
    )
    assert headers["isoswitch-signature"] == make_signature(SECRET, request)
    assert headers["idempotency-key"] == OWED.id


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (b"HTTP/1.1 503 Away\r\nContent-Length: 0\r\n\r\n", "HTTP 503"),
        (
            b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
            "HTTP 302",
        ),
        (b"nonsense\r\n\r\n", "not sent: RemoteProtocolError"),
    ],
    ids=["refuses", "redirects", "nonsense"],
)
async def test_what_was_not_taken_says_why(
    nursery: trio.Nursery, answer: bytes, verdict: str
) -> None:
    assert (await call(nursery, answer))[0] == verdict


async def test_nobody_who_listens_is_a_reason(nursery: trio.Nursery) -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    await listeners[0].aclose()
    verdict = await caller(f"http://127.0.0.1:{port}/").deliver(OWED)
    assert verdict == "not sent: ConnectError"


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "10.1.2.3", "169.254.169.254", "[::1]"],
)
async def test_a_private_address_is_not_called(host: str) -> None:
    verdict = await caller(f"https://{host}/", calls_private=False).deliver(OWED)
    assert verdict == "its host has an address that is not public"


async def test_only_https_is_called() -> None:
    verdict = await caller("http://93.184.216.34/", calls_private=False).deliver(OWED)
    assert verdict == "only https is called"


@pytest.mark.parametrize(
    "host", ["shop..example", "a" * 64 + ".example", "[::1", "xn--", "256.1.1.1"]
)
async def test_what_is_no_host_is_a_reason(host: str) -> None:
    verdict = await caller(f"https://{host}/hook").deliver(OWED)
    assert verdict == "callback_url names no host that can be called"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("192.168.0.1", False),
        ("172.16.0.1", False),
        ("100.64.0.1", False),
        ("224.0.0.1", False),
        ("fd00::1", False),
        ("fe80::1", False),
        ("::ffff:8.8.8.8", False),
        ("2002:7f00:1::", False),
        ("64:ff9b::a00:1", False),
    ],
)
def test_addresses_of_networks_are_not_public(address: str, *, expected: bool) -> None:
    assert is_public(address) is expected
