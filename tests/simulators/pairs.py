"""A simulated terminal connected straight to a simulated issuer, without a switch."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from random import Random

import trio
import trio.testing

from isoswitch.codecs.canonical.codes import Kind
from isoswitch.simulators.cards import CARDS
from isoswitch.simulators.issuer import Issuer, IssuerProfile
from isoswitch.simulators.keyring import Keyring
from isoswitch.simulators.requests import TerminalProfile
from isoswitch.simulators.rules import Rule
from isoswitch.simulators.terminal import Terminal

EPOCH = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
KEYRING = Keyring(
    {
        "tdes": "0123456789ABCDEFFEDCBA9876543210",
        "aes": "aes:2B7E151628AED2A6ABF7158809CF4F3C",
        "pin": "FEDCBA98765432100123456789ABCDEF",
    }
)
# Dialect, framing, header, MAC key: the combinations that issue 2 asks for.
SHAPES = [
    ("iso87-ascii", "bin2", "", "tdes"),
    ("iso87-ascii", "ascii4", "", "tdes"),
    ("iso87-bcd", "bin2", "tpdu", "tdes"),
    ("iso93-bcd", "bin2", "", "aes"),
]


class VirtualClock:
    """Wall time that follows trio's clock."""

    def now(self) -> datetime:
        """Give the time, aware, in UTC."""
        return EPOCH + timedelta(seconds=trio.current_time())

    def business_date(self) -> str:
        """Give the day."""
        return self.now().date().isoformat()


class Pair:
    """One issuer, one terminal, and the streams between them."""

    def __init__(
        self,
        nursery: trio.Nursery,
        shape: tuple[str, str, str, str] = SHAPES[0],
        *,
        rules: Iterable[Rule] = (),
        repeats_max: int = 1,
    ) -> None:
        dialect, framing, header, mac_key = shape
        self._nursery = nursery
        self.issuer = Issuer(
            IssuerProfile(
                name="north",
                dialect=dialect,
                framing=framing,
                header=header,
                zpk="pin",
                zak=mac_key,
            ),
            keyring=KEYRING,
            cards=CARDS.values(),
            clock=VirtualClock(),
            random=Random(1),
            rules=rules,
        )
        self.terminal = Terminal(
            TerminalProfile(
                terminal_id="TERM0001",
                merchant_id="KIOSK0000000001",
                dialect=dialect,
                framing=framing,
                header=header,
                tpk="pin",
                tak=mac_key,
                acquirer_id="10001",
                rrn_prefix="600212",
                repeats_max=repeats_max,
            ),
            keyring=KEYRING,
            connect=self.connect,
            clock=VirtualClock(),
        )

    async def connect(self) -> trio.abc.Stream:
        """Give the terminal's end of a new connection to the issuer."""
        if self.issuer.is_away:
            msg = "connection refused"
            raise OSError(msg)
        ours, theirs = trio.testing.memory_stream_pair()
        self._nursery.start_soon(self.issuer.serve_stream, theirs)
        return ours

    async def start(self) -> None:
        """Connect and sign on."""
        await self._nursery.start(self.terminal.run)
        outcome = await self.terminal.network(Kind.SIGN_ON)
        assert outcome is not None
        assert outcome.is_approved
