"""Answers find the requests they belong to, and never another one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

import pytest
import trio

from isoswitch.codecs.canonical.errors import LinkDown, NoAnswer
from isoswitch.codecs.dialects.registry import get_dialect
from isoswitch.codecs.framing import get_framing
from isoswitch.codecs.iso8583.message import Message
from isoswitch.simulators.network import MemoryStream, Weather, connect_in_memory
from isoswitch.switch import mux as mux_module
from isoswitch.switch.connection import Connection
from isoswitch.switch.mux import LATE_S, Mux

CODEC = get_dialect("iso87-ascii").codec
# What an answer is really to; the mux neither matches nor compares it.
SERIAL = 48
PATIENCE_S = 5.0


def request(serial: int, *, stan: int, rrn: str = "", mti: str = "0200") -> Message:
    """Build a request with a trace number and, if asked for, a reference number."""
    fields: dict[int, str | bytes] = {11: f"{stan:06}", SERIAL: str(serial)}
    if rrn:
        fields[37] = rrn
    return CODEC.build(mti, fields)


def answer_to(asked: Message) -> Message:
    """Build the answer to a request."""
    fields = {de: asked[de] for de in asked.fields}
    return CODEC.build(asked.mti[:2] + "10", {**fields, 39: "00"})


@dataclass(eq=False)
class Bench:
    """A mux on two connections, and what became of each request by its serial."""

    mux: Mux
    connections: list[Connection]
    peers: list[MemoryStream]
    nursery: trio.Nursery
    asked: dict[int, Message] = field(default_factory=dict)
    ends: dict[int, str] = field(default_factory=dict)

    def ask(
        self,
        serial: int,
        *,
        stan: int,
        rrn: str = "",
        through: int = 0,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """Send a request and note how it ends."""
        self.asked[serial] = request(serial, stan=stan, rrn=rrn)
        self.nursery.start_soon(self._exchange, serial, through, patience_s)

    async def _exchange(self, serial: int, through: int, patience_s: float) -> None:
        asked = self.asked[serial]
        deadline = trio.current_time() + patience_s
        try:
            answer = await self.mux.exchange(
                self.connections[through], asked.raw, asked, deadline
            )
        except (LinkDown, NoAnswer) as error:
            self.ends[serial] = type(error).__name__
        else:
            self.ends[serial] = f"answer {answer[SERIAL]}"

    def answer(self, serial: int) -> None:
        """Let the answer to a request arrive."""
        self.mux.deliver(answer_to(self.asked[serial]))


@asynccontextmanager
async def bench(*match_fields: int) -> AsyncIterator[Bench]:
    """Run a mux."""
    pairs = [connect_in_memory(Weather(random=Random(1))) for _ in range(2)]
    connections = [
        Connection(
            ours,
            get_framing("bin2"),
            frame_bytes_max=4096,
            frame_timeout_s=10,
            idle_timeout_s=600,
        )
        for ours, _ in pairs
    ]
    mux = Mux(match_fields=match_fields, find_unechoed=lambda *_: ())

    async def ignore(_: bytes) -> None:
        await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(mux.run)
        for connection in connections:
            nursery.start_soon(connection.run, ignore)
        yield Bench(mux, connections, [theirs for _, theirs in pairs], nursery)
        nursery.cancel_scope.cancel()


async def pause(seconds: float = 0.2) -> None:
    """Let virtual time pass."""
    await trio.sleep(seconds)


IS_VIRTUAL = True


async def test_an_answer_wakes_its_request_in_any_order() -> None:
    async with bench(11, 37) as it:
        it.ask(1, stan=1, rrn="000000000001")
        it.ask(2, stan=1, rrn="000000000002")
        await pause()
        it.answer(2)
        it.answer(1)
        await pause()
    assert it.ends == {1: "answer 1", 2: "answer 2"}


async def test_an_answer_is_matched_whichever_connection_it_comes_on() -> None:
    """The mux belongs to the link; it is told of answers, not of connections."""
    async with bench(11, 37) as it:
        it.ask(1, stan=1, rrn="000000000001", through=0)
        await pause()
        it.connections[0].close("lost")
        it.mux.lose(it.connections[0], "lost", fail_fast=False)
        await pause()
        assert it.ends == {}
        it.answer(1)
        await pause()
    assert it.ends == {1: "answer 1"}


async def test_a_request_of_a_lost_connection_waits_for_its_own_timer() -> None:
    async with bench(11, 37) as it:
        it.ask(1, stan=1, rrn="000000000001")
        await pause()
        it.connections[0].close("lost")
        it.mux.lose(it.connections[0], "lost", fail_fast=False)
        await pause(PATIENCE_S - 0.5)
        assert it.ends == {}
        await pause(1.0)
    assert it.ends == {1: "NoAnswer"}


async def test_a_request_with_less_patience_does_not_wait_for_those_before_it() -> None:
    async with bench(11) as it:
        it.ask(1, stan=1)
        await pause()
        it.ask(2, stan=2, patience_s=1.0)
        await pause(1.2)
        assert it.ends == {2: "NoAnswer"}
        it.ask(3, stan=3, patience_s=2.0)
        await pause(2.2)
        assert it.ends == {2: "NoAnswer", 3: "NoAnswer"}
        await pause(PATIENCE_S)
    assert it.ends[1] == "NoAnswer"


async def test_a_request_that_shall_fail_fast_does_so_when_its_connection_is_lost() -> (
    None
):
    async with bench(11, 37) as it:
        it.ask(1, stan=1, rrn="000000000001", through=0)
        it.ask(2, stan=2, rrn="000000000002", through=1)
        await pause()
        it.connections[0].close("lost")
        it.mux.lose(it.connections[0], "lost", fail_fast=True)
        await pause()
        assert it.ends == {1: "NoAnswer"}
        it.answer(2)
        await pause()
    assert it.ends == {1: "NoAnswer", 2: "answer 2"}


async def test_a_link_that_ends_leaves_nothing_waiting_and_takes_nothing_more() -> None:
    async with bench(11, 37) as it:
        it.ask(1, stan=1, rrn="000000000001")
        await pause()
        it.mux.end("the link has ended")
        it.ask(2, stan=2, rrn="000000000002")
        await pause()
        assert it.ends == {1: "NoAnswer", 2: "LinkDown"}


@pytest.mark.parametrize("fail_fast", [False, True])
async def test_what_a_lost_connection_never_wrote_is_link_down(
    *, fail_fast: bool
) -> None:
    async with bench(11, 37) as it:
        it.connections[0].send_nowait(b"first")
        it.ask(1, stan=1, rrn="000000000001")
        # Closed in the pass in which it was queued: the writer never ran again.
        while not it.mux:
            await trio.lowlevel.checkpoint()
        it.connections[0].close("lost")
        if not it.connections[0].has_started(0):
            it.mux.lose(it.connections[0], "lost", fail_fast=fail_fast)
            await pause()
            assert it.ends == {1: "LinkDown"}


async def test_a_trace_number_is_not_used_again_while_its_answer_may_come() -> None:
    async with bench(11) as it:
        it.ask(1, stan=7, rrn="000000000001")
        await pause(PATIENCE_S + 1)
        it.ask(2, stan=7, rrn="000000000002")
        await pause()
        assert it.ends == {1: "NoAnswer", 2: "LinkDown"}
        it.ask(3, stan=8, rrn="000000000003")
        await pause()
        it.answer(1)
        it.answer(3)
        for _ in range(25):
            await pause(LATE_S / 24)
        it.ask(4, stan=7, rrn="000000000004")
        await pause()
        it.answer(4)
        await pause()
    assert it.ends[3] == "answer 3"
    assert it.ends[4] == "answer 4"


async def test_a_repeat_of_one_transaction_may_use_its_numbers_again() -> None:
    """The 0421 carries the numbers of its 0420, and either answer will do."""
    async with bench(11) as it:
        it.ask(1, stan=7, rrn="000000000001")
        await pause(PATIENCE_S + 1)
        it.ask(2, stan=7, rrn="000000000001")
        await pause()
        it.answer(1)
        await pause()
    assert it.ends == {1: "NoAnswer", 2: "answer 1"}


async def test_two_requests_under_one_key_are_never_in_flight() -> None:
    async with bench(11) as it:
        it.ask(1, stan=7)
        await pause()
        it.ask(2, stan=7)
        await pause()
        assert it.ends == {2: "LinkDown"}
        it.answer(1)
        await pause()
    assert it.ends == {1: "answer 1", 2: "LinkDown"}


async def test_a_waiter_that_is_cancelled_leaves_its_key_behind() -> None:
    async with bench(11) as it:
        asked = request(1, stan=7)
        deadline = trio.current_time() + PATIENCE_S
        with trio.move_on_after(1):
            await it.mux.exchange(it.connections[0], asked.raw, asked, deadline)
        it.ask(2, stan=7)
        await pause()
    assert it.ends == {2: "LinkDown"}


async def test_too_many_late_answers_to_come_refuse_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The table of keys has a limit, and it is not kept by forgetting one."""
    monkeypatch.setattr(mux_module, "TOMBSTONES_MAX", 3)
    async with bench(11) as it:
        for stan in range(1, 4):
            it.ask(stan, stan=stan)
        await pause(PATIENCE_S + 1)
        it.ask(4, stan=4)
        await pause()
    assert it.ends[4] == "LinkDown"


async def test_a_reference_number_needs_no_key_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mux_module, "TOMBSTONES_MAX", 0)
    async with bench(11, 37) as it:
        it.ask(1, stan=7, rrn="000000000001")
        await pause(PATIENCE_S + 1)
        it.ask(2, stan=7, rrn="000000000002")
        await pause()
        it.answer(1)
        it.answer(2)
        await pause()
    assert it.ends == {1: "NoAnswer", 2: "answer 2"}


async def test_a_request_still_queued_may_be_seen() -> None:
    """Only a closed connection makes sure that its first byte never leaves."""
    async with bench(11) as it:
        it.ask(1, stan=1)
        while not it.mux:
            await trio.lowlevel.checkpoint()
        (waiting,) = it.mux._waiting.values()
        assert waiting.may_be_seen
