"""The test cards people type: published test numbers, their PINs, what they do.

The numbers are published by card schemes and payment companies for tests; no issuer
gives them out. What a card does beyond its account (silence, lateness) stands in
``triggers.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from isoswitch.codecs.canonical.codes import ResponseCode
from isoswitch.codecs.canonical.secrets import Pan, Pin

NORTH = "north"
SOUTH = "south"


@dataclass(frozen=True, slots=True, kw_only=True)
class TestCard:
    """A card and the account behind it.

    ``expiry`` is ``YYMM``. ``refusal`` is the code by which its issuer refuses it
    whatever is asked; ``outcome`` says in a few words what a purchase comes to.
    """

    __test__ = False  # pytest takes every Test* class for tests

    name: str
    pan: Pan
    pin: Pin
    issuer: str
    outcome: str
    expiry: str = "4912"
    balance_minor: int = 1_000_000_000
    currency: str = "978"
    pin_tries_max: int = 3
    refusal: ResponseCode | None = None


def get_card(name: str) -> TestCard:
    """Give a test card by the name people type.

    Raises
    ------
    KeyError
        No card has this name.

    Examples
    --------
    >>> get_card("visa-ok").pan
    Pan(476173******0010)
    """
    return CARDS[name]


def find_card(pan: Pan) -> TestCard | None:
    """Find the test card with this number."""
    return _BY_PAN.get(pan.reveal())


def cards_of(issuer: str) -> tuple[TestCard, ...]:
    """Give the cards of one issuer."""
    return tuple(card for card in CARDS.values() if card.issuer == issuer)


def _visa(name: str, pan: str, outcome: str) -> TestCard:
    return TestCard(
        name=f"visa-{name}",
        pan=Pan(pan),
        pin=Pin("1234"),
        issuer=NORTH,
        outcome=outcome,
    )


def _mc(name: str, pan: str, outcome: str) -> TestCard:
    return TestCard(
        name=f"mc-{name}",
        pan=Pan(pan),
        pin=Pin("4321"),
        issuer=SOUTH,
        outcome=outcome,
    )


def _insufficient(card: TestCard) -> TestCard:
    return replace(card, balance_minor=0, outcome="declined: insufficient funds")


def _expired(card: TestCard) -> TestCard:
    return replace(card, expiry="2001", outcome="declined: expired card")


def _refused(card: TestCard, code: ResponseCode) -> TestCard:
    words = code.value.replace("_", " ")
    return replace(card, refusal=code, outcome=f"declined: {words}")


_OK = "approved"
_PIN = "approved; blocked after three wrong PINs"
_SILENT = "issuer approves and stays silent"
_LATE = "issuer approves too late"
_PARTIAL = "half the amount approved"
_TWICE = "approved; issuer answers twice"

_TABLE = (
    _visa("ok", "4761739001010010", _OK),
    _visa("pin", "4012888888881881", _PIN),
    _insufficient(_visa("insufficient", "4000000000009995", "")),
    _expired(_visa("expired", "4000000000000069", "")),
    _refused(_visa("lost", "4000000000009987", ""), ResponseCode.LOST_CARD),
    _refused(_visa("stolen", "4000000000009979", ""), ResponseCode.STOLEN_CARD),
    _refused(_visa("declined", "4000000000000002", ""), ResponseCode.DO_NOT_HONOUR),
    _visa("silent", "4111111111111111", _SILENT),
    _visa("late", "4242424242424242", _LATE),
    _visa("partial", "4000056655665556", _PARTIAL),
    _visa("duplicate", "4000000000000077", _TWICE),
    _mc("ok", "5413330089010434", _OK),
    _mc("pin", "5577000055770004", _PIN),
    _insufficient(_mc("insufficient", "5424000000000015", "")),
    _expired(_mc("expired", "5200828282828210", "")),
    _refused(_mc("lost", "5105105105105100", ""), ResponseCode.LOST_CARD),
    _mc("silent", "5555555555554444", _SILENT),
    _mc("late", "5454545454545454", _LATE),
    _mc("partial", "2223003122003222", _PARTIAL),
    _mc("duplicate", "5136333333333335", _TWICE),
)

CARDS: Mapping[str, TestCard] = {card.name: card for card in _TABLE}
_BY_PAN = {card.pan.reveal(): card for card in _TABLE}
