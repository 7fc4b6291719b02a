"""The network in memory: what cannot happen to bytes there."""

from __future__ import annotations

from random import Random

import pytest
import trio
import trio.testing

from isoswitch.simulators.network import Weather, connect_in_memory


@pytest.mark.parametrize("is_replayed", [False, True], ids=["repeated", "replayed"])
async def test_half_a_write_is_the_last_that_arrives(
    autojump_clock: trio.testing.MockClock, *, is_replayed: bool
) -> None:
    """Its receiver would take the next bytes for the rest of a frame."""
    weather = Weather(random=Random(1), repeat_chance=0.0 if is_replayed else 1.0)
    ours, theirs = connect_in_memory(weather)
    weather.cut_chance = 1.0
    await ours.send_all(b"0810 0123456789")
    if is_replayed:
        ours.replay()
    heard = b""
    while data := await theirs.receive_some():
        heard += data
    assert len(heard) < len(b"0810 0123456789")
    assert b"0810 0123456789".startswith(heard)
