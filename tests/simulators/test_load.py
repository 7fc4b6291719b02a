"""The load generator against peers that answer, stall, refuse, lie and hang up."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count

import pytest

from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.codecs.canonical.transaction import Outcome
from isoswitch.codecs.dialects.registry import get_dialect
from isoswitch.codecs.framing import get_framing
from isoswitch.codecs.iso8583.message import Message
from isoswitch.simulators.cards import get_card
from isoswitch.simulators.figures import measure
from isoswitch.simulators.keyed_macs import mac_maker
from isoswitch.simulators.keyring import Keyring
from isoswitch.simulators.load import Fate, Generator, Line, Manners, Tally
from isoswitch.simulators.requests import RequestBuilder, TerminalProfile
from isoswitch.simulators.schedule import Stage, due_times
from isoswitch.simulators.stencils import Stencil
from isoswitch.simulators.terminal import TPDU
from isoswitch.switch.ports import SystemClock

# Published test keys (ISO 9797-1 annex, FIPS 197).
KEYRING = Keyring(
    {
        "tpk": "0123456789ABCDEFFEDCBA9876543210",
        "tdes": "0123456789ABCDEFFEDCBA9876543210",
        "aes": "aes:2B7E151628AED2A6ABF7158809CF4F3C",
    }
)
RATE = 400.0
SECONDS = 1.0
STALL_S = 0.5
STALL_AT = 20
PATIENCE_S = 5.0
APPROVED = Outcome(code=ResponseCode.APPROVED, approval_code="A1B2C3")
REFUSED = Outcome.declined(ResponseCode.SYSTEM_MALFUNCTION)
DECLINED = Outcome.declined(ResponseCode.INSUFFICIENT_FUNDS)

Answer = Callable[[int, Message], Message | bytes | None]
"""What a peer does with its nth request; None hangs up."""


def builder(dialect: str = "iso87-ascii", tak: str = "tdes") -> RequestBuilder:
    """Make what builds the requests of a terminal."""
    profile = TerminalProfile(
        terminal_id="TERM0001",
        merchant_id="KIOSK0000000001",
        dialect=dialect,
        framing="bin2",
        tpk="tpk",
        tak=tak,
    )
    return RequestBuilder(profile, keyring=KEYRING, clock=SystemClock(), first_stan=1)


def authentic(answer: Message, key: str = "tdes") -> Message:
    """Put a MAC into an answer."""
    make_mac = mac_maker(KEYRING.get_key(key))
    return answer.replace({64: make_mac(answer.raw[: answer.offset(64)])})


def approving(number: int, request: Message) -> Message:
    """Approve everything at once."""
    del number
    dialect = get_dialect("iso87-ascii")
    return authentic(dialect.to_response(request, APPROVED, mac=True))


@contextmanager
def peer(answer: Answer) -> Iterator[int]:
    """Answer the requests of connections, one after the other, and give the port."""
    numbers = count()
    framing, codec = get_framing("bin2"), get_dialect("iso87-ascii").codec

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            decoder = framing.decoder()
            # A generator that has heard nonsense is gone.
            with sock, suppress(ConnectionError):
                while data := sock.recv(65_536):
                    for payload in decoder.feed(data):
                        given = answer(next(numbers), codec.decode(payload))
                        if given is None:
                            break
                        raw = given if isinstance(given, bytes) else given.raw
                        sock.sendall(framing.encode(raw))
                    else:
                        continue
                    break

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def make_line(port: int) -> Line:
    """Make a terminal's line with its requests."""
    dialect = get_dialect("iso87-ascii")
    make_mac = mac_maker(KEYRING.get_key("tdes"))
    message = builder().build(Kind.PURCHASE, get_card("visa-ok"), 1250).message
    stencil = Stencil(message, dialect, framing="bin2", make_mac=make_mac)
    return Line(
        lambda: socket.create_connection(("127.0.0.1", port)),
        Manners(dialect=dialect, framing="bin2", make_mac=make_mac),
        map(stencil.fill, count(1)),
    )


def pay_open(
    answer: Answer, *, seconds: float = SECONDS, patience_s: float = PATIENCE_S
) -> Tally:
    """Pay at a fixed rate."""
    with peer(answer) as port:
        began_at = time.perf_counter()
        tally = Tally(begins_at=began_at, ends_at=began_at + seconds)
        generator = Generator([make_line(port)], tally, patience_s=patience_s)
        stage = Stage(seconds=seconds, begin_per_s=RATE, end_per_s=RATE)
        due_at = (began_at + each for each in due_times([stage]))
        generator.pay_open(due_at, until=tally.ends_at)
        generator.drain()
    return tally


def stalling(stall_s: float) -> Answer:
    """Approve everything, but be away for a while in the middle."""

    def answer(number: int, request: Message) -> Message:
        if number == STALL_AT:
            # The stall is the behaviour under test.
            time.sleep(stall_s)
        return approving(number, request)

    return answer


