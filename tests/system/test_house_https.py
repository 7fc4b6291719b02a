"""Documents by HTTPS: the same link, by requests and long questions."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from isoswitch.clearing.receipt import ReceiptState
from isoswitch.clearing.transfer import TransferState
from isoswitch.codecs.iso20022.signature import HEADER_NAME, Signature
from isoswitch.simulators.house_http import Outbox
from isoswitch.simulators.rules import Fault, Fixed
from isoswitch.simulators.world import HOUSE, World
from isoswitch.switch.interbank.transport import (
    HOLD_S,
    Connect,
    Exchange,
    Https,
    Numbers,
)
from tests.system import test_receipts
from tests.system.test_receipts import CREDITED, send, transfer
from tests.system.test_transfers import (
    PAID,
    find,
    house_of,
    ledger,
    pay,
    react,
    with_house,
)


@pytest.fixture
async def world(nursery: trio.Nursery) -> World:
    """A network with a clearing house that is reached by HTTPS."""
    network = World(change=with_house(transport="https"))
    await nursery.start(network.run)
    await trio.sleep(1)
    return network


async def test_transfers_go_both_ways(world: World) -> None:
    assert await pay(world)
    assert await ledger(world) == PAID
    await send(world, transfer())
    assert (await test_receipts.find(world)).state is ReceiptState.CREDITED
    assert await ledger(world) == PAID | CREDITED


async def test_a_quiet_link_stays_up(world: World) -> None:
    await trio.sleep(10 * HOLD_S)
    assert world.switch is not None
    (house,) = world.switch.houses.values()
    assert house.connected_count == 1
    assert await pay(world)


async def test_what_waits_while_the_link_is_down_comes_afterwards(
    world: World,
) -> None:
    react(world, delay=Fixed(delay_s=2.0))
    async with trio.open_nursery() as payers:
        payers.start_soon(pay, world)
        await trio.sleep(1)
        world.cut_link(HOUSE)
        await trio.sleep(3)
        world.heal_link(HOUSE)
    await trio.sleep(1)
    # Nothing is lost over this link: the answer is fetched when it is up again.
    assert (await find(world)).state is TransferState.SETTLED
    assert await ledger(world) == PAID


@pytest.mark.parametrize("fault", [Fault.DUPLICATE, Fault.GARBAGE, Fault.DISCONNECT])
async def test_a_house_that_misbehaves_books_no_payment_twice(
    world: World, fault: Fault
) -> None:
    react(world, fault=fault)
    is_paid = await pay(world)
    await trio.sleep(60)
    assert await ledger(world) == (PAID if is_paid else {})
    assert len(house_of(world).payments) == 1


async def test_a_restart_begins_with_what_was_not_handled(world: World) -> None:
    world.crash_switch()
    await trio.sleep(1)
    payment = house_of(world).originate(transfer())
    await trio.sleep(1)
    await world.start_switch()
    await trio.sleep(2)
    assert payment.status == "ACSC"
    assert await ledger(world) == CREDITED


async def refuse() -> trio.abc.Stream:
    raise ConnectionRefusedError


def client(
    ours: trio.abc.Stream,
    other: trio.abc.Stream,
    *,
    bytes_max: int = 1000,
    numbers: Numbers | None = None,
    connect: Connect | None = None,
) -> Https:
    return Https(
        ours,
        other,
        connect=connect or refuse,
        host="house",
        numbers=numbers or Numbers(),
        document_bytes_max=bytes_max,
        timeout_s=5.0,
    )


async def ignore(document: bytes, signature: Signature | None) -> None:
    del document, signature


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", "status 500"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n<a/>", "status 200"),
        (b"nonsense\r\n\r\n", "not HTTP as agreed"),
        (
            b"HTTP/1.1 200 OK\r\nIsoswitch-Document: 1\r\n"
            b"Content-Length: 2000\r\n\r\n" + b"a" * 2000,
            "not HTTP as agreed",
        ),
        (b"", "did not answer in time"),
    ],
)
async def test_an_answer_that_is_not_as_agreed_ends_the_link(
    answer: bytes, reason: str, nursery: trio.Nursery
) -> None:
    posting, _ = trio.testing.memory_stream_pair()
    polling, house = trio.testing.memory_stream_pair()
    link = client(posting, polling)

    async def serve() -> None:
        await house.receive_some()
        if answer:
            await house.send_all(answer)

    nursery.start_soon(serve)
    assert reason in await link.run(ignore)
    assert not link.is_open


async def test_an_answer_that_closes_its_connection_is_followed_by_a_new_one(
    nursery: trio.Nursery,
) -> None:
    """RFC 9112, 9.6."""
    posted: list[bytes] = []
    polled: list[bytes] = []

    async def serve(house: trio.abc.Stream) -> None:
        asked = b""
        while b"\r\n\r\n" not in asked:
            asked += bytes(await house.receive_some())
        head, _, document = asked.partition(b"\r\n\r\n")
        if head.startswith(b"POST"):
            posted.append(document)
            answer = b"202 Accepted"
        else:
            polled.append(head.split()[1])
            if len(polled) > 3:
                await trio.sleep_forever()
            answer = b"200 OK\r\nIsoswitch-Document: %d" % len(polled)
        await house.send_all(
            b"HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: 0\r\n\r\n" % answer
        )
        await house.aclose()

    async def connect() -> trio.abc.Stream:
        ours, theirs = trio.testing.memory_stream_pair()
        nursery.start_soon(serve, theirs)
        return ours

    link = client(await connect(), await connect(), connect=connect)
    for document in (b"<a/>", b"<b/>", b"<c/>"):
        link.send_nowait(document, None)
    nursery.start_soon(link.run, ignore)
    await trio.sleep(1)
    assert link.is_open
    assert posted == [b"<a/>", b"<b/>", b"<c/>"]
    assert [each[-8:] for each in polled] == [b"?after=%d" % n for n in range(4)]


async def test_a_house_that_cannot_be_reached_again_ends_the_link(
    nursery: trio.Nursery,
) -> None:
    posting, _ = trio.testing.memory_stream_pair()
    polling, house = trio.testing.memory_stream_pair()

    async def serve() -> None:
        await house.receive_some()
        await house.send_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")

    nursery.start_soon(serve)
    assert "cannot connect again" in await client(posting, polling).run(ignore)


@pytest.mark.parametrize(("is_taken", "asked_beyond"), [(True, 8), (False, 0)])
async def test_only_what_was_taken_is_asked_beyond(
    nursery: trio.Nursery, asked_beyond: int, *, is_taken: bool
) -> None:
    posting, _ = trio.testing.memory_stream_pair()
    polling, house = trio.testing.memory_stream_pair()
    numbers = Numbers()
    link = client(posting, polling, numbers=numbers)

    async def serve() -> None:
        await house.receive_some()
        await house.send_all(
            b"HTTP/1.1 200 OK\r\nIsoswitch-Document: 8\r\nContent-Length: 4\r\n\r\n<a/>"
        )
        await house.receive_some()
        await house.aclose()

    async def take(_: bytes, __: Signature | None) -> None:
        if not is_taken:
            # As the inbox does when the store cannot write it down.
            link.close("what was heard could not be recorded")

    nursery.start_soon(serve)
    await link.run(take)
    assert numbers.last == asked_beyond


async def test_a_house_that_closes_ends_the_link() -> None:
    posting, _ = trio.testing.memory_stream_pair()
    polling, house = trio.testing.memory_stream_pair()
    await house.aclose()
    assert await client(posting, polling).run(ignore) == "the connection broke"


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [("GET", "/other", 404), ("POST", "/documents", 202)],
)
async def test_the_house_answers_each_request(
    method: str, target: str, status: int, nursery: trio.Nursery
) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    taken: list[bytes] = []
    nursery.start_soon(Outbox().serve, theirs, taken.append)
    exchange = Exchange(ours, connect=refuse, host="house", body_bytes_max=1000)
    signed = [(HEADER_NAME, 'key="sw", value="YWJj"')]
    found, _, body = await exchange.ask(method, target, signed, b"<a/>")
    assert (found, body) == (status, b"")
    assert taken == ([b"SIG1\x02sw\x00\x03abc<a/>"] if status == 202 else [])


async def test_what_is_not_acknowledged_is_given_again(nursery: trio.Nursery) -> None:
    outbox = Outbox()
    for payload in (b"<a/>", b"<b/>"):
        outbox.send_nowait(payload)
    assert await outbox.wait_next(0) == (1, b"<a/>")
    assert await outbox.wait_next(0) == (1, b"<a/>")
    assert await outbox.wait_next(1) == (2, b"<b/>")
    began_at = trio.current_time()
    assert await outbox.wait_next(2) is None
    assert trio.current_time() - began_at == pytest.approx(HOLD_S)
