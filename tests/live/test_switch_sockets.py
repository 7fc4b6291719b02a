"""Terminals on real sockets that are many, slow, broken or hostile.

Beside each of them an honest terminal pays on a connection that must survive.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from functools import partial
from random import Random

import pytest
import trio

from isoswitch.codecs.canonical.codes import Kind
from isoswitch.codecs.framing import get_framing
from isoswitch.codecs.iso8583.message import Message
from isoswitch.simulators.beliefs import BeliefState
from isoswitch.simulators.cards import get_card
from isoswitch.simulators.terminal import Terminal
from tests.live.live_network import Site, running_site, wait_until

pytestmark = pytest.mark.live

BURST = 200
CONNECTIONS_MAX = 20
FRAME_TIMEOUT_S = 1.0
PATIENCE_S = 10.0
SEED = 8583
NOISY_CONNECTIONS = 18
CARD = get_card("visa-ok")
LIMITS = f"""
frame_timeout_s = {FRAME_TIMEOUT_S}
"""
FEW = f"""
connections_max = {CONNECTIONS_MAX}
frame_timeout_s = {FRAME_TIMEOUT_S}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A network for all tests of this module."""
    with running_site(
        tmp_path_factory.mktemp("sockets"),
        tables={"listeners.ascii": LIMITS, "listeners.bcd": FEW},
    ) as running:
        yield running


@pytest.fixture(autouse=True)
async def bystander(site: Site, nursery: trio.Nursery) -> AsyncIterator[Terminal]:
    """An honest terminal, whose connection survives whatever a test does."""
    terminal = site.terminal("TERM0004")
    await nursery.start(terminal.run)
    connection = terminal._wire
    yield terminal
    assert await pays(terminal)
    assert terminal._wire is connection
    faults = [line for line in site.log_lines() if "exception" in line]
    assert faults == []


async def test_a_burst_of_connections_is_answered(site: Site) -> None:
    """Each of 200 connections pays once; none waits for another."""
    terminal = site.terminal("TERM0001")
    codes: list[str | bytes] = []

    async def connect_and_pay() -> None:
        stream = await trio.open_tcp_stream(*site.address("ascii"))
        async with stream:
            await stream.send_all(payment(terminal))
            codes.append((await receive(stream, terminal))[39])

    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            for _ in range(BURST):
                nursery.start_soon(connect_and_pay)
    assert codes == ["00"] * BURST


async def test_half_a_frame_and_silence_ends_that_connection_only(
    site: Site, bystander: Terminal
) -> None:
    terminal = site.terminal("TERM0001")
    frame = payment(terminal)
    async with await trio.open_tcp_stream(*site.address("ascii")) as stream:
        await stream.send_all(frame[: len(frame) // 2])
        assert await pays(bystander)
        assert await is_ended(stream)
        await expect_reason(site, stream, "a frame was not finished in time")


async def test_a_slow_sender_is_answered_when_its_frame_is_whole(site: Site) -> None:
    terminal = site.terminal("TERM0001")
    async with await trio.open_tcp_stream(*site.address("ascii")) as stream:
        for octet in payment(terminal):
            await stream.send_all(bytes([octet]))
            # Slowness is the behaviour under test.
            await trio.sleep(0.001)
        answer = await receive(stream, terminal)
    assert answer[39] == "00"


async def test_a_trickle_of_bytes_does_not_keep_a_connection(site: Site) -> None:
    """The time of a frame counts from its first byte, however many follow."""
    async with await trio.open_tcp_stream(*site.address("bcd")) as stream:
        # More than the trickle ever delivers.
        await stream.send_all(b"\x0f\xff")
        began_at = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trickle, stream)
            assert await is_ended(stream)
            nursery.cancel_scope.cancel()
        assert trio.current_time() - began_at < 4 * FRAME_TIMEOUT_S
        await expect_reason(site, stream, "a frame was not finished in time")


@pytest.mark.parametrize(
    ("listener", "prefix"), [("bcd", b"\xff\xff"), ("ascii", b"9999")]
)
async def test_a_frame_longer_than_allowed_is_refused_by_its_length(
    site: Site, listener: str, prefix: bytes
) -> None:
    """65,535 announced and 10 sent: nobody waits for the rest."""
    async with await trio.open_tcp_stream(*site.address(listener)) as stream:
        await stream.send_all(prefix + bytes(10))
        with trio.fail_after(FRAME_TIMEOUT_S):
            assert await is_ended(stream)
        await expect_reason(site, stream, "not frames")


async def test_a_keep_alive_is_no_frame_and_no_fault(site: Site) -> None:
    terminal = site.terminal("TERM0001")
    async with await trio.open_tcp_stream(*site.address("ascii")) as stream:
        await stream.send_all(b"0000" + payment(terminal))
        assert (await receive(stream, terminal))[39] == "00"


@pytest.mark.parametrize("listener", ["ascii", "bcd", "tls"])
async def test_random_bytes_end_their_connections_only(
    site: Site, bystander: Terminal, listener: str
) -> None:
    random = Random(SEED)

    async def make_noise(noise: bytes) -> None:
        async with await trio.open_tcp_stream(*site.address(listener)) as stream:
            await stream.send_all(noise)
            await stream.send_eof()
            assert await is_ended(stream), f"seed {SEED}: {noise.hex()}"

    async with trio.open_nursery() as nursery:
        for _ in range(NOISY_CONNECTIONS):
            noise = random.randbytes(random.randint(1, 2_000))
            nursery.start_soon(make_noise, noise)
        assert await pays(bystander)


async def test_a_client_that_never_reads_is_dropped(
    site: Site, bystander: Terminal
) -> None:
    """Answers pile up to a limit, and no further."""
    terminal = site.terminal("TERM0001")
    echo = terminal.frame(terminal.build_network(Kind.ECHO))
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(site.address("ascii"))
        host, port = deaf.getsockname()
        deaf.settimeout(PATIENCE_S)
        with pytest.raises(ConnectionError):
            await trio.to_thread.run_sync(partial(send_for_ever, deaf, 1000 * echo))
    assert await pays(bystander)
    await wait_until(
        lambda: any(
            line["peer"] == f"{host}:{port}" and "not read" in line["reason"]
            for line in site.log_lines("terminal_disconnected")
        ),
        "log line",
    )


async def test_connections_over_the_limit_are_refused(
    site: Site, nursery: trio.Nursery
) -> None:
    terminal = site.terminal("TERM0002")
    await nursery.start(terminal.run)
    assert await pays(terminal)
    streams = [
        await trio.open_tcp_stream(*site.address("bcd"))
        for _ in range(CONNECTIONS_MAX - 1)
    ]
    try:
        for stream in streams:
            await stream.send_all(terminal.frame(terminal.build_network(Kind.ECHO)))
            assert (await receive(stream, terminal))[39] == "00"
        async with await trio.open_tcp_stream(*site.address("bcd")) as surplus:
            assert await is_ended(surplus)
        assert await pays(terminal)
        await streams[-1].send_all(payment(terminal))
        assert (await receive(streams[-1], terminal))[39] == "00"
    finally:
        for stream in streams:
            await trio.aclose_forcefully(stream)
    await wait_until(lambda: len(site.log_lines("connection_refused")) == 1, "log line")


def payment(terminal: Terminal) -> bytes:
    """Give a payment as it is on the wire."""
    request = terminal.build(Kind.PURCHASE, CARD, 1_00, pin=CARD.pin)
    return terminal.frame(request)


async def pays(terminal: Terminal) -> bool:
    """Whether a payment is approved."""
    belief = await terminal.purchase(CARD, 12_50, pin=CARD.pin)
    return belief.state is BeliefState.APPROVED


async def receive(stream: trio.abc.ReceiveStream, terminal: Terminal) -> Message:
    """Wait for one message."""
    decoder = get_framing(terminal.profile.framing).decoder()
    header_bytes = 5 if terminal.profile.header else 0
    with trio.fail_after(PATIENCE_S):
        while data := await stream.receive_some():
            for payload in decoder.feed(bytes(data)):
                return terminal.dialect.codec.decode(payload[header_bytes:])
    msg = "the connection ended without an answer"
    raise AssertionError(msg)


async def is_ended(stream: trio.abc.ReceiveStream) -> bool:
    """Whether the switch ends the connection without a word."""
    with trio.fail_after(PATIENCE_S):
        try:
            return not await stream.receive_some()
        except trio.BrokenResourceError:
            return True


async def trickle(stream: trio.abc.SendStream) -> None:
    """Send a byte now and then until the connection breaks."""
    try:
        while True:
            await stream.send_all(b"\x00")
            await trio.sleep(FRAME_TIMEOUT_S / 10)
    except trio.BrokenResourceError:
        return


def send_for_ever(sock: socket.socket, data: bytes) -> None:
    """Send until the other side has had enough."""
    while True:
        sock.sendall(data)


async def expect_reason(site: Site, stream: trio.SocketStream, reason: str) -> None:
    """Insist on one log line about the end of a connection."""
    host, port = stream.socket.getsockname()[:2]

    def lines() -> list[str]:
        return [
            line["reason"]
            for line in site.log_lines("terminal_disconnected")
            if line["peer"] == f"{host}:{port}"
        ]

    await wait_until(lambda: bool(lines()), "log line")
    (told,) = lines()
    assert reason in told
