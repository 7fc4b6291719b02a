"""Where a simulated clearing house is reached: frames over TCP, or HTTPS, with TLS."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

import trio

from isoswitch.codecs.framing import get_framing
from isoswitch.simulators.house_http import Outbox
from isoswitch.simulators.wire import Wire
from isoswitch.switch.settings import TlsFiles
from isoswitch.switch.terminals import make_tls_context

FRAME_BYTES_MAX = 264_192
# Where what the house says goes.
Line = Wire | Outbox


@dataclass(slots=True)
class Door:
    """Takes connections; ``lines`` are those who can be told something."""

    framing: str = "bin4"
    over_https: bool = False
    tls: TlsFiles | None = None
    lines: list[Line] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    _outbox: Outbox = field(default_factory=Outbox)

    async def run(
        self,
        serve: Callable[[trio.abc.Stream], Awaitable[None]],
        *,
        host: str,
        port: int,
        task_status: trio.TaskStatus[tuple[str, int]],
    ) -> None:
        """Accept until cancelled; started with the address it listens on."""
        listeners = await trio.open_tcp_listeners(port, host=host)
        address = listeners[0].socket.getsockname()
        task_status.started((address[0], address[1]))
        await trio.serve_listeners(partial(self._secure, serve), listeners)

    async def serve(
        self,
        stream: trio.abc.Stream,
        receive: Callable[[Line, bytes], None],
        connected: Callable[[Line], None],
    ) -> None:
        """Serve one connection until either side closes it.

        Over HTTPS nothing is lost with a connection, so nobody hears of a new one.
        """
        if self.over_https:
            if self._outbox not in self.lines:
                self.lines.append(self._outbox)
            await self._outbox.serve(stream, partial(receive, self._outbox))
            return
        wire = Wire(stream, get_framing(self.framing), frame_bytes_max=FRAME_BYTES_MAX)
        self.lines.append(wire)
        connected(wire)
        try:
            await wire.run(partial(receive, wire))
        finally:
            self.lines.remove(wire)

    async def _secure(
        self,
        serve: Callable[[trio.abc.Stream], Awaitable[None]],
        stream: trio.abc.Stream,
    ) -> None:
        if self.tls is None:
            await serve(stream)
            return
        secure = trio.SSLStream(
            stream,
            make_tls_context(self.tls),
            server_side=True,
            https_compatible=self.over_https,
        )
        try:
            await secure.do_handshake()
        except trio.BrokenResourceError:
            self.counts["handshake failed"] += 1
            await trio.aclose_forcefully(stream)
            return
        await serve(secure)
