"""A terminal and an issuer on real sockets."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from random import Random

import pytest
import trio

from isoswitch.codecs.canonical.codes import Kind
from isoswitch.codecs.canonical.secrets import Pin
from isoswitch.simulators.beliefs import BeliefState
from isoswitch.simulators.bookings import read_bookings
from isoswitch.simulators.cards import CARDS, get_card
from isoswitch.simulators.issuer import Issuer, IssuerProfile
from isoswitch.simulators.leaks import card_secrets, find_clear
from isoswitch.simulators.requests import TerminalProfile
from isoswitch.simulators.terminal import Terminal
from isoswitch.switch.ports import SystemClock
from tests.simulators.pairs import KEYRING

PAYMENTS = 50


@pytest.mark.live
async def test_many_payments_in_flight_on_one_connection(tmp_path: Path) -> None:
    """Each is approved and booked once, in a log that shows no card number."""
    log_path = tmp_path / "south.jsonl"
    issuer = Issuer(
        IssuerProfile(
            name="south", dialect="iso93-bcd", framing="bin2", zpk="pin", zak="aes"
        ),
        keyring=KEYRING,
        cards=CARDS.values(),
        clock=SystemClock(),
        random=Random(1),
        log_path=log_path,
    )
    card = get_card("mc-ok")
    async with trio.open_nursery() as nursery:
        host, port = await nursery.start(issuer.run)
        terminal = Terminal(
            TerminalProfile(
                terminal_id="TERM0001",
                merchant_id="KIOSK0000000001",
                dialect="iso93-bcd",
                framing="bin2",
                tpk="pin",
                tak="aes",
                acquirer_id="10001",
                rrn_prefix="600212",
            ),
            keyring=KEYRING,
            connect=partial(trio.open_tcp_stream, host, port),
            clock=SystemClock(),
        )
        await nursery.start(terminal.run)
        await terminal.network(Kind.SIGN_ON)

        async with trio.open_nursery() as payments:
            for amount_minor in range(1, PAYMENTS + 1):
                payments.start_soon(
                    partial(terminal.purchase, card, amount_minor, pin=Pin("4321"))
                )
        nursery.cancel_scope.cancel()

    states = [belief.state for belief in terminal.beliefs]
    assert states == PAYMENTS * [BeliefState.APPROVED]
    booked = [booking.amount_minor for booking in read_bookings(log_path)]
    assert sorted(booked) == list(range(1, PAYMENTS + 1))
    assert find_clear(log_path.read_bytes(), card_secrets(CARDS.values())) == []
