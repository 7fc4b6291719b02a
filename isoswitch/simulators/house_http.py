"""The HTTP side of a simulated clearing house: takes documents, hands out others."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush

import h11
import trio

from isoswitch.codecs.canonical.errors import DecodeError
from isoswitch.codecs.iso20022.signature import (
    HEADER_NAME,
    from_header,
    join_payload,
    split_payload,
    to_header,
)
from isoswitch.switch.interbank.transport import HOLD_S, NUMBER_HEADER, PATH

RECEIVE_BYTES = 65_536


class Outbox:
    """Numbered payloads for a participant, kept until it asks for what comes after."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._later: list[tuple[float, int, bytes]] = []
        self._count = 0
        self._drawn = 0
        self._idle = trio.lowlevel.ParkingLot()
        self._scopes: set[trio.CancelScope] = set()

    @property
    def is_open(self) -> bool:
        """Whether the participant is connected."""
        return bool(self._scopes)

    def send_nowait(self, payload: bytes) -> None:
        """Keep a payload for the participant."""
        self._count += 1
        self._waiting.append((self._count, payload))
        self._idle.unpark_all()

    def send_later_nowait(self, payload: bytes, *, at: float) -> None:
        """Keep a payload from a time of trio's clock on."""
        self._drawn += 1
        heappush(self._later, (at, self._drawn, payload))
        self._idle.unpark_all()

    def close(self) -> None:
        """Drop the participant's connections; what waits for it stays."""
        for scope in list(self._scopes):
            scope.cancel()

    async def wait_next(self, after: int) -> tuple[int, bytes] | None:
        """Give the first payload after a number; None when none comes for a while."""
        while self._waiting and self._waiting[0][0] <= after:
            self._waiting.popleft()
        until = trio.current_time() + HOLD_S
        while trio.current_time() < until:
            next_at = self._take_due()
            if self._waiting:
                return self._waiting[0]
            with trio.CancelScope(deadline=min(until, next_at)):
                await self._idle.park()
        return None

    async def serve(
        self, stream: trio.abc.Stream, receive: Callable[[bytes], None]
    ) -> None:
        """Answer the requests of one connection until either side ends it."""
        scope = trio.CancelScope()
        self._scopes.add(scope)
        try:
            with scope:
                await self._serve(stream, receive)
        except (
            trio.BrokenResourceError,
            trio.ClosedResourceError,
            h11.RemoteProtocolError,
        ):
            # Whoever was connected has gone, or speaks something else.
            return
        finally:
            self._scopes.discard(scope)
            await trio.aclose_forcefully(stream)

    def _take_due(self) -> float:
        """Move what is due to what waits; give the time of what is next."""
        now = trio.current_time()
        while self._later and self._later[0][0] <= now:
            self.send_nowait(heappop(self._later)[2])
        return self._later[0][0] if self._later else math.inf

    async def _serve(
        self, stream: trio.abc.Stream, receive: Callable[[bytes], None]
    ) -> None:
        http = h11.Connection(h11.SERVER)
        request, body = None, b""
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                http.receive_data(bytes(await stream.receive_some(RECEIVE_BYTES)))
            elif isinstance(event, h11.Request):
                request, body = event, b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage) and request is not None:
                status, headers, answer = await self._answer(request, body, receive)
                parts = (
                    h11.Response(
                        status_code=status,
                        headers=[*headers, ("Content-Length", str(len(answer)))],
                    ),
                    h11.Data(data=answer),
                    h11.EndOfMessage(),
                )
                sent = b"".join(http.send(each) or b"" for each in parts)
                await stream.send_all(sent)
                http.start_next_cycle()
            elif isinstance(event, h11.ConnectionClosed):
                return

    async def _answer(
        self, request: h11.Request, body: bytes, receive: Callable[[bytes], None]
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        path, _, query = request.target.decode("ascii").partition("?")
        if path != PATH:
            return 404, [], b""
        if request.method == b"POST":
            headers = dict(request.headers)
            receive(_payload(headers.get(HEADER_NAME.lower().encode(), b""), body))
            return 202, [], b""
        found = await self.wait_next(int(query.removeprefix("after=") or 0))
        if found is None:
            return 204, [], b""
        number, payload = found
        document, signature = split_payload(payload)
        told = [(NUMBER_HEADER, str(number))]
        if signature is not None:
            told.append((HEADER_NAME, to_header(signature)))
        return 200, told, document


def _payload(header: bytes, body: bytes) -> bytes:
    """Give a document and its signature as they would travel over TCP."""
    try:
        return join_payload(body, from_header(header.decode("latin-1")))
    except DecodeError:
        return body
