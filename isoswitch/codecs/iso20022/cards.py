"""What the two families of card messages read and write alike."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, time
from typing import Final, TypeVar

from isoswitch.codecs.canonical.errors import DocumentError
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.secrets import Track2
from isoswitch.codecs.iso20022.leaves import Leaves
from isoswitch.codecs.iso20022.values import parse_amount, parse_day, parse_instant

Value = TypeVar("Value")
_MONTH: Final = re.compile(r"\d\d(0[1-9]|1[0-2])")


def need(leaves: Leaves, path: str) -> str:
    """Give a leaf that must be there.

    Raises
    ------
    DocumentError
        It is not.
    """
    value = leaves.get(path, "")
    if not value:
        raise DocumentError("missing", path=path)
    return value


def read_value(path: str, read: Callable[[str], Value], text: str) -> Value:
    """Read a text, or say where it is that holds no such value."""
    try:
        return read(text)
    except ValueError as fault:
        raise DocumentError(str(fault), path=path) from None


def hex_octets(path: str, text: str) -> bytes:
    """Read hexadecimal, with the blanks after it that one schema once asked for."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise DocumentError("not hexadecimal", path=path) from None


def format_expiry(expiry: str) -> str:
    """Write ``YYMM`` as a month; empty where it is none, such as ``0000``.

    Examples
    --------
    >>> format_expiry("3112"), format_expiry("0000")
    ('2031-12', '')
    """
    return f"20{expiry[:2]}-{expiry[2:]}" if _MONTH.fullmatch(expiry) else ""


def expiry_of(month: str) -> str:
    """Read a month as ``YYMM``; a zone after it is left out.

    Examples
    --------
    >>> expiry_of("2031-12"), expiry_of("2031-12+08:00"), expiry_of("")
    ('3112', '3112', '')
    """
    return month[2:4] + month[5:7]


def read_sequence(digits: str) -> str:
    """Read a card's sequence number, which may be shorter here.

    Examples
    --------
    >>> read_sequence("01"), read_sequence("")
    ('001', '')
    """
    return digits.zfill(3) if digits else ""


def read_card(number: str, track: str, expiry: str) -> tuple[str, Track2 | None, str]:
    """Give card number, track 2 and expiry; track 2 fills what is absent."""
    if not track:
        return number, None, expiry
    track = track.strip(";?").replace("D", "=", 1)
    on_track, _, rest = track.partition("=")
    month = rest[:4]
    is_month = month.isascii() and month.isdecimal()
    return number or on_track, Track2(track), expiry or (month if is_month else "")


def partial_amount(path: str, amount: Money | None, asked: Money | None) -> Money:
    """Give the amount of a partial approval, which is a part of what was asked for.

    Raises
    ------
    DocumentError
        There is none, or it is not; nothing is no part.
    """
    if amount is None:
        raise DocumentError("missing", path=path)
    if amount.minor < 1 or (
        asked is not None
        and (amount.currency != asked.currency or amount.minor > asked.minor)
    ):
        raise DocumentError("no part of the requested amount", path=path)
    return amount


def find_balance(digits: str, currency: str, *, is_debit: bool) -> Money | None:
    """Find the balance that an answer tells; no approval fails on one that is none.

    Examples
    --------
    >>> find_balance("12.50", "EUR", is_debit=True), find_balance("?", "EUR", \
is_debit=False)
    (Money(minor=-1250, currency='978'), None)
    """
    try:
        balance = parse_amount(digits.strip(), currency)
    except ValueError:
        return None
    return Money(-balance.minor if is_debit else balance.minor, balance.currency)


def read_instant(leaves: Leaves, path: str) -> datetime | None:
    """Read an instant that may be there."""
    text = leaves.get(path)
    return None if text is None else read_value(path, parse_instant, text.strip())


def read_local(leaves: Leaves, at: str) -> datetime | None:
    """Read the local day and time; one without the other is no instant."""
    day, clock = leaves.get(f"{at}LclDt"), leaves.get(f"{at}LclTm")
    if day is None or clock is None:
        return None
    on: date = read_value(f"{at}LclDt", parse_day, day.strip())
    return datetime.combine(on, read_value(f"{at}LclTm", _parse_time, clock.strip()))


def _parse_time(text: str) -> time:
    try:
        return time.fromisoformat(text).replace(tzinfo=None)
    except ValueError:
        msg = "not a time"
        raise ValueError(msg) from None
