"""How long connections of terminals last."""

from __future__ import annotations

import trio
import trio.testing

from isoswitch.codecs.dialects.registry import get_dialect
from isoswitch.switch.dispatch import Arrival
from isoswitch.switch.ports import SystemClock
from isoswitch.switch.settings import ListenerSettings
from isoswitch.switch.terminals import Listener

SETTINGS = ListenerSettings(
    name="till",
    host="127.0.0.1",
    port=0,
    dialect="iso87-ascii",
    framing="bin2",
    age_s_max=60.0,
)
REQUEST = get_dialect("iso87-ascii").codec.build("0800", {11: "000001", 70: "301"})


async def test_a_connection_that_is_old_enough_ends_when_nothing_is_in_flight(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    arrivals: list[Arrival] = []
    listener = Listener(SETTINGS, accept=arrivals.append, clock=SystemClock())
    await nursery.start(listener.run_without_door)
    idle, far_idle = trio.testing.memory_stream_pair()
    busy, far_busy = trio.testing.memory_stream_pair()
    for stream in (far_idle, far_busy):
        nursery.start_soon(listener.serve_stream, stream)
    frame = REQUEST.raw
    await busy.send_all(len(frame).to_bytes(2, "big") + frame)
    await trio.sleep(59)
    assert listener.connection_count == 2
    await trio.sleep(3)
    assert await idle.receive_some() == b""
    assert listener.connection_count == 1
    (arrival,) = arrivals
    arrival.done()
    await trio.sleep(3)
    assert listener.connection_count == 0
