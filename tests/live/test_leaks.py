"""No card number, track, PIN, PIN block or key lies anywhere in clear.

A network logs at DEBUG level while every card pays everywhere and everything goes
wrong that can. Then all that it wrote and printed is searched, and the memory of the
switch for what only the crypto process may see.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random

import pytest
import trio

from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.codecs.canonical.sealing import load_outcome
from isoswitch.codecs.canonical.secrets import Pan, PinBlock, Track2
from isoswitch.codecs.framing import get_framing
from isoswitch.simulators.cards import CARDS, get_card
from isoswitch.simulators.keyring import Keyring
from isoswitch.simulators.leaks import find_clear, key_secrets
from isoswitch.simulators.requests import Request
from isoswitch.simulators.terminal import Terminal
from isoswitch.store.reader import open_reader
from tests.live.live_network import KILL_TIMERS, LiveNetwork, live_network
from tests.live.network import isoswitch
from tests.live.secrets import (
    LONG_PIN,
    TRACK_REMAINDER,
    all_secrets,
    clear_pin_secrets,
    leaks_in_files,
    leaks_in_memory,
)

pytestmark = pytest.mark.live

KEYRING = "test-keys.json"
AMOUNT = 12_50
FAULT_AMOUNTS = range(901_01, 901_12)
REFUSED_AMOUNTS = (900_05, 900_51, 900_91, 900_96)
EVERYTHING_S = 60.0
OUTCOMES = {
    ResponseCode.APPROVED,
    ResponseCode.PARTIALLY_APPROVED,
    ResponseCode.INSUFFICIENT_FUNDS,
    ResponseCode.EXPIRED_CARD,
    ResponseCode.LOST_CARD,
    ResponseCode.WRONG_PIN,
    ResponseCode.ISSUER_UNAVAILABLE,
    ResponseCode.CRYPTOGRAPHIC_ERROR,
    ResponseCode.NO_SUCH_ISSUER,
    ResponseCode.SYSTEM_MALFUNCTION,
    ResponseCode.SECURITY_VIOLATION,
    ResponseCode.TERMINAL_NOT_PERMITTED,
}
COMMANDS = (
    ("pay", "12.50", "--card", "visa-ok", "--pin", LONG_PIN.reveal(), "-v"),
    ("pay", "12.50", "--card", "mc-ok", "--pin", "4321", "--json", "-v"),
    ("trigger", "wrong-mac", "-v"),
    ("trigger", "garbage", "-v"),
    ("show", "last"),
    ("show", "last", "--json"),
    ("tail", "--no-follow", "-n", "100000"),
    ("tail", "--no-follow", "-n", "100000", "--json"),
    ("verify", "journal"),
    ("doctor", "--json"),
)


async def test_a_network_leaves_no_secret_whatever_happens_to_it(
    tmp_path: Path,
) -> None:
    values = {**KILL_TIMERS, "level": "debug"}
    async with live_network(tmp_path, values=values) as network:
        secrets = all_secrets(network.keyring)
        with trio.fail_after(EVERYTHING_S):
            await pay_with_every_card(network)
            await let_everything_go_wrong(network)
            await network.kill_switch()
            await network.start_switch()
            await pay_with_every_card(network)
        printed = [await run_command(tmp_path, command) for command in COMMANDS]
        # While it runs there is a write-ahead log, and there is its memory.
        assert network.store_path.with_name("isoswitch.db-wal").stat().st_size
        assert leaks_in_files(tmp_path, secrets, but=KEYRING) == []
        never_here = {**clear_pin_secrets(), **key_secrets(network.keyring)}
        assert leaks_in_memory(network.switch_pid, never_here) == []
        # What it does hold is found, and it did see all this.
        known = {"terminal": "TERM0001", "card": get_card("visa-ok").pan.reveal()}
        assert leaks_in_memory(network.switch_pid, known) == sorted(known)
        assert outcomes_in(network) >= OUTCOMES
    assert leaks_in_files(tmp_path, secrets, but=KEYRING) == []
    for command, output in zip(COMMANDS, printed, strict=True):
        assert find_clear(output, secrets) == [], command


@pytest.mark.parametrize("where", ["log", "store", "output"])
def test_a_planted_secret_is_found(tmp_path: Path, where: str) -> None:
    """The search can fail: each secret is found where it was put."""
    keyring = Keyring({"terminal/tpk": "0123456789ABCDEFFEDCBA9876543210"})
    secrets = all_secrets(keyring)
    for name, secret in secrets.items():
        octets = secret.encode() if isinstance(secret, str) else secret
        planted = {
            "log": b'{"event": "leg", "pan": "' + octets.hex().encode() + b'"}',
            "store": bytes(4096) + octets + bytes(4096),
            "output": b"request\n  " + octets + b"\n",
        }
        (tmp_path / "file").write_bytes(planted[where])
        leaks = leaks_in_files(tmp_path, {name: secret}, but=KEYRING)
        assert leaks, name


def test_what_a_process_holds_is_found_in_its_memory() -> None:
    held = bytearray(Random(1).randbytes(8))
    assert leaks_in_memory(os.getpid(), {"held": bytes(held)}) == ["held"]


async def pay_with_every_card(network: LiveNetwork) -> None:
    """Let every card pay at every terminal, with its PIN, a wrong one and a track."""
    async with trio.open_nursery() as nursery:
        for terminal in network.terminals.values():
            for card in CARDS.values():
                nursery.start_soon(
                    partial(terminal.purchase, card, AMOUNT, pin=card.pin)
                )
                pay = partial(terminal.build, Kind.PURCHASE, card, AMOUNT)
                nursery.start_soon(terminal.pay, with_track(terminal, pay()))
            wrong = get_card("visa-ok")
            nursery.start_soon(partial(terminal.purchase, wrong, 100, pin=LONG_PIN))
            nursery.start_soon(partial(terminal.balance, wrong, pin=wrong.pin))


async def let_everything_go_wrong(network: LiveNetwork) -> None:
    """Send what is refused, what the issuers answer badly, and what is no message."""
    async with trio.open_nursery() as nursery:
        for terminal in network.terminals.values():
            card = get_card("visa-ok")
            for amount_minor in (*REFUSED_AMOUNTS, *FAULT_AMOUNTS):
                pay = partial(terminal.purchase, card, amount_minor, pin=card.pin)
                nursery.start_soon(pay)
            nursery.start_soon(reverse_and_repeat, terminal)
            for spoil in SPOILERS:
                nursery.start_soon(
                    terminal.exchange, spoil(terminal, a_payment(terminal))
                )
    for terminal in network.terminals.values():
        for data in no_messages(terminal):
            await send_apart(network, terminal, data)
    os.killpg(network.crypto_pid, signal.SIGSTOP)
    try:
        async with trio.open_nursery() as nursery:
            for terminal in network.terminals.values():
                nursery.start_soon(terminal.exchange, a_payment(terminal))
    finally:
        os.killpg(network.crypto_pid, signal.SIGCONT)


def a_payment(terminal: Terminal) -> Request:
    """Build a payment with a PIN."""
    card = get_card("visa-ok")
    return terminal.build(Kind.PURCHASE, card, AMOUNT, pin=card.pin)


def with_track(terminal: Terminal, request: Request) -> Request:
    """Add the track of the card to a request."""
    txn = request.transaction
    assert txn.pan is not None
    track = Track2(f"{txn.pan.reveal()}={txn.expiry}{TRACK_REMAINDER}"[:37])
    return terminal.build_from(replace(txn, track2=track))


def with_wrong_mac(terminal: Terminal, request: Request) -> Request:
    return terminal.with_wrong_mac(request)


def with_wrong_block(terminal: Terminal, request: Request) -> Request:
    block = PinBlock(bytes(range(8)))
    return terminal.build_from(replace(request.transaction, pin_block=block))


def of_no_issuer(terminal: Terminal, request: Request) -> Request:
    pan = Pan("6011000990139424")
    return terminal.build_from(replace(request.transaction, pan=pan))


def of_another_terminal(terminal: Terminal, request: Request) -> Request:
    txn = replace(request.transaction, terminal_id="TERM9999")
    return terminal.build_from(txn)


def without_amount(terminal: Terminal, request: Request) -> Request:
    message = terminal.with_mac(request.message.replace({4: None}))
    return replace(request, message=message)


SPOILERS: tuple[Callable[[Terminal, Request], Request], ...] = (
    with_track,
    with_wrong_mac,
    with_wrong_block,
    of_no_issuer,
    of_another_terminal,
    without_amount,
)


async def reverse_and_repeat(terminal: Terminal) -> None:
    """Pay, ask again, ask again over another amount, and take it back."""
    request = a_payment(terminal)
    belief = await terminal.pay(request)
    await terminal.exchange(terminal.as_repeat(request))
    assert request.transaction.amount is not None
    more = replace(request.transaction.amount, minor=99_99)
    other = terminal.build_from(replace(request.transaction, amount=more))
    await terminal.exchange(other)
    await terminal.reverse(belief)


def no_messages(terminal: Terminal) -> list[bytes]:
    """Give frames that hold a card number and are no messages."""
    raw = a_payment(terminal).message.raw
    header = b"\x60\x00\x01\x00\x02" if terminal.profile.header else b""
    spoilt = [
        raw[: len(raw) // 2],
        raw + b"more",
        b"9999" + raw[4:],
        raw[:4] + b"\xff" * 16 + raw[20:],
        raw.replace(b"000000001250", b"00000000125A"),
        b"PAN 4761739001010010 and no message at all",
    ]
    framing = get_framing(terminal.profile.framing)
    return [framing.encode(header + each) for each in spoilt]


async def send_apart(network: LiveNetwork, terminal: Terminal, data: bytes) -> None:
    """Send bytes on a connection of their own and wait for its end or an answer."""
    stream = await terminal._connect()
    async with stream:
        try:
            await stream.send_all(data)
            with trio.move_on_after(1.0):
                await stream.receive_some()
        except trio.BrokenResourceError:
            return


def outcomes_in(network: LiveNetwork) -> set[ResponseCode]:
    """Give every code that the switch answered with."""
    with open_reader(network.store_path) as reader:
        rows = reader.transactions(limit=-1)
    return {load_outcome(row.outcome).code for row in rows if row.outcome}


async def run_command(folder: Path, arguments: tuple[str, ...]) -> bytes:
    """Run a command and give everything that it printed."""
    done = await trio.to_thread.run_sync(partial(isoswitch, *arguments, folder=folder))
    assert done.returncode in {0, 1}, done.stderr
    return (done.stdout + done.stderr).encode()
