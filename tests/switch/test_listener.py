"""How long connections of terminals last."""

from __future__ import annotations

import trio
import trio.testing

from isoswitch.codecs.dialects.registry import get_dialect
from isoswitch.switch.dispatch import Arrival, Wait
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

    def accept(arrival: Arrival) -> None:
        arrivals.append(arrival)

    listener = Listener(SETTINGS, accept=accept, clock=SystemClock())
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


async def test_who_is_turned_away_is_not_read_before_that_is_over(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    arrivals: list[Arrival] = []
    is_over = trio.Event()

    def accept(arrival: Arrival) -> Wait | None:
        arrivals.append(arrival)
        return is_over.wait if len(arrivals) == 1 else None

    listener = Listener(SETTINGS, accept=accept, clock=SystemClock())
    await nursery.start(listener.run_without_door)
    near, far = trio.testing.memory_stream_pair()
    nursery.start_soon(listener.serve_stream, far)
    frame = len(REQUEST.raw).to_bytes(2, "big") + REQUEST.raw
    # What one read brings is taken as a whole.
    await near.send_all(2 * frame)
    await trio.sleep(1)
    await near.send_all(frame)
    await trio.sleep(1)
    assert len(arrivals) == 2
    is_over.set()
    await trio.sleep(1)
    assert len(arrivals) == 3
