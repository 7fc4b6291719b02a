"""How documents travel to a clearing house and back: in frames over TCP, or by HTTPS.

Over TCP a document stands in a frame, behind its signature. Over HTTPS there are two
connections: one hands documents over, the other waits for them. They are kept open, and
made again where an answer closes them.

    POST /documents            202                     the house has the document
    GET  /documents?after=7    200, number 8           the next one after number 7
                               204                     none came for a while; ask again

A number is asked beyond when its document was handled, and the house keeps it until
then; so nothing is lost when a connection breaks, and some of it comes twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import h11
import trio

from isoswitch.codecs.canonical.errors import DecodeError, LinkDown
from isoswitch.codecs.iso20022.signature import (
    HEADER_NAME,
    Signature,
    from_header,
    join_payload,
    split_payload,
    to_header,
)
from isoswitch.switch.connection import OUT_BYTES_MAX, Connection

PATH = "/documents"
NUMBER_HEADER = "Isoswitch-Document"
# So long a house holds a question for the next document.
HOLD_S = 15.0
ACCEPTED, DOCUMENT, NOTHING_NEW = 202, 200, 204

Handle = Callable[[bytes, Signature | None], Awaitable[None]]
Connect = Callable[[], Awaitable[trio.abc.Stream]]


class Transport(Protocol):
    """What carries documents, one at a time and in order, until it ends."""

    @property
    def is_open(self) -> bool:
        """Whether documents can be sent."""
        ...

    def send_nowait(self, document: bytes, signature: Signature | None) -> None:
        """Queue a document; raises LinkDown when it will not be written."""
        ...

    def close(self, reason: str) -> None:
        """End it; ``run`` returns with the first reason given."""
        ...

    async def run(self, handle: Handle) -> str:
        """Hand over documents until it ends, and say why it ended."""
        ...


class Framed:
    """Documents in frames over one stream."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def is_open(self) -> bool:
        """Whether documents can be sent."""
        return self._connection.is_open

    def send_nowait(self, document: bytes, signature: Signature | None) -> None:
        """Queue a document behind its signature."""
        payload = document if signature is None else join_payload(document, signature)
        self._connection.send_nowait(payload)

    def close(self, reason: str) -> None:
        """End the connection."""
        self._connection.close(reason)

    async def run(self, handle: Handle) -> str:
        """Hand over documents until the connection ends, and say why it ended."""

        async def take(payloads: Sequence[bytes]) -> None:
            for payload in payloads:
                try:
                    document, signature = split_payload(payload)
                except DecodeError:
                    # No signature, and no document either: refused as what it is.
                    document, signature = payload, None
                await handle(document, signature)

        return await self._connection.run(take)


class Numbers:
    """The number of the last document that was handled; outlives connections."""

    def __init__(self) -> None:
        self.last = 0