def test_every_answer_counts_once() -> None:
    tally = pay_open(approving)
    assert tally.fates[Fate.APPROVED] == RATE * SECONDS
    assert sum(tally.fates.values()) == RATE * SECONDS
    assert tally.wrong == 0
    assert tally.codes == {ResponseCode.APPROVED: RATE * SECONDS}


def test_a_stall_shows_in_the_latencies_of_all_that_were_due_meanwhile() -> None:
    """No coordinated omission: 200 of 400 requests are due while nobody answers."""
    figures = measure(pay_open(stalling(STALL_S)))
    # The last ones due in the stall wait little, the first ones all of it.
    assert figures.get("p99") > STALL_S * 1000 * 0.9
    assert figures.get("p90") > STALL_S * 1000 * 0.5


def test_the_closed_loop_hides_the_same_stall() -> None:
    """Why latencies are not measured that way: one request of many waits."""
    with peer(stalling(STALL_S)) as port:
        began_at = time.perf_counter()
        tally = Tally(begins_at=began_at, ends_at=began_at + 3 * SECONDS)
        generator = Generator([make_line(port)], tally, patience_s=PATIENCE_S)
        generator.pay_closed(1, until=tally.ends_at)
        generator.drain()
    figures = measure(tally)
    assert figures.due > STALL_AT
    assert figures.get("max") > STALL_S * 1000
    assert figures.get("p99") < STALL_S * 1000 / 2


def test_who_hangs_up_leaves_requests_unanswered_and_is_connected_to_again() -> None:
    def answer(number: int, request: Message) -> Message | None:
        return None if number == 10 else approving(number, request)

    tally = pay_open(answer, seconds=2.0, patience_s=0.5)
    fates = tally.fates
    assert fates[Fate.UNANSWERED] > 0
    assert fates[Fate.APPROVED] > 10
    assert sum(fates.values()) == RATE * 2.0
    # What is never answered is not fast.
    assert tally.latencies[Fate.UNANSWERED].percentile_ms(0.01) == pytest.approx(
        500, rel=0.01
    )


@pytest.mark.parametrize(
    ("outcome", "fate"),
    [
        pytest.param(REFUSED, Fate.REFUSED, id="overload"),
        pytest.param(DECLINED, Fate.DECLINED, id="decline"),
    ],
)
def test_refusals_of_an_overloaded_host_are_no_declines(
    outcome: Outcome, fate: Fate
) -> None:
    dialect = get_dialect("iso87-ascii")

    def answer(number: int, request: Message) -> Message:
        del number
        return dialect.to_response(request, outcome)

    tally = pay_open(answer)
    assert tally.fates[fate] == RATE * SECONDS
    assert tally.wrong == 0


def test_an_approval_with_a_wrong_mac_is_wrong() -> None:
    def answer(number: int, request: Message) -> Message:
        return approving(number, request).replace({64: bytes(8)})

    assert pay_open(answer).wrong == RATE * SECONDS / 50


def test_an_answer_to_nothing_is_wrong() -> None:
    def answer(number: int, request: Message) -> Message:
        stan = "999999" if number == 5 else str(request[11])
        return authentic(approving(number, request).replace({11: stan}))

    tally = pay_open(answer, patience_s=0.2)
    assert tally.wrong == 1
    assert tally.fates[Fate.UNANSWERED] == 1


def test_an_answer_that_is_no_message_is_wrong() -> None:
    def answer(number: int, request: Message) -> Message | bytes:
        return b"\xff" * 20 if number == 5 else approving(number, request)

    tally = pay_open(answer, seconds=2.0, patience_s=0.2)
    assert tally.wrong == 1
    # Whoever sends such is left, and connected to again.
    assert tally.fates[Fate.UNANSWERED] > 0
    assert tally.fates[Fate.APPROVED] > 5


@pytest.mark.parametrize("tak", ["tdes", "aes"])
@pytest.mark.parametrize(
    "dialect", ["iso87-ascii", "iso87-bcd", "iso93-bcd", "iso2003-ascii"]
)
def test_a_filled_stencil_is_the_message_a_terminal_builds(
    dialect: str, tak: str
) -> None:
    """The terminal makes its MACs by psec."""
    terminal = builder(dialect, tak)
    request = terminal.build(Kind.PURCHASE, get_card("visa-ok"), 1250)
    stencil = Stencil(
        request.message,
        terminal.dialect,
        framing="bin2",
        header_name="tpdu",
        header=TPDU,
        make_mac=mac_maker(KEYRING.get_key(tak)),
    )
    for number, stan in ((1, 1), (999_999, 999_999), (1_000_000, 1)):
        filled = stencil.fill(number)
        width = terminal.dialect.edition.stan_digits
        changed = request.message.replace({11: str(stan).zfill(width)})
        expected = TPDU + terminal.with_mac(changed).raw
        assert filled.stan == str(stan).zfill(width)
        assert filled.frame == get_framing("bin2").encode(expected)
