"""Bad input, and what it gets: the right answer or a closed connection, nothing more.

After every case a good terminal pays, and the auditor finds both sides agreeing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from random import Random

import pytest
import structlog
import trio
import trio.testing
from structlog.testing import LogCapture

from isoswitch.codecs.canonical.codes import Kind
from isoswitch.codecs.canonical.secrets import Pan, PinBlock
from isoswitch.codecs.framing import get_framing
from isoswitch.codecs.iso8583.message import Message
from isoswitch.journal.records import RecordKind
from isoswitch.simulators.beliefs import BeliefState
from isoswitch.simulators.cards import TestCard, get_card
from isoswitch.simulators.requests import Request
from isoswitch.simulators.terminal import Terminal
from isoswitch.simulators.world import World
from tests.system.test_failures import world_kinds

ASCII4 = get_framing("ascii4")
BIN2 = get_framing("bin2")


@pytest.fixture
def log_lines() -> list[dict[str, object]]:
    """Collect the log lines of a test."""
    capture = LogCapture()
    structlog.configure(processors=[capture])
    return capture.entries  # type: ignore[return-value]


@pytest.fixture(autouse=True)
async def good_terminal_still_pays(world: World) -> AsyncIterator[None]:
    """Whatever a case does, the next customer is served."""
    yield
    card = get_card("mc-ok")
    belief = await world.terminals["TERM0002"].purchase(card, 700, pin=card.pin)
    assert belief.state is BeliefState.APPROVED


def purchase_of(terminal: Terminal, card: str = "visa-ok") -> Request:
    """Build a purchase over 12.50."""
    chosen = get_card(card)
    return terminal.build(Kind.PURCHASE, chosen, 1250, pin=chosen.pin)


async def read_to_end(stream: trio.abc.Stream) -> bytes:
    """Read until the other side closes; fails after a virtual hour."""
    data = bytearray()
    with trio.fail_after(3600):
        while True:
            try:
                chunk = await stream.receive_some()
            except trio.BrokenResourceError:
                return bytes(data)
            if not chunk:
                return bytes(data)
            data += chunk


def _spoil(change: Callable[[bytes], bytes]) -> Callable[[Terminal], bytes]:
    def spoilt(terminal: Terminal) -> bytes:
        return ASCII4.encode(change(purchase_of(terminal).message.raw))

    return spoilt


def _letters_in_amount(raw: bytes) -> bytes:
    return raw.replace(b"000000001250", b"00000000I25O")


NOT_MESSAGES: dict[str, Callable[[Terminal], bytes]] = {
    "random bytes": lambda _: b"0200" + Random(7).randbytes(200),
    "no digits in the length": lambda _: b"\x00\xffhello",
    "unknown MTI": lambda t: ASCII4.encode(b"0999" + purchase_of(t).message.raw[4:]),
    "letters in a numeric field": _spoil(_letters_in_amount),
    "trailing bytes": _spoil(lambda raw: raw + b"0"),
    "truncated": _spoil(lambda raw: raw[:-9]),
    "a field over its length": _spoil(
        lambda raw: raw.replace(b"164761739001010010", b"204761739001010010")
    ),
    "a bitmap that names absent fields": _spoil(
        lambda raw: raw[:4] + b"FFFFFFFFFFFFFFFF" + raw[20:]
    ),
    "an empty message": lambda _: ASCII4.encode(b"0"),
}


@pytest.mark.parametrize("case", NOT_MESSAGES)
async def test_what_is_no_message_closes_its_connection_with_one_log_line(
    world: World, case: str, log_lines: list[dict[str, object]]
) -> None:
    stream = await world.connect("ascii")
    await stream.send_all(NOT_MESSAGES[case](world.terminals["TERM0001"]))
    assert await read_to_end(stream) == b""
    await trio.testing.wait_all_tasks_blocked()
    told = [e for e in log_lines if e["event"] == "terminal_disconnected"]
    assert len(told) == 1
    assert "4761739001010010" not in repr(log_lines)


async def test_an_announced_giant_frame_is_refused(world: World) -> None:
    stream = await world.connect("bcd")
    await stream.send_all(b"\xff\xff" + b"x" * 10)
    assert await read_to_end(stream) == b""


async def test_half_a_frame_then_silence_is_closed_in_time(world: World) -> None:
    stream = await world.connect("ascii")
    began_at = trio.current_time()
    frame = world.terminals["TERM0001"].frame(purchase_of(world.terminals["TERM0001"]))
    await stream.send_all(frame[: len(frame) // 2])
    assert await read_to_end(stream) == b""
    assert trio.current_time() - began_at < 15


async def test_a_slow_sender_is_cut_off_at_the_frame_timeout(world: World) -> None:
    stream = await world.connect("ascii")
    frame = world.terminals["TERM0001"].frame(purchase_of(world.terminals["TERM0001"]))
    began_at = trio.current_time()

    async def trickle() -> None:
        for octet in frame:
            await stream.send_all(bytes([octet]))
            await trio.sleep(1)

    with pytest.raises(trio.BrokenResourceError):
        await trickle()
    assert trio.current_time() - began_at < 15


async def test_keep_alives_of_length_zero_are_taken_in_silence(world: World) -> None:
    stream = await world.connect("ascii")
    terminal = world.terminals["TERM0001"]
    await stream.send_all(b"0000" * 3 + terminal.frame(purchase_of(terminal)))
    answers = ASCII4.decoder().feed(bytes(await stream.receive_some()))
    assert len(answers) == 1
    assert answers[0].startswith(b"0210")
    await trio.aclose_forcefully(stream)
    await undo_unheard(world)


async def undo_unheard(world: World) -> None:
    """Reverse what a raw connection paid, as its terminal would have."""
    terminal = world.terminals["TERM0001"]
    row = next(iter(world.disk.transactions.values()))
    reversal = terminal.build_reversal(
        replace_stan(purchase_of(terminal), row.stan, row.local_at)
    )
    answer = await terminal.exchange(reversal)
    assert answer is not None


def replace_stan(request: Request, stan: str, local_at: str) -> Request:
    """Give a request the numbers of another."""
    moment = type(request.transaction.local_at).fromisoformat(local_at)  # type: ignore[union-attr]
    return replace(
        request, transaction=replace(request.transaction, stan=stan, local_at=moment)
    )


async def answer_to(terminal: Terminal, request: Request) -> Message:
    """Exchange a request and give the answer."""
    answer = await terminal.exchange(request)
    assert answer is not None
    return answer.message


async def test_an_unregistered_terminal_is_refused(world: World) -> None:
    stranger = Terminal(
        replace(world.terminals["TERM0001"].profile, terminal_id="NOBODY01"),
        keyring=world.keyring,
        connect=lambda: world.connect("ascii"),
        clock=world,
    )
    assert world.nursery is not None
    await world.nursery.start(stranger.run)
    answer = await answer_to(stranger, purchase_of(stranger))
    assert answer[39] == "58"
    assert 64 not in answer
    assert not world.issuers["north"].bookings.entries


async def test_an_unknown_bin_is_refused(world: World) -> None:
    terminal = world.terminals["TERM0001"]
    card = replace_pan(get_card("visa-ok"), "6011000990139424")
    answer = await answer_to(terminal, terminal.build(Kind.PURCHASE, card, 1250))
    assert answer[39] in {"14", "15"}


def replace_pan(card: TestCard, pan: str) -> TestCard:
    """Give a card another published number."""
    return replace(card, pan=Pan(pan))


async def test_an_amount_of_zero_is_refused(world: World) -> None:
    terminal = world.terminals["TERM0001"]
    request = purchase_of(terminal)
    message = terminal.with_mac(request.message.replace({4: "000000000000"}))
    answer = await answer_to(terminal, replace(request, message=message))
    assert answer[39] == "13"


async def test_a_purchase_without_amount_is_a_format_error(world: World) -> None:
    terminal = world.terminals["TERM0001"]
    request = purchase_of(terminal)
    message = terminal.with_mac(request.message.replace({4: None}))
    answer = await answer_to(terminal, replace(request, message=message))
    assert answer[39] == "30"


async def test_an_unknown_processing_code_is_a_format_error(world: World) -> None:
    terminal = world.terminals["TERM0001"]
    request = purchase_of(terminal)
    message = terminal.with_mac(request.message.replace({3: "990000"}))
    answer = await answer_to(terminal, replace(request, message=message))
    assert answer[39] in {"12", "30"}
    assert await world_kinds(world, RecordKind.EXCEPTION) == 1


@pytest.mark.parametrize("terminal", ["TERM0001", "TERM0002"])
async def test_a_wrong_mac_is_refused_and_reaches_no_issuer(
    world: World, terminal: str
) -> None:
    sender = world.terminals[terminal]
    answer = await answer_to(sender, sender.with_wrong_mac(purchase_of(sender)))
    assert answer[39] in {"63", "88"}
    assert not world.issuers["north"].bookings.entries


async def test_a_missing_mac_is_a_wrong_mac(world: World) -> None:
    terminal = world.terminals["TERM0001"]
    request = purchase_of(terminal)
    bare = replace(request, message=request.message.replace({64: None}))
    answer = await answer_to(terminal, bare)
    assert answer[39] in {"63", "88"}


async def test_a_refused_key_is_not_approved_when_its_copy_arrives(
    world: World,
) -> None:
    """A decline that was answered once stands (money rule 12)."""
    terminal = world.terminals["TERM0001"]
    request = purchase_of(terminal)
    await answer_to(terminal, terminal.with_wrong_mac(request))
    copy = await answer_to(terminal, request)
    assert copy[39] in {"63", "88"}
    assert not world.issuers["north"].bookings.entries


async def test_a_wrong_mac_cannot_contradict_an_approval(world: World) -> None:
    terminal = world.terminals["TERM0001"]
    terminal.profile = replace(terminal.profile, timeout_s=5.0, repeats_max=0)
    request = purchase_of(terminal)
    await terminal.pay(request)
    assert await terminal.exchange(terminal.with_wrong_mac(request)) is None


async def test_a_malformed_pin_block_is_refused(world: World) -> None:
    terminal = world.terminals["TERM0001"]
    request = purchase_of(terminal)
    spoilt = terminal.build_from(
        replace(request.transaction, pin_block=PinBlock(bytes(range(8))))
    )
    answer = await answer_to(terminal, spoilt)
    assert answer[39] == "88"
    assert not world.issuers["north"].bookings.entries


async def test_an_unsupported_transaction_is_refused_and_recorded(
    world: World,
) -> None:
    terminal = world.terminals["TERM0001"]
    request = terminal.build(Kind.REFUND, get_card("visa-ok"), 1250)
    answer = await answer_to(terminal, request)
    assert answer[39] == "12"
    stored = [row for row in world.disk.transactions.values() if row.kind == "refund"]
    assert len(stored) == 1


async def test_a_request_of_another_merchant_is_refused(world: World) -> None:
    terminal = world.terminals["TERM0001"]
    request = purchase_of(terminal)
    other = terminal.build_from(
        replace(request.transaction, merchant_id="OTHER0000000001")
    )
    answer = await answer_to(terminal, other)
    assert answer[39] == "03"
    assert terminal.beliefs == []


@pytest.mark.parametrize("mti", ["0210", "0240", "0410"])
async def test_a_message_that_is_no_request_here_is_written_down_and_not_answered(
    world: World, log_lines: list[dict[str, object]], mti: str
) -> None:
    terminal = world.terminals["TERM0001"]
    request = purchase_of(terminal)
    message = terminal.with_mac(request.message.replace({}, mti=mti))
    await terminal.send_raw(ASCII4.encode(message.raw))
    await trio.sleep(5)
    assert world.store is not None
    records = [each.record for each in await world.store.records(limit=100_000)]
    assert [each.kind for each in records].count(RecordKind.EXCEPTION) == 1
    assert "dispatch_failed" not in {line["event"] for line in log_lines}
    assert terminal.counts["late or unasked"] == 0
