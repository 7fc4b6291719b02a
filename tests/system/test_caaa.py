"""Terminals that speak caaa: all that other terminals can do, over XML."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import trio

from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.codecs.canonical.errors import DecodeError
from isoswitch.codecs.canonical.secrets import Pin, PinBlock
from isoswitch.codecs.framing import get_framing
from isoswitch.journal.records import RecordKind
from isoswitch.simulators.beliefs import Belief, BeliefState
from isoswitch.simulators.cards import get_card
from isoswitch.simulators.plan import draw_plan
from isoswitch.simulators.requests import Request
from isoswitch.simulators.rules import Fixed, Reaction, Rule
from isoswitch.simulators.storm import STRIKES
from isoswitch.simulators.swarm import tell
from isoswitch.simulators.terminal import Terminal
from isoswitch.simulators.world import World
from isoswitch.switch.settings import SwitchSettings
from isoswitch.switch.terminals import REJECTIONS_MAX
from tests.system.conftest import Run
from tests.system.test_admission import limited
from tests.system.test_bad_input import read_to_end
from tests.system.test_failures import world_kinds
from tests.system.test_purchase import OUTCOMES

BIN4 = get_framing("bin4")


def with_caaa(settings: SwitchSettings) -> SwitchSettings:
    """Let both terminals speak caaa, one with retail MACs and one with CMACs."""
    listeners = tuple(
        replace(each, dialect="caaa", framing="bin4", header="", frame_bytes_max=16_384)
        for each in settings.listeners
    )
    return replace(settings, listeners=listeners)


@pytest.fixture
async def world(run: Run) -> World:
    """A network whose terminals speak caaa, audited when the test is over."""
    network = World(change=with_caaa)
    await run(network)
    await trio.sleep(1)
    return network


def code(belief: Belief) -> ResponseCode:
    assert belief.outcome is not None
    return belief.outcome.code


def a_purchase(terminal: Terminal) -> Request:
    card = get_card("mc-ok")
    return terminal.build(Kind.PURCHASE, card, 1250, pin=card.pin)


def respelt(
    terminal: Terminal, request: Request, *spellings: tuple[bytes, bytes]
) -> Request:
    """Give a request in other bytes, under a MAC of their own."""
    raw = request.message.raw
    for said, other in spellings:
        assert said in raw
        raw = raw.replace(said, other)
    message = terminal.dialect.codec.decode(raw)
    return replace(request, message=terminal.with_mac(message))


@pytest.mark.parametrize("terminal", ["TERM0001", "TERM0002"])
@pytest.mark.parametrize("card", OUTCOMES)
async def test_each_card_ends_as_its_table_says(
    world: World, terminal: str, card: str
) -> None:
    chosen = get_card(card)
    belief = await world.terminals[terminal].purchase(chosen, 1250, pin=chosen.pin)
    assert code(belief) is OUTCOMES[card]


@pytest.mark.parametrize("card", ["visa-ok", "mc-ok"])
async def test_a_wrong_pin_is_declined(world: World, card: str) -> None:
    belief = await world.terminals["TERM0001"].purchase(
        get_card(card), 1250, pin=Pin("9876")
    )
    assert code(belief) is ResponseCode.WRONG_PIN


@pytest.mark.parametrize("block", [bytes(16), b"\x01" * 8, b"\x01" * 5])
async def test_a_pin_block_that_is_none_is_declined(world: World, block: bytes) -> None:
    terminal = world.terminals["TERM0001"]
    told = replace(a_purchase(terminal).transaction, pin_block=PinBlock(block))
    belief = await terminal.pay(terminal.build_from(told))
    assert belief.state is BeliefState.DECLINED
    assert not world.issuers["south"].bookings.entries


async def test_what_was_set_aside_is_increased_and_completed_in_parts(
    world: World,
) -> None:
    terminal, card = world.terminals["TERM0001"], get_card("mc-ok")
    held = await terminal.preauthorise(card, 10_000, pin=card.pin)
    assert code(await terminal.increase(held, 2_000)) is ResponseCode.APPROVED
    part = await terminal.complete(held, 3_000, is_final=False)
    rest = await terminal.complete(held, 5_000)
    late = await terminal.complete(held, 1_000)
    assert [code(each).is_approval for each in (part, rest, late)] == [
        True,
        True,
        False,
    ]
    assert held.rrn


async def test_what_was_paid_is_given_back_voided_and_reversed(world: World) -> None:
    terminal, card = world.terminals["TERM0002"], get_card("visa-ok")
    for undo in (
        lambda paid: terminal.refund(paid, 1_000),
        terminal.void,
    ):
        paid = await terminal.purchase(card, 1_250, pin=card.pin)
        assert code(await undo(paid)) is ResponseCode.APPROVED
    paid = await terminal.purchase(card, 1_250, pin=card.pin)
    await terminal.reverse(paid)
    assert paid.state is BeliefState.REVERSED


async def test_a_balance_comes_with_its_currency(world: World) -> None:
    belief = await world.terminals["TERM0001"].balance(get_card("visa-ok"))
    assert belief.outcome is not None
    assert belief.outcome.balance is not None


@pytest.mark.parametrize("in_utc", [False, True])
async def test_a_repeat_that_is_made_later_pays_once(
    world: World, *, in_utc: bool
) -> None:
    terminal = world.terminals["TERM0001"]
    request = a_purchase(terminal)
    if in_utc:
        told = replace(request.transaction, local_at=None)
        request = terminal.build_from(told)
    first = await terminal.exchange(request)
    later = respelt(
        terminal,
        terminal.as_repeat(request),
        (b"<CreDtTm>2026-06-01T12:00:01Z<", b"<CreDtTm>2026-06-01T12:00:09Z<"),
    )
    again = await terminal.exchange(later)
    assert first is not None
    assert again is not None
    assert again.outcome == first.outcome
    assert again.message[37] == first.message[37]
    assert await world_kinds(world, RecordKind.REPEATED) == 1
    assert len(world.issuers["south"].bookings.entries) == 1
    terminal.requests[request.transaction.stan] = request


async def test_what_was_turned_away_is_turned_away_when_it_comes_again(
    run: Run, nursery: trio.Nursery
) -> None:
    def crowded(settings: SwitchSettings) -> SwitchSettings:
        refusing = with_caaa(settings)
        return limited(refusing, code=ResponseCode.SYSTEM_MALFUNCTION, in_flight_max=1)

    world = World(change=crowded)
    await run(world)
    await trio.sleep(1)
    busy, terminal = world.terminals["TERM0001"], world.terminals["TERM0002"]
    silent = busy.build(Kind.PURCHASE, get_card("visa-silent"), 100)
    nursery.start_soon(busy.pay, silent)
    await trio.sleep(0.5)
    request = a_purchase(terminal)
    refused = await terminal.exchange(request)
    assert refused is not None
    assert refused.outcome.code is ResponseCode.SYSTEM_MALFUNCTION
    await trio.sleep(30)
    again = await terminal.exchange(terminal.as_repeat(request))
    assert again is not None
    assert again.outcome == refused.outcome


async def test_a_terminal_may_say_more_than_is_understood(world: World) -> None:
    terminal = world.terminals["TERM0001"]
    request = respelt(
        terminal,
        a_purchase(terminal),
        (b"</InitgPty>", b"<Tp>OPOI</Tp></InitgPty>"),
        (b"<CardDataNtryMd>", b"<CardPres>true</CardPres><CardDataNtryMd>"),
        (b"<TxDtls>", b"<RcncltnId>20260601</RcncltnId><TxDtls>"),
    )
    belief = await terminal.pay(request)
    assert code(belief) is ResponseCode.APPROVED


async def test_a_purchase_that_is_not_captured_is_set_aside(world: World) -> None:
    terminal = world.terminals["TERM0001"]
    request = respelt(
        terminal,
        a_purchase(terminal),
        (b"FAUQ", b"AUTQ"),
        (b"<TxCaptr>true<", b"<TxCaptr>false<"),
    )
    held = replace(request.transaction, kind=Kind.PREAUTHORISATION)
    belief = await terminal.pay(replace(request, transaction=held))
    assert code(belief) is ResponseCode.APPROVED
    assert code(await terminal.complete(belief, 1_250)) is ResponseCode.APPROVED


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw: raw.replace(b">12.50<", b">12.51<"),
        lambda raw: raw.replace(b"<CardDataNtryMd>CICC<", b"<CardDataNtryMd>PHYS<"),
        lambda raw: raw.replace(b"<XchgId>", b"<!-- --><XchgId>"),
        lambda raw: (
            raw[: raw.index(b"<SctyTrlr>")] + raw[raw.index(b"</SctyTrlr>") + 11 :]
        ),
    ],
    ids=["amount", "entry mode", "comment", "no MAC"],
)
async def test_what_was_changed_on_its_way_is_refused(
    world: World, spoil: Callable[[bytes], bytes]
) -> None:
    terminal = world.terminals["TERM0001"]
    request = a_purchase(terminal)
    message = terminal.dialect.codec.decode(spoil(request.message.raw))
    answer = await terminal.exchange(replace(request, message=message))
    assert answer is not None
    assert answer.outcome.code is ResponseCode.SECURITY_VIOLATION
    assert not world.issuers["south"].bookings.entries


@pytest.mark.parametrize(
    ("spelling", "reason"),
    [
        ((b"<TxTp>CRDP<", b"<TxTp>QUCH<"), ResponseCode.FORMAT_ERROR),
        ((b"<TtlAmt>12.50<", b"<TtlAmt>12.505<"), ResponseCode.FORMAT_ERROR),
        ((b"<Ccy>EUR<", b"<Ccy>XXQ<"), ResponseCode.FORMAT_ERROR),
        ((b"<TtlAmt>12.50<", b"<TtlAmt>0<"), ResponseCode.INVALID_AMOUNT),
        (
            (b"<Id>TERM0001<", b"<Id>A-longer-name<"),
            ResponseCode.TERMINAL_NOT_PERMITTED,
        ),
    ],
    ids=["kind", "decimals", "currency", "nothing", "terminal"],
)
async def test_what_makes_no_sense_is_declined(
    world: World, spelling: tuple[bytes, bytes], reason: ResponseCode
) -> None:
    terminal = world.terminals["TERM0001"]
    request = respelt(terminal, a_purchase(terminal), spelling)
    stream = await world.connect("ascii")
    await stream.send_all(BIN4.encode(request.message.raw))
    (raw,) = BIN4.decoder(frame_bytes_max=16_384).feed(
        bytes(await stream.receive_some())
    )
    answer = terminal.dialect.codec.decode(raw)
    assert terminal.dialect.to_code(answer) is reason


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x00\x01\x02", b"PARS"),
        (b"<Document/>", b"PARS"),
        (b'<!DOCTYPE x [<!ENTITY y "4761739001010010">]><x>&y;</x>', b"PARS"),
        (
            b'<Document xmlns="urn:iso:std:iso:20022:tech:xsd:caaa.001.001.99"/>',
            b"VERS",
        ),
        (
            b'<Document xmlns="urn:iso:std:iso:20022:tech:xsd:cain.001.001.04"/>',
            b"MSGT",
        ),
    ],
)
async def test_what_is_no_message_is_told_so_and_the_next_one_is_served(
    world: World, data: bytes, reason: bytes
) -> None:
    terminal, stream = world.terminals["TERM0001"], await world.connect("ascii")
    await stream.send_all(BIN4.encode(data))
    told = bytes(await stream.receive_some())
    assert b"<RjctRsn>" + reason in told
    assert b"4761739001010010" not in told
    with pytest.raises(DecodeError):
        terminal.dialect.codec.decode(told[4:])
    card = get_card("visa-insufficient")
    request = terminal.build(Kind.PURCHASE, card, 1250, pin=card.pin)
    await stream.send_all(BIN4.encode(request.message.raw))
    assert b"<RspnRsn>51<" in bytes(await stream.receive_some())


async def test_a_flood_of_rubbish_ends_its_connection(world: World) -> None:
    stream = await world.connect("ascii")
    for _ in range(REJECTIONS_MAX):
        await stream.send_all(BIN4.encode(b"rubbish"))
        assert b"AccptrRjctn" in bytes(await stream.receive_some())
    await stream.send_all(BIN4.encode(b"rubbish"))
    assert not await read_to_end(stream)


async def test_no_card_number_or_pin_block_is_written_down(world: World) -> None:
    card = get_card("mc-ok")
    await world.terminals["TERM0001"].purchase(card, 1250, pin=card.pin)
    assert world.store is not None
    stored = repr([each.record.body for each in await world.store.records()])
    assert card.pan.reveal() not in stored
    assert "******" in stored


@pytest.mark.parametrize("seed", [1, 4])
def test_a_story_with_all_kinds_and_faults_leaves_all_sides_agreed(seed: int) -> None:
    report = tell(draw_plan(seed, STRIKES), change=with_caaa)
    assert report.is_good, (report.violations, report.verdict.describe())
    assert report.transactions > 50


async def test_who_is_turned_away_is_told_so_in_caaa(run: Run) -> None:
    def crowded(settings: SwitchSettings) -> SwitchSettings:
        spoken = with_caaa(settings)
        limits = replace(spoken.admission, in_flight_max=1)
        return replace(spoken, admission=limits)

    world = World(change=crowded)
    await run(world)
    await trio.sleep(1)
    # Longer than whoever is turned away waits for a place.
    slow = Rule(name="slow", then=Reaction(delay=Fixed(delay_s=1.0)))
    world.issuers["south"].set_rules([slow])
    terminal = world.terminals["TERM0001"]
    first, second = a_purchase(terminal), a_purchase(terminal)
    answers: dict[str, ResponseCode] = {}

    async def ask(request: Request) -> None:
        answer = await terminal.exchange(request)
        assert answer is not None
        answers[request.transaction.stan] = answer.outcome.code

    async with trio.open_nursery() as customers:
        customers.start_soon(ask, first)
        customers.start_soon(ask, second)
    assert sorted(answers.values()) == [
        ResponseCode.APPROVED,
        ResponseCode.SYSTEM_MALFUNCTION,
    ]
    assert world.switch is not None
    assert world.switch.counts.records[RecordKind.REFUSED, ""] == 1