class Https:
    """Documents by HTTP over two streams, one for each direction."""

    def __init__(
        self,
        posting: trio.abc.Stream,
        polling: trio.abc.Stream,
        *,
        connect: Connect,
        host: str,
        numbers: Numbers,
        document_bytes_max: int,
        timeout_s: float,
    ) -> None:
        self._posting, self._polling = (
            Exchange(
                each, connect=connect, host=host, body_bytes_max=document_bytes_max
            )
            for each in (posting, polling)
        )
        self._numbers = numbers
        self._timeout_s = timeout_s
        self._queue: deque[tuple[bytes, Signature | None]] = deque()
        self._queued_bytes = 0
        self._idle = trio.lowlevel.ParkingLot()
        self._closed_because = ""
        self._scope = trio.CancelScope()

    @property
    def is_open(self) -> bool:
        """Whether documents can be sent."""
        return not self._closed_because

    def send_nowait(self, document: bytes, signature: Signature | None) -> None:
        """Queue a document.

        Raises
        ------
        LinkDown
            The link has ended, or the house takes nothing.
        """
        if self._queued_bytes + len(document) > OUT_BYTES_MAX:
            self.close("the house takes nothing")
        if self._closed_because:
            raise LinkDown(f"the link has ended: {self._closed_because}")
        self._queue.append((document, signature))
        self._queued_bytes += len(document)
        self._idle.unpark_all()

    def close(self, reason: str) -> None:
        """End both connections."""
        self._closed_because = self._closed_because or reason
        self._scope.cancel()

    async def run(self, handle: Handle) -> str:
        """Hand over documents until a connection ends, and say why it ended."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._guard, self._post_forever)
                    nursery.start_soon(self._guard, self._poll_forever, handle)
        finally:
            self._closed_because = self._closed_because or "closed"
            # The first may be cancelled when it is done, and the second is closed too.
            try:
                await self._posting.aclose()
            finally:
                await self._polling.aclose()
        return self._closed_because

    async def _guard(
        self, work: Callable[..., Awaitable[None]], *arguments: Handle
    ) -> None:
        """End the link with the reason for which one of its directions ended."""
        try:
            await work(*arguments)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.close("the connection broke")
        except trio.TooSlowError:
            self.close("the house did not answer in time")
        except OSError as error:
            self.close(f"cannot connect again: {type(error).__name__}")
        except (h11.ProtocolError, DecodeError) as error:
            self.close(f"not HTTP as agreed: {type(error).__name__}")

    async def _post_forever(self) -> None:
        while not self._closed_because:
            while not self._queue:
                await self._idle.park()
            document, signature = self._queue[0]
            with trio.fail_after(self._timeout_s):
                status, _, _ = await self._posting.ask(
                    "POST", PATH, _signed(signature), document
                )
            if status != ACCEPTED:
                self.close(f"the house refuses documents with status {status}")
                return
            self._queue.popleft()
            self._queued_bytes -= len(document)

    async def _poll_forever(self, handle: Handle) -> None:
        while not self._closed_because:
            target = f"{PATH}?after={self._numbers.last}"
            with trio.fail_after(HOLD_S + self._timeout_s):
                status, headers, document = await self._polling.ask("GET", target, [])
            if status == NOTHING_NEW:
                continue
            number = headers.get(NUMBER_HEADER.lower(), "")
            is_number = number.isascii() and number.isdecimal() and len(number) < 19
            if status != DOCUMENT or not is_number:
                self.close(f"the house gives no document but status {status}")
                return
            await handle(document, _signature(headers))
            if not self.is_open:
                # What could not be taken comes again on the next connection.
                return
            self._numbers.last = int(number)


class Exchange:
    """Requests and their answers, one after the other.

    They go over one stream, until an answer says that it is the last one there.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        *,
        connect: Connect,
        host: str,
        body_bytes_max: int,
    ) -> None:
        self._stream = stream
        self._connect = connect
        self._host = host
        self._body_bytes_max = body_bytes_max
        self._http = h11.Connection(h11.CLIENT)

    async def ask(
        self,
        method: str,
        target: str,
        headers: list[tuple[str, str]],
        body: bytes = b"",
    ) -> tuple[int, dict[str, str], bytes]:
        """Give status, headers (in small letters) and body of the answer.

        Raises
        ------
        trio.BrokenResourceError, trio.ClosedResourceError
            The stream ended.
        OSError
            The last answer ended it as agreed, and no new one could be opened.
        h11.RemoteProtocolError
            What came is no answer, or too long a one.
        """
        if self._http.our_state is not h11.IDLE:
            await self._connect_again()
        request = h11.Request(
            method=method,
            target=target,
            headers=[
                ("Host", self._host),
                ("Content-Length", str(len(body))),
                ("Content-Type", "application/xml"),
                *headers,
            ],
        )
        parts = (request, h11.Data(data=body), h11.EndOfMessage())
        sent = b"".join(self._http.send(each) or b"" for each in parts)
        await self._stream.send_all(sent)
        answer, whole = None, b""
        while True:
            event = await self._next_event()
            if isinstance(event, h11.Response):
                answer = event
            elif isinstance(event, h11.Data):
                whole += bytes(event.data)
                if len(whole) > self._body_bytes_max:
                    raise h11.RemoteProtocolError("the answer is too long")
            elif isinstance(event, h11.EndOfMessage) and answer is not None:
                break
            elif isinstance(event, h11.ConnectionClosed):
                raise trio.BrokenResourceError("the house closed the connection")
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        headers_of = {
            name.decode("ascii"): value.decode("latin-1")
            for name, value in answer.headers
        }
        return answer.status_code, headers_of, whole

    async def aclose(self) -> None:
        """Close the stream."""
        await trio.aclose_forcefully(self._stream)

    async def _connect_again(self) -> None:
        """Go on over a new stream (RFC 9112, 9.6)."""
        await self.aclose()
        self._stream = await self._connect()
        self._http = h11.Connection(h11.CLIENT)

    async def _next_event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(bytes(await self._stream.receive_some()))
        return event


def _signed(signature: Signature | None) -> list[tuple[str, str]]:
    return [] if signature is None else [(HEADER_NAME, to_header(signature))]


def _signature(headers: dict[str, str]) -> Signature | None:
    """Read the signature of an answer; what is none is taken for no signature."""
    try:
        return from_header(headers.get(HEADER_NAME.lower(), ""))
    except DecodeError:
        return None
