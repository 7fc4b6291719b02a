"""The values that messages share: amounts, dates, parties, agents, accounts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from typing import Final

from isoswitch.codecs.canonical.money import CURRENCIES, Money
from isoswitch.codecs.iso20022.document import Element
from isoswitch.codecs.iso20022.mapping import Form, Row, Shape, of, text

_DECIMAL = re.compile(r"\d{1,18}(\.\d{0,5})?|\.\d{1,5}")
_NUMBERS: Final = {letters: number for number, (letters, _) in CURRENCIES.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """A financial institution: by BIC, by number in a clearing system, by LEI."""

    bic: str = ""
    clearing_system: str = ""
    member_id: str = ""
    lei: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """A person or an organisation."""

    name: str = ""
    town: str = ""
    country: str = ""
    address_lines: tuple[str, ...] = ()
    lei: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account: by IBAN, else by a number of its bank's own."""

    iban: str = ""
    number: str = ""
    currency: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginalMessage:
    """Which message another one is about."""

    message_id: str
    message_name: str
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why something was done or refused.

    ``code`` is of the external list that belongs to the message; a sender without one
    gives words of his own as ``proprietary``.
    """

    code: str = ""
    proprietary: str = ""
    details: tuple[str, ...] = ()


def parse_amount(digits: str, letters: str) -> Money:
    """Read a decimal amount in a currency of three letters or digits, exactly.

    Raises
    ------
    ValueError
        No amount, no known currency, or more decimals than the currency has.

    Examples
    --------
    >>> parse_amount("12.50", "EUR"), parse_amount("7.0", "392")
    (Money(minor=1250, currency='978'), Money(minor=7, currency='392'))
    >>> parse_amount("0.5", "JPY")
    Traceback (most recent call last):
    ValueError: more decimals than the currency has
    """
    number = letters if letters in CURRENCIES else _NUMBERS.get(letters)
    if number is None:
        raise ValueError("not a known currency")
    if not _DECIMAL.fullmatch(digits):
        raise ValueError("not an amount")
    minor = Decimal(digits).scaleb(CURRENCIES[number][1])
    if minor != int(minor):
        raise ValueError("more decimals than the currency has")
    return Money(int(minor), number)


def format_amount(amount: Money) -> str:
    """Write an amount with all decimals of its currency.

    Examples
    --------
    >>> format_amount(Money(1250, "978")), format_amount(Money(7, "392"))
    ('12.50', '7')
    """
    if amount.minor < 0:
        raise ValueError("an amount below zero")
    exponent = currency_of(amount)[1]
    return f"{Decimal(amount.minor).scaleb(-exponent):.{exponent}f}"


def currency_of(amount: Money) -> tuple[str, int]:
    """Give the letters and the exponent of a currency that ISO 20022 can name."""
    found = CURRENCIES.get(amount.currency)
    if found is None:
        raise ValueError("not a known currency")
    return found


def parse_instant(words: str) -> datetime:
    """Read a date and time; one without a zone is UTC.

    Examples
    --------
    >>> parse_instant("2026-03-01T12:00:00+08:00").isoformat()
    '2026-03-01T04:00:00+00:00'
    """
    try:
        instant = datetime.fromisoformat(words)
        if len(words) <= 10:
            raise ValueError
        return (
            instant.replace(tzinfo=UTC)
            if instant.tzinfo is None
            else instant.astimezone(UTC)
        )
    except (ValueError, OverflowError):
        raise ValueError("not a date and time") from None


def format_instant(instant: datetime) -> str:
    """Write an aware instant in UTC, which every version of every header accepts.

    Examples
    --------
    >>> format_instant(datetime(2026, 3, 1, 12, 0, 0, 250000, tzinfo=UTC))
    '2026-03-01T12:00:00.250Z'
    """
    if instant.tzinfo is None:
        raise ValueError("an instant without a zone")
    spec = "milliseconds" if instant.microsecond else "seconds"
    return instant.astimezone(UTC).isoformat(timespec=spec)[:-6] + "Z"


def parse_day(words: str) -> date:
    """Read a date; a zone after it is left out.

    Examples
    --------
    >>> parse_day("2026-03-01+08:00")
    datetime.date(2026, 3, 1)
    """
    try:
        return date.fromisoformat(words[:10])
    except ValueError:
        raise ValueError("not a date") from None


def _check_length(words: str, *, most: int) -> str:
    """Give what others call something: it goes back to them, where no more fits."""
    if len(words) > most:
        raise ValueError("too long")
    return words


def _parse_count(words: str) -> int:
    if not (words.isascii() and words.isdecimal() and len(words) <= 15):
        raise ValueError("not a count")
    return int(words)


def _parse_decimal(words: str) -> Decimal:
    if not re.fullmatch(r"[+-]?\d{1,18}(\.\d{0,17})?", words):
        raise ValueError("not a decimal number")
    return Decimal(words)


def _parse_flag(words: str) -> bool:
    if words not in {"true", "false", "1", "0"}:
        raise ValueError("neither true nor false")
    return words in {"true", "1"}


def _read_amount(element: Element) -> Money:
    return parse_amount((element.text or "").strip(), element.get("Ccy", ""))


def _write_amount(element: Element, amount: Money) -> None:
    element.set("Ccy", currency_of(amount)[0])
    element.text = format_amount(amount)


def _parse_sign(words: str) -> bool:
    if words not in {"CRDT", "DBIT"}:
        raise ValueError("neither credit nor debit")
    return words == "CRDT"


TEXT: Final = text(str)
NAME: Final = text(partial(_check_length, most=35))
UETR: Final = text(partial(_check_length, most=36))
EVENT_CODE: Final = text(partial(_check_length, most=4))
INSTANT: Final = text(parse_instant, format_instant)
DAY: Final = text(parse_day, date.isoformat)
COUNT: Final = text(_parse_count)
DECIMAL: Final = text(_parse_decimal, "{:f}".format)
FLAG: Final = text(_parse_flag, lambda flag: "true" if flag else "false")
AMOUNT: Final = Form(_read_amount, _write_amount)
# Whether an amount is a credit.
SIGN: Final = text(_parse_sign, lambda credit: "CRDT" if credit else "DBIT")

AGENT: Final = of(
    Shape(
        Agent,
        (
            Row("bic", "FinInstnId/BICFI|FinInstnId/BIC", TEXT),
            Row("clearing_system", "FinInstnId/ClrSysMmbId/ClrSysId/Cd", TEXT),
            Row("member_id", "FinInstnId/ClrSysMmbId/MmbId", TEXT),
            Row("lei", "FinInstnId/LEI", TEXT),
            Row("name", "FinInstnId/Nm", TEXT),
        ),
    )
)
PARTY: Final = of(
    Shape(
        Party,
        (
            Row("name", "Nm", TEXT),
            Row("town", "PstlAdr/TwnNm", TEXT),
            Row("country", "PstlAdr/Ctry", TEXT),
            Row("address_lines", "PstlAdr/AdrLine", TEXT, many=True),
            Row("lei", "Id/OrgId/LEI", TEXT),
        ),
    )
)
ACCOUNT: Final = of(
    Shape(
        Account,
        (
            Row("iban", "Id/IBAN", TEXT),
            Row("number", "Id/Othr/Id", TEXT),
            Row("currency", "Ccy", TEXT),
        ),
    )
)
ORIGINAL_MESSAGE: Final = of(
    Shape(
        OriginalMessage,
        (
            Row("message_id", "OrgnlMsgId", TEXT),
            Row("message_name", "OrgnlMsgNmId", TEXT),
            Row("created_at", "OrgnlCreDtTm", INSTANT),
        ),
    )
)
REASON: Final = of(
    Shape(
        Reason,
        (
            Row("code", "Rsn/Cd", TEXT),
            Row("proprietary", "Rsn/Prtry", TEXT),
            Row("details", "AddtlInf", TEXT, many=True),
        ),
    )
)
