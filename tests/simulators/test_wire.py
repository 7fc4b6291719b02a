"""Frames over one stream, now or later."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from isoswitch.codecs.framing import get_framing
from isoswitch.simulators.wire import OUT_BYTES_MAX, Wire

FRAMING = get_framing("bin2")


def make_wire() -> tuple[Wire, trio.abc.Stream]:
    ours, theirs = trio.testing.memory_stream_pair()
    return Wire(ours, FRAMING), theirs


async def test_frames_leave_in_the_order_of_their_time(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    wire, theirs = make_wire()
    nursery.start_soon(wire.run, lambda _: None)
    now = trio.current_time()
    for payload, delay_s in ((b"last", 3.0), (b"second", 1.0), (b"third", 2.0)):
        wire.send_later_nowait(payload, at=now + delay_s)
    wire.send_nowait(b"first")
    heard: list[tuple[bytes, float]] = []
    decoder = FRAMING.decoder()
    while len(heard) < 4:
        frames = decoder.feed(bytes(await theirs.receive_some()))
        heard += [(bytes(frame), trio.current_time() - now) for frame in frames]
    assert heard == [(b"first", 0), (b"second", 1), (b"third", 2), (b"last", 3)]


async def test_frames_are_handed_on_however_they_are_cut(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    wire, theirs = make_wire()
    heard: list[bytes] = []
    nursery.start_soon(wire.run, heard.append)
    data = FRAMING.encode(b"one") + FRAMING.encode(b"") + FRAMING.encode(b"two")
    for octet in data:
        await theirs.send_all(bytes([octet]))
    await trio.testing.wait_all_tasks_blocked()
    assert heard == [b"one", b"two"]


async def test_it_ends_when_the_other_side_closes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    wire, theirs = make_wire()
    await theirs.aclose()
    await wire.run(lambda _: None)
    assert not wire.is_open


async def test_it_ends_when_it_is_closed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    wire, theirs = make_wire()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wire.run, lambda _: None)
        await trio.testing.wait_all_tasks_blocked()
        wire.close()
    with pytest.raises(trio.BrokenResourceError):
        await theirs.send_all(b"x")


async def test_a_peer_that_does_not_read_is_dropped(
    autojump_clock: trio.testing.MockClock,
) -> None:
    wire, _ = make_wire()
    wire.send_raw_nowait(bytes(OUT_BYTES_MAX + 1))
    assert not wire.is_open
