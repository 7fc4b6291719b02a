"""The door of the API: lets in what is small enough, signed, fresh and not too often.

Everything under ``/v1`` passes it before any of it is looked at. The order costs us the
least: size, form and signature, so that a stranger is not remembered; then whether the
request was made before, so that nobody uses up the rate of another by repeating it;
then the rate, so that no more is remembered of a client than it may ask.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from http import HTTPStatus

import structlog
import trio
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from isoswitch.codecs.canonical.errors import HsmError
from isoswitch.portal.problems import ApiProblem, problem, unavailable_problem
from isoswitch.portal.settings import ClientSettings
from isoswitch.portal.signing import (
    IDEMPOTENCY_KEY,
    KEY,
    NONCE,
    SIGNATURE,
    TIMESTAMP,
    Nonces,
    Signable,
    SignatureRefused,
    verify_fresh,
    verify_request,
)
from isoswitch.switch.admission import Buckets
from isoswitch.switch.services import Services

PREFIX = "/v1"
BODY_BYTES_MAX = 16 * 1024
READ_BYTES_MAX = 16 * BODY_BYTES_MAX
BODY_TIMEOUT_S = 10.0

log = structlog.get_logger()


class Door:
    """Wraps an application; requests that came in carry ``client`` and ``body``."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        clients: Mapping[str, ClientSettings],
        current: Callable[[], Services | None],
    ) -> None:
        self._app = app
        self._clients = clients
        self._current = current
        self._nonces = Nonces()
        self._buckets = Buckets()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or say why not."""
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
            await self._app(scope, receive, send)
            return
        refusal: Response
        try:
            body = await _read_body_in_time(receive)
            client = await self._admit(scope, body)
        except ApiProblem as error:
            refusal = problem(
                error.status, error.name, error.detail, headers=error.headers
            )
            await refusal(scope, receive, send)
            return
        except HsmError as error:
            log.error("request_not_verified", reason=str(error))
            await unavailable_problem()(scope, receive, send)
            return
        scope.setdefault("state", {}).update(client=client, body=body)
        await self._app(scope, _replay(body, receive), send)

    async def _admit(self, scope: Scope, body: bytes) -> ClientSettings:
        """Give the client that made a request."""
        services = self._current()
        if services is None:
            raise ApiProblem(
                HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", "the switch is starting"
            )
        headers = Headers(scope=scope)
        now = services.clock.now().timestamp()
        client = self._clients.get(headers.get(KEY, ""))
        try:
            verify_fresh(headers, now=now)
            await verify_request(
                client,
                _signable(scope, headers, body),
                headers.get(SIGNATURE, ""),
                hsm=services.hsm,
            )
            assert client is not None, "an unknown client does not verify"
            if self._nonces.knows(client.name, headers[NONCE], now=now):
                msg = f"{NONCE} was used before"
                raise SignatureRefused(msg)
        except SignatureRefused as error:
            # A challenge is due with every 401 (RFC 9110, 11.6.1).
            challenge = {"WWW-Authenticate": 'Isoswitch realm="v1"'}
            raise ApiProblem(
                HTTPStatus.UNAUTHORIZED, "unauthorised", str(error), headers=challenge
            ) from None
        if not self._buckets.take(
            client.name,
            per_s=client.per_minute / 60,
            burst=client.per_minute,
            now=trio.current_time(),
        ):
            raise ApiProblem(
                HTTPStatus.TOO_MANY_REQUESTS,
                "too_many_requests",
                f"at most {client.per_minute} requests a minute",
                headers={"Retry-After": str(math.ceil(60 / client.per_minute))},
            )
        self._nonces.remember(client.name, headers[NONCE], now=now)
        return client


async def _read_body_in_time(receive: Receive) -> bytes:
    """Read a body from a client that sends it without delay."""
    with trio.move_on_after(BODY_TIMEOUT_S):
        return await _read_body(receive)
    raise ApiProblem(
        HTTPStatus.REQUEST_TIMEOUT,
        "too_slow",
        f"a body arrives within {BODY_TIMEOUT_S:g} s",
        headers={"Connection": "close"},
    )


async def _read_body(receive: Receive) -> bytes:
    """Read a body that is not too long.

    One that is somewhat longer is read to its end and forgotten, since a client that
    still sends would not read why it is refused.
    """
    body, size = bytearray(), 0
    has_more = True
    while has_more and size <= READ_BYTES_MAX:
        message = await receive()
        data = message.get("body", b"")
        size += len(data)
        if size <= BODY_BYTES_MAX:
            body += data
        has_more = message.get("more_body", False)
    if size > BODY_BYTES_MAX:
        raise ApiProblem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "too_large",
            f"a body has at most {BODY_BYTES_MAX} bytes",
            headers={"Connection": "close"},
        )
    return bytes(body)


def _signable(scope: Scope, headers: Headers, body: bytes) -> Signable:
    raw_path = scope.get("raw_path") or scope["path"].encode()
    return Signable(
        key=headers.get(KEY, ""),
        method=scope["method"],
        path=raw_path.partition(b"?")[0].decode("latin-1"),
        query=scope["query_string"].decode("latin-1"),
        body=body,
        idempotency_key=headers.get(IDEMPOTENCY_KEY, ""),
        timestamp=headers[TIMESTAMP],
        nonce=headers[NONCE],
    )


def _replay(body: bytes, receive: Receive) -> Receive:
    """Give a body that was read already, then whatever else comes."""
    waiting: list[Message] = [
        {"type": "http.request", "body": body, "more_body": False}
    ]

    async def receive_again() -> Message:
        return waiting.pop() if waiting else await receive()

    return receive_again
