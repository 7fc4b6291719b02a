"""What a route is decided from, in a form that can be written down and read again.

The card itself is a `Span`: where its number lies among the BINs. Written down is only
the part of the BIN that may stand beside the last four digits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from isoswitch.codecs.canonical.codes import EntryMode, Kind
from isoswitch.codecs.canonical.values import quick
from isoswitch.routing.bins import EVERYTHING, Span


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a transaction when its route is decided.

    ``bin`` is the storable part of the card's BIN. ``country`` is the merchant's;
    ``minute`` counts from midnight UTC, on the clock of the switch. ``code`` is the
    prefix of a wallet's payment code, where that pays in place of a card.
    """

    transaction_id: str
    card: Span
    bin: str = ""
    kind: Kind = Kind.PURCHASE
    amount_minor: int = 0
    currency: str = ""
    mcc: str = ""
    merchant_id: str = ""
    country: str = ""
    entry_mode: EntryMode = EntryMode.UNKNOWN
    minute: int = 0
    code: str = ""

    def to_data(self) -> dict[str, Any]:
        """Give what is written down: no more digits than ``bin`` has."""
        data: dict[str, Any] = {
            "bin": self.bin,
            "kind": self.kind,
            "minor": self.amount_minor,
            "currency": self.currency,
            "mcc": self.mcc,
            "merchant": self.merchant_id,
            "country": self.country,
            "entry": self.entry_mode,
            "minute": self.minute,
            "code": self.code,
        }
        return {key: value for key, value in data.items() if value != ""}


def to_facts(transaction_id: str, data: Mapping[str, Any]) -> Facts:
    """Read facts that were written down; the card is all that its ``bin`` may be.

    Raises
    ------
    KeyError, ValueError
        This was not written by `Facts.to_data`.
    """
    digits = data.get("bin", "")
    return Facts(
        transaction_id=transaction_id,
        card=Span.of_digits(digits) if digits else EVERYTHING,
        bin=digits,
        kind=Kind(data["kind"]),
        amount_minor=data["minor"],
        currency=data.get("currency", ""),
        mcc=data.get("mcc", ""),
        merchant_id=data.get("merchant", ""),
        country=data.get("country", ""),
        entry_mode=EntryMode(data["entry"]),
        minute=data["minute"],
        code=data.get("code", ""),
    )
