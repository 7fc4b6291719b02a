"""A card message of one standard in the other, and what got lost on the way.

    ISO 8583 message -> Transaction -> cain or caaa message        and back

What is lost is found by going there and back: what the message had and the message
that came back has not, or has otherwise. Nothing is lost in silence.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from isoswitch.codecs.annotation import clear_value
from isoswitch.codecs.canonical.transaction import Transaction
from isoswitch.codecs.dialects.dialect import Dialect, LegNumbers
from isoswitch.codecs.iso8583.message import Message
from isoswitch.codecs.iso20022.leaves import CardMessage, mask_leaf

NOT_READ: Final = "has no place in a transaction"
NOT_CARRIED: Final = "the other standard has no place for it"
CHANGED: Final = "comes back as another value"
# What is said of fields that are of one link and are made anew on the next.
_MADE_ANEW: Final[Mapping[str, str]] = {
    "64": "a MAC is of one link and made anew on the next",
    "128": "a MAC is of one link and made anew on the next",
    "53": "security control information is of one link",
    "SctyTrlr": "a MAC is of one link and made anew on the next",
}


class CardDialect(Protocol):
    """What translation needs of cain or caaa."""

    def to_transaction(self, msg: CardMessage) -> Transaction:
        """Read a request or advice."""

    def to_request(self, txn: Transaction, leg: LegNumbers) -> CardMessage:
        """Build a request or advice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What a message had that the other one has not; ``value`` is masked."""

    place: str
    value: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToCard:
    """An ISO 8583 message as cain or caaa."""

    message: CardMessage
    losses: tuple[Loss, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FromCard:
    """A cain or caaa message as ISO 8583."""

    message: Message
    losses: tuple[Loss, ...]


def to_card(
    message: Message,
    dialect: Dialect,
    cards: CardDialect,
    *,
    reference: datetime,
    currency: str,
) -> ToCard:
    """Translate a request or advice.

    Parameters
    ----------
    reference
        The aware instant of receipt, which completes dates without years.
    currency
        The ISO 4217 numeric code of amounts that name none.

    Raises
    ------
    DecodeError
        No request, or one without what its kind needs.
    EncodeError
        A kind that the other standard has not, or a value that it cannot carry.
    """
    txn = dialect.to_transaction(message, reference=reference, currency=currency)
    leg = leg_of(txn, reference)
    translated = cards.to_request(txn, leg)
    back = dialect.to_request(cards.to_transaction(translated), leg, mac=False)
    here = dialect.to_request(txn, leg, mac=False)
    losses = _losses(
        message.masked(),
        _values(message),
        _values(back),
        _values(here).keys(),
    )
    return ToCard(message=translated, losses=losses)


def from_card(
    message: CardMessage,
    dialect: Dialect,
    cards: CardDialect,
    *,
    reference: datetime,
    currency: str,
) -> FromCard:
    """Translate a request or advice; as ``to_card``."""
    txn = cards.to_transaction(message)
    leg = leg_of(txn, reference)
    translated = dialect.to_request(txn, leg, mac=False)
    read = dialect.codec.decode(translated.raw)
    again = dialect.to_transaction(read, reference=reference, currency=currency)
    back = cards.to_request(again, leg_of(again, reference))
    losses = _losses(
        {path: mask_leaf(path, value) for path, value in message.leaves.items()},
        message.leaves,
        back.leaves,
        cards.to_request(txn, leg).leaves.keys(),
    )
    return FromCard(message=translated, losses=losses)


def leg_of(txn: Transaction, reference: datetime) -> LegNumbers:
    """Give leg numbers that keep those of the transaction."""
    return LegNumbers(
        stan=txn.stan,
        rrn=txn.rrn,
        transmitted_at=txn.transmitted_at or reference,
        acquirer_id=txn.acquirer_id,
        repeat=txn.is_repeat,
    )


def _losses(
    shown: Mapping[str, str],
    had: Mapping[str, str],
    has: Mapping[str, str],
    understood: Collection[str],
) -> tuple[Loss, ...]:
    losses = []
    for place, value in had.items():
        if place in has and _same(has[place], value):
            continue
        reason = CHANGED if place in has else NOT_CARRIED
        if place not in has and place not in understood:
            reason = NOT_READ
        anew = _MADE_ANEW.get(place) or _MADE_ANEW.get(place.partition("/")[0])
        losses.append(Loss(place=place, value=shown[place], reason=anew or reason))
    return tuple(losses)


def _same(one: str, other: str) -> bool:
    """Whether two texts mean the same: blanks at the end fill a field."""
    return one.rstrip() == other.rstrip()


def _values(message: Message) -> dict[str, str]:
    """Give all fields as text, in clear; they stay in here."""
    values = {str(de): clear_value(value) for de, value in message.values().items()}
    return {"mti": message.mti, **values}
